"""The database of a campaign on real workers is stopped, locked, or drops connections; the campaign goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from ...support.campaigns import LONG, Case, campaign, side_by_side
from ...support.postgres import Server
from ...support.sizes import at_size
from .cases import run
from .experiment import Result

pytestmark = pytest.mark.real

TERMINATIONS = at_size(3, 6)


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Any]]]:
    with side_by_side(request, tmp_path_factory.mktemp("databases"), 3, postgres_server) as cases:
        yield cases


@pytest.fixture
def result(request: pytest.FixtureRequest, running: Mapping[Case, Future[Any]]) -> Any:
    """The result of the test's study."""
    return running[request.function.case].result(2 * LONG)


def server_stopped(folder: Path, server: Server) -> Result:
    own = Server()  # others use the one of all tests meanwhile
    try:
        return run("PostgreSQL stopped", folder, server=own, lasts=8.0)
    finally:
        own.stop()


def terminated(folder: Path, server: Server) -> Result:
    return run("connections terminated", folder, times=TERMINATIONS, server=server)


def locked(folder: Path, server: Server) -> Result:
    return run("SQLite locked", folder, lasts=20.0)


@pytest.mark.postgres
@campaign(server_stopped)
def test_a_campaign_waits_for_its_postgresql_and_goes_on(result: Result) -> None:
    assert result.findings.all == []
    assert len(result.record.starts) == len(result.trials), "a trial was begun again"
    assert "database unreachable" in result.log + result.out


@pytest.mark.postgres
@campaign(terminated)
def test_a_campaign_connects_again_where_its_connections_are_terminated(result: Result) -> None:
    assert result.findings.all == []
    assert len(result.injected) == TERMINATIONS
    assert len(result.record.starts) == len(result.trials), "a trial was begun again"


@campaign(locked)
def test_a_campaign_waits_while_another_process_locks_its_sqlite_database(result: Result) -> None:
    assert result.findings.all == []
    assert len(result.record.starts) == len(result.trials), "a trial was begun again"
