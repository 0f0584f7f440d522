"""A worker's first fork server was forked ahead; one that has died is replaced by a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pilotune.pipeline.trial.protocol import ObjectiveSpec

from ...support.trial_driver import make_spec

PROGRAM = """
import json, sys
from pilotune.pipeline.worker.process import forked, spare
from pilotune.pipeline.worker.run_attempt import run_attempt

spare.fork_spare([])
ahead = spare._spare[1].pid
for spec in map(json.loads, sys.argv[1:]):
    outcome = run_attempt(spec)
    server = forked._server.process
    print(outcome["kind"], outcome["user_attrs"], server.pid == ahead)
    server.kill()
    server.wait()
"""


def test_it_is_used_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "objective.py").write_text(
        "import os\ndef run(trial):\n    return {'value': 1.0, 'threads': os.environ['OMP_NUM_THREADS']}\n"
    )
    objective = ObjectiveSpec(function="run", file=str(tmp_path / "objective.py"), folder=str(tmp_path))
    specs = [json.dumps(make_spec(tmp_path, objective, number=number, cores=3)) for number in (1, 2)]
    command = [sys.executable, "-c", PROGRAM, *specs]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == [
        "complete {'threads': '3'} True",
        "complete {'threads': '3'} False",
    ], done.stderr
