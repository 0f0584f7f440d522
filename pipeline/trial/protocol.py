"""The messages between the driver and a worker: JSON on the report channel, dictionaries through Parsl.

The driver sends an :class:`AttemptSpec` as the argument of a Parsl task, and the task's result is an :class:`Outcome`.
While the attempt runs, they talk over the report channel:

* worker to driver: :class:`Started` once, then :class:`Report`, :class:`Suggest` and :class:`Query`, each a request
  with a number; and :class:`Attributes`, which is not answered;
* driver to worker: :class:`Verdict` on a Report and :class:`Suggested` for a Suggest or a Query, with the request's
  number, and :class:`Stop` unasked.

When requests are sent, and sent again, is decided by :class:`pilotune.pipeline.worker.dialogue.Dialogue`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ...errors import printable, words_of
from .from_json import build, read_json

OutcomeKind = Literal["complete", "pruned", "failed", "yielded", "stopped", "declined"]
"""How an attempt ended.

complete, pruned, failed: the trial has ended. yielded: it goes on as a new attempt. stopped: the driver ordered to kill
the attempt, or a later one has begun. declined: not begun, because its block ends too soon or its host is avoided; the
same attempt may be submitted again.
"""

FailureKind = Literal[
    "", "exception", "value", "exit", "signal", "memory", "timeout", "output", "setup", "lost", "disk", "resources"
]
"""Why an attempt failed.

exception: the objective raised. value: it returned no usable value. exit, signal, memory: its process crashed. timeout,
output: it exceeded a limit. setup: it could not be started. lost, disk: the infrastructure's fault (a dead fork server,
a full file system), for which the trial is tried again. resources: it takes more than any node
has, as the driver finds.
"""

StopHow = Literal["yield", "kill"]
"""yield: save a checkpoint and end; kill: end at once."""

MESSAGE_LIMIT = 1_000_000
"""Most bytes of a message on the report channel; ZeroMQ disconnects a sender of a larger one."""

DEFAULT_MAX_OUTPUT = 100_000_000
"""Bytes that one attempt may write to stdout, and as many to stderr; the study file's ``trial: max_output``."""

DEFAULT_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL; the study file's ``trial: grace``."""

DEFAULT_RANK_TIMEOUT = 600.0
"""Seconds that the ranks of a trial may wait for each other; the study file's ``trial: rank_timeout``."""

STEP_LIMIT = 2**31
"""Steps are whole numbers from 0 to below this, since Optuna's database keeps them in 32 bits."""


