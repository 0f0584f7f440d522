"""Optuna's own conformance suite for storages, on a real SQLite file and a real PostgreSQL server."""

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from pilotune.pipeline.record import RecordStorage, normalize_url


class TestOnSqlite(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path):
        storage = RecordStorage(normalize_url(f"sqlite:///{tmp_path}/study.db"))
        yield storage
        storage.close()
