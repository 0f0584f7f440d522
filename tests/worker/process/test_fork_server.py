"""What makes a trial's process cheap: its fork server is small, and does beforehand what it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.objective.call import call_style
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec

PROGRAM = """
import sys
from pilotune.pipeline.worker import preload
preload.import_all()
print(sorted({"asyncio", "ssl", "logging", "numpy", "zmq"} & set(sys.modules)))
"""


def test_what_no_worker_needs_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "['zmq']\n"


def test_the_objective_is_imported_again_only_for_other_threads_or_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries read both when they are imported."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (tmp_path / "o.py").write_text(
        "import os\nIMPORTED = [os.getpid(), os.environ['OMP_NUM_THREADS']]\n"
        "def f(trial):\n    return {'value': 1.0, 'imported': IMPORTED}\n"
    )
    objective, seen = ObjectiveSpec(file=str(tmp_path / "o.py"), function="f"), []
    for number, cores in enumerate([1, 1, 2, 2]):
        spec = make_spec(tmp_path, objective, number=number, cores=cores)
        seen.append(run_attempt(spec)["user_attrs"]["imported"])
    assert [threads for _, threads in seen] == ["1", "1", "2", "2"]
    assert seen[0] == seen[1] != seen[2] == seen[3]


def test_a_plain_functions_signature_is_read_once() -> None:
    def plain(trial: object) -> float:
        return 1.0

    class Objective:
        def __call__(self, trial: object) -> float:
            return 1.0

    assert call_style(plain, ["x"]) is call_style(plain, ["x"])
    objective = Objective()
    assert call_style(objective, ["x"]) == call_style(plain, ["x"])
    assert call_style(objective, ["x"]) is not call_style(objective, ["x"])
