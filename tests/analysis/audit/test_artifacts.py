"""What an audit finds of artifacts: those of trials that are not complete, and files that are missing or cut short."""

from __future__ import annotations

import pytest

from pilotune.pipeline.analysis.audit.artifacts import check_artifacts, read_artifacts
from pilotune.pipeline.analysis.audit.database import Claims, RecordedTrial
from pilotune.pipeline.analysis.audit.findings import Audit
from pilotune.pipeline.record import Lease


@pytest.fixture
def claims(tmp_path) -> Claims:
    """A study with two campaigns, whose trials 0 and 1 have kept a model of 4 bytes each."""
    for number in (0, 1):
        (tmp_path / "artifacts" / str(number)).mkdir(parents=True)
        (tmp_path / "artifacts" / str(number) / "model").write_text("1234")
    leases = {name: Lease(name, "host", "host", 1, 1, str(tmp_path / name)) for name in ("c1", "c2")}
    return Claims(1, 1, leases, frozenset(), True)


def found(claims: Claims, *trials: RecordedTrial) -> list[str]:
    audit = Audit("digits")
    check_artifacts(audit, trials, read_artifacts(claims))
    assert audit.artifacts == 2
    assert audit.to_json()["artifacts"] == 2
    return [each.what for each in audit.violations]


def trial(number: int, state: str = "complete", **sizes: int) -> RecordedTrial:
    return RecordedTrial(number, state, artifacts=sizes or None)


def test_whole_artifacts_of_complete_trials_are_right(claims: Claims) -> None:
    assert found(claims, trial(0, model=4), trial(1, model=4), trial(2, model=9)) == []


def test_artifacts_of_other_trials_are_violations(claims: Claims) -> None:
    assert found(claims, trial(0, "pruned")) == [
        "there are artifacts of trial 0, which is pruned",
        "there are artifacts of trial 1, which does not exist",
    ]


def test_missing_and_cut_files_are_violations(claims: Claims) -> None:
    assert found(claims, trial(0, model=4, held=3), trial(1, model=5)) == [
        "the artifact 'held' of trial 0 is missing",
        "the artifact 'model' of trial 1 has 4 bytes, but had 5 when its attempt ended",
    ]
