"""The mom of a PBS job: its environment, its spooled output, its ends."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from .. import processes
from ..mom import Mom
from ..state import ENVIRONMENT, Job, State
from .common import identifier, where


class PbsMom(Mom):
    """Spools output and delivers it when the job ends; requeues; keeps a history when the server does."""

    def times(self, state: State) -> dict[str, float]:
        config = state.config
        return {
            "starting": config["starting"],
            "late": config["late"],
            "kill": config["kill_delay"],
            "exiting": config["exiting"],
            "node": config["node_fail_requeue"],
        }

    def spool(self, suffix: str) -> Path:
        return self.machine.job_folder(self.number) / f"spool.{suffix}"

    def launch(self, state: State, job: Job) -> subprocess.Popen[bytes]:
        folder, name = self.machine.job_folder(job.number), identifier(state, job)
        nodefile = folder / f"{name}.nodes"
        nodefile.write_text("".join(f"{place[0]}\n" * max(1, job.details["processes"]) for place in job.places))
        environment = self.environment(state, job, str(nodefile))
        (folder / "environment.json").write_text(json.dumps(environment))
        began = time.strftime("%a %b %d at %H:%M", time.localtime(job.began))
        self.change(lambda _, job: setattr(job, "comment", f"Job run at {began} on {where(job)}"))
        shell = job.details["shell"].partition("@")[0].partition(",")[0] or environment["SHELL"]
        # The shell reads the script's name, as a line of input: the script runs below it, by its own first line.
        line = folder / "input"
        line.write_text(job.script + "\n")
        out, err = self.streams(job)
        home = pwd.getpwnam(job.user).pw_dir
        with open(line) as source, open(out, "ab") as output, open(err, "ab") as errors:
            return subprocess.Popen(
                [shell],
                stdin=source,
                stdout=output,
                stderr=output if job.details["join"] in ("oe", "eo") else errors,
                cwd=home if os.path.isdir(home) else "/",
                env=environment,
                start_new_session=True,
                preexec_fn=processes.entering(job.nodes[0], state.config["node_names"]),
            )

    def streams(self, job: Job) -> tuple[Path, Path]:
        """Where the script writes; with ``-k d`` that is where the user wants it, at once."""
        direct = "d" in job.details["keep"]
        out = Path(job.out) if direct and "o" in job.details["keep"] else self.spool("OU")
        err = Path(job.err) if direct and "e" in job.details["keep"] else self.spool("ER")
        return out, err

    def environment(self, state: State, job: Job, nodefile: str) -> dict[str, str]:
        person, name = pwd.getpwnam(job.user), identifier(state, job)
        cores, gpus = job.places[0][1], job.places[0][2]
        scratch = self.machine.folder / "tmp" / f"pbs.{name}"
        scratch.mkdir(parents=True, exist_ok=True)
        environment = {
            **job.details["origin"],
            **job.environment,
            "PATH": f"{state.config['job_path']}:{self.machine.folder / 'bin'}",
            "HOME": person.pw_dir,
            "LOGNAME": job.user,
            "USER": job.user,
            "SHELL": person.pw_shell or "/bin/sh",
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

    def overdue(self, job: Job, ran: float) -> None:
        out, err = self.streams(job)
        with open(out if job.details["join"] in ("oe", "eo") else err, "a") as file:
            file.write(f"=>> PBS: job killed: walltime {int(ran)} exceeded limit {int(job.walltime or 0)}\n")

    def deliver(self, job: Job) -> None:
        """Copy the spooled output to where the user wants it; a file that is new can be read by its owner only."""
        joined = job.details["join"]
        for source, target, wanted in (
            (*pair, way)
            for pair, way in zip(
                zip(self.streams(job), (job.out, job.err), strict=True), (joined != "eo", joined != "oe"), strict=True
            )
        ):
            if joined == "eo" and wanted:
                source = self.streams(job)[0]
            if not wanted or Path(target) == source or not source.exists():
                continue
            with suppress(OSError), open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(source.read_bytes())
        self.forget_spool()

    def forget_spool(self) -> None:
        for suffix in ("OU", "ER"):
            self.spool(suffix).unlink(missing_ok=True)

    def finish(self, state: State, job: Job) -> None:
        again = job.why == "rerun" or (job.why == "node" and job.details["rerunnable"])
        if job.why == "walltime":
            job.status = -29
        elif again:
            job.status = -11
        if again:
            self.forget_spool()
            job.phase, job.places, job.session, job.comment = "queued", [], 0, "Not Running: Job was requeued"
            job.order, job.eligible = None, time.time() + state.config["requeue_wait"]
            return
        if job.runs and job.began is not None:
            self.deliver(job)
            # Where it ran stays in its record; the nodes themselves are free.
            job.comment += {
                "": " and finished" if job.status == 0 else " and failed",
                "walltime": " and exceeded resource walltime",
            }.get(job.why, " and terminated")
        job.phase = "ended"
        if not state.config["history"]:
            del state.jobs[job.number]
