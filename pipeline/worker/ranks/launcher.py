"""The launcher (srun, mpiexec, aprun) that starts the ranks of an attempt of a Python objective, as a process."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec
from ..node.block import launcher
from ..node.fencing import ProcessNote, taken_over
from ..node.posix import PR_SET_PDEATHSIG, process_control
from ..node.ranks import end_ranks
from ..objective.ending import signal_name, tail
from ..objective.execute import change, environment
from .rank_program import RANK_VARIABLES, SAYS

PROGRAM = "pilotune.pipeline.worker.ranks.rank_program"

END_WAIT = 5.0
"""Seconds that a launcher has to end after its ranks, before it is told to."""

HIDDEN = (*RANK_VARIABLES, "PMI_FD", "PMI_SIZE", "PMIX_NAMESPACE", "PMIX_SERVER_URI2", "PMIX_SERVER_URI3")
"""Variables by which a launcher that has started this worker would be taken for that of the ranks."""

ON_ONE_NODE = {
    # Open MPI takes the cores of the first ranks on a node for each trial, and refuses more ranks than cores. Which
    # cores a trial has is decided already.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "true",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    # Inside a job, mpiexec would otherwise start ranks on the job's first nodes.
    "HYDRA_BOOTSTRAP": "fork",
    "HYDRA_RMK": "user",
    "I_MPI_HYDRA_BOOTSTRAP": "fork",
    "OMPI_MCA_plm": "isolated",
    "OMPI_MCA_ras": "^slurm,tm,lsf,gridengine",
    # The step of the block's workers has all cores of the node already.
    "SLURM_OVERLAP": "1",
}
"""Variables for launchers that start ranks on this node only; a user's own win."""

STEP_OF_NODE = {
    "SLURM_MEM_PER_NODE": "0",  # as much as the job has on the node, which all steps share
    "SLURM_MEM_PER_CPU": None,
    "SLURM_MEM_PER_GPU": None,
    "SLURM_NTASKS_PER_NODE": None,
}
"""Changes to Slurm's variables, which are about the step of the block's workers, for a step of ranks on one node."""

AS_ROOT = (
    "OMPI_ALLOW_RUN_AS_ROOT",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
    "PRTE_ALLOW_RUN_AS_ROOT",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM",
)
"""Without these Open MPI refuses to run as root, which users of containers are."""


def launcher_variables(spec: AttemptSpec, *, root: bool) -> dict[str, str]:
    """Variables for the launcher of an attempt, where they are not set.

    Args:
        spec: The attempt.
        root: This process runs as root.

    >>> launcher_variables(AttemptSpec("7.1.c", "s", 7, 1, {}, False, "", 0, 1, nodes=2), root=False)
    {}
    """
    return {**(ON_ONE_NODE if spec.nodes == 1 else {}), **(dict.fromkeys(AS_ROOT, "1") if root else {})}


class Launcher:
    """A running launcher. What it prints goes to a file of its own.

    Args:
        spec: The attempt.
        files: The trial's files.
        meeting: The file that each rank gets as its argument.

    Attributes:
        name: Of its program, for messages.
        status: Its exit status as ``subprocess`` gives it; None while it runs.

    Raises:
        OSError: It cannot be started.
        subprocess.SubprocessError: A later attempt of the trial has begun.
    """

    def __init__(self, spec: AttemptSpec, files: TrialFiles, meeting: Path) -> None:
        words = shlex.split(launcher(spec))
        if not words:
            raise OSError(0, "this block has none for several nodes")
        self.name = Path(words[0]).name
        self._output = files.launcher_output(spec.attempt)
        self._process = self._start([*words, sys.executable, "-P", "-m", PROGRAM, str(meeting)], spec, files)
        self._pidfd: int | None = None
        with contextlib.suppress(OSError, AttributeError):  # Linux before 5.3: its end is noticed by polling
            self._pidfd = os.pidfd_open(self._process.pid)

    def _start(self, words: list[str], spec: AttemptSpec, files: TrialFiles) -> subprocess.Popen[bytes]:
        note = ProcessNote(files, spec.attempt, spec.ranks)  # the number after those of the ranks

        def prepare() -> None:
            process_control(PR_SET_PDEATHSIG, signal.SIGTERM)  # a killed launcher may leave its ranks
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if note.write():
                raise RuntimeError  # becomes a SubprocessError in the worker

        values = {**launcher_variables(spec, root=os.geteuid() == 0), **os.environ}
        change(values, environment(spec))
        change(values, dict.fromkeys(HIDDEN))
        if spec.nodes == 1 and "SLURM_JOB_ID" in values:
            change(values, STEP_OF_NODE)
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                words,
                cwd=files.work(spec.attempt),
                env=values,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a scheduler that kills the job's session must not kill a launcher
                preexec_fn=prepare,
            )
        finally:
            os.close(output)

    @property
    def status(self) -> int | None:
        return self._process.poll()

    def descriptors(self) -> list[int]:
        """Readable when it has ended; none where that has to be polled."""
        return [] if self._pidfd is None or self.status is not None else [self._pidfd]

    def how_it_ended(self) -> str:
        """One clause, with the last line of what it has printed; empty while it runs."""
        status = self.status
        if status is None:
            return ""
        how = f"was killed by {signal_name(-status)}" if status < 0 else f"exited with {status}"
        return f"the launcher {self.name} {how}{self.last_words()}"

    def last_words(self) -> str:
        """A colon and the last line that a rank's program or the launcher has printed; empty where there is none."""
        lines = [line.strip() for line in tail(self._output).splitlines() if line.strip(" -\t")]
        ours = [line.removeprefix(SAYS) for line in lines if line.startswith(SAYS)]
        return f": {(ours or lines)[-1][:300]}" if lines else ""

    def printed(self) -> str:
        """The end of what it has printed."""
        return tail(self._output)

    def terminate(self) -> None:
        """Send it SIGTERM, on which launchers end their ranks."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and its ranks: by SIGTERM, and by SIGKILL what is left of it a little later."""
        end_ranks(self._process.pid)
        self._process.wait()

    def close(self) -> None:
        """Wait for its end, which follows that of its ranks; end it where it does not come."""
        until = time.monotonic() + END_WAIT
        while self.status is None and time.monotonic() < until:
            time.sleep(0.01)
        self.kill()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def start_launcher(spec: AttemptSpec, files: TrialFiles, meeting: Path) -> Launcher | str:
    """Start a launcher; one sentence where that fails.

    Args:
        spec: The attempt.
        files: The trial's files.
        meeting: The file that each rank gets as its argument.
    """
    try:
        return Launcher(spec, files, meeting)
    except subprocess.SubprocessError:
        taken = taken_over(files, spec.attempt)
        if not taken:
            raise
        return taken
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        return f"the launcher of the ranks cannot be started: {what}"
