"""Lays out what a study would do, for ``pilotune check``. Nothing is run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...fields import format_duration
from ...grammar import count as counted
from ..distributions import cardinality, describe, word
from ..fidelity import (
    Bracket,
    PopulationPlan,
    RungSchedule,
    hyperband_brackets,
    make_pruner,
    population_plan,
    render_brackets,
    render_rung_schedule,
    rung_schedule,
)
from ..hours import amount
from ..space import Parameter, point_key
from ..suggest import make_sampler
from ..trial.block_env import yield_wait
from ..trial.protocol import ObjectiveSpec
from .graphs.words import in_words
from .ranks import rank_notes, ranks_in_words
from .sizes import sizes_in_words
from .study_file import StudyFile
from .terminator import needs_scores, terminator_in_words
from .user_parts import check_user_parts


@dataclass(frozen=True)
class PlanRow:
    """One parameter, constant or graph.

    Attributes:
        name: Its name.
        what: Its distribution or value, in words.
        values: How many values it may have; ``math.inf`` if it is continuous.
        when: When it is active, in words; empty if always.
    """

    name: str
    what: str
    values: float
    when: str = ""


@dataclass(frozen=True)
class Plan:
    """A study, laid out.

    Attributes:
        name: The study's name.
        runs: The objective: file and function, or the command.
        directions: ``minimize`` or ``maximize``, one for each value.
        metrics: The values' names, or empty.
        rows: The parameters, then the constants.
        constraints: The constraints' expressions.
        size: Number of configurations; ``math.inf`` if a parameter is continuous, None if the objective defines the
            space as it runs.
        sampler: The sampler with its arguments, and why it was chosen.
        pruner: The pruner with its arguments, or ``none``.
        brackets: Brackets of a pruner that has rungs.
        budget: The stopping conditions, in words.
        trials: Most trials of the study: ``budget.trials``, or the points of an exhaustive sampler and those enqueued.
        trial: What one trial gets, in words.
        enqueued: Number of points that are tried first.
        notes: Advice.
        promotes: Whether trials pause at the brackets' rungs instead of being pruned.
        population: How a population is trained, in words; empty where none is.
        callbacks: What the driver calls after each finished trial.
        loggers: What the driver writes each trial to.
    """

    name: str
    runs: str
    directions: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[PlanRow, ...]
    constraints: tuple[str, ...]
    size: float | None
    sampler: str
    pruner: str
    brackets: tuple[Bracket, ...]
    budget: tuple[str, ...]
    trials: int | None
    trial: tuple[str, ...]
    enqueued: int
    notes: tuple[str, ...] = field(default=())
    promotes: bool = False
    population: str = ""
    callbacks: tuple[str, ...] = ()
    loggers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The plan for ``--json``; infinite counts become null."""
        rows = [{**vars(row), "values": _finite(row.values)} for row in self.rows]
        brackets = [{**vars(bracket), "rungs": list(bracket.rungs)} for bracket in self.brackets]
        return {**vars(self), "rows": rows, "brackets": brackets, "size": _finite(self.size)}


