"""The state of an emulated machine: its settings, nodes, queues and jobs, in one JSON file changed under a lock."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ENVIRONMENT = "EMULATED_CLUSTER"
"""The environment variable that names the machine's folder."""

HOLDING = ("starting", "running", "killing", "exiting")
"""Phases in which a job holds its nodes."""

COMMON: dict[str, Any] = {
    "owner": 0,  # a process: when it is gone, everything on the machine ends
    "tick": 0.1,  # how often a mom looks, s
    "queue_wait": 0.0,  # a job starts so long after its submission at the earliest, s
    "server_down": False,  # no command is answered; jobs run on
    "delay": 0.0,  # how long every command takes, s
    "failures": {},  # command: {"code": 1, "err": "words"}: what it does instead of its work
    "accounts": None,  # accounts that may submit; None: all
    "node_names": True,  # each node's part of a job sees that node's host name, where this user may do so
    "default_queue": "",
}
"""Settings of both schedulers."""


@dataclass
class Job:
    """A job. Times are in seconds since the epoch; ``details`` are of one scheduler only."""

    number: int
    user: str
    name: str
    queue: str
    account: str
    script: str
    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    out: str
    err: str
    walltime: float | None
    chunks: list[list[int]]  # cores and GPUs of each
    submitted: float
    spread: bool = False  # each chunk on a node of its own
    exclusive: bool = False  # its nodes are its own
    depend: list[list[Any]] = field(default_factory=list)  # conditions on other jobs, and their numbers
    details: dict[str, Any] = field(default_factory=dict)
    phase: str = "queued"  # queued, starting, running, killing, exiting, ended
    held: str = ""  # who holds it in the queue: user, admin, dep (waits for other jobs), fail (which have failed)
    suspended: bool = False
    places: list[list[Any]] = field(default_factory=list)  # node, cores, GPU numbers of each chunk
    eligible: float = 0.0
    began: float | None = None  # the last time it got its nodes
    ended: float | None = None
    order: dict[str, Any] | None = None  # why it is to be killed, by whom, whether by force
    runs: int = 0
    status: int | None = None  # exit code of its script; 256 + a signal; negative: the scheduler's own
    why: str = ""  # how it ended: "", or the order's reason
    comment: str = ""
    mom: int = 0
    session: int = 0

    @property
    def nodes(self) -> list[str]:
        """The names of its nodes, in order and without repetition."""
        return list(dict.fromkeys(place[0] for place in self.places))


@dataclass
class State:
    """The state of a machine."""

    scheduler: str
    config: dict[str, Any]
    nodes: dict[str, dict[str, Any]]  # name: cores, gpus, state (free, offline or down), since
    queues: dict[str, dict[str, Any]]
    jobs: dict[int, Job] = field(default_factory=dict)
    next: int = 1
    statuses: dict[int, int | None] = field(default_factory=dict)  # of jobs that are over
    closed: bool = False  # everything ends

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> State:
        raw = json.loads(text)
        raw["statuses"] = {int(number): status for number, status in raw["statuses"].items()}
        raw["jobs"] = {int(number): Job(**job) for number, job in raw["jobs"].items()}
        return cls(**raw)

    def names(self) -> bool:
        """Whether jobs see their node's host name."""
        return bool(self.config["node_names"])


class Machine:
    """The folder of an emulated machine."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.path = self.folder / "state.json"

    @classmethod
    def here(cls) -> Machine:
        """The machine named in the environment of this process."""
        return cls(os.environ[ENVIRONMENT])

    def job_folder(self, number: int) -> Path:
        return self.folder / "jobs" / str(number)

    def read(self) -> State:
        return State.parse(self.path.read_text())

    def write(self, state: State) -> None:
        draft = self.folder / f"state.{os.getpid()}"
        draft.write_text(state.text())
        draft.replace(self.path)

    @contextmanager
    def change(self) -> Iterator[State]:
        """Lock the state; changes are saved if the block ends without an error."""
        with open(self.folder / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            text = self.path.read_text()
            state = State.parse(text)
            yield state
            if state.text() != text:
                self.write(state)

    def note(self, book: str, **record: Any) -> None:
        """Append a record to a log of the machine: ``commands`` or ``accounting``."""
        line = json.dumps({"time": time.time(), **record}) + "\n"
        with open(self.folder / f"{book}.jsonl", "a") as file:
            file.write(line)

    def book(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
