"""Small file systems that fill up, for tests; they take root to be mounted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .local import Here


@contextmanager
def small_disk(folder: Path, size: str = "16m", **options: str) -> Iterator[Path]:
    """A file system of its own in ``folder``, of ``size`` bytes. Without root such tests are skipped, never in CI."""
    if os.geteuid() != 0:
        reason = "tests of full disks mount a small tmpfs of their own, which takes root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    words = ",".join([f"size={size}", "mode=0700", *(f"{name}={value}" for name, value in options.items())])
    subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill a file system up to ``leave`` bytes; the file to be deleted for room."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass
        if leave:
            file.truncate(max(0, path.stat().st_size - leave))
    return path


HURRIED = """
import sys
from pilotune.pipeline.campaign import pump, room
from pilotune.pipeline.cli.main import main

pump.STUCK = room.PATIENCE = {seconds}
sys.exit(main())
"""
"""``pilotune`` that gives a full disk not two minutes but so many seconds."""


def start_hurried(here: Here, *words: object, seconds: float = 4.0) -> subprocess.Popen[str]:
    """A command, left running, as :meth:`Here.start` does."""
    program = here.write("hurried.py", HURRIED.format(seconds=seconds))
    return subprocess.Popen(
        [sys.executable, str(program), *map(str, words)],
        cwd=here.folder,
        env=here.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
