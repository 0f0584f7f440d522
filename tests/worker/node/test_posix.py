"""Signals to the group of a process, whether or not it has made one for itself yet."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from pilotune.pipeline.worker.node.posix import signal_group


@pytest.mark.parametrize("leads", [True, False])
def test_a_signal_reaches_a_process_before_and_after_it_has_a_group(leads: bool) -> None:
    with subprocess.Popen(["sleep", "600"], process_group=0 if leads else None) as process:
        assert (os.getpgid(process.pid) == process.pid) == leads
        signal_group(process.pid, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    signal_group(process.pid, signal.SIGTERM)  # nobody has that number now
