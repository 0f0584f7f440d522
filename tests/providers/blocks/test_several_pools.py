"""Several pools of a site: which of them gets the demand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pilotune.providers.blocks.monitor import ManagedPool, PoolMonitor
from pilotune.providers.blocks.shapes import PATIENCE

from .test_monitor import MINUTE, Lab


class Labs:
    """Two pools of a site, and what watches them."""

    def __init__(self, folder: Path):
        for name in ("cpu", "gpu"):
            (folder / name).mkdir()
        self.labs = {name: Lab(folder / name, name) for name in ("cpu", "gpu")}
        pools = {name: ManagedPool(lab.blocks, self._executor(lab)) for name, lab in self.labs.items()}
        nothing = SimpleNamespace(refresh=lambda *_: None, unreachable="")  # each has jobs of its own
        self.monitor = PoolMonitor(pools, nothing, replace=lambda *_: None, changed=lambda: None)  # type: ignore[arg-type]

    def _executor(self, lab: Lab) -> SimpleNamespace:
        managers = lambda: list(lab.connected.values())  # noqa: E731
        return SimpleNamespace(
            bad_state_is_set=False, interchange_alive=True, connected_managers=managers, hold=lab.hold
        )

    def turn(self, demand: int, seconds: float = MINUTE, **most: int) -> None:
        self.monitor.demand, self.monitor.most = demand, most
        for lab in self.labs.values():
            lab.now += seconds
            lab.job_log.refresh(lab.scheduler.query, lab.now)
        self.monitor.refresh(self.labs["cpu"].now)

    @property
    def living(self) -> dict[str, int]:
        return {name: len(lab.living) for name, lab in self.labs.items()}


@pytest.fixture
def labs(tmp_path: Path) -> Labs:
    return Labs(tmp_path)


def test_blocks_that_run_go_on_before_those_of_an_earlier_pool_are_waited_for(labs):
    labs.labs["gpu"].connect("0", tasks=2)
    labs.turn(demand=2)
    assert labs.living == {"cpu": 0, "gpu": 1}
    assert labs.monitor.served == (2, 2)
    labs.turn(demand=4)
    assert labs.living == {"cpu": 1, "gpu": 1}, "what is left goes to the first one"


def test_idle_workers_that_what_is_left_may_not_use_do_not_stand_for_it(labs):
    labs.labs["gpu"].connect("0")
    labs.turn(demand=2, gpu=0)
    assert labs.living == {"cpu": 1, "gpu": 1}


def test_a_pool_whose_blocks_wait_for_long_gets_its_work_after_another(labs):
    labs.labs["gpu"].connect("0", tasks=2)
    labs.turn(demand=4)
    assert labs.living == {"cpu": 1, "gpu": 1}
    labs.turn(demand=4, seconds=PATIENCE + MINUTE)
    assert labs.living == {"cpu": 0, "gpu": 2}
