"""The file or folder that a command writes to: refused before the work is done, in a sentence that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import UserError
from ...filesystems import NO_ROOM


def check_writable(file: Path | None) -> None:
    """Refuse a file that cannot be written, before what goes into it is computed; None: nothing is written.

    Raises:
        UserError: Its folder does not exist, or the user may not write there.

    >>> check_writable(Path("/nonexistent/plots.html"))
    Traceback (most recent call last):
        ...
    pilotune.errors.UserError: there is no folder /nonexistent to write plots.html to; create it, or give another path
    """
    if file is None:
        return
    folder = file.parent
    with writing(file):
        there = file.exists()  # refused for a name that is too long
    if not folder.exists():
        raise UserError(f"there is no folder {folder} to write {file.name} to; create it, or give another path")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, so {file.name} cannot be written to it; give another path")
    if not os.access(file if there else folder, os.W_OK):
        what = f"the file {file}" if there else f"the folder {folder}"
        raise UserError(f"you may not write to {what}; give another path")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside, this file or folder is written.

    Raises:
        UserError: The system refuses it.
        OSError: The disk is full; it names the path.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in NO_ROOM:
            raise OSError(error.errno, why, str(path)) from error
        raise UserError(f"{path} cannot be written ({why.lower()}); give another path") from error


def write_file(file: Path, content: bytes) -> None:
    """Write a file. Raises as :func:`writing` does."""
    with writing(file):
        file.write_bytes(content)
