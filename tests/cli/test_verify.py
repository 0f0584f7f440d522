"""The command ``pilotune verify``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pilotune.pipeline.record import known_studies
from pilotune.providers.blocks.job_log import JobLog

from ..support.audited_study import NAME, Audited, three
from ..support.cli import Pilotune, alone, new_study, pilotune_  # noqa: F401


@pytest.fixture
def study(tmp_path: Path) -> Audited:
    return three(tmp_path, f"sqlite:///{tmp_path}/study.db")


def test_a_study_without_problems_is_four_lines_with_exit_code_0(pilotune: Pilotune, study: Audited) -> None:
    result = pilotune("verify", NAME, "--storage", study.url)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "study     digits",
        "trials    3: 1 complete, 1 pruned, 1 failed",
        "outcomes  4 written: 3 kept, 1 retried",
        "No problems found.",
    ]


def test_a_violation_is_printed_last_with_its_file_and_exit_code_1(pilotune: Pilotune, study: Audited) -> None:
    study.rewrite(0, values=[7.0])
    study.outcome(1).unlink()
    result = pilotune("verify", NAME, "--storage", study.url)
    assert result.code == 1
    assert result.out.splitlines()[2:] == [
        "outcomes  3 written: 1 kept, 1 retried, 1 altered",
        "note: trial 1: the database has a result, but there is no outcome file; it could not be written, or was "
        "deleted",
        "violation: the outcome of attempt 1 of trial 0 is altered: it says 7.0, the database says 0.125 "
        f"({study.outcome(0)})",
        "1 violation",
    ]


def test_json_has_everything(pilotune: Pilotune, study: Audited) -> None:
    study.rewrite(0, values=[7.0])
    result = pilotune("verify", NAME, "--storage", study.url, "--json")
    assert result.code == 1
    assert json.loads(result.out) == {
        "study": NAME,
        "trials": 3,
        "states": {"complete": 1, "pruned": 1, "failed": 1, "running": 0, "waiting": 0},
        "outcomes": {"written": 4, "kept": 2, "retried": 1, "fenced": 0, "waiting": 0, "lost": 0, "doubled": 0,
                     "altered": 1, "unreadable": 0},
        "artifacts": 0,
        "findings": [
            {"severity": "violation", "trial": 0, "file": str(study.outcome(0)),
             "what": "the outcome of attempt 1 of trial 0 is altered: it says 7.0, the database says 0.125"},
        ],
        "ok": False,
    }  # fmt: skip


def test_a_study_is_named_as_for_other_commands(pilotune: Pilotune, study: Audited) -> None:
    known_studies.save(name=NAME, study_file=study.folder / "digits.yaml", storage=study.url,
                      runs=study.folder / "runs", site="local", run_dir=study.run.path)  # fmt: skip
    assert pilotune("verify").code == 0
    assert "No problems found." in pilotune("verify", NAME).out
    result = pilotune("verify", "digit")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'digits'" in result.err
    result = pilotune("verify", "digit", "--storage", study.url)
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'digits'" in result.err


def test_a_study_of_plain_optuna_has_no_problems(pilotune: Pilotune, tmp_path: Path) -> None:
    new_study(f"sqlite:///{tmp_path}/plain.db").optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    result = pilotune("verify", "--storage", f"sqlite:///{tmp_path}/plain.db")
    assert (result.code, result.out.splitlines()[1:]) == (
        0,
        ["trials    3: 3 complete", "outcomes  none written", "No problems found."],
    )


def test_a_study_without_trials_has_no_problems(pilotune: Pilotune, tmp_path: Path) -> None:
    new_study(f"sqlite:///{tmp_path}/empty.db")
    result = pilotune("verify", "--storage", f"sqlite:///{tmp_path}/empty.db")
    assert (result.code, result.out.splitlines()[1:]) == (
        0,
        ["trials    0", "outcomes  none written", "No problems found."],
    )


def test_jobs_that_may_not_have_ended_are_noted_with_the_way_to_end_them(pilotune: Pilotune, study: Audited) -> None:
    book = JobLog(study.run.jobs, "slurm", 60.0)
    for name, job in (("a", "4711"), ("b", "4712")):
        book.submitting(name, "knl", "0")
        book.submitted(name, "knl", "0", job, 0.0)
    book.submitting("c", "knl", "0")
    book.ended("a", "knl", "0", "4711", "finished")
    (note,) = json.loads(pilotune("verify", NAME, "--storage", study.url, "--json").out)["findings"]
    assert note == {
        "severity": "note",
        "what": "2 jobs of a dead driver may not have ended (4712, c); pilotune clean digits ends what is left of them",
        "trial": None,
        "file": str(study.run.jobs),
    }


def test_jobs_of_a_running_driver_are_not_noted(pilotune: Pilotune, tmp_path: Path) -> None:
    study = Audited(tmp_path, f"sqlite:///{tmp_path}/study.db")
    JobLog(study.run.jobs, "slurm", 60.0).submitted("a", "knl", "0", "4711", 0.0)
    assert "No problems found." in pilotune("verify", NAME, "--storage", study.url).out.splitlines()[3]


def test_of_very_many_findings_some_are_printed(pilotune: Pilotune, tmp_path: Path) -> None:
    study = Audited(tmp_path, f"sqlite:///{tmp_path}/study.db", trials=30)
    study.begin(30)
    study.spoil("INSERT INTO trial_values (trial_id, objective, value, value_type) "
                "SELECT trial_id, 0, 1.0, 'FINITE' FROM trials")  # fmt: skip
    lines = pilotune("verify", NAME, "--storage", study.url).out.splitlines()
    assert len(lines) == 3 + 20 + 2
    assert lines[-2:] == ["violation: and 10 more; --json has all of them", "30 violations"]
