"""Reports of attempts that a trial went on from are in the study, whatever died when; and the audit finds lost ones.

Drivers are played by the test, and die. The attempts run on real workers.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pilotune.pipeline.campaign.events import Ended, Lost
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, ObjectiveSpec, Outcome
from pilotune.pipeline.trial.report_log import ReportWriter, carry
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.audited_study import Audited

OBJECTIVE = """
import pilotune

PLAN = {plan}

def objective(trial):
    first, last, end = PLAN[trial.attempt]
    for step in range(first, last + 1):
        trial.report(step / 10, step=step)
    if end == "yield":
        raise pilotune.TrialYield("saved")
    if end == "die":
        raise SystemError("its driver is gone")
    return 0.125
"""
"""``PLAN``: attempt -> its first and last step, and how it ends."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


class Trial:
    """One trial, whose attempts report by a plan."""

    def __init__(self, folder: Path, **plan: tuple[int, int, str]) -> None:
        path = folder / "planned.py"
        attempts = {int(name[1:]): steps for name, steps in plan.items()}
        path.write_text(OBJECTIVE.format(plan=attempts))
        self.objective = ObjectiveSpec(file=str(path), function="objective")

    def run(self, spec: AttemptSpec) -> Outcome:
        """Run an attempt to its end; no driver has heard the outcome."""
        real = dataclasses.replace(spec, objective=self.objective, isolate=False)
        return Outcome.from_dict(run_attempt(real.to_dict()))


def reports(study: Audited) -> list[tuple[int, float]]:
    (trial,) = study.storage.get_all_trials(study.study._study_id)
    return list(trial.intermediate_values.items())


def all_of(steps: int) -> list[tuple[int, float]]:
    return [(step, step / 10) for step in range(1, steps + 1)]


def test_reports_of_an_attempt_that_yielded_to_nobody_are_told_by_a_later_one(tmp_path: Path, url: str) -> None:
    """Two drivers die: one before it hears the outcome, and one before the next attempt begins."""
    trial = Trial(tmp_path, a1=(1, 6, "yield"), a3=(7, 6, "return"))
    first = Audited(tmp_path, url, trials=1)
    (one,) = first.begin(1)
    first.die()
    second = Audited(tmp_path, url, "c2", trials=1)
    second.take_over()
    assert trial.run(one).kind == "yielded"
    second.die()
    third = Audited(tmp_path, url, "c3", trials=1)
    (three,) = third.take_over()
    assert (three.attempt, three.reported) == (3, [])
    third.turn(Ended(trial.run(three)))
    assert reports(third) == all_of(6)
    assert third.stop().audit().findings == []


def test_reports_of_an_attempt_that_was_stopped_as_its_driver_died_are_not_lost(
    tmp_path: Path, database_url: str
) -> None:
    trial = Trial(tmp_path, a1=(1, 3, "yield"), a2=(4, 4, "die"), a3=(5, 6, "return"))
    first = Audited(tmp_path, database_url, trials=1)
    (one,) = first.begin(1)
    (two,) = first.turn(Ended(trial.run(one)))
    assert two.reported == [[1, 3]]
    first.die()
    trial.run(two)
    second = Audited(tmp_path, database_url, "c2", trials=1)
    (three,) = second.take_over()
    outcome = trial.run(three)
    assert outcome.reports == [[4, 0.4], [5, 0.5], [6, 0.6]]
    second.turn(Ended(outcome))
    assert reports(second) == all_of(6)
    assert second.stop().audit().findings == []


# -- what the audit finds ---------------------------------------------------------------------------------------------


def write(spec: AttemptSpec, *steps: int) -> None:
    writer = ReportWriter(TrialFiles(Path(spec.directory)), spec.attempt)
    for step in steps:
        writer.append(step, step / 10)
    writer.close()


def begin(spec: AttemptSpec) -> None:
    carry(TrialFiles(Path(spec.directory)), spec.attempt)


def forget(study: Audited, *steps: int) -> None:
    places = ", ".join(map(str, steps))
    study.spoil(f"DELETE FROM trial_intermediate_values WHERE step IN ({places})")


def went_on(folder: Path, url: str) -> tuple[Audited, AttemptSpec, AttemptSpec]:
    """Attempt 1 made three reports and was lost; attempt 2 carries them and has told them, and one of its own."""
    study = Audited(folder, url, trials=1)
    (one,) = study.begin(1)
    write(one, 1, 2, 3)
    two = study.lose(one)
    begin(two)
    write(two, 4)
    study.report(two, 0.1, 0.2, 0.3, 0.4)
    return study, one, two


def lost(study: Audited) -> list[str]:
    return [each.what for each in study.audit().violations]


def test_a_lost_report_is_a_violation(tmp_path: Path, url: str) -> None:
    study, _, two = went_on(tmp_path, url)
    study.end(two, "complete", 1.0, reports=[[4, 0.4]])
    assert lost(study.stop()) == []
    forget(study, 2, 3)
    assert lost(study) == [
        "2 reports of trial 0 are lost: attempt 1 has them at steps 2, 3 in its report log, the trial went on from "
        "there, and the database does not have them"
    ]


def test_in_a_running_trial_what_an_attempt_carries_comes_before_its_own(tmp_path: Path, url: str) -> None:
    study, _, _ = went_on(tmp_path, url)
    assert lost(study) == []
    forget(study, 3, 4)
    assert lost(study) == [], "both may be on their way"


def test_in_a_running_trial_a_gap_before_an_attempts_own_report_is_a_loss(tmp_path: Path, url: str) -> None:
    study, _, _ = went_on(tmp_path, url)
    forget(study, 3)
    (sentence,) = lost(study)
    assert sentence.startswith("a report of trial 0 is lost: attempt 2 has it at step 3")


def test_what_came_too_late_is_not_lost(tmp_path: Path, url: str) -> None:
    study, one, two = went_on(tmp_path, url)
    write(one, 5, 6)  # attempt 2 has begun
    study.end(two, "complete", 1.0, reports=[[4, 0.4]])
    assert lost(study.stop()) == []


def test_what_a_trial_that_was_given_up_wrote_before_and_after(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    for _ in range(study.campaign.limits.max_losses):
        spec = study.lose(spec)
        begin(spec)
    write(spec, 1, 2)
    assert study.turn(Lost(spec.token, "its worker was lost")) == []
    write(spec, 3)
    assert reports(study) == all_of(2)
    assert lost(study.stop()) == []
    forget(study, 2)
    (sentence,) = lost(study)
    assert f"attempt {spec.attempt} has it at step 2" in sentence


def test_reports_of_the_last_attempt_count_too(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    write(spec, 1, 2)
    study.end(spec, "complete", 1.0, reports=[[1, 0.1]])
    study.rewrite(0, finished=1e12)
    (sentence,) = lost(study.stop())
    assert "attempt 1 has it at step 2" in sentence
