"""Recognizes the study files and objectives that ``pilotune.run`` has written beside the run directories."""

from __future__ import annotations

import re
from pathlib import Path

MARK = "Written by pilotune.run"
"""Stands in the first line of these files."""

FILES = ("study.yaml", "objective.py")
"""Their names, in the study's folder of the run directories."""

SHIPPED = re.compile(r"objective-[0-9a-f]{12}\.pickle")
"""Name of an objective that was sent by value."""


BYTECODE = re.compile(r"objective\..*\.pyc")
"""What Python puts into ``__pycache__`` beside them when it imports the objective."""


def is_written(file: Path) -> bool:
    """Whether ``pilotune.run`` has written this file, or Python the folder of its bytecode.

    >>> is_written(Path("objective-0123456789ab.pickle")), is_written(Path("train.py"))
    (True, False)
    """
    if file.name == "__pycache__":
        return file.is_dir() and all(BYTECODE.fullmatch(each.name) for each in file.iterdir())
    if file.name not in FILES:
        return SHIPPED.fullmatch(file.name) is not None
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return MARK in opened.readline(200)
    except OSError:
        return False
