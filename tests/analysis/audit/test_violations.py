"""The audit finds every kind of damage to a study. Each test damages one thing by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilotune.pipeline.record import RunDirectory

from ...support.audited_study import Audited, contents, three


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Audited, Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("whole")
    study = three(folder, f"sqlite:///{folder}/study.db")
    study.audit()
    return study, folder, contents(folder)


@pytest.fixture
def study(whole: tuple[Audited, Path, dict[str, bytes]]) -> Iterator[Audited]:
    """A campaign that has ended (trial 0 complete, 1 pruned, 2 failed at its second attempt), to be spoiled."""
    made, folder, files = whole
    assert made.audit().findings == []
    yield made
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, data in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)


def violations(study: Audited) -> list[str]:
    found = study.audit()
    assert found.ok == (not found.violations)
    return [each.what for each in found.violations]


TRIAL = "trial_id = (SELECT trial_id FROM trials WHERE number = {})"


def of(number: int, statement: str) -> str:
    return f"{statement} WHERE {TRIAL.format(number)}"


DATABASE: dict[str, tuple[str, list[str]]] = {
    "a value is another": (
        of(0, "UPDATE trial_values SET value = 0.126"),
        ["the outcome of attempt 1 of trial 0 is altered: it says 0.125, the database says 0.126"],
    ),
    "a value is missing": (
        of(0, "DELETE FROM trial_values"),
        [
            "trial 0 is complete, but has 0 of 1 values",
            "the outcome of attempt 1 of trial 0 is altered: it says 0.125, the database says no value",
        ],
    ),
    "a failed trial has a value": (
        "INSERT INTO trial_values (trial_id, objective, value, value_type) "
        "SELECT trial_id, 0, 1.0, 'FINITE' FROM trials WHERE number = 2",
        ["trial 2 is failed, but has a value"],
    ),
    "a state is another": (
        of(1, "UPDATE trials SET state = 'FAIL'"),
        [
            "trial 1 is failed, but its recorded end is: pruned",
            "the outcome of attempt 1 of trial 1 is altered: it says pruned, the database says failed",
        ],
    ),
    "an end is half written": (
        of(1, "UPDATE trials SET state = 'RUNNING'"),
        ["trial 1 is running, but has a value", "trial 1 is running, but its recorded end is: pruned"],
    ),
    "an ended trial waits": (
        of(2, "UPDATE trials SET state = 'WAITING'"),
        [
            "trial 2 is waiting, but its recorded end is: exception",
            "the outcome of attempt 2 of trial 2 is lost: "
            "the database says that the trial is waiting, as if it had never begun",
        ],
    ),
    "a report is missing": (
        of(0, "DELETE FROM trial_intermediate_values") + " AND step = 2",
        ["the outcome of attempt 1 of trial 0 is altered: its report at step 2 is not in the database"],
    ),
    "a report is another": (
        of(1, "UPDATE trial_intermediate_values SET intermediate_value = 0.5"),
        [
            "the outcome of attempt 1 of trial 1 is altered: it reported 0.75 at step 1, the database says 0.5",
            "trial 1 has the report 0.5 at step 1, which no attempt made",
        ],
    ),
    "a report is invented": (
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
        "SELECT trial_id, 7, 1.0, 'FINITE' FROM trials WHERE number = 2",
        ["trial 2 has the report 1.0 at step 7, which no attempt made"],
    ),
    "an attempt is forgotten": (
        of(2, "UPDATE trial_system_attributes SET value_json = '1'") + " AND key = 'pilotune:attempt'",
        [
            "trial 2 ended after attempt 2, but the latest attempt that began is 1",
            "the outcome of attempt 2 of trial 2 is lost: the latest attempt in the database is 1",
        ],
    ),
    "an attempt is another campaign's": (
        of(0, "UPDATE trial_system_attributes SET value_json = '\"c7\"'") + " AND key = 'pilotune:campaign'",
        ["the outcome of attempt 1 of trial 0 is altered: it is of attempt 0.1.c1, but the database expects 0.1.c7"],
    ),
    "numbers have a hole": (
        "UPDATE trials SET number = 3 WHERE number = 1",
        [
            "the database has no trial 1",
            "the outcome of attempt 1 of trial 1 is lost: the database has no trial of this number",
        ],
    ),
    "a number is there twice": (
        "UPDATE trials SET number = 0 WHERE number = 2",
        [
            "2 trials have the number 0",
            "the outcome of attempt 2 of trial 2 is lost: the database has no trial of this number",
            "the outcome of attempt 1 of trial 0 is doubled: the database has 2 trials of this number",
        ],
    ),
    "a trial's row is gone": (
        "DELETE FROM trials WHERE number = 2",
        [
            "rows of trial_intermediate_values belong to no trial",
            "the outcome of attempt 2 of trial 2 is lost: the database has no trial of this number",
        ],
    ),
    "an index is gone and its pages are not": (
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'ix_trials_study_id'",
        ["never used"],
    ),
    "a table holds a step twice": (
        "CREATE TABLE other AS SELECT * FROM trial_intermediate_values; DROP TABLE trial_intermediate_values;"
        "ALTER TABLE other RENAME TO trial_intermediate_values;"
        "INSERT INTO trial_intermediate_values SELECT * FROM trial_intermediate_values",
        ["the trial with id 1 has several reports of step 1"],
    ),
}


@pytest.mark.parametrize("case", DATABASE)
def test_what_is_wrong_in_the_database_is_found(study: Audited, case: str) -> None:
    statements, expected = DATABASE[case]
    study.spoil(*statements.split(";"))
    said = violations(study)
    for sentence in expected:
        assert [each for each in said if each.endswith(sentence)], (sentence, said)


def move_to_another_place(study: Audited) -> None:
    """The trial is running, its driver is dead, and its outcome is where the next driver will not look."""
    study.spoil(
        of(0, "UPDATE trials SET state = 'RUNNING'"),
        of(0, "DELETE FROM trial_user_attributes"),
        of(0, "DELETE FROM trial_values"),
        of(0, "INSERT OR REPLACE INTO trial_system_attributes (trial_id, key, value_json) "
              "SELECT trial_id, 'pilotune:left', json_object('campaign', 'c1', 'attempt', 1, 'directory', '/elsewhere')"
              " FROM trials"),
    )  # fmt: skip


def copy_to_another_run(study: Audited) -> None:
    """The same attempt has run twice."""
    other = RunDirectory(study.run.path.with_name("c2"))
    study.spoil("INSERT INTO study_system_attributes (study_id, key, value_json) SELECT study_id, "
                f"'pilotune:campaign:c2', replace(value_json, '{study.run.path}', '{other.path}') "
                "FROM study_system_attributes WHERE key = 'pilotune:campaign:c1'")  # fmt: skip
    shutil.copytree(study.run.trials / "0", other.trials / "0")


def begin_unknown_trial(study: Audited) -> None:
    (study.run.trials / "3" / "work-1").mkdir(parents=True)


def begin_unknown_attempt(study: Audited) -> None:
    (study.run.trials / "0" / "work-2").mkdir(parents=True)


def shrink_budget(study: Audited) -> None:
    study.run.study_file.write_text("budget: {trials: 2}\n")


def two_drivers(study: Audited) -> None:
    alive = json.dumps({**study.lease.to_json(), "state": "running"})
    for campaign in ("c8", "c9"):
        study.spoil("INSERT INTO study_system_attributes (study_id, key, value_json) "
                    f"VALUES (1, 'pilotune:campaign:{campaign}', '{alive}')")  # fmt: skip


FILES: list[tuple[Callable[[Audited], None], str]] = [
    (lambda study: study.rewrite(0, values=[0.1250000001]), "altered: it says 0.1250000001, the database says 0.125"),
    (lambda study: study.rewrite(0, kind="pruned"), "altered: it says pruned, the database says complete"),
    (lambda study: study.rewrite(1, reports=[[1, 0.75], [9, 0.5]]), "its report at step 9 is not in the database"),
    (lambda study: study.rewrite(0, token="0.1.c2"), "it is of attempt 0.1.c2, but the database expects 0.1.c1"),
    (move_to_another_place, "is lost: the next driver will look for it in /elsewhere"),
    (copy_to_another_run, "the outcome of attempt 1 of trial 0 is doubled: 2 files have an outcome of this attempt"),
    (begin_unknown_trial, "attempt 1 of trial 3 has begun, but the database has no such trial"),
    (begin_unknown_attempt, "attempt 2 of trial 0 has begun, but the latest attempt in the database is 1"),
    (shrink_budget, "3 trials have begun, but the largest budget was 2"),
    (two_drivers, "2 drivers work on the study, but SQLite allows one: c8, c9"),
]


@pytest.mark.parametrize(("spoil", "sentence"), FILES)
def test_what_is_wrong_in_the_files_is_found(study: Audited, spoil: Callable[[Audited], None], sentence: str) -> None:
    spoil(study)
    assert [each for each in violations(study) if each.endswith(sentence)], violations(study)


def test_a_damaged_database_file_is_a_violation_and_not_an_error(study: Audited) -> None:
    path = Path(study.url.removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):  # the first two hold the schema
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    said = violations(study)
    assert said
    assert all("the database file is damaged" in each for each in said)
