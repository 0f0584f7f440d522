"""Runs on a worker of a block that ``pilotune site check`` sent: looks at what a campaign would have there.

The standard library, and the report channel as trials have it. Nothing is judged here; see :mod:`.findings`.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from ...filesystems import filesystem_of
from ...pipeline.trial.gpus import VISIBLE
from ...pipeline.trial.protocol import ChannelAddress, Started
from ...pipeline.worker.dialogue import Dialogue, ValueAnswer
from ...pipeline.worker.node.channel import Channel, CurveChannel, exchange, open_channel

PACKAGES = ("pilotune", "parsl", "optuna", "pyzmq", "numpy")
"""Whose versions matter on both sides."""

SUBMIT_COMMANDS = {"slurm": "sbatch", "pbs": "qsub", "cobalt": "qsub"}

ROUNDS, ROUND_LIMIT = 10, 12.0
"""Round trips on the report channel, and seconds that one may take: what is lost is sent again after five."""

NO_LIMIT = 2**60
"""Bytes; a memory limit of a cgroup that is as large is none."""


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Look around on this worker. Called through Parsl.

    Args:
        request: ``token`` (of this probe), ``scheduler``, ``gpu_type``, ``url`` and ``key_file`` of the report channel,
            ``folder`` (on the file system under test), ``marker`` (a file in it), ``hold`` (seconds that it takes at
            least, so that every worker gets one).

    Returns:
        What was found: ``host``, ``manager`` (Parsl's worker pool, one a node), ``python``, ``executable``,
        ``packages`` (name -> version), ``cores``, ``memory`` (bytes), ``gpus`` (see :func:`gpus`), ``channel`` (see
        :func:`talk`), ``folder`` (see :func:`look_into`), ``submit`` (where the submit command is, or None).
    """
    until = time.monotonic() + request["hold"]
    found = {
        "token": request["token"],
        "host": socket.gethostname(),
        "manager": os.environ.get("PARSL_WORKER_POOL_ID", ""),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": versions(),
        "cores": cores(),
        "memory": memory(),
        "gpus": gpus(request["gpu_type"]),
        "channel": talk(request["token"], request["url"], request["key_file"]),
        "folder": look_into(request["folder"], request["marker"], request["token"]),
        "submit": shutil.which(SUBMIT_COMMANDS.get(request["scheduler"], "")),
    }
    time.sleep(max(0.0, until - time.monotonic()))
    return found


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Package -> its version here; empty where it is not installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


# -- hardware ---------------------------------------------------------------------------------------------------------


def cores() -> int:
    """Cores (as the kernel counts them) that this block may use here.

    Those of the worker pool: the worker itself may be bound to its share of them.
    """
    own = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        own = own | os.sched_getaffinity(os.getppid())
    return len(own)


def memory(
    meminfo: str = "/proc/meminfo", cgroup: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup"
) -> int | None:
    """Bytes that this block may use here: the node's, or less where the scheduler set a limit; None: not known."""
    known = [limit for limit in [*_cgroup_limits(cgroup, root), _total(meminfo)] if limit is not None]
    return min(known, default=None)


def _total(meminfo: str) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(meminfo), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _cgroup_limits(cgroup: str, root: str) -> list[int]:
    """Of the process's cgroup and of all above it, in version 1 and 2."""
    limits = []
    for line in _text(cgroup).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = Path(root, "memory") if controllers else Path(root)
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        place = base / path.lstrip("/")
        while place.is_relative_to(base):
            text = _text(str(place / name)).strip()
            if text.isdigit() and int(text) < NO_LIMIT:
                limits.append(int(text))
            place = place.parent
    return limits


def gpus(gpu_type: str, environment: Mapping[str, str] = os.environ, devices: str = "/dev") -> dict[str, Any]:
    """What tells of GPUs: ``variable`` (that of the make), ``value`` (its value, or None), ``devices`` (files)."""
    variable = VISIBLE[gpu_type]
    pattern = r"nvidia\d+" if gpu_type == "nvidia" else r"renderD\d+"
    folder = devices if gpu_type == "nvidia" else os.path.join(devices, "dri")
    try:
        names = sorted(name for name in os.listdir(folder) if re.fullmatch(pattern, name))
    except OSError:
        names = []
    usable = [name for name in names if os.access(os.path.join(folder, name), os.R_OK | os.W_OK)]
    return {"variable": variable, "value": environment.get(variable), "devices": usable}


# -- the way to the driver --------------------------------------------------------------------------------------------


def talk(token: str, url: str, key_file: str) -> dict[str, Any]:
    """Speak with the driver as a trial does.

    Returns:
        ``url`` (the address that answered), ``rounds`` (seconds of each round trip), ``skew`` (seconds that this host's
        clock is ahead of the driver's, from the quickest round trip) and ``error``, a sentence where nobody answered.
    """
    nothing: dict[str, Any] = {"url": "", "rounds": [], "skew": None, "error": ""}
    try:
        channel = open_channel(ChannelAddress(url, key_file))
    except (OSError, ValueError) as error:
        return {**nothing, "error": f"{type(error).__name__}: {error}"}
    block, rank = os.environ.get("PARSL_WORKER_BLOCK_ID", ""), os.environ.get("PARSL_WORKER_RANK", "")
    channel.begin(Started(token, socket.gethostname(), os.getpid(), block, rank))
    try:
        dialogue = Dialogue(token)
        samples = [_ask(channel, dialogue) for _ in range(ROUNDS)]
    except TimeoutError:
        used = _address(channel)
        silent = f"{used} does not answer" if used else f"none of {url} answers"
        return {**nothing, "error": f"{silent} (waited {ROUND_LIMIT:.0f} s)"}
    rounds = [taken for taken, _ in samples]
    return {**nothing, "url": _address(channel) or url, "rounds": rounds, "skew": min(samples)[1]}


def _address(channel: Channel) -> str:
    """That it uses; empty while none has answered."""
    return channel.url if isinstance(channel, CurveChannel) else ""


def _ask(channel: Channel, dialogue: Dialogue) -> tuple[float, float]:
    """The driver's time: seconds that the answer took, and by how many this host's clock is ahead.

    A suggested value is what a driver answers with; this one is its clock. Raises TimeoutError.
    """
    sent, began = time.time(), time.monotonic()
    dialogue.suggest("clock", "")
    while (now := time.monotonic()) - began < ROUND_LIMIT:
        exchange(channel, dialogue, now)
        answer = dialogue.take_answer(now)
        if isinstance(answer, ValueAnswer):
            taken = now - began
            return taken, sent + taken / 2 - float(answer.value)
        channel.wait([], max(0.0, min(dialogue.deadline() or math.inf, began + ROUND_LIMIT) - now))
    raise TimeoutError


# -- the file system --------------------------------------------------------------------------------------------------


def look_into(folder: str, marker: str, token: str) -> dict[str, Any]:
    """Read the driver's marker, and leave one of this worker's.

    Returns:
        ``filesystem`` (a Mount as a dict), ``read`` (the driver's marker, or None), ``wrote`` (the name of ours, which
        holds its own name; or None), ``error``: what went wrong, in the system's words.
    """
    found: dict[str, Any] = {"filesystem": asdict(filesystem_of(folder)), "read": None, "wrote": None, "error": ""}
    try:
        found["read"] = Path(folder, marker).read_text()
        name = f"worker-{token}"
        with open(Path(folder, name), "w", encoding="utf-8") as file:
            file.write(name)
            file.flush()
            os.fsync(file.fileno())
        found["wrote"] = name
    except OSError as error:
        found["error"] = f"{error.filename or folder}: {error.strerror}"
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
