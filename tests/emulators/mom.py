"""A job's mom: the process that waits for the job's turn, runs it on its nodes, kills it when it must go and ends with it.

Moms are the only processes of a machine that last. Each adopts every orphan of its job, so nothing of a job outlives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import processes
from .schedule import start_jobs
from .state import ENVIRONMENT, HOLDING, Job, Machine, State

MARK = "EMULATED_MOM"
"""In the environment of every mom: its machine's folder."""


def start_mom(machine: Machine, job: Job) -> int:
    """Start the mom of a job, in a session of its own, with nothing of the submitter's terminal or files."""
    with open(machine.folder / "moms.log", "a") as log:
        mom = subprocess.Popen(
            [sys.executable, "-IS", str(Path(__file__).with_name("run_mom.py")), str(machine.folder), str(job.number)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath, MARK: str(machine.folder), ENVIRONMENT: str(machine.folder)},
        )
    # It is to outlive this command: whoever adopts it reaps it.
    mom.returncode = 0
    return mom.pid


class Mom:
    """What the moms of both schedulers do alike."""

    def __init__(self, machine: Machine, number: int):
        self.machine, self.number = machine, number
        self.top: subprocess.Popen[bytes] | None = None
        self.seen: tuple[int, int] | None = None
        self.state: State = machine.read()
        self.stopped = False
        self.ending_since = 0.0
        self.killing_since: float | None = None

    # What a scheduler's mom says for itself

    def launch(self, state: State, job: Job) -> subprocess.Popen[bytes]:
        """Start the job's script on its first node, in a session of its own."""
        raise AssertionError

    def terminate(self, job: Job) -> None:
        """Ask the job to end."""
        processes.send(processes.below(os.getpid()), signal.SIGTERM)

    def times(self, state: State) -> dict[str, float]:
        """Seconds: ``starting``, ``late`` (after the walltime), ``kill`` (from TERM to KILL), ``exiting``, ``node``."""
        raise AssertionError

    def overdue(self, job: Job, ran: float) -> None:
        """Say that the walltime is over."""

    def finish(self, state: State, job: Job) -> None:
        """The job is over and its nodes are free: ``status`` and ``why`` are set; keep, requeue or forget it."""
        raise AssertionError

    # The job's life

    def live(self) -> None:
        processes.adopt_orphans()
        while self.step():
            time.sleep(self.state.config["tick"])

    def step(self) -> bool:
        """One look; False when there is nothing more to do."""
        self.reap()
        if not self.refresh():
            self.kill_all()
            return False
        job, now = self.state.jobs[self.number], time.time()
        step: dict[str, Callable[[Job, float], None]] = {
            "queued": self.queued,
            "starting": self.starting,
            "running": self.running,
            "killing": self.killing,
            "exiting": self.exiting,
        }
        step[job.phase](job, now)
        return True

    def refresh(self) -> bool:
        """Read the state if it changed; False when this job has nothing to look for any more."""
        try:
            found = self.machine.path.stat()
            if self.seen != (found.st_mtime_ns, found.st_ino):
                self.state = self.machine.read()
                self.seen = (found.st_mtime_ns, found.st_ino)
        except OSError:
            return False
        owner = self.state.config["owner"]
        if self.state.closed or (owner and not processes.started(owner)):
            return False
        job = self.state.jobs.get(self.number)
        return job is not None and job.phase != "ended" and job.mom == os.getpid()

    def reap(self) -> None:
        """Collect ended children: the script (remembered by ``poll``) and adopted ones."""
        if self.top is not None:
            self.top.poll()
        with suppress(ChildProcessError):
            while True:
                # Without reaping the script behind the back of its Popen object.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or (self.top is not None and found.si_pid == self.top.pid and self.top.poll() is None):
                    break
                with suppress(ChildProcessError):
                    os.waitpid(found.si_pid, os.WNOHANG)

    def kill_all(self) -> None:
        """Nothing of the job is left when this returns."""
        while left := processes.below(os.getpid()):
            processes.kill(left)
            self.reap()
            time.sleep(0.02)

    def change(self, edit: Callable[[State, Job], None]) -> None:
        """Change the state, if the job is still ours."""
        with self.machine.change() as state:
            job = state.jobs.get(self.number)
            if job is not None and job.mom == os.getpid():
                edit(state, job)
        self.seen = None

    def queued(self, job: Job, now: float) -> None:
        if start_jobs(State.parse(self.state.text()), now):
            with self.machine.change() as state:
                start_jobs(state, time.time())
            self.seen = None

    def starting(self, job: Job, now: float) -> None:
        if job.order is not None:
            self.end(job, None)
        elif now >= (job.began or now) + self.times(self.state)["starting"]:
            self.top, self.stopped, self.killing_since = self.launch(self.state, job), False, None
            session = self.top.pid

            def edit(state: State, job: Job) -> None:
                job.phase, job.session = "running", session

            self.change(edit)

    def running(self, job: Job, now: float) -> None:
        assert self.top is not None and job.began is not None
        ran, times = now - job.began, self.times(self.state)
        self.suspend(job.suspended)
        self.cut_down_nodes(job)
        if job.order is not None:
            self.begin_killing(job, job.order["why"])
        elif job.walltime is not None and ran > job.walltime + times["late"]:
            self.overdue(job, ran)
            self.begin_killing(job, "walltime")
        elif self.lost(job, now):
            self.begin_killing(job, "node")
        elif self.top.returncode is not None:
            self.end(job, self.top.returncode)

    def lost(self, job: Job, now: float) -> bool:
        """Whether the scheduler gives up on the job since a node of it is down."""
        since = [self.state.nodes[node].get("since", now) for node in job.nodes if self.down(node)]
        return bool(since) and now >= min(since) + self.times(self.state)["node"]

    def down(self, node: str) -> bool:
        return self.state.nodes[node]["state"] == "down"

    def cut_down_nodes(self, job: Job) -> None:
        """What runs on a node that is down is gone."""
        for node in filter(self.down, job.nodes):
            processes.kill(processes.on_node(os.getpid(), node, job.nodes[0]))

    def suspend(self, wanted: bool) -> None:
        if wanted != self.stopped:
            processes.send(processes.below(os.getpid()), signal.SIGSTOP if wanted else signal.SIGCONT)
            self.stopped = wanted

    def begin_killing(self, job: Job, why: str) -> None:
        def edit(state: State, job: Job) -> None:
            job.phase = "killing"
            job.order = job.order or {"why": why, "by": "", "force": why == "node"}

        self.change(edit)
        self.suspend(False)
        self.terminate(job)
        self.killing_since = time.time()

    def killing(self, job: Job, now: float) -> None:
        assert self.top is not None and job.order is not None and self.killing_since is not None
        left = processes.below(os.getpid())
        if not left and self.top.poll() is not None:
            self.end(job, self.top.returncode)
        elif job.order.get("force") or now >= self.killing_since + self.times(self.state)["kill"]:
            processes.kill(left)

    def end(self, job: Job, status: int | None) -> None:
        """The script is over: what it left behind goes too, and the nodes are cleaned up for a while."""
        self.kill_all()

        def edit(state: State, job: Job) -> None:
            job.phase = "exiting"
            job.status = None if status is None else status if status >= 0 else 256 - status
            job.why = job.order["why"] if job.order else ""

        self.change(edit)
        self.ending_since, self.top = time.time(), None

    def exiting(self, job: Job, now: float) -> None:
        if now >= self.ending_since + self.times(self.state)["exiting"]:

            def edit(state: State, job: Job) -> None:
                job.ended = time.time()
                self.finish(state, job)
                start_jobs(state, time.time())

            self.change(edit)


def held_nodes(state: State) -> dict[str, list[int]]:
    """Job numbers on every node."""
    held: dict[str, list[int]] = {name: [] for name in state.nodes}
    for job in state.jobs.values():
        if job.phase in HOLDING:
            for node in job.nodes:
                held[node].append(job.number)
    return held