def plan(study_file: StudyFile) -> Plan:
    """The plan of a study. Raises UserError if the sampler, the pruner or a callback cannot be created."""
    check_user_parts(study_file)
    make_sampler(study_file)
    why = f", chosen for {study_file.sampler_why}" if study_file.sampler_why else ""
    make_pruner(study_file)
    space, pruner = study_file.space, study_file.pruner
    brackets = tuple(hyperband_brackets(pruner.args)) if pruner and pruner.name == "hyperband" else ()
    promoting = rung_schedule(pruner)
    if promoting:
        brackets = promoting.brackets
    rows: tuple[PlanRow, ...] = ()
    if space:
        rows = tuple(PlanRow(name, in_words(graph), graph.size) for name, graph in space.graphs.items())
        variables = {each.name for name, graph in space.graphs.items() for each in graph.variables(name)}
        rows += tuple(_row(p) for p in space.parameters if p.name not in variables)
        rows += tuple(PlanRow(name, f"constant {word(value)}", 1) for name, value in space.constants.items())
    return Plan(
        name=study_file.name,
        runs=_runs(study_file.objective),
        directions=study_file.directions,
        metrics=study_file.metrics,
        rows=rows,
        constraints=tuple(c.text for c in space.constraints) if space else (),
        size=space.size() if space else None,
        sampler=_named(study_file.sampler.name, study_file.sampler.args) + why,
        pruner=_named(pruner.name, pruner.args) if pruner else "none",
        brackets=brackets,
        promotes=promoting is not None,
        population=_population(study_file),
        callbacks=tuple(_named(each.name, each.args) for each in study_file.callbacks),
        loggers=tuple(_named(each.name, each.args) for each in study_file.loggers),
        budget=_budget(study_file),
        trials=_most_trials(study_file),
        trial=_trial(study_file),
        enqueued=len(study_file.start_from.enqueue),
        notes=_notes(study_file, brackets, promoting),
    )


def render_plan(plan: Plan) -> str:
    """The plan as plain text, without a line break at the end."""
    goals = [f"{d} {plan.metrics[i]}" if plan.metrics else d for i, d in enumerate(plan.directions)]
    lines = [
        f"study      {plan.name}",
        f"runs       {plan.runs}",
        f"direction  {', '.join(goals)}",
        f"sampler    {plan.sampler}",
        f"pruner     {plan.pruner}",
        f"budget     {', '.join(plan.budget)}",
        f"trial      {', '.join(plan.trial)}",
    ]
    lines += [f"{'callbacks' if index == 0 else '':11}{name}" for index, name in enumerate(plan.callbacks)]
    lines += [f"{'loggers' if index == 0 else '':11}{name}" for index, name in enumerate(plan.loggers)]
    if plan.population:
        lines.append(f"population {plan.population}")
    if plan.enqueued:
        lines.append(f"first      {plan.enqueued} point{'s' if plan.enqueued > 1 else ''} from the study file")
    if plan.size is None:
        lines.append("space      defined by the objective as it runs")
    else:
        lines.append(f"space      {format_size(plan.size)}")
        width = max(len(row.name) for row in plan.rows)
        lines += [f"  {row.name.ljust(width)}  {row.what}{row.when}" for row in plan.rows]
        lines += [f"  where {text}" for text in plan.constraints]
    if plan.brackets:
        render = render_rung_schedule if plan.promotes else render_brackets
        lines += ["", *render(plan.brackets, plan.trials).splitlines()]
    lines += [f"note: {note}" for note in plan.notes]
    return "\n".join(lines)


def format_size(size: float) -> str:
    """The number of configurations in words.

    >>> format_size(1024), format_size(1)
    ('1,024 configurations', '1 configuration')
    """
    if size == math.inf:
        return "infinitely many configurations (a parameter is continuous)"
    count = f"{size:,.0f}" if size < 1e9 else f"{size:.2g}"
    return f"{count} configuration{'s' if size != 1 else ''}"


def _row(parameter: Parameter) -> PlanRow:
    """A parameter's row."""
    when = " and ".join(f"{parent} is {' or '.join(map(word, v))}" for parent, v in parameter.when.items())
    distribution = parameter.distribution
    return PlanRow(parameter.name, describe(distribution), cardinality(distribution), f", when {when}" if when else "")


def _runs(objective: ObjectiveSpec) -> str:
    if objective.command:
        command = objective.command
        return command if isinstance(command, str) else " ".join(command)
    return _named(f"{objective.file or objective.module}:{objective.function}", objective.args)


def _named(name: str, args: Mapping[str, Any]) -> str:
    return f"{name} ({', '.join(f'{key}={word(value)}' for key, value in args.items())})" if args else name


def _most_trials(study_file: StudyFile) -> int | None:
    trials, points = study_file.budget.trials, study_file.points
    if points is None:
        return trials
    points += len(study_file.start_from.enqueue)  # these may be other points than the sampler's
    return points if trials is None else min(trials, points)


