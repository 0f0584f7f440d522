"""Shows one trial in detail: its traceback, the end of its output, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...grammar import count
from ..attributes import traceback_of
from ..studies.failures import kind_in_words
from ..studies.formatting import cut, duration, exact, pairs, parameter
from ..studies.harmless import harmless
from ..trial.files import TrialFiles

if TYPE_CHECKING:
    from ..analysis import Row, StudyData

OUTPUT_LINES, OUTPUT_BYTES = 20, 16_384
"""Last lines of stdout and of stderr that are shown, and bytes at the end of the files that are read for them."""

LINE_WIDTH = 500
"""Most characters of a line of output that are shown."""


@dataclass(frozen=True)
class TrialDetails:
    """What is known of one trial.

    Attributes:
        row: The trial, as in the table of all.
        traceback: The objective's traceback, or the end of its stderr; empty where there is none.
        outputs: The output files of its last attempt that has some, with the last lines of each; empty where the run
            directory is gone, or the trial ran in the worker itself.
    """

    row: Row
    traceback: str
    outputs: tuple[tuple[Path, str], ...]


def trial_details(data: StudyData, number: int) -> TrialDetails:
    """Collect what is known of a trial.

    Args:
        data: The study.
        number: The trial's number.

    Raises:
        UserError: The study has no such trial.
    """
    from ..analysis import row_of

    trial = data.trial(number)
    if trial is None:
        has = f"has trials 0 to {data.trials[-1].number}" if data.trials else "has no trials yet"
        raise UserError(f"there is no trial {number}: study {data.name!r} {has}")
    row = row_of(trial, data.metrics, data.constants, data.live)
    return TrialDetails(row, traceback_of(trial), outputs_of(row))


def outputs_of(row: Row) -> tuple[tuple[Path, str], ...]:
    """The output files of the trial's last attempt that has some, with the last lines of each."""
    if not row.directory:
        return ()
    files = TrialFiles(Path(row.directory))
    for attempt in range(max(1, row.attempts), 0, -1):
        found = [path for path in (files.stdout(attempt), files.stderr(attempt)) if path.is_file()]
        found += files.rank_outputs(attempt)
        launcher = files.launcher_output(attempt)
        found += [launcher] if launcher.is_file() and launcher.stat().st_size else []
        if found:
            return tuple((path, last_lines(path)) for path in found)
    return ()


def last_lines(path: Path) -> str:
    """The last lines of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - OUTPUT_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(cut(line, LINE_WIDTH) for line in text.rstrip().split("\n")[-OUTPUT_LINES:])


def detail_json(details: TrialDetails) -> dict[str, Any]:
    """The details for ``--json``: the trial as in the list, with ``traceback`` and ``output`` (path -> last lines)."""
    output = {str(path): text for path, text in details.outputs}
    return {**details.row.as_dict(), "traceback": details.traceback, "output": output}


def render_details(data: StudyData, details: TrialDetails) -> str:
    """The details as text."""
    row = details.row
    state = row.state if row.step is None else f"{row.state}, last report at step {row.step}"
    lines = [("trial", f"{row.number} of {data.name}"), ("state", state)]
    if row.state == "failed":
        lines += [
            ("failed", f"{kind_in_words(row.exit)}: {harmless(row.reason)}" if row.reason else kind_in_words(row.exit))
        ]
    elif row.reason:
        lines += [("reason", row.reason)]
    lines += [(name, exact(value)) for name, value in row.values.items() if value is not None]
    lines += [
        (f"  run {place}", f"{', '.join(map(exact, each.values))} (attempt {each.attempt}, seed {each.seed})")
        for place, each in enumerate(row.repetitions, 1)
    ]
    lines += [("ran", f"{duration(row.seconds)} in {count(row.attempts, 'attempt')}"
               + (f", at last on {row.host}" if row.host else ""))]  # fmt: skip
    if row.start_step is not None:
        lines += [("started", f"from the checkpoint of trial {row.parent} after step {row.start_step}")]
    lines += [("files", row.directory)] if row.directory else []
    lines += (
        [("with", ", ".join(f"{name}={parameter(value)}" for name, value in row.params.items()))] if row.params else []
    )
    parts = [pairs(lines)]
    if details.traceback:
        parts.append(harmless(details.traceback.rstrip()))
    else:
        parts.append(f"It has no traceback{'' if row.state == 'failed' else f': it is {row.state}'}.")
    for path, text in details.outputs:
        text = text.removesuffix(details.traceback.strip()).rstrip()  # a worker writes the traceback into stderr, too
        if text:
            parts.append(f"--- the end of {path} ---\n{harmless(text)}")
    if not details.outputs and row.directory:
        gone = "it ran in the worker itself (isolate: false), or its folder was deleted"
        parts.append(f"There is no output of its own: {gone}.")
    return "\n\n".join(parts)
