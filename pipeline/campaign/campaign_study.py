"""The campaign's hand on its Optuna study: ask, suggest, report, tell. Everything is staged; the pump commits."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

# What Study.tell does, but for the deep copy of the trial that it returns.
from optuna.study._tell import _tell_with_warning
from optuna.trial import TrialState

from ...errors import PilotuneError
from ..fidelity import Bracket, bracket_of
from ..record import OWNER, RecordStorage
from ..space import Space
from ..trial.protocol import STEP_LIMIT
from .incumbent import Incumbent
from .sampling import ParamSampler

log = logging.getLogger(__name__)

SAMPLER_TRIES = 100
RANDOM_TRIES = 5_000


ATTRIBUTE_LIMIT = 2**26
"""Characters of an attribute; databases have limits, and what no commit can bring in would keep out all the rest."""


def _check_size(value: Any) -> None:
    if isinstance(value, str) and len(value) < ATTRIBUTE_LIMIT // 12:  # what JSON makes of one character, at most
        return
    if isinstance(value, str | list | dict) and len(json.dumps(value)) > ATTRIBUTE_LIMIT:
        raise ValueError(f"it is longer than {ATTRIBUTE_LIMIT} characters; write it to a file and keep the file's name")


class CampaignStudy:
    """An Optuna study, seen by one campaign.

    Args:
        study: Loaded on ``storage``, with its sampler and pruner.
        storage: The record; staged, not committing by itself.
        space: None where the objective defines it as it runs.
        campaign: This campaign's id, written on each trial it owns.
        brackets: Hyperband's, where it is the pruner.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: RecordStorage,
        space: Space | None,
        campaign: str,
        brackets: Sequence[Bracket] = (),
    ):
        self.study, self.storage, self.space, self.campaign = study, storage, space, campaign
        self._brackets = brackets
        self.exhausted = False
        self._random: optuna.Study | None = None
        self._best = Incumbent()
        self.recount()

    # -- what there is ------------------------------------------------------------------------------------------------

    def recount(self) -> None:
        """Count what the study holds; after others may have changed it. The record has the numbers."""
        study_id = self.study._study_id
        self.counts = {state: self.storage.get_n_trials(study_id, (state,)) for state in TrialState}
        self.asked = self.storage.counted(study_id)

    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best finished trial; of several objectives the first of the Pareto front."""
        return self._best.look(self.study) if self.counts[TrialState.COMPLETE] else None

    # -- what is tried ------------------------------------------------------------------------------------------------

    def ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        """A new trial of this campaign and its parameters, constants included.

        Raises ValueError when no configuration can be found that keeps the constraints, or the sampler fails.
        """
        try:
            return self._ask()
        except (PilotuneError, ValueError):
            raise
        except Exception as error:  # of somebody else's sampler, or a constraint that adds numbers to words
            log.exception("asking for a trial failed")
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def _ask(self) -> tuple[optuna.Trial, dict[str, Any]]:
        trial = self.study.ask()
        self.counts[TrialState.RUNNING] += 1
        self.asked += 1
        if self.storage.campaign != self.campaign:  # else the storage has done it
            self.storage.set_trial_system_attr(trial._trial_id, OWNER, self.campaign)
        if self.space is None:
            return trial, {}
        drawing = ParamSampler(self.study, self.storage, trial._trial_id)
        params = drawing.draw(self.space)
        if drawing.enqueued:
            return trial, params
        for _ in range(SAMPLER_TRIES):
            if self.space.feasible(params):
                return trial, params
            trial, params = self._again(trial, self.study)
        return self._ask_random(trial)

    def _again(self, trial: optuna.Trial, study: optuna.Study) -> tuple[optuna.Trial, dict[str, Any]]:
        assert self.space is not None
        self.storage.forget_params(trial._trial_id)
        trial = optuna.Trial(study, trial._trial_id)
        return trial, ParamSampler(study, self.storage, trial._trial_id).draw(self.space)

    def _ask_random(self, trial: optuna.Trial) -> tuple[optuna.Trial, dict[str, Any]]:
        """The sampler keeps breaking the constraints: take any configuration that does not."""
        assert self.space is not None
        if self._random is None:
            sampler = optuna.samplers.RandomSampler(seed=trial.number)
            self._random = optuna.load_study(
                study_name=self.study.study_name, storage=self.storage, sampler=sampler, pruner=self.study.pruner
            )
        for _ in range(RANDOM_TRIES):
            trial, params = self._again(trial, self._random)
            if self.space.feasible(params):
                return optuna.Trial(self.study, trial._trial_id), params
        raise ValueError(f"no configuration in {RANDOM_TRIES} random ones keeps the study file's constraints")

    def resumed(self, number: int) -> optuna.Trial:
        """A trial of an earlier campaign, to go on with; its parameters stand."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        self.storage.set_trial_system_attr(trial_id, OWNER, self.campaign)
        self.storage.adopt([trial_id])
        return optuna.Trial(self.study, trial_id)

    def suggest(self, trial: optuna.Trial, name: str, distribution: str) -> Any:
        """A parameter of an objective that suggests as it runs. Raises ValueError for what Optuna refuses."""
        wanted = json_to_distribution(distribution)
        if isinstance(wanted, FloatDistribution):
            return trial.suggest_float(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
        if isinstance(wanted, IntDistribution):
            return trial.suggest_int(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
        if isinstance(wanted, CategoricalDistribution):
            return trial.suggest_categorical(name, wanted.choices)
        raise ValueError(f"{name!r}: {distribution[:80]} is no distribution that Optuna knows")

    # -- what came of it ----------------------------------------------------------------------------------------------

    def prunes(self, trial: optuna.Trial) -> bool:
        """Whether the pruner says, by the reports so far, that the trial is to stop."""
        if len(self.study.directions) > 1:
            return False
        try:
            # Not trial.should_prune(): it looks at reports that came through that object's own report() only.
            return self.study.pruner.prune(self.study, self.storage.get_trial(trial._trial_id))
        except PilotuneError:
            raise
        except Exception as error:  # of somebody else's pruner: the reports are kept, and the trial goes on
            log.warning("trial %d: the pruner failed: %r", trial.number, error)
            return False

    def keep(self, trial: optuna.Trial, reports: Sequence[Sequence[float]]) -> dict[int, float]:
        """Keep those ``[step, value]`` whose steps are new, of one step the first; returns them.

        A step that an earlier attempt reported keeps its value: a trial's history never changes.
        """
        known = self.storage.get_trial(trial._trial_id).intermediate_values
        missing: dict[int, float] = {}
        for step, value in reports:
            if 0 <= step < STEP_LIMIT and int(step) not in known:
                missing.setdefault(int(step), float(value))
        if missing:
            self.storage.set_trial_intermediate_values(trial._trial_id, missing)
        return missing

    def bracket(self, number: int) -> dict[str, int]:
        """Hyperband's bracket of a trial, as an attribute; nothing with other pruners."""
        return {"pilotune:bracket": bracket_of(self.study.study_name, number, self._brackets)} if self._brackets else {}

    def annotate(self, trial: optuna.Trial, attrs: Mapping[str, Any]) -> None:
        """Keep user attributes. One that no database can hold (a name of a thousand letters) is left out."""
        try:
            self._annotate(trial, attrs)
        except (ValueError, TypeError, RecursionError) as error:
            if len(attrs) > 1:
                for key, value in attrs.items():
                    self.annotate(trial, {key: value})
                return
            for key in attrs:
                log.warning("trial %d: the attribute %r is left out: %s", trial.number, key[:80], error)

    def _annotate(self, trial: optuna.Trial, attrs: Mapping[str, Any]) -> None:
        for value in attrs.values():
            _check_size(value)
        if attrs:
            self.storage.set_trial_user_attrs(trial._trial_id, attrs)

    def fence(self, trial: optuna.Trial, attempt: int) -> None:
        """From here on only this attempt of the trial counts."""
        self.storage.set_trial_system_attr(trial._trial_id, "pilotune:attempt", attempt)

    def tell(self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None = None) -> None:
        try:
            _tell_with_warning(self.study, trial, list(values) if values is not None else None, state)
        except Exception as error:
            if not self.storage.get_trial(trial._trial_id).state.is_finished():
                raise
            # Samplers that walk a finite space end the study by Study.stop, which outside Study.optimize raises
            # this; what else fails is somebody's sampler. The trial has its state in any case.
            if isinstance(error, RuntimeError) and "Study.stop" in str(error):
                self.exhausted = True
            else:
                log.warning("trial %d: the sampler failed at its end: %r", trial.number, error)
        self.counts[TrialState.RUNNING] -= 1
        self.counts[state] += 1
