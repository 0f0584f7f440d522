"""The keys of a study file: the type, the default and the meaning of each.

The tables in ``docs/study-file.md`` are written from the descriptions here (``python -m pilotune.schema_docs``). Checks
that involve several keys are in :mod:`.load`.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from ...fields import (
    Bool,
    DefaultText,
    Duration,
    Mapping_,
    NotNegative,
    Number,
    Positive,
    Section,
    Size,
    Text,
    Texts,
    TypeName,
    shown,
    size,
    whole,
    whole_or_share,
)
from ...names import NAME, NAME_RULE
from ...yamlfile import nearest
from ..hours import MOST_HOURS, Account, Unit
from ..loggers.settings import KINDS, MODES, LoggerSettings
from ..noise import MOST, REPEATS_ONCE, Repeats
from ..trial.protocol import DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, DEFAULT_RANK_TIMEOUT, Limits
from .keep import KeepOptions
from .rank_counts import TRIAL_LAUNCHERS, RankCounts, rank_counts

DIRECTIONS = ("minimize", "maximize")
POLICIES = ("learned", "fifo", "shadho")
"""How trials are placed on pools."""


def _name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"must be {NAME_RULE}, but is {shown(value)}")
    return value


def _direction(value: Any) -> str:
    short = {"min": "minimize", "max": "maximize", "minimise": "minimize", "maximise": "maximize"}
    word = short.get(value.lower(), value.lower()) if isinstance(value, str) else value
    if word not in DIRECTIONS:
        raise ValueError(f"must be minimize or maximize, but is {shown(value)}")
    return str(word)


def _directions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of minimize and maximize, but is {shown(value)}")
    return tuple(_direction(item) for item in value)


def _launcher(value: Any) -> str:
    word = "none" if value is None else value
    if word not in TRIAL_LAUNCHERS:
        raise ValueError(f"must be {', '.join(TRIAL_LAUNCHERS[:-1])} or {TRIAL_LAUNCHERS[-1]}, but is {shown(value)}")
    return str(word)


def _named(value: Any) -> dict[str, Any]:
    """A sampler or pruner as a mapping: its name, and its arguments if any."""
    if isinstance(value, str) and value:
        return {"name": value}
    if not isinstance(value, dict):
        raise ValueError(
            f"must be a name, or a mapping as in {{name: median, n_startup_trials: 5}}, but is {shown(value)}"
        )
    if not isinstance(value.get("name"), str):
        raise ValueError("must have a name, as in {name: median, n_startup_trials: 5}")
    return value


LEAST_MEMORY = 1_000_000
"""Bytes that the data of any process needs: a smaller limit lacks its unit."""


def memory(value: Any) -> int:
    """Bytes of memory, from a size. Raises ValueError for less than any process needs."""
    limit = size(value)
    if limit < LEAST_MEMORY:
        raise ValueError(f"must be at least 1MB, but is {shown(value)}; a number without a unit counts bytes")
    return limit


def _callbacks(value: Any) -> tuple[dict[str, Any], ...]:
    """The callbacks, each as a mapping with its name and its arguments if any."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        named = {"name": item} if isinstance(item, str) and item else item
        if not isinstance(named, dict) or not isinstance(named.get("name"), str):
            wanted = "must be a list of functions, as in [file.py:function] or [{name: file.py:Class, every: 10}]"
            raise ValueError(f"{wanted}, but is {shown(value)}")
        found.append(named)
    return tuple(found)


def _loggers(value: Any) -> tuple[LoggerSettings, ...]:
    """The loggers: names, or mappings of a name to its keys."""
    found: dict[str, LoggerSettings] = {}
    for item in value if isinstance(value, list) else [value]:
        named = {item: {}} if isinstance(item, str) else item
        if not isinstance(named, dict) or not named:
            wanted = "must be a list of names, or mappings as in [{mlflow: {uri: ...}}]"
            raise ValueError(f"{wanted}, but is {shown(value)}")
        for name, args in named.items():
            if name not in KINDS:
                raise ValueError(f"has no logger '{name}'{nearest(str(name), KINDS)}")
            if name in found:
                raise ValueError(f"names {name} twice")
            found[name] = LoggerSettings(name, _logger_args(name, args))
    return tuple(found.values())