def _points(study_file: StudyFile, points: int) -> str:
    """Which of the points of an exhaustive sampler are tried, in words."""
    trials, noun = study_file.budget.trials, "grid point" if study_file.sampler.name == "grid" else "configuration"
    if trials is not None and trials < points:
        return f"{trials:,} of the {points:,} {noun}s"
    return f"all {points:,} {noun}s" if points > 1 else f"1 {noun}"


def _population(study_file: StudyFile) -> str:
    members = population_plan(study_file.sampler)
    if members is None:
        return ""
    parameters = study_file.space.parameters if study_file.space else ()
    changed = study_file.sampler.args.get("perturb") or [each.name for each in parameters]
    few, steps = members.few(members.size), counted(members.interval, "step")
    best, worst = ("the best", "the worst") if few == 1 else (f"one of the best {few}", f"among the worst {few}")
    size = max(members.size, len(study_file.start_from.enqueue))
    return (
        f"{size} members; each pauses after every {steps}, and goes on as a changed copy of {best} where it is "
        f"{worst}; a copy changes {', '.join(changed)}"
    )


def _budget(study_file: StudyFile) -> tuple[str, ...]:
    budget, parts = study_file.budget, []
    if study_file.points is not None:
        parts.append(_points(study_file, study_file.points))
    elif budget.trials is not None:
        parts.append(f"{budget.trials:,} trial{'s' if budget.trials > 1 else ''}")
    if population_plan(study_file.sampler) is not None:
        parts.append("until every member was trained to its end")
    if budget.time is not None:
        parts.append(f"{format_duration(budget.time)} a campaign")
    for account in budget.accounts:
        parts.append(f"{amount(account.hours, account.unit)}{f' in pool {account.pool}' if account.pool else ''}")
    if budget.patience is not None:
        trials = f"{budget.patience:,} trial{'s' if budget.patience > 1 else ''}"
        parts.append(f"until {trials} in a row bring nothing better")
    if budget.terminator is not None:
        parts.append(f"until {terminator_in_words(budget.terminator)} says that nothing is left to gain")
    if budget.target is not None:
        sign = ">=" if study_file.directions[0] == "maximize" else "<="
        parts.append(f"until a value {sign} {budget.target:g}")
    parts.append(f"stops after {budget.failures} failure{'s' if budget.failures > 1 else ''} in a row")
    return tuple(parts)


def _trial(study_file: StudyFile) -> tuple[str, ...]:
    options, parts = study_file.trial, []
    sized = sizes_in_words(study_file.sizes) if study_file.sizes else {}
    for key, what in (("cores", "core"), ("gpus", "GPU"), ("nodes", "node")):
        count = getattr(options, key)
        if key in sized:
            parts.append(f"{sized[key]} {what}{'' if sized[key] == '1' else 's'}")
        elif count and (what != "node" or count > 1):
            parts.append(f"{count} {what}{'s' if count > 1 else ''}")
    if "ranks" in sized:
        parts.append(f"{sized['ranks']} rank{'' if sized['ranks'] == '1' else 's'}")
    else:
        parts += ranks_in_words(options)
    if options.repeats.most > 1:
        parts.append(_runs_each(study_file))
    if options.expected is not None:
        parts.append(f"expected to run {format_duration(options.expected)}")
    if options.timeout is not None:
        parts.append(f"at most {format_duration(options.timeout)}")
    if options.yield_before is not None:
        parts.append(f"yields {format_duration(options.yield_before)} before its block ends")
    wait = format_duration(yield_wait(study_file.budget.time, options.yield_before))
    parts.append(f"has {wait} to save and end when the campaign stops")
    if "memory" in sized:
        parts.append(f"at most {sized['memory']}")
    elif options.memory is not None:
        parts.append(f"at most {options.memory / 1e9:.3g} GB")
    if options.retries:
        parts.append(f"{options.retries} retr{'ies' if options.retries > 1 else 'y'} after a crash")
    if options.keep.artifacts is not None:
        best = counted(options.keep.artifacts, "best trial") if options.keep.artifacts > 1 else "the best trial"
        parts.append(f"artifacts of {'the ' if options.keep.artifacts > 1 else ''}{best} are kept")
    parts.append("in a process of its own" if options.isolate else "in the worker's process")
    return tuple(parts)


