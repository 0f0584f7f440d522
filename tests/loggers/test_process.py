"""The loggers' process: it writes each trial once, also over several campaigns, and says what failed."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.driver.logger_feed import in_words
from pilotune.pipeline.loggers import process
from pilotune.pipeline.loggers.journal import read_journals
from pilotune.pipeline.loggers.records import TrialRecord
from pilotune.pipeline.loggers.settings import Destination, LoggerSettings, destination


class Recorder:
    """A logger that keeps what it is asked to write.

    Attributes:
        live: Whether it takes reports of running trials.
        written: Number, steps and state of each call.
        broken: It raises each time.
    """

    live, broken = True, False

    def __init__(self) -> None:
        self.written: list[tuple[int, list[int], str]] = []

    def write(self, record: TrialRecord, run: str | None) -> str:
        if self.broken:
            raise OSError("no route\nto host")
        self.written.append((record.number, [int(each[0]) for each in record.reports], record.state))
        return run or f"id-{record.number}"

    def close(self) -> None:
        pass


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    made = {"tensorboard": Recorder(), "mlflow": Recorder()}
    monkeypatch.setattr(process, "make_logger", lambda destination, study: made[destination.name])
    return made


def record(number: int, steps: Any = (), state: str = "") -> TrialRecord:
    return TrialRecord(number, {"x": 1}, 0.0, [[step, 0.5, 1.0] for step in steps], state)


def serve(home: Path, *records: TrialRecord, campaign: str = "c1") -> list[dict[str, Any]]:
    """Let a process write these records; returns its answers."""
    args = {"dir": str(home / "tensorboard"), "uri": "https://mlflow.example.org"}
    places = [{"name": name, "args": args, "place": name} for name in ("tensorboard", "mlflow")]
    orders = {"study": "digits", "campaign": campaign, "home": str(home), "destinations": places}
    answers = io.BytesIO()
    lines = [f"{json.dumps(orders)}\n", *(each.to_line() for each in records)]
    process.serve(io.BytesIO("".join(lines).encode()), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_report_is_written_once_and_the_end_brings_those_that_are_missing(
    tmp_path: Path, loggers: dict[str, Recorder]
) -> None:
    answers = serve(
        tmp_path, record(7, [1]), record(7, [2]), record(7, [1, 2, 3], "complete"), record(7, [1], "complete")
    )
    assert loggers["tensorboard"].written == [(7, [1], ""), (7, [2], ""), (7, [3], "complete")]
    assert answers == [{"done": 7}, {"done": 7}]


def test_another_campaign_goes_on_in_the_same_run(tmp_path: Path, loggers: dict[str, Recorder]) -> None:
    serve(tmp_path, record(7, [1, 2]), record(8, [1], "complete"))
    (journal,) = tmp_path.glob("logged-*")
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    with journal.open("a") as file:
        file.write('{"place": "tensorboard", "trial": 9, "ste')  # cut off by a crash
    serve(tmp_path, record(7, [1, 2, 3], "pruned"), record(8, [1], "complete"), campaign="c2")
    assert loggers["mlflow"].written[2:] == [(7, [3], "pruned")]
    known = read_journals(tmp_path, "mlflow")
    assert (known.ended, known.runs) == ({7, 8}, {7: "id-7", 8: "id-8"})
    assert read_journals(tmp_path, "elsewhere").ended == set()


def test_a_logger_that_fails_is_told_and_holds_up_no_other(tmp_path: Path, loggers: dict[str, Recorder]) -> None:
    loggers["mlflow"].broken = True
    answers = serve(tmp_path, record(7, [1]), record(7, [1, 2], "complete"))
    failed = [each for each in answers if "logger" in each]
    assert failed[-1] == {"logger": "mlflow", "times": 2, "trial": 7, "why": "OSError: no route to host"}
    assert loggers["tensorboard"].written[-1] == (7, [2], "complete")
    loggers["mlflow"].broken = False
    serve(tmp_path, record(7, [1, 2], "complete"), campaign="c2")
    assert loggers["mlflow"].written == [(7, [1, 2], "complete")], "the next campaign writes it"


@pytest.mark.parametrize(
    ("name", "args", "key"),
    [
        ("tensorboard", {"dir": "a-file/x"}, "dir"),
        ("wandb", {"dir": "a-file/x"}, "dir"),
        ("mlflow", {"uri": "sqlite:///a-file/x/mlflow.db"}, "uri"),
        ("mlflow", {"uri": "a-file/x"}, "uri"),
        ("mlflow", {"uri": "file:a-file/x"}, "uri"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, name: str, args: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write to any folder, but not to one inside a file."""
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("")
    monkeypatch.setattr(process, "make_logger", lambda destination, study: pytest.fail("it is not begun"))
    orders = {
        "study": "digits",
        "campaign": "c1",
        "home": str(tmp_path),
        "destinations": [{"name": name, "args": args, "place": name}],
    }
    answers = io.BytesIO()
    process.serve(io.BytesIO(f"{json.dumps(orders)}\n{record(7, [1]).to_line()}".encode()), answers)
    (failed,) = [json.loads(line) for line in answers.getvalue().splitlines()]
    folder = Path("a-file/x")
    sentence = (
        f"its folder {folder} cannot be written (not a directory); make it writable, or give another as its `{key}`"
    )
    assert in_words(failed) == f"the logger {name} failed with trial 7: {sentence}"


def test_a_logger_that_takes_no_reports_of_running_trials_gets_all_at_the_end(
    tmp_path: Path, loggers: dict[str, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers["mlflow"], "live", False)
    serve(tmp_path, record(7, [1]), record(7, [1, 2], "complete"))
    assert loggers["mlflow"].written == [(7, [1, 2], "complete")]


@pytest.mark.parametrize(
    ("name", "args", "place"),
    [
        ("tensorboard", {}, "tensorboard"),
        ("tensorboard", {"dir": "tb"}, "/here/tb"),
        ("mlflow", {}, "sqlite:////runs/digits/loggers/mlflow.db digits"),
        ("mlflow", {"uri": "sqlite:///all.db", "experiment": "e"}, "sqlite:////here/all.db e"),
        ("mlflow", {"uri": "https://mlflow.example.org"}, "https://mlflow.example.org digits"),
        ("wandb", {"project": "p"}, "wandb p"),
    ],
)
def test_where_a_logger_writes(name: str, args: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found: Destination = destination(LoggerSettings(name, args), "digits", Path("/here"), Path("/runs/digits/loggers"))
    assert found.place == place


def test_mlflows_own_variable_names_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    found = destination(LoggerSettings("mlflow", {}), "digits", Path("/here"), Path("/runs"))
    assert found.args["uri"] == "https://mlflow.example.org"
