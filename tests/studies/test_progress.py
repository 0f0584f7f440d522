"""The display of progress on a terminal, its plain lines elsewhere, and how numbers are formatted."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.studies import progress as module
from pilotune.pipeline.studies.formatting import duration, number, table
from pilotune.pipeline.studies.progress import Progress, render_status, room_text, status_line

STATUS = Status(
    study="digits",
    campaign="c",
    state="running",
    started=1000.0,
    updated=1192.0,
    workers=2,
    running=2,
    complete=20,
    pruned=12,
    failed=2,
    budget=60,
    best_number=14,
    best_values=[0.97312],
    best_params={"lr": 0.00314159, "units": 64},
    rate=23.04,
    utilization=0.974,
    time_left=62.0,
)


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display is drawn for a terminal that can move its cursor, wherever the tests run."""
    monkeypatch.setenv("TERM", "xterm-256color")


def drawn(status: Status, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(render_status(status))
    return capture.get().rstrip("\n").split("\n")


def test_the_display_shows_counts_best_rate_utilization_and_time_left() -> None:
    text = "\n".join(drawn(STATUS, 100))
    expected = ["digits", "running", "2 workers", "3m 12s", "34 of 60 trials", "20 complete", "12 pruned", "2 failed"]
    expected += ["2 running", "best 0.9731 (trial 14)", "lr=0.003142 units=64", "23 trials/min", "utilization 97%"]
    for words in [*expected, "1m 02s left"]:
        assert words in text


def test_where_trials_differ_in_size_there_is_room_and_no_number_of_workers() -> None:
    sized = replace(STATUS, sized=True)
    assert (room_text(sized), room_text(STATUS)) == ("room for 2 typical trials", "2 workers")
    assert "running  room for 2 typical trials  3m 12s" in drawn(sized, 100)[0]
    assert [room_text(replace(each, workers=0)) for each in (sized, STATUS)] == ["0 workers", "0 workers"]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 300])
@pytest.mark.parametrize("budget", [60, None])
def test_the_display_has_the_same_lines_in_any_width(width: int, budget: int | None) -> None:
    lines = drawn(replace(STATUS, budget=budget, message="the database is away; trying again in 8 s"), width)
    assert len(lines) == 6
    assert max(map(len, lines)) <= width


def test_the_display_of_a_campaign_without_workers_says_what_it_waits_for() -> None:
    empty = Status(study="digits", campaign="c", state="starting", budget=60)
    assert "waiting for workers" in drawn(empty, 80)[0]
    assert "waiting for workers; 0/60 trials" in status_line(empty)
    blocks = [
        {
            "pool": "knl",
            "block": "0",
            "job": "1",
            "state": "queued",
            "reason": "",
            "workers": 0,
            "since": 0.0,
            "ends": None,
        }
    ]
    assert "waiting for a block to start;" in status_line(replace(empty, blocks=blocks))
    blocks.append({**blocks[0], "block": "1", "state": "starting"})
    assert "waiting for workers to connect;" in status_line(replace(empty, blocks=blocks))
    ready = replace(empty, state="running", workers=2, blocks=[{**blocks[0], "state": "running", "workers": 2}])
    assert "waiting for the first trial to begin;" in status_line(ready)
    assert " running;" in status_line(replace(ready, running=1))


def test_a_terminal_is_left_clean() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=60, force_terminal=True)
    with Progress(console=console) as progress:
        progress(STATUS)
        progress(replace(STATUS, complete=21))
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock.monotonic)
    return clock


def test_without_a_terminal_a_line_is_printed_every_ten_seconds_and_for_each_new_best(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for second in range(25):
            clock.now = float(second)
            progress(replace(STATUS, complete=20 + second, best_number=14 if second < 5 else 31))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in stream.getvalue()
    assert "trial 31" in lines[1]


def test_a_campaign_in_which_nothing_changes_fills_no_log(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for second in range(0, 3600, 5):
            clock.now = float(second)
            progress(replace(STATUS, updated=1192.0 + second, time_left=None))
    assert len(stream.getvalue().splitlines()) == 6


def test_the_reason_for_waiting_is_printed_once_and_again_when_it_changes(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for second, waiting in enumerate(["", "a", "a", "a", "b", "b", "", "b"]):
            clock.now = float(second)
            progress(replace(STATUS, waiting=waiting))
    lines = stream.getvalue().splitlines()
    assert [text.split()[-1] for text in lines if "waiting: " in text] == ["a", "b", "b"]
    assert len(lines) == 4


def test_a_terminal_shows_the_whole_reason_for_waiting() -> None:
    sentence = "2 blocks of pool knl are queued since 14:03 (Priority) " * 3
    text = "".join(line.strip() + " " for line in drawn(replace(STATUS, waiting=sentence), 60))
    assert sentence.strip() in text


def test_a_terminal_is_drawn_at_most_four_times_a_second(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings = []
    monkeypatch.setattr(module, "render_status", lambda status: drawings.append(status) or "x")
    with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as progress:
        for tick in range(1000):
            clock.now = tick / 1000
            progress(STATUS)
    assert len(drawings) == 4


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    with Progress(stream, quiet=True) as progress:
        progress(STATUS)
    assert stream.getvalue() == ""


def test_a_plain_line_shows_everything() -> None:
    assert status_line(STATUS) == (
        "3m 12s running; 34/60 trials: 20 complete, 12 pruned, 2 failed, 2 running; best 0.9731 (trial 14); "
        "23 trials/min, utilization 97%, 1m 02s left"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.7, "1m 00s"),
        (125, "2m 05s"),
        (3600, "1h 00m"),
        (12000, "3h 20m"),
        (187200, "2d 04h"),
        (None, "-"),
        (float("inf"), "-"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.000012345, "1.234e-05"),
        (3.0, "3"),
        (0.97312, "0.9731"),
        (float("nan"), "nan"),
        (7, "7"),
        ("a", "a"),
    ],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


def test_a_table_is_aligned_on_one_line_a_row() -> None:
    text = table(["name", "n"], [["a\nb", "1"], ["longer", "10"]], right=["n"], width=20)
    assert text.splitlines() == ["name     n", "a b      1", "longer  10"]
    assert table(["name"], [["x" * 30]], width=10).splitlines()[1] == "x" * 9 + "…"
