"""What makes a trial's process cheap: its fork server is small, and does beforehand what it can."""

from __future__ import annotations

import subprocess
import sys

from pilotune.pipeline.worker.objective.call import call_style

PROGRAM = """
import sys
from pilotune.pipeline.worker import preload
preload.import_all()
print(sorted({"asyncio", "ssl", "logging", "numpy", "zmq"} & set(sys.modules)))
"""


def test_what_no_worker_needs_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "['zmq']\n"


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
