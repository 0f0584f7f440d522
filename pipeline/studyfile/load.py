"""Loads a study file: reads it, checks each key, and checks the keys together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import UserError
from ...fields import shown, validate
from ...grammar import count as counted
from ...overrides import dotted, with_overrides
from ...yamlfile import YamlFile, nearest, read_yaml
from ..fidelity import POPULATION_BASED, check_pruner, resolved_pruner
from ..registry_args import Named
from ..space import Space
from ..suggest import check_sampler, resolved_sampler
from ..suggest.auto import AUTO, Situation, choose_sampler
from ..suggest.registry import EXHAUSTIVE
from ..trial.distributions import stored_choice
from ..trial.protocol import ObjectiveSpec
from ..worker.command.shell_quoting import harmless
from ..worker.command.template import as_text, check_command, exposed_fields, exposed_problem
from .checkpoint_use import saves_nothing
from .misnamed import what_instead
from .objective import find_objective
from .pool_rule import pool_rule
from .ranks import with_ranks
from .schema import Budget, Command, StartFrom, StudySchema, TrialOptions
from .sizes import TrialSizes, take_out, trial_sizes
from .spaces import build_space, check_point
from .study_file import StudyFile
from .terminator import resolved_terminator
from .user_parts import resolved_callbacks

BY_STEPS = ("hyperband", "successive_halving")
"""Pruners that allot steps to trials."""
SHORTHANDS = {"sampler": "name", "pruner": "name", "command": "run", "placement": "policy"}
"""Keys that may be a plain value instead of a mapping -> the key in the mapping that this value means."""


def load_study_file(path: Path | str, overrides: Sequence[str] = ()) -> StudyFile:
    """Read and check a study file. The objective is looked up, but not imported.

    Args:
        path: The YAML file.
        overrides: Changes of keys as given to ``--set``, ``key=value`` each (``budget.trials=10``); the value is YAML.

    Raises:
        UserError: With file, line and key. Names every key with a wrong value, one sentence each; if all values are
            right, the first contradiction between keys.

    Example::

        study_file = load_study_file("study.yaml", ["budget.trials=10"])
        study_file.space.names, study_file.budget.trials
    """
    source = read_yaml(path, what="study file")
    _check_names_of(overrides, source)
    source = with_overrides(source, overrides, SHORTHANDS)
    absolute = Path(os.path.abspath(path))
    plain, sizes = take_out(source)
    schema = validate(StudySchema, plain, what_instead)
    objective = _objective(schema, absolute.parent, source)
    directions = _directions(schema, source)
    space = _space(schema, source)
    _check_shell(objective, space, source)
    sampler, why, points = _sampler(schema, absolute.parent, space, directions, source)
    pruner = _pruner(schema, absolute.parent, directions, source)
    _check_steps(sampler, pruner, source)
    if sampler.name in POPULATION_BASED:
        _check_population(sampler, pruner, objective, source)
        if schema.trial.repeats.most > 1:
            message = f"a member of {sampler.name} cannot be repeated: its value depends on all that it started from"
            raise source.error(f"{message}; leave repeats out, or use another sampler", "trial.repeats")
    trial = _trial(schema, sizes, source)
    _check_inherit(sampler, objective, source)
    return StudyFile(
        path=absolute,
        folder=absolute.parent,
        name=schema.name,
        objective=objective,
        directions=directions,
        metrics=schema.metrics,
        space=space,
        sampler=sampler,
        sampler_why=why,
        pruner=pruner,
        budget=_budget(schema, sampler, points, absolute.parent, directions, source),
        trial=trial,
        sizes=_sizes(sizes, trial, schema, space, source),
        pools=None if trial.pools is None else pool_rule(trial.pools, space, source),
        policy=schema.placement.policy,
        callbacks=_callbacks(schema, absolute.parent, source),
        loggers=schema.loggers,
        start_from=_start_from(schema, sampler, space, source),
        storage=schema.storage,
        seed=_seed(sampler),
        points=points,
        source=source,
    )


def _check_names_of(overrides: Sequence[str], source: YamlFile) -> None:
    """Raise UserError if a setting is of a parameter that the space does not have: a mistyped name must not add one.

    A whole parameter (``space.units={int: [1, 9]}``), and a constant with a name unlike all others, may be added.
    """
    space = source.data.get("space")
    known = [str(name) for name in space] if isinstance(space, dict) else []
    for setting in overrides:
        key, _, value = setting.partition("=")
        top, _, rest = dotted(key.strip()).partition(".")
        if top != "space" or not rest or not known or any(f"{rest}.".startswith(f"{name}.") for name in known):
            continue
        name, dot, _ = rest.partition(".")
        if dot or ("did you mean" in nearest(name, known) and not value.strip().startswith("{")):
            raise UserError(f"there is no parameter '{name}'{nearest(name, known)}", file=f"--set {key.strip()}")
        known.append(name)


def _objective(schema: StudySchema, folder: Path, source: YamlFile) -> ObjectiveSpec:
    if schema.objective is not None and schema.command is not None:
        raise source.error("a study has an objective or a command, not both", "command")
    if schema.objective is not None:
        return find_objective(schema.objective, schema.objective_args, folder, source, list(schema.space or ()))
    if schema.command is None:
        raise source.error("is missing; give file.py:function, or a `command`", "objective")
    if schema.objective_args:
        raise source.error("is for a Python `objective`; a command gets the values in its `run`", "objective_args")
    if schema.space is None:
        raise source.error("a command needs a `space` with its parameters", "space")
    _check_command(schema.command, list(schema.space), source)
    command = schema.command
    return ObjectiveSpec(command=command.run, shell=command.shell, reports=command.reports, folder=str(folder))


def _check_command(command: Command, names: list[str], source: YamlFile) -> None:
    key = "command.run" if isinstance(source.data["command"], dict) else "command"
    problem = check_command(command.run, names, shell=command.shell, reports=command.reports)
    if problem:
        raise source.error(problem, key)


def _check_shell(objective: ObjectiveSpec, space: Space | None, source: YamlFile) -> None:
    """Raise UserError if the space has a value that the command's shell would evaluate."""
    if not objective.shell or space is None:
        return
    exposed = exposed_fields(str(objective.command))
    values = {each.name: getattr(each.distribution, "choices", ()) for each in space.parameters}
    values |= {name: (value,) for name, value in space.constants.items()}
    for name in exposed & values.keys():
        unsafe = [text for value in values[name] if not harmless(text := as_text(value))]
        if unsafe:
            raise source.error(exposed_problem(name, unsafe[0]), "command.run")