def _logger_args(name: str, args: Any) -> dict[str, str]:
    args = {} if args is None else args
    if not isinstance(args, dict):
        raise ValueError(f"must have a mapping for {name}, as in [{{{name}: {{{next(iter(KINDS[name].keys))}: ...}}}}]")
    for key, text in args.items():
        if key not in KINDS[name].keys:
            raise ValueError(f"has no key '{key}' of {name}{nearest(str(key), KINDS[name].keys)}")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"must have text for {name}.{key}, but has {shown(text)}")
        if key == "mode" and text not in MODES:
            raise ValueError(f"must have {' or '.join(MODES)} for {name}.mode, but has {shown(text)}")
    return dict(args)


def _terminator(value: Any) -> dict[str, Any] | None:
    """The arguments of the terminator; None for none."""
    if isinstance(value, dict):
        return value
    if isinstance(value, bool):
        return {} if value else None
    raise ValueError(f"must be true, or a mapping as in {{min_n_trials: 30}}, but is {shown(value)}")


def _hours(value: Any) -> float | dict[str, float]:
    """Hours in all, or by pool."""
    if not isinstance(value, dict):
        return _some_hours(value, "must be", ", or a mapping of pools as in {cpu: 400, gpu: 100}")
    if not value:
        raise ValueError("must name a pool, as in {cpu: 400, gpu: 100}")
    for pool, hours in value.items():
        _some_hours(hours, f"must have for {pool}")
    return {str(pool): float(hours) for pool, hours in value.items()}


def _some_hours(value: Any, must: str, otherwise: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{must} a number of hours above 0{otherwise}, but is {shown(value)}")
    if value > MOST_HOURS:
        raise ValueError(f"{must} at most {MOST_HOURS:,.0f}, but is {shown(value)}")
    return float(value)


def _repeats(value: Any) -> Repeats:
    """How often each trial is run, from ``3``, or from ``{least: 1, most: 5}``."""
    if isinstance(value, Repeats):
        return value
    if isinstance(value, dict):
        if unknown := [key for key in value if key not in ("least", "most")]:
            raise ValueError(f"has only the keys least and most, as in {{least: 1, most: 5}}, not {unknown[0]!r}")
        if "most" not in value:
            raise ValueError("must say most, as in {least: 1, most: 5}")
        found = Repeats(_times(value.get("least", 1), "least "), _times(value["most"], "most "))
        if found.least > found.most:
            raise ValueError(f"must not have a least above most, but is {shown(value)}")
        return found
    times = _times(value)
    return Repeats(times, times)


def _times(value: Any, what: str = "") -> int:
    wanted = f"{what}must be a whole number from 1 to {MOST}"
    more = "" if what else ", or a mapping as in {least: 1, most: 5}"
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1, MOST + 1):
        raise ValueError(f"{wanted}{more}, but is {shown(value)}")
    return int(value)


def _sampler(value: Any) -> dict[str, Any]:
    return _named({"name": "auto", **value} if isinstance(value, dict) else value)


def _command(value: Any) -> Any:
    return {"run": value} if isinstance(value, str | list) else value


def _run(value: Any) -> str | list[str]:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(v, str | int | float) for v in value):
        return [v if isinstance(v, str) else shown(v) for v in value]
    raise ValueError(f"must be a command line, or a list of its words, but is {shown(value)}")


def _reports(value: Any) -> str:
    """``file``, or the regular expression in ``{stdout: ...}``."""
    if value == "file":
        return "file"
    if not isinstance(value, dict) or list(value) != ["stdout"] or not isinstance(value["stdout"], str):
        raise ValueError("must be file, or {stdout: REGULAR EXPRESSION} with a group (?P<value>...), "
                         f"but is {shown(value)}")  # fmt: skip
    try:
        groups = re.compile(value["stdout"]).groupindex
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if "value" not in groups or set(groups) - {"value", "step"}:
        raise ValueError("needs a group (?P<value>...), may have a group (?P<step>...), and no other named group")
    return str(value["stdout"])


