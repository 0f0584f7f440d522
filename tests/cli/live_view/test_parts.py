"""The parts of the full-screen view that draw nothing: spark lines, messages, rows that fit the terminal."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pilotune.pipeline.cli.live_view import reports as reports_module
from pilotune.pipeline.cli.live_view.messages import MessageLog
from pilotune.pipeline.cli.live_view.output import read_output
from pilotune.pipeline.cli.live_view.render import block_rows, header, trial_table, trials_title
from pilotune.pipeline.cli.live_view.reports import RecentReports, last_values
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory
from pilotune.pipeline.studies.campaign_status import read_campaign
from pilotune.pipeline.studies.harmless import harmless_status

from ...support.cli import alone  # noqa: F401
from ...support.written_campaigns import Campaign, campaign_, driver_, runs_, status_of  # noqa: F401


def running(number: int, step: int | None = None, value: float | None = None, **more: Any) -> dict[str, Any]:
    return {"number": number, "attempt": 1, "host": "n1", "seconds": 2.0, "step": step, "value": value, **more}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "c")


def write_log(run: RunDirectory, number: int, values: list[float], attempt: int = 1) -> None:
    files = run.trial(number)
    files.directory.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps([step, value, 1000.0]) + "\n" for step, value in enumerate(values, 1)]
    files.report_log(attempt).write_text("".join(lines))


def test_values_reported_before_the_view_began_are_read_once_and_later_ones_come_from_the_status(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: str, size: int) -> bytes:
        read.append(Path(path).name)
        return read_end(path, size)

    read_end = reports_module.read_end
    monkeypatch.setattr(reports_module, "read_end", counted)
    write_log(run, 7, [0.5, 0.25])
    recent = RecentReports()
    for step, value in [(2, 0.25), (2, 0.25), (3, 0.125), (4, None)]:
        recent.update(status_of(run.path, running_trials=[running(7, step, value)]), run)
    assert recent.of(7) == (0.5, 0.25, 0.125)
    assert read == ["reported-1.jsonl"]
    recent.update(status_of(run.path, running_trials=[]), run)
    assert recent.of(7) == ()


def test_each_repetition_begins_a_line_of_its_own(run: RunDirectory) -> None:
    recent = RecentReports()
    for repeat, step, value in [(0, 1, 0.5), (0, 2, 0.25), (1, None, None), (1, 1, 0.75)]:
        recent.update(status_of(run.path, running_trials=[running(7, step, value, repeat=repeat)]), run)
    assert recent.of(7) == (0.75,)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"from": 1}\n[1, true, 2]\n[1, 1e999, 2]\n["a", "b", "c"]\n']
)
def test_a_log_that_is_no_log_has_no_values(data: bytes) -> None:
    assert last_values(data) == []


def test_a_log_that_is_a_pipe_or_a_link_is_not_read(run: RunDirectory, tmp_path: Path) -> None:
    import os

    files = run.trial(1)
    files.directory.mkdir(parents=True)
    os.mkfifo(files.report_log(1))
    (tmp_path / "secret").write_text("[1, 0.5, 2.0]\n")
    files.report_log(2).symlink_to(tmp_path / "secret")
    assert reports_module.logged(files) == []
    files.report_log(2).unlink()
    assert reports_module.logged(files) == []


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_rows_of_trials_fit_the_terminal_where_they_can(run: RunDirectory, width: int) -> None:
    trials = [running(1234, 27, 0.123456, host="node-0123456789.cluster.example.org", attempt=2)]
    status = status_of(run.path, running_trials=trials, metrics=["a very long name of a metric"])
    head, rows = trial_table(status, {1234: [0.1 * step for step in range(50)]}, width)
    used = sum(2 + max(len(name), len(cell)) for name, cell in zip(head, rows["1234"], strict=True))
    assert used <= width or width < 80
    assert ("reports" in head) is (width >= 80)
    assert rows["1234"][0] == "1234"


def test_trials_that_the_status_does_not_list_are_counted(run: RunDirectory) -> None:
    status = status_of(run.path, running=1024, workers=1024, running_trials=[running(number) for number in range(50)])
    assert trials_title(status) == "running: 1,024 trials on 1,024 workers, and 974 more than are listed"
    assert trials_title(status_of(run.path, running=1, workers=3, sized=True, running_trials=[{}])) == (
        "running: 1 trial, room for 3 typical trials"
    )
    assert trials_title(status_of(run.path, running=0, workers=0, running_trials=[])) == (
        "running: 0 trials on 0 workers"
    )


def test_blocks_that_have_ended_come_last(run: RunDirectory) -> None:
    now = time.time()
    blocks = [
        {"pool": "knl", "block": str(place), "job": f"70{place}", "state": state, "reason": "(Priority)", "workers": 0,
         "ends": now + 60, "since": now}
        for place, state in enumerate(["ended", "queued", "running"])
    ]  # fmt: skip
    rows = list(block_rows(status_of(run.path, blocks=blocks, updated=now)).values())
    assert [row[2] for row in rows] == ["running", "queued", "ended"]
    assert rows[0][5:] == ["1m 00s", "Priority"]
    assert rows[2][5] == "-"


def drawn(status: Status, campaign: Campaign, now: float) -> str:
    folder = campaign(state=status.state, message=status.message, rungs=status.rungs)
    observed = read_campaign(folder)
    assert observed is not None
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as capture:
        console.print(header(replace(observed, status=status, alive=True), now))
    return capture.get()


def test_the_lines_at_the_top_name_rungs_messages_and_a_silent_driver(run: RunDirectory, campaign: Campaign) -> None:
    status = status_of(run.path, message="database unreachable for 12 s; retrying", host="login2")
    text = drawn(status, campaign, status.updated + 60)
    for words in ["8 at step 3, 4 at step 9", "database unreachable", "no news from the driver on login2 for 1m 00s"]:
        assert words in text
    assert "no news" not in drawn(status, campaign, status.updated + 2)


def test_no_text_of_a_status_controls_the_terminal(run: RunDirectory) -> None:
    evil = "a\x1b[2J\x1b]0;title\x07b\x9b31mc\u202e\ud800"
    failure = {"number": 3, "attempt": 1, "failure": "exception", "reason": evil, "traceback": "", "host": evil,
               "directory": "", "again": False}  # fmt: skip
    status = status_of(run.path, study=evil, message=evil, running_trials=[running(1, host=evil)], notes=[evil],
                       best_params={evil: evil}, last_failure=failure)  # fmt: skip
    assert harmless_status(status).to_json().isprintable()
    text = json.loads(harmless_status(status).to_json())
    assert all(each.isprintable() for each in (text["study"], *text["best_params"], text["running_trials"][0]["host"]))
    log = MessageLog()
    log.update(status)
    assert len(log.lines) == 3
    assert all(line.isprintable() for line in log.lines)


def said(*statuses: Status) -> list[str]:
    log = MessageLog()
    for status in statuses:
        log.update(status)
    return [line.split(" ", 1)[1] for line in log.lines]


def test_a_message_is_said_when_it_begins_and_when_it_is_over(run: RunDirectory) -> None:
    base = status_of(run.path, notes=["the disk is nearly full"])
    away = [replace(base, message=f"database unreachable for {seconds} s; retrying") for seconds in (1, 2, 3)]
    assert said(base, *away, base, base) == [
        "note: the disk is nearly full",
        "database unreachable for 1 s; retrying",
        "solved: database unreachable for 3 s; retrying",
    ]


def test_each_failure_and_each_wait_is_said_once(run: RunDirectory) -> None:
    failure = {"number": 3, "attempt": 1, "failure": "exception", "reason": "ValueError: no", "traceback": "",
               "host": "n7", "directory": "", "again": False}  # fmt: skip
    one = status_of(run.path, last_failure=failure, waiting="no block has started")
    two = status_of(run.path, last_failure={**failure, "number": 4}, stopping="2 trials finish")
    assert said(one, one, two, two) == [
        "trial 3 failed on n7: ValueError: no",
        "waiting: no block has started",
        "trial 4 failed on n7: ValueError: no",
        "2 trials finish",
    ]


def test_the_output_is_that_of_the_newest_attempt_and_harmless(run: RunDirectory) -> None:
    files = run.trial(7)
    for attempt in (1, 2):
        files.create(attempt)
    assert read_output(files, "stdout").problem == "attempt 2 has no stdout yet"
    files.stdout(2).write_bytes(b"\x1b[31mred\x1b[0m\n10%\r20%\r100%\n\xff\x1b]0;title\x07\n")
    output = read_output(files, "stdout")
    assert output.attempt == 2
    assert output.lines == ("red", "100%", "�\\x1b]0;title\\x07")
    files.stderr(2).write_bytes(b"")
    assert read_output(files, "stderr").problem == "nothing yet"


def test_of_a_long_output_the_end_is_shown_without_half_a_line(run: RunDirectory) -> None:
    files = run.trial(7)
    files.create(1)
    files.stdout(1).write_text("".join(f"line {number}\n" for number in range(50_000)))
    lines = read_output(files, "stdout").lines
    assert lines[-1] == "line 49999"
    assert lines[0].startswith("line ")
    assert len(lines) < 10_000