class Message:
    """Base of all messages: dataclasses whose ``to_dict`` and ``from_dict`` are each other's inverse through JSON."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; nested messages as dictionaries, too. Lists and dictionaries are copies."""
        return {name: _own(getattr(self, name)) for name in _names(type(self))}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from ``data``; unknown keys are ignored, since another version may have more.

        Raises ValueError where a key is missing or a value is not of its field's type.
        """
        return build(cls, data)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """As :meth:`from_dict`, from JSON text. Raises ValueError for invalid JSON, too."""
        return cls.from_dict(read_json(text))


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _own(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_dict()
    return value.copy() if isinstance(value, dict | list) else value


@dataclass(frozen=True)
class ObjectiveSpec(Message):
    """What a worker runs: a function (``module`` or ``file``, and ``function``) or a ``command``.

    Attributes:
        function: Its name in the module or file, dotted for a method. It may be a class, which each attempt constructs.
        args: Keyword arguments of that class, or further ones of the function.
        module: Importable from ``folder``.
        file: Absolute path of a Python file.
        folder: The study file's; first on ``sys.path`` while the objective is imported, and ``PILOTUNE_STUDY_DIR``.
        command: A template with fields in braces; text is split by ``shlex`` unless ``shell`` is set.
        shell: Run the command by ``/bin/sh``.
        reports: ``file``, or a regular expression over stdout with a group ``value`` and optionally ``step``.
    """

    function: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    module: str = ""
    file: str = ""
    folder: str = ""
    command: str | list[str] = ""
    shell: bool = False
    reports: str = "file"


@dataclass(frozen=True)
class Limits(Message):
    """Limits of one attempt.

    Attributes:
        timeout: Seconds of wall time, from the start of the objective's own code; None: no limit.
        memory: Bytes of data (heap and private mappings) of the trial's process (RLIMIT_DATA); None: no limit.
        max_output: Bytes of stdout, and as many of stderr.
        grace: Seconds from SIGTERM to SIGKILL.
    """

    timeout: float | None = None
    memory: int | None = None
    max_output: int = DEFAULT_MAX_OUTPUT
    grace: float = DEFAULT_GRACE


@dataclass(frozen=True)
class ChannelAddress(Message):
    """Where the driver listens.

    Attributes:
        url: One URL, or several separated by blanks, best first; a worker uses the first that answers. Empty: nobody
            listens.
        key_file: A file (0600) with the campaign's CurveZMQ keys, so that no secret travels in a task.
    """

    url: str = ""
    key_file: str = ""


@dataclass(frozen=True)
class AttemptSpec(Message):
    """Everything that a worker needs to run one attempt.

    Attributes:
        token: ``<number>.<attempt>.<campaign>``; fences the attempt, since messages with another token are ignored.
        study: The study's name.
        number: The trial's, from 0.
        attempt: From 1.
        params: Parameters and constants by name. With ``defines_space`` what earlier attempts were given.
        defines_space: The objective suggests its parameters as it runs.
        directory: The trial's folder (see :class:`.files.TrialFiles`).
        parent_checkpoint: Folder with the checkpoint of the trial that this one is a child of; empty for none.
        seed: For the objective's random generators; the same for all attempts of a repetition.
        repeat: Which repetition of the trial this is, from 0.
        since: The attempt with which this repetition began. What earlier attempts left is none of its business.
        n_values: How many values a complete trial has: one for each direction of the study.
        directions: The study's, ``minimize`` or ``maximize``.
        metrics: Names of the values; empty where they have none.
        space_names: Every parameter and constant, inactive ones too.
        has_attrs: The trial has user attributes from before this attempt, which the driver is asked for when needed.
        reported: The steps that the study has of earlier attempts, as ranges ``[[first, last], ...]``.
        isolate: Run a Python objective in a process of its own.
        preload: Import a Python objective once, in the fork server, rather than in each process.
        cores: CPU cores on each node.
        gpus: GPUs on each node; a fraction below 1 is a share of one GPU.
        nodes: Nodes.
        ranks: Processes of the trial in all: ``nodes`` times ``ranks_per_node``.
        ranks_per_node: Those on each node.
        launcher: What starts the ranks: ``srun``, ``mpiexec``, ``aprun`` or ``none``; empty for the default.
        rank_timeout: Seconds that ranks may wait for each other.
        ranked: A Python objective is called once in each rank, and finds the variables of ``torch.distributed``.
        rank: Which rank this process is, from 0; set by the worker.
        expected: Seconds that this attempt is expected to run; None where that is not known.
        yield_before: Seconds before its block's end at which it must yield; None for the default.
        avoid: Hosts whose workers must decline it.
        pools: The pools that may run it; empty for all.
        objective: What to run.
        limits: Its limits.
        channel: Where to send reports.
    """

    token: str
    study: str
    number: int
    attempt: int
    params: dict[str, Any]
    defines_space: bool
    directory: str
    seed: int
    n_values: int
    directions: list[str] = field(default_factory=list)
    repeat: int = 0
    since: int = 1
    metrics: list[str] = field(default_factory=list)
    space_names: list[str] = field(default_factory=list)
    has_attrs: bool = False
    reported: list[list[int]] = field(default_factory=list)
    isolate: bool = True
    preload: bool = True
    cores: int = 1
    gpus: float = 0
    nodes: int = 1
    ranks: int = 1
    ranks_per_node: int = 1
    launcher: str = ""
    rank_timeout: float = DEFAULT_RANK_TIMEOUT
    ranked: bool = False
    rank: int = 0
    expected: float | None = None
    yield_before: float | None = None
    avoid: list[str] = field(default_factory=list)
    pools: list[str] = field(default_factory=list)
    parent_checkpoint: str = ""
    objective: ObjectiveSpec = field(default_factory=ObjectiveSpec)
    limits: Limits = field(default_factory=Limits)
    channel: ChannelAddress = field(default_factory=ChannelAddress)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        spec = super().from_dict(data)
        if not all(len(each) == 2 and _is_step(each[0]) and _is_step(each[1]) for each in spec.reported):
            raise ValueError("a range of steps has a first and a last one")
        return spec

    @property
    def world_size(self) -> int:
        """How many processes call the objective."""
        return self.ranks if self.ranked else 1


@dataclass(frozen=True)
class Started(Message):
    """A worker has begun the attempt. ``pid`` is the worker's; ``block`` and ``worker`` are Parsl's names."""

    token: str
    host: str
    pid: int
    block: str
    worker: str


@dataclass(frozen=True)
class Report(Message):
    """The objective has reported; answered by a :class:`Verdict`, the first to stop on any of the reports in it.

    Attributes:
        token: The attempt's.
        request: Its number, repeated in the answer.
        step: Of the first report, 0 <= step < STEP_LIMIT.
        value: Of the first report.
        more: ``[[step, value], ...]`` of the reports after it that are sent in the same message.
    """

    token: str
    request: int
    step: int
    value: float
    more: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(cls, token: str, request: int, reports: Sequence[Sequence[float]]) -> Self:
        """One message of several reports ``(step, value)``, in order.

        >>> Report.of("7.1.c", 1, [(1, 0.5), (2, 0.6)]).reports
        [(1, 0.5), [2, 0.6]]
        """
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
        """Step and value of each report, in order."""
        return [(self.step, self.value), *self.more]


@dataclass(frozen=True)
class Suggest(Message):
    """The objective asks for a parameter's value; answered by :class:`Suggested`.

    ``distribution`` is what ``optuna.distributions.distribution_to_json`` writes.
    """

    token: str
    request: int
    name: str
    distribution: str


QUERIES = (
    *("study_attrs", "trials", "best_trials", "trial", "n_trials"),
    *("set_study_attr", "enqueue", "stop"),
)
"""What a :class:`Query` may ask, and what it may change; ``pipeline/campaign/study_queries.py`` says how each works."""


@dataclass(frozen=True)
class Query(Message):
    """The objective asks about its study, or changes it; answered by :class:`Suggested`.

    ``what`` is one of :data:`QUERIES`, and ``arguments`` what it needs.
    """

    token: str
    request: int
    what: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Attributes(Message):
    """Attributes that the objective has set since the last such message; not answered, since the outcome repeats them.

    ``serial`` counts an attempt's messages from 1, so that one that arrives late changes nothing.
    """

    token: str
    serial: int
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict(Message):
    """The driver's answer to a Report: go on (``stop`` is empty), or how to end.

    ``error``: one sentence why the driver could not handle the request; it is raised in the objective.
    """

    token: str
    request: int
    stop: Literal["", "prune", "yield", "kill"] = ""
    error: str = ""


@dataclass(frozen=True)
class Suggested(Message):
    """The driver's answer to a Suggest or a Query: a value, or one sentence, raised as ValueError in the objective."""

    token: str
    request: int
    value: Any = None
    error: str = ""