def _points(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"must be a list of points, as in [{{lr: 0.01}}], but is {shown(value)}")
    return tuple(value)


def _constraints(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(
            f'must be a list of conditions in quotes, as in ["layers * units <= 512"], but is {shown(value)}'
        )
    return tuple(value)


def _pools(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) and item for item in value):
        return tuple(value)
    raise ValueError(f"must be a pool's name, a list of names, or an expression, but is {shown(value)}")


def _policy(value: Any) -> str:
    if value not in POLICIES:
        raise ValueError(f"must be {', '.join(POLICIES[:-1])} or {POLICIES[-1]}, but is {shown(value)}")
    return str(value)


def _placement(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


StudyName = Annotated[str, BeforeValidator(_name), TypeName("1 to 128 letters, digits, `. _ + -`")]
Direction = Annotated[str, BeforeValidator(_direction), TypeName("`minimize` or `maximize`; for short `min` or `max`")]
Directions = Annotated[tuple[str, ...], BeforeValidator(_directions), TypeName("list of `minimize` and `maximize`")]
SamplerChoice = Annotated[dict[str, Any], BeforeValidator(_sampler), TypeName("name, or mapping")]
PrunerChoice = Annotated[dict[str, Any], BeforeValidator(_named), TypeName("name, or mapping")]
Callbacks = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_callbacks), TypeName("list of functions")]
Loggers = Annotated[tuple[LoggerSettings, ...], BeforeValidator(_loggers), TypeName("list of names, or mappings")]
TerminatorChoice = Annotated[dict[str, Any] | None, BeforeValidator(_terminator), TypeName("`true`, or mapping")]
RepeatsChoice = Annotated[
    Repeats,
    BeforeValidator(_repeats),
    TypeName("whole number, or `{least: N, most: M}`"),
    DefaultText("`1`"),
]
Hours = Annotated[
    float | dict[str, float], BeforeValidator(_hours), TypeName("number of hours, or mapping of pools to hours")
]
CommandLine = Annotated[str | list[str], BeforeValidator(_run), TypeName("text, or list of words")]
TrialLauncher = Annotated[str, BeforeValidator(_launcher), TypeName("`none`, `srun`, `mpiexec` or `aprun`")]
Reports = Annotated[str, BeforeValidator(_reports), TypeName("`file`, or `{stdout: EXPRESSION}`")]
Memory = Annotated[int, BeforeValidator(memory), TypeName("size, or expression")]
Gpus = Annotated[
    int | float, BeforeValidator(whole_or_share), TypeName("whole number, fraction below 1, or expression")
]
Count = Annotated[int, BeforeValidator(whole(1)), TypeName("whole number, 1 or more, or expression")]
PoolsChoice = Annotated[str | tuple[str, ...], BeforeValidator(_pools), TypeName("name, list of names, or expression")]
Policy = Annotated[str, BeforeValidator(_policy), TypeName("`learned`, `fifo` or `shadho`")]
Points = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_points), TypeName("list of points")]
Constraints = Annotated[tuple[str, ...], BeforeValidator(_constraints), TypeName("list of expressions")]


class Command(Section):
    """``command:``, a program in any language as the objective.

    Example::

        command: {run: "./train --lr {lr}", reports: {stdout: "acc=(?P<value>\\S+)"}}
    """

    run: CommandLine = Field(
        description="The command line, a template with fields such as `{lr}`. Text is split into words as a shell "
        "would, but no shell runs it."
    )
    reports: Reports = Field(
        default="file",
        description="Where reports and the final value come from: the file named by `$PILOTUNE_REPORTS`, or lines of "
        "stdout that match a regular expression with the group `(?P<value>...)` and perhaps `(?P<step>...)`.",
    )
    shell: Bool = Field(
        default=False,
        description="Run `run` with `/bin/sh`. Each value is quoted as one word, so put no quotes around a field. In "
        "quotes, comments, `` `...` `` and `$((...))`, a value that the shell would evaluate is refused.",
    )