def _directions(schema: StudySchema, source: YamlFile) -> tuple[str, ...]:
    if schema.direction and schema.directions:
        raise source.error("a study has a direction or directions, not both", "directions")
    directions = schema.directions or ((schema.direction,) if schema.direction else ())
    if not directions:
        raise source.error("is missing; give minimize or maximize", "direction")
    if schema.metrics and len(schema.metrics) != len(directions):
        count = f"{len(directions)} direction{'s' if len(directions) > 1 else ''}"
        message = f"names {counted(len(schema.metrics), 'value')}, but the study has {count}; give one name for each"
        raise source.error(message, "metrics")
    if len(set(schema.metrics)) < len(schema.metrics):
        raise source.error("names a value twice", "metrics")
    return directions


def _space(schema: StudySchema, source: YamlFile) -> Space | None:
    if schema.space is not None:
        return build_space(schema.space, schema.constraints, source)
    if schema.constraints:
        raise source.error("`constraints` needs a `space` section", "constraints")
    return None


def _sampler(
    schema: StudySchema, folder: Path, space: Space | None, directions: tuple[str, ...], source: YamlFile
) -> tuple[Named, str, int | None]:
    """The sampler, why it was chosen (empty where the file says it), and how many points it tries if exhaustive."""
    args = {name: value for name, value in schema.sampler.items() if name != "name"}
    name, why = schema.sampler["name"], ""
    trials = schema.budget.trials if schema.budget is not None else None
    if name.lower() == AUTO:
        parameters = None if space is None else sum(not kind.single() for kind in space.distributions.values())
        choice = choose_sampler(Situation(parameters, directions, trials, args.keys()))
        name, why = choice.name, choice.why
    try:
        named = resolved_sampler(name, args, folder, trials)
        points = check_sampler(named, space, directions)
    except UserError as error:
        raise source.error(error.message, _written_key(error.key, "sampler", source)) from None
    return named, why, points


