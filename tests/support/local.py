"""Runs campaigns on local workers through the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from .environment import variables

PATIENCE = 240.0
"""Seconds within which whatever a test waits for happens, also on a machine with much other work."""

PILOTUNE = shutil.which("pilotune", path=Path(sys.executable).parent)


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until ``condition()`` is true, and return its value. ``what``: for the message, as in "waited until ..."."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.05)
    return found


class Here:
    """A user's folder with study files, run directories, state and configuration of its own.

    Args:
        folder: Created if it does not exist.
        environment: More variables for the commands.

    Attributes:
        folder: Where commands run.
        runs: The run directories.
        environment: All variables of the commands.
    """

    def __init__(self, folder: Path, **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.runs = folder, folder / "runs"
        self.environment = {
            **variables(),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PILOTUNE_RUNS": str(self.runs),
            **environment,
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def study(self, name: str, objective: str, text: str) -> Path:
        """Write ``NAME.py`` with an objective, and ``NAME.yaml`` with ``text``; return the path of the latter."""
        self.write(f"{name}.py", objective)
        return self.write(f"{name}.yaml", f"name: {name}\nobjective: {name}.py:objective\n{text}")

    def start(self, *words: object, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start ``pilotune`` with these words, in a session of its own, as from another terminal."""
        return subprocess.Popen(
            [str(PILOTUNE), *map(str, words)],
            cwd=folder or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: object, code: int = 0, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``pilotune`` with these words; it has to end with ``code``."""
        return end_of(self.start(*words, folder=folder), code)

    def json(self, *words: object) -> Any:
        """Run a command with ``--json``; return what it printed."""
        return json.loads(self.run(*words, "--json").stdout)

    def trials(self, name: str) -> list[dict[str, Any]]:
        """The rows of ``pilotune trials``, by number."""
        return list(self.json("trials", name))

    def optuna(self, name: str) -> optuna.Study:
        """The study as plain Optuna reads it."""
        return optuna.load_study(study_name=name, storage=f"sqlite:///{self.runs}/{name}/study.db")

    def status(self, name: str) -> dict[str, Any]:
        """The status.json of the newest campaign; empty before it is written."""
        folders = sorted((self.runs / name).glob("2*-*/status.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(folders[-1].read_text()) if folders else {}

    def await_status(self, name: str, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Wait until ``condition`` holds for the status; return it."""

        def find() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status and condition(status) else None

        return until(find, what)

    def lines(self, name: str) -> list[str]:
        """The words of a file that objectives append to; none if it does not exist."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


def end_of(process: subprocess.Popen[str], code: int = 0) -> subprocess.CompletedProcess[str]:
    """Wait for a started command, which has to end with ``code``."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{process.args} did not end:\n{out}\n{err}") from None
    assert process.returncode == code, f"{process.args} ended with {process.returncode}:\n{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Kill the process and its group at the end of the ``with`` block, whatever happens in it."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.stdout and not process.stdout.closed:
            process.communicate()


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Send SIGINT to the process group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def processes(here: Here) -> dict[int, str]:
    """Processes that run in this user's folder or were started from it: command lines by process id."""
    found, place = {}, str(here.folder)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            known = (words, os.readlink(folder / "cwd"), (folder / "environ").read_bytes().decode(errors="replace"))
            if words and int(folder.name) != os.getpid() and any(place in each for each in known):
                found[int(folder.name)] = words
    return found


def kill_processes(here: Here) -> None:
    """Kill all that ``processes`` finds; some may end meanwhile."""
    for pid in processes(here):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


NOTE = """
import os
from pathlib import Path

STUDY = Path(__file__).parent

def note(*words):
    descriptor = os.open(STUDY / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (":".join(map(str, words)) + "\\n").encode())
    os.close(descriptor)
"""
"""The beginning of an objective that appends what it does to the file ``notes`` beside it."""

PATIENT = (
    NOTE
    + """
import signal, time

def objective(trial):
    mode, saved = trial.params["mode"], trial.checkpoint_dir / "step"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    note(trial.number, trial.attempt, first, os.getpid(), os.getppid())
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for step in range(first, 2 if mode == "quick" else 10_000):
        if (STUDY / "go").exists():
            break
        time.sleep(0.05)
        if mode == "reports":
            part = saved.with_name(f"{os.getpid()}.part")  # an old attempt may still write
            part.write_text(str(step))
            part.replace(saved)
            trial.report(step, step=step)
    note(trial.number, trial.attempt, "done")
    return float(trial.number)
"""
)
"""An objective that waits for the file ``go`` beside it, unless its ``mode`` is quick.

It notes ``number:attempt:first step:process:parent`` when an attempt begins, and ``number:attempt:done`` at its end.
"""

PATIENT_STUDY = """
direction: maximize
space: {n: {int: [0, 99]}, mode: {choice: [quick, reports, silent, deaf]}}
sampler: random
trial: {grace: 1s}
"""


def patient(here: Here, name: str, modes: Sequence[str], more: str = "") -> Path:
    """Write a study of PATIENT with a trial for each of ``modes``, in this order. ``more``: replaces its budget."""
    points = ", ".join(f"{{n: {n}, mode: {mode}}}" for n, mode in enumerate(modes))
    budget = more or f"budget: {{trials: {len(modes)}}}"
    return here.study(name, PATIENT, f"{PATIENT_STUDY}start_from: {{enqueue: [{points}]}}\n{budget}\n")


def begun(here: Here) -> list[Attempt]:
    """The attempts that noted their beginning."""
    fields = [line.split(":") for line in here.lines("notes")]
    return [Attempt(*map(int, each)) for each in fields if len(each) == 5]


def done(here: Here) -> list[tuple[int, int]]:
    """Trial number and attempt of those that noted their end."""
    fields = [line.split(":") for line in here.lines("notes")]
    return [(int(each[0]), int(each[1])) for each in fields if each[-1] == "done"]


class Attempt(NamedTuple):
    """An attempt that began.

    Attributes:
        number: Of the trial.
        attempt: From 1.
        first: Its first step.
        pid: Of its process.
        parent: Of its fork server.
    """

    number: int
    attempt: int
    first: int
    pid: int
    parent: int
