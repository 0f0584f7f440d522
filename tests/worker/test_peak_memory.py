"""The peak memory of attempts: of a Python objective, of a command with what it starts, of ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.node.memory import MemoryWatch
from pilotune.pipeline.worker.run_attempt import run_attempt

from ..support.local import until
from ..support.trial_driver import make_spec

MB = 1_000_000


def shell(command: str) -> ObjectiveSpec:
    return ObjectiveSpec(command=f"{command}; echo value=1", shell=True, reports=r"value=(?P<value>\S+)")


@pytest.fixture
def objective(tmp_path: Path) -> ObjectiveSpec:
    (tmp_path / "o.py").write_text("def f(trial):\n    return float(len(b'x' * int(trial.params['x'] * 1_000_000)))\n")
    return ObjectiveSpec(file=str(tmp_path / "o.py"), function="f")


def test_a_python_objective_has_the_peak_of_its_own_process(tmp_path: Path, objective: ObjectiveSpec) -> None:
    peaks = []
    for number, size in enumerate((200, 0)):
        outcome = run_attempt(make_spec(tmp_path, objective, number=number, params={"x": size}))
        assert outcome["kind"] == "complete"
        peaks.append(outcome["memory"])
    assert peaks[0] >= 200 * MB
    assert 0 < peaks[1] < peaks[0] - 150 * MB, "the fork server's process is the same for both"


def test_an_objective_in_the_workers_own_process_is_not_measured(tmp_path: Path, objective: ObjectiveSpec) -> None:
    outcome = run_attempt(make_spec(tmp_path, objective, isolate=False))
    assert (outcome["kind"], outcome["memory"]) == ("complete", None)


def test_a_commands_processes_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, look = tmp_path / "go", MemoryWatch.look

    def watched(self: MemoryWatch, roots: Any) -> None:
        look(self, roots)
        if self.peak >= 160 * MB:
            go.touch()

    monkeypatch.setattr(MemoryWatch, "look", watched)
    (tmp_path / "holds.py").write_text(
        f"import os, time\nheld = b'x' * 80_000_000\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.02)\n"
    )
    holds = f"{sys.executable} {tmp_path}/holds.py"
    outcome = run_attempt(make_spec(tmp_path, shell(f"{holds} & {holds}; wait")))
    assert (outcome["kind"], outcome["reason"]) == ("complete", "")
    assert 160 * MB <= outcome["memory"] < 1000 * MB


def test_a_short_command_has_the_peak_of_its_largest_process(tmp_path: Path) -> None:
    outcome = run_attempt(make_spec(tmp_path, shell(f"{sys.executable} -c \"held = b'x' * 300_000_000\"")))
    assert outcome["kind"] == "complete"
    assert outcome["memory"] >= 300 * MB


def test_pages_that_processes_share_count_once() -> None:
    program = "import os, sys; held = b'x' * 80_000_000; os.fork(); os.fork(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        watch = MemoryWatch()
        watch.look([process.pid])
        process.stdin.close()
    assert 80 * MB <= watch.peak < 160 * MB


def test_a_program_that_runs_others_elsewhere_leaves_the_memory_unknown(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.symlink_to("/bin/cat")
    watch = MemoryWatch()
    with subprocess.Popen(["/bin/sh", "-c", f"{srun}; true"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None

        def seen() -> bool:
            watch._next = 0.0
            watch.look([process.pid])
            return watch.elsewhere

        until(seen, "the launcher has been seen")
        process.stdin.close()


def test_processes_are_looked_at_no_more_often_than_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [100.0], []
    monkeypatch.setattr("pilotune.pipeline.worker.node.memory.time.monotonic", lambda: now[0])
    monkeypatch.setattr("pilotune.pipeline.worker.node.memory.time.thread_time", lambda: 0.001 * len(looks))
    monkeypatch.setattr("pilotune.pipeline.worker.node.memory.trees", lambda roots: looks.append(now[0]) or [])
    watch = MemoryWatch()
    for _ in range(40):
        watch.look([1])
        now[0] += 0.25
    assert len(looks) == 20
    monkeypatch.setattr("pilotune.pipeline.worker.node.memory.time.thread_time", lambda: 0.05 * len(looks))
    looks.clear()
    for _ in range(80):
        watch.look([1])
        now[0] += 0.25
    assert len(looks) == 2, "each took 50 ms, so they are 10 s apart"
