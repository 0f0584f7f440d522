"""Optuna's own programs read a study while its campaign still runs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import optuna
import pytest

from pilotune.pipeline.record import open_storage

pytestmark = pytest.mark.real


@pytest.fixture
def running(tmp_path: Path) -> str:
    """The URL of a study with a complete and a running trial, whose campaign has the database open."""
    url = f"sqlite:///{tmp_path}/study.db"
    storage = open_storage(url)
    study = optuna.create_study(study_name="read", storage=storage, direction="maximize")
    for value in (0.5, None):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        trial.report(0.25, 1)
        if value is not None:
            study.tell(trial, value)
    storage.commit()
    return url


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_the_optuna_command_reads_it(running: str) -> None:
    command = [_program("optuna"), "trials", "--study-name", "read", "--storage", running, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert [trial["state"] for trial in json.loads(done.stdout)] == ["COMPLETE", "RUNNING"]


def test_optuna_dashboard_shows_it(running: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [_program("optuna-dashboard"), running, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        studies = _answer(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert [study["study_name"] for study in studies] == ["read"]
        detail = _answer(f"http://127.0.0.1:{port}/api/studies/{studies[0]['study_id']}")
        assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Running"]
        assert detail["trials"][0]["intermediate_values"] == [{"step": 1, "value": 0.25}]
    finally:
        server.terminate()
        server.wait(20)


def _answer(url: str) -> dict:
    """The JSON at ``url``, once the server answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as page:
                return json.load(page)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
