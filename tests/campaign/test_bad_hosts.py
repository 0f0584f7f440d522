"""Campaigns on simulated hosts, some of which fail everything: what happens to the trials and to the hosts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.events import Quarantine
from pilotune.pipeline.campaign.flight import Flight
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.blocks import BlockPlan
from pilotune.providers.simulated.hosts import Nodes
from pilotune.providers.simulated.pool import Faults, SimulatedPool, Step
from pilotune.providers.site.spec import BlockCounts

from ..support.campaign_bench import SPACE, QuietServices
from ..support.sizes import at_size

WORKERS = 8


@dataclass(frozen=True)
class Seen:
    """How a campaign ended.

    Attributes:
        trials: Its trials, as plain Optuna reads them.
        quarantined: Its quarantined hosts.
        late: Attempts that were submitted after a host had been quarantined, and did not avoid it.
        spared: As in the status.
    """

    trials: list[FrozenTrial]
    quarantined: set[str]
    late: int
    spared: str

    @property
    def states(self) -> Counter[str]:
        return Counter(trial.state.name for trial in self.trials)

    @property
    def attempts(self) -> int:
        return sum(trial.user_attrs["pilotune:attempts"] for trial in self.trials if trial.state.is_finished())


class Watched(SimulatedPool):
    """Counts attempts that should avoid a quarantined host and do not."""

    late = 0

    def perform(self, actions: list[object]) -> None:  # type: ignore[override]
        for action in actions:
            spec = getattr(action, "spec", None)
            assert self.hosts
            self.late += spec is not None and not self.hosts.quarantined <= set(spec.avoid)
        assert all(not isinstance(action, Quarantine) for action in actions[1:]), (
            "a quarantine precedes what it affects"
        )
        super().perform(actions)  # type: ignore[arg-type]


def objective(spec: AttemptSpec) -> Iterator[Step]:
    draw = random.Random(spec.seed)
    yield draw.expovariate(0.1), draw.random()
    yield draw.expovariate(0.1), None


class Services(QuietServices):
    def make_spec(self, flight: Flight) -> AttemptSpec:
        return AttemptSpec(
            token=flight.token, study="s", number=flight.number, attempt=flight.attempt, params=flight.params,
            defines_space=False, directory="", seed=flight.number, n_values=1, avoid=sorted(flight.avoid),
        )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Seen]:
    def go(nodes: Nodes, *, seed: int = 0, trials: int = 60, flaky: float = 0.0, plan: BlockPlan | None = None) -> Seen:
        url = f"sqlite:///{tmp_path}/{seed}.db"
        storage = RecordStorage(url, autocommit=False)
        optuna.create_study(storage=storage, study_name="s")
        storage.commit()
        sampler, pruner = optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner()
        study = optuna.load_study(study_name="s", storage=storage, sampler=sampler, pruner=pruner)
        pool = Watched(WORKERS, objective, seed=seed, nodes=nodes, faults=Faults(fail=flaky), plan=plan)
        services = Services()
        campaign_study = CampaignStudy(study, storage, SPACE, "c")
        campaign = Campaign(campaign_study, CampaignLimits(trials=trials), services, "c", pool.now())
        CampaignLoop(campaign, pool, storage, services, limit=trials).run()
        storage.close()
        hosts = campaign.outcomes.hosts
        trials_ = optuna.load_study(study_name="s", storage=url).trials
        return Seen(trials_, set(hosts.quarantined), pool.late, hosts.spared)

    return go


@pytest.mark.parametrize("seed", range(at_size(1, 4)))
@pytest.mark.parametrize(("count", "bad"), [(2, {0}), (4, {1}), (4, {1, 2}), (8, {0, 3, 5})])
def test_no_trial_fails_because_of_a_bad_host_and_each_bad_host_is_found(
    run: Callable[..., Seen], count: int, bad: set[int], seed: int
) -> None:
    seen = run(Nodes(count, frozenset(bad)), seed=seed)
    assert seen.states == {"COMPLETE": 60}
    assert seen.quarantined == {f"node{number}" for number in bad}
    assert seen.attempts <= 60 + 2 * WORKERS * len(bad), "few attempts are wasted on them"
    assert seen.late == 0


@pytest.mark.parametrize("seed", range(at_size(1, 2)))
def test_blocks_on_a_bad_host_give_way_to_others(run: Callable[..., Seen], seed: int) -> None:
    plan = BlockPlan(workers=2, counts=BlockCounts(4, 0, 4, 60.0), walltime=3600.0)
    seen = run(Nodes(6, frozenset({1, 4})), seed=seed, plan=plan, trials=120)
    assert seen.states["COMPLETE"] >= 118, "while there is only one host, it cannot be told apart"
    assert seen.quarantined <= {"node1", "node4"}
    assert seen.late == 0


@pytest.mark.parametrize("flaky", [0.03, 0.1, 0.3])
def test_hosts_are_not_blamed_for_an_objective_that_fails_now_and_then(run: Callable[..., Seen], flaky: float) -> None:
    trials = at_size(100, 250)
    seen = run(Nodes(4), trials=trials, flaky=flaky)
    assert seen.quarantined == set()
    assert seen.states["FAIL"] < trials * (2 * flaky), "there are two steps in which an attempt may fail"


def test_a_study_that_fails_everywhere_ends_as_it_does_on_one_host(run: Callable[..., Seen]) -> None:
    everywhere = run(Nodes(4, frozenset(range(4))))
    assert everywhere.quarantined == set()
    assert {trial.state for trial in everywhere.trials} <= {TrialState.FAIL, TrialState.RUNNING}
    assert everywhere.states["FAIL"] >= 20
    assert everywhere.attempts <= 2.5 * everywhere.states["FAIL"], "trials from the start are tried up to three times"


def test_where_there_is_one_host_only_nothing_is_tried_twice(run: Callable[..., Seen]) -> None:
    alone = run(Nodes(1, frozenset({0})))
    assert alone.attempts == alone.states["FAIL"] >= 20
    assert alone.spared == ""
