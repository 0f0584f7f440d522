"""Shows one trial in detail: its traceback, the end of its output, its artifacts, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ...filesystems import size_in_words
from ...grammar import count
from ..attributes import ARTIFACTS, traceback_of
from ..record.artifacts import artifact_sizes, artifacts_folder
from ..studies.failures import kind_in_words
from ..studies.formatting import cut, duration, exact, pairs, parameter
from ..studies.harmless import harmless, harmless_line
from ..trial.files import TrialFiles

if TYPE_CHECKING:
    from ..analysis import Row, StudyData

OUTPUT_LINES, OUTPUT_BYTES = 20, 16_384
"""Last lines of stdout and of stderr that are shown, and bytes at the end of the files that are read for them."""

LINE_WIDTH = 500
"""Most characters of a line of output that are shown."""

ARTIFACTS_SHOWN = 20
"""Most artifacts whose names are shown; ``--json`` has all."""


@dataclass(frozen=True)
class TrialDetails:
    """What is known of one trial.

    Attributes:
        row: The trial, as in the table of all.
        traceback: The objective's traceback, or the end of its stderr; empty where there is none.
        outputs: The output files of its last attempt that has some, with the last lines of each; empty where the run
            directory is gone, or the trial ran in the worker itself.
        home: Where artifacts of the trial lie, or would; None where that is not known here.
        artifacts: Bytes of those that lie there, by name.
        written: Bytes of those that the trial has left, by name: some or all may have been deleted since.
    """

    row: Row
    traceback: str
    outputs: tuple[tuple[Path, str], ...]
    home: Path | None
    artifacts: dict[str, int]
    written: dict[str, int]


def trial_details(data: StudyData, number: int, folder: Path | None) -> TrialDetails:
    """Collect what is known of a trial.

    Args:
        data: The study.
        number: The trial's number.
        folder: The study's folder of the run directories, ``<runs>/<name>``; None where it is not known here.

    Raises:
        UserError: The study has no such trial.
    """
    from ..analysis import row_of

    trial = data.trial(number)
    if trial is None:
        has = f"has trials 0 to {data.trials[-1].number}" if data.trials else "has no trials yet"
        raise UserError(f"there is no trial {number}: study {data.name!r} {has}")
    row = row_of(trial, data.metrics, data.constants, data.live)
    places = artifacts_folder(folder) if folder is not None and trial.state.name == "COMPLETE" else None
    here = artifact_sizes(places, number) if places is not None else {}
    left = trial.system_attrs.get(ARTIFACTS)
    return TrialDetails(
        row,
        traceback_of(trial),
        outputs_of(row),
        places / str(number) if places is not None else None,
        here,
        left if isinstance(left, dict) and trial.state.name == "COMPLETE" else {},
    )


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
    """The details for ``--json``: the trial as in the list, with ``traceback``, ``output`` and ``artifacts``.

    ``output`` has the last lines by path, ``artifacts`` a list as that of ``pilotune artifacts --json``.
    """
    output = {str(path): text for path, text in details.outputs}
    kept = [
        {"name": name, "bytes": size, "path": str(details.home / name)}
        for name, size in details.artifacts.items()
        if details.home is not None
    ]
    return {**details.row.as_dict(), "traceback": details.traceback, "output": output, "artifacts": kept}


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
    lines += _artifact_lines(details)
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


def _artifact_lines(details: TrialDetails) -> list[tuple[str, str]]:
    """The artifacts with their sizes, and where they are."""
    found = details.artifacts
    if found:
        shown = [
            f"{harmless_line(name)} ({size_in_words(size)})" for name, size in list(found.items())[:ARTIFACTS_SHOWN]
        ]
        more = [f"{len(found) - ARTIFACTS_SHOWN:,} more"] if len(found) > ARTIFACTS_SHOWN else []
        return [("artifacts", ", ".join([*shown, *more])), ("", f"in {details.home}")]
    if details.written and details.home is not None:
        size = size_in_words(sum(size for size in details.written.values() if type(size) is int))
        return [
            ("artifacts", f"none in {details.home}; the trial had left {count(len(details.written), 'file')} ({size})")
        ]
    return []
