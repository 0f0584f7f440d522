"""The campaign's view of its Optuna study: ask, suggest, report, tell. Everything is staged; the loop commits."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

# As Study.tell, without the deep copy of the trial that it returns.
from optuna.study._tell import _tell_with_warning
from optuna.trial import TrialState

from ...errors import PilotuneError
from ..attributes import ATTEMPT, BRACKET, NOT_BEGUN, OWNER, PARENT, PREFIX, RUNS, STEP, VERDICT
from ..distributions import own
from ..fidelity import Bracket, Origin, bracket_of
from ..record import DueCallbacks, RecordStorage
from ..record.storage import FIXED
from ..space import Space
from ..trial.protocol import STEP_LIMIT
from ..user_code.parts import FAILURES, NotReturned, UserCodeFailure, said
from .feasible_params import FeasibleParams, NoTrial
from .flight_states import require
from .incumbent import Incumbent
from .sampling import FiniteSampler, GenerationalSampler, PreparedSampler, checked_sample
from .stagnation import Stagnation
from .trial_attributes import TrialAttributes

log = logging.getLogger(__name__)


class CampaignStudy:
    """An Optuna study as one campaign uses it.

    Args:
        study: Loaded on ``storage``, with its sampler and pruner.
        storage: The record. It stages what it is given, and does not commit by itself.
        space: The search space; None where the objective defines it as it runs.
        campaign: This campaign's id, written on each trial that it owns.
        brackets: Hyperband's brackets, where it is the pruner.

    Attributes:
        attributes: Writes attributes of the trials.
        counts: Number of the study's trials in each state.
        asked: Number of trials that count for the budget, over all campaigns.
        asked_before, asked_here: What ``asked`` was at first, and how many this campaign has asked for since.
        had_results: Whether the study had results at first that a sampler learns from.
        metrics: The names of the values; empty where the study has none.
        ended: Ids of the trials that were told to the study since :meth:`pop_ended`.
        news: Reports that were kept since :meth:`pop_news`, step -> value by trial id; None where nobody wants them.
        due: Where the trials are noted whose callbacks are to be called; None where there are none.
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
        self.attributes = TrialAttributes(storage)
        self.ended: list[int] = []
        self.news: dict[int, dict[int, float]] | None = None
        self._failures: dict[str, tuple[int, str]] = {}  # sampler, pruner -> how often it failed, and how at last
        self.due: DueCallbacks | None = None
        self._stopped = False  # the sampler called Study.stop
        self._finite = study.sampler if isinstance(study.sampler, FiniteSampler) else None
        if self._finite is not None:
            storage.unit_of_work.repeated = partial(self._finite.repeated, study)
        self._generational = study.sampler if isinstance(study.sampler, GenerationalSampler) else None
        self._unprepared = study.sampler if isinstance(study.sampler, PreparedSampler) else None
        self._params = None if space is None else FeasibleParams(study, storage, space)
        self._best, self._stagnation = Incumbent(), Stagnation()
        self._pruner_hangs = False  # it did not return once, and is not called again
        self.metrics = tuple(storage.get_study_system_attrs(study._study_id).get("study:metric_names") or ())
        self.recount()
        self.asked_before, self.asked_here = self.asked, 0
        self.had_results = self.counts[TrialState.COMPLETE] + self.counts[TrialState.PRUNED] > 0

    # -- the study's state --------------------------------------------------------------------------------------------

    def recount(self) -> None:
        """Read the counts from the record, after other processes may have changed the study."""
        study_id = self.study._study_id
        self.counts = {state: self.storage.get_n_trials(study_id, (state,)) for state in TrialState}
        self.asked = self.storage.counted(study_id)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to try of a finite space: no point that no trial has taken, and no enqueued one."""
        if self._finite is None or self._stopped:
            return self._stopped
        if self.storage.get_n_trials(self.study._study_id, (TrialState.WAITING,)):
            return False
        try:
            return self._finite.exhausted(self.study)
        except ValueError:  # the next call of ``ask`` says it
            return False

    @property
    def left(self) -> int | None:
        """Most trials that may still be asked for until the sampler is exhausted; None where that is not known."""
        if self._finite is None:
            return 0 if self._stopped else None
        if self.exhausted:
            return 0
        waiting = self.storage.get_n_trials(self.study._study_id, (TrialState.WAITING,))
        return max(1, self._finite.left(self.study)) + waiting

    @property
    def at_once(self) -> int | None:
        """The most trials that run at once, since the sampler breeds generations; None for any number."""
        return None if self._generational is None else self._generational.at_once

    def waits(self) -> bool:
        """Whether the sampler should get results before it is asked. Enqueued trials need not wait for it."""
        if self.at_once is None or self.storage.get_n_trials(self.study._study_id, (TrialState.WAITING,)):
            return False
        assert self._generational is not None
        try:
            return self._generational.waits(self.study)
        except FAILURES:  # the next call of ``ask`` says it
            log.exception("asking the sampler whether it waits failed")
            return False

    @property
    def exhausted_because(self) -> str:
        """A sentence for a study that is exhausted."""
        if self._finite is None:
            return "every configuration of the space has been tried"
        return self._finite.finished(self.study)

    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best complete trial; with several objectives the first on the Pareto front. None before any."""
        return self._best.refresh(self.study) if self.counts[TrialState.COMPLETE] else None

    @property
    def front_size(self) -> int:
        """Number of trials on the Pareto front at the last call of :meth:`best`; 0 with one direction."""
        return self._best.front_size if len(self.study.directions) > 1 else 0

    def trials_without_improvement(self) -> int:
        """Finished trials of the study since one was better than all before; for studies with one direction."""
        return self._stagnation.refresh(self.study)

    def validate_patience(self) -> None:
        """Check that what was counted from changes is what a look at the whole study gives. Raises BrokenInvariant."""
        counted, whole = self.trials_without_improvement(), Stagnation().refresh(self.study)
        require(counted == whole, f"{counted} trials without improvement were counted, but there are {whole}")

    def best_trials(self) -> list[optuna.trial.FrozenTrial]:
        """The complete trials on the Pareto front that meet all constraints; of one direction only the best."""
        if len(self.study.directions) == 1:
            best = self.best()
            return [] if best is None else [best]
        return sorted(self.study.best_trials, key=lambda trial: trial.number)

    def has_attrs(self, trial: optuna.Trial) -> bool:
        """Whether the trial has user attributes that are not Pilotune's."""
        return any(not key.startswith(PREFIX) for key in self.storage.get_trial_user_attrs(trial._trial_id))

    # -- asking ------------------------------------------------------------------------------------------------

    def prepare(self) -> bool:
        """Do a part of what the sampler needs for its first suggestion. Returns whether nothing is left to do."""
        if self._unprepared is None:
            return True
        try:
            done = self._unprepared.prepare(self.study)
        except FAILURES:  # the first call of ``ask`` says it
            log.exception("preparing the sampler failed")
            done = True
        if done:
            self._unprepared = None
        return done

    def ask(self, origin: Origin | None = None) -> tuple[optuna.Trial, dict[str, Any]]:
        """Create a trial of this campaign; returns it with its parameters, constants included.

        Args:
            origin: The checkpoint that it starts from. It is written to the trial before the sampler is asked. A trial
                whose parameters the user enqueued starts from nothing all the same.

        Raises:
            ValueError: No configuration was found that satisfies the constraints, or the sampler failed.
        """
        self.storage.last_started = None
        try:
            return self._ask(origin)
        except PilotuneError:
            raise
        except FAILURES as error:
            if self.storage.last_started is not None:
                self.storage.undo_start(self.storage.last_started)
                self.recount()
            if isinstance(error, NoTrial):
                raise
            log.exception("asking for a trial failed")
            running = self.counts[TrialState.RUNNING]
            hint = f"; {running} other trials were running, which have no value yet" if running > 1 else ""
            if running == 1:
                hint = "; another trial was running, which has no value yet"
            raise ValueError(f"the sampler failed: {said(error, self.study.sampler)}{hint}") from error

    def _ask(self, origin: Origin | None) -> tuple[optuna.Trial, dict[str, Any]]:
        trial = self.study.ask()
        if origin is not None and FIXED not in self.storage.get_trial(trial._trial_id).system_attrs:
            self.storage.set_trial_attrs(trial._trial_id, {}, {PARENT: origin.parent, STEP: origin.step})
        self.counts[TrialState.RUNNING] += 1
        self.asked += 1
        self.asked_here += 1
        if self.storage.campaign != self.campaign:  # otherwise the storage sets the owner itself
            self.storage.set_trial_system_attr(trial._trial_id, OWNER, self.campaign)
        return (trial, {}) if self._params is None else self._params.draw(trial)

    def resumed(self, number: int) -> optuna.Trial:
        """Take over trial ``number`` of an earlier campaign; its parameters stay as they are."""
        trial_id = self.trial_id(number)
        self.storage.set_trial_system_attr(trial_id, OWNER, self.campaign)
        self.storage.adopt([trial_id])
        return optuna.Trial(self.study, trial_id)

    def suggest(self, trial: optuna.Trial, name: str, distribution: str) -> Any:
        """Suggest a parameter to an objective that defines its space as it runs.

        Args:
            trial: The trial.
            name: The parameter's name.
            distribution: As ``optuna.distributions.distribution_to_json`` writes it.

        Raises:
            ValueError: Optuna refuses the distribution.
        """
        wanted = json_to_distribution(distribution)
        # A value that was enqueued may lie outside, as with Optuna.
        enqueued = name in self.storage.get_trial(trial._trial_id).system_attrs.get(FIXED, {})
        value: float
        if isinstance(wanted, FloatDistribution):
            value = trial.suggest_float(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
            return value if enqueued else wanted.to_external_repr(checked_sample(name, value, wanted))
        if isinstance(wanted, IntDistribution):
            value = trial.suggest_int(name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
            return value if enqueued else wanted.to_external_repr(checked_sample(name, value, wanted))
        if isinstance(wanted, CategoricalDistribution):
            return own(wanted, trial.suggest_categorical(name, wanted.choices))  # enqueued values only equal a choice
        raise ValueError(f"{name!r}: Optuna does not know the distribution {distribution[:80]}")

    # -- reporting and telling ----------------------------------------------------------------------------------------

    @property
    def can_prune(self) -> bool:
        """Whether a report may be answered with `prune`: there is a pruner, and a single objective."""
        never = type(self.study.pruner) is optuna.pruners.NopPruner  # a subclass may prune
        return not never and len(self.study.directions) == 1 and not self._pruner_hangs

    def prunes(self, trial: optuna.Trial) -> bool:
        """Whether the pruner says, by the reports so far, that the trial should stop."""
        if not self.can_prune:
            return False
        try:
            # Not trial.should_prune(): it only sees reports that were made through the same object's report().
            return self.study.pruner.prune(self.study, self.storage.get_trial(trial._trial_id))
        except PilotuneError:
            raise
        except FAILURES as error:  # a third-party pruner: the reports are kept, and the trial goes on
            self._pruner_hangs = isinstance(error, NotReturned)
            self._warn("pruner", trial.number, error, self.study.pruner)
            return False

    def keep(self, trial: optuna.Trial, reports: Sequence[Sequence[float]]) -> dict[int, float]:
        """Stage the reports ``[step, value]`` whose steps are new; returns them.

        Of several values of a step the first counts. A step that an earlier attempt reported keeps its value: a trial's
        history never changes.
        """
        known = self.storage.get_trial(trial._trial_id).intermediate_values
        missing: dict[int, float] = {}
        for step, value in reports:
            if 0 <= step < STEP_LIMIT and int(step) not in known:
                missing.setdefault(int(step), float(value))
        if missing:
            self.storage.set_trial_intermediate_values(trial._trial_id, missing)
            if self.news is not None:
                self.news.setdefault(trial._trial_id, {}).update(missing)
        return missing

    def reported(self, trial: optuna.Trial) -> Collection[int]:
        """The steps that the trial has reported."""
        return self.storage.get_trial(trial._trial_id).intermediate_values

    def trial_id(self, number: int) -> int:
        """The database id of trial ``number``."""
        return self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    def verdict(self, number: int) -> int | None:
        """The step whose report was answered with `prune`, in whichever attempt; None where none was."""
        found = self.storage.get_trial(self.trial_id(number)).system_attrs.get(VERDICT)
        return found if type(found) is int else None

    def bracket(self, number: int) -> dict[str, int]:
        """The detail that holds the trial's Hyperband bracket; empty with other pruners."""
        return {BRACKET: bracket_of(self.study.study_name, number, self._brackets)} if self._brackets else {}

    def runs(self, number: int) -> list[list[Any]]:
        """The attempts of trial ``number`` before its last one, as they are in its attribute RUNS."""
        found = self.storage.get_trial(self.trial_id(number)).system_attrs.get(RUNS)
        return [list(run) for run in found if isinstance(run, list)] if isinstance(found, list) else []

    def fence(self, trial: optuna.Trial, attempt: int, runs: Sequence[Sequence[Any]] = ()) -> None:
        """Stage that from now on only this attempt of the trial counts, and when and where the earlier ones ran."""
        earlier = {RUNS: [list(run) for run in runs]} if runs else {}
        self.storage.set_trial_attrs(trial._trial_id, {}, {ATTEMPT: attempt, **earlier})

    def note_not_begun(self, trial: optuna.Trial, attempt: int) -> None:
        """Stage that no worker has begun this attempt, where none has begun an earlier one of the trial either."""
        attrs = self.storage.get_trial(trial._trial_id).system_attrs
        if attrs.get(NOT_BEGUN, 0) == attempt - 1:
            self.storage.set_trial_attrs(trial._trial_id, {}, {NOT_BEGUN: attempt})

    def tell(self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None = None) -> None:
        """Stage the trial's end, and let the sampler know. A sampler that fails at that does not stop the campaign."""
        try:
            _tell_with_warning(self.study, trial, list(values) if values is not None else None, state)
        except FAILURES as error:
            if not self.storage.get_trial(trial._trial_id).state.is_finished():
                raise
            # Samplers of a finite space call Study.stop at its end, which raises this outside of Study.optimize. Any
            # other error is the sampler's own. The trial has its state in both cases.
            if isinstance(error, RuntimeError) and "Study.stop" in str(error):
                self._stopped = True
            elif isinstance(error, UserCodeFailure) and error.__cause__ is not None:
                self._warn(error.what, trial.number, error.__cause__, error.code)
            else:
                self._warn("sampler", trial.number, error, self.study.sampler)
        self.counts[TrialState.RUNNING] -= 1
        self.counts[state] += 1
        self.ended.append(trial._trial_id)
        if self.due is not None:
            self.due.add(self.storage.get_trial_number_from_id(trial._trial_id))

    def _warn(self, what: str, number: int, error: BaseException, code: object) -> None:
        """Note that a sampler or a pruner failed without an end to the campaign."""
        how = said(error, code)
        if what not in self._failures:
            log.warning("trial %d: the %s failed: %s", number, what, how, exc_info=error)
        count, _ = self._failures.get(what, (0, ""))
        self._failures[what] = count + 1, f"with trial {number}: {how}"

    @property
    def warnings(self) -> list[str]:
        """A sentence each for a pruner, a sampler and a constraints_func that failed where the campaign could go on."""
        return [
            f"the {what} failed {f'{count} times, at last ' if count > 1 else ''}{how}"
            for what, (count, how) in self._failures.items()
        ]

    def pop_news(self) -> dict[int, dict[int, float]]:
        """The reports since the last call, step -> value by trial number, once they are committed."""
        if not self.news:
            return {}
        found, self.news = self.news, {}
        return {self.storage.get_trial_number_from_id(trial_id): reports for trial_id, reports in found.items()}

    def pop_ended(self, overtaken: Sequence[int] = ()) -> list[int]:
        """Numbers of the trials that were told to the study since the last call, once that is committed.

        ``overtaken``: ids of those that another process had ended before, which calls their callbacks itself.
        """
        ended, self.ended = self.ended, []
        numbers = {trial_id: self.storage.get_trial_number_from_id(trial_id) for trial_id in ended}
        for trial_id in {*overtaken} & numbers.keys():
            number = numbers.pop(trial_id)
            if self.due is not None:
                self.due.remove(number)
        return list(numbers.values())
