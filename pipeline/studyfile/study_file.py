"""What a study file says, as plain checked data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...yamlfile import YamlFile, dump_yaml
from ..fidelity import POPULATION_BASED
from ..loggers.settings import LoggerSettings
from ..registry_args import Named
from ..space import Space
from ..trial.protocol import ObjectiveSpec
from .pool_rule import PoolRule
from .schema import Budget, StartFrom, StudySchema, TrialOptions
from .sizes import TrialSizes


@dataclass(frozen=True)
class StudyFile:
    """A study file that has been read and checked. :func:`.load_study_file` makes one.

    Attributes:
        path: The file, absolute.
        folder: Its folder, absolute. Relative paths in the file start here.
        name: The study's name; also that of the Optuna study.
        objective: What a worker runs.
        directions: ``minimize`` or ``maximize``, one for each value of a trial; never empty.
        metrics: The values' names: none, or as many as directions.
        space: The search space; None if the objective defines it as it runs.
        sampler: The sampler's short name and arguments.
        sampler_why: What it was chosen for where the file leaves the choice to Pilotune; else empty.
        pruner: The pruner's short name and arguments; None if nothing is pruned.
        budget: When a campaign ends, besides the end of all points.
        points: How many points an exhaustive sampler tries, after which a campaign ends, too; an upper bound in a large
            space with constraints. None with other samplers.
        trial: What one trial gets, and how its failures are handled. What depends on its parameters has a default.
        sizes: What depends on its parameters; None where nothing does.
        pools: The pools that may run a trial; None for all.
        policy: How trials are placed on several pools: ``learned``, ``fifo`` or ``shadho``.
        callbacks: What the driver calls after each finished trial.
        loggers: What the driver writes each trial to.
        start_from: Points to try first, and studies to learn from.
        storage: URL of the database as written; None for the default.
        seed: The sampler's seed; None if it has none.
        source: The YAML, which knows the line of each key.
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
    callbacks: tuple[Named, ...]
    loggers: tuple[LoggerSettings, ...]
    start_from: StartFrom
    storage: str | None
    seed: int | None
    points: int | None
    source: YamlFile = field(repr=False, compare=False)
    sampler_why: str = field(default="", compare=False)
    sizes: TrialSizes | None = None
    pools: PoolRule | None = None
    policy: str = "learned"

    @property
    def ends_by_itself(self) -> bool:
        """Whether a campaign ends when nothing is left to do, whatever its budget."""
        return self.points is not None or self.sampler.name in POPULATION_BASED

    def options_for(self, params: Mapping[str, Any]) -> TrialOptions:
        """The options of the trial with these parameters.

        Raises:
            SizeProblem: It would take what no trial can.
        """
        return self.trial if self.sizes is None else self.sizes.of(params)

    def error(self, message: str, key: str = "") -> UserError:
        """An error with the file, and the line of ``key`` (dotted, as in ``trial.gpus``)."""
        return self.source.error(message, key)

    def resolved(self) -> str:
        """The whole study as YAML, with every default written out and a password in ``storage`` hidden."""
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
        if self.callbacks:
            data["callbacks"] = [{"name": each.name, **each.args} for each in self.callbacks]
        if self.loggers:
            data["loggers"] = [{each.name: dict(each.args)} for each in self.loggers]
        for key, section in (("budget", self.budget), ("trial", self.trial), ("start_from", self.start_from)):
            data[key] = section.model_dump(mode="json")
        data["trial"] |= self.sizes.texts if self.sizes else {}
        data["placement"] = {"policy": self.policy}
        if self.storage:
            hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.storage)
            data["storage"] = re.sub(r"(pass\w*=)[^&]*", r"\1***", hidden, flags=re.IGNORECASE)
        order = [name for name in StudySchema.model_fields if name in data]
        return dump_yaml({name: data[name] for name in order})
