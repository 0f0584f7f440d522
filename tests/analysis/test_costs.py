"""What a study cost, and what pruning saved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.pipeline.analysis import StudyData, cost_sentences, dataframe, rows, study_cost, summarize
from pilotune.pipeline.analysis.costs import pruning_saved
from pilotune.pipeline.analysis.plots.spending import blocks
from pilotune.pipeline.analysis.plots.trials import Trials
from pilotune.pipeline.attributes import BLOCKS, GPU_HOURS, HOURS, NODE_HOURS, PEAK_MEMORY
from pilotune.pipeline.cli.results import trials_table
from pilotune.pipeline.record.hours import Ledger, PoolHours, Spent

HOUR, NOW = 3600.0, 1.8e9


def trial(state: TrialState, cost: float | None, reports: int = 0, **attrs: Any) -> optuna.trial.FrozenTrial:
    values = dict.fromkeys(range(1, reports + 1), 0.5)
    user = {} if cost is None else {NODE_HOURS: cost}
    value = 1.0 if state == TrialState.COMPLETE else None
    return optuna.create_trial(state=state, value=value, intermediate_values=values, user_attrs={**user, **attrs})


def study(*trials: optuna.trial.FrozenTrial, **ledgers: Ledger) -> StudyData:
    for number, each in enumerate(trials):
        each.number = number
    kept = {HOURS + campaign: json.loads(json.dumps(ledger.to_json())) for campaign, ledger in ledgers.items()}
    return StudyData("sqlite:///s.db", "s", ("maximize",), ("value",), trials, {}, frozenset(), kept)


def test_hours_of_all_campaigns_are_added_up_by_pool() -> None:
    data = study(
        trial(TrialState.COMPLETE, 0.5),
        c1=Ledger({"cpu": Spent(2 * HOUR, 3 * HOUR, 0, HOUR), "gpu": Spent(HOUR, HOUR, 4, HOUR)}),
        c2=Ledger({"cpu": Spent(HOUR, HOUR, 0, HOUR)}, over=True),
    )
    cost = study_cost(data)
    assert cost is not None
    assert (cost.node_hours, cost.gpu_hours, cost.busy, cost.trials) == (4.0, 4.0, 0.75, 0.5)
    assert cost.pools["gpu"] == PoolHours("gpu", node_hours=1.0, gpu_hours=4.0, busy_node_hours=1.0)
    assert cost_sentences(cost) == ["the study used 4 node-hours (cpu 3, gpu 1), 75% busy and 25% idle; 4 GPU-hours"]
    assert summarize(data).as_dict()["cost"]["pools"]["cpu"]["node_hours"] == 3.0


def test_blocks_of_a_campaign_that_lives_have_gone_on_since_its_ledger_was_kept() -> None:
    kept = Ledger({"cpu": Spent(HOUR, 8 * HOUR, 0, 0.0, held=2, taken=HOUR / 2, taking=1.0)}, at=NOW)
    data = study(trial(TrialState.COMPLETE, 0.5), c1=kept, c2=kept)
    cost = study_cost(replace(data, live=frozenset({"c1"})), NOW + 1800.0)
    assert cost is not None
    assert cost.pools["cpu"] == PoolHours("cpu", 1.0 + 2.0, 0.0, 1.0), "of c2, which is dead, what is known of it"


def test_the_plot_of_blocks_says_the_same_node_hours_as_everything_else() -> None:
    data = study(trial(TrialState.COMPLETE, 0.5), c1=Ledger({"cpu": Spent(HOUR, HOUR, 0, HOUR)}, over=True))
    row = ["cpu", "0", "j0", NOW, NOW + 60.0, NOW + HOUR, 1, 1, "", None]  # it was suspended, too
    data = replace(data, system_attrs={**data.system_attrs, BLOCKS + "c1:0": [row]})
    assert "; 1 node-hour." in blocks(Trials(data)).caption
    assert "; 0.9833 node-hours." in blocks(Trials(replace(data, system_attrs={BLOCKS + "c1:0": [row]}))).caption


def test_a_study_that_counted_no_hours_has_no_cost() -> None:
    data = study(trial(TrialState.COMPLETE, None))
    assert study_cost(data) is None
    assert summarize(data).as_dict()["cost"] is None
    assert "node_hours" not in dataframe(data)


def test_a_pruned_trial_would_have_gone_on_at_its_own_pace() -> None:
    whole = [trial(TrialState.COMPLETE, 1.0, reports) for reports in (9, 9, 27)]
    slow, quick = trial(TrialState.PRUNED, 0.6, 3), trial(TrialState.PRUNED, 0.1, 1)
    assert pruning_saved([*whole, slow, quick]) == (2, pytest.approx(0.2 * 6 + 0.1 * 8))


def test_without_reports_a_pruned_trial_would_have_cost_what_others_did() -> None:
    whole = [trial(TrialState.COMPLETE, cost) for cost in (1.0, 2.0, 9.0)]
    stopped = [trial(TrialState.PRUNED, 0.5), trial(TrialState.PRUNED, 3.0)]
    assert pruning_saved([*whole, *stopped]) == (2, pytest.approx(1.5))
    assert pruning_saved(stopped) == (2, None), "there is nothing to compare with"
    assert pruning_saved(whole) == (0, None)
    assert pruning_saved([*whole, trial(TrialState.PRUNED, 0.5, **{"pilotune:exit": "replaced"})]) == (0, None)
    cost = study_cost(study(*whole, *stopped))
    assert cost is not None
    (sentence,) = cost_sentences(cost)
    assert sentence.startswith("pruning 2 trials saved about 1.5 node-hours (estimated, as if ")


def test_each_trials_cost_is_listed_exported_and_sorted_by() -> None:
    data = study(trial(TrialState.COMPLETE, 0.25, **{GPU_HOURS: 2.0}), trial(TrialState.COMPLETE, 0.125))
    assert [row.number for row in rows(data, sort="node_hours")] == [1, 0]
    assert rows(data)[0].as_dict()["gpu_hours"] == 2.0
    assert dataframe(data)["node_hours"].tolist() == [0.25, 0.125]
    head, first, *_ = trials_table(["value"], rows(data), None).splitlines()
    assert "node-hours" in head
    assert "0.25" in first + _[0]


def test_each_trials_peak_memory_is_listed_exported_and_sorted_by_where_it_was_measured() -> None:
    large, unknown = trial(TrialState.COMPLETE, None, **{PEAK_MEMORY: 3_200_000_000}), trial(TrialState.COMPLETE, None)
    data = study(large, unknown, trial(TrialState.COMPLETE, None, **{PEAK_MEMORY: 41_000_000}))
    assert [row.number for row in rows(data, sort="peak_memory")] == [2, 0, 1]
    assert [row.as_dict()["peak_memory"] for row in rows(data)] == [3_200_000_000, None, 41_000_000]
    assert dataframe(data)["peak_memory"].dropna().tolist() == [3_200_000_000, 41_000_000]
    table = [line.split("  ")[-1].strip() for line in trials_table(["value"], rows(data), None).splitlines()]
    assert table == ["memory", "3.2 GB", "-", "41 MB"]
    assert "peak_memory" not in dataframe(study(unknown))
