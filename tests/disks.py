"""Small file systems that fill up, for tests; they take root to be mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
