"""Turns trials into rows: plain data for the terminal, JSON, files and pandas."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...errors import UserError
from ..attributes import DIRECTORY, EXIT, GPU_HOURS, NODE_HOURS, PARENT, PEAK_MEMORY, PREFIX, REASON, STEP
from ..noise import Repetition, repetitions_of, spreads
from .reading import StudyData, nearest
from .trial_facts import (
    ENDED,
    artifacts_of,
    attempts_made,
    constraints_of,
    host_of,
    in_utc,
    last_step,
    number_attribute,
    pool_of,
    rung_of,
    seconds_of,
    state_of,
    values_of,
    waiting_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Row:
    """One trial as plain data.

    Attributes:
        number: The trial's number in the study, from 0.
        state: A word of :data:`STATES`, :data:`PAUSED` or :data:`INTERRUPTED`.
        values: The values by metric; None if not known (yet). A trial that was pruned, or has not ended, has its last
            report here.
        params: Parameters, and the constants.
        seconds: Run time of its attempts; if unknown, the time from start to end. None before the end.
        waiting: Seconds that its attempts waited for a worker; None if not known.
        start: When the trial was asked for, in UTC; None if it was not yet.
        end: When it ended, in UTC; None before.
        host: Host of the last attempt; empty if not known.
        pool: Pool of the last attempt; empty if not known.
        attempts: Number of attempts.
        exit: How it ended, in one word (complete, pruned, exception, signal, timeout, ...); empty before the end.
        reason: Why it ended like that, in one sentence; empty for a complete trial.
        rung: The step at which it was pruned or is paused; None for other trials.
        step: The step of its last report; None if it has made none.
        directory: Its folder in the run directory; empty if not known.
        attrs: User attributes that the objective set.
        constraints: By how much it breaks each constraint: above 0, it is broken. Empty where nothing says so.
        repetitions: What each of its complete repetitions gave; empty where trials are not repeated.
        parent: The trial that an evolutionary sampler bred it from, or whose checkpoint it started from; else None.
        start_step: The step of that checkpoint; None for a trial that started from nothing.
        artifacts: Bytes of each file that it kept when it was complete, by name; they may be deleted since.
        node_hours, gpu_hours: What it took of its nodes and of their GPUs; None where that is not known.
        peak_memory: The most memory in bytes that an attempt had on a node; None where that is not known.
    """

    number: int
    state: str
    values: Mapping[str, float | None]
    params: Mapping[str, Any]
    seconds: float | None
    waiting: float | None
    start: datetime | None
    end: datetime | None
    host: str
    pool: str
    attempts: int
    exit: str
    reason: str
    rung: int | None
    directory: str
    attrs: Mapping[str, Any]
    step: int | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    repetitions: tuple[Repetition, ...] = ()
    parent: int | None = None
    start_step: int | None = None
    artifacts: Mapping[str, int] = field(default_factory=dict)
    node_hours: float | None = None
    gpu_hours: float | None = None
    peak_memory: int | None = None

    @property
    def spread(self) -> dict[str, float]:
        """The standard deviation of its repetitions by metric; empty for less than two."""
        return dict(zip(self.values, spreads(self.repetitions) or (), strict=False))

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON. The keys do not change between versions."""
        return {
            "number": self.number,
            "state": self.state,
            "values": dict(self.values),
            "params": dict(self.params),
            "seconds": self.seconds,
            "seconds_waiting": self.waiting,
            "start": None if self.start is None else self.start.isoformat(),
            "end": None if self.end is None else self.end.isoformat(),
            "host": self.host,
            "pool": self.pool,
            "attempts": self.attempts,
            "exit": self.exit,
            "reason": self.reason,
            "rung": self.rung,
            "step": self.step,
            "directory": self.directory,
            "user_attrs": dict(self.attrs),
            "constraints": dict(self.constraints),
            "repetitions": [
                {"attempt": each.attempt, "seed": each.seed, "values": list(each.values)} for each in self.repetitions
            ],
            "spread": self.spread,
            "parent": self.parent,
            "start_step": self.start_step,
            "artifacts": dict(self.artifacts),
            "node_hours": self.node_hours,
            "gpu_hours": self.gpu_hours,
            "peak_memory": self.peak_memory,
        }