@dataclass(frozen=True)
class Stop(Message):
    """The driver orders an attempt to end, unasked. One whose token is no longer valid is ordered ``kill``."""

    token: str
    how: StopHow


REPORTS_LEFT_OUT = "reports were left out"
"""In the reason of an outcome that was too large with its reports."""


@dataclass(frozen=True)
class Outcome(Message):
    """How an attempt ended. The worker writes it to the trial's folder before it returns it.

    Attributes:
        token: The attempt's.
        number: The trial's.
        attempt: From 1.
        kind: How it ended.
        values: One for each direction; None unless it is complete.
        failure: Why it failed; empty unless it did.
        reason: One sentence.
        traceback: The objective's, or the end of its stderr.
        user_attrs: What the objective set or returned beside its value.
        system_attrs: System attributes that it set, such as constraints.
        reports: ``[[step, value], ...]``, in order: those of earlier attempts that the study lacked, and all of this
            attempt; those that never reached the driver included.
        params: Parameters that were suggested as it ran.
        artifacts: Bytes of each file that a complete attempt has left in its folder of artifacts, by name.
        host: Where it ran.
        pool: The site's pool.
        block: Parsl's name of the block.
        worker: Parsl's name of the worker.
        saved: False where it yielded and wrote nothing into its checkpoint folder.
        leaving: Its worker should get no more attempts, since its block ends or is being ended.
        signalled: Its worker was sent SIGTERM meanwhile: its block is being ended.
        started: Unix seconds on the worker's clock.
        finished: The same.
        suspended: Seconds between the two for which the scheduler had stopped the attempt with its job.
        memory: Peak memory of its processes on a node, in bytes; of several nodes, on the one that had most. None where
            that is not known, as for an objective in the worker's own process.
    """

    token: str
    number: int
    attempt: int
    kind: OutcomeKind
    values: list[float] | None = None
    failure: FailureKind = ""
    reason: str = ""
    traceback: str = ""
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: list[list[float]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, int] = field(default_factory=dict)
    host: str = ""
    pool: str = ""
    block: str = ""
    worker: str = ""
    saved: bool = True
    leaving: bool = False
    signalled: bool = False
    started: float = 0.0
    finished: float = 0.0
    suspended: float = 0.0
    memory: int | None = None

    @property
    def ran(self) -> float:
        """Seconds that it ran, those of its suspension left out."""
        return max(0.0, self.finished - self.started - max(0.0, self.suspended))

    @property
    def silent(self) -> bool:
        """The attempt may have made reports that the outcome does not have: they are in its report log only."""
        return not self.reports and (self.kind in ("failed", "stopped") or REPORTS_LEFT_OUT in self.reason)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        outcome = super().from_dict(data)
        if not all(map(math.isfinite, (outcome.started, outcome.finished, outcome.suspended))):
            raise ValueError("an outcome needs finite times for its start, its end and its suspension")
        if outcome.memory is not None and not 0 < outcome.memory < 2**63:
            raise ValueError("the memory of an outcome is a number of bytes")
        if not all(len(report) == 2 and _is_step(report[0]) for report in outcome.reports):
            raise ValueError("a report has a step and a value")
        return outcome


