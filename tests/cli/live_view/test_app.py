"""The full-screen view, driven by Textual's pilot: what it shows, what its keys do, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from pilotune.errors import PilotuneError
from pilotune.pipeline.cli.live_view import app as app_module
from pilotune.pipeline.cli.live_view.app import WatchApp
from pilotune.pipeline.cli.live_view.observe import CampaignObserver, Observation
from pilotune.pipeline.cli.live_view.output import OutputScreen
from pilotune.pipeline.driver.job_chain import JobChain
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RunDirectory
from pilotune.pipeline.studies.campaign_status import read_campaign
from pilotune.pipeline.trial.files import write_atomically

from ...support.cli import alone  # noqa: F401
from ...support.local import PATIENCE
from ...support.written_campaigns import NOBODY, Campaign, campaign_, driver_, runs_  # noqa: F401

EVIL = "\x1b[2J\x1b]0;title\x07"


def screen_text(app: WatchApp) -> str:
    """What stands on the screen, without colours."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)


async def shows(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    """Wait until a condition holds."""
    app = pilot.app
    assert isinstance(app, WatchApp)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, screen_text(app)
        await pilot.pause(0.05)


def viewed(
    folder: Path, use: Callable[[Pilot[Any], WatchApp], Awaitable[None]], size: tuple[int, int] = (80, 24)
) -> WatchApp:
    """Show the campaign in a run directory, and use the view; returns the app after its end."""
    app = WatchApp(folder.parent, read_campaign(folder))

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await use(pilot, app)

    asyncio.run(main())
    return app


def rewrite(folder: Path, **changes: object) -> None:
    """Write the campaign's status anew, as its driver does."""
    file = RunDirectory(folder).status
    status = replace(Status.from_json(file.read_text()), **{"updated": time.time(), **changes})  # type: ignore[arg-type]
    write_atomically(file, status.to_json())


def test_what_has_not_changed_is_not_drawn_again(
    campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = campaign(pid=driver)
    drawn: list[object] = []

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "running: 2 trials" in screen_text(app) and app.main.last.reports)
        monkeypatch.setattr(app.main, "draw", lambda: drawn.append(1))
        read = app.main.last
        for _ in range(10):
            app.main.take(CampaignObserver(folder.parent, read_campaign(folder)).look())
        assert not drawn
        app.main.take(replace(read, driver="a job is queued"))
        assert drawn == [1]

    viewed(folder, use)


def trials(amount: int, **more: Any) -> list[dict[str, Any]]:
    base = {"attempt": 1, "host": "n1", "seconds": 2.0, "step": 7, "value": 0.25, **more}
    return [{"number": number, **base} for number in range(34, 34 + amount)]


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 10)])
def test_it_shows_counts_best_speed_rungs_blocks_trials_and_messages(
    campaign: Campaign, driver: int, size: tuple[int, int]
) -> None:
    now = time.time()
    block = {"pool": "knl", "block": "0", "job": "4711", "state": "running", "reason": "", "workers": 2,
             "ends": now + 4320, "since": now}  # fmt: skip
    folder = campaign(pid=driver, running_trials=trials(2), metrics=["accuracy"], notes=["a note"], blocks=[block])

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "Stop" in screen_text(app) and ("a note" in screen_text(app) or size[1] < 24))
        text = screen_text(app)
        assert max(map(len, text.split("\n"))) <= size[0]
        assert len(text.split("\n")) == size[1]
        for words in ["digits", "34 of 60", "20 complete"]:
            assert words in text
        if size[1] >= 24:
            expected = ["best accuracy 0.9731 (trial 14)", "23 trials/min", "pruned 8 at step 3", "4711", "1h 1", "▄"]
            for words in [*expected, "running: 2 trials on 2 workers", "enter Output", "q Quit"]:
                assert words in text

    viewed(folder, use, size)


def test_it_follows_changes_and_another_size_of_the_terminal(campaign: Campaign, driver: int) -> None:
    folder = campaign(pid=driver, running_trials=trials(3))

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "running: 2 trials" in screen_text(app))
        await pilot.press("down", "down")
        rewrite(folder, running=1024, workers=1024, running_trials=trials(50)[2:], message="database unreachable")
        await shows(pilot, lambda: "and 976 more than are listed" in screen_text(app))
        assert app.main.query_one("#trials").selected == "36", "the cursor stays on its trial"  # type: ignore[attr-defined]
        assert "database unreachable" in screen_text(app)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert len(screen_text(app).split("\n")) == 40
        rewrite(folder, running=0, workers=0, running_trials=[], message="")
        await shows(pilot, lambda: "running: 0 trials on 0 workers" in screen_text(app))
        await pilot.press("enter")
        assert app.screen is app.main, "there is no trial to show"
        assert "solved: database unreachable" in screen_text(app)

    viewed(folder, use)


@pytest.mark.parametrize(("key", "word"), [("s", "finish"), ("y", "yield"), ("n", "now")])
def test_a_key_stops_the_campaign_once_that_is_confirmed(campaign: Campaign, driver: int, key: str, word: str) -> None:
    folder = campaign(pid=driver)
    file = RunDirectory(folder).stop

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await pilot.press(key)
        await shows(pilot, lambda: "Enter: yes" in screen_text(app))
        await pilot.press("escape")
        await shows(pilot, lambda: app.screen is app.main)
        assert not file.exists()
        await pilot.press(key, "enter")
        await shows(pilot, file.exists)
        await shows(pilot, lambda: f"asked to stop ({word})" in screen_text(app))
        rewrite(folder, state="ended", reason="stopped by the user", code=130)
        await shows(pilot, lambda: app.return_value is not None)

    app = viewed(folder, use)
    assert file.read_text() == word
    assert app.return_value == 130
    assert app.main.last.campaign is not None
    assert app.main.last.campaign.status.reason == "stopped by the user"