def row_of(
    trial: FrozenTrial,
    metrics: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    live: Collection[str] = (),
) -> Row:
    """A trial of Pilotune or of plain Optuna as a row.

    Args:
        trial: The trial.
        metrics: The objectives' names.
        constants: Added to its parameters.
        live: Campaigns whose drivers are alive; a trial that another campaign left running is interrupted.
    """
    user, system = trial.user_attrs, trial.system_attrs
    state = state_of(trial, live)
    own = user.get(PREFIX + "constants")
    return Row(
        number=trial.number,
        state=state,
        values=dict(zip(metrics, values_of(trial, state, len(metrics)), strict=False)),
        params={**trial.params, **(constants or {}), **(own if isinstance(own, dict) else {})},
        seconds=seconds_of(trial, state),
        waiting=waiting_of(trial),
        start=in_utc(trial.datetime_start),
        end=in_utc(trial.datetime_complete),
        host=host_of(trial),
        pool=pool_of(trial),
        attempts=attempts_made(trial, state),
        exit=str(user.get(EXIT, state if state in ENDED else "")),
        reason=str(user.get(REASON) or system.get("fail_reason") or ""),
        rung=rung_of(trial, state),
        directory=str(user.get(DIRECTORY, "")),
        attrs={key: value for key, value in user.items() if not key.startswith(PREFIX)},
        step=last_step(trial),
        constraints=constraints_of(trial),
        repetitions=repetitions_of(trial),
        parent=number_attribute(system, PARENT, (int,), None),
        start_step=number_attribute(system, STEP, (int,), None),
        artifacts=artifacts_of(trial),
        node_hours=number_attribute(user, NODE_HOURS, (int, float), None),
        gpu_hours=number_attribute(user, GPU_HOURS, (int, float), None),
        peak_memory=number_attribute(user, PEAK_MEMORY, (int,), None),
    )


def rows(data: StudyData, states: Sequence[str] = (), sort: str = "number", limit: int | None = None) -> list[Row]:
    """The study's trials as rows.

    Args:
        data: The study.
        states: Keep only trials in these states (words of :data:`STATES`, :data:`PAUSED` or :data:`INTERRUPTED`);
            empty: all.
        sort: ``number``, ``value`` or a metric's name (best first), ``seconds``, ``node_hours``, ``peak_memory``,
            ``state``, ``attempts``, ``host`` or a parameter's name (ascending). A minus before it reverses the order.
            Trials without the value come last.
        limit: Keep only the first ones after sorting; None: all.

    Raises:
        UserError: There is nothing of that name to sort by.

    Example::

        [row.number for row in rows(data, states=["complete"], sort="value", limit=10)]
    """
    all_rows = (row_of(trial, data.metrics, live=data.live) for trial in data.trials)
    kept = [row for row in all_rows if not states or row.state in states]
    reverse, key = sort.startswith("-"), sort.removeprefix("-")
    if key == "value":
        key = data.metrics[0]
    params = {name for trial in data.trials for name in trial.params}
    plain = ("number", "seconds", "state", "attempts", "host", "node_hours", "peak_memory")
    if key not in (*plain, *data.metrics, *params):
        names = ["value", *plain, *data.metrics, *params]
        raise UserError(f"nothing called {key!r} to sort the trials of {data.name!r} by{nearest(key, names)}")
    if key in data.metrics and data.directions[data.metrics.index(key)] == "maximize":
        reverse = not reverse

    def cell(row: Row) -> Any:
        if key in plain:
            return getattr(row, key)
        return row.values.get(key) if key in data.metrics else row.params.get(key)

    sortable = [row for row in kept if cell(row) is not None]
    numeric = all(isinstance(cell(row), int | float) for row in sortable)
    sortable.sort(key=cell if numeric else lambda row: str(cell(row)), reverse=reverse)
    result = sortable + [row for row in kept if cell(row) is None]
    return result if limit is None else result[:limit]


def with_constants(data: StudyData) -> list[Row]:
    """All trials by number, with the constants of the study file among their parameters."""
    return [row_of(trial, data.metrics, data.constants, data.live) for trial in data.trials]


