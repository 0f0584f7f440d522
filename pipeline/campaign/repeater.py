"""Decides which trials are run once more, and tells the mean of their repetitions.

A repetition is one or more further attempts of the trial: it begins with an empty checkpoint folder and a seed of its
own, and ends when an attempt returns values. These are committed before the next repetition is submitted, so whatever
dies, at most the repetition that runs is lost.

Where the study file says ``repeats: {least: L, most: M}``, a trial races against the best one, as in the procedure
Intensify of SMAC (Hutter, Hoos and Leyton-Brown, LION 2011) and FocusedILS before it (Hutter, Hoos, Leyton-Brown and
Stuetzle, JAIR 36, 2009): after the first L repetitions it goes on while its mean is no worse than that of the best
trial, which has been run M times. So the best trial always has all its repetitions, and most others have few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from ..attributes import REPEATS, REPETITIONS, SPREAD
from ..noise import Repeats, Repetition, mean_constraints, means, repetitions_of, spreads
from .campaign_study import CampaignStudy
from .cautious_incumbent import CautiousIncumbent
from .flight import Flight, seed_of
from .incumbent import Incumbent
from .trial_attributes import CONSTRAINTS

if TYPE_CHECKING:
    from ..noise.bounds import CautiousBest


class Repeater:
    """Keeps the values of each trial's repetitions, and decides whether there is another one.

    Args:
        study: The campaign's study; everything is staged in it.
        repeats: How often each trial is run.
        seed: The study file's, from which those of the repetitions follow.
    """

    def __init__(self, study: CampaignStudy, repeats: Repeats, seed: int | None) -> None:
        self._study, self._repeats, self._seed = study, repeats, seed
        self._best = CautiousIncumbent()
        self._rivals = Incumbent(lambda trial: len(repetitions_of(trial)) >= repeats.most)

    def keep(self, flight: Flight, values: Sequence[float]) -> None:
        """An attempt has returned values: keep them, unless no trial is repeated."""
        if self._repeats.most == 1 and not flight.repetitions:
            return
        trial = self._trial(flight)
        constraints = {key: value for key, value in trial.system_attrs.items() if _is_constraint(key)}
        seed = seed_of(self._seed, self._study.study.study_name, flight.number, flight.repeat)
        flight.repetitions += (Repetition(flight.token, seed, tuple(values), constraints),)
        self._study.attributes.annotate(flight.trial, {}, {REPEATS: [each.to_json() for each in flight.repetitions]})

    def again(self, flight: Flight) -> bool:
        """Whether the trial, whose last attempt has returned values, is to be repeated once more."""
        done, repeats = len(flight.repetitions), self._repeats
        if not done or done >= repeats.most:
            return False
        return done < repeats.least or not self._is_beaten(flight)

    def _is_beaten(self, flight: Flight) -> bool:
        """Whether a trial with all its repetitions is better than the mean of this one's."""
        study = self._study.study
        best = self._rivals.refresh(study)
        broken = any(amount > 0.0 for amount in _amounts(mean_constraints(flight.repetitions)))
        return best is not None and (broken or self._rivals.beats(means(flight.repetitions), study.directions))

    def result(self, flight: Flight, values: Sequence[float]) -> list[float]:
        """The trial's values at its end: the mean of its repetitions, or ``values`` where it has none.

        Stages its spread and the mean of its constraints, too.
        """
        if not flight.repetitions:
            return list(values)
        spread = spreads(flight.repetitions)
        notes = {REPETITIONS: len(flight.repetitions)}
        if spread is not None:
            notes[SPREAD] = spread[0] if len(spread) == 1 else spread  # type: ignore[assignment]
        self._study.attributes.annotate(flight.trial, notes, mean_constraints(flight.repetitions))
        return means(flight.repetitions)

    def best(self) -> CautiousBest | None:
        """The trial with the best pessimistic bound; None with several objectives, or where no trial is repeated."""
        study = self._study.study
        return None if len(study.directions) > 1 or self._repeats.most == 1 else self._best.refresh(study)

    def _trial(self, flight: Flight) -> FrozenTrial:
        return self._study.storage.get_trial(flight.trial_id)


def _is_constraint(key: str) -> bool:
    return key == CONSTRAINTS or key.startswith(f"{CONSTRAINTS}:")


def _amounts(constraints: dict[str, float | list[float]]) -> list[float]:
    """All numbers of a trial's constraints."""
    return [each for value in constraints.values() for each in (value if isinstance(value, list) else [value])]