def _seed(sampler: Named) -> int | None:
    """The sampler's seed; None where it has none, or one of its own kind in a class of the user's."""
    seed = sampler.args.get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def _written_key(key: str | None, section: str, source: YamlFile) -> str:
    """The key as the file has it: ``sampler.name`` is written ``sampler`` in ``sampler: tpe``."""
    plain = not isinstance(source.data.get(section), dict)
    return section if not key or (plain and key == f"{section}.name") else key


def _pruner(schema: StudySchema, folder: Path, directions: tuple[str, ...], source: YamlFile) -> Named | None:
    if schema.pruner is None:
        return None
    args = {name: value for name, value in schema.pruner.items() if name != "name"}
    try:
        named = resolved_pruner(schema.pruner["name"], args, folder)
        check_pruner(named)
    except UserError as error:
        raise source.error(error.message, _written_key(error.key, "pruner", source)) from None
    if named.name == "none":
        return None
    if len(directions) > 1:
        message = (
            f"a study with {len(directions)} directions cannot prune; leave the pruner out, or optimize one direction"
        )
        raise source.error(message, "pruner")
    return named


def _check_steps(sampler: Named, pruner: Named | None, source: YamlFile) -> None:
    """The sampler bohb needs a pruner that lets trials reach different steps."""
    if sampler.name == "bohb" and (pruner is None or pruner.name not in BY_STEPS):
        found = "there is no pruner" if pruner is None else f"the pruner is {pruner.name}"
        raise source.error(
            f"bohb learns from the steps that hyperband lets trials reach, but {found}; "
            "add `pruner: {name: hyperband, max_resource: STEPS}`, or use tpe",
            "sampler",
        )


def _check_population(sampler: Named, pruner: Named | None, objective: ObjectiveSpec, source: YamlFile) -> None:
    """A population needs checkpoints, and ends its worst members by itself."""
    if pruner is not None:
        raise source.error(f"{sampler.name} itself ends the worst members; leave the pruner out", "pruner")
    if saves_nothing(objective):
        what = "the command's script" if objective.command else f"{Path(objective.file or objective.module).name}"
        raise source.error(
            f"{sampler.name} goes on from checkpoints, and {what} saves none: save into trial.checkpoint_dir "
            "({checkpoint_dir} of a command) before each report and load from it at the start; without checkpoints "
            "use tpe with `pruner: hyperband`",
            _written_key("sampler.name", "sampler", source),
        )


def _check_inherit(sampler: Named, objective: ObjectiveSpec, source: YamlFile) -> None:
    """Children that start from their parents' checkpoints need an objective in Python that saves some."""
    if not sampler.args.get("inherit"):
        return
    if objective.command:
        raise source.error("is for Python objectives, which have trial.parent_checkpoint_dir", "sampler.inherit")
    if saves_nothing(objective):
        name = Path(objective.file or objective.module).name
        raise source.error(
            f"children start from their parents' checkpoints, and {name} saves none: save into trial.checkpoint_dir, "
            "and load from trial.parent_checkpoint_dir where it is not None",
            "sampler.inherit",
        )


def _callbacks(schema: StudySchema, folder: Path, source: YamlFile) -> tuple[Named, ...]:
    try:
        return resolved_callbacks(schema.callbacks, folder)
    except UserError as error:
        raise source.error(error.message, error.key or "callbacks") from None


