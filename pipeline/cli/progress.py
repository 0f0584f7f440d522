"""Progress on stderr: a display that redraws on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from .block_table import blocks_line, quarantines
from .formatting import count, duration, number

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ..driver.status import Status

REDRAW, LINE, STILL_LINE = 0.25, 10.0, 600.0
"""Seconds between redraws on a terminal; between plain lines; and between those that say nothing new but the time."""


class Progress:
    """Shows each :class:`Status` that it is called with; a context manager that leaves the terminal clean.

    Args:
        stream: Where to; stderr by default. Plain lines unless it is a terminal.
        console: Drawn on instead of ``stream``.
        quiet: Show nothing.
    """

    def __init__(self, stream: TextIO | None = None, console: Console | None = None, *, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stderr, quiet
        self.fancy = not quiet and (console is not None or (self.stream.isatty() and not dumb()))
        self._live = self._start(console) if self.fancy else None
        self._last = -1e18
        self._seen: tuple[Any, ...] = ()
        self._counts: tuple[Any, ...] = ()
        self._waiting = ""
        self._quarantines: list[str] = []

    def _start(self, console: Console | None) -> Live:
        from rich.console import Console
        from rich.live import Live

        live = Live(
            console=console or Console(file=self.stream),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        return live

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, status: Status) -> None:
        if self.quiet or not status.study:
            return
        now = time.monotonic()
        news = (status.state, status.best_number, status.message)
        if self._live is None:
            self._lines(status, now, news)
        elif now - self._last >= REDRAW or (*news, status.waiting) != self._seen:
            self._last, self._seen = now, (*news, status.waiting)
            self._live.update(draw(status), refresh=True)

    def _lines(self, status: Status, now: float, news: tuple[Any, ...]) -> None:
        """What a log should hold: blocks may queue for days, and that is worth a line, not one every ten seconds."""
        counts = (finished(status), status.running, status.paused, status.workers)
        period = LINE if counts != self._counts else STILL_LINE
        if news != self._seen or now - self._last >= period:
            self._last, self._seen, self._counts = now, news, counts
            self._write(line(status))
        news_of_hosts = [each for each in quarantines(status) if each not in self._quarantines]
        self._quarantines += news_of_hosts
        for sentence in news_of_hosts:
            self._write(f"{duration(elapsed(status))} {sentence}")
        if status.waiting != self._waiting:
            self._waiting = status.waiting
            if status.waiting:
                self._write(f"{duration(elapsed(status))} waiting: {status.waiting}")

    def _write(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def dumb() -> bool:
    import os

    return os.environ.get("TERM", "") in ("", "dumb")


def finished(status: Status) -> int:
    return status.complete + status.pruned + status.failed


def paused(status: Status) -> str:
    """How many trials wait at a rung, behind those that run; empty where none does."""
    return f", {status.paused:,} paused" if status.paused else ""


def line(status: Status) -> str:
    """The status as one line of plain text."""
    done = f"{finished(status)}/{status.budget}" if status.budget else str(finished(status))
    parts = [
        f"{duration(elapsed(status))} {state_of(status)}",
        f"{done} trials: {status.complete} complete, {status.pruned} pruned, {status.failed} failed, "
        f"{status.running} running{paused(status)}",
    ]
    if status.best_number is not None:
        parts.append(f"best {values(status)} (trial {status.best_number})")
    parts += [speed for speed in [speeds(status)] if speed]
    if blocks_line(status):
        parts.append(f"blocks {blocks_line(status)}")
    if status.message:
        parts.append(status.message)
    return "; ".join(parts)


def state_of(status: Status) -> str:
    """In words; between two blocks a campaign waits as it does before the first."""
    return "waiting for workers" if status.state == "starting" else status.state


def elapsed(status: Status) -> float:
    return max(0.0, status.updated - status.started)


def values(status: Status) -> str:
    return ", ".join(number(value) for value in status.best_values or ())


def speeds(status: Status) -> str:
    """Rate, utilization and time left, as far as they are known."""
    parts = []
    if status.rate > 0:
        parts.append(f"{status.rate:.3g} trials/min")
    if status.workers:
        parts.append(f"utilization {100 * status.utilization:.0f}%")
    if status.time_left is not None and status.state in ("starting", "running"):
        parts.append(f"{duration(status.time_left)} left")
    return ", ".join(parts)


def draw(status: Status) -> RenderableType:
    """The status as a few lines for a terminal of any width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def text(*parts: tuple[str, str]) -> Text:
        return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")

    lines: list[RenderableType] = [
        text(
            (status.study, "bold"),
            (f"  {state_of(status)}", "yellow" if status.state != "running" else "green"),
            (f"  {count(status.workers, 'worker')}  {duration(elapsed(status))}", ""),
        )
    ]
    done = f"{finished(status):,}"
    if status.budget:
        bar = Table.grid(padding=(0, 1, 0, 0))
        bar.add_column(max_width=42)
        bar.add_column(no_wrap=True, overflow="ellipsis")
        ratio = ProgressBar(total=status.budget, completed=min(status.budget, finished(status)), width=40)
        bar.add_row(ratio, f"{done} of {status.budget:,} trials")
        lines.append(bar)
    else:
        lines.append(text((f"{done} trials", "")))
    lines.append(
        text(
            (f"{status.complete:,} complete", "green"),
            (f"  {status.pruned:,} pruned", "cyan"),
            (f"  {status.failed:,} failed", "red" if status.failed else ""),
            (f"  {status.running:,} running{paused(status)}", ""),
        )
    )
    if status.best_number is not None:
        params = " ".join(f"{name}={number(value)}" for name, value in (status.best_params or {}).items())
        lines.append(text((f"best {values(status)}", "bold"), (f" (trial {status.best_number})  {params}", "")))
    if speeds(status):
        lines.append(text((speeds(status), "")))
    if blocks_line(status):
        lines.append(text((f"blocks {blocks_line(status)}", "")))
    lines += [Text(sentence, "yellow") for sentence in quarantines(status)]
    if status.waiting:
        lines.append(Text(status.waiting, "yellow"))
    if status.message:
        lines.append(text((status.message, "yellow")))
    elif status.state == "stopping" and status.reason:
        lines.append(text((status.reason, "yellow")))
    return Group(*lines)
