"""Trials as rows: plain data for the terminal, JSON and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from .reading import PREFIX, StudyData, nearest

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial

STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING", "waiting": "WAITING"}
"""Pilotune's words for Optuna's trial states."""

PAUSED = "paused"
"""The word for a trial that waits at a rung for its promotion; for Optuna it is running."""

MOST = 2**63
"""What a count or a time in a trial's attributes is below; tables keep whole numbers in 64 bits."""

WORDS = {optuna: word for word, optuna in STATES.items()}


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        state: A word of :data:`STATES`, or :data:`PAUSED`.
        values: By metric name; None for what is not (yet) known. A pruned or paused trial has its last report instead.
        seconds: That its attempts ran, or from start to end where only Optuna's times are known; None before the end.
        exit: How it ended in one word (complete, pruned, exception, signal, timeout, ...).
        reason: Why it ended so, one sentence; empty for complete trials.
        rung: The step at which it was pruned, or is paused.
        attrs: The user attributes that the objective set.
    """

    number: int
    state: str
    values: Mapping[str, float | None]
    params: Mapping[str, Any]
    seconds: float | None
    host: str
    attempts: int
    exit: str
    reason: str
    rung: int | None
    directory: str
    attrs: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Stable keys, for JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "values": dict(self.values),
            "params": dict(self.params),
            "seconds": self.seconds,
            "host": self.host,
            "attempts": self.attempts,
            "exit": self.exit,
            "reason": self.reason,
            "rung": self.rung,
            "directory": self.directory,
            "user_attrs": dict(self.attrs),
        }


def row_of(trial: FrozenTrial, metrics: Sequence[str], constants: Mapping[str, Any] | None = None) -> Row:
    """A trial of Pilotune or of plain Optuna as a row; ``constants`` join its parameters."""
    ours = {key[len(PREFIX) :]: value for key, value in trial.user_attrs.items() if key.startswith(PREFIX)}
    state = WORDS[trial.state.name]
    finished = state in ("complete", "pruned", "failed")
    values: Sequence[float | None] = trial.values or [None] * len(metrics)
    at = known(ours, "paused", (int,), None)
    if state == "running" and at is not None:
        state = PAUSED
    if state in ("pruned", PAUSED) and trial.values is None and trial.intermediate_values and len(metrics) == 1:
        values = [trial.intermediate_values[max(trial.intermediate_values)]]
    reason = ours.get("reason") or trial.system_attrs.get("fail_reason") or ""
    last = max(trial.intermediate_values, default=None)
    return Row(
        number=trial.number,
        state=state,
        values=dict(zip(metrics, values, strict=False)),
        params={**trial.params, **(constants or {}), **(own if isinstance(own := ours.get("constants"), dict) else {})},
        seconds=known(ours, "seconds_running", (int, float), elapsed(trial) if finished else None),
        host=str(ours.get("host", "")),
        attempts=known(ours, "attempts", (int,), 1 if state != "waiting" else 0),
        exit=str(ours.get("exit", state if finished else "")),
        reason=str(reason),
        rung=at if state == PAUSED else known(ours, "rung", (int,), last if state == "pruned" else None),
        directory=str(ours.get("directory", "")),
        attrs={key: value for key, value in trial.user_attrs.items() if not key.startswith(PREFIX)},
    )


def known(attrs: Mapping[str, Any], name: str, kinds: tuple[type, ...], otherwise: Any) -> Any:
    """A number among the attributes; anybody with the database may have set it to something else."""
    value: Any = attrs.get(name)
    return value if type(value) in kinds and -MOST < value < MOST else otherwise


def elapsed(trial: FrozenTrial) -> float | None:
    return trial.duration.total_seconds() if trial.duration is not None else None


def rows(data: StudyData, states: Sequence[str] = (), sort: str = "number", limit: int | None = None) -> list[Row]:
    """The study's trials.

    Args:
        states: Keep only these (words of :data:`STATES`, or :data:`PAUSED`); all when empty.
        sort: ``number``, ``value`` or a metric's name (best first), ``seconds``, ``state``, ``attempts``, ``host`` or a
            parameter's name (ascending); a minus before it turns the order round. Trials without it come last.
        limit: Keep only the first so many after sorting.

    Raises:
        UserError: Nothing of that name to sort by.
    """
    kept = [row for row in (row_of(trial, data.metrics) for trial in data.trials) if not states or row.state in states]
    backwards, key = sort.startswith("-"), sort.removeprefix("-")
    if key == "value":
        key = data.metrics[0]
    params = {name for trial in data.trials for name in trial.params}
    plain = ("number", "seconds", "state", "attempts", "host")
    if key not in (*plain, *data.metrics, *params):
        names = ["value", *plain, *data.metrics, *params]
        raise UserError(f"nothing called {key!r} to sort the trials of {data.name!r} by{nearest(key, names)}")
    if key in data.metrics and data.directions[data.metrics.index(key)] == "maximize":
        backwards = not backwards

    def cell(row: Row) -> Any:
        if key in plain:
            return getattr(row, key)
        return row.values.get(key) if key in data.metrics else row.params.get(key)

    sortable = [row for row in kept if cell(row) is not None]
    numeric = all(isinstance(cell(row), int | float) for row in sortable)
    sortable.sort(key=cell if numeric else lambda row: str(cell(row)), reverse=backwards)
    result = sortable + [row for row in kept if cell(row) is None]
    return result if limit is None else result[:limit]


def columns(items: Sequence[Row]) -> list[str]:
    """Names of all parameters in ``items``, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in items for name in row.params))


def encodable(value: Any) -> Any:
    """Text with halves of characters, as names of files may have, escaped: no table and no file could hold it."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def dataframe(data: StudyData, items: Sequence[Row] | None = None) -> pd.DataFrame:
    """One line a trial: number, state, one column a metric, ``params_<name>``, seconds, host, attempts, exit, reason,
    rung, directory, ``user_attrs_<name>``."""
    import pandas as pd

    items = rows(data) if items is None else items
    attrs = list(dict.fromkeys(name for row in items for name in row.attrs))
    table: dict[str, list[Any]] = {"number": [row.number for row in items], "state": [row.state for row in items]}
    for metric in data.metrics:
        table[metric] = [row.values.get(metric) for row in items]
    for name in columns(items):
        table[f"params_{name}"] = [row.params.get(name) for row in items]
    for name in ("seconds", "host", "attempts", "exit", "reason", "rung", "directory"):
        table[name] = [getattr(row, name) for row in items]
    for name in attrs:
        table[f"user_attrs_{name}"] = [row.attrs.get(name) for row in items]
    frame = pd.DataFrame({name: [encodable(value) for value in column] for name, column in table.items()})
    frame["rung"] = frame["rung"].astype("Int64")
    return frame
