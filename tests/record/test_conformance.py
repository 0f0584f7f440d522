"""Optuna's own conformance suite for storages, on a real SQLite file and a real PostgreSQL server."""

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from pilotune.pipeline.record import RecordStorage, normalize_url

pytestmark = pytest.mark.slow


class TestOptunasSuite(StorageTestCase):
    @pytest.fixture
    def storage(self, database_url):
        storage = RecordStorage(normalize_url(database_url))
        yield storage
        storage.close()
