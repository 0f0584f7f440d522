"""What ``pilotune plan`` shows, from a study's trials, blocks and study file."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from pilotune.pipeline.analysis import StudyData
from pilotune.pipeline.analysis.placing import cost_plan
from pilotune.pipeline.attributes import BLOCKS, DETAILS, PEAK_MEMORY, SECONDS_RUNNING, SETUP
from pilotune.pipeline.cli.commands.plan import render_costs

SECONDS = {("deep", "cpu"): 100.0, ("deep", "gpu"): 5.0, ("flat", "cpu"): 10.0, ("flat", "gpu"): 10.0}
GB = 1_000_000_000

STUDY = """
name: s
objective: s.py:f
direction: minimize
space: {model: {choice: [deep, flat]}}
"""


def trial(model: str, pool: str, memory: int | None = None) -> optuna.trial.FrozenTrial:
    user = {SECONDS_RUNNING: SECONDS[model, pool]} | ({} if memory is None else {PEAK_MEMORY: memory})
    return optuna.create_trial(
        state=TrialState.COMPLETE,
        value=1.0,
        params={"model": model},
        distributions={"model": CategoricalDistribution(["deep", "flat"])},
        user_attrs=user,
        system_attrs={DETAILS: {"pool": pool}},
    )


def study(
    trials: int, more: str | None = "", memory: dict[str, int] | None = None, limits: dict[str, int] | None = None
) -> StudyData:
    """So many trials of both models in both pools; ``memory``: peak memory by model."""
    keys = list(SECONDS)
    made = [trial(*keys[n % 4], (memory or {}).get(keys[n % 4][0])) for n in range(trials)]
    for number, each in enumerate(made):
        each.number = number
    kept = {
        BLOCKS + "c1:0": [
            ["cpu", "0", "1", 0.0, 0.0, 9.0, 4, 1, "", 0.0],
            ["gpu", "1", "2", 0.0, 0.0, 9.0, 2, 1, "", 0.0],
        ]
    }
    text = {} if more is None else {"study": STUDY + more}
    return StudyData("sqlite:///s.db", "s", ("minimize",), ("value",), tuple(made), {}, frozenset(),
                     {**kept, SETUP + "c1": {**text, **({"memory": limits} if limits else {})}})  # fmt: skip


def test_all_trials_that_ended_are_counted() -> None:
    for trials in (87, 2_400):
        seen = [kind.seen for kind in cost_plan(study(trials)).table.kinds]
        assert sum(number for each in seen for number in each.values()) == trials


def test_the_plan_names_the_policy_of_the_study_file() -> None:
    learned, fifo, unknown = (cost_plan(study(48, more)) for more in ("", "placement: fifo\n", None))
    assert [each.policy for each in (learned, fifo, unknown)] == ["learned", "fifo", None]
    assert render_costs(learned).splitlines()[:2] == ["policy   learned", "workers  4 in cpu and 2 in gpu"]
    assert "The study file gives each free worker the next trial (`placement: fifo`). The shares are those that" in (
        render_costs(fifo)
    )
    assert "policy   not known, since the study file is not in the record" in render_costs(unknown)
    assert "study file gives" not in render_costs(learned)
    assert fifo.as_dict()["policy"] == "fifo"
    assert cost_plan(study(48, "trial: {poools: cpu}\n")).policy is None, "the text cannot be read"


def test_the_pools_that_the_study_file_names_are_heeded() -> None:
    free, bound = (
        cost_plan(study(48)),
        cost_plan(study(48, "trial: {pools: \"cpu if model == 'deep' else [cpu, gpu]\"}\n")),
    )
    assert free.table.gain is not None
    assert bound.table.gain is not None
    assert free.table.gain > 1.5
    assert bound.table.gain < 1.3
    (closed,) = bound.table.closed
    assert (closed.kind, closed.pool) == ("model = deep", "gpu")
    assert closed.reason == "the study file names other pools for them"
    assert bound.rule == "cpu if model == 'deep' else [cpu, gpu]"
    assert f"trial.pools  {bound.rule}" in render_costs(bound)
    settled = render_costs(cost_plan(study(48, "trial: {pools: \"gpu if model == 'deep' else cpu\"}\n")))
    assert "gains nothing over first-come: where trials may run leaves no better choice." in settled


def test_seconds_have_intervals_and_peak_memory_is_shown_where_it_was_measured() -> None:
    table = cost_plan(study(48, memory={"deep": 8 * GB, "flat": GB})).table
    flat, deep = table.kinds
    low, high = deep.interval["cpu"]
    assert 50.0 < low < deep.seconds["cpu"] < high < 200.0
    assert deep.seconds["cpu"] == pytest.approx(100.0, rel=0.1)
    assert deep.memory["gpu"] == pytest.approx(8 * GB, rel=0.5)
    assert flat.memory["gpu"] == pytest.approx(GB, rel=0.5)
    text = render_costs(cost_plan(study(48, memory={"deep": 8 * GB, "flat": GB})))
    assert "cpu: memory" in text
    assert " GB " in text
    unmeasured = cost_plan(study(48))
    assert unmeasured.table.kinds[0].memory == {"cpu": None, "gpu": None}
    assert "memory" not in render_costs(unmeasured)


def test_a_pool_without_enough_memory_is_closed_in_the_plan_too() -> None:
    plan = cost_plan(study(48, memory={"deep": 8 * GB, "flat": GB}, limits={"cpu": 4 * GB, "gpu": 32 * GB}))
    (closed,) = plan.table.closed
    assert (closed.kind, closed.pool) == ("model = deep", "cpu")
    assert "model = deep does not run in pool cpu: they probably need more memory" in render_costs(plan)
