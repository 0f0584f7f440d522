"""Campaigns on the tests' Slurm: site files, an objective with checkpoints, and what is seen from outside."""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from .local import Here
from .slurm import ACCOUNTS, Lab

PATIENCE = 240.0
"""Seconds; the campaigns run side by side on few cores."""

AT_A_TIME = 7

EPOCHS = """
import os, socket, time
from pathlib import Path

NOTES = Path(__file__).parent / "notes"

def note(*words):
    descriptor = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (" ".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)

def objective(trial):
    saved = trial.checkpoint_dir / "epoch"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    note("begun", trial.number, trial.attempt, first, socket.gethostname(), os.environ["SLURM_JOB_ID"])
    for epoch in range(first, trial.params["epochs"] + 1):
        time.sleep(trial.params["seconds"])
        saved.with_suffix(".new").write_text(str(epoch))
        saved.with_suffix(".new").rename(saved)
        note("epoch", trial.number, epoch)
        trial.report(1 / epoch, step=epoch)
    return {"value": 1 / epoch, "node": socket.gethostname(), "job": os.environ["SLURM_JOB_ID"],
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "")}
"""
"""Epochs of some seconds each, a checkpoint after every one."""


class Attempt(NamedTuple):
    number: int
    attempt: int
    first: int  # epoch
    node: str
    job: str


class Scene:
    """One campaign in a folder of its own, driven and looked at as its user would.

    Attributes:
        name: Of the study.
        out, err, code: Of ``pilotune run``, once it has ended.
    """

    def __init__(self, lab: Lab, folder: Path, name: str):
        self.lab, self.name = lab, name
        self.here = Here(folder / name, **lab.environment)
        self.process: subprocess.Popen[str] | None = None
        self.out = self.err = ""
        self.code: int | None = None

    # -- what is run ------------------------------------------------------------------------------------------------

    def site(self, setup: str = "", account: str = ACCOUNTS[0], **pool: Any) -> None:
        """A site of one pool, of small blocks on nodes that they share with those of others."""
        defaults = {
            "queue": "batch",
            "walltime": "5m",
            "exclusive": False,
            "cores_per_node": 1,
            "workers_per_node": 1,
            "blocks": {"init": 1, "max": 1},
            "options": ["#SBATCH --exclude=n3,n4"],
        }
        site = {
            "scheduler": "slurm",
            "account": account,
            "network": {"address": self.lab.head},
            "poll": "2s",
            "setup": setup or None,
            "pools": {"cpu": {**defaults, **pool}},
        }
        self.here.write("lab.yaml", json.dumps({key: value for key, value in site.items() if value}))

    def study(self, trials: int, *, epochs: int, seconds: float, more: str = "") -> None:
        """``trials`` trials of EPOCHS."""
        self.here.study(
            self.name,
            EPOCHS,
            f"direction: minimize\nsampler: random\nbudget: {{trials: {trials}}}\n"
            f"space: {{x: {{float: [0, 1]}}, epochs: {epochs}, seconds: {seconds}}}\n{more}\n",
        )

    def start(self) -> None:
        """``pilotune run``, left running."""
        self.process = self.here.start("run", f"{self.name}.yaml", "--site", "lab")

    def finish(self) -> None:
        assert self.process is not None
        try:
            self.out, self.err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.out, self.err = self.process.communicate()
            raise AssertionError(f"{self.name} did not end:\n{self.out}\n{self.err}\n{self.log}") from None
        self.code = self.process.returncode

    def run(self) -> None:
        self.start()
        self.finish()

    # -- what is seen -----------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until ``condition()`` is true while the campaign goes on; returns its value."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            over = self.process is not None and self.process.poll() is not None
            late = time.monotonic() > deadline
            if over or late:
                raise AssertionError(f"{self.name}: waited in vain until {what}\n{self.log}")
            time.sleep(0.2)
        return found

    @property
    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.here.runs.glob(f"{self.name}/*/driver.log")))

    @property
    def status(self) -> dict[str, Any]:
        return self.here.status(self.name)

    @property
    def notes(self) -> list[list[str]]:
        path = self.here.folder / "notes"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def attempts(self) -> list[Attempt]:
        """Those that began, in their order."""
        return [Attempt(*map(int, words[:3]), *words[3:]) for kind, *words in self.notes if kind == "begun"]

    @property
    def epochs(self) -> dict[int, list[int]]:
        """The epochs that were computed and saved, by trial, in their order."""
        found = defaultdict(list)
        for kind, *words in self.notes:
            if kind == "epoch":
                found[int(words[0])].append(int(words[1]))
        return dict(found)

    def computing(self) -> Attempt | None:
        """The attempt that began last, once it has a checkpoint."""
        began = self.attempts[-1:]
        return began[0] if began and self.epochs.get(began[0].number) else None

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.here.trials(self.name)

    def seen_on(self, key: str) -> set[str]:
        """What the trials noted under ``key``."""
        return {trial["user_attrs"][key] for trial in self.trials}

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The record of the blocks: the last event of each, in the order of their submission."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.here.runs.glob(f"{self.name}/*/jobs.jsonl")):
            for line in path.read_text().splitlines():
                event = json.loads(line)
                found[event["name"]] = event
        return list(found.values())

    @property
    def ends(self) -> list[str]:
        """How its blocks ended."""
        return [job["ended"] for job in self.jobs]

    def queue(self) -> list[str]:
        """Its jobs that Slurm still has in the queue or on nodes."""
        ids = [job["job"] for job in self.jobs if job["job"]]
        listed = self.lab.run("squeue", "-h", "-o", "%i").stdout.split()
        return [job for job in ids if job in listed]


class Campaigns:
    """Scenes that play side by side, each in a thread; a test waits for its own."""

    def __init__(self, lab: Lab, folder: Path, plays: Sequence[Callable[[Scene], None]]):
        self.threads = ThreadPoolExecutor(AT_A_TIME)
        self.playing: dict[str, Future[Scene]] = {}
        for play in plays:
            scene = Scene(lab, folder, play.__name__)
            self.playing[play.__name__] = self.threads.submit(self._play, play, scene)

    @staticmethod
    def _play(play: Callable[[Scene], None], scene: Scene) -> Scene:
        try:
            play(scene)
        finally:
            if scene.process is not None and scene.process.poll() is None:
                scene.process.kill()
                scene.process.communicate()
        return scene

    def __getitem__(self, name: str) -> Scene:
        """The scene once it has been played. Raises what went wrong in it."""
        return self.playing[name].result()

    def close(self) -> None:
        self.threads.shutdown(cancel_futures=True)
