"""Artifacts of simulated trials: real files, moved by the real keeper, whose driver is killed between any two steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import ARTIFACTS
from pilotune.pipeline.driver.artifacts import ArtifactKeeper
from pilotune.pipeline.record import artifacts
from pilotune.pipeline.record.best_first import best_first
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.pipeline.worker.artifacts import drop_earlier, ended_with

from .surroundings import Surroundings

NAME = "model"
"""The file that each attempt keeps; it holds the attempt's token."""


class SimulatedKeeper(ArtifactKeeper):
    """Does its work at once, in the driver that may be killed before and after each step of it."""

    world: Surroundings

    def _submit(self, job: Callable[[], None]) -> None:
        self.world.point("before artifacts are moved")
        job()

    def _wait(self, stopped: Callable[[], bool], tell: Callable[[str], None]) -> bool:
        return True

    def _keep(self, trial: FrozenTrial) -> None:
        self._is_committed(trial.number)
        super()._keep(trial)
        self.world.saw["artifacts kept"] += 1
        self.world.point("after artifacts are kept")

    def _forget(self, number: int) -> None:
        self._is_committed(number)
        self.world.saw["artifacts deleted"] += (self.home / str(number)).is_dir()
        artifacts.forget(self.home, number, lambda: self.world.point("while artifacts are deleted"))
        self._sizes.pop(number, None)

    def _is_committed(self, number: int) -> None:
        """The trial is complete in the database, not only in the driver's memory."""
        try:
            with closing(sqlite3.connect(self.world.database, timeout=0.0)) as connection:
                rows = connection.execute("SELECT state FROM trials WHERE number = ?", (number,)).fetchall()
        except sqlite3.OperationalError:  # another driver is suspended inside a transaction
            return
        assert rows == [("COMPLETE",)], f"the artifacts of trial {number} were touched before its end was committed"


def begin_artifacts(spec: AttemptSpec) -> None:
    """An attempt begins, and writes half of its file."""
    files = TrialFiles(Path(spec.directory))
    if spec.attempt > 1:
        drop_earlier(files, spec.attempt)
    files.artifacts(spec.attempt).mkdir(exist_ok=True)
    (files.artifacts(spec.attempt) / NAME).write_text("half")


def end_artifacts(spec: AttemptSpec, *, complete: bool) -> dict[str, int]:
    """It ends on its worker, also where a later one has begun and has removed its folder."""
    folder = TrialFiles(Path(spec.directory)).artifacts(spec.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(spec.token)
    return ended_with(spec.directory, spec.attempt, complete=complete)


def check_artifacts(world: Surroundings, trials: list[FrozenTrial]) -> None:
    """The artifacts of the best complete trials are kept, of no others, and they are those of the attempts that count.

    Trials that end without an attempt's outcome, as by a broken file, have none.
    """
    kept = artifacts.kept_artifacts(world.runs)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.system_attrs.get(ARTIFACTS)]
    ordered = best_first(complete, [StudyDirection.MINIMIZE])[: world.case.keep]
    best = {trial.number: trial for trial in ordered} if world.case.artifacts else {}
    assert kept.keys() == best.keys(), f"artifacts of trials {sorted(kept)} are kept, not of {sorted(best)}"
    for number, trial in best.items():
        text, attempts = kept[number][NAME].read_text(), trial.user_attrs["pilotune:attempts"]
        assert text.startswith(f"{number}.{attempts}."), (
            f"trial {number} has the artifacts of {text}, not of {attempts}"
        )
    assert not list(artifacts.artifacts_folder(world.runs).glob(".*")), "something half-done is left"
