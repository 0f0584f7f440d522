"""The sampler ``agebo``: ageing evolution of an architecture, and a model of the other hyperparameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...space import Space
from ..evolution import AgeingSampler
from ..exhaustive import FIXED
from ..forest import ForestSampler
from ..surrogate import GPSampler
from ..tpe import TPESampler

MODELS = ("gp", "forest", "tpe")
"""Models of the hyperparameters."""

TRIES = 20
"""Suggestions of a model that are tried until one meets the constraints on hyperparameters."""


class AgEBOSampler(AgeingSampler):
    """Ageing evolution with Bayesian optimization: evolution finds the architecture, and a model the rest.

    A child differs from its parent at one node of the graph, as with :class:`AgeingSampler`. Its other hyperparameters,
    such as the learning rate, are those that the model suggests. Égelé et al., AgEBO-Tabular: Joint Neural
    Architecture and Hyperparameter Search with Autotuned Data-Parallel Training for Tabular Data, SC 2021
    (arXiv:2010.16358). As published is ``model="forest", kappa=0.001``: the forest knows nothing of the architecture,
    takes the lowest bound of confidence, and counts running trials as the best result.

    Args:
        evolve: The graph; None: all graphs of the space.
        model: ``gp``, ``forest`` (needs scikit-learn) or ``tpe``.
        kappa: Standard deviations by which the forest goes below the mean. None: ``qucb``, as the sampler forest does.
        see: Whether the model knows the architecture, too, and suggests the best for the one that the trial gets. Not
            with ``tpe``.
        population, sample, step, inherit, seed, constraints_func: As of :class:`AgeingSampler`.
        space: The search space, which has a graph.

    Raises:
        ValueError: The space has no such graph or no hyperparameter beside it, or arguments contradict each other.

    Example:
        >>> import optuna
        >>> from optuna.distributions import CategoricalDistribution, FloatDistribution
        >>> from pilotune.pipeline.architecture.graph import Graph, Node
        >>> from pilotune.pipeline.space import Parameter
        >>> operations = ("dense(4)", "dense(8)", "dense(16)")
        >>> space = Space(
        ...     (
        ...         Parameter("net.cell1", CategoricalDistribution(operations)),
        ...         Parameter("lr", FloatDistribution(1e-4, 1.0, log=True)),
        ...     ),
        ...     graphs={"net": Graph({"x": (8,)}, (Node("cell1", ("x",), operations),))},
        ... )
        >>> study = optuna.create_study(sampler=AgEBOSampler(evolve="net", population=4, seed=0, space=space))
        >>> for _ in range(30):
        ...     trial = study.ask()
        ...     params = space.suggest(trial)
        ...     _ = study.tell(trial, (params["net.cell1"] != "dense(8)") + abs(params["lr"] - 0.1))
        >>> study.best_params["net.cell1"]
        'dense(8)'
    """

    def __init__(
        self,
        *,
        evolve: str | None = None,
        model: str = "gp",
        kappa: float | None = None,
        see: bool = False,
        population: int | None = None,
        sample: int | None = None,
        step: float | None = None,
        inherit: bool = False,
        seed: int | None = None,
        space: Space | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        if model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, but is {model!r}")
        if kappa is not None and model != "forest":
            raise ValueError(f"kappa is the forest's: write model: forest, or leave it out with {model}")
        if see and model == "tpe":
            raise ValueError("tpe cannot suggest for a given architecture: write model: gp or forest, or see: false")
        super().__init__(
            population=population,
            sample=sample,
            step=step,
            inherit=inherit,
            seed=seed,
            space=space,
            constraints_func=constraints_func,
        )
        self._evolved = _evolved(space, evolve)
        self._see = see
        assert space is not None
        self._hyperparameters = _without(space, self._evolved)
        self._model = _model(model, kappa, space if see else self._hyperparameters, seed)
        self._read_anew()

    def _read_anew(self) -> None:
        super()._read_anew()
        self._breeder.evolved = getattr(self, "_evolved", None)

    def reseed_rng(self) -> None:
        """Continue with other random numbers, as Optuna asks of copies of a sampler."""
        super().reseed_rng()
        self._model.reseed_rng()

    def prepare(self, study: Study) -> bool:
        """Do a part of what the first suggestion needs; returns whether nothing is left to do."""
        prepare = getattr(self._model, "prepare", None)
        return prepare is None or bool(prepare(study))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A child's architecture, and what the model suggests for the rest."""
        if not self._see:
            return super().sample_relative(study, trial, search_space)
        child = super().sample_relative(study, trial, search_space)
        architecture = {name: value for name, value in child.items() if name in self._evolved}
        found = self._model.sample_relative(study, _with_fixed(trial, architecture), search_space)
        return {**child, **found, **architecture}

    def _fixed(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> Mapping[str, Any]:
        """The hyperparameters that the model suggests, and values that the user gave."""
        given = super()._fixed(study, trial, search_space)
        if self._see:
            return given
        rest = {name: each for name, each in search_space.items() if name not in self._evolved}
        known = {name: value for name, value in given.items() if name in rest}
        for _ in range(TRIES if rest else 0):
            found = self._suggested(study, _with_fixed(trial, known), rest, known)
            if self._hyperparameters.feasible(found):  # tpe knows nothing of constraints
                return {**found, **given}
        return given

    def _suggested(
        self,
        study: Study,
        trial: FrozenTrial,
        rest: dict[str, BaseDistribution],
        known: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The hyperparameters that the model suggests; at random while it suggests none."""
        found = self._model.sample_relative(study, trial, rest)
        if not found:
            found = {name: self._model.sample_independent(study, trial, name, each) for name, each in rest.items()}
        return {**found, **known}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Optuna calls this before each trial."""
        self._model.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Optuna calls this after each trial."""
        super().after_trial(study, trial, state, values)
        self._model.after_trial(study, trial, state, values)


def _evolved(space: Space | None, graph: str | None) -> frozenset[str]:
    """The parameters of a graph, or of all."""
    graphs = {} if space is None else space.graph_parameters
    if space is None or not graphs:
        raise ValueError("agebo needs a graph in the space; without one, use ageing or gp")
    if graph is not None and graph not in graphs:
        raise ValueError(f"evolve must name a graph of the space, {' or '.join(graphs)}, but is {graph!r}")
    found = frozenset(name for each in ([graph] if graph else graphs) for name in graphs[each])
    if found >= space.distributions.keys():
        raise ValueError("agebo needs a hyperparameter beside the graph, as in lr: {float: [0.001, 0.1]}; use ageing")
    return found


def _without(space: Space, names: frozenset[str]) -> Space:
    """The space without some parameters, and without the constraints and graphs that need them."""
    left = tuple(each for each in space.parameters if each.name not in names)
    graphs = {name: graph for name, graph in space.graphs.items() if names.isdisjoint(space.graph_parameters[name])}
    kept = replace(space, parameters=left, constraints=(), graphs=graphs)
    known = {*kept.names, *(f"{name}_{end}" for name in graphs for end in ("parameters", "fits"))}
    return replace(kept, constraints=tuple(each for each in space.constraints if known.issuperset(each.names)))


def _model(model: str, kappa: float | None, space: Space, seed: int | None) -> BaseSampler:
    if model == "gp":
        return GPSampler(seed=seed, space=space)
    if model == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=space.conditional)
    if kappa is None:
        return ForestSampler(seed=seed, space=space)
    return ForestSampler(seed=seed, space=space, acquire="lcb", kappa=kappa, decay=0, lie="min")


def _with_fixed(trial: FrozenTrial, values: Mapping[str, Any]) -> FrozenTrial:
    """The trial as a model sees it, with values that it has already."""
    seen = copy.copy(trial)
    given = {name: value for name, value in trial.system_attrs.items() if name != FIXED}
    seen.system_attrs = {**given, **({FIXED: dict(values)} if values else {})}
    return seen
