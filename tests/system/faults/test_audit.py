"""The comparison of a study with the record of its attempts finds each thing that must not be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from .attempt_record import AttemptRecord, Start, attempt_of, score
from .audit import Findings, audit


def trial(number: int, kept: int, reports: Mapping[int, int], folder: Path, **more: object) -> FrozenTrial:
    """A complete trial with the value of attempt ``kept``. ``reports``: step -> the attempt that made it."""
    fields = {"state": TrialState.COMPLETE, "value": score(number, 0, kept), **more}
    made = create_trial(
        intermediate_values={step: score(number, step, attempt) for step, attempt in reports.items()},
        user_attrs={"pilotune:directory": str(folder)},
        **fields,  # type: ignore[arg-type]
    )
    made.number = number
    return made


def record(*attempts: tuple[int, int, int, int]) -> AttemptRecord:
    """Each of them (trial, attempt, first step, last step), one after the other; they came to their ends."""
    made = AttemptRecord()
    for at, (number, attempt, first, last) in enumerate(attempts):
        made.starts.append(Start(number, attempt, float(at), first, 1, "n1"))
        made.steps += [(number, attempt, step, True, at + step / 100) for step in range(first, last + 1)]
        made.ends[number, attempt] = score(number, 0, attempt)
    return made


def found(trials: list[FrozenTrial], noted: AttemptRecord, budget: int = 2) -> tuple[int, int, int]:
    findings: Findings = audit(trials, noted, budget)
    return len(findings.lost), len(findings.doubled), len(findings.wrong)


def unheard(left: FrozenTrial, noted: AttemptRecord) -> list[str]:
    return audit([left], noted, 1).unheard


def cut(noted: AttemptRecord, number: int, attempt: int) -> AttemptRecord:
    """That attempt did not come to its end."""
    del noted.ends[number, attempt]
    return noted


def test_a_value_tells_its_attempt() -> None:
    assert [attempt_of(score(7, 0, attempt)) for attempt in (1, 2, 600)] == [1, 2, 600]


def test_a_study_that_holds_what_its_trials_did_passes(tmp_path: Path) -> None:
    noted = cut(record((0, 1, 1, 2), (0, 2, 3, 3), (1, 1, 1, 3)), 0, 1)
    both = [trial(0, 2, {1: 1, 2: 1, 3: 2}, tmp_path), trial(1, 1, {1: 1, 2: 1, 3: 1}, tmp_path)]
    assert found(both, noted) == (0, 0, 0)
    assert found(both, noted, budget=1) == (0, 1, 0)
    assert found(both[1:], noted) == (1, 1, 0), "number 0 is missing"
    assert found([both[0], both[0]], noted) == (1, 1, 0), "number 0 is there twice"


@pytest.mark.parametrize(
    ("state", "lost"), [(TrialState.FAIL, 1), (TrialState.RUNNING, 1)], ids=lambda value: getattr(value, "name", value)
)
def test_a_result_on_disk_that_is_not_kept_is_lost(state: TrialState, lost: int, tmp_path: Path) -> None:
    left = trial(0, 1, {1: 1}, tmp_path, state=state, value=None)
    assert found([left], record((0, 1, 1, 1))) == (0, 0, 0), "its worker died before it wrote anything"
    (tmp_path / "outcome-1.json").write_text(json.dumps({"kind": "complete"}))
    assert found([left], record((0, 1, 1, 1))) == (lost, 0, 0)


def test_an_attempt_after_the_result_that_is_kept_is_doubled_work(tmp_path: Path) -> None:
    noted = record((0, 1, 1, 1), (0, 2, 2, 2))
    assert found([trial(0, 1, {1: 1, 2: 2}, tmp_path)], noted) == (0, 1, 0)


def test_a_value_that_nobody_returned_is_wrong(tmp_path: Path) -> None:
    assert found([trial(0, 1, {1: 1}, tmp_path)], cut(record((0, 1, 1, 1)), 0, 1)) == (0, 0, 1)
    assert found([trial(0, 2, {1: 1}, tmp_path)], record((0, 1, 1, 1))) == (0, 0, 1)


def test_reports_are_a_prefix_of_those_that_were_made(tmp_path: Path) -> None:
    noted = cut(record((0, 1, 1, 3), (0, 2, 4, 4)), 0, 1)
    assert found([trial(0, 2, {1: 1, 2: 1, 4: 2}, tmp_path)], noted) == (0, 0, 0), "the last one was never made"
    assert found([trial(0, 2, {1: 1, 3: 1, 4: 2}, tmp_path)], noted) == (0, 0, 1), "a gap"
    assert found([trial(0, 2, {1: 1, 2: 1, 4: 2, 9: 1}, tmp_path)], noted) == (0, 0, 1), "nobody made this one"
    again = cut(record((0, 1, 1, 2), (0, 2, 2, 3)), 0, 1)
    again.steps[1] = (0, 1, 2, False, 0.02)
    assert found([trial(0, 2, {1: 1, 2: 1, 3: 2}, tmp_path)], again) == (0, 0, 0), "the first report of step 2 counts"


def test_reports_of_attempts_that_the_trial_went_on_from_are_all_there(tmp_path: Path) -> None:
    noted = cut(record((0, 1, 1, 2), (0, 2, 3, 4)), 0, 1)
    noted.made = [(0, 1, 1, score(0, 1, 1), 0.1), (0, 1, 2, score(0, 2, 1), 0.2), (0, 2, 3, score(0, 3, 2), 1.1)]
    assert unheard(trial(0, 2, {1: 1, 2: 1, 3: 2}, tmp_path), noted) == []
    (sentence,) = unheard(trial(0, 2, {1: 1, 3: 2}, tmp_path), noted)
    assert "lacks the report" in sentence
    assert "at step 2" in sentence
    assert len(unheard(trial(0, 2, {1: 1, 2: 1}, tmp_path), noted)) == 1, "the last attempt's are there, too"
    assert len(audit([trial(0, 2, {1: 1, 2: 2, 3: 2}, tmp_path)], noted, 1).wrong) == 2, "the first of a step counts"
    noted.made.append((0, 1, 9, score(0, 9, 1), 1.5))
    assert unheard(trial(0, 2, {1: 1, 2: 1, 3: 2}, tmp_path), noted) == [], "attempt 2 had begun"
    assert noted.again == 0


def test_attempts_neither_save_beside_their_successors_nor_compute_again_what_was_saved(tmp_path: Path) -> None:
    noted = cut(record((0, 1, 1, 2), (0, 2, 2, 2)), 0, 1)
    assert found([trial(0, 2, {1: 1, 2: 2}, tmp_path)], noted) == (0, 0, 1), "step 2 was computed again"
    noted = cut(record((0, 1, 1, 1), (0, 2, 2, 3)), 0, 1)
    late = (0, 1, 2, True, 1.5)
    kept = [trial(0, 2, {1: 1, 2: 2, 3: 2}, tmp_path)]
    assert found(kept, noted) == (0, 0, 0)
    noted.steps.append(late)
    assert found(kept, noted) == (0, 0, 1), "attempt 1 saved after attempt 2 had begun"


def test_the_record_is_read_from_what_the_objective_writes(tmp_path: Path) -> None:
    lines = ["start:3:1:10.5:1:77:n1", "saved:3:1:11:1", "unsaved:3:1:12:2", "end:3:1:13:pruned", "end:4:2:14:48.5"]
    lines.insert(2, "made:3:1:11.5:1:0.25")
    path = tmp_path / "attempts"
    path.write_text("\n".join(lines) + "\n")
    noted = AttemptRecord.read(path)
    assert noted.starts == [Start(3, 1, 10.5, 1, 77, "n1")]
    assert noted.steps == [(3, 1, 1, True, 11.0), (3, 1, 2, False, 12.0)]
    assert noted.made == [(3, 1, 1, 0.25, 11.5)]
    assert noted.ends == {(3, 1): None, (4, 2): 48.5}
    assert noted.running() == []
    assert AttemptRecord.read(tmp_path / "nowhere") == AttemptRecord()
