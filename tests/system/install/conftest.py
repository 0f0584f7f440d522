"""The wheel, and an installation of it for a group: made once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pilotune

from ...support.install import make_install_module

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the repository without the output of earlier builds."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "pilotune-runs")
    shutil.copytree(REPOSITORY, folder / "source", ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, folder / "source"]
    subprocess.run(command, check=True)
    (found,) = folder.glob("pilotune-*.whl")
    return found


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation for a group (``make install-module``), by a user with a restrictive umask."""
    folder = tmp_path_factory.mktemp("soft")
    before = os.umask(0o077)
    try:
        make_install_module(folder)
    finally:
        os.umask(before)
    return folder


@pytest.fixture(scope="session")
def elsewhere(prefix: Path) -> Path:
    """The ``bin`` folder of an environment with Pilotune's wheel and its dependencies, and nothing else."""
    return prefix / "pilotune" / pilotune.__version__ / "venv" / "bin"
