"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator

import pytest

from .support.postgres import Server, Unavailable
from .support.slurm import Lab
from .support.slurm import Unavailable as NoSlurm

# Campaigns check their invariants in all tests, also in child processes; see pipeline/campaign/flight_states.py.
os.environ["PILOTUNE_VALIDATE"] = "1"

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job ignores it, and so would all it starts

SERVERS = {"postgres_server", "slurm_lab"}
"""Fixtures that start a real server: tests that use one are ``real``."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server, keep each file in one process, and begin with what takes longest.

    Files marked ``heavy`` run many campaigns side by side by themselves. They share one process, so that two of them
    never run at once. With ``--dist loadgroup`` a group is one process's.
    """
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)
        heavy = item.get_closest_marker("heavy")
        item.add_marker(pytest.mark.xdist_group("heavy" if heavy else item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: item.get_closest_marker("heavy") is None)


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