def values_fit(values: Sequence[Any] | None, directions: int) -> bool:
    """Whether these are the values of a complete trial: one finite number for each of the study's ``directions``.

    >>> values_fit([0.5], 1), values_fit([0.5], 2), values_fit([float("nan")], 1)
    (True, False, False)
    """
    numbers = values or ()
    return len(numbers) == directions and all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers)


def _is_step(step: float) -> bool:
    return 0 <= step < STEP_LIMIT and step == int(step)


WIRE: dict[str, type[Message]] = {
    cls.__name__.lower(): cls for cls in (Started, Report, Suggest, Query, Attributes, Verdict, Suggested, Stop)
}
"""The classes of the report channel by the ``type`` that stands in the JSON."""


def encode(message: Message) -> bytes:
    """A message of the report channel as bytes: a JSON object with the message's ``type``.

    >>> decode(encode(Verdict("7.1.c", 3, "prune")))
    Verdict(token='7.1.c', request=3, stop='prune', error='')
    """
    return json.dumps({"type": type(message).__name__.lower(), **message.to_dict()}).encode()


def decode(data: bytes) -> Message:
    """The message in ``data``. Raises :class:`Undecodable` (a ValueError) for anything else, whoever has sent it."""
    fields: Any = None
    try:
        fields = read_json(data)
        return WIRE[fields["type"]].from_dict(fields)
    except (ValueError, KeyError, TypeError) as error:
        message = f"not a message of the report channel: {data[:80]!r}"
        raise Undecodable(message, refused(fields, error)) from error


class Undecodable(ValueError):
    """Bytes that are no message of the report channel.

    Attributes:
        refusal: The answer to it where it is recognizably a request, so that nobody waits for one without end. None
            where it does not say whose request it is.
    """

    def __init__(self, message: str, refusal: Verdict | None):
        super().__init__(message)
        self.refusal = refusal


def refused(request: Any, error: BaseException) -> Verdict | None:
    """The answer that refuses a request, or None where ``request`` is none.

    Args:
        request: A :class:`Report` or :class:`Suggest`, or the keys and values of what should have been one.
        error: Why it cannot be handled; an exception of any class.

    >>> refused({"type": "suggest", "token": "7.1.c", "request": 3, "name": 5}, ValueError("'name' is no text")).error
    "the driver could not handle what the trial sent: 'name' is no text"
    """
    fields = request if isinstance(request, dict) else vars(request) if isinstance(request, Message) else {}
    token, number = fields.get("token"), fields.get("request")
    if not isinstance(token, str) or type(number) is not int:
        return None
    words = words_of(error)
    why = words if words and isinstance(error, ValueError) else f"{type(error).__name__}: {words}".rstrip(": ")
    return Verdict(token, number, error=f"the driver could not handle what the trial sent: {printable(why)}")
