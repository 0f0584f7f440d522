"""``budget: patience``: the campaign ends when so many trials in a row have brought nothing better."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.attributes import LEARNED
from pilotune.pipeline.campaign.events import Capacity
from pilotune.pipeline.campaign.stagnation import Stagnation
from tests.support.campaign_bench import Bench, benches, finish_of, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def play(campaign: Bench, values: list[float | None]) -> list[int]:
    """Run trials one at a time with these values (None: failed); returns the numbers of those that ran."""
    numbers = []
    specs = campaign.specs(Capacity(1))
    for value in values:
        if not specs:
            break
        (spec,) = specs
        numbers.append(spec.number)
        times = {"started": 0.0, "finished": 60.0}  # so long that none is asked for ahead
        failed = {"kind": "failed", "failure": "value", "reason": "none"}
        end = over(spec, **failed, **times) if value is None else over(spec, value=value, **times)
        specs = campaign.specs(started(spec), end)
    return numbers


def test_it_ends_after_so_many_trials_without_a_better_value(bench) -> None:
    campaign = bench(patience=3)
    assert play(campaign, [5.0, 4.0, 4.0, 6.0, 3.0, 3.0, None, 7.0, 1.0]) == [0, 1, 2, 3, 4, 5, 6, 7]
    finish = campaign.campaign.finished
    assert (finish.code, finish.reason) == (
        0,
        "no better value in the last 3 trials (patience 3); the best is trial 4 with 3",
    )


def test_larger_values_are_better_where_the_study_maximizes(tmp_path) -> None:
    study = optuna.create_study(direction="maximize")
    stagnation = Stagnation()
    counts = []
    for value in (1.0, 2.0, 2.0, 0.0, 3.0, 1.0):
        study.tell(study.ask(), value)
        counts.append(stagnation.refresh(study))
    assert counts == [0, 0, 1, 2, 0, 1]
    assert stagnation.best == 4


def test_nothing_counts_before_the_first_value(bench) -> None:
    campaign = bench(patience=2, failures=10)
    assert play(campaign, [None, None, None, 5.0, None, None, 1.0]) == [0, 1, 2, 3, 4, 5]


def test_it_counts_over_campaigns(bench) -> None:
    first = bench(patience=4)
    assert play(first, [1.0, 2.0, 3.0]) == [0, 1, 2]
    first.campaign._end(130, "stopped")
    first.storage.close()
    second = bench(campaign="c2", patience=3)
    numbers = play(second, [4.0, 5.0])
    assert len(numbers) == 1, "two of the three trials were before it"
    second.storage.close()
    third = bench(campaign="c3", patience=3)
    assert finish_of(third.turn(Capacity(2))).reason.startswith("no better value in the last 3 trials (patience 3)")
    third.storage.close()
    more = bench(campaign="c4", patience=5)
    assert len(play(more, [9.0, 9.0, 9.0])) == 2


def test_trials_of_other_drivers_count(bench) -> None:
    ours = bench(patience=3)
    (spec,) = ours.specs(Capacity(1))
    ours.turn(started(spec), over(spec, value=1.0))
    theirs = optuna.load_study(study_name="s", storage=ours.storage.url)
    for value in (2.0, 3.0, 4.0):
        theirs.tell(theirs.ask(), value)
    ours.storage.sync()
    ours.turn()
    assert ours.campaign.ending.reason.startswith("no better value in the last 3 trials")


def test_the_count_does_not_depend_on_the_order_in_which_ends_are_seen() -> None:
    random, began = Random(0), datetime(2026, 1, 1)
    for _ in range(30):
        trials = []
        for _ in range(12):
            copied = random.random() < 0.2
            state = random.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            trial = create_trial(
                state=TrialState.COMPLETE if copied else state,
                value=float(random.randint(0, 5)) if copied or state == TrialState.COMPLETE else None,
                user_attrs={LEARNED: "other#1"} if copied else {},
            )
            trial.datetime_start = began
            trial.datetime_complete = began + timedelta(seconds=random.randint(0, 6))
            trials.append(trial)
        study = optuna.create_study()
        seen = Stagnation()
        for trial in trials:
            study.add_trial(trial)
            seen.refresh(study)
        counts = {seen.count, Stagnation().refresh(study), by_hand(study)}
        assert len(counts) == 1


def by_hand(study: optuna.Study) -> int:
    trials = study.get_trials()
    copied = [trial for trial in trials if LEARNED in trial.user_attrs]
    own = sorted((trial for trial in trials if trial not in copied), key=lambda t: (t.datetime_complete, t.number))
    best, count = None, 0
    for trial in (*copied, *own):
        if trial.state == TrialState.COMPLETE and (best is None or trial.value < best):
            best, count = trial.value, 0
        elif best is not None and LEARNED not in trial.user_attrs:
            count += 1
    return count
