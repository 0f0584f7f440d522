"""What the driver and a worker say to each other. Plain data: JSON on the report channel, dicts through Parsl.

The driver sends an :class:`AttemptSpec` (as a Parsl task's argument). While it runs, the worker sends
:class:`Started`, :class:`Report` and :class:`Suggest` and gets :class:`Verdict`, :class:`Suggested` and :class:`Stop`
back over the report channel. The task's result is an :class:`Outcome`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from .from_json import build, read_json

OutcomeKind = Literal["complete", "pruned", "failed", "yielded", "stopped", "declined"]
"""complete, pruned, failed: final. yielded: goes on as a new attempt. stopped: ended because the driver said kill.
declined: not begun, since it would not fit into what is left of its block; the same attempt may be submitted again."""

FailureKind = Literal[
    "", "exception", "value", "exit", "signal", "memory", "timeout", "output", "setup", "lost", "disk"
]
"""Why an attempt failed. exit, signal, memory: its process crashed; lost: the infrastructure's fault; disk: there was
no room for what it writes, which is not its fault either."""

StopHow = Literal["yield", "kill"]


MESSAGE_LIMIT = 1_000_000
"""Bytes of a message of the report channel; who sends more is cut off."""

DEFAULT_MAX_OUTPUT = 100_000_000
"""Bytes that one attempt may write to stdout, and as many to stderr; the study file's ``trial: max_output``."""

DEFAULT_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL; the study file's ``trial: grace``."""

STEP_LIMIT = 2**31
"""Steps are whole numbers below this; Optuna's schema keeps them in 32 bits."""


