"""``pilotune watch`` on the whole of a real terminal, beside a campaign on local workers."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from ...support.local import PILOTUNE, Here, end_of, ended, processes, until
from ...support.tmux import Terminal, terminal

pytestmark = pytest.mark.real

OBJECTIVE = """
import time

def objective(trial):
    for step in range(1, 10_000):
        if step % 10 == 1:  # often, so that it is among the last lines whenever they are looked at
            print("\\x1b[2J\\x1b]0;title\\x07begins", trial.number, flush=True)
        time.sleep(0.1)
        trial.report(1.0 / step, step)
        print("step", step, flush=True)
        if trial.should_yield():
            return 0.0
"""

STUDY = "direction: minimize\nspace:\n  x: {float: [0, 1]}\nbudget: {trials: 50}\nsampler: random\n"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def running_text(terminal: Terminal) -> str:
    return terminal.until(
        lambda text: "running: 2 trials on 2 workers" in text and "▁▁" in text, "it shows both trials"
    )


def test_a_campaign_is_watched_in_a_terminal_of_80_by_24_and_stopped_there(here: Here) -> None:
    """A viewer that is killed before does not disturb it."""
    here.study("rings", OBJECTIVE, STUDY)
    with ended(here.start("run", "rings.yaml", "--set", "pools.local.workers_per_node=2")) as process:
        here.await_status("rings", lambda status: status["running"] == 2, "both trials run")
        with terminal(here.folder, here.environment, term="xterm") as screen:
            screen.start([PILOTUNE, "watch"])
            running_text(screen)
            (viewer,) = [pid for pid, words in processes(here).items() if words.split()[-1:] == ["watch"]]
            os.kill(viewer, signal.SIGTERM)
            text = screen.until(lambda text: "left 0" in text, "the view ends")
            assert "the campaign keeps running" in text
        before = here.status("rings")["updated"]
        here.await_status("rings", lambda status: status["updated"] > before, "the campaign goes on")
        with terminal(here.folder, here.environment) as screen:
            screen.start([PILOTUNE, "watch", "rings"])
            text = running_text(screen)
            assert len(text.splitlines()) == 24
            assert "0 of 50 trials" in text
            screen.keys("Down", "Enter")
            text = screen.until(lambda text: "attempt 1:" in text and "begins" in text, "it shows a trial's output")
            assert re.search(r"trial [01], attempt 1", text), "the first of them, if both were not shown yet"
            assert "\x1b]0" not in screen.text("-e")
            screen.resize(120, 40)
            screen.keys("Escape")
            running_text(screen)
            screen.keys("n")
            screen.until(lambda text: "Stop now rings?" in text, "it asks")
            screen.keys("Enter")
            text = screen.until(lambda text: "left 130" in text, "the view ends with the campaign's code")
            assert "stopped by the user" in text
            assert "running: 2 trials" not in text, "the screen is as it was before"
        end_of(process, 130)
    until(lambda: not processes(here), "all processes have ended")
