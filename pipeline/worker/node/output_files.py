"""An attempt's output files: opens them for printing, checks their size, and cuts them to their limit."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from ....filesystems import NO_ROOM

LONGEST_COPY = 2**20
"""Bytes that are moved at a time."""

LONGEST_NOTE = 80
"""Bytes, at most, of the line that stands for what was cut out."""


class _IgnoresFullDisk(io.FileIO):
    """Drops what does not fit on a full disk: a trial does not fail for what it prints."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return memoryview(data).nbytes


def open_output(descriptor: int, *, keep: bool = False) -> io.TextIOWrapper:
    """A text stream to an output file, flushed at each line so that printed lines survive a crash.

    Args:
        descriptor: The open file.
        keep: Leave it open when the stream is closed.
    """
    raw = io.BufferedWriter(_IgnoresFullDisk(descriptor, "wb", closefd=not keep))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def first_over(paths: tuple[Path, ...], limit: int) -> Path | None:
    """The first file that is larger than ``limit`` bytes; None where none is."""
    for path in paths:
        try:
            if path.stat().st_size > limit:
                return path
        except OSError:
            continue
    return None


def cut(path: Path, limit: int) -> None:
    """Cut the middle out of a file so that about ``limit`` bytes are left, with a line in its place that says so."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= limit:
            return
        # Of a file that is hardly longer than the limit, so much is cut that the note fits in.
        keep = min(limit // 2, (size - LONGEST_NOTE) // 2)
        if keep <= 0:  # a limit of a few bytes
            file.truncate(limit // 2)
            return
        note = f"\n... {size - 2 * keep} bytes of output were cut out here ...\n".encode()
        # The tail is moved within the file, since a copy does not fit on a full disk.
        read, write = size - keep, keep + len(note)
        file.seek(keep)
        file.write(note)
        while read < size:
            file.seek(read)
            piece = file.read(LONGEST_COPY)
            if not piece:
                break
            file.seek(write)
            file.write(piece)
            read, write = read + len(piece), write + len(piece)
        file.truncate(write)
