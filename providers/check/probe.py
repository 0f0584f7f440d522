"""Finds out what a campaign would have on a worker, for ``pilotune site check``.

It uses the standard library, and the report channel as trials do. :mod:`.findings` assesses what it returns.
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
"""Packages whose versions must be the same on both sides."""

SUBMIT_COMMANDS = {"slurm": "sbatch", "pbs": "qsub", "cobalt": "qsub"}
"""Scheduler -> its submit command."""

ROUNDS, ROUND_LIMIT = 10, 12.0
"""Round trips on the report channel, and seconds that each may take: a lost message is sent again after five."""

NO_LIMIT = 2**60
"""Bytes; a cgroup's memory limit of this size or more means that there is none."""


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Examine this worker. Called through Parsl.

    Args:
        request: ``token`` (of this probe), ``scheduler``, ``gpu_type``, ``url`` and ``key_file`` of the report channel,
            ``folder`` (on the file system to check), ``marker`` (a file in it), ``hold`` (least seconds that the probe
            takes, so that every worker gets one).

    Returns:
        ``host``, ``manager`` (Parsl's worker pool, one on each node), ``python``, ``executable``, ``packages`` (name ->
        version), ``cores``, ``memory`` (bytes), ``gpus`` (see :func:`gpus`), ``channel`` (see :func:`measure_channel`),
        ``folder`` (see :func:`check_folder`), ``submit`` (the path of the submit command, or None).
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
        "channel": measure_channel(request["token"], request["url"], request["key_file"]),
        "folder": check_folder(request["folder"], request["marker"], request["token"]),
        "submit": shutil.which(SUBMIT_COMMANDS.get(request["scheduler"], "")),
    }
    time.sleep(max(0.0, until - time.monotonic()))
    return found


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Package -> its version here; empty when it is not installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


# -- hardware ---------------------------------------------------------------------------------------------------------


def cores() -> int:
    """How many cores, as the kernel counts them, this block may use here.

    They are those of the worker pool, since the worker itself may be bound to its share of them.
    """
    own = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        own = own | os.sched_getaffinity(os.getppid())
    return len(own)


def memory(
    meminfo: str = "/proc/meminfo", cgroup: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup"
) -> int | None:
    """Bytes that this block may use here: the node's memory or a lower limit of the scheduler; None when unknown."""
    known = [limit for limit in [*_cgroup_limits(cgroup, root), _total(meminfo)] if limit is not None]
    return min(known, default=None)


def _total(meminfo: str) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(meminfo), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _cgroup_limits(cgroup: str, root: str) -> list[int]:
    """The memory limits of the process's cgroup and of all above it, in cgroup versions 1 and 2."""
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
    """The GPUs here: ``variable`` (that selects them), ``value`` (its value or None), ``devices`` (files)."""
    variable = VISIBLE[gpu_type]
    pattern = r"nvidia\d+" if gpu_type == "nvidia" else r"renderD\d+"
    folder = devices if gpu_type == "nvidia" else os.path.join(devices, "dri")
    try:
        names = sorted(name for name in os.listdir(folder) if re.fullmatch(pattern, name))
    except OSError:
        names = []
    usable = [name for name in names if os.access(os.path.join(folder, name), os.R_OK | os.W_OK)]
    return {"variable": variable, "value": environment.get(variable), "devices": usable}


# -- the report channel -----------------------------------------------------------------------------------------------


def measure_channel(token: str, url: str, key_file: str) -> dict[str, Any]:
    """Exchange messages with the driver as a trial does.

    Returns:
        ``url`` (the address that answered), ``rounds`` (seconds of each round trip), ``skew`` (seconds by which this
        host's clock is ahead of the driver's, from the quickest round trip) and ``error`` (a sentence when there was no
        answer, else empty).
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
    """The address that the channel uses; empty while none has answered."""
    return channel.url if isinstance(channel, CurveChannel) else ""


def _ask(channel: Channel, dialogue: Dialogue) -> tuple[float, float]:
    """Ask for the driver's clock, as for a suggested value.

    Returns:
        Seconds that the answer took, and seconds by which this host's clock is ahead.

    Raises:
        TimeoutError: There was no answer.
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


def check_folder(folder: str, marker: str, token: str) -> dict[str, Any]:
    """Read the driver's file in a folder, and write one for the driver to read.

    Returns:
        ``filesystem`` (a Mount as a dict), ``read`` (the contents of the driver's file, or None), ``wrote`` (the name
        of this worker's file, which holds its own name, or None), ``error`` (the system's words when something failed).
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
