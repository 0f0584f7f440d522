"""Runs a study while faults are injected into it, and audits the result."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import optuna
import psycopg
from optuna.trial import FrozenTrial

from ...support.local import PILOTUNE, Here, kill_processes, processes, until
from ...support.postgres import Server
from ...support.slurm import Lab
from .attempt_record import OBJECTIVE, AttemptRecord
from .audit import Findings, audit

NAME = "faults"
PATIENCE = 240.0
"""Seconds within which a study recovers from any fault here."""

STUDY = """
direction: maximize
space: {{x: {{float: [0.0, 1.0]}}, steps: {steps}, seconds: {seconds}, saving: {saving}}}
sampler: random
pruner: {{name: median, n_startup_trials: 5, n_warmup_steps: 2}}
budget: {{trials: {trials}}}
trial: {{grace: 2s}}
{more}
"""

FINISHED = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"


@dataclass(frozen=True)
class Result:
    """The result of an experiment.

    Attributes:
        injected: Each fault and when it was injected (Unix seconds); for one that lasts, when it was over.
        recoveries: Seconds from each fault to the first end of an attempt that began after it; a fault that the next
            one follows before such an end is left out.
        findings: Violations; empty if all is well.
        trials: As plain Optuna reads them.
        log: The logs of all drivers.
        out: What the last driver printed.
        verified: What ``pilotune verify --json`` printed.
    """

    injected: list[tuple[str, float]]
    recoveries: list[float]
    findings: Findings
    trials: list[FrozenTrial]
    record: AttemptRecord
    log: str
    out: str
    verified: dict[str, Any]

    @property
    def recovery(self) -> float:
        """The slowest recovery, in seconds."""
        return max(self.recoveries, default=0.0)


@dataclass
class Experiment:
    """One study in a folder of its own.

    Attributes:
        trials, steps, seconds: The budget of trials, the steps of each, and the seconds that a step takes.
        saving: Seconds that an attempt takes to end when it is told to yield.
        lasts: Seconds that a temporary fault lasts.
        url: Of its database; empty: the default, an SQLite file in the run directory.
        program: The words that call ``pilotune``.
        server: The PostgreSQL server of that database.
        lab: The Slurm whose login node this is.
        words: Options of each ``pilotune run``.
        more: Further lines of the study file.
    """

    folder: Path
    trials: int = 30
    steps: int = 5
    seconds: float = 0.1
    saving: float = 0.0
    lasts: float = 0.0
    url: str = ""
    server: Server | None = None
    lab: Lab | None = None
    program: Sequence[str] = (str(PILOTUNE),)
    words: Sequence[object] = ("--set", "pools.local.workers_per_node=2")
    environment: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    injected: list[tuple[str, float]] = field(default_factory=list)
    checkpoints_lost: bool = False  # by the fault itself

    def __enter__(self) -> Self:
        self.here = Here(self.folder, **self.environment)
        text = STUDY.format(
            steps=self.steps, seconds=self.seconds, saving=self.saving, trials=self.trials, more=self.more
        )
        self.here.study(NAME, OBJECTIVE, text)
        self.driver: subprocess.Popen[bytes] | None = None
        self._result: Result | None = None
        self._drivers: list[subprocess.Popen[bytes]] = []
        self._progress: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_database, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()
        for driver in self._drivers:
            if driver.poll() is None:
                driver.kill()
                driver.wait()
        kill_processes(self.here)

    # -- drivers ------------------------------------------------------------------------------------------------------

    def start(self, *, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start ``pilotune run``, whose output goes to files. ``before``: a command to run it with."""
        storage = ("--storage", self.url) if self.url else ()
        output = self.folder / f"driver-{len(self._drivers)}"
        with open(output.with_suffix(".out"), "wb") as out, open(output.with_suffix(".err"), "wb") as err:
            self.driver = subprocess.Popen(
                [*before, *self.program, "run", f"{NAME}.yaml", *storage, *map(str, self.words)],
                cwd=self.folder, env=self.here.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        self._drivers.append(self.driver)
        return self.driver

    def printed(self, driver: subprocess.Popen[bytes] | None = None) -> str:
        """What a driver printed; by default the newest one."""
        number = self._drivers.index(driver) if driver else len(self._drivers) - 1
        files = [self.folder / f"driver-{number}.{kind}" for kind in ("out", "err")]
        return "\n".join(path.read_text() for path in files)

    def wait(self) -> int:
        """Wait for the driver's end; return its exit code."""
        assert self.driver is not None
        try:
            return self.driver.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the campaign hangs:\n{self.printed()}\n{self.log()[-3000:]}") from None

    def end(self) -> None:
        """Wait for the driver's end; it has to complete the study."""
        code = self.wait()
        assert code == 0, f"{code}:\n{self.printed()}\n{self.log()[-3000:]}"

    def run_folder(self) -> str:
        """The run directory of the newest driver; empty before there is one."""
        status = self.here.status(NAME)
        assert self.driver is not None
        return str(status["run_dir"]) if status.get("pid") == self.driver.pid else ""

    def log(self) -> str:
        """The logs of all drivers, in order."""
        return "".join(path.read_text() for path in sorted((self.here.runs / NAME).glob("2*-*/driver.log")))

    # -- faults -------------------------------------------------------------------------------------------------------

    def inject(self, fault: str, act: Callable[[], object] = lambda: None) -> None:
        """Do ``act``, and note a fault. For one that lasts, call this when it is over: recovery counts from then."""
        at = time.time()
        act()
        self.injected.append((fault, at))

    def record(self) -> AttemptRecord:
        return AttemptRecord.read(self.folder / "attempts")

    def finished(self) -> int:
        """How many trials have ended, by the last look into the database."""
        return self._progress[-1][1] if self._progress else 0

    def progress(self, more: int = 1) -> None:
        """Wait until ``more`` trials have ended, or the driver has."""
        goal = self.finished() + more
        until(
            lambda: self.finished() >= goal or (self.driver and self.driver.poll() is not None),
            f"{goal} trials have ended:\n{self.log()[-3000:]}",
            PATIENCE,
        )

    def _watch_database(self) -> None:
        while not self._over.wait(0.1):
            with suppress(sqlite3.Error, psycopg.Error, OSError):
                count = self._count()
                if not self._progress or count != self._progress[-1][1]:
                    self._progress.append((time.time(), count))

    def _count(self) -> int:
        """Read-only, so that the recovery of SQLite after a crash is left to the campaign."""
        if self.url.startswith("postgresql"):
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                row = connection.execute(FINISHED).fetchone()
                return int(row[0]) if row else 0
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as file:
            return int(file.execute(FINISHED).fetchone()[0])

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url else self.here.runs / NAME / "study.db"

    # -- the result ----------------------------------------------------------------------------------------------

    def nothing_is_left(self) -> None:
        until(lambda: not processes(self.here), "all processes have ended", PATIENCE)

    def settle(self) -> None:
        """Audit the completed study, while all its files are there."""
        self.nothing_is_left()
        self._result = self._audit()

    def result(self) -> Result:
        """The result of the audit."""
        if self._result is None:
            self.settle()
        assert self._result is not None
        return self._result

    def _audit(self) -> Result:
        self._progress.append((time.time(), self._count()))
        url = self.url.replace("postgresql://", "postgresql+psycopg://") or f"sqlite:///{self.database}"
        trials = optuna.load_study(study_name=NAME, storage=url).trials
        record = self.record()
        findings = audit(trials, record, self.trials, checkpoints=not self.checkpoints_lost)
        if len(trials) < self.trials or not all(trial.state.is_finished() for trial in trials):
            findings.wrong.append(f"{self.trials} trials were to end, and {self.finished()} did")
        verified = self.verify()
        return Result(
            self.injected,
            self._recoveries(record),
            findings + _violations(verified),
            trials,
            record,
            self.log(),
            self.printed(),
            verified,
        )

    def _recoveries(self, record: AttemptRecord) -> list[float]:
        found, moments = [], [*(at for _, at in self.injected), time.time()]
        for at, then in pairwise(moments):
            begun = [(start.number, start.attempt) for start in record.starts if start.at > at]
            ends = [record.ended[each] for each in begun if record.ended.get(each, then) < then]
            found += [min(ends) - at] if ends else []
        return found

    def verify(self) -> dict[str, Any]:
        """Run ``pilotune verify``."""
        done = subprocess.run(
            [str(PILOTUNE), "verify", NAME, "--json"],
            cwd=self.folder, env=self.here.environment, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        verified: dict[str, Any] = json.loads(done.stdout)
        assert verified["ok"] == (done.returncode == 0), done.stdout
        return verified


def _violations(verified: Mapping[str, Any]) -> Findings:
    outcomes = verified["outcomes"]
    return Findings(
        ["verify: an outcome is lost"] * outcomes["lost"],
        ["verify: an outcome counts twice"] * outcomes["doubled"],
        [f"verify: {each['what']}" for each in verified["findings"] if each["severity"] == "violation"],
    )
