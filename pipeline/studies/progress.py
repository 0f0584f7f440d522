"""Shows progress on stderr: a display that is redrawn on a terminal, occasional plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from ...grammar import count
from .block_table import blocks_line, quarantine_lines
from .failures import failure_lines
from .formatting import duration, named_values, number, on_front, parameter, plus_minus
from .harmless import harmless_status
from .node_hours import budget_texts

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ..driver.status import Status

REDRAW_INTERVAL = 0.25
"""Seconds between redraws on a terminal."""

LINE_INTERVAL = 10.0
"""Seconds between plain lines."""

UNCHANGED_LINE_INTERVAL = 600.0
"""Seconds between plain lines while nothing but the time changes."""


class Progress:
    """Shows each :class:`Status` that it is called with. A context manager; it leaves the terminal clean.

    The first failure of a campaign is told once, in full, and stays on the terminal.

    Args:
        stream: Where to write, stderr by default. Gets plain lines unless it is a terminal.
        console: Draw on this console instead of ``stream``.
        quiet: Show nothing.

    Example::

        with Progress() as progress:
            run_campaign(settings, listener=progress)
    """

    def __init__(self, stream: TextIO | None = None, console: Console | None = None, *, quiet: bool = False):
        self.stream, self.quiet = stream or sys.stderr, quiet
        self.fancy = not quiet and (console is not None or (self.stream.isatty() and not is_dumb_terminal()))
        self._live = self._start(console) if self.fancy else None
        self._last_shown = -1e18
        self._headline: tuple[Any, ...] = ()
        self._counts: tuple[Any, ...] = ()
        self._waiting = self._stopping = ""
        self._quarantined: list[str] = []
        self._failed = ""  # the campaign whose first failure was told
        self._notes: set[str] = set()

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
        status = harmless_status(status)
        self._tell_first_failure(status)
        self._say_notes(status)
        now = time.monotonic()
        headline = (status.state, status.best_number, status.message)
        if self._live is None:
            self._write_lines(status, now, headline)
        elif (
            now - self._last_shown >= REDRAW_INTERVAL or (*headline, status.stopping, status.waiting) != self._headline
        ):
            self._last_shown, self._headline = now, (*headline, status.stopping, status.waiting)
            self._live.update(render_status(status), refresh=True)

    def tell_waiting(self, sentence: str) -> None:
        """Say what is waited for before the campaign begins."""
        if not self.quiet:
            self._write(f"waiting: {sentence}")

    def _tell_first_failure(self, status: Status) -> None:
        """Say at once why the first trial failed: often all others fail in the same way."""
        if status.first_failure is None or self._failed == status.campaign:
            return
        self._failed = status.campaign
        first, *more = failure_lines(status.study, status.first_failure, status.host)
        text = "\n".join([f"{duration(elapsed(status))} {first}", *more])
        if self._live is None:
            self._write(text)
        else:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _write_lines(self, status: Status, now: float, headline: tuple[Any, ...]) -> None:
        """Write the lines that are due. Blocks may queue for days, which must not fill a log with equal lines."""
        counts = (finished(status), status.running, status.paused, status.workers)
        interval = LINE_INTERVAL if counts != self._counts else UNCHANGED_LINE_INTERVAL
        if headline != self._headline or now - self._last_shown >= interval:
            self._last_shown, self._headline, self._counts = now, headline, counts
            self._write(status_line(status))
        new_hosts = [sentence for sentence in quarantine_lines(status) if sentence not in self._quarantined]
        self._quarantined += new_hosts
        for sentence in new_hosts:
            self._write(f"{duration(elapsed(status))} {sentence}")
        if status.stopping != self._stopping:
            self._stopping = status.stopping
            if status.stopping:
                self._write(f"{duration(elapsed(status))} {status.stopping}")
        if status.waiting != self._waiting:
            self._waiting = status.waiting
            if status.waiting:
                self._write(f"{duration(elapsed(status))} waiting: {status.waiting}")

    def _say_notes(self, status: Status) -> None:
        """Say each note once; on a terminal it stays above what is redrawn."""
        for note in status.notes:
            if note not in self._notes:
                self._notes.add(note)
                if self._live is None:
                    self._write(f"note: {note}")
                else:
                    self._live.console.print(f"note: {note}", style="yellow", markup=False, highlight=False)

    def _write(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def is_dumb_terminal() -> bool:
    """Whether ``$TERM`` says that the terminal cannot be redrawn."""
    import os

    return os.environ.get("TERM", "") in ("", "dumb")


def finished(status: Status) -> int:
    """Trials that have ended."""
    return status.complete + status.pruned + status.failed


def paused_text(status: Status) -> str:
    """``, 3 paused``: the trials that wait for promotion; empty if there are none."""
    return f", {status.paused:,} paused" if status.paused else ""


def status_line(status: Status) -> str:
    """The status as one line of plain text."""
    done = f"{finished(status)}/{status.budget}" if status.budget else str(finished(status))
    parts = [
        f"{duration(elapsed(status))} {state_text(status)}",
        f"{done} {'trial' if done == '1' else 'trials'}: {status.complete} complete, {status.pruned} pruned, "
        f"{status.failed} failed, {status.running} running{paused_text(status)}",
    ]
    if status.best_number is not None:
        parts.append(front_text(status) or f"best {best_values(status)} ({best_trial(status)})")
    parts += [speed for speed in [speed_text(status)] if speed]
    parts += budget_texts(status)
    if blocks_line(status):
        parts.append(f"blocks {blocks_line(status)}")
    if status.message:
        parts.append(status.message)
    return "; ".join(parts)


def state_text(status: Status) -> str:
    """The state in words; while no trial runs, what is waited for.

    A campaign is ``starting`` whenever it has no workers, also between two blocks.
    """
    if status.state == "running" and not (status.running or finished(status) or status.paused):
        return "waiting for the first trial to begin"
    if status.state != "starting":
        return status.state
    states = [block["state"] for block in status.blocks]
    if "starting" in states:
        return "waiting for workers to connect"
    return "waiting for a block to start" if "queued" in states else "waiting for workers"


def room_text(status: Status) -> str:
    """How many trials can run at once: ``8 workers``, or where they differ in size ``room for 8 typical trials``.

    The size of a typical trial is the mean of those that were submitted last.
    """
    sized = status.sized and status.workers  # without nodes there is no room of any size
    return f"room for {count(status.workers, 'typical trial')}" if sized else count(status.workers, "worker")


def elapsed(status: Status) -> float:
    """Seconds since the campaign began."""
    return max(0.0, status.updated - status.started)


def best_values(status: Status) -> str:
    """The values of the best trial, with their names where the study has some, and how sure they are."""
    return named_values(status.metrics, status.best_values or ()) + plus_minus(status.best_interval)


def best_trial(status: Status) -> str:
    """Which trial is the best, and where trials are repeated, how often it was run: ``trial 7, 3 runs``."""
    runs = "" if status.best_runs is None else f", {count(status.best_runs, 'run')}"
    return f"trial {status.best_number}{runs}"


def front_text(status: Status) -> str:
    """How many trials the Pareto front has, where it has several; no single one of them is the best."""
    return on_front(status.front) if status.front > 1 else ""


def speed_text(status: Status) -> str:
    """``23 trials/min, utilization 97%, 1m 02s left``, as far as these are known."""
    parts = []
    if status.rate > 0:
        parts.append(rate_text(status.rate))
    if status.workers:
        parts.append(f"utilization {100 * status.utilization:.0f}%")
    if status.time_left is not None and status.state in ("starting", "running"):
        parts.append(f"{duration(status.time_left)} left")
    return ", ".join(parts)


def rate_text(rate: float) -> str:
    """Trials a minute, or an hour where they are few.

    >>> rate_text(23.04), rate_text(0.05), rate_text(1234.5)
    ('23 trials/min', '3 trials/h', '1,234 trials/min')
    """
    if rate >= 100.0:
        return f"{rate:,.0f} trials/min"
    return f"{rate:.3g} trials/min" if rate >= 1.0 else f"{60 * rate:.3g} trials/h"


def render_status(status: Status) -> RenderableType:
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
            (f"  {state_text(status)}", "yellow" if status.state != "running" else "green"),
            (f"  {room_text(status)}  {duration(elapsed(status))}", ""),
        )
    ]
    done = f"{finished(status):,}"
    if status.budget:
        bar = Table.grid(padding=(0, 1, 0, 0))
        bar.add_column(max_width=42)
        bar.add_column(no_wrap=True, overflow="ellipsis")
        ratio = ProgressBar(total=status.budget, completed=min(status.budget, finished(status)), width=40)
        bar.add_row(ratio, f"{done} of {count(status.budget, 'trial')}")
        lines.append(bar)
    else:
        lines.append(text((count(finished(status), "trial"), "")))
    lines.append(
        text(
            (f"{status.complete:,} complete", "green"),
            (f"  {status.pruned:,} pruned", "cyan"),
            (f"  {status.failed:,} failed", "red" if status.failed else ""),
            (f"  {status.running:,} running{paused_text(status)}", ""),
        )
    )
    if front_text(status):
        lines.append(text((front_text(status), "bold")))
    elif status.best_number is not None:
        params = " ".join(f"{name}={parameter(value, number)}" for name, value in (status.best_params or {}).items())
        lines.append(text((f"best {best_values(status)}", "bold"), (f" ({best_trial(status)})  {params}", "")))
    if speed_text(status):
        lines.append(text((speed_text(status), "")))
    lines += [text((sentence, "")) for sentence in budget_texts(status)]
    if blocks_line(status):
        lines.append(text((f"blocks {blocks_line(status)}", "")))
    lines += [Text(sentence, "yellow") for sentence in quarantine_lines(status)]
    lines += [Text(sentence, "yellow") for sentence in (status.stopping, status.waiting) if sentence]
    if status.message:
        lines.append(text((status.message, "yellow")))
    elif status.state == "stopping" and status.reason:
        lines.append(text((status.reason, "yellow")))
    return Group(*lines)
