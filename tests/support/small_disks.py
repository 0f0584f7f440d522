"""Small file systems that fill up, for tests; they take root to be mounted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
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


@contextmanager
def kept_full(folder: Path, while_there: Path) -> Iterator[Path]:
    """Take all room on a file system, also what is given back, until ``while_there`` is gone; the file that takes it.

    SQLite frees its log when it begins anew, which would be room enough for a short study.
    """
    over, path = threading.Event(), fill(folder)

    def take() -> None:
        with path.open("ab", buffering=0) as file:
            while not over.is_set() and while_there.exists():
                try:
                    file.write(b"x" * 4096)
                except OSError:
                    over.wait(0.002)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield path
    finally:
        over.set()
        thread.join()


HURRIED = """
import sys
import threading
from pilotune.pipeline.campaign import disk_backoff
from pilotune.pipeline.cli.main import main
from pilotune.pipeline.driver import loop

loop.STUCK = disk_backoff.PATIENCE = {seconds}
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
