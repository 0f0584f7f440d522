"""Paused trials in the plan, the progress, tables, summaries and the audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.analysis import PAUSED, read_study, rows, summarize
from pilotune.pipeline.campaign.promotion import PromotionController
from pilotune.pipeline.cli.summary import trial_counts
from pilotune.pipeline.driver.status import Status, snapshot
from pilotune.pipeline.fidelity import Promotions, rung_schedule
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.studies.progress import status_line
from pilotune.pipeline.studyfile import load_study_file, plan, render_plan

from ..support.audited_study import NAME, Audited

STUDY = """name: s
direction: minimize
{runs}
space: {{x: {{int: [1, 300]}}}}
pruner: {pruner}
budget: {{trials: 100}}
"""
COMMAND, FUNCTION = "command: run {x}", "objective: train.py:train"
PROMOTE = "{name: hyperband, mode: promote, max_resource: 27}"


def written(folder: Path, runs: str, pruner: str, more: str = "") -> Path:
    (folder / "train.py").write_text("def train(trial): ...\n")
    path = folder / "s.yaml"
    path.write_text(STUDY.format(runs=runs, pruner=pruner) + more)
    return path


@pytest.mark.parametrize(("runs", "says"), [(COMMAND, "SIGTERM"), (FUNCTION, "trial.checkpoint_dir")])
def test_the_plan_says_where_trials_pause_and_how_they_continue(tmp_path: Path, runs: str, says: str) -> None:
    made = plan(load_study_file(written(tmp_path, runs, PROMOTE)))
    text = render_plan(made)
    assert "0        55.1 % (about 55)  1, 3, 9\n" in text
    assert "they pause at steps" in text
    (note,) = made.notes
    assert "the best 1 in 3 of each continue" in note
    assert says in note
    assert "pruned" not in text


def test_successive_halving_has_one_bracket(tmp_path: Path) -> None:
    halving = "{name: asha, mode: promote, max_resource: 16}"
    assert "0        100.0 % (about 100)  1, 4\n" in render_plan(
        plan(load_study_file(written(tmp_path, FUNCTION, halving)))
    )


@pytest.mark.parametrize(
    ("pruner", "more", "said"),
    [
        (
            "{name: hyperband, mode: halt, max_resource: 27}",
            "",
            "5: pruner.mode: must be stop or promote, but is 'halt'",
        ),
        ("{name: asha, mode: promote}", "", "5: pruner.max_resource: mode: promote needs a whole number"),
    ],
)
def test_mistakes_are_reported_with_their_line_and_key(tmp_path: Path, pruner: str, more: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study_file(written(tmp_path, FUNCTION, pruner, more))
    assert said in str(caught.value)


def test_a_study_of_several_directions_cannot_promote(tmp_path: Path) -> None:
    path = written(tmp_path, FUNCTION, PROMOTE)
    path.write_text(path.read_text().replace("direction: minimize", "directions: [minimize, maximize]"))
    with pytest.raises(UserError, match="cannot prune"):
        load_study_file(path)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def audited(folder: Path, url: str, campaign: str = "c1") -> Audited:
    """A campaign whose trials pause at the steps 1 and 3."""
    study = Audited(folder, url, campaign, trials=4)
    rungs = rung_schedule(Named("successive_halving", {"mode": "promote", "max_resource": 9, "reduction_factor": 3}))
    assert rungs is not None
    promotion = PromotionController(study.campaign.study, Promotions(rungs, NAME))
    study.campaign.trials.promotion = promotion
    study.campaign.reports._promotion = promotion
    return study


def two_paused(study: Audited) -> None:
    """Of two trials both pause; a third and a fourth run."""
    specs = study.begin(4)
    for spec, value in zip(specs[:2], (5.0, 4.0), strict=True):
        study.report(spec, value)
        study.end(spec, "yielded", reports=[[1, value]])


def test_paused_trials_are_counted_and_listed_as_such(tmp_path: Path, url: str) -> None:
    study = audited(tmp_path, url)
    two_paused(study)
    status = snapshot(study.campaign, storage=url, run_dir=str(tmp_path))
    assert (status.paused, status.running, status.total) == (2, 2, 4)
    assert "2 running, 2 paused" in status_line(status)
    assert "paused" not in status_line(replace(status, paused=0))
    assert Status.from_json(status.to_json()).paused == 2
    data = read_study(url, NAME)
    assert [(row.state, row.rung, row.values["value"]) for row in rows(data, [PAUSED])] == [
        (PAUSED, 1, 5.0),
        (PAUSED, 1, 4.0),
    ]
    found = summarize(data)
    assert (found.paused, found.running, found.as_dict()["paused"]) == (2, 2, 2)
    assert "2 running, 2 paused" in trial_counts(found)
    study.stop()
    found = summarize(read_study(url, NAME))
    assert (found.running, found.interrupted) == (0, 2)
    assert "2 interrupted, 2 paused" in trial_counts(found)


def test_the_audit_accepts_paused_trials(tmp_path: Path, url: str) -> None:
    study = audited(tmp_path, url)
    two_paused(study)
    found = study.audit()
    assert found.findings == []
    study.stop()
    assert [each.severity for each in study.audit().findings] == ["note"], "resume continues them"


def test_the_audit_accepts_paused_trials_that_were_pruned_at_the_end(tmp_path: Path, url: str) -> None:
    study = audited(tmp_path, url)
    specs = study.begin(4)
    for spec, value in zip(specs[:2], (5.0, 4.0), strict=True):
        study.report(spec, value)
        study.end(spec, "yielded", reports=[[1, value]])
    assert study.end(specs[2], "complete", 0.5) == []
    (again,) = study.end(specs[3], "complete", 0.5)
    assert (again.number, again.attempt) == (1, 2), "the better one of two continues, since no other trial will come"
    study.end(again, "complete", 0.25)
    assert study.campaign.finished is not None
    study.stop()
    found = study.audit()
    assert found.findings == []
    assert found.outcomes["kept"] == 3
    study.write(
        specs[0], "complete", 0.125, reports=[[1, 5.0]]
    )  # from a worker that had lost its connection and did not know that its trial was paused
    assert study.audit().outcomes["fenced"] == 1
    assert study.audit().findings == []
    assert {row.exit for row in rows(read_study(url, NAME), ["pruned"])} == {"paused"}


def test_the_audit_finds_a_trial_that_has_ended_and_is_paused(tmp_path: Path, url: str) -> None:
    study = audited(tmp_path, url)
    two_paused(study)
    study.stop()
    where = "trial_id = (SELECT trial_id FROM trials WHERE number = 0)"
    study.spoil(
        f"UPDATE trials SET state = 'PRUNED' WHERE {where}",
        f"INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, 'pilotune:exit', '\"paused\"' "
        f"FROM trials WHERE {where}",
    )
    assert any("is recorded as paused at step 1" in each.what for each in study.audit().violations)
