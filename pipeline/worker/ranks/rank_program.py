"""What a launcher starts for each rank: ``python -P -m pilotune.pipeline.worker.ranks.rank_program FILE``.

FILE says where the worker waits (:class:`.handshake.Meeting`). This program finds its number in the launcher's
variables, connects, gets from the worker what to run, and forks the process that runs it, which keeps the launcher's
variables and open files, as MPI needs. Then it passes messages between that process and the worker, and:

* sends the worker ``Forked`` and, after all that the process has sent, ``Exited``;
* sends the process a signal when the worker says so, or its launcher sends SIGTERM;
* kills the process and what it has started when the worker is gone (end of file, or a node that does not answer).

It ends with status 0 when the worker closes the connection: a launcher would take another status for a reason to kill
the other ranks, which the worker decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec, Message
from ..node.fencing import ProcessNote
from ..node.memory import MemoryWatch, peak_of
from ..node.posix import (
    PR_SET_CHILD_SUBREAPER,
    children,
    end_children,
    handle_signal,
    kill_group,
    name_process,
    process_control,
    signal_group,
)
from ..objective.execute import change
from ..process.child import output_streams, prepared, run_child
from ..process.messages import Begin, Exited, Forked, encode
from .environment import MeetingPort
from .handshake import HandshakeError, Hello, Meeting, introduce, new_nonce, parsed
from .rendezvous import interface_of, keep_alive, read_meeting

RANK_VARIABLES = (
    "OMPI_COMM_WORLD_RANK",  # Open MPI
    "PMIX_RANK",  # PRRTE, srun --mpi=pmix
    "PALS_RANKID",
    "PMI_RANK",  # MPICH, Intel MPI, Cray MPICH
    "MV2_COMM_WORLD_RANK",
    "ALPS_APP_PE",  # aprun
    "SLURM_PROCID",
)
"""In which launchers tell each rank its number. The worker removes them from the launcher's own environment."""

CONNECT_LIMIT = 60.0
"""Seconds for which a rank tries to reach its worker."""

ADDRESS_LIMIT = 5.0
"""Seconds until another of the worker's addresses is tried."""

GLOO = "GLOO_SOCKET_IFNAME"

CHUNK = 65536

SAYS = "pilotune: "
"""Before what this program prints, which its launcher passes on."""


@dataclass(frozen=True)
class Task(Message):
    """What the worker tells a rank to run.

    Attributes:
        spec: The attempt, as this rank sees it.
        environment: Changes to the variables; None removes one.
        work: Its working directory.
        outputs: The two files that it prints to.
    """

    spec: AttemptSpec
    environment: dict[str, str | None]
    work: str
    outputs: list[str]


@dataclass(frozen=True)
class Signal(Message):
    """The worker wants this signal to be sent to the process and its group."""

    number: int


def own_rank(variables: dict[str, str]) -> int | None:
    """This process's number, from its launcher's variables; None where they do not say.

    >>> own_rank({"PMI_RANK": "3", "SLURM_PROCID": "0"}), own_rank({})
    (3, None)
    """
    for name in RANK_VARIABLES:
        value = variables.get(name, "")
        if value.isdigit():
            return int(value)
    return None


def connect(meeting: Meeting, hello: Hello) -> socket.socket:
    """Connect to the worker and go through the handshake. Raises HandshakeError with what went wrong last."""
    until, problem = time.monotonic() + CONNECT_LIMIT, ""
    while True:
        for address in meeting.addresses:
            try:
                connection = socket.create_connection((address, meeting.port), ADDRESS_LIMIT)
            except OSError as error:
                problem = f"{address}: {error.strerror or error}"
                continue
            try:
                introduce(connection, meeting.key, hello)
                connection.settimeout(None)
                keep_alive(connection)
                return connection
            except (HandshakeError, OSError) as error:
                connection.close()
                problem = f"{address}: {error}"
                if "refused it" in problem:
                    raise HandshakeError(problem) from None
        if time.monotonic() >= until:
            raise HandshakeError(problem)
        time.sleep(0.2)


def gloo_interface(worker: socket.socket, host: str) -> dict[str, str]:
    """The variable with which Gloo finds a network between nodes, where it would take the loopback interface.

    It publishes what the host's name resolves to, which on some nodes is 127.0.1.1, or nothing. The interface over
    which this rank has reached its worker is one that other nodes can reach.

    Args:
        worker: The connection.
        host: This host's name.
    """
    with contextlib.suppress(OSError):
        if not socket.gethostbyname(host).startswith("127."):
            return {}
    interface = interface_of(worker.getsockname()[0])
    return {GLOO: interface} if interface else {}