def _runs_each(study_file: StudyFile) -> str:
    """How often each trial is run, and how many runs that makes, in words."""
    repeats, trials = study_file.trial.repeats, _most_trials(study_file)
    each = f"{repeats.least} to {counted(repeats.most, 'run')}" if repeats.races else counted(repeats.most, "run")
    if trials is None:
        return f"{each} a trial"
    return f"{each} a trial ({'at most ' if repeats.races else ''}{counted(trials * repeats.most, 'run')} in all)"


def _notes(study_file: StudyFile, brackets: tuple[Bracket, ...], promoting: RungSchedule | None) -> tuple[str, ...]:
    notes = rank_notes(study_file.trial, study_file.objective) + _repeated_points(study_file)
    if study_file.budget.terminator is not None and needs_scores(study_file.budget.terminator):
        notes.append(
            "the terminator looks at cross-validation scores: the objective has to call "
            "optuna.terminator.report_cross_validation_scores(trial, scores)"
        )
    if promoting:
        return (*notes, _pause_note(study_file.objective, promoting))
    members = population_plan(study_file.sampler)
    if members is not None:
        return (*notes, *_population_notes(study_file, members))
    pruner, trials = study_file.pruner, _most_trials(study_file)
    if pruner and pruner.name == "hyperband" and not brackets:
        notes.append("with max_resource: auto, nothing is pruned until the first trial completes")
    if brackets and trials:
        needed = brackets[-1].trials_until(10)
        if trials < needed:
            notes.append(
                f"trials are compared with those of their own bracket; the last bracket has 10 after about {needed} "
                f"trials, but the budget is {trials}: a larger min_resource or reduction_factor makes fewer brackets"
            )
    return tuple(notes)


def _repeated_points(study_file: StudyFile) -> list[str]:
    """A note on each enqueued point that stands twice."""
    first: dict[Any, int] = {}
    notes = []
    for index, point in enumerate(study_file.start_from.enqueue):
        before = first.setdefault(point_key(point, study_file.space), index)
        if before != index:
            notes.append(
                f"start_from.enqueue[{index}] is the same point as start_from.enqueue[{before}], so it is tried once"
            )
    return notes


def _population_notes(study_file: StudyFile, members: PopulationPlan) -> list[str]:
    notes = [
        f"members pause at these steps. {_how_to_save(study_file.objective)} A copy starts from its parent's "
        "checkpoint and has other parameters: set what trial.params says after loading it, since an optimizer or a "
        "scheduler inside the checkpoint brings the parent's values along"
    ]
    if members.last is None:
        notes.append(
            "without sampler.max_resource, the steps of a whole training, members pause at its end, too, where the "
            "worst become copies that have nothing left to train"
        )
    trials = study_file.budget.trials
    if trials is not None and trials <= members.size:
        notes.append(
            f"the budget of {counted(trials, 'trial')} leaves none for copies, each of which is a trial: leave out "
            f"budget.trials, or make it more than the population of {members.size}"
        )
    return notes


def _how_to_save(objective: ObjectiveSpec) -> str:
    if objective.command:
        return "A command gets SIGTERM there, and must save into {checkpoint_dir} and exit."
    return "report() ends the attempt there; the objective must have saved into trial.checkpoint_dir before."


def _pause_note(objective: ObjectiveSpec, promoting: RungSchedule) -> str:
    """How the objective must save, so that a paused trial can continue."""
    return (
        f"trials pause at these steps, and the best 1 in {promoting.factor} of each continue, on any worker and in any "
        f"later block. {_how_to_save(objective)} "
        "Without a checkpoint, a trial starts from the beginning each time that it continues."
    )


def _finite(value: float | None) -> float | int | None:
    if value is None or value == math.inf:
        return None
    return int(value)
