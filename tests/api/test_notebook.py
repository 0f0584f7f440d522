"""Notebooks: the example is executed, and a kernel that is killed takes nothing with it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from ..support.local import Here, kill_processes, until

pytestmark = pytest.mark.real

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/notebook/tune.ipynb"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    here = Here(tmp_path / "user", PYTHONWARNINGS="error:::tqdm")  # a warning is no output
    here.runs = here.folder / "pilotune-runs"
    del here.environment["PILOTUNE_RUNS"]
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, here.environment[name])
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    yield here
    kill_processes(here)


def client(here: Here, notebook: Any) -> NotebookClient:
    return NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": here.folder}})


def outputs(notebook: Any, kind: str = "text/plain") -> list[str]:
    """What the cells show, without what they write to stderr."""
    shown = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    return [each["data"][kind] for each in shown if kind in each.get("data", {})]


def test_the_example_notebook_runs_and_is_kept_without_output(here: Here) -> None:
    notebook = nbformat.read(EXAMPLE, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    nbformat.validate(notebook)
    client(here, notebook).execute()
    texts = outputs(notebook)
    assert re.fullmatch(r"<pilotune\.Campaign .* of digits-notebook: \w+>", texts[0])
    assert re.search(r"ended; 20/20 trials: 20 complete, .* best accuracy 0\.9", texts[1]), "one line, updated in place"
    assert texts[2] == "'the budget of 20 trials is used up'"
    assert "<b>digits-notebook</b>: 20 complete" in outputs(notebook, "text/html")[1]
    assert texts[-1] == "True"
    assert outputs(notebook, "application/vnd.plotly.v1+json"), "a plot"
    streams = [each for cell in notebook.cells for each in cell.get("outputs", ()) if each.output_type == "stream"]
    assert streams == []


ENDLESS = """
import os, time
from pathlib import Path
import pilotune
go = Path("go").absolute()

def objective(trial):
    while not go.exists():
        time.sleep(0.05)
    return 1.0

space = {"x": {"float": [0, 1]}}
campaign = pilotune.run(objective, name="mine", space=space, direction="minimize", budget={"trials": 2})
Path("kernel").write_text(str(os.getpid()))
campaign.wait()
"""


def test_a_killed_kernel_loses_nothing_and_another_one_opens_the_campaign(here: Here) -> None:
    import asyncio
    import threading

    first = client(here, nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ENDLESS)]))

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        with pytest.raises(Exception, match=r"[Kk]ernel"):
            first.execute()

    thread = threading.Thread(target=run)
    thread.start()
    until((here.folder / "kernel").exists, "the campaign has begun")
    here.await_status("mine", lambda status: status["running"], "a trial runs")
    os.kill(int((here.folder / "kernel").read_text()), signal.SIGKILL)
    thread.join(timeout=120)
    assert not thread.is_alive()
    code = "import pilotune, pathlib; campaign = pilotune.open('mine').campaigns[0]; alive = campaign.status.alive\n"
    code += "pathlib.Path('go').touch(); done = campaign.wait(); alive, done.complete, campaign.study.verify().ok"
    second = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client(here, second).execute()
    assert outputs(second)[-1] == "(True, 2, True)"
