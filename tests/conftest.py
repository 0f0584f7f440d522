"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from .support.postgres import Server, Unavailable
from .support.slurm import Lab
from .support.slurm import Unavailable as NoSlurm

CROWDED = (
    "test_slurm_campaigns",
    "test_faults_slurm",
    "test_pbs_campaigns",
    "test_cobalt_campaigns",
    "test_in_job",
    "test_site_check_real",
    "test_local_pools",
    "test_slurm_jobs",
    "test_security_jobs",
    "test_slurm_quarantine",
    "test_clean",
)
"""Files that run many campaigns or jobs side by side by themselves, the longest first."""


class HeavyFileScheduling(LoadFileScheduling):
    """Where several processes share the tests, a file is one process's, and so are all that are crowded."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "crowded" if Path(file).stem in CROWDED else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> HeavyFileScheduling:
    return HeavyFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first."""
    order = {name: place for place, name in enumerate(CROWDED)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged may hold halves of characters, in which a report cannot be sent from process to process."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A real PostgreSQL server, for the whole session; without root such tests are skipped, but never in CI."""
    try:
        server = Server()
    except Unavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of a PostgreSQL database with Optuna's tables and no study."""
    url = postgres_server.new_database(tables=True)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """The URL of a database without studies: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[Lab]:
    """A real Slurm of four nodes, for the whole session; without root such tests are skipped, but never in CI."""
    try:
        lab = Lab()
    except NoSlurm as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    yield lab
    lab.stop()


@pytest.fixture
def slurm(slurm_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The same; Slurm's commands in this process talk to it."""
    for name, value in slurm_lab.environment.items():
        monkeypatch.setenv(name, value)
    return slurm_lab
