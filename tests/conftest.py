"""Fixtures that several test files share."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

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


class MarkedFileScheduling(LoadFileScheduling):
    """Each file is one process's; all files marked ``heavy`` are the same process's, and so are all that are
    marked ``installs``.

    The heavy ones run many campaigns side by side by themselves, so two of them must not run at once; those that
    install share one installation. pytest-xdist's own groups need node ids that pytest 9.2 no longer takes from
    plugins, hence a scheduler that reads which files have a mark.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        path = self.config.rootpath / file
        return next((mark for mark in ("heavy", "installs") if has_mark(path, mark)), file)


@functools.cache
def has_mark(file: Path, mark: str) -> bool:
    return f"pytest.mark.{mark}" in file.read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> MarkedFileScheduling:
    return MarkedFileScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """What cannot be finalized where a test has used up the stack is nobody's fault, and pytest cannot show it there.

    Garbage of any test may be collected there.
    """
    shown = sys.unraisablehook

    def show(unraisable: Any) -> None:
        if unraisable.exc_type is not RecursionError:
            shown(unraisable)

    sys.unraisablehook = show


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a server as ``real``, and begin with the tests that take longest."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)
    items.sort(key=lambda item: item.get_closest_marker("heavy") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged may hold halves of characters, in which a report cannot be sent from process to process."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Signals are handled after a test as before: a driver that was stopped leaves its own handlers, which processes
    that a later test forks would have, too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


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
