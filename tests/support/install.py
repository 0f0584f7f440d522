"""Runs ``make install-module`` as a user of a cluster would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def make_install_module(prefix: object, *, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``make install-module PREFIX=prefix``; ``code``: whether it is to fail (not 0)."""
    command = ["make", "--silent", "install-module", f"PREFIX={prefix}", f"PYTHON={sys.executable}"]
    own = ("MAKE", "ARGS")  # of `make test`
    around = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    around["PIP_NO_COMPILE"] = "1"  # Python compiles the modules that are used
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**around, **environment}, capture_output=True, text=True, timeout=1_800
    )
    assert (done.returncode == 0) == (code == 0), done.stdout + done.stderr
    return done
