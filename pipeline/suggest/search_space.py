"""Determines which parameters are suggested together: those that all trials have, or groups that occur together."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.study import Study

from ..study_changes import StudyWatch, observed

Distributions = Mapping[str, BaseDistribution]


class IntersectionSpace:
    """The parameters that all trials have with equal distributions (Optuna's ``IntersectionSearchSpace``)."""

    def __init__(self) -> None:
        self._common: dict[str, BaseDistribution] | None = None

    def add(self, distributions: Distributions) -> None:
        """Add a trial with these parameters."""
        if self._common is None:
            self._common = dict(sorted(distributions.items()))
            return
        lost = [name for name, mine in self._common.items() if not _same(mine, distributions.get(name))]
        for name in lost:
            del self._common[name]

    def space(self) -> dict[str, BaseDistribution]:
        """The common parameters, sorted by name, without those of a single value."""
        return {name: found for name, found in (self._common or {}).items() if not found.single()}


MOST_CHANGES = 6
"""Times that the ranges of a study may change for all its trials to be one space."""


class SpaceWatch:
    """Keeps what the trials of a study have in common, where the objective defines its space as it runs.

    Attributes:
        same: Whether all finished trials have the same parameters, whose ranges changed seldom or never.
        space: The parameters of the newest finished trial, sorted by name, without those of a single value.
    """

    def __init__(self) -> None:
        self._watch = StudyWatch()
        self._clear()

    def _clear(self) -> None:
        self.same, self.space = True, dict[str, BaseDistribution]()
        self._known: Distributions | None = None
        self._newest, self._changes = -1, 0

    def refresh(self, study: Study) -> None:
        """Read what changed in the study."""
        changes = self._watch.refresh(study)
        if changes.whole:
            self._clear()
        for trial in sorted(changes.trials, key=lambda trial: trial.number):
            if observed(trial):
                self._add(trial.number, trial.distributions)

    def _add(self, number: int, found: Distributions) -> None:
        known = self._known
        self.same = self.same and (known is None or known.keys() == found.keys())
        if number <= self._newest or not self.same:
            return
        self._newest = number
        if known is None or any(not _same(known[name], each) for name, each in found.items()):
            self._known, self._changes = dict(found), self._changes + 1
            self.space = {name: found[name] for name in sorted(found) if not found[name].single()}
            self.same = self._changes <= MOST_CHANGES + 1


class ParameterGroups:
    """The coarsest partition of the parameters such that each trial has all parameters of a group or none of them.

    With ``a`` in all trials, ``b`` and ``c`` in some, the groups are {a} and {b, c}. So a conditional space needs no
    description: the trials show which parameters occur together (Optuna's ``_GroupDecomposedSearchSpace``).
    """

    def __init__(self) -> None:
        self._groups: list[dict[str, BaseDistribution]] = []
        self._seen: set[frozenset[str]] = set()

    def add(self, distributions: Distributions) -> None:
        """Add a trial with these parameters: splits each group into those that it has and those that it lacks."""
        names = frozenset(distributions)
        if names in self._seen:
            return
        self._seen.add(names)
        parts: list[dict[str, BaseDistribution]] = []
        new = dict(distributions)
        for group in self._groups:
            parts.append({name: found for name, found in group.items() if name in names})
            parts.append({name: found for name, found in group.items() if name not in names})
            for name in group:
                new.pop(name, None)
        self._groups = [part for part in (*parts, new) if part]

    def spaces(self) -> list[dict[str, BaseDistribution]]:
        """The groups, each sorted by name and without parameters of a single value; some may be empty."""
        return [{name: group[name] for name in sorted(group) if not group[name].single()} for group in self._groups]


def _same(one: BaseDistribution, other: BaseDistribution | None) -> bool:
    return one is other or one == other
