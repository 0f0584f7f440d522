"""The mom of a Cobalt job. The script runs on a MOM node (Cray) or the first node (cluster), with live output."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time

from .. import processes
from ..mom import Mom
from ..state import ENVIRONMENT, Job, State
from .common import location, log


class CobaltMom(Mom):
    """Writes the cobaltlog; a job that is over is forgotten."""

    def kill_delay(self) -> float:
        return float(self.state.config["force_kill_delay"])

    def launch(self, state: State, job: Job) -> subprocess.Popen[bytes]:
        environment = self.environment(state, job)
        log(
            job,
            f"Command: {' '.join(repr(word) for word in [job.script, *job.arguments])}",
            "Environment:",
        )
        with open(job.details["log"], "a") as file:
            file.writelines(f"{name}={value}\n" for name, value in sorted(environment.items()))
            file.write("\n")
        source = os.path.join(job.cwd, job.details["input"]) if job.details["input"] else "/dev/null"
        log(
            job,
            f"Info: stdin received from {source}",
            f"Info: stdout sent to {job.out}",
            f"Info: stderr sent to {job.err}",
        )
        node, mask = environment[processes.NODE], int(job.details["umask"], 8)
        enter = processes.entering(node, state.names(), self.machine.folder)

        def prepare() -> None:
            os.umask(mask)
            enter()

        with open(source) as stdin, open(job.out, "ab") as out, open(job.err, "ab") as err:
            return subprocess.Popen(
                [job.script, *job.arguments],
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=job.cwd,
                env=environment,
                start_new_session=True,
                preexec_fn=prepare,
            )

    def environment(self, state: State, job: Job) -> dict[str, str]:
        person, config = pwd.getpwnam(job.user), state.config
        cray = config["system"] == "cray"
        began = time.time()
        environment = {
            "PATH": f"{self.machine.folder / 'bin'}:{config['job_path']}",
            "HOME": person.pw_dir,
            "USER": job.user,
            "LOGNAME": job.user,
            "SHELL": person.pw_shell or "/bin/sh",
            **job.environment,
            "COBALT_JOBID": str(job.number),
            "COBALT_PARTNAME": location(state, job),
            "COBALT_PARTSIZE": str(len(job.nodes)),
            "COBALT_JOBSIZE": str(job.details["procs"]),
            "COBALT_STARTTIME": str(int(began)),
            "COBALT_ENDTIME": str(int(began + (job.walltime or 0))),
            "COBALT_RESID": str(job.number),
            ENVIRONMENT: str(self.machine.folder),
            processes.NODE: config["mom_node"] if cray else job.nodes[0],
        }
        if cray:
            environment["COBALT_PROJECT"], environment["COBALT_QUEUE"] = job.account, job.queue
            environment["COBALT_PARTCORES"] = str(job.places[0][1])
        else:
            nodefile = self.machine.folder / "tmp" / f"cobalt.{job.number}"
            nodefile.parent.mkdir(exist_ok=True)
            nodefile.write_text("".join(f"{node}\n" for node in job.nodes))
            environment["COBALT_NODEFILE"] = str(nodefile)
        return environment

    def terminate(self, job: Job) -> None:
        """Send SIGTERM to the script's process group; launchers pass it on to their nodes."""
        assert self.top is not None
        assert job.order is not None
        if job.order["why"] == "deleted":
            log(job, f"Info: user delete requested with signal SIGTERM by user {job.order['by']}")
        if self.top.poll() is None:
            os.killpg(self.top.pid, signal.SIGTERM)

    def overdue(self, job: Job, ran: float) -> None:
        log(job, "Info: maximum execution time exceeded; initiating job termination")

    def end(self, job: Job, status: int | None) -> None:
        if job.order is None and status is not None:
            code = status if status >= 0 else 128 - status
            log(
                job,
                f"Info: task completed normally with an exit code of {code}; initiating job cleanup and removal",
            )
        super().end(job, status)

    def finish(self, state: State, job: Job) -> None:
        (self.machine.folder / "tmp" / f"cobalt.{job.number}").unlink(missing_ok=True)
        job.phase = "ended"
        del state.jobs[job.number]
