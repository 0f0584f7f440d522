"""Shows failed trials: the kind of failure in words, the end of the traceback, and where the output is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..trial.files import TrialFiles
from .harmless import harmless

KINDS = {
    "exception": "raised an exception",
    "value": "returned no usable value",
    "exit": "exited without a value",
    "signal": "killed by a signal",
    "memory": "out of memory",
    "timeout": "ran into the timeout",
    "output": "wrote too much output",
    "setup": "could not be started",
    "resources": "needed more than any node has",
    "lost": "lost with the worker or node too often",
    "disk": "the disk was full",
    "yielded": "yielded without getting further",
}
"""Kind of failure (:data:`~pilotune.pipeline.trial.protocol.FailureKind`), as the database has it -> words."""

RANK = re.compile(r"rank [1-9]\d* on node (?P<host>[\w.-]+)")
"""How the reason begins where another rank than rank 0 has failed."""


def kind_in_words(failure: str) -> str:
    """The kind of a failure in words.

    >>> kind_in_words("setup"), kind_in_words("")
    ('could not be started', 'for an unknown reason')
    """
    return KINDS.get(failure, failure or "for an unknown reason")


def kinds_in_words(failures: Mapping[str, int]) -> str:
    """How many trials failed in which way.

    >>> kinds_in_words({"exception": 3, "setup": 1})
    '3 raised an exception, 1 could not be started'
    """
    return ", ".join(f"{amount:,} {kind_in_words(kind)}" for kind, amount in failures.items())


def failure_line(failure: Mapping[str, Any], here: str = "") -> str:
    """One sentence on a failed attempt.

    Args:
        failure: The attempt, as ``status.json`` has it.
        here: The driver's host, which is not named.
    """
    attempt = f", attempt {failure['attempt']}," if failure["attempt"] > 1 or failure["again"] else ""
    again, reason = " (it is tried again)" if failure["again"] else "", harmless(failure["reason"]).replace("\n", " ")
    host = f" on {failure['host']}" if failure["host"] not in ("", here) else ""
    return f"trial {failure['number']}{attempt} failed{host}{again}: {reason}"


def failure_lines(study: str, failure: Mapping[str, Any], here: str = "") -> list[str]:
    """A failed attempt in some lines: why it failed, the end of its traceback, and where its output is.

    Args:
        study: The study's name.
        failure: The attempt, as ``status.json`` has it.
        here: The driver's host, which is not named.
    """
    lines = [failure_line(failure, here), *(f"  {line}" for line in harmless(failure["traceback"]).splitlines())]
    place = output_of(failure)
    if place is not None:
        what = "files" if place.is_dir() else "stderr" if place.name.startswith("stderr") else "output"
        lines.append(f"  its {what}: {place}{' (empty)' if is_empty(place) else ''}")
    if not failure["again"]:
        lines.append(f"  all of it: pilotune trials {study} --traceback {failure['number']}")
    return lines


def is_empty(path: Path) -> bool:
    """Whether this is a file with nothing in it."""
    try:
        return path.is_file() and path.stat().st_size == 0
    except OSError:
        return False


def output_of(failure: Mapping[str, Any]) -> Path | None:
    """The file with what the attempt, or the rank that failed, wrote to stderr; None where that is not known.

    The trial's folder where there is no such file.
    """
    if not failure["directory"]:
        return None
    files = TrialFiles(Path(failure["directory"]))
    rank = RANK.match(failure["reason"])
    if rank is not None and (output := files.rank_output(failure["attempt"], rank["host"])).is_file():
        return output
    stderr = files.stderr(failure["attempt"])
    return stderr if stderr.is_file() else files.directory
