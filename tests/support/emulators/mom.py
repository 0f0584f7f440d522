"""A job's mom: the process that waits for the job's turn, runs it on its nodes, kills it when it must go, and ends.

Moms are the only processes of a machine that last. Each adopts every orphan of its job, so that nothing outlives the
machine. A scheduler may not reach all processes of a job (PBS: only its sessions); what it leaves runs on.
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
from .state import ENVIRONMENT, Job, Machine, State

LOOK_AGAIN = 0.5
"""Seconds between checks whether a queued job may start though nothing has changed."""


def start_mom(machine: Machine, job: Job) -> int:
    """Start the mom of a job in a new session, without the submitter's terminal and open files."""
    with open(machine.folder / "moms.log", "a") as log:
        mom = subprocess.Popen(
            [sys.executable, "-IS", str(Path(__file__).with_name("run_mom.py")), str(machine.folder), str(job.number)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath, processes.MOM: str(machine.folder), ENVIRONMENT: str(machine.folder)},
        )
    # It is to outlive this command: whoever adopts it reaps it.
    mom.returncode = 0
    machine.note("accounting", event="submitted", job=job.number, queue=job.queue, account=job.account)
    return mom.pid


class Mom:
    """The part of a mom that both schedulers share."""

    def __init__(self, machine: Machine, number: int):
        self.machine, self.number = machine, number
        self.state: State = machine.read()
        self.seen: tuple[int, int] | None = None
        self.looked = 0.0
        self.top: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.killing_since = self.exiting_since = 0.0

    # What a scheduler's mom says for itself

    def launch(self, state: State, job: Job) -> subprocess.Popen[bytes]:
        """Start the job's script in a new session."""
        raise AssertionError

    def terminate(self, job: Job) -> None:
        """Ask the job to end."""
        raise AssertionError

    def kill_delay(self) -> float:
        """Seconds from asking to SIGKILL."""
        raise AssertionError

    def lost(self, job: Job, now: float) -> str:
        """Why the scheduler gives up a job with nodes that are down; "" if it does not."""
        return ""

    def hears_of(self, job: Job) -> bool:
        """Whether the scheduler learns that the job's script has ended."""
        return True

    def over(self, job: Job) -> bool:
        """Whether to stop waiting for a job that was asked to end and whose script has ended."""
        return True

    def overdue(self, job: Job, ran: float) -> None:
        """Report that the walltime is over."""

    def reached(self, job: Job) -> list[int]:
        """The processes that the scheduler signals, stops and kills: all of the job, unless it says otherwise."""
        return list(processes.below(os.getpid()))

    def finish(self, state: State, job: Job) -> None:
        """Keep, requeue or forget a job that is over. Its nodes are free, and ``status`` and ``why`` are set."""
        raise AssertionError

    # The job's life

    def live(self) -> None:
        processes.adopt_orphans()
        with self.machine.change():
            pass  # Whoever started this mom has then written the job down.
        steps: dict[str, Callable[[Job, float], None]] = {
            "queued": self.queued,
            "starting": self.starting,
            "running": self.running,
            "killing": self.killing,
            "exiting": self.exiting,
        }
        while self.refresh():
            job = self.state.jobs[self.number]
            steps[job.phase](job, time.time())
            time.sleep(self.state.config["tick"])
        while not self.closing() and processes.below(os.getpid()):  # what the job left behind stays
            time.sleep(self.state.config["tick"])
            self.reap()
        self.kill_all()

    def closing(self) -> bool:
        """Whether everything on the machine is to end."""
        try:
            self.state = self.machine.read()
        except OSError:
            return True
        owner = self.state.config["owner"]
        return self.state.closed or bool(owner and not processes.started(owner))

    def refresh(self) -> bool:
        """Read the state if it has changed; return False if nothing is left to do for this job."""
        self.reap()
        try:
            found = self.machine.path.stat()
            if self.seen != (found.st_mtime_ns, found.st_ino):
                self.state = self.machine.read()
                self.seen, self.looked = (found.st_mtime_ns, found.st_ino), 0.0
        except OSError:
            return False
        owner = self.state.config["owner"]
        if self.state.closed or (owner and not processes.started(owner)):
            return False
        job = self.state.jobs.get(self.number)
        return job is not None and job.phase != "ended" and job.mom == os.getpid()

    def reap(self) -> None:
        """Reap children that have ended: the script, whose exit code its Popen object keeps, and adopted ones."""
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if self.top is not None and found.si_pid == self.top.pid and self.top.returncode is None:
                    self.top.wait()
                else:
                    os.waitpid(found.si_pid, 0)

    def kill_all(self) -> None:
        """Kill all processes of the job; none is left when this returns."""
        while left := processes.below(os.getpid()):
            processes.kill(left)
            self.reap()
            time.sleep(0.02)
        self.reap()

    def kill_reached(self, job: Job) -> None:
        """Kill all processes that the scheduler reaches; none of these is left when this returns."""
        while left := self.reached(job):
            processes.kill(left)
            self.reap()
            time.sleep(0.02)
        self.reap()

    def change(self, edit: Callable[[State, Job], None]) -> None:
        """Change the state, if this mom still owns the job."""
        with self.machine.change() as state:
            job = state.jobs.get(self.number)
            if job is not None and job.mom == os.getpid():
                edit(state, job)
        self.seen = None

    def queued(self, job: Job, now: float) -> None:
        if now < self.looked + LOOK_AGAIN:
            return
        self.looked = now
        if start_jobs(State.parse(self.state.text()), now):
            with self.machine.change() as state:
                start_jobs(state, time.time())
            self.seen = None

    def starting(self, job: Job, now: float) -> None:
        if job.order is not None:
            self.end(job, None)
        elif now >= (job.began or now) + self.state.config["starting"]:
            try:
                self.top, self.stopped = self.launch(self.state, job), False
            except OSError:
                self.end(job, 127)  # A script or a folder that is gone.
                return
            session = self.top.pid

            def edit(state: State, job: Job) -> None:
                job.phase, job.session = "running", session

            self.change(edit)
            self.machine.note("accounting", event="started", job=job.number, nodes=job.nodes, places=job.places)

    def running(self, job: Job, now: float) -> None:
        assert self.top is not None
        ran = now - (job.began or now)
        self.suspend(job, job.suspended)
        self.cut_down_nodes(job)
        if job.order is not None:
            self.begin_killing(job, job.order["why"])
        elif job.walltime is not None and ran > job.walltime + self.state.config["late"]:
            self.overdue(job, ran)
            self.begin_killing(job, "walltime")
        elif why := self.lost(job, now):
            self.begin_killing(job, why)
        elif self.top.returncode is not None and self.hears_of(job):
            self.end(job, self.top.returncode)

    def down(self, node: str) -> bool:
        return bool(self.state.nodes[node]["state"] == "down")

    def cut_down_nodes(self, job: Job) -> None:
        """Kill what runs on nodes that are down."""
        for node in filter(self.down, job.nodes):
            processes.kill(processes.on_node(os.getpid(), node, job.nodes[0]))

    def suspend(self, job: Job, wanted: bool) -> None:
        if wanted != self.stopped:
            processes.send(self.reached(job), signal.SIGSTOP if wanted else signal.SIGCONT)
            self.stopped = wanted

    def begin_killing(self, job: Job, why: str) -> None:
        def edit(state: State, job: Job) -> None:
            job.phase = "killing"
            job.order = job.order or {"why": why, "by": "", "force": why in ("node", "sister")}

        self.change(edit)
        self.suspend(job, False)
        self.killing_since = time.time()
        if self.refresh():
            self.terminate(self.state.jobs[self.number])

    def killing(self, job: Job, now: float) -> None:
        assert self.top is not None
        assert job.order is not None
        if self.top.poll() is not None and self.over(job):
            self.end(job, self.top.returncode)
        elif job.order["force"] or now >= self.killing_since + self.kill_delay():
            processes.kill(self.reached(job))

    def end(self, job: Job, status: int | None) -> None:
        """After the script has ended: kill what the scheduler reaches of the rest, and clean up for a while."""
        self.kill_reached(job)

        def edit(state: State, job: Job) -> None:
            job.phase = "exiting"
            job.status = None if status is None else status if status >= 0 else 256 - status
            job.why = job.order["why"] if job.order else ""

        self.change(edit)
        self.exiting_since, self.top = time.time(), None

    def exiting(self, job: Job, now: float) -> None:
        if now < self.exiting_since + self.state.config["exiting"]:
            return

        def edit(state: State, job: Job) -> None:
            job.ended = time.time()
            nodes = job.nodes
            self.finish(state, job)
            if job.phase == "ended":
                state.statuses[job.number] = job.status
            event = "requeued" if job.phase == "queued" else "ended"
            self.machine.note(
                "accounting", event=event, job=job.number, nodes=nodes, status=job.status, why=job.why, runs=job.runs
            )
            start_jobs(state, time.time())

        self.change(edit)