class Budget(Section):
    """``budget:``, when a campaign ends: at the first of these conditions that is met.

    Example::

        budget: {trials: 200, time: 4h, target: 0.99}
    """

    trials: Positive | None = Field(
        default=None,
        description="Total number of trials of the study, over all campaigns and drivers: complete, pruned and failed "
        "ones.",
    )
    time: Duration | None = Field(
        default=None,
        description="Time of one campaign. Trials that are running at its end are asked to save a checkpoint and end; "
        "those that do not end [in time](running.md#stopping-and-going-on) are stopped. Both can be resumed.",
    )
    failures: Positive = Field(
        default=20,
        description="This many failed trials in a row end the campaign, with exit code 1. If the first three could not "
        "be started, because the Python objective cannot be imported, it ends then.",
    )
    target: Number | None = Field(
        default=None,
        description="A value that is good enough: the first trial that reaches it ends the campaign. For studies with "
        "one direction.",
    )
    patience: Positive | None = Field(
        default=None,
        description="The campaign ends when this many trials of the study in a row have ended, complete, pruned or "
        "failed, without a better value than before. For studies with one direction.",
    )
    node_hours: Hours | None = Field(
        default=None,
        description="Most node-hours of the study's blocks, over all campaigns and drivers, in all or by pool: "
        "`{cpu: 400, gpu: 100}`. No block is submitted that could exceed them; see "
        "[Node-hours](running.md#node-hours).",
    )
    gpu_hours: Hours | None = Field(
        default=None,
        description="The same in GPU-hours: a block's node-hours times `gpus_per_node`.",
    )
    terminator: TerminatorChoice | None = Field(
        default=None,
        description="The campaign ends when Optuna's terminator finds that nothing is left to gain, see below. For "
        "studies with one direction.",
    )

    @property
    def ends(self) -> bool:
        """Whether a condition other than hours ends a campaign; running out of failures does not count."""
        return any(getattr(self, key) is not None for key in ("trials", "time", "target", "patience", "terminator"))

    @property
    def accounts(self) -> tuple[Account, ...]:
        """The budgets in hours, one for each pool that is named."""
        units: tuple[tuple[Unit, Any], ...] = (("node_hours", self.node_hours), ("gpu_hours", self.gpu_hours))
        found = []
        for unit, hours in units:
            by_pool = hours if isinstance(hours, dict) else {} if hours is None else {"": hours}
            found += [Account(unit, amount, pool) for pool, amount in by_pool.items()]
        return tuple(found)


