"""Finds the processes of emulated nodes: their ancestry and their node; ends them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

NODE = "EMULATED_NODE"
"""Variable of every process of a job: the node that it runs on."""

MOM = "EMULATED_MOM"
"""Variable of every mom: the folder of its machine."""

HOSTS = "hosts"
"""A file in a machine's folder: /etc/hosts as seen on its nodes."""

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000


def adopt_orphans() -> None:
    """Make this process the new parent of descendants whose parents end, so that none gets lost."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def can_enter() -> bool:
    """Whether this user may give processes their own host name; root may, except in some containers."""
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.unshare(_CLONE_NEWUTS | _CLONE_NEWNS) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def entering(node: str, names: bool, folder: Path, *, tied: bool = False) -> Callable[[], None]:
    """What a child calls before it executes a program, to be on ``node``.

    With ``names`` (see ``can_enter``) the host name is then the node's, and the names of all nodes have an address.
    With ``tied`` it dies with its parent.
    """
    hosts = str(folder / HOSTS).encode()

    def enter() -> None:
        if tied:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if not names:
            return
        if _libc.unshare(_CLONE_NEWUTS) == 0:
            socket.sethostname(node)
        # Only when what is mounted here is seen nowhere else.
        if _libc.unshare(_CLONE_NEWNS) == 0 and _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0:
            _libc.mount(hosts, b"/etc/hosts", None, _MS_BIND, None)

    return enter


def _status(process: int | str) -> list[str]:
    """The fields of a process's ``stat`` file from the state letter on. Raises OSError."""
    with open(f"/proc/{process}/stat") as file:
        # The command, in brackets, may hold anything: what counts comes after the last bracket.
        return file.read().rpartition(")")[2].split()


def table() -> dict[int, tuple[int, int, str]]:
    """Parent, session and state letter of every process."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError):
            words = _status(name)
            found[int(name)] = (int(words[1]), int(words[3]), words[0])
    return found


def below(ancestor: int) -> dict[int, tuple[int, int, str]]:
    """Living descendants of a process (zombies do not count), parents before children; as ``table``.

    A job that was submitted from within another is not below that one's mom, though its own mom may have been adopted.
    """
    everything = table()
    children: dict[int, list[int]] = {}
    for process, (parent, _, _) in everything.items():
        children.setdefault(parent, []).append(process)
    found, todo = [], [ancestor]
    while todo:
        todo = [child for parent in todo for child in children.get(parent, ()) if variable(child, MOM) is None]
        found += todo
    return {process: everything[process] for process in found if everything[process][2] not in "ZX"}


def started(process: int) -> str:
    """Start of a process in the kernel's ticks, which identifies it together with its id; "" if it is gone."""
    with suppress(OSError):
        words = _status(process)
        return "" if words[0] in "ZX" else words[19]
    return ""


def variable(process: int, name: str) -> str | None:
    """A variable of the environment that a process was started with."""
    with suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
        for item in file.read().split(b"\0"):
            if item.startswith(name.encode() + b"="):
                return item.partition(b"=")[2].decode(errors="replace")
    return None


def on_node(ancestor: int, node: str, first: str) -> list[int]:
    """Descendants of a job's mom that run on ``node``; one with a hidden environment runs where its parent does."""
    place = {ancestor: first}
    for process, (parent, _, _) in below(ancestor).items():
        place[process] = variable(process, NODE) or place.get(parent, first)
    return [process for process, where in place.items() if where == node and process != ancestor]


def send(targets: Iterable[int], number: int) -> None:
    for process in targets:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def kill(targets: Iterable[int]) -> None:
    send(targets, signal.SIGKILL)
