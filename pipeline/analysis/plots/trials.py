"""A study's trials as arrays, for plots: their values, and their parameters as positions along an axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....errors import UserError
from ....grammar import count
from ..best import certainty
from ..reading import StudyData, nearest
from ..tables import Row, rows
from ..trial_facts import breaks_none, state_of, values_of
from .figure import Axis, Numbers
from .timing import Attempt, attempts_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NOT_SET = "not set"
"""Name of the tick of trials that do not have a conditional parameter."""

BINS = 10
"""Groups of a parameter's values whose mean ranks are compared, to see how much the parameter matters."""


class DoesNotSuit(UserError):
    """This kind of plot cannot show this study."""


class NothingToShow(DoesNotSuit):
    """The study has nothing yet that this kind of plot could show: no mistake of the user."""

    exit_code = 1


@dataclass(frozen=True)
class Parameter:
    """One parameter of all trials.

    Attributes:
        name: Its name.
        positions: Where each trial is on the axis; NaN for those that do not have it.
        axis: The axis.
    """

    name: str
    positions: Numbers
    axis: Axis

    @property
    def scaled(self) -> Numbers:
        """The positions on a linear scale: the logarithm where the axis is logarithmic."""
        return np.log10(self.positions) if self.axis.log else self.positions


class Trials:
    """The trials of a study, and what has been computed from them, so that several plots share it.

    Args:
        data: The study.
        metric: The objective to show; None: the first.
        names: The parameters to show; empty: those that matter most.

    Raises:
        UserError: The study has no such metric or parameter.

    Attributes:
        index: The place of the objective among the study's.
        number: The trials' numbers, ascending; the other arrays are in their order.
        state: Their states, as :func:`state_of` tells.
    """

    def __init__(self, data: StudyData, metric: str | None = None, names: Sequence[str] = ()):
        if metric is not None and metric not in data.metrics:
            raise UserError(f"study {data.name!r} has no metric {metric!r}; it has {', '.join(data.metrics)}")
        self.data, self.names = data, tuple(names)
        self.index = data.metrics.index(metric) if metric is not None else 0
        self.number = np.array([trial.number for trial in data.trials], dtype=np.int64)
        self.state = np.array([state_of(trial, data.live) for trial in data.trials], dtype=object)
        known = {name for trial in data.trials for name in trial.params} if names else set()
        for name in self.names:
            if name not in known:
                raise UserError(f"study {data.name!r} has no parameter {name!r}{nearest(name, sorted(known))}")

    @cached_property
    def rows(self) -> list[Row]:
        """All trials as rows, by number; most plots need only a few of their columns."""
        return rows(self.data)

    @property
    def metric(self) -> str:
        """The name of the objective."""
        return self.data.metrics[self.index]

    @property
    def maximize(self) -> bool:
        """Whether large values of the objective are good."""
        return self.data.directions[self.index] == "maximize"

    @property
    def wanted(self) -> str:
        """The objective and its direction, for titles: ``accuracy (maximize)``."""
        return f"{self.metric} ({self.data.directions[self.index]})"

    @cached_property
    def values(self) -> npt.NDArray[np.float64]:
        """``values[trial][objective]``: the values, or the last report of a trial that has none; NaN without either."""
        count = len(self.data.metrics)
        found = [values_of(trial, state, count) for trial, state in zip(self.data.trials, self.state, strict=True)]
        return np.array(found, dtype=np.float64).reshape(len(found), count)  # None becomes NaN

    @property
    def value(self) -> Numbers:
        """The chosen objective's values."""
        return self.values[:, self.index]

    @cached_property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Which trials are complete with finite values."""
        finite = np.isfinite(self.values).all(axis=1)
        return np.asarray(finite & (self.state == "complete"), dtype=np.bool_)

    @cached_property
    def feasible(self) -> npt.NDArray[np.bool_]:
        """Which trials break no constraint, as far as is known."""
        return np.array([breaks_none(trial) for trial in self.data.trials], dtype=bool)

    @cached_property
    def best(self) -> int | None:
        """Number of the best trial by the chosen objective; None before one is complete."""
        sure = certainty(self.data)
        if sure is not None:
            return sure.number
        chosen = np.flatnonzero(self.complete & self.feasible)
        if not len(chosen):
            return None
        values = self.value[chosen]
        return int(self.number[chosen[np.argmax(values) if self.maximize else np.argmin(values)]])

    @cached_property
    def attempts(self) -> list[Attempt]:
        """All attempts that have ended, as far as their times are known."""
        return attempts_of(self.data)

    def need_complete(self, kind: str, least: int = 1) -> None:
        """Raise NothingToShow where fewer than ``least`` trials are complete with finite values."""
        have = int(self.complete.sum())
        if not have:
            raise self.nothing(kind)
        if have < least:
            has = count(have, "complete trial")
            raise NothingToShow(f"study {self.data.name!r} has {has} with finite values; the plot {kind} needs {least}")

    def nothing(self, kind: str) -> NothingToShow:
        """The error of a kind of plot for which the study has nothing yet."""
        return NothingToShow(f"the plot {kind} of {self.data.name!r} has nothing to show: {self.standing()}")

    def standing(self) -> str:
        """What there is instead of results: ``no trial has completed; 3 are running``."""
        states = Counter(self.state.tolist())
        complete = states.pop("complete", 0)
        if complete:
            return f"none of {count(complete, 'complete trial')} has a finite value"
        if not states:
            return "the study has no trials"
        verbs = {state: "" if state == "failed" else " is" if states[state] == 1 else " are" for state in states}
        parts = ", ".join(f"{number:,}{verbs[state]} {state}" for state, number in states.items())
        return f"no trial has completed; {parts}"

    def drawn(self, number: int) -> str:
        """How many of all trials of the study a plot draws, for captions: ``11 of 24 trials``."""
        return f"{number:,} of {count(len(self.number), 'trial')}"

    @cached_property
    def distributions(self) -> dict[str, list[BaseDistribution]]:
        """The different distributions of each parameter, in the order of their first appearance."""
        found: dict[str, list[BaseDistribution]] = {}
        seen: set[int] = set()
        for trial in self.data.trials:
            if id(trial.distributions) in seen:  # trials share equal dictionaries
                continue
            seen.add(id(trial.distributions))
            for name, distribution in trial.distributions.items():
                known = found.setdefault(name, [])
                if distribution not in known:
                    known.append(distribution)
        return found

    @cached_property
    def params(self) -> list[dict[str, Any]]:
        """The parameters of each trial."""
        return [trial.params for trial in self.data.trials]

    def parameter(self, name: str) -> Parameter:
        """The parameter of this name."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        found = self.distributions[name]
        given: list[Any] = [params.get(name, NOT_SET) for params in self.params]
        if not any(isinstance(each, CategoricalDistribution) for each in found):
            positions = np.array([np.nan if each is NOT_SET else float(each) for each in given])
            log = all(bool(getattr(each, "log", False)) for each in found)
            whole = all(isinstance(each, IntDistribution) for each in found)
            return Parameter(name, positions, Axis(name, log=log and not (positions <= 0.0).any(), whole=whole))
        choices = [each for one in found if isinstance(one, CategoricalDistribution) for each in one.choices]
        place: dict[str, int] = {}
        for each in [*choices, *(value for value in given if value is not NOT_SET)]:
            place.setdefault(_shown(each), len(place))
        positions = np.array([np.nan if each is NOT_SET else float(place[_shown(each)]) for each in given])
        ticks = [(float(at), text) for text, at in place.items()]
        return Parameter(name, positions, Axis(name, ticks=ticks, limits=(-0.6, len(ticks) - 0.4)))

    def parameters(self, most: int, kind: str, least: int = 1) -> list[Parameter]:
        """The parameters to show: those that were asked for, else up to ``most`` that matter most.

        Raises:
            NothingToShow: There are fewer than ``least`` that differ between the complete trials.
        """
        names = self.names or tuple(self.ranked)
        if len(names) < least:
            what = count(len(names), "parameter") if names else "no parameter"
            raise NothingToShow(
                f"study {self.data.name!r} has {what} with different values in complete trials; "
                f"the plot {kind} needs {least}"
            )
        return [self.ranked[name] if name in self.ranked else self.parameter(name) for name in names[:most]]

    @cached_property
    def ranked(self) -> dict[str, Parameter]:
        """The parameters that differ between complete trials, by how much of the objective's ranks they explain."""
        chosen = self.complete
        ranks = np.argsort(np.argsort(self.value[chosen])).astype(np.float64)
        weights: list[tuple[float, str, Parameter]] = []
        for name in self.distributions:
            parameter = self.parameter(name)
            positions = parameter.scaled[chosen]
            if len(np.unique(positions[~np.isnan(positions)])) + np.isnan(positions).any() > 1:
                weights.append((-_explained(positions, ranks), name, parameter))
        return {name: parameter for _, name, parameter in sorted(weights, key=lambda each: each[:2])}


