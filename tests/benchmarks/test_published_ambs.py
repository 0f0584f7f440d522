"""The comparison of AMBS: simulated campaigns with one driver and barriers, and the tables of kept ones."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from benchmarks.published import ambs
from benchmarks.published.ambs import Campaigns, Group, Setting
from benchmarks.published.ambs_campaign import Campaign, CampaignWorkers, shares
from benchmarks.quality import simulate
from benchmarks.quality.problems.base import Outcome, Params, Problem, space_of
from benchmarks.quality.simulate import Workers
from pilotune.pipeline.attributes import GENERATION
from pilotune.pipeline.suggest.evolution import GeneticSampler


def problem(seconds: float | None = None) -> Problem:
    def evaluate(params: Params) -> Outcome:
        return Outcome((params["x"] ** 2 + params["n"],), seconds)

    space = space_of({"x": FloatDistribution(-1.0, 1.0), "n": IntDistribution(0, 9)})
    return Problem("bowl", space, evaluate, 0.0, unit=1.0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_the_share_of_busy_workers_is_that_of_each_part() -> None:
    assert shares([(0.0, 10.0), (5.0, 10.0)], 10.0, 2, parts=2) == (0.5, 1.0)
    assert shares([(1.0, 2.0)], 4.0, 1, parts=4) == (0.0, 1.0, 0.0, 0.0)


def test_a_campaign_that_costs_nothing_is_that_of_asynchronous_workers() -> None:
    trace = Workers(problem(2.0), optuna.samplers.RandomSampler(0), 4, 20, seed=0).run()
    found = CampaignWorkers(problem(2.0), optuna.samplers.RandomSampler(0), 4, 20, seed=0, charged=False).campaign()
    assert found.steps == tuple((step.trials, step.seconds, step.value) for step in trace.steps)
    assert found.seconds == trace.seconds == 10.0
    assert found.busy == (1.0,) * 10


def test_the_driver_suggests_one_trial_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(simulate.time, "process_time", lambda: float(next(ticks)))  # each call takes a second
    workers = CampaignWorkers(problem(100.0), optuna.samplers.RandomSampler(0), 3, 4, seed=0)
    found = workers.campaign()
    assert [begin for begin, _ in workers.spans] == [1.0, 2.0, 3.0, 103.0]  # of the last, a result and a suggestion
    assert (found.seconds, found.cpu, found.largest) == (203.0, 8.0, 1.0)


def test_behind_a_barrier_no_generation_begins_before_the_last_one_has_ended() -> None:
    sampler = GeneticSampler(population=6, barrier=True, mutate_child=1.0, mutate="one", seed=0)
    workers = CampaignWorkers(problem(), sampler, 4, 40, seed=0, charged=False)
    found = workers.campaign()
    spans: dict[int, list[tuple[float, float]]] = {}
    for trial, span in zip(workers.study.trials, workers.spans, strict=True):
        spans.setdefault(trial.system_attrs[GENERATION], []).append(span)
    assert len(spans) >= 6
    for generation in range(1, len(spans)):
        assert min(begin for begin, _ in spans[generation]) >= max(end for _, end in spans[generation - 1])
    assert len(spans[0]) == 6
    assert sum(found.busy) / 10 < 0.95


def test_what_is_known_at_a_number_of_trials_and_at_a_time() -> None:
    found = Campaign(((2, 10.0, 5.0), (4, 30.0, 1.0)), 50.0, (1.0,) * 10, 0.1, 0.1)
    assert [found.at(trials=ended) for ended in (1, 2, 3, 4)] == [float("inf"), 5.0, 5.0, 1.0]
    assert [found.at(seconds=when) for when in (9.0, 29.0, 30.0)] == [float("inf"), 5.0, 1.0]


def test_kept_campaigns_are_compared_on_the_seeds_that_all_methods_have(tmp_path: Path) -> None:
    kept = Campaigns(tmp_path / "ambs.jsonl")
    for method, value, seconds in (("AMBS", 2.0, 100.0), ("gp", 1.0, 50.0)):
        for seed in range(100, 103 if method == "gp" else 102):
            campaign = Campaign(((1, 1.0, 9.0), (10, 60.0, value + seed - 100)), seconds, (1.0,) * 10, 0.04, 0.01)
            kept.add(Setting("bowl", method, 4, 40), seed, campaign)
    again = Campaigns(tmp_path / "ambs.jsonl")
    assert again.known == kept.known
    group = Group(again, problem(), 4, 40, ["AMBS", "gp"])
    assert group.seeds == [100, 101]
    assert group.regrets("gp", 1.0, clock=False) == {100: 1.0, 101: 2.0}
    assert group.regrets("gp", 1.0, clock=True) == {100: 9.0, 101: 9.0}  # the quickest had ended after 50 s
    text = ambs.tables(again, {"bowl": problem()}, {4: 40})
    assert "| problem | seeds | after        | AMBS |   gp |" in text
    assert "| bowl    |     2 | trials, 25%  | 2.50 | 1.50 |" in text
    assert "1.00 (1.00 to 1.00)" in text
    assert "2 / 0 / 0" in text


def test_the_methods_are_samplers_of_a_study() -> None:
    for spec in ambs.METHODS.values():
        peer = ambs.peers.peer(spec.format(generation=20))
        assert peer.make(ambs.peers.Setting(problem(), 0, 4, 40)) is not None
