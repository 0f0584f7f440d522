"""Shared by Cobalt's commands: settings, messages, times, tables, node lists and the connection to components."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ..state import Job, State

DEFAULTS: dict[str, Any] = {
    "system": "cray",  # or "cluster"
    "size": 1024,
    "minute": 60.0,  # a minute of a job's time, s
    "starting": 1.0,  # prologue
    "exiting": 1.0,  # epilogue
    "late": 1.0,
    "force_kill_delay": 300.0,
    "qdel_sleep": 1.0,
    "cluster_minimum": 5,  # minutes
    "mom_node": "mom1",  # where scripts run on a Cray
    "filter_lines": [],  # what the site's submission filter prints to stderr
    "routes": {},  # queue: the queue that the filter puts the job into
    "id_message": "",  # what the queue manager adds after a job's number
    "qstat_header": None,  # the site's columns, "A:B:C"
    "qstat_header_full": None,
    "job_path": "/usr/local/bin:/usr/bin:/bin",
    "account_words": "Project {account} does not exist or has no allocation",
}


def complain(text: str) -> None:
    print(text, file=sys.stderr)


def leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.exit(code)


def connect(state: State, component: str) -> None:
    """Exit unless the component answers."""
    if state.config["server_down"]:
        complain(f"component error: Failed to connect to {component}\n")
        leave(1)


def moment(seconds: float) -> str:
    """``Thu Jan 01 00:01:00 1970 +0000 (UTC)``, in local time."""
    return time.strftime("%a %b %d %H:%M:%S %Y %z (%Z)", time.localtime(seconds))


def elapsed(seconds: float) -> str:
    """``HH:MM:SS``; hours may exceed two digits."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"


def minutes(text: str) -> int:
    """Whole minutes of ``M``, ``HH:MM``, ``HH:MM:SS`` or ``DD:HH:MM:SS``. Raises ValueError."""
    parts = [int(part) for part in text.split(":")]
    if any(part < 0 for part in parts) or len(parts) > 4:
        raise ValueError
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        parts.append(0)
    days, hours, rest, seconds = [0] * (4 - len(parts)) + parts
    return ((days * 24 + hours) * 60 + rest) + seconds // 60


def tabular(rows: Sequence[Sequence[str]]) -> str:
    """A table with a header: left-justified columns, each followed by two blanks."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "=" * (sum(widths) + 2 * len(widths)))
    return "".join(line + "\n" for line in lines)


def vertical(rows: Sequence[Sequence[str]]) -> str:
    """A block of ``title: value`` lines for each row."""
    width = max(len(title) for title in rows[0]) + 1
    text = ""
    for row in rows[1:]:
        for place, (title, cell) in enumerate(zip(rows[0], row, strict=True)):
            text += f"{title}: {cell}\n" if place == 0 else f"    {title:<{width}}: {cell}\n"
        text += "\n"
    return text


def ranges(numbers: list[int], width: int = 0) -> str:
    """``3827-3830,3835``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(
        f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}" for first, last in parts
    )


def location(state: State, job: Job) -> str:
    """The location of a job: node numbers on a Cray; on a cluster node names, merged where they differ by a number."""
    names = job.nodes
    if not names:
        return "None"
    parsed = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if any(match is None for match in parsed):
        return ",".join(names)
    pairs = [(match[1], match[2]) for match in parsed if match is not None]
    if state.config["system"] == "cray":
        return ranges([int(number) for _, number in pairs])
    if len(names) == 1:
        return names[0]
    prefixes: dict[str, list[str]] = {}
    for prefix, number in pairs:
        prefixes.setdefault(prefix, []).append(number)
    return ",".join(
        f"{prefix}[{ranges([int(number) for number in numbers], len(numbers[0]))}]"
        if len(numbers) > 1
        else prefix + numbers[0]
        for prefix, numbers in prefixes.items()
    )


def log(job: Job, *lines: str) -> None:
    """Append lines to the job's cobaltlog, if it is writable."""
    try:
        with open(job.details["log"], "a") as file:
            file.write("".join(f"{moment(time.time())} {line}\n" for line in lines))
    except OSError:
        return


def expand(text: str, number: int) -> str:
    """``$jobid`` and ``$COBALT_JOBID``."""
    return re.sub(r"\$\{?(jobid|COBALT_JOBID)\b\}?", str(number), text)


def folder_of(path: str) -> str:
    return os.path.dirname(path) or "/"
