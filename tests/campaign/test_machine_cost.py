"""The driver's cost on a large machine: a poll goes through blocks and nodes once, a failure through few hosts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import optuna

from pilotune.pipeline.campaign.flight import Flight
from pilotune.pipeline.campaign.quarantine import Hosts
from pilotune.providers.blocks.pool_blocks import PoolBlocks
from pilotune.providers.htex.pool import ParslPool

from ..providers.blocks.test_monitor import Lab
from ..support.operations import operations


def poll_cost(folder: Path, count: int) -> int:
    """The cost of one poll of ``count`` blocks with one node each."""
    folder.mkdir()
    lab = Lab(folder, init=count, max=count)
    for number in range(count):
        lab.connect(str(number))
    lab.turn()
    while len(lab.living) < count:
        lab.turn()
    for number in range(count):
        lab.connect(str(number), tasks=2)
    lab.turn()
    blocks: PoolBlocks = lab.blocks
    return operations(lambda: blocks.refresh(list(lab.connected.values()), lab.now))


def test_a_poll_costs_the_same_for_each_block_on_a_large_machine(tmp_path: Path) -> None:
    small, large = poll_cost(tmp_path / "8", 8), poll_cost(tmp_path / "128", 128)
    assert large <= 1.1 * 16 * small


def failures(hosts: int) -> int:
    judge = Hosts()
    judge.available = frozenset(f"node{number}" for number in range(hosts))
    flights = [Flight(trial=None, params={}, number=n, host=f"node{n}") for n in range(4)]  # type: ignore[arg-type]

    def fail() -> None:
        for flight in flights:
            if judge.failed(flight, "exception", "it raised"):
                judge.avoided(flight)

    return operations(fail)


def test_a_failure_costs_the_same_among_thousands_of_hosts() -> None:
    assert failures(5_000) < 2 * failures(50)


def test_the_pool_of_an_attempt_is_chosen_without_reading_all_its_hosts() -> None:
    def choose(hosts: int) -> int:
        names = frozenset(f"node{number}" for number in range(hosts))
        managed = SimpleNamespace(dropped=False, executor=SimpleNamespace(bad_state_is_set=False))
        snapshot = SimpleNamespace(workers={"a": 4, "b": 2}, hosts={"a": names, "b": names})
        monitor = SimpleNamespace(pools={"a": managed, "b": managed}, snapshot=snapshot)
        pool = SimpleNamespace(monitor=monitor, _load={"a": 1, "b": 0})
        specs = [SimpleNamespace(avoid=[]), SimpleNamespace(avoid=["node1", "elsewhere"])]
        return operations(lambda: [ParslPool._choose(pool, spec) for spec in specs])  # type: ignore[arg-type]

    assert choose(5_000) < choose(50) + 100


def test_optunas_private_functions_that_the_campaign_uses_exist() -> None:
    assert callable(optuna.pruners._filter_study)
    assert callable(optuna.study._tell._tell_with_warning)
