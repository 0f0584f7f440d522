"""The mom of a PBS job: its environment, its spooled output, its ends."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .. import processes
from ..launchers import SESSIONS
from ..mom import Mom
from ..state import ENVIRONMENT, Job, State
from .common import identifier, where

ENDS = {
    "walltime": " and exceeded resource walltime",
    "deleted": " and terminated by {by}@{server}",
    "node": "",
}
"""The end of the comment of a job that was killed, by the reason."""

STATUSES = {"walltime": -29, "rerun": -11, "node": -20, "sister": -14}
"""Exit status of a killed job by the reason; its own exit code does not count."""


class PbsMom(Mom):
    """Spools output and delivers it at the end of a job, requeues jobs, and keeps a history if the server does."""

    def kill_delay(self) -> float:
        return float(self.state.config["kill_delay"])

    def hears_of(self, job: Job) -> bool:
        """Only the job's first node tells the server."""
        return not self.down(job.nodes[0])

    def lost(self, job: Job, now: float) -> str:
        """The server requeues a job whose first node is down; the first node ends a job that has lost another node."""
        down = {node: now - self.state.nodes[node]["since"] for node in job.nodes if self.down(node)}
        if down.pop(job.nodes[0], 0.0) > self.state.config["node_fail_requeue"]:
            return "node"
        return "sister" if any(gone > self.state.config["sister_timeout"] for gone in down.values()) else ""

    def terminate(self, job: Job) -> None:
        """Send SIGTERM on the first node only, to all processes in sessions that its mom started."""
        processes.send(self.members(self.sessions(job, job.nodes[0])), signal.SIGTERM)

    def sessions(self, job: Job, on: str = "") -> set[int]:
        """The sessions that moms started for the job (its script's, pbsdsh's): all, or those ``on`` a node."""
        found = {job.session} if on in ("", job.nodes[0]) else set()
        book = self.machine.job_folder(job.number) / SESSIONS
        for line in book.read_text().splitlines() if book.exists() else ():
            session, node = line.split()
            if on in ("", node):
                found.add(int(session))
        return found

    def members(self, sessions: set[int]) -> list[int]:
        everyone = processes.below(os.getpid()).items()
        return [process for process, (_, session, _) in everyone if session in sessions]

    def reached(self, job: Job) -> list[int]:
        """PBS knows sessions only: a process in one of its own is neither killed nor stopped."""
        return self.members(self.sessions(job))

    def over(self, job: Job) -> bool:
        """Wait for the script's session only; then the other sessions, on other nodes too, get SIGKILL.

        A mom looks again only after the kill delay whether a deleted job has ended.
        """
        assert job.order is not None
        waits = job.order["why"] == "deleted" and not job.order["force"]
        if waits and time.time() < self.killing_since + self.kill_delay():
            return False
        return not self.members({job.session})

    def launch(self, state: State, job: Job) -> subprocess.Popen[bytes]:
        folder, name = self.machine.job_folder(job.number), identifier(state, job)
        (folder / SESSIONS).unlink(missing_ok=True)
        nodefile = folder / f"{name}.nodes"
        nodefile.write_text("".join(f"{place[0]}\n" * max(1, job.details["processes"]) for place in job.places))
        environment = self.environment(state, job, str(nodefile))
        (folder / "environment.json").write_text(json.dumps(environment))
        began = time.strftime("%a %b %d at %H:%M", time.localtime(job.began))
        self.change(lambda _, job: setattr(job, "comment", f"Job run at {began} on {where(job)}"))
        # The shell reads the script's name, as a line of input: the script runs below it, by its own first line.
        line = folder / "input"
        line.write_text(job.script + "\n")
        out, err = self.streams(job)
        home = environment["HOME"]
        with open(line) as source, open(out, "ab") as output, open(err, "ab") as errors:
            return subprocess.Popen(
                [environment["SHELL"]],
                stdin=source,
                stdout=errors if job.details["join"] == "eo" else output,
                stderr=output if job.details["join"] == "oe" else errors,
                cwd=home if os.path.isdir(home) else "/",
                env=environment,
                start_new_session=True,
                preexec_fn=processes.entering(job.nodes[0], state.names(), self.machine.folder),
            )

    def environment(self, state: State, job: Job, nodefile: str) -> dict[str, str]:
        person, name = pwd.getpwnam(job.user), identifier(state, job)
        _, cores, gpus = job.places[0]
        scratch = self.machine.folder / "tmp" / f"pbs.{name}"
        scratch.mkdir(parents=True, exist_ok=True)
        environment = {
            **job.details["origin"],
            **job.environment,
            "PATH": f"{self.machine.folder / 'bin'}:{state.config['job_path']}",
            "HOME": person.pw_dir,
            "LOGNAME": job.user,
            "USER": job.user,
            "SHELL": job.details["shell"].partition("@")[0] or person.pw_shell or "/bin/sh",
            "TMPDIR": str(scratch),
            "ENVIRONMENT": "BATCH",
            "PBS_ENVIRONMENT": "PBS_BATCH",
            "PBS_JOBID": name,
            "PBS_JOBNAME": job.name,
            "PBS_QUEUE": job.queue,
            "PBS_NODEFILE": nodefile,
            "PBS_NODENUM": "0",
            "PBS_TASKNUM": "1",
            "PBS_MOMPORT": "15003",
            "PBS_JOBCOOKIE": f"{job.number:032X}",
            "PBS_JOBDIR": person.pw_dir,
            "NCPUS": str(cores),
            "OMP_NUM_THREADS": str(cores),
            ENVIRONMENT: str(self.machine.folder),
            processes.NODE: job.nodes[0],
        }
        if gpus and state.config["gpu_variables"]:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        return environment

    def streams(self, job: Job) -> tuple[Path, Path]:
        """Where output and errors are written: into a spool, or with ``-k d`` directly to their destination."""
        spool = self.machine.job_folder(job.number)
        direct = job.details["keep"] if "d" in job.details["keep"] else ""
        out = Path(job.out) if "o" in direct else spool / "spool.OU"
        err = Path(job.err) if "e" in direct else spool / "spool.ER"
        return out, err

    def overdue(self, job: Job, ran: float) -> None:
        out, err = self.streams(job)
        with open(out if job.details["join"] == "oe" else err, "a") as file:
            file.write(f"=>> PBS: job killed: walltime {int(ran)} exceeded limit {int(job.walltime or 0)}\n")

    def deliver(self, job: Job) -> None:
        """Copy spooled output to its destination; a new file is readable by its owner only."""
        out, err = self.streams(job)
        for source, target, unwanted in ((out, Path(job.out), "eo"), (err, Path(job.err), "oe")):
            if source == target or job.details["join"] == unwanted or not source.exists():
                continue
            # A folder that is gone loses the output, as with PBS, which mails it then.
            with suppress(OSError), open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(source.read_bytes())

    def forget_spool(self, job: Job) -> None:
        for spool in (self.machine.job_folder(job.number) / f"spool.{suffix}" for suffix in ("OU", "ER")):
            spool.unlink(missing_ok=True)
        shutil.rmtree(self.machine.folder / "tmp" / f"pbs.{identifier(self.state, job)}", ignore_errors=True)

    def finish(self, state: State, job: Job) -> None:
        deleted = job.order is not None and job.order["why"] == "deleted"
        again = not deleted and job.details["rerunnable"] and job.why in ("rerun", "node", "sister")
        job.status = STATUSES.get(job.why, job.status)
        if again:
            job.phase, job.places, job.session, job.comment, job.order = "queued", [], 0, "", None
            job.eligible = time.time() + state.config["requeue_wait"]
        else:
            self.deliver(job)
            usual = " and finished" if job.status == 0 else " and failed"
            by = job.order["by"] if job.order else ""
            job.comment += ENDS.get(job.why, usual).format(by=by, server=state.config["server"])
            job.phase = "ended"
            if not state.config["history"]:
                del state.jobs[job.number]
        self.forget_spool(job)
