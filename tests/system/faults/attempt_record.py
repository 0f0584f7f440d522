"""A record of what attempts did: the objective appends to a file beside the study, which no campaign reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

OBJECTIVE = """
import os, socket, time
from pathlib import Path

import pilotune

STUDY = Path(__file__).parent

def note(event, trial, *words, at=None):
    line = ":".join(map(str, (event, trial.number, trial.attempt, at or time.time(), *words)))
    descriptor = os.open(STUDY / "attempts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (line + "\\n").encode())
    os.fsync(descriptor)
    os.close(descriptor)

def score(trial, step):
    return (37 * trial.number) % 101 + step + trial.attempt / 1024

def objective(trial):
    saved = trial.checkpoint_dir / "step"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    note("start", trial, first, os.getpid(), socket.gethostname())
    try:
        for step in range(first, trial.params["steps"] + 1):
            time.sleep(trial.params["seconds"])
            before = time.time()
            note(save(saved, step), trial, step, at=before)
            tell(trial, step)
    except pilotune.TrialPruned:
        note("end", trial, "pruned")
        raise
    except pilotune.TrialYield:
        time.sleep(trial.params["saving"])
        raise
    note("end", trial, score(trial, 0))
    return score(trial, 0)

def tell(trial, step):
    try:
        trial.report(score(trial, step), step=step)
    finally:  # also where it ends the attempt
        note("made", trial, step, score(trial, step))

def save(path, step):
    draft = path.with_name(f"{os.getpid()}.draft")
    try:
        draft.write_text(str(step))
        draft.replace(path)
    except OSError:
        return "unsaved"
    return "saved"
"""
"""An objective that saves and reports each step. The fraction of each value encodes the attempt it comes from.

It notes a step before it is reported (``saved``, ``unsaved``), and the report when the call has returned (``made``):
from then on it must not be lost, if the trial goes on from this attempt.
"""


def score(number: int, step: int, attempt: int) -> float:
    """The value that an attempt of a trial reports at ``step``; with step 0, the value that it returns."""
    return (37 * number) % 101 + step + attempt / 1024


def attempt_of(value: float) -> int:
    """The attempt that reported or returned ``value``."""
    return round(value % 1 * 1024)


@dataclass(frozen=True)
class Start:
    """An attempt that began.

    Attributes:
        number: Of the trial.
        attempt: From 1.
        at: When, in Unix seconds, as all times here.
        first: Its first step.
        pid, host: Where it ran.
    """

    number: int
    attempt: int
    at: float
    first: int
    pid: int
    host: str


@dataclass
class AttemptRecord:
    """What the attempts of a study noted, in that order.

    Attributes:
        starts: The attempts that began.
        steps: Trial, attempt, step, whether it was saved, and when.
        made: Trial, attempt, step and value of each report, and when the call had returned.
        ends: (trial, attempt) -> its value, or None where it was pruned.
        ended: (trial, attempt) -> when.
    """

    starts: list[Start] = field(default_factory=list)
    steps: list[tuple[int, int, int, bool, float]] = field(default_factory=list)
    made: list[tuple[int, int, int, float, float]] = field(default_factory=list)
    ends: dict[tuple[int, int], float | None] = field(default_factory=dict)
    ended: dict[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> AttemptRecord:
        """Read the file that the objective writes; empty where there is none yet."""
        record = cls()
        for line in path.read_text().splitlines() if path.exists() else ():
            event, number, attempt, at, *words = line.split(":")
            trial = int(number), int(attempt)
            if event == "start":
                record.starts.append(Start(*trial, float(at), int(words[0]), int(words[1]), words[2]))
            elif event == "made":
                record.made.append((*trial, int(words[0]), float(words[1]), float(at)))
            elif event == "end":
                record.ended[trial] = float(at)
                record.ends[trial] = None if words[0] == "pruned" else float(words[0])
            else:
                record.steps.append((*trial, int(words[0]), event == "saved", float(at)))
        return record

    def running(self) -> list[Start]:
        """Attempts that began and did not note an end, the newest first; their processes may be gone."""
        return [start for start in reversed(self.starts) if (start.number, start.attempt) not in self.ends]

    @property
    def again(self) -> int:
        """How many steps were computed that had been computed before."""
        return len(self.steps) - len({(number, step) for number, _, step, _, _ in self.steps})

    def newest(self, number: int) -> int:
        """The highest attempt of a trial that began; 0 where none did."""
        return max((start.attempt for start in self.starts if start.number == number), default=0)
