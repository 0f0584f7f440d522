"""The audit of trials that are repeated: each outcome counts, by the values of its repetition."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.pipeline.analysis.audit import audit
from pilotune.pipeline.noise import Repeats
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.record.study_admin import copy_study
from tests.support.audited_study import NAME, Audited


@pytest.fixture
def study(tmp_path: Path) -> Audited:
    """One trial with three repetitions: 1.0 in attempt 1, 2.0 in attempt 3 after a crash, 6.0 in attempt 4."""
    made = Audited(tmp_path, f"sqlite:///{tmp_path}/study.db", trials=1, repeats=Repeats(3, 3))
    (first,) = made.begin(1)
    made.report(first, 0.5)
    (second,) = made.end(first, "complete", 1.0, reports=[[1, 0.5]])
    (again,) = made.end(second, "failed", failure="signal", reports=[[1, 0.7], [2, 0.7]])
    (third,) = made.end(again, "complete", 2.0, reports=[[1, 0.8], [2, 0.8]])
    made.end(third, "complete", 6.0, reports=[[1, 0.9]])
    return made.stop()


def violations(study: Audited) -> list[str]:
    return [each.what for each in study.audit().violations]


def test_all_outcomes_are_accounted_for_and_later_reports_are_not_missed(study: Audited) -> None:
    found = study.audit()
    assert found.findings == []
    assert {fate: found.outcomes[fate] for fate in ("written", "kept", "retried")} == {
        "written": 4, "kept": 3, "retried": 1
    }  # fmt: skip


def test_a_repetition_with_another_value_is_found(study: Audited) -> None:
    study.rewrite(0, 3, values=[2.5])
    assert violations(study) == ["the outcome of attempt 3 of trial 0 is altered: it says 2.5, the database says 2.0"]


def test_a_repetition_that_did_not_complete_is_found(study: Audited) -> None:
    study.rewrite(0, 3, kind="failed", values=None)
    assert violations(study) == [
        "the outcome of attempt 3 of trial 0 is altered: it says failed, the database has values of it"
    ]


def test_a_report_of_the_first_repetition_that_is_missing_is_found(study: Audited) -> None:
    study.spoil("DELETE FROM trial_intermediate_values")
    (said,) = violations(study)
    assert said.endswith("its report at step 1 is not in the database")


def test_a_value_that_is_not_the_mean_is_found(study: Audited) -> None:
    study.spoil("UPDATE trial_values SET value = 4.0")
    assert violations(study) == ["trial 0 has the values [4.0], but the means of its repetitions are [3.0]"]


def test_a_repetition_that_is_counted_twice_is_found(study: Audited) -> None:
    study.spoil(
        "UPDATE trial_system_attributes SET value_json = replace(value_json, '0.3.c1', '0.1.c1') "
        "WHERE key = 'pilotune:repeats'"
    )
    assert "trial 0 has repetitions that ended with the attempts [1, 1, 4], but its latest attempt is 4" in violations(
        study
    )


def test_a_study_between_two_repetitions_is_in_order(tmp_path: Path) -> None:
    made = Audited(tmp_path, f"sqlite:///{tmp_path}/study.db", trials=1, repeats=Repeats(3, 3))
    (first,) = made.begin(1)
    (second,) = made.end(first, "complete", 1.0, reports=[[1, 0.5]])
    assert made.audit().violations == []
    made.write(second, "complete", 2.0, reports=[[1, 0.7], [2, 0.7]])  # its driver dies before it reads it
    found = made.die().audit()
    assert found.violations == []
    assert (found.outcomes["kept"], found.outcomes["waiting"]) == (1, 1)


def test_a_copy_of_a_study_with_repetitions_is_in_order(study: Audited) -> None:
    storage = RecordStorage(study.url, autocommit=False)
    copy_study(storage, NAME, storage, "copy")
    storage.close()
    assert audit(study.url, "copy").violations == []
