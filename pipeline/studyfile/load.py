"""A study file, read and checked as a whole."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError
from ...fields import validate
from ...yamlfile import YamlFile, dump_yaml, read_yaml, with_overrides
from ..fidelity import check_pruner, pruner_name
from ..registry_args import Named
from ..space import Space
from ..suggest import check_sampler, grid_values, sampler_name
from ..trial.protocol import ObjectiveSpec
from ..worker.command.shell_quoting import harmless
from ..worker.command.template import as_text, check_command, exposed_fields, exposed_problem
from .objective import find_objective
from .schema import Budget, Command, StartFrom, StudySchema, TrialOptions
from .spaces import build_space, check_point

SHORTHANDS = {"sampler": "name", "pruner": "name", "command": "run"}


@dataclass(frozen=True)
class StudyFile:
    """What a user asked for, checked.

    Attributes:
        path: The file, absolute.
        folder: Its folder, absolute; relative paths in it begin here.
        name: The study's name.
        objective: What a worker runs.
        directions: ``minimize`` or ``maximize``, one for each value of a trial.
        metrics: The values' names, as many as directions, or empty.
        space: The search space; None where the objective defines it as it runs.
        sampler: Its short name and arguments.
        pruner: Likewise; None for none.
        budget: When the study ends.
        trial: What one trial gets.
        start_from: Points to try first, studies to learn from.
        storage: The database's URL as written, or None for the default.
        seed: The sampler's seed.
        source: The YAML, for placing errors.
    """

    path: Path
    folder: Path
    name: str
    objective: ObjectiveSpec
    directions: tuple[str, ...]
    metrics: tuple[str, ...]
    space: Space | None
    sampler: Named
    pruner: Named | None
    budget: Budget
    trial: TrialOptions
    start_from: StartFrom
    storage: str | None
    seed: int | None
    source: YamlFile = field(repr=False, compare=False)

    def error(self, message: str, key: str = "") -> UserError:
        """The error ``message`` at the line where ``key`` (dotted) stands."""
        return self.source.error(message, key)

    def resolved(self) -> str:
        """The whole study as YAML, every default written out, a password in ``storage`` left out."""
        data = dict(self.source.data)
        objective = self.objective
        if objective.command:
            reports = "file" if objective.reports == "file" else {"stdout": objective.reports}
            data["command"] = {"run": objective.command, "reports": reports, "shell": objective.shell}
        elif objective.file:
            data["objective"] = f"{objective.file}:{objective.function}"
        data.pop("direction", None)
        data["directions"] = list(self.directions)
        data["sampler"] = {"name": self.sampler.name, **self.sampler.args}
        data["pruner"] = {"name": self.pruner.name, **self.pruner.args} if self.pruner else None
        for key, section in (("budget", self.budget), ("trial", self.trial), ("start_from", self.start_from)):
            data[key] = section.model_dump(mode="json")
        if self.storage:
            hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.storage)
            data["storage"] = re.sub(r"(pass\w*=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)
        order = [name for name in StudySchema.model_fields if name in data]
        return dump_yaml({name: data[name] for name in order})


def load_study_file(path: Path | str, overrides: Sequence[str] = ()) -> StudyFile:
    """Read and check a study file.

    Args:
        path: The YAML file.
        overrides: ``key=value`` each, as given to ``--set`` (``budget.trials=10``); the value is YAML.

    Raises:
        UserError: With file, line and key. Every finding of the schema is listed, one sentence a line; beyond the
            schema the first.
    """
    source = with_overrides(read_yaml(path, what="study file"), overrides, SHORTHANDS)
    absolute = Path(os.path.abspath(path))
    schema = validate(StudySchema, source)
    objective = _objective(schema, absolute.parent, source)
    directions = _directions(schema, source)
    space = _space(schema, source)
    _check_shell(objective, space, source)
    sampler = _sampler(schema, space, directions, source)
    return StudyFile(
        path=absolute,
        folder=absolute.parent,
        name=schema.name,
        objective=objective,
        directions=directions,
        metrics=schema.metrics,
        space=space,
        sampler=sampler,
        pruner=_pruner(schema, directions, source),
        budget=_budget(schema, sampler, space, directions, source),
        trial=_trial(schema, source),
        start_from=_start_from(schema, sampler, space, source),
        storage=schema.storage,
        seed=sampler.args.get("seed"),
        source=source,
    )


def _objective(schema: StudySchema, folder: Path, source: YamlFile) -> ObjectiveSpec:
    if schema.objective is not None and schema.command is not None:
        raise source.error("a study has an objective or a command, not both", "command")
    if schema.objective is not None:
        return find_objective(schema.objective, folder, source)
    if schema.command is None:
        raise source.error("what is to be run is missing; give file.py:function, or a `command:`", "objective")
    if schema.space is None:
        raise source.error("a command needs a `space:`, whose parameters it is given", "space")
    _check_command(schema.command, list(schema.space), source)
    command = schema.command
    return ObjectiveSpec(command=command.run, shell=command.shell, reports=command.reports, folder=str(folder))


def _check_command(command: Command, names: list[str], source: YamlFile) -> None:
    key = "command.run" if isinstance(source.data["command"], dict) else "command"
    problem = check_command(command.run, names, shell=command.shell, reports=command.reports)
    if problem:
        raise source.error(problem, key)


def _check_shell(objective: ObjectiveSpec, space: Space | None, source: YamlFile) -> None:
    """No value that the space has is evaluated by a shell."""
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
        raise source.error("is missing; say minimize or maximize", "direction")
    if schema.metrics and len(schema.metrics) != len(directions):
        message = f"names {len(schema.metrics)} values, and the study has {len(directions)} directions; name each"
        raise source.error(message, "metrics")
    if len(set(schema.metrics)) < len(schema.metrics):
        raise source.error("names a value twice", "metrics")
    return directions


def _space(schema: StudySchema, source: YamlFile) -> Space | None:
    if schema.space is not None:
        return build_space(schema.space, schema.constraints, source)
    if schema.constraints:
        raise source.error("need a `space:` to name the parameters of", "constraints")
    return None


def _sampler(schema: StudySchema, space: Space | None, directions: tuple[str, ...], source: YamlFile) -> Named:
    args = {name: value for name, value in schema.sampler.items() if name != "name"}
    try:
        named = Named(sampler_name(schema.sampler["name"]), args)
        check_sampler(named, space, directions)
    except UserError as error:
        raise source.error(error.message, _written(error.key, "sampler", source)) from None
    return named


def _written(key: str | None, section: str, source: YamlFile) -> str:
    """``sampler.name`` is just ``sampler`` where the file says `sampler: tpe`."""
    plain = not isinstance(source.data.get(section), dict)
    return section if not key or (plain and key == f"{section}.name") else key


def _pruner(schema: StudySchema, directions: tuple[str, ...], source: YamlFile) -> Named | None:
    if schema.pruner is None:
        return None
    args = {name: value for name, value in schema.pruner.items() if name != "name"}
    try:
        named = Named(pruner_name(schema.pruner["name"]), args)
        check_pruner(named)
    except UserError as error:
        raise source.error(error.message, _written(error.key, "pruner", source)) from None
    if named.name == "none":
        return None
    if len(directions) > 1:
        message = (
            f"a study of {len(directions)} directions cannot prune; leave the pruner out, or optimize one direction"
        )
        raise source.error(message, "pruner")
    return named


def _budget(
    schema: StudySchema, sampler: Named, space: Space | None, directions: tuple[str, ...], source: YamlFile
) -> Budget:
    budget = schema.budget or Budget()
    if budget.target is not None and len(directions) > 1:
        raise source.error(f"a study of {len(directions)} directions has no one target", "budget.target")
    most = _all_points(sampler, space)
    if most is not None and (budget.trials is None or budget.trials > most):
        return budget.model_copy(update={"trials": most})
    if budget.trials is None and budget.time is None and budget.target is None:
        raise source.error("says no end; give trials, time or target, as in budget: {trials: 100}", "budget")
    return budget


def _trial(schema: StudySchema, source: YamlFile) -> TrialOptions:
    trial = schema.trial
    if trial.ranks_per_node > 1 and trial.nodes == 1:
        message = "is for trials on several nodes, whose launcher starts the ranks, and this trial has nodes: 1"
        raise source.error(message, "trial.ranks_per_node")
    return trial


def _all_points(sampler: Named, space: Space | None) -> int | None:
    """How many trials an exhaustive sampler can have: more would only repeat some."""
    if space is None or sampler.name not in ("grid", "bruteforce"):
        return None
    if sampler.name == "bruteforce":
        return int(space.size())
    return math.prod(len(values) for values in grid_values(space, sampler.args.get("search_space", {})).values())


def _start_from(schema: StudySchema, sampler: Named, space: Space | None, source: YamlFile) -> StartFrom:
    start = schema.start_from
    if space is None:
        return start
    points = []
    for index, point in enumerate(start.enqueue):
        key = f"start_from.enqueue[{index}]"
        points.append(check_point(point, space, key, source))
        missing = [name for name in space.distributions if name not in point]
        if sampler.name == "grid" and missing:
            raise source.error(f"a point for the sampler grid must be whole; '{missing[0]}' is missing", key)
    return start.model_copy(update={"enqueue": tuple(points)})
