"""What becomes of the files that an attempt has kept, on real processes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.run_attempt import run_attempt

from ..support.small_disks import fill, small_disk
from ..support.trial_driver import make_spec

OBJECTIVE = """
    import os, signal
    from pathlib import Path

    import pilotune

    def keeps(trial):
        trial.artifact("model.pt").write_text(f"attempt {trial.attempt}")
        Path("held.npz").write_text("held")
        trial.artifact(Path("held.npz"))
        return 1.0

    def prunes(trial):
        keeps(trial)
        raise pilotune.TrialPruned

    def fails(trial):
        keeps(trial)
        raise ValueError("no")

    def yields(trial):
        keeps(trial)
        raise pilotune.TrialYield

    def dies(trial):
        keeps(trial)
        os.kill(os.getpid(), signal.SIGKILL)

    def keeps_nothing(trial):
        return 1.0

    def bad_name(trial):
        trial.artifact("../model.pt")

    def copies_much(trial):
        big = Path("/dev/shm") / f"big-{os.getpid()}"
        big.write_bytes(b"x" * 4_000_000)
        try:
            trial.artifact(big)
        finally:
            big.unlink()
        return 1.0
"""


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    made = TrialFiles(tmp_path / "trials" / "7")
    made.directory.mkdir(parents=True)
    return made


def attempt(files: TrialFiles, number: int, function: str, **spec: Any) -> dict[str, Any]:
    """Run an attempt of trial 7 in a process of its own."""
    place = files.directory.parents[1]
    (place / "mine.py").write_text(textwrap.dedent(OBJECTIVE))
    objective = spec.pop("objective", ObjectiveSpec(file=str(place / "mine.py"), function=function, folder=str(place)))
    fields = {"number": 7, "attempt": number, "token": f"7.{number}.c", "directory": str(files.directory)}
    return run_attempt(make_spec(place, objective, **{**fields, **spec}))


@pytest.mark.parametrize("isolate", [True, False])
def test_a_complete_attempt_says_what_it_has_kept(files: TrialFiles, isolate: bool) -> None:
    outcome = attempt(files, 1, "keeps", isolate=isolate)
    assert (outcome["kind"], outcome["artifacts"]) == ("complete", {"held.npz": 4, "model.pt": 9})
    assert (files.artifacts(1) / "model.pt").read_text() == "attempt 1"
    assert attempt(files, 2, "keeps_nothing", since=2, repeat=1, isolate=isolate)["artifacts"] == {}


@pytest.mark.parametrize(
    ("function", "kind"), [("prunes", "pruned"), ("fails", "failed"), ("yields", "yielded"), ("dies", "failed")]
)
def test_the_files_of_another_attempt_vanish(files: TrialFiles, function: str, kind: str) -> None:
    outcome = attempt(files, 1, function)
    assert (outcome["kind"], outcome["artifacts"]) == (kind, {})
    assert not files.artifacts(1).exists()


def test_the_next_attempt_removes_what_a_killed_worker_has_left(files: TrialFiles) -> None:
    attempt(files, 1, "keeps")
    files.outcome(1).unlink()  # its worker was killed before
    assert attempt(files, 2, "keeps")["artifacts"] == {"held.npz": 4, "model.pt": 9}
    assert not files.artifacts(1).exists()
    assert (files.artifacts(2) / "model.pt").read_text() == "attempt 2"


def test_with_the_result_of_an_attempt_that_nobody_collected_its_files_are_taken_over(files: TrialFiles) -> None:
    attempt(files, 1, "keeps")
    second = attempt(files, 2, "keeps_nothing")
    assert second["reason"].startswith("attempt 1 had ended")
    assert second["artifacts"] == {"held.npz": 4, "model.pt": 9}
    assert (files.artifacts(2) / "model.pt").read_text() == "attempt 1"
    assert not files.artifacts(1).exists()


def test_a_name_that_is_none_fails_the_trial_with_a_sentence(files: TrialFiles) -> None:
    outcome = attempt(files, 1, "bad_name")
    assert (outcome["kind"], outcome["failure"]) == ("failed", "exception")
    assert "there is no file '../model.pt' to keep as an artifact" in outcome["reason"]


def test_a_command_finds_a_folder_for_its_files(files: TrialFiles) -> None:
    line = 'echo weights > "$PILOTUNE_ARTIFACTS/model.pt"; ls -d {artifact_dir}; echo value=1'
    objective = ObjectiveSpec(command=line, shell=True, reports=r"value=(?P<value>\S+)")
    outcome = attempt(files, 1, "", objective=objective)
    assert (outcome["kind"], outcome["artifacts"]) == ("complete", {"model.pt": 8})
    assert files.stdout(1).read_text().splitlines()[0] == str(files.artifacts(1))
    nothing = ObjectiveSpec(command="echo value=1", reports=r"value=(?P<value>\S+)")
    assert attempt(files, 2, "", objective=nothing, since=2, repeat=1)["artifacts"] == {}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[TrialFiles]:
    with small_disk(tmp_path / "disk", "4m") as disk:
        made = TrialFiles(disk / "trials" / "7")
        made.create(1)
        yield made


def test_a_full_disk_puts_the_trial_back(full: TrialFiles) -> None:
    filler = fill(full.directory.parents[1], 2_000_000)
    outcome = attempt(full, 1, "copies_much")
    assert (outcome["kind"], outcome["failure"]) == ("failed", "disk"), outcome["reason"]
    assert not full.artifacts(1).exists()
    assert "No space left" in outcome["reason"]
    filler.unlink()
