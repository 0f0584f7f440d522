"""What a signal means to a campaign, by how far it has come already."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.driver.control import FILE_PERIOD, Control


def press(control: Control) -> list[str]:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)  # let Python run the handler
    return [request.how for request in control.stop_requests()]


@pytest.mark.parametrize(
    ("reached", "meanings"),
    [
        (None, ["finish", "yield", "now", "now"]),
        ("finish", ["yield", "now", "now", "now"]),
        ("yield", ["now", "now", "now", "now"]),
    ],
)
def test_a_signal_means_the_step_after_what_was_reached(tmp_path: Path, reached: Any, meanings: list[str]) -> None:
    with Control(tmp_path / "stop") as control:
        if reached:
            control.reached(reached)
        assert [press(control) for _ in meanings] == [[meaning] for meaning in meanings]


def test_a_signal_after_pilotune_stop_means_the_step_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stop").write_text("finish\n")
    with Control(tmp_path / "stop") as control:
        monkeypatch.setattr(time, "monotonic", lambda: 1e6 + FILE_PERIOD)
        assert [request.how for request in control.stop_requests()] == ["finish"]
        assert press(control) == ["yield"]
        control.reached("finish")
        assert press(control) == ["now"]


def test_in_a_batch_job_the_first_signal_lets_trials_save(tmp_path: Path) -> None:
    slot: Any = type("Slot", (), {"stop_requests": lambda self, now: []})()
    with Control(tmp_path / "stop", slot) as control:
        control.reached("yield")  # the end of the job's time, which its signal follows
        assert press(control) == ["yield"]
        assert press(control) == ["now"]
