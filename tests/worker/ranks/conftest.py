"""What the tests of ranks share: trials of the objectives in ``support/rank_objectives.py``, drivers and workers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Message, ObjectiveSpec

from ...support.rank_objectives import OBJECTIVE
from ...support.trial_driver import Driver, go_on, make_spec

WORKER = """
import json, sys
from pilotune.pipeline.worker.run_attempt import run_attempt
print(json.dumps(run_attempt(json.load(sys.stdin))), flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> TrialFiles:
    return TrialFiles(tmp_path / "trials" / "7")


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    path = tmp_path / "ours.py"
    path.write_text(textwrap.dedent(OBJECTIVE))

    def make(function: str, ranks: int = 2, **changes: Any) -> dict[str, Any]:
        objective = ObjectiveSpec(file=str(path), function=function)
        fields = {"ranked": True, "ranks": ranks, "ranks_per_node": ranks, "cores": 2 * ranks, **changes}
        return make_spec(tmp_path, objective, **fields)

    return make


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Starts a driver that answers by a function."""
    started: list[Driver] = []

    def start(answer: Callable[[Message], Any] = go_on) -> Driver:
        started.append(Driver(tmp_path, answer))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def worker() -> Iterator[Callable[[dict[str, Any]], subprocess.Popen[str]]]:
    """Starts a worker process for an attempt; it prints the outcome."""
    started: list[subprocess.Popen[str]] = []

    def start(spec: dict[str, Any]) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, "-c", WORKER], **pipes)  # type: ignore[call-overload]
        started.append(process)
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        process.stdin = None
        return process  # type: ignore[no-any-return]

    yield start
    for process in started:
        process.kill()
        process.communicate()