class RankProgram:
    """Runs one rank's process and passes its messages on.

    Args:
        worker: The connection.
    """

    def __init__(self, worker: socket.socket) -> None:
        self.worker = worker
        self.pid = 0
        self.status: int | None = None
        self._child: socket.socket | None = None
        self._memory = MemoryWatch()
        self._from_worker = self._from_child = b""
        self._wakeup, signal_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._terminated = False
        handle_signal(signal.SIGCHLD, lambda *_: None)
        handle_signal(signal.SIGTERM, self._on_sigterm)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            handle_signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(signal_end, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the worker is gone."""
        try:
            while self._turn():
                pass
        finally:
            self._end()

    def _turn(self) -> bool:
        watched = [self.worker.fileno(), self._wakeup]
        if self._child is not None:
            watched.append(self._child.fileno())
        poller = select.poll()
        for descriptor in watched:
            poller.register(descriptor, select.POLLIN)
        ready = dict(poller.poll(1000))
        if self._wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
        if self._terminated:
            self._terminated = False
            self._signal(signal.SIGTERM)
        if self._child is not None and self._child.fileno() in ready:
            self._pass_to_worker()
        if self.pid and self.status is None:
            self._memory.look([self.pid])
            self._reap()
        return self.worker.fileno() not in ready or self._hear()

    # -- the worker ---------------------------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Take in what the worker has sent; False when it is gone."""
        try:
            data = self.worker.recv(CHUNK)
        except OSError:
            return False
        *lines, self._from_worker = (self._from_worker + data).split(b"\n")
        for line in lines:
            self._follow(line)
        return bool(data)

    def _follow(self, line: bytes) -> None:
        said = parsed(line)
        if said.get("type") == "Signal":
            self._signal(Signal.from_dict(said).number)
        elif said.get("type") == "Task":
            self._start(Task.from_dict(said))
        elif self._child is not None:
            with contextlib.suppress(OSError):
                self._child.sendall(line + b"\n")

    def _send(self, message: Message) -> None:
        with contextlib.suppress(OSError):
            self.worker.sendall(json.dumps(encode(message)).encode() + b"\n")

    # -- the process --------------------------------------------------------------------------------------------------

    def _start(self, task: Task) -> None:
        if self.pid:
            return
        own, theirs = socket.socketpair()
        change(os.environ, task.environment)
        spec, files = task.spec, TrialFiles(Path(task.spec.directory))
        note = ProcessNote(files, spec.attempt, spec.rank)
        cores, outputs = sorted(os.sched_getaffinity(0)), (task.outputs[0], task.outputs[1])
        attempt = prepared(Begin(spec, task.environment, cores, note, task.work, outputs), theirs, None)
        with contextlib.suppress(OSError):
            output_streams()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            own.close()
            run_child(attempt, parent, self.worker)
        theirs.close()
        self.pid, self._child = pid, own
        self._send(Forked(pid))

    def _pass_to_worker(self) -> None:
        assert self._child is not None
        try:
            data = self._child.recv(CHUNK)
        except OSError:
            data = b""
        if not data:
            self._close_child()
            return
        self._from_child = data.rpartition(b"\n")[2] if b"\n" in data else self._from_child + data
        with contextlib.suppress(OSError):
            self.worker.sendall(data)

    def _close_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _reap(self) -> None:
        """If the process has ended, pass on what it has sent, kill what it has started, and tell its status."""
        # Not collected yet: the zombie keeps the group's number from being reused until the group is killed.
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
        ended = time.time()
        kill_group(self.pid)
        while self._child is not None and select.select([self._child], [], [], 0)[0]:
            self._pass_to_worker()
        self._close_child()
        _, ended_with, usage = os.wait4(self.pid, 0)
        status = os.waitstatus_to_exitcode(ended_with)
        memory = 0 if self._memory.elsewhere else max(peak_of(usage), self._memory.peak)
        end_children(())
        self.status = status
        if self._from_child:  # it died in the middle of a message
            with contextlib.suppress(OSError):
                self.worker.sendall(b"\n")
        self._send(Exited(self.pid, status, ended, memory))

    def _signal(self, number: int) -> None:
        if self.pid and self.status is None:
            signal_group(self.pid, number)

    def _on_sigterm(self, *_: Any) -> None:
        self._terminated = True

    def _end(self) -> None:
        """Kill the process and all that it has started."""
        self._signal(signal.SIGKILL)
        if self.pid and self.status is None:
            os.waitpid(self.pid, 0)
        if children():
            end_children(())


def main(path: str) -> int:
    """Run one rank; returns the exit status.

    Args:
        path: The file that says where the worker waits.
    """
    name_process("rank")
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    rank = own_rank(dict(os.environ))
    if rank is None:
        print(f"{SAYS}this launcher does not tell ranks their number: {', '.join(RANK_VARIABLES)}", file=sys.stderr)
        return 2
    host = socket.gethostname()
    with MeetingPort() as port:
        try:
            meeting = read_meeting(Path(path))
            worker = connect(meeting, Hello(rank, host, port.number, new_nonce()))
        except (OSError, ValueError, HandshakeError) as error:
            print(f"{SAYS}rank {rank} on node {host} cannot reach its worker: {error}", file=sys.stderr)
            return 2
        if GLOO not in os.environ:
            os.environ.update(gloo_interface(worker, host))
        RankProgram(worker).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
