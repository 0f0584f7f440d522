"""Exports a study's trials as CSV, JSON or Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import UserError
from .reading import StudyData
from .tables import Row, dataframe, rows

FORMATS = ("csv", "json", "parquet")
"""Formats of :func:`export`; the first is the default."""


def to_csv(data: StudyData, items: Sequence[Row]) -> bytes:
    """One line for each trial, with the columns of :func:`dataframe`."""
    return str(dataframe(data, items).to_csv(index=False)).encode()


def to_json(data: StudyData, items: Sequence[Row]) -> bytes:
    """An object with the study's name, its directions, its metrics, and ``trials`` as a list of objects."""
    whole = {
        "study": data.name,
        "directions": list(data.directions),
        "metrics": list(data.metrics),
        "trials": [row.as_dict() for row in items],
    }
    return (json.dumps(strict(whole), indent=2) + "\n").encode()


def to_parquet(data: StudyData, items: Sequence[Row]) -> bytes:
    """A table with the columns of :func:`dataframe`.

    A Parquet column has one type. Columns with several (a choice of numbers and text), with lists, or with numbers of
    more than 64 bits are stored as JSON text.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        raise UserError(
            "Parquet needs pyarrow, which is not installed: pip install 'pilotune[parquet]', or --format csv"
        ) from None
    frame = dataframe(data, items)
    for name in frame.columns:
        values = frame[name].dropna()
        kinds = {type(value) for value in values}
        if (len(kinds) > 1 and not kinds <= {int, float}) or kinds & {list, dict, tuple} or exceeds_64_bits(values):
            frame[name] = frame[name].map(lambda value: None if value is None else json.dumps(strict(value)))
    return bytes(frame.to_parquet(index=False, engine="pyarrow"))


def exceeds_64_bits(values: Iterable[Any]) -> bool:
    """Whether a whole number does not fit into 64 bits."""
    return any(type(value) is int and not -(2**63) <= value < 2**63 for value in values)


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
    items = rows(data)
    out.write(WRITERS[form](data, items))
    return len(items)


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
