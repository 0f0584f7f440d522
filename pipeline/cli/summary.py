"""The end-of-run summary as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .block_table import quarantines
from .formatting import count, duration, exact, number, pairs

if TYPE_CHECKING:
    from ..analysis import Summary
    from ..driver.status import Status


def render(summary: Summary, status: Status) -> str:
    """Counts, where trials were pruned, what failed, the best trial, where files lie and how to go on."""
    lines = [
        ("study", summary.study),
        ("ended", f"{status.reason or 'done'} (after {duration(status.updated - status.started)})"),
        ("trials", counts(summary)),
    ]
    if summary.rungs:
        at = ", ".join(f"{amount} at step {step}" for step, amount in summary.rungs.items())
        lines.append(("pruned", at))
    if summary.failures:
        kinds = ", ".join(f"{amount} {kind}" for kind, amount in summary.failures.items())
        lines.append(("failed", f"{kinds}; reasons: pilotune trials {summary.study} --state failed"))
    if status.workers or status.utilization:
        lines.append(("workers", f"{status.workers}, busy {100 * status.utilization:.0f}% of the time"))
    lines += [("quarantine", sentence) for sentence in quarantines(status)]
    lines += best(summary)
    lines += [("storage", status.storage), ("files", status.run_dir), ("more", more(summary, status))]
    return pairs(lines)


def render_without(status: Status) -> str:
    """The same of a study whose database cannot be read now."""
    lines = [("study", status.study), ("ended", status.reason)]
    lines += [("storage", status.storage), ("files", status.run_dir), ("more", f"pilotune resume {status.study}")]
    return pairs(lines)


def counts(summary: Summary) -> str:
    parts = [f"{summary.complete:,} complete", f"{summary.pruned:,} pruned", f"{summary.failed:,} failed"]
    parts += [f"{amount:,} {word}" for word, amount in left_over(summary) if amount]
    return f"{summary.total:,}: " + ", ".join(parts)


def left_over(summary: Summary) -> list[tuple[str, int]]:
    return [("interrupted", summary.running), ("paused", summary.paused), ("waiting", summary.waiting)]


def best(summary: Summary) -> list[tuple[str, str]]:
    """The winner with its parameters, or how many trials are on the front."""
    if not summary.best:
        return [("best", "no trial completed")]
    if len(summary.best) > 1:
        return [("best", f"{count(len(summary.best), 'trial')} on the Pareto front: pilotune best {summary.study}")]
    row = summary.best[0]
    shown = ", ".join(f"{name} {number(value)}" for name, value in row.values.items())
    return [
        ("best", f"{shown} (trial {row.number})"),
        *((f"  {name}", exact(value)) for name, value in row.params.items()),
    ]


def more(summary: Summary, status: Status) -> str:
    """What a person may do next."""
    name = summary.study
    todo = [f"pilotune trials {name}", f"pilotune export {name} --best"]
    if status.code in (3, 130) or summary.running or summary.paused or summary.waiting:
        todo.insert(0, f"pilotune resume {name}")
    elif status.code == 0:
        todo.append(f"pilotune resume {name} --trials {2 * max(1, summary.total)}")
    return ", ".join(todo)
