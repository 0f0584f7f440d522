"""Small file systems for tests of full disks; root is needed to mount them."""

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
    """Mount a tmpfs of ``size`` bytes on ``folder``. Without root the test is skipped, or fails in CI."""
    if os.geteuid() != 0:
        reason = "tests of full disks mount a small tmpfs, which needs root"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    mount_options = ",".join([f"size={size}", "mode=0700", *(f"{name}={value}" for name, value in options.items())])
    subprocess.run(["mount", "-t", "tmpfs", "-o", mount_options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the mount options of ``folder``, as ``ro``."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill a file system except for ``leave`` bytes; returns the file to delete to make space."""
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
    """Keep a file system full while the file ``while_there`` exists, also when space is freed; yields the filling file.

    SQLite frees its log when it restarts it, which would be enough space for a short study.
    """
    stop, path = threading.Event(), fill(folder)

    def refill() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set() and while_there.exists():
                try:
                    file.write(b"x" * 4096)
                except OSError:
                    stop.wait(0.002)

    thread = threading.Thread(target=refill)
    thread.start()
    try:
        yield path
    finally:
        stop.set()
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
"""A ``pilotune`` that gives up on a full disk after some seconds instead of two minutes."""


def start_hurried(here: Here, *words: object, seconds: float = 4.0) -> subprocess.Popen[str]:
    """Start a ``pilotune`` command in the background, as :meth:`Here.start` does, with the shorter waiting time.

    Args:
        here: The test's folder and environment.
        words: The command's arguments.
        seconds: How long the campaign waits for disk space.
    """
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