def _budget(
    schema: StudySchema,
    sampler: Named,
    points: int | None,
    folder: Path,
    directions: tuple[str, ...],
    source: YamlFile,
) -> Budget:
    budget = schema.budget or Budget()
    for key, words in (("target", "a target"), ("patience", "patience"), ("terminator", "a terminator")):
        if getattr(budget, key) is not None and len(directions) > 1:
            raise source.error(f"a study with {len(directions)} directions cannot have {words}", f"budget.{key}")
    if budget.terminator is not None:
        try:
            terminator = resolved_terminator(budget.terminator, folder)
        except UserError as error:
            raise source.error(error.message, error.key or "budget.terminator") from None
        budget = budget.model_copy(update={"terminator": terminator})
    ends = points is not None or sampler.name in POPULATION_BASED  # by itself, when nothing is left to do
    if not (ends or budget.ends or budget.accounts):
        raise source.error("no stopping condition: set trials, time or target, as in budget: {trials: 100}", "budget")
    return budget


def _trial(schema: StudySchema, sizes: Mapping[str, str], source: YamlFile) -> TrialOptions:
    trial = schema.trial
    for key, limit in (("timeout", trial.timeout), ("memory", trial.memory or sizes.get("memory"))):
        if limit is not None and not trial.isolate and schema.command is None:
            message = "needs isolate: true; an objective in the worker's own process cannot be limited"
            raise source.error(message, f"trial.{key}")
    return with_ranks(trial, source, command=schema.command is not None)


def _sizes(
    texts: Mapping[str, str], trial: TrialOptions, schema: StudySchema, space: Space | None, source: YamlFile
) -> TrialSizes | None:
    """What trials take by their parameters, where the file says so."""
    if not texts:
        return None
    core_a_rank = trial.nodes == 1 and not {"cores"} & (schema.trial.model_fields_set | texts.keys())
    sizes = trial_sizes(texts, trial, space, source, core_a_rank=core_a_rank)
    if "ranks" in texts:
        options = [case.options for case in sizes.cases() if case.options is not None]
        with_ranks(max(options, key=lambda each: each.ranks or 1), source, command=schema.command is not None)
    return sizes


def _check_narrow(start: StartFrom, sampler: Named, space: Space | None, source: YamlFile) -> None:
    """Raise UserError where a space cannot be narrowed."""
    key = "start_from.narrow"
    if not start.studies:
        raise source.error("needs `studies`, whose best trials say where to search", key)
    if space is None:
        raise source.error("needs a `space`; this study's is defined by the objective as it runs", key)
    if sampler.name in EXHAUSTIVE:
        raise source.error(f"does not go with the sampler {sampler.name}, which tries every point of the space", key)
    if len(source.data.get("directions") or ()) > 1:
        raise source.error("needs one direction", key)


def _start_from(schema: StudySchema, sampler: Named, space: Space | None, source: YamlFile) -> StartFrom:
    start = schema.start_from
    for index, name in enumerate(start.studies):
        if name in start.studies[:index]:
            raise source.error(f"{shown(name)} is listed twice", f"start_from.studies[{index}]")
    if start.narrow:
        _check_narrow(start, sampler, space, source)
    if space is None:
        enqueued = [{name: stored_choice(value) for name, value in point.items()} for point in start.enqueue]
        return start.model_copy(update={"enqueue": tuple(enqueued)})
    points = []
    for index, point in enumerate(start.enqueue):
        key = f"start_from.enqueue[{index}]"
        points.append(check_point(point, space, key, source))
        values = {**space.constants, **points[-1]}
        missing = [p.name for p in space.parameters if p.name not in point and p.active(values)]
        if sampler.name == "grid" and missing:
            raise source.error(f"a point for the sampler grid needs all parameters; '{missing[0]}' is missing", key)
    return start.model_copy(update={"enqueue": tuple(points)})
