"""The keys of a study file: the type, the default and the meaning of each.

The tables in ``docs/study-file.md`` are written from the descriptions here (``python -m pilotune.schema_docs``). Checks
that involve several keys are in :mod:`.load`; how values of each kind are read, in :mod:`.values`.
"""

from __future__ import annotations

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
)
from ..hours import Account, Unit
from ..noise import REPEATS_ONCE
from ..trial.protocol import DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, DEFAULT_RANK_TIMEOUT, Limits
from .keep import KeepOptions
from .rank_counts import RankCounts, rank_counts
from .values import (
    Callbacks,
    CommandLine,
    Constraints,
    Count,
    Direction,
    Directions,
    Gpus,
    Hours,
    Loggers,
    Memory,
    Points,
    Policy,
    PoolsChoice,
    PrunerChoice,
    RepeatsChoice,
    Reports,
    SamplerChoice,
    StudyName,
    TerminatorChoice,
    TrialLauncher,
)


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


def _command(value: Any) -> Any:
    return {"run": value} if isinstance(value, str | list) else value


def _placement(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


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
