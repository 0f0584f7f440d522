"""Draws a trial's parameters until they satisfy the study file's constraints: by the sampler, then at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from ..expression_errors import in_words
from ..record import RecordStorage
from ..space import Space
from .sampling import ParamSampler

SAMPLER_TRIES = 100
"""Configurations that the sampler may suggest for one trial until one satisfies the constraints."""

RANDOM_TRIES = 5_000
"""Random configurations that are tried after that, before the campaign ends: then hardly any can satisfy them."""


class NoTrial(ValueError):
    """No trial can be suggested. The message is the end of a sentence."""


class FeasibleParams:
    """Draws the parameters of a study's trials.

    Args:
        study: With its sampler and pruner.
        storage: Where the parameters are staged.
        space: The search space, with its constraints.
    """

    def __init__(self, study: optuna.Study, storage: RecordStorage, space: Space):
        self._study, self._storage, self._space = study, storage, space
        self._random: optuna.Study | None = None

    def draw(self, trial: optuna.Trial) -> tuple[optuna.Trial, dict[str, Any]]:
        """The trial with its parameters, constants included. Parameters that the user enqueued are taken as they are.

        Args:
            trial: One that ``study.ask`` has just created.

        Raises:
            NoTrial: No configuration was found that satisfies the constraints. What the sampler raises is raised too.
        """
        sampler = ParamSampler(self._study, self._storage, trial._trial_id)
        params = sampler.draw(self._space)
        if sampler.enqueued:
            return trial, params
        for _ in range(SAMPLER_TRIES):
            if self._feasible(params):
                return trial, params
            trial, params = self._redraw(trial, self._study)
        return self._draw_random(trial)

    def _feasible(self, params: Mapping[str, Any]) -> bool:
        try:
            return self._space.feasible(params)
        except Exception as error:  # a constraint that adds a number to a text
            raise NoTrial(f"a constraint cannot be evaluated: {in_words(error)}") from error

    def _redraw(self, trial: optuna.Trial, study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
        self._storage.forget_params(trial._trial_id)
        trial = optuna.Trial(study, trial._trial_id)
        return trial, ParamSampler(study, self._storage, trial._trial_id).draw(self._space)

    def _draw_random(self, trial: optuna.Trial) -> tuple[optuna.Trial, dict[str, Any]]:
        """Draw at random, since the sampler did not satisfy the constraints."""
        if self._random is None:
            sampler = optuna.samplers.RandomSampler(seed=trial.number)
            self._random = optuna.load_study(
                study_name=self._study.study_name, storage=self._storage, sampler=sampler, pruner=self._study.pruner
            )
        for _ in range(RANDOM_TRIES):
            trial, params = self._redraw(trial, self._random)
            if self._feasible(params):
                return optuna.Trial(self._study, trial._trial_id), params
        raise NoTrial(f"none of {RANDOM_TRIES} random configurations satisfies the study file's constraints")