class TrialOptions(Section):
    """``trial:``, what one trial gets, and how its failures are handled. Times in seconds, sizes in bytes.

    Example::

        trial: {timeout: 30m, gpus: 1, cores: 4, memory: 16GB, retries: 1}
    """

    timeout: Duration | None = Field(
        default=None,
        description="Longest run time of one attempt. An attempt that takes longer is ended, and its trial fails.",
    )
    expected: Annotated[Duration | None, DefaultText("learned from finished trials")] = Field(
        default=None,
        description="How long a whole trial runs. A trial is not started in a block that ends too soon for what is "
        "left of it.",
    )
    yield_before: Annotated[Duration | None, DefaultText("`1m`, or a tenth of the walltime if less")] = Field(
        default=None,
        description="How long before the end of its block an attempt is asked to save a checkpoint and yield; the "
        "trial then continues in another block. An attempt has as long when the campaign is stopped or its time is "
        "used up ([the default](running.md#stopping-and-going-on) is shorter if `budget.time` is).",
    )
    retries: NotNegative = Field(
        default=0,
        description="New attempts after a crash of the trial's process: a signal, an exit status, out of memory.",
    )
    retry_errors: Bool = Field(
        default=False,
        description="Use `retries` after an exception, a timeout or a failure to start as well.",
    )
    repeats: RepeatsChoice = Field(
        default=REPEATS_ONCE,
        description="For a noisy objective: how often each trial is run, with another seed each time. Its value is the "
        "mean. With `{least: 1, most: 5}` only a trial that may be the best is run up to 5 times. See "
        "[Noisy objectives](objectives.md#noisy-objectives).",
    )
    gpus: Gpus = Field(
        default=0,
        description="GPUs on each of the trial's nodes. A fraction is a share of one GPU: with `0.5` two trials run on "
        "each. This key and `cores`, `memory` and `ranks` may be [expressions of "
        "parameters](study-file.md#sizes-by-parameters).",
    )
    cores: Annotated[Count, DefaultText("`1`; on one node one for each rank")] = Field(
        default=1,
        description="CPU cores on each of the trial's nodes, which its ranks there share. `OMP_NUM_THREADS` and "
        "similar variables are set to this number, divided by the ranks on the node, unless they are set already.",
    )
    nodes: Positive = Field(
        default=1, description="Nodes. If there are several, a command starts its ranks with `{launcher}`."
    )
    ranks: Annotated[Count | None, DefaultText("`nodes` times `ranks_per_node`")] = Field(
        default=None,
        description="Processes of the trial in all, for data-parallel training: a Python objective is called once in "
        "each. See [several ranks](how-to/several-ranks.md).",
    )
    ranks_per_node: Annotated[Positive | None, DefaultText("`1`")] = Field(
        default=None, description="Ranks on each of the trial's nodes; another way to say `ranks`."
    )
    launcher: Annotated[TrialLauncher | None, DefaultText("`none` on one node, else the site's")] = Field(
        default=None,
        description="What starts the ranks, of a Python objective as well as a command's by `{launcher}`. With `none`, "
        "a Python objective's ranks on one node are started by the worker itself; programs with MPI need a launcher.",
    )
    rank_timeout: Duration = Field(
        default=DEFAULT_RANK_TIMEOUT,
        description="How long the ranks of a Python objective may wait for each other, in a report or a `suggest_*` or "
        "at the end, before the trial fails.",
    )
    isolate: Bool = Field(
        default=True,
        description="Run each attempt in a process of its own. `false` is faster, but has no timeout or limits, and a "
        "crash kills the worker.",
    )
    preload: Bool = Field(
        default=True,
        description="Import the objective's modules once in each worker, before its attempts are forked. Turn it off "
        "for a module that starts threads or uses a GPU when it is imported.",
    )
    memory: Memory | None = Field(default=None, description="Limit of the data of a trial's process (`RLIMIT_DATA`).")
    max_output: Size = Field(
        default=DEFAULT_MAX_OUTPUT,
        description="Limit of stdout and of stderr of one attempt. An attempt that prints more is ended.",
    )
    grace: Duration = Field(default=DEFAULT_GRACE, description="Time from SIGTERM to SIGKILL when an attempt is ended.")
    pools: Annotated[PoolsChoice | None, DefaultText("all that can run it")] = Field(
        default=None,
        description="The pools of the site that may run a trial: a name, a list of names, or an expression of "
        "parameters such as `gpu if layers > 3 else cpu`. See [Placement](placement.md).",
    )
    keep: KeepOptions = Field(
        default=KeepOptions(), description="Which files of trials are kept, see [below](study-file.md#trialkeep)."
    )

    @property
    def rank_counts(self) -> RankCounts:
        """How many ranks a trial has. Raises SizeProblem where the keys do not agree, which loading has checked."""
        return rank_counts(self.nodes, self.ranks, self.ranks_per_node)

    @property
    def ranked(self) -> bool:
        """Whether the number of ranks is given, so that a Python objective is called once in each."""
        return self.ranks is not None or self.ranks_per_node is not None

    @property
    def limits(self) -> Limits:
        """The limits that a worker enforces on each attempt."""
        return Limits(timeout=self.timeout, memory=self.memory, max_output=self.max_output, grace=self.grace)


class PlacementOptions(Section):
    """``placement:``, which of several pools runs a trial.

    Example::

        placement: {policy: fifo}
    """

    policy: Policy = Field(
        default="learned",
        description="`learned`: the pool on which the trial gains most, by what trials have cost there. `fifo`: the "
        "next free worker, whatever its pool. `shadho`: large configurations to large pools, by SHADHO's rule. See "
        "[Placement](placement.md).",
    )


