"""The samplers that are compared, each made from a problem and a seed."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmarks import common

from .problems import Problem, Space


class DeepHyper(BaseSampler):
    """DeepHyper's centralized Bayesian optimization (CBO), asked for one configuration at a time.

    With its defaults, except that the acquisition function is maximized over 1,000 random configurations: its genetic
    algorithm takes 0.7 s a trial, which is hours for a table. A pruned trial counts with its last report, a failed one
    as failed.
    """

    def __init__(self, space: Space, seed: int):
        from deephyper.hpo import CBO, HpProblem

        problem = HpProblem()
        for name, kind in space.items():
            if isinstance(kind, CategoricalDistribution):
                problem.add_hyperparameter(list(kind.choices), name)
            else:
                prior = "log-uniform" if kind.log else "uniform"
                problem.add_hyperparameter((kind.low, kind.high, prior), name)
        self.space = space
        self.folder = tempfile.TemporaryDirectory()
        self.search = CBO(
            problem,
            random_state=seed,
            log_dir=self.folder.name,
            checkpoint_history_to_csv=False,
            acq_optimizer="sampling",
            acq_optimizer_kwargs={"n_points": 1000, "max_total_failures": 1_000_000},
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (params,) = self.search.ask(1)
        return {name: value.item() if hasattr(value, "item") else value for name, value in params.items()}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, kind: BaseDistribution) -> Any:
        raise AssertionError(f"{name} was not asked for with the others")

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        value = values[0] if values else trial.intermediate_values.get(trial.last_step or 0)
        objective = "F" if state == TrialState.FAIL or value is None else -value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.search.tell([(trial.params, objective)])


def pilotune(**options: Any) -> Callable[[Problem, int], BaseSampler]:
    """Pilotune's TPE with `options`."""

    def made(problem: Problem, seed: int) -> BaseSampler:
        from pilotune.pipeline.suggest.tpe import TPESampler

        return TPESampler(seed=seed, **options)

    return made


SAMPLERS: dict[str, Callable[[Problem, int], BaseSampler]] = {
    "random": lambda problem, seed: optuna.samplers.RandomSampler(seed=seed),
    "optuna": lambda problem, seed: optuna.samplers.TPESampler(seed=seed),
    "deephyper": lambda problem, seed: DeepHyper(problem.space, seed),
    "pilotune": pilotune(),
    "pilotune-crowd": pilotune(parallel="crowd"),
}


def absent(name: str) -> str | None:
    """Why the sampler `name` is not available here, in a sentence; None where it is."""
    return common.missing("deephyper") if name == "deephyper" else None
