"""Finds the configuration of one trial: breeds until a child is new and feasible, and notes where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...attributes import GENERATION, KEPT, MATE, PARENT
from .breeding import Breeder, Params
from .individuals import Individual, Individuals, key_of
from .settings import ONE, Settings

TRIES = 100
"""Children that are bred for one trial until one is new and feasible; as many are drawn at random after that."""


@dataclass
class Suggestion:
    """A configuration and its ancestry.

    Attributes:
        params: The values; those of inactive parameters may be missing.
        parent, mate: The parents; None where there are none.
        kept: Individuals that were bred without a change before, and are in the generation as they are.
    """

    params: Params
    parent: Individual | None = None
    mate: Individual | None = None
    kept: list[Individual] = field(default_factory=list)

    def note(self, study: Study, trial: FrozenTrial, generation: int | None) -> None:
        """Write the ancestry to the trial's attributes.

        Args:
            generation: Of the trial; None: one more than that of the parents.
        """
        parents = [each for each in (self.parent, self.mate) if each is not None]
        if generation is None:
            generation = max((each.generation for each in parents), default=-1) + 1
        attributes: dict[str, Any] = {
            GENERATION: generation,
            PARENT: None if self.parent is None else self.parent.number,
            MATE: None if self.mate is None else self.mate.number,
            KEPT: [each.number for each in self.kept] or None,
        }
        for key, value in attributes.items():
            if value is not None or key in trial.system_attrs:  # a trial may be drawn again
                study._storage.set_trial_system_attr(trial._trial_id, key, value)


def suggest(
    breeder: Breeder,
    individuals: Individuals,
    settings: Settings,
    pool: Sequence[Individual],
    space: Mapping[str, BaseDistribution],
    fixed: Mapping[str, Any],
    room: int,
) -> Suggestion:
    """Breed a child that differs from its parent and is feasible, and that no trial has, unless that may be repeated.

    Args:
        breeder: Makes the children.
        individuals: The trials.
        settings: Of the algorithm.
        pool: Possible parents; without any, draw at random.
        space: The parameters that have several values.
        fixed: Values that are given; then any child will do.
        room: How many individuals the generation still lacks, with the trial that is asked for.
    """

    def is_new(params: Params) -> bool:
        return settings.repeats or bool(fixed) or not individuals.tried(key_of(params, space))

    keeps = not settings.elitist and settings.mutate != ONE and not fixed
    found, kept = Suggestion({}), list[Individual]()
    for _ in range(TRIES if pool else 0):
        found = Suggestion(*breeder.child(pool, fixed), kept)
        assert found.parent is not None
        if not fixed and key_of(found.params, space) == key_of(found.parent.params, space):
            if keeps and len(kept) + 1 < room:
                kept.append(found.parent)
        elif is_new(found.params) and breeder.feasible(found.params):
            return found
    drawn = found.params
    for _ in range(TRIES):
        drawn = breeder.at_random(space, fixed)
        if is_new(drawn) and breeder.feasible(drawn):
            return Suggestion(drawn, kept=kept)
    return found if pool else Suggestion(drawn)