class Message:
    """Data that travels: ``to_dict``/``from_dict`` round-trip through JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, messages inside it likewise; lists and dictionaries are the receiver's own."""
        return {field.name: _own(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from ``data``, ignoring keys of other versions.

        Raises ValueError where a key is missing, or holds what its field does not.
        """
        return build(cls, data)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """As :meth:`from_dict`; raises ValueError for what is no JSON, too."""
        return cls.from_dict(read_json(text))


def _own(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_dict()
    return value.copy() if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class ObjectiveSpec(Message):
    """What a worker runs: a function (``module`` or ``file``, and ``function``) or a ``command``."""

    function: str = ""
    module: str = ""
    file: str = ""  # absolute path
    folder: str = ""  # the study file's folder; on sys.path while a function objective is imported; PILOTUNE_STUDY_DIR
    command: str | list[str] = ""  # template; a string is split by shlex unless shell is set
    shell: bool = False
    reports: str = "file"  # "file", or a regular expression over stdout with a group `value` and perhaps `step`


@dataclass(frozen=True)
class Limits(Message):
    timeout: float | None = None  # seconds of wall time for one attempt
    memory: int | None = None  # bytes; RLIMIT_DATA of the trial's process
    max_output: int = DEFAULT_MAX_OUTPUT  # bytes of stdout and of stderr
    grace: float = DEFAULT_GRACE  # seconds from SIGTERM to SIGKILL


@dataclass(frozen=True)
class ChannelAddress(Message):
    """Where the driver listens. The key file (0600) holds the campaign's CurveZMQ keys; no secret travels in a task.

    ``url`` is one URL, or several separated by blanks: the driver's addresses, best first. A worker takes the first
    that answers.
    """

    url: str = ""
    key_file: str = ""


@dataclass(frozen=True)
class AttemptSpec(Message):
    """All that a worker needs to run one attempt."""

    token: str  # fences the attempt: "<number>.<attempt>.<campaign>"
    study: str
    number: int
    attempt: int  # from 1
    params: dict[str, Any]
    defines_space: bool  # the objective suggests as it runs; params holds what earlier attempts were given
    directory: str  # the trial's folder, see TrialFiles
    seed: int
    n_values: int
    metrics: list[str] = field(default_factory=list)
    space_names: list[str] = field(default_factory=list)  # every parameter and constant, inactive ones too
    isolate: bool = True
    preload: bool = True
    cores: int = 1
    gpus: int = 0
    nodes: int = 1
    ranks_per_node: int = 1  # processes that a multi-node trial's launcher starts on each node
    expected: float | None = None  # seconds this attempt is expected to run; None where nobody knows
    yield_before: float | None = None  # seconds before its block's end at which it is to yield; None for the default
    avoid: list[str] = field(default_factory=list)  # hosts whose workers are to decline it
    objective: ObjectiveSpec = field(default_factory=ObjectiveSpec)
    limits: Limits = field(default_factory=Limits)
    channel: ChannelAddress = field(default_factory=ChannelAddress)


@dataclass(frozen=True)
class Started(Message):
    token: str
    host: str
    pid: int  # of the worker
    block: str
    worker: str


@dataclass(frozen=True)
class Report(Message):
    token: str
    request: int  # echoed in the verdict, which is the first on any of its reports
    step: int  # 0 <= step < STEP_LIMIT
    value: float
    more: list[list[float]] = field(default_factory=list)  # [[step, value], ...] that came after it meanwhile

    @classmethod
    def of(cls, token: str, request: int, reports: Sequence[Sequence[float]]) -> Self:
        """One message of several reports, in their order."""
        (step, value), *more = reports
        return cls(token, request, int(step), value, [list(report) for report in more])

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        report = super().from_dict(data)
        if not all(len(each) == 2 and _is_step(each[0]) for each in report.more):
            raise ValueError("a report has a step and a value")
        return report

    @property
    def reports(self) -> list[Sequence[float]]:
        """Step and value of each, in their order."""
        return [(self.step, self.value), *self.more]


@dataclass(frozen=True)
class Suggest(Message):
    token: str
    request: int
    name: str
    distribution: str  # optuna.distributions.distribution_to_json's form


@dataclass(frozen=True)
class Verdict(Message):
    token: str
    request: int
    stop: Literal["", "prune", "yield", "kill"] = ""


@dataclass(frozen=True)
class Suggested(Message):
    token: str
    request: int
    value: Any = None
    error: str = ""  # a sentence; raised as ValueError in the objective


@dataclass(frozen=True)
class Stop(Message):
    """From the driver, unasked: end this attempt. An attempt whose token is fenced gets `kill`."""

    token: str
    how: StopHow


@dataclass(frozen=True)
class Outcome(Message):
    """How an attempt ended. Written to the trial's folder first, then returned."""

    token: str
    number: int
    attempt: int
    kind: OutcomeKind
    values: list[float] | None = None
    failure: FailureKind = ""
    reason: str = ""  # one sentence
    traceback: str = ""
    user_attrs: dict[str, Any] = field(default_factory=dict)
    reports: list[list[float]] = field(default_factory=list)  # [[step, value], ...] of this attempt, in order
    params: dict[str, Any] = field(default_factory=dict)  # those suggested as it ran
    host: str = ""
    pool: str = ""
    block: str = ""
    worker: str = ""
    saved: bool = True  # false: it yielded, and wrote nothing into its checkpoint folder
    leaving: bool = False  # its worker is better given no more, since its block ends or is being ended
    started: float = 0.0  # Unix seconds on the worker's clock
    finished: float = 0.0

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        outcome = super().from_dict(data)
        if not (math.isfinite(outcome.started) and math.isfinite(outcome.finished)):
            raise ValueError("it began or ended at no time")
        if not all(len(report) == 2 and _is_step(report[0]) for report in outcome.reports):
            raise ValueError("a report has a step and a value")
        return outcome


def values_fit(values: Sequence[Any] | None, directions: int) -> bool:
    """Whether these are the values of a complete trial: a finite number for each direction."""
    numbers = values or ()
    return len(numbers) == directions and all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers)


def _is_step(step: float) -> bool:
    return 0 <= step < STEP_LIMIT and step == int(step)


WIRE: dict[str, type[Message]] = {
    cls.__name__.lower(): cls for cls in (Started, Report, Suggest, Verdict, Suggested, Stop)
}


def encode(message: Message) -> bytes:
    """A message of the report channel as bytes."""
    return json.dumps({"type": type(message).__name__.lower(), **message.to_dict()}).encode()


def decode(data: bytes) -> Message:
    """The message in ``data``. Raises ValueError for anything that is not one: rubbish from a stranger included."""
    try:
        fields = read_json(data)
        return WIRE[fields["type"]].from_dict(fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a message of the report channel: {data[:80]!r}") from error
