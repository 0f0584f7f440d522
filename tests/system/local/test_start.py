"""A campaign's start opens few files, and hardly more for each further worker: thousands of nodes start at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ...support.local import PILOTUNE, Here

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not os.environ.get("CI") and not shutil.which("strace"), reason="it needs strace"),
]

MOST_WITH_TWO, MOST_FOR_ONE_MORE = 4_500, 40
"""Most files that a start opens with two workers, and for each further worker of a node."""

STUDY = """
direction: minimize
space: {x: {float: [0.0, 1.0]}}
sampler: {name: tpe, seed: 0}
"""


def opened(folder: Path, workers: int) -> int:
    """Files that a campaign of as many trials as workers opens, in all its processes."""
    here = Here(folder)
    study = here.study("start", "def objective(trial):\n    return trial.params['x']\n", STUDY)
    sets = ["--set", f"pools.local.workers_per_node={workers}", "--trials", workers]
    traced = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", str(folder / "opened"), str(PILOTUNE), "run", study]
    done = subprocess.run(
        [*traced, *map(str, sets)], cwd=folder, env=here.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return sum("openat(" in line for line in (folder / "opened").open(errors="replace"))


def test_the_number_of_files_hardly_grows_with_the_workers(tmp_path: Path) -> None:
    if os.geteuid() and Path("/proc/sys/kernel/yama/ptrace_scope").exists():
        scope = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip()
        if scope not in ("0", "1") and not os.environ.get("CI"):
            pytest.skip("strace may not trace here")
    two, eight = opened(tmp_path / "two", 2), opened(tmp_path / "eight", 8)
    assert two <= MOST_WITH_TWO
    assert eight - two <= 6 * MOST_FOR_ONE_MORE
