"""The fork server: imports the objective once, then forks a process for each attempt. Each worker has one.

The worker has forked one ahead (:mod:`.spare`); where that one is gone, it runs
``python -m pilotune.pipeline.worker.process.fork_server FD``. ``FD`` is a SOCK_SEQPACKET socket; each packet is one
message (see :mod:`.messages`):

* from the worker: first :class:`.Preload`; then for each process the bytes ``fork``, with the descriptor of a socket;
* to the worker: :class:`.Ready`, then :class:`.Forked` or :class:`.ForkFailed` and :class:`.Exited` for each process.

It ends when the worker does (end of file), and kills the processes that it forked.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from types import ModuleType

from ...trial.from_json import prepare
from ...trial.protocol import Message, ObjectiveSpec
from ..node.memory import peak_of
from ..node.posix import PR_SET_CHILD_SUBREAPER, children, end_children, kill_group, process_control
from ..objective.execute import change
from ..objective.load import file_of_objective, import_objective
from .child import output_streams, prepared, run_child
from .messages import TO_TRIAL, Exited, ForkFailed, Preload, Ready, decode, encode, receive_begin


def main(descriptor: int) -> None:
    """Serve until the worker is gone; a forked child runs its attempt instead and does not return.

    Args:
        descriptor: The socket to the worker.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the scheduler sends them to the whole block; the worker decides
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    packet = control.recv(2**20)
    if not packet:
        return
    first = decode(json.loads(packet))
    assert isinstance(first, Preload)
    change(os.environ, first.environment)
    module = preload(first.objective) if first.preload else None
    origin = "" if module is None else file_of_objective(module, first.objective)
    with contextlib.suppress(OSError):
        output_streams()
    prepare(*TO_TRIAL)  # remembered, so that no trial's process has to read the annotations again
    gc.collect()
    gc.freeze()  # garbage collections in the children do not copy the pages that they share
    send(control, Ready(origin))
    Server(control, module).serve()


def preload(objective: ObjectiveSpec) -> ModuleType | None:
    """Import the objective's module; None where it fails, since the attempt reports that error.

    An objective that is a class is not constructed here: each attempt does that in its own process.
    """
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(BaseException):
        return import_objective(objective)
    return None


def send(control: socket.socket, message: Message) -> None:
    """Send one packet to the worker; ignored where it is gone."""
    with contextlib.suppress(OSError):
        control.send(json.dumps(encode(message)).encode())


class Server:
    """Forks on request and reports how each child ended.

    Args:
        control: The socket to the worker.
        module: The objective's; None where it is not imported here.

    Attributes:
        children: Pids of the forked processes that have not ended.
        environment: Variables that the last attempt has set; each sets the same ones.
        helpers: Pids of processes that the objective's imports started; they live as long as the server.
    """

    def __init__(self, control: socket.socket, module: ModuleType | None) -> None:
        self.control, self.module = control, module
        self.pid = os.getpid()
        self.environment: dict[str, str | None] = {}
        self.children: set[int] = set()
        self.helpers = children()
        self.wakeup, signal_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signal_end, warn_on_full_buffer=False)
        self.poller = select.poll()
        self.poller.register(control, select.POLLIN)
        self.poller.register(self.wakeup, select.POLLIN)

    def serve(self) -> None:
        """Serve until the worker is gone."""
        while self.turn():
            pass

    def turn(self) -> bool:
        """Wait for something and handle it; False when the worker is gone."""
        ready = dict(self.poller.poll(1000))  # with a timeout, since imports may have replaced the SIGCHLD handler
        if self.wakeup in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wakeup, 4096)
        self.reap()
        if self.control.fileno() in ready:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self.control, 64, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                packet, descriptors = b"", []
            if not packet:
                self.kill_all()
                return False
            for descriptor in descriptors:
                self.fork(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor))
        return True

    def fork(self, worker: socket.socket) -> None:
        """Fork a process for the attempt that the worker describes over ``worker``, which is closed here."""
        begin = receive_begin(worker)
        if begin is None:
            worker.close()
            return
        # All that needs not be done in the new process is done here: that one copies each page of memory it touches.
        change(os.environ, dict(begin.environment.items() - self.environment.items()))
        self.environment = begin.environment
        attempt = prepared(begin, worker, self.module)
        try:
            pid = _fork()
        except OSError as error:
            worker.close()
            send(self.control, ForkFailed(str(error)))
            return
        if pid == 0:
            run_child(attempt, self.pid, self.control)
        # As little as possible from here on: this process, too, copies what it touches while the new one lives.
        os.close(worker.detach())
        try:
            self.control.send(b'{"type": "Forked", "pid": %d}' % pid)
        except OSError:  # the worker is gone
            pass
        self.children.add(pid)

    def reap(self) -> None:
        """Collect children that have ended, with what they started, and report each to the worker."""
        for pid in tuple(self.children):
            # Not collected yet: the zombie keeps the group's number from being reused until the group is killed.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            kill_group(pid)
            _, status, usage = os.wait4(pid, 0)
            self.children.discard(pid)
            if not self.children:  # else they may belong to another rank of the trial
                self.kill_orphans()
            send(self.control, Exited(pid, os.waitstatus_to_exitcode(status), time.time(), peak_of(usage)))

    def kill_orphans(self) -> None:
        """Kill descendants in sessions of their own: orphaned, they have become this process's children."""
        end_children(self.helpers | self.children)

    def kill_all(self) -> None:
        """Kill every forked process and its descendants."""
        for pid in self.children:
            kill_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill_orphans()


def _fork() -> int:
    if sys.version_info < (3, 12):
        return os.fork()
    with warnings.catch_warnings():  # about threads of imported libraries; `preload: false` avoids them
        warnings.simplefilter("ignore")
        return os.fork()


if __name__ == "__main__":
    main(int(sys.argv[1]))
