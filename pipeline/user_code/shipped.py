"""Loads an objective that was sent by value: a function of a notebook or a script, as ``pilotune.run`` has pickled it.

Only this module reads such a file, and only the few studies that have one import it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .importing import ImportProblem


def load_shipped(file: str | Path, digest: str, python: Sequence[int]) -> Any:
    """The function in a file that :func:`pilotune.pipeline.api.shipping.by_value` has written.

    Args:
        file: The file.
        digest: SHA-256 of its content, in hexadecimal digits.
        python: Major and minor version of the Python that wrote it.

    Raises:
        ImportProblem: The file is missing, was changed or could come from another user, or this Python is another one.
        Exception: Whatever the modules that the function uses raise while they are imported.
    """
    here = sys.version_info[:2]
    if tuple(python) != here:
        raise ImportProblem(
            f"the objective was sent from Python {_dotted(python)}, and this worker runs Python {_dotted(here)} "
            f"({sys.executable}); use the same version for both, or put the objective into a file"
        )
    try:
        with open(file, "rb") as opened:
            state, content = os.fstat(opened.fileno()), opened.read()
    except OSError as error:
        raise ImportProblem(f"the objective in {file} cannot be read on this node: {error.strerror}") from None
    if state.st_uid not in (0, os.geteuid()) or state.st_mode & stat.S_IWOTH:
        raise ImportProblem(f"another user could have written the objective in {file}; it is not loaded")
    if hashlib.sha256(content).hexdigest() != digest:
        raise ImportProblem(f"the objective in {file} is not the one that was sent; run the study again")
    import pickle

    return pickle.loads(content)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
