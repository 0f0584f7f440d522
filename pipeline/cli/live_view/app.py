"""The program that shows the view: it starts the observer, and ends with the campaign or when the user leaves."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from ...studies.formatting import duration
from .observe import CampaignObserver, Observation, ObserverThread
from .screen import CampaignScreen

if TYPE_CHECKING:
    from ...studies.campaign_status import ObservedCampaign

HANGS = 10.0
"""Seconds after which a read of the campaign's files that has not returned is mentioned."""

REFRESH = 1.0
"""Seconds between two looks at the clock."""


class WatchApp(App[int]):
    """Shows a campaign until it ends; the result is its exit code, or None if the user left before.

    Args:
        folder: The folder of the study's campaigns.
        campaign: The campaign; None while the first job of its driver is queued.

    Attributes:
        main: The screen that shows it.
        failure: The error that ended the observation.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; overflow: hidden; }
    #header { height: auto; max-height: 11; }
    #blocks { height: auto; max-height: 5; border-top: solid ansi_bright_black; }
    #trials { height: 1fr; min-height: 3; border-top: solid ansi_bright_black; }
    #messages { height: auto; max-height: 5; border-top: solid ansi_bright_black; }
    KeyedTable, VerticalScroll { scrollbar-size: 0 1; }
    .tall #blocks { max-height: 14; }
    .tall #messages { max-height: 11; }
    .short #header { max-height: 5; }
    .short #blocks, .short #messages { display: none; }
    .hidden { display: none; }
    #title { height: 1; }
    #output { height: 1fr; }
    Question, Help { align: center middle; }
    .dialog { width: 76; max-width: 100%; height: auto; max-height: 100%; border: round ansi_bright_black;
              padding: 0 1; background: ansi_default; }
    """

    def __init__(self, folder: Path, campaign: ObservedCampaign | None):
        super().__init__(ansi_color=True)  # the terminal's own colours, on its own background
        self.theme = "ansi-dark"
        self.main = CampaignScreen(folder, campaign)
        self.failure: Exception | None = None
        self._observer = ObserverThread(CampaignObserver(folder, campaign).look, self._observed)

    def get_default_screen(self) -> CampaignScreen:
        return self.main

    def on_mount(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):  # so that the terminal is left as it was
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._observer.start()
        self.set_interval(REFRESH, self._look_at_clock)

    def on_unmount(self) -> None:
        self._observer.end()

    def _observed(self, seen: Observation | Exception) -> None:
        """Called in the observer's thread."""
        self.call_later(self._take, seen)

    def _take(self, seen: Observation | Exception) -> None:
        if isinstance(seen, Exception):
            self.failure = seen
            self.exit()
            return
        self.main.take(seen)
        if seen.code is not None:
            self.exit(seen.code)

    def _look_at_clock(self) -> None:
        silence = time.monotonic() - self._observer.looked
        hangs = silence > HANGS and self._observer.is_alive()
        before = self.main.problem
        self.main.problem = f"the files of the campaign have not answered for {duration(silence)}" if hangs else ""
        if self.main.problem != before or self.main.is_silent():
            self.main.draw()


def watch_on_screen(folder: Path, campaign: ObservedCampaign | None) -> tuple[int | None, Observation]:
    """Show a campaign on the whole terminal until it ends or the user leaves.

    Args:
        folder: The folder of the study's campaigns.
        campaign: The campaign; None while the first job of its driver is queued.

    Returns:
        The campaign's exit code, None if the user left before it ended; and what was seen last.

    Raises:
        PilotuneError: The driver died.
    """
    app = WatchApp(folder, campaign)
    code = app.run(mouse=False)  # the terminal keeps the mouse, to select text
    if app.failure is not None:
        raise app.failure
    return code, app.main.last