class StartFrom(Section):
    """``start_from:``, what is known before the study begins.

    Example::

        start_from: {enqueue: [{lr: 0.01}], studies: [digits-old]}
    """

    enqueue: Points = Field(
        default=(),
        description="Points to try first. A point may leave parameters out, as in `{lr: 0.01}`; the sampler chooses "
        "them (`gp` for the given ones; `grid` needs whole points). A point that the study has already, with exactly "
        "the same values, is skipped, and that is said.",
    )
    studies: Texts = Field(
        default=(), description="Names of studies in the same database that the sampler learns from, see below."
    )
    narrow: Bool = Field(
        default=False,
        description="Search only the box around the best trials of `studies`, see below. It needs a `space`.",
    )


class StudySchema(Section):
    """All keys of a study file, each by itself. :func:`.load.load_study_file` checks them together."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty_keys(cls, data: Any) -> Any:
        """Leave out keys without a value, such as a section of which all lines are comments."""
        if not isinstance(data, dict):
            return data
        may_be_absent = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {key: value for key, value in data.items() if value is not None or key not in may_be_absent}

    name: StudyName = Field(
        description="The study's name in the database. Hyperband assigns trials to brackets by it, so do not change it."
    )
    objective: Annotated[
        Text | None,
        TypeName("`file.py:function` or `package.module:function`"),
        DefaultText("this or `command` is required"),
    ] = Field(
        default=None,
        description="The function to run, or the name of a ready-made objective such as `branin`. It may also be a "
        "class with `__call__`, or `Class.method`. A file's path is relative to the study file's folder, which is also "
        "on `sys.path`.",
    )
    objective_args: Annotated[Mapping_, DefaultText("none")] = Field(
        default_factory=dict,
        description="Arguments with which each attempt makes an instance of an objective that is a class; or further "
        "arguments of a function. They are the same for all trials.",
    )
    command: Annotated[
        Command | None,
        BeforeValidator(_command),
        TypeName("text, list of words, or mapping"),
        DefaultText("this or `objective` is required"),
    ] = Field(default=None, description="A program to run as the objective, see below.")
    direction: Annotated[Direction | None, DefaultText("this or `directions` is required")] = Field(
        default=None, description="Which values are better."
    )
    directions: Directions | None = Field(
        default=None,
        description="For trials with several values, the direction of each. Such a study cannot prune.",
    )
    metrics: Texts = Field(default=(), description="Names of the values, in the order of the directions.")
    space: Annotated[Mapping_ | None, DefaultText("defined by the objective as it runs")] = Field(
        default=None, description="The parameters and constants, see below."
    )
    constraints: Constraints = Field(
        default=(), description="Conditions that every configuration must meet, see below."
    )
    sampler: Annotated[SamplerChoice, DefaultText("`auto`")] = Field(
        default_factory=lambda: {"name": "auto"}, description="What chooses the next configuration, see below."
    )
    pruner: PrunerChoice | None = Field(
        default=None, description="What ends bad trials early, see below. Needs an objective that reports."
    )
    budget: Annotated[Budget | None, DefaultText("see below")] = Field(
        default=None, description="When a campaign ends, see below."
    )
    trial: TrialOptions = Field(
        default=TrialOptions(), description="What one trial gets, and how its failures are handled, see below."
    )
    placement: Annotated[PlacementOptions, BeforeValidator(_placement)] = Field(
        default=PlacementOptions(), description="Which of several pools runs a trial, see below."
    )
    callbacks: Callbacks = Field(
        default=(),
        description="Functions of your own that the driver calls with the study and the trial after each finished "
        "trial, see below.",
    )
    loggers: Loggers = Field(
        default=(),
        description="Other tools that the driver writes each trial to: `tensorboard`, `mlflow`, `wandb`, see below.",
    )
    start_from: StartFrom = Field(default=StartFrom(), description="What is known before the study begins, see below.")
    storage: Annotated[
        Text | None, TypeName("URL"), DefaultText("`study.db` in the study's folder of the run directories")
    ] = Field(
        default=None,
        description="The database: `sqlite:///FILE` (relative to the study file's folder) or "
        "`postgresql://HOST/DATABASE`, without a password.",
    )