def columns(items: Sequence[Row]) -> list[str]:
    """Names of all parameters in the rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in items for name in row.params))


def encodable(value: Any) -> Any:
    """Text with unpaired surrogates (names of files may have them) escaped, since no file can hold them."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def dataframe(data: StudyData, items: Sequence[Row] | None = None) -> pd.DataFrame:
    """The trials as a pandas DataFrame with one line for each.

    Args:
        data: The study.
        items: The rows to take; None: all trials by number.

    Returns:
        Columns ``number``, ``state``, one for each metric (``values_<metric>`` if there is a column of its name),
        ``params_<name>``, ``start``, ``end``, ``seconds``,
        ``seconds_waiting``, ``host``, ``pool``, ``attempts``, ``exit``, ``reason``, ``rung``, ``directory``,
        ``user_attrs_<name>``, ``constraints_<name>``. Where trials were repeated also ``repetitions`` (their number)
        and ``spread_<metric>`` (the standard deviation); where they kept files ``artifact_bytes``; where it is known
        what they cost ``node_hours`` and ``gpu_hours``; where it was measured ``peak_memory``. Whole numbers and
        truth values stay what they are where some trials have none (pandas' nullable types).
    """
    import pandas as pd

    items = rows(data) if items is None else items
    attrs = list(dict.fromkeys(name for row in items for name in row.attrs))
    table: dict[str, list[Any]] = {"number": [row.number for row in items], "state": [row.state for row in items]}
    for metric in data.metrics:
        taken = metric in table or metric in (*COLUMNS, *SOMETIMES) or metric.startswith("spread_")
        name = f"values_{metric}" if taken else metric
        table[name] = [row.values.get(metric) for row in items]
    for name in columns(items):
        table[f"params_{name}"] = [row.params.get(name) for row in items]
    for name, attribute in COLUMNS.items():
        table[name] = [getattr(row, attribute) for row in items]
    for name in attrs:
        table[f"user_attrs_{name}"] = [row.attrs.get(name) for row in items]
    for name in dict.fromkeys(name for row in items for name in row.constraints):
        table[f"constraints_{name}"] = [row.constraints.get(name) for row in items]
    if any(row.repetitions for row in items):
        table["repetitions"] = [len(row.repetitions) or None for row in items]
        for metric in data.metrics:
            table[f"spread_{metric}"] = [row.spread.get(metric) for row in items]
    if any(row.artifacts for row in items):
        table["artifact_bytes"] = [sum(row.artifacts.values()) if row.artifacts else None for row in items]
    for name in TAKEN:
        if any(getattr(row, name) is not None for row in items):
            table[name] = [getattr(row, name) for row in items]
    series = {name: typed([encodable(value) for value in column], DTYPES.get(name)) for name, column in table.items()}
    return pd.DataFrame(series)


COLUMNS = {
    name: {"seconds_waiting": "waiting"}.get(name, name)
    for name in ("start", "end", "seconds", "seconds_waiting", "host", "pool", "attempts", "exit", "reason", "rung",
                 "directory")
}  # fmt: skip
"""Column of :func:`dataframe` -> field of :class:`Row`."""

TAKEN = ("node_hours", "gpu_hours", "peak_memory")
"""What a trial took, where that is known: fields of :class:`Row`, and columns."""

SOMETIMES = ("repetitions", "artifact_bytes", *TAKEN)
"""Columns that only some studies have."""

DTYPES = {
    "start": "datetime64[us, UTC]",
    "end": "datetime64[us, UTC]",
    "seconds": "float64",
    "seconds_waiting": "float64",
    "rung": "Int64",
}
"""Types of columns that may be empty."""


def typed(values: list[Any], dtype: str | None = None) -> pd.Series[Any]:
    """A column whose whole numbers and truth values stay what they are, also where some values are missing.

    Args:
        values: The values; None where there is none.
        dtype: The type; None: as the values have it.

    >>> typed([1, None, 3]).tolist(), typed([1, 2.5]).tolist()
    ([1, <NA>, 3], [1, 2.5])
    """
    import pandas as pd

    if dtype is None:
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 or not fits_64_bits(values):
            dtype = "object"
        elif None in values and kinds == {bool}:
            dtype = "boolean"
        elif None in values and kinds == {int}:
            dtype = "Int64"
    return pd.Series(values, dtype=dtype)


def fits_64_bits(values: Iterable[Any]) -> bool:
    """Whether all whole numbers among the values fit into 64 bits."""
    return all(type(value) is not int or -(2**63) <= value < 2**63 for value in values)


def reports_frame(data: StudyData) -> pd.DataFrame:
    """All values that the trials reported, one line for each, by trial and step.

    Returns:
        Columns ``number`` (the trial's), ``step``, ``value``, and ``state`` (the trial's).

    Example::

        reports_frame(read_study("sqlite:///study.db", "digits")).pivot(index="step", columns="number", values="value")
    """
    import pandas as pd

    lines = [
        (row.number, step, value, row.state)
        for trial in data.trials
        for row in [row_of(trial, data.metrics, live=data.live)]
        for step, value in sorted(trial.intermediate_values.items())
    ]
    types = {"number": "int64", "step": "int64", "value": "float64", "state": "object"}
    return pd.DataFrame(lines, columns=list(types)).astype(types)
