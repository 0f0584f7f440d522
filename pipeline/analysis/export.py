"""Exports a study's trials, or all that they reported, as CSV, JSON or Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import UserError
from .reading import StudyData
from .tables import Row, columns, dataframe, fits_64_bits, reports_frame, with_constants

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("csv", "json", "parquet")
"""Formats of :func:`export`; the first is the default."""


def to_csv(data: StudyData, items: Sequence[Row]) -> bytes:
    """One line for each trial, with the columns of :func:`dataframe`. A choice of None is ``null``."""
    frame = dataframe(data, items)
    for name in columns(items):
        chosen = [name in row.params and row.params[name] is None for row in items]
        if any(chosen):
            values = frame[f"params_{name}"].tolist()
            frame[f"params_{name}"] = ["null" if none else each for none, each in zip(chosen, values, strict=True)]
    for name, moments in (("start", [row.start for row in items]), ("end", [row.end for row in items])):
        frame[name] = [None if moment is None else moment.isoformat() for moment in moments]
    return str(frame.to_csv(index=False)).encode()


def to_json(data: StudyData, items: Sequence[Row]) -> bytes:
    """An object with the study's name, its directions, its metrics, and ``trials`` as a list of objects.

    Each trial has its ``reports`` as a list of ``[step, value]``.
    """
    reports = {
        trial.number: [list(report) for report in sorted(trial.intermediate_values.items())] for trial in data.trials
    }
    whole = {
        "study": data.name,
        "directions": list(data.directions),
        "metrics": list(data.metrics),
        "trials": [{**row.as_dict(), "reports": reports[row.number]} for row in items],
    }
    return (json.dumps(strict(whole), indent=2) + "\n").encode()


def to_parquet(data: StudyData, items: Sequence[Row]) -> bytes:
    """A table with the columns of :func:`dataframe`.

    A Parquet column has one type. Columns with several (a choice of numbers and text), with lists, or with numbers of
    more than 64 bits are stored as JSON text.

    Raises:
        UserError: pyarrow is not installed.
    """
    return table_bytes(dataframe(data, items), "parquet")


def one_type_a_column(frame: pd.DataFrame) -> pd.DataFrame:
    """The table, with the columns as JSON text that have values of several types."""
    frame = frame.copy()
    for name in frame.columns:
        if frame[name].dtype != object:
            continue
        values = frame[name].dropna()
        kinds = {type(value) for value in values}
        if kinds == {int, float} and fits_64_bits(values):
            frame[name] = frame[name].astype("float64")
        elif len(kinds) > 1 or kinds & {list, dict, tuple} or not fits_64_bits(values):
            frame[name] = frame[name].map(lambda value: None if value is None else json.dumps(strict(value)))
    return frame


def need_pyarrow() -> None:
    """Raise UserError if pyarrow is not installed."""
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise UserError(
            "Parquet needs pyarrow, which is not installed: pip install 'pilotune[parquet]', or --format csv"
        ) from None


WRITERS: dict[str, Callable[[StudyData, Sequence[Row]], bytes]] = {
    "csv": to_csv,
    "json": to_json,
    "parquet": to_parquet,
}


def export(data: StudyData, form: str, out: BinaryIO) -> int:
    """Write all trials of a study.

    Args:
        data: The study.
        form: One of :data:`FORMATS`.
        out: A file that is open for writing bytes.

    Returns:
        The number of trials.

    Raises:
        UserError: Parquet without pyarrow.

    Example::

        with open("trials.csv", "wb") as file:
            export(read_study("sqlite:///study.db", "digits"), "csv", file)
    """
    items = with_constants(data)
    out.write(WRITERS[form](data, items))
    return len(items)


def export_reports(data: StudyData, form: str, out: BinaryIO) -> int:
    """Write all values that the trials reported, one line for each; JSON: a list of objects.

    Arguments and errors are those of :func:`export`. Returns the number of reports.
    """
    frame = reports_frame(data)
    out.write(table_bytes(frame, form, missing="nan"))
    return len(frame)


def table_bytes(frame: pd.DataFrame, form: str, missing: str = "") -> bytes:
    """A table as a file; JSON: a list of objects.

    Args:
        frame: The table.
        form: One of :data:`FORMATS`.
        missing: What NaN is in CSV.

    Raises:
        UserError: Parquet without pyarrow.
    """
    if form == "csv":
        return str(frame.to_csv(index=False, na_rep=missing)).encode()
    if form == "json":
        return (json.dumps(strict(frame.to_dict("records")), indent=2) + "\n").encode()
    need_pyarrow()
    return bytes(one_type_a_column(frame).to_parquet(index=False, engine="pyarrow"))


def format_of(path: Path | None, given: str | None, allowed: Sequence[str] = FORMATS) -> str:
    """The format to write: the given one, else that of the file's ending, else the first of ``allowed``.

    Raises:
        UserError: The file's ending is not that of an allowed format.

    >>> format_of(Path("trials.pq"), None), format_of(None, None)
    ('parquet', 'csv')
    """
    if given:
        return given
    if path is None:
        return allowed[0]
    ending = {"yml": "yaml", "pq": "parquet"}.get(path.suffix.lower()[1:], path.suffix.lower()[1:])
    if ending not in allowed:
        raise UserError(f"cannot tell a format from {path.name!r}; give --format {'|'.join(allowed)}")
    return ending


def strict(value: Any) -> Any:
    """``value`` as data that strict JSON can express: NaN, infinities and objects of other types become text.

    >>> strict({"best": float("nan"), "shape": (1, 2)})
    {'best': 'nan', 'shape': [1, 2]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [strict(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
