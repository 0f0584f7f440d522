"""A small fork server, one a worker: imports the objective once, then forks a process for each attempt.

``multiprocessing``'s own would import the worker's main script (Parsl's) again in every child. Run by the worker as
``python -m pilotune.pipeline.worker.process.fork_server FD``. ``FD`` is a SOCK_SEQPACKET socket; each packet is one
message:

* first from the worker: JSON, what to import (an ObjectiveSpec, ``preload``); then ``fork`` with one descriptor each;
* to the worker: JSON ``{"ready": file}``, ``{"forked": pid}``, ``{"exit": pid, "status": status}``.

It ends when the worker does (end of file), and kills what it forked.
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
import warnings

from ...trial.protocol import ObjectiveSpec
from ..node.posix import PR_SET_CHILD_SUBREAPER, children, end_children, kill_group, process_control
from ..objective.load import load_objective
from .child import run_child


def main(descriptor: int) -> None:
    """Serve until the worker is gone; in a forked child, run the attempt instead."""
    own = os.getpid()
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the scheduler's, for all of a block; the worker decides
    process_control(PR_SET_CHILD_SUBREAPER, 1)
    first = json.loads(control.recv(2**20) or "null")
    if first is None:
        return
    origin = preload(ObjectiveSpec.from_dict(first["objective"])) if first["preload"] else ""
    gc.collect()
    gc.freeze()  # what the children share is not touched by their garbage collections
    send(control, {"ready": origin})
    child = Server(control).serve()
    if child is not None:
        control.close()
        run_child(child, own)


def preload(objective: ObjectiveSpec) -> str:
    """Import the objective's module; its file, or nothing. What goes wrong is met again, and told, by the attempt."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(BaseException):
        function = load_objective(objective)
        return str(getattr(sys.modules.get(function.__module__), "__file__", None) or "")
    return ""


def send(control: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode())


class Server:
    """Forks on request and tells how each child ended."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: set[int] = set()
        self.helpers = children()  # started by the objective's imports: theirs to keep
        self.wakeup, ear = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ear, warn_on_full_buffer=False)
        self.poller = select.poll()
        self.poller.register(control, select.POLLIN)
        self.poller.register(self.wakeup, select.POLLIN)

    def serve(self) -> int | None:
        """The child's descriptor in a forked child; None in the server, when the worker is gone."""
        while True:
            ready = dict(self.poller.poll(1000))  # imports may have taken SIGCHLD: look now and then all the same
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
                    return None
                if descriptors and self.fork():
                    return descriptors[0]
                for descriptor in descriptors:
                    os.close(descriptor)

    def fork(self) -> bool:
        """Whether this is the child."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # threads of imported libraries: known, and what `preload: false` is for
            try:
                pid = os.fork()
            except OSError as error:
                send(self.control, {"failed": str(error)})
                return False
        if pid == 0:
            return True
        self.children.add(pid)
        send(self.control, {"forked": pid})
        return False

    def reap(self) -> None:
        for pid in tuple(self.children):
            # The zombie holds the number of its process group until the group is killed.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            kill_group(pid)
            _, status = os.waitpid(pid, 0)
            self.children.discard(pid)
            self.kill_orphans()
            send(self.control, {"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def kill_orphans(self) -> None:
        """Descendants that left their group for a session of their own have become this process's children."""
        end_children(self.helpers | self.children)

    def kill_all(self) -> None:
        for pid in self.children:
            kill_group(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill_orphans()


if __name__ == "__main__":
    main(int(sys.argv[1]))
