"""Processes of this host: who descends from whom, which node each belongs to, and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

NODE = "EMULATED_NODE"
"""In the environment of every process of a job: the node it runs on."""

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUTS = 0x04000000


def adopt_orphans() -> None:
    """From now on a process below this one whose parent ends becomes a child of this one: none can slip away."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def entering(node: str, named: bool) -> Callable[[], None]:
    """What a child calls before it executes a program, to be on ``node``: the host name is then the node's, for root."""

    def enter() -> None:
        if named and os.geteuid() == 0 and _libc.unshare(_CLONE_NEWUTS) == 0:
            socket.sethostname(node)

    return enter


def table() -> dict[int, tuple[int, str]]:
    """Parent and state letter of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat") as file:
                    # The command, in brackets, may hold anything: what counts comes after the last bracket.
                    words = file.read().rpartition(")")[2].split()
                found[int(name)] = (int(words[1]), words[0])
    return found


def below(ancestor: int) -> list[int]:
    """Living descendants of a process (zombies do not count), parents before children."""
    processes = table()
    children: dict[int, list[int]] = {}
    for process, (parent, _) in processes.items():
        children.setdefault(parent, []).append(process)
    found, todo = [], [ancestor]
    while todo:
        todo = [child for parent in todo for child in children.get(parent, ())]
        found += todo
    return [process for process in found if processes[process][1] not in "ZX"]


def started(process: int) -> str:
    """When a process started, in the kernel's ticks: with the id it names one process for ever; "" when it is gone."""
    with suppress(OSError):
        with open(f"/proc/{process}/stat") as file:
            words = file.read().rpartition(")")[2].split()
        return "" if words[0] in "ZX" else words[19]
    return ""


def variable(process: int, name: str) -> str | None:
    """A variable of the environment that a process was started with."""
    with suppress(OSError):
        with open(f"/proc/{process}/environ", "rb") as file:
            for item in file.read().split(b"\0"):
                if item.startswith(name.encode() + b"="):
                    return item.partition(b"=")[2].decode(errors="replace")
    return None


def on_node(ancestor: int, node: str, first: str) -> list[int]:
    """Descendants of a job's mom that run on ``node``; one that hides its environment runs where its parent does."""
    processes = table()
    place = {ancestor: first}
    for process in below(ancestor):
        place[process] = variable(process, NODE) or place.get(processes.get(process, (ancestor, ""))[0], first)
    return [process for process, where in place.items() if where == node and process != ancestor]


def send(processes: Iterable[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def kill(processes: Iterable[int]) -> None:
    send(processes, signal.SIGKILL)
