"""What the user sees of failed trials: in the progress, in the summary, and with ``trials --traceback``."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from optuna.trial import TrialState
from rich.console import Console

from pilotune.pipeline.attributes import DIRECTORY, TRACEBACK
from pilotune.pipeline.cli.summary import render
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.studies.failures import KINDS, failure_lines, kind_in_words
from pilotune.pipeline.studies.progress import Progress
from pilotune.pipeline.trial.protocol import FailureKind

from ..support.cli import Pilotune, alone, new_study, of_pilotune, pilotune_, trial  # noqa: F401

RAISED = 'Traceback (most recent call last):\n  File "o.py", line 7, in objective\nValueError: [bold]no[/bold]'
FAILURE = {"number": 3, "attempt": 1, "failure": "exception", "reason": "ValueError: [bold]no[/bold]",
           "traceback": RAISED, "host": "n1", "directory": "", "again": False}  # fmt: skip
STATUS = Status("digits", "c", "running", host="n1", failed=1, first_failure=FAILURE, last_failure=FAILURE)


def test_a_message_cannot_steer_the_terminal() -> None:
    reason = "ValueError: \x1b[2Jgone \x1b]0;title\x07"
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress(replace(STATUS, first_failure={**FAILURE, "reason": reason, "traceback": f"a\n\tb\r{reason}\n"}))
    assert "\x1b" not in stream.getvalue()
    assert "trial 3 failed: ValueError: gone \\x1b]0;title\\x07" in stream.getvalue()


def test_every_kind_of_failure_has_words() -> None:
    assert set(get_args(FailureKind)) - {""} <= set(KINDS)
    assert kind_in_words("setup") == "could not be started"
    assert kind_in_words("of another version") == "of another version"


def test_the_first_failure_is_told_once_with_the_end_of_its_traceback_and_its_stderr(tmp_path: Path) -> None:
    (tmp_path / "stderr-1.txt").write_text("oh\n")
    status = replace(STATUS, first_failure={**FAILURE, "directory": str(tmp_path)})
    stream = io.StringIO()
    with Progress(stream) as progress:
        for failed in range(1, 5):
            progress(replace(status, failed=failed))
    text = stream.getvalue()
    assert text.count("trial 3 failed: ValueError: [bold]no[/bold]") == 1
    assert '  File "o.py", line 7, in objective\n' in text
    assert f"its stderr: {tmp_path}/stderr-1.txt\n" in text
    assert "pilotune trials digits --traceback 3" in text


@pytest.mark.parametrize(
    ("rank", "line"),
    [(0, "stderr: {}/stderr-1.txt (empty)"), (3, "output: {}/ranks-1-n2.txt"), (4, "stderr: {}/stderr")],
)
def test_the_output_of_the_rank_that_failed_is_told(tmp_path: Path, rank: int, line: str) -> None:
    (tmp_path / "stderr-1.txt").touch()
    (tmp_path / "ranks-1-n2.txt").write_text("oh")
    reason = f"rank {rank} on node {'n3' if rank == 4 else 'n2'}: ValueError: no data"
    lines = failure_lines("digits", {**FAILURE, "reason": reason, "directory": str(tmp_path)})
    assert [each for each in lines if each.startswith("  its " + line.format(tmp_path))]


def test_a_failure_on_another_host_that_is_tried_again_says_so() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress(replace(STATUS, first_failure={**FAILURE, "host": "n7", "again": True}))
    assert "trial 3, attempt 1, failed on n7 (it is tried again): ValueError" in stream.getvalue()


def test_a_terminal_keeps_the_first_failure_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    with Progress(console=Console(file=stream, width=60, force_terminal=True, color_system=None)) as progress:
        progress(STATUS)
        progress(replace(STATUS, failed=2))
    assert stream.getvalue().count("trial 3 failed: ValueError: [bold]no[/bold]") == 1


def test_a_status_keeps_the_failures_and_refuses_others() -> None:
    assert Status.from_json(STATUS.to_json()) == STATUS
    with pytest.raises(ValueError, match="missing"):
        Status.from_json(replace(STATUS, last_failure={"number": 3}).to_json())


def test_the_traceback_of_one_trial_with_its_output_and_folder(pilotune: Pilotune, tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/study.db", tmp_path / "trials" / "6"
    folder.mkdir(parents=True)
    (folder / "stdout-1.txt").write_text("\n".join(f"epoch {number}" for number in range(100)))
    (folder / "stderr-1.txt").write_text(f"a warning\n{RAISED}\n")
    failed = trial(TrialState.FAIL, exit="exception", reason="ValueError: no", attempts=2, seconds_running=3.0)
    failed.user_attrs = {**failed.user_attrs, TRACEBACK: RAISED, DIRECTORY: str(folder)}
    of_pilotune(url).add_trial(failed)
    out = pilotune("trials", "digits", "--storage", url, "--traceback", "6").out
    assert "raised an exception: ValueError: no" in out
    assert out.count(RAISED) == 1
    assert f"the end of {folder}/stderr-1.txt ---\na warning\n" in out
    assert "epoch 99" in out
    assert "epoch 79" not in out
    assert f"files   {folder}" in out
    data = json.loads(pilotune("trials", "digits", "--storage", url, "--traceback", "6", "--json").out)
    assert (data["number"], data["traceback"]) == (6, RAISED)
    assert data["output"][str(folder / "stderr-1.txt")].startswith("a warning")


def test_a_trial_that_did_not_fail_has_no_traceback_and_an_unknown_one_is_an_error(
    pilotune: Pilotune, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    assert "It has no traceback: it is complete." in pilotune("trials", "--storage", url, "--traceback", "1").out
    result = pilotune("trials", "--storage", url, "--traceback", "6")
    assert (result.code, result.err) == (
        2,
        "error: there is no trial 6: study 'digits' has trials 0 to 5\n",
    )
    new_study(url, "empty")
    assert "has no trials yet" in pilotune("trials", "empty", "--storage", url, "--traceback", "0").err


def test_the_summary_of_a_study_without_a_result_offers_a_traceback_and_no_best_parameters(tmp_path: Path) -> None:
    from pilotune.pipeline.analysis import read_study, summarize

    url = f"sqlite:///{tmp_path}/study.db"
    new_study(url).add_trial(trial(TrialState.FAIL, exit="setup", reason="no module"))
    text = render(summarize(read_study(url, "digits")), replace(STATUS, state="ended", code=1, storage=url))
    assert "failed   1 could not be started" in text
    assert "the last: trial 3 failed: ValueError" in text
    assert "export" not in text
    assert "pilotune trials digits --traceback 3" in text


def test_the_status_of_a_study_shows_its_last_failure(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    of_pilotune(url)
    assert "failed last  trial 3 failed: killed by SIGSEGV" in pilotune("status", "digits", "--storage", url).out