def test_a_request_that_cannot_be_written_is_a_message(
    campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "/runs/stop")

    from pilotune.pipeline.trial import files

    folder = campaign(pid=driver)

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        monkeypatch.setattr(files, "write_atomically", refuse)
        await pilot.press("s", "enter")
        await shows(pilot, lambda: "cannot be asked to stop" in screen_text(app))

    viewed(folder, use)


def test_enter_shows_the_output_of_a_trial_and_follows_it(campaign: Campaign, driver: int) -> None:
    folder = campaign(pid=driver, running_trials=trials(2))
    files = RunDirectory(folder).trial(35)
    files.create(1)
    files.stdout(1).write_text(f"begins {EVIL}\n")
    files.stderr(1).write_text("a warning\n")

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "running: 2 trials" in screen_text(app))
        await pilot.press("down", "enter")
        await shows(pilot, lambda: "begins" in screen_text(app))
        assert "trial 35, attempt 1" in screen_text(app)
        with files.stdout(1).open("a") as file:
            file.writelines(f"line {number}\n" for number in range(200))
        await shows(pilot, lambda: "line 199" in screen_text(app))
        assert "\x1b" not in screen_text(app)
        await pilot.press("e")
        await shows(pilot, lambda: "a warning" in screen_text(app))
        assert isinstance(app.screen, OutputScreen)
        await pilot.press("escape")
        await shows(pilot, lambda: app.screen is app.main)

    viewed(folder, use)


def test_the_keys_are_explained_and_q_leaves_the_campaign_alone(campaign: Campaign, driver: int) -> None:
    folder = campaign(pid=driver)

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await pilot.press("question_mark")
        await shows(pilot, lambda: "the campaign keeps running" in screen_text(app))
        await pilot.press("q")
        await shows(pilot, lambda: app.screen is app.main)
        await pilot.press("q")

    app = viewed(folder, use)
    assert app.return_value is None
    assert app.failure is None
    assert not RunDirectory(folder).stop.exists()


def test_a_driver_that_dies_ends_the_view_with_how_to_resume(campaign: Campaign, driver: int) -> None:
    folder = campaign(pid=driver)

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        rewrite(folder, pid=NOBODY)
        await shows(pilot, lambda: app.failure)

    app = viewed(folder, use)
    assert isinstance(app.failure, PilotuneError)
    assert str(app.failure) == "the driver of digits died; pilotune resume digits continues the study"


def test_escape_sequences_of_trials_do_not_reach_the_terminal(campaign: Campaign, driver: int) -> None:
    folder = campaign(pid=driver, message=EVIL, running_trials=trials(1, host=EVIL), notes=[EVIL], metrics=[EVIL],
                      best_params={EVIL: EVIL})  # fmt: skip

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "note" in screen_text(app))
        assert "\x1b" not in screen_text(app)
        assert "\x07" not in screen_text(app)

    viewed(folder, use)


def test_files_that_do_not_answer_are_mentioned(
    campaign: Campaign, driver: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    answered = threading.Event()
    monkeypatch.setattr(app_module, "HANGS", 0.0)
    monkeypatch.setattr(app_module, "REFRESH", 0.05)

    def hang(observer: CampaignObserver) -> Observation:
        answered.wait(PATIENCE)
        return Observation(None)

    monkeypatch.setattr(CampaignObserver, "look", hang)

    async def use(pilot: Pilot[Any], app: WatchApp) -> None:
        await shows(pilot, lambda: "have not answered for" in screen_text(app))

    viewed(campaign(pid=driver), use)
    answered.set()


def chain(runs: Path, **changes: Any) -> JobChain:
    folder = runs / "digits" / "in-job-1"
    folder.mkdir(parents=True, exist_ok=True)
    return replace(JobChain(folder, "digits", "sqlite://", "slurm", "theta", "x", ("run",)), job="", **changes).saved()


def test_a_queued_driver_is_shown_until_its_campaign_begins(runs: Path, campaign: Campaign, driver: int) -> None:
    (runs / "digits").mkdir(parents=True, mode=0o700)
    chain(runs)
    app = WatchApp(runs / "digits", None)

    async def main() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(pilot, lambda: "at theta (slurm) is queued" in screen_text(app))
            folder = campaign(pid=driver)
            await shows(pilot, lambda: "34 of 60 trials" in screen_text(app))
            chain(runs, state="ended", reason="done")
            rewrite(folder, state="ended", code=0)
            await shows(pilot, lambda: app.return_value == 0)

    asyncio.run(main())


def test_a_driver_whose_job_ends_without_a_campaign(runs: Path) -> None:
    (runs / "digits").mkdir(parents=True, mode=0o700)
    chain(runs)
    observer = CampaignObserver(runs / "digits", None)
    assert observer.look().code is None
    chain(runs, state="ended", reason="stopped while its job waited")
    observer.look()
    seen = observer.look()
    assert (seen.code, seen.end) == (130, "the driver's job has ended: stopped while its job waited")