def _explained(positions: Numbers, ranks: Numbers) -> float:
    """The share of the ranks' variance between groups of like positions; those without a position are one group."""
    known = ~np.isnan(positions)
    edges = np.unique(np.quantile(positions[known], np.linspace(0.0, 1.0, BINS + 1)))
    groups = np.where(known, np.searchsorted(edges[1:-1], positions, side="right"), len(edges))
    sizes = np.bincount(groups)
    means = np.bincount(groups, ranks) / np.maximum(sizes, 1)
    return float((sizes * (means - ranks.mean()) ** 2).sum() / max(1e-12, ((ranks - ranks.mean()) ** 2).sum()))


def _shown(choice: Any) -> str:
    """A choice as the name of a tick."""
    text = "null" if choice is None else str(choice)
    return text if len(text) <= 30 else text[:29] + "…"


def view(values: Numbers, maximize: bool) -> tuple[float, float] | None:
    """The part of an axis that shows the values where a few very bad ones would hide the others; else None.

    >>> view(np.array([0.0, 5.0, 10.0] * 10 + [1e9]), maximize=False)
    (-1.0, 11.0)
    >>> view(np.array([0.0, 5.0, 10.0] * 10), maximize=False)
    """
    finite = values[np.isfinite(values)]
    if len(finite) < 10:
        return None
    low, high = np.quantile(finite, [0.05, 0.95])
    worst = finite.min() if maximize else finite.max()
    best = finite.max() if maximize else finite.min()
    inner = abs(best - (low if maximize else high))
    if inner <= 0.0 or abs(worst - best) < 5.0 * inner:
        return None
    ends = sorted((best, low if maximize else high))
    return float(ends[0] - 0.1 * inner), float(ends[1] + 0.1 * inner)
