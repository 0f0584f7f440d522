"""Forks the workers of a node from one process that has imported what they need.

So a further worker opens no files and takes little memory of its own. That process, the nursery, has a single thread
and no sockets but the one to the pool: a process with threads cannot be forked safely.

The pool sends one packet for each worker, its number, with the descriptor of the worker's socket. The nursery answers
with a packet when a worker has ended, or could not be forked: JSON of an :class:`Ended`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...pipeline.worker.node.packets import arrived
from ...pipeline.worker.node.posix import name_process

Work = Callable[[int, socket.socket], None]
"""What a worker does: called with its number and its socket."""


@dataclass(frozen=True)
class Ended:
    """A worker has ended.

    Attributes:
        rank: Its number.
        status: As ``subprocess`` gives it, negative for a signal; None where it could not be forked.
        reason: Why not.
    """

    rank: int
    status: int | None
    reason: str = ""

    @property
    def how(self) -> str:
        """How it ended, as the end of a sentence."""
        if self.status is None:
            return f"could not be started ({self.reason})"
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"exited with {self.status}"


class Nursery:
    """The pool's handle of its nursery.

    Args:
        work: What each worker does.
    """

    def __init__(self, work: Work):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        gc.freeze()  # garbage collections in the workers do not copy the pages that they share
        if os.fork() == 0:
            with ending_process():
                self.control.close()
                name_process("nursery")
                _Server(theirs, work).serve()
        theirs.close()

    def fork(self, rank: int) -> socket.socket:
        """Start a worker; returns the socket to it. Raises OSError where the nursery is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self.control, [b"%d" % rank], [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        return ours

    def receive(self) -> tuple[list[Ended], bool]:
        """The workers that have ended since the last call, and whether the nursery is gone."""
        packets, gone = arrived(self.control, 4096)
        return [Ended(**json.loads(packet)) for packet in packets], gone


@contextlib.contextmanager
def ending_process() -> Iterator[None]:
    """Exit at the end, in a process that was forked and must not return to what its parent does."""
    code = 1
    try:
        yield
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)


class _Server:
    """The nursery's side.

    Args:
        control: The socket to the pool.
        work: What each worker does.
    """

    def __init__(self, control: socket.socket, work: Work):
        self.control, self.work = control, work
        self.workers: dict[int, int] = {}  # pid -> number
        self.wakeup, self.signal_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the scheduler's, to the whole block; the agent decides
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.signal_end, warn_on_full_buffer=False)
        self.poller = select.poll()
        self.poller.register(control, select.POLLIN)
        self.poller.register(self.wakeup, select.POLLIN)

    def serve(self) -> None:
        """Fork and reap until the pool is gone; then ask the workers to end, and wait until they have."""
        alive = True
        while alive or self.workers:
            ready = dict(self.poller.poll())
            if self.wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 4096)
            self.reap()
            if alive and self.control.fileno() in ready and not self.take_request():
                alive = False
                self.poller.unregister(self.control)
                for pid in self.workers:
                    os.kill(pid, signal.SIGTERM)  # not collected yet, so the pid is theirs

    def take_request(self) -> bool:
        """Fork the worker that the pool asks for; False when the pool is gone."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self.control, 64, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            return False
        with socket.socket(fileno=descriptors[0]) as connection:
            self.fork(int(packet), connection)
        return True

    def fork(self, rank: int, connection: socket.socket) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pid = os.fork()
            except OSError as error:
                self.send(Ended(rank, None, str(error)))
                return
        if pid == 0:
            with ending_process():
                self.become_worker(rank)
                self.work(rank, connection)
        self.workers[pid] = rank

    def become_worker(self, rank: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.control.close()
        os.close(self.wakeup)
        os.close(self.signal_end)
        name_process(f"worker {rank}")

    def reap(self) -> None:
        for pid in tuple(self.workers):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found == pid:
                self.send(Ended(self.workers.pop(pid), os.waitstatus_to_exitcode(status)))

    def send(self, ended: Ended) -> None:
        with contextlib.suppress(OSError):
            self.control.send(json.dumps(dataclasses.asdict(ended)).encode())
