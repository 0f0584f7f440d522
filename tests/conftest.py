"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .postgres import Server, Unavailable
from .slurm import Lab
from .slurm import Unavailable as NoSlurm

FIRST = (
    "slurm_campaigns",
    "pbs_campaigns",
    "cobalt_campaigns",
    "in_job",
    "site_check_real",
    "local_pools",
    "slurm_jobs",
)
"""The files that take longest, and mostly wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, no long file is begun last."""
    order = {f"test_{name}": place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


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
