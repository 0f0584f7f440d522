"""The audit finds no violation in a study without problems, and notes what a user should know."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import optuna
import pytest

from pilotune.errors import UserError
from pilotune.pipeline.analysis.audit import audit
from pilotune.pipeline.analysis.audit import database as audit_database
from pilotune.pipeline.campaign.events import Ended, Lost
from pilotune.pipeline.record import open_storage, orphans
from pilotune.pipeline.record.database import Database
from pilotune.pipeline.trial.protocol import Outcome
from pilotune.pipeline.worker.run_attempt import cut_outcome

from ...support.audited_study import NAME, Audited, contents, three

NONE = {"retried": 0, "fenced": 0, "waiting": 0, "lost": 0, "doubled": 0, "altered": 0, "unreadable": 0}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def sentences(found) -> list[str]:
    return [f"{each.severity}: {each.what}" for each in found.findings]


def test_every_outcome_of_a_study_without_problems_is_accounted_for(tmp_path: Path, database_url: str) -> None:
    found = three(tmp_path, database_url).audit()
    assert sentences(found) == []
    assert (found.ok, found.trials) == (True, 3)
    assert found.states == {"complete": 1, "pruned": 1, "failed": 1, "running": 0, "waiting": 0}
    assert found.outcomes == {**NONE, "written": 4, "kept": 3, "retried": 1}


def test_nothing_is_noted_about_the_trials_of_a_running_campaign(tmp_path: Path, database_url: str) -> None:
    study = Audited(tmp_path, database_url)
    told, written, _running = study.begin(3)
    study.end(told, "complete", 1.0)
    study.write(written, "complete", 2.0, reports=[[1, 2.0]])
    found = study.audit()
    assert sentences(found) == []
    assert found.states["running"] == 3  # the freed worker has the next one
    assert found.outcomes == {**NONE, "written": 2, "kept": 1, "waiting": 1}


def test_trials_that_a_dead_driver_left_are_noted_with_the_way_to_continue(tmp_path: Path, database_url: str) -> None:
    study = Audited(tmp_path, database_url)
    (spec, _) = study.begin(2)
    study.write(spec, "complete", 2.0)
    study.die()
    found = study.audit()
    assert found.ok
    assert found.outcomes == {**NONE, "written": 1, "kept": 0, "waiting": 1}
    assert sentences(found) == [
        "note: pilotune resume digits continues trials 0 and 1, which campaign c1 left",
        f"note: the driver of campaign c1 (process {study.lease.pid} on {study.lease.host}) died; "
        "pilotune resume digits continues its work",
    ]


def test_an_outcome_waits_for_the_driver_that_took_its_trial_over(tmp_path: Path, url: str) -> None:
    first = Audited(tmp_path, url)
    ended, running = first.begin(2)
    outcome = first.write(ended, "complete", 2.0)
    first.die()
    second = Audited(tmp_path, url, "c2")
    taken = orphans(second.storage, second.study)
    assert second.audit().outcomes == {**NONE, "written": 1, "kept": 0, "waiting": 1}
    tokens = [second.campaign.adopt(orphan) for orphan in taken]
    assert tokens == [ended.token, running.token]
    second.turn(Ended(outcome))
    again = second.lose(running)
    second.end(again, "complete", 3.0)
    found = second.stop().audit()
    assert sentences(found) == []
    assert found.outcomes == {**NONE, "written": 2, "kept": 2}
    assert again.directory == running.directory


def test_the_outcome_of_an_attempt_that_had_been_given_up_is_fenced(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url)
    (spec,) = study.begin(1)
    again = study.lose(spec)
    study.end(again, "complete", 1.0)
    study.write(spec, "complete", 99.0, reports=[[1, 99.0]])
    found = study.audit()
    assert found.outcomes == {**NONE, "written": 2, "kept": 1, "fenced": 1}
    assert found.ok


def test_an_outcome_after_its_trial_failed_as_lost_is_fenced(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    for _ in range(study.campaign.limits.max_losses):
        spec = study.lose(spec)
    assert study.turn(Lost(spec.token, "its worker was lost")) == []
    study.write(spec, "complete", 99.0)
    found = study.audit()
    assert (found.states["failed"], found.ok) == (1, True)
    assert found.outcomes == {**NONE, "written": 1, "kept": 0, "fenced": 1}


def test_reports_of_several_attempts_belong_to_one_trial(tmp_path: Path, url: str) -> None:
    """The second attempt begins anew, and the first value of each step stands."""
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    study.report(spec, 0.5, math.nan)
    (again,) = study.end(spec, "yielded", reports=[[1, 0.5], [2, math.nan]])
    study.report(again, 0.75, 0.25, math.inf)
    study.end(again, "complete", 1.0, reports=[[1, 0.75], [2, 0.25], [3, math.inf]])
    assert study.storage.get_all_trials(study.study._study_id)[0].intermediate_values[1] == 0.5
    found = study.audit()
    assert sentences(found) == []
    assert found.outcomes == {**NONE, "written": 1, "kept": 1}


@pytest.mark.parametrize(
    ("kind", "failure"), [("failed", "setup"), ("failed", "disk"), ("stopped", ""), ("failed", "signal")]
)
def test_reports_count_even_if_the_worker_wrote_an_outcome_without_them(
    tmp_path: Path, url: str, kind: str, failure: str
) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    study.report(spec, 0.5)
    again = study.end(spec, kind, failure=failure)
    study.now += 60.0  # until then it may be put aside
    for each in again or study.turn():
        study.end(each, "complete", 1.0)
    found = study.audit()
    assert sentences(found) == []
    assert found.trials == sum(found.states[state] for state in ("complete", "failed")) == 1


def test_reports_that_did_not_fit_into_the_outcome_are_accepted(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    study.report(spec, 0.5)
    outcome = study.write(spec, "complete", 1.0, reports=[[1, 0.5]])
    cut = cut_outcome(outcome.to_dict(), most=10)
    study.rewrite(0, **cut)
    study.turn(Ended(Outcome.from_dict(cut)))
    found = study.audit()
    assert sentences(found) == []
    assert found.outcomes == {**NONE, "written": 1, "kept": 1}


def test_a_value_that_is_not_finite_is_kept_as_a_failure(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=2, directions=2)
    first, second = study.begin(2)
    study.end(first, "complete", math.inf, 1.0)
    study.end(second, "complete", 1.0, 2.0)
    found = study.audit()
    assert found.states["failed"] == 1
    assert found.outcomes == {**NONE, "written": 2, "kept": 2}
    assert sentences(found) == []


def test_trials_of_other_programs_are_noted_and_no_violation(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    plain = optuna.load_study(study_name=NAME, storage=url)
    plain.enqueue_trial({"x": 0.5})
    plain.ask()
    plain.enqueue_trial({"x": 0.25})
    found = study.audit()
    assert found.ok
    assert sentences(found) == [
        "note: trial 3: started by a program other than Pilotune, which must end them as well",
        "note: pilotune resume digits starts trial 4",
        "note: 4 trials have begun, 1 of them by another program; the budget was 3",
    ]


def test_the_outcome_of_a_trial_that_another_program_ended_is_fenced(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url, trials=1)
    (spec,) = study.begin(1)
    optuna.load_study(study_name=NAME, storage=url).tell(0, state=optuna.trial.TrialState.FAIL)
    study.write(spec, "complete", 1.0)
    found = study.audit()
    assert found.outcomes == {**NONE, "written": 1, "kept": 0, "fenced": 1}
    (note,) = found.notes
    assert "is late, and ignored: a program other than Pilotune had ended the trial" in note.what
    assert (note.trial, note.file) == (0, str(study.outcome(0)))


def test_a_missing_run_directory_is_noted_and_no_violation(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    shutil.rmtree(study.run.path)
    found = study.audit()
    assert found.ok
    assert found.outcomes == {**NONE, "written": 0, "kept": 0}
    assert [(each.file, "is gone" in each.what) for each in found.findings] == [(str(study.run.path), True)]


def test_results_without_an_outcome_file_are_noted(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    study.outcome(0).unlink()
    shutil.rmtree(study.run.trial(1).directory)
    found = study.audit()
    assert found.outcomes == {**NONE, "written": 2, "kept": 1, "retried": 1}
    (note,) = found.notes
    assert note.what.startswith("trials 0 and 1: the database has a result, but there is no outcome file")


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2]", "null", '{"token": "0.1.c1"}', '{"values": [' + "[" * 100_000, "\udcff", "7"]
)
def test_an_unreadable_outcome_is_noted_and_the_audit_continues(tmp_path: Path, url: str, text: str) -> None:
    study = three(tmp_path, url)
    study.outcome(0).write_bytes(text.encode(errors="surrogateescape"))
    found = study.audit()
    assert found.outcomes == {**NONE, "written": 4, "kept": 2, "retried": 1, "unreadable": 1}
    assert "cannot be read: it is not an outcome (" in found.notes[0].what
    assert found.ok


def test_an_outcome_of_an_unknown_kind_is_noted(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    study.rewrite(0, kind="perhaps")
    found = study.audit()
    assert found.outcomes["unreadable"] == 1
    assert "'kind' has the wrong type" in found.notes[0].what


def test_an_outcome_of_another_trial_is_noted(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    shutil.copy(study.outcome(0), study.outcome(1))
    found = study.audit()
    assert found.outcomes["unreadable"] == 1
    assert "it is of attempt '0.1.c1'" in found.notes[0].what


def test_an_audit_writes_nothing(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    before = contents(tmp_path)
    study.audit()
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    new = {Path(name).name for name in after.keys() - before.keys()}
    assert new <= {"study.db-shm", "study.db-wal"}  # SQLite's own, which every reader makes and the next writer ends


def test_the_number_of_statements_does_not_grow_with_the_trials(tmp_path: Path, url: str, monkeypatch) -> None:
    asked, run = [], Database.run
    monkeypatch.setattr(Database, "run", lambda self, *words: asked.append(1) or run(self, *words))
    study = Audited(tmp_path, url, trials=40)

    def statements() -> int:
        asked.clear()
        assert study.audit().ok
        return len(asked)

    for spec in study.begin(1):
        study.end(spec, "complete", 1.0)
    few = statements()
    while not study.campaign.finished:
        for spec in [study.make_spec(flight) for flight in study.campaign.flights.values()]:
            study.end(spec, "complete", 1.0)
    assert statements() == few


def test_an_unknown_study_is_a_user_error(tmp_path: Path, url: str) -> None:
    three(tmp_path, url)
    with pytest.raises(UserError, match=r"no study 'digit' .* did you mean 'digits'"):
        audit(url, "digit")
    with pytest.raises(UserError, match="there is no database file"):
        audit(f"sqlite:///{tmp_path}/other.db", NAME)
    Path(tmp_path / "text.db").write_text("not a database" * 100)
    with pytest.raises(UserError, match="is not an SQLite database"):
        audit(f"sqlite:///{tmp_path}/text.db", NAME)


def test_the_audit_reads_the_attributes_that_a_campaign_writes(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    (trial, *_) = open_storage(url).get_all_trials(study.study._study_id)
    assert {*audit_database.USER} - {*trial.user_attrs} == {"pilotune:from", "pilotune:paused"}
    others = {"pilotune:left", "pilotune:copied", "pilotune:heard", "pilotune:repeats", "pilotune:artifacts"}
    assert {*audit_database.SYSTEM} - {*trial.system_attrs} == others


def test_trials_copied_from_another_study_do_not_count_for_the_budget(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    plain = optuna.load_study(study_name=NAME, storage=url)
    copy = optuna.create_trial(value=1.0, user_attrs={"pilotune:from": "older#0", "pilotune:exit": "signal"})
    plain.add_trial(copy)
    found = study.audit()
    assert sentences(found) == []
    assert found.trials == 4


def test_waiting_trials_are_not_noted_while_a_campaign_runs(tmp_path: Path, url: str) -> None:
    study = Audited(tmp_path, url)
    optuna.load_study(study_name=NAME, storage=url).enqueue_trial({"x": 0.5})
    assert sentences(study.audit()) == []
    assert study.audit().states["waiting"] == 1


def test_outcomes_are_found_by_the_trials_directories_without_a_lease(tmp_path: Path, url: str) -> None:
    study = three(tmp_path, url)
    study.spoil("DELETE FROM study_system_attributes WHERE key LIKE 'pilotune:campaign:%'")
    found = study.audit()
    assert sentences(found) == []
    assert found.outcomes == {**NONE, "written": 4, "kept": 3, "retried": 1}


def test_run_directories_behind_symbolic_links_are_read_once(tmp_path: Path, url: str) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    study = three(tmp_path / "link", url)
    found = study.audit()
    assert sentences(found) == []
    assert found.outcomes == {**NONE, "written": 4, "kept": 3, "retried": 1}
