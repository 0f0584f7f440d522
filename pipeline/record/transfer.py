"""What a study learns from earlier studies, kept in the study itself, so that it goes on from the database alone.

When a study with ``start_from.studies`` is first opened, the complete trials of these studies are brought into its
space and stored in one system attribute, ``EARLIER``, with the narrowed space if the study file asks for one; and the
points that were good in them are enqueued. Every driver of the study, and each later campaign, reads the attribute:
what happens to the earlier studies then makes no difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from ...grammar import count
from ..attributes import EARLIER, LEARNED
from .storage import RecordStorage
from .tables import plain

if TYPE_CHECKING:
    from ..studyfile import StudyFile
    from ..suggest.transfer.earlier import EarlierStudy


@dataclass(frozen=True)
class Learned:
    """What a study learns from earlier ones.

    Attributes:
        studies: The earlier studies' trials.
        narrowed: The smaller distributions, by parameter.
        points: What is to be tried first.
        misfits: What does not fit, in sentences.
        said: What is learned, in sentences.
    """

    studies: tuple[EarlierStudy, ...] = ()
    narrowed: Mapping[str, BaseDistribution] = dataclasses.field(default_factory=dict)
    points: tuple[Mapping[str, Any], ...] = ()
    misfits: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the database."""
        from ..suggest.transfer import narrowing

        studies = [study.to_json() for study in self.studies]
        return dict(plain({"studies": studies, "narrowed": narrowing.to_json(self.narrowed)}))


def learned(study_file: StudyFile, trials_of: Callable[[str], Sequence[FrozenTrial]]) -> Learned:
    """What a new study learns from those that its file names.

    Args:
        study_file: The study file.
        trials_of: The trials of an earlier study, by its name.
    """
    from ..suggest.registry import EXHAUSTIVE, TRANSFER
    from ..suggest.transfer.first_points import first_points
    from ..suggest.transfer.fitting import fit_study, free_parameters
    from ..suggest.transfer.narrowing import narrowed, with_distributions

    start, space = study_file.start_from, study_file.space
    trials = {name: trials_of(name) for name in start.studies}
    distributions = free_parameters(space, list(trials.values()))
    maximize = study_file.directions[0] == "maximize"
    fitted = [fit_study(name, found, distributions, maximize=maximize) for name, found in trials.items()]
    studies = tuple(each.study for each in fitted if each.study is not None)
    sampler = study_file.sampler.name
    points: tuple[Mapping[str, Any], ...] = ()
    smaller = narrowed(space, studies, start.enqueue) if start.narrow and space is not None else {}
    if studies and sampler not in (*EXHAUSTIVE, "partial_fixed"):
        searched = None if space is None else with_distributions(space, smaller)
        points = tuple(first_points(studies, {**distributions, **smaller}, searched))
    number = sum(each.trials for each in fitted if each.study is not None)
    said = []
    if studies:
        names = ", ".join(repr(study.name) for study in studies)
        learns = f"{sampler} learns from {count(number, 'trial')} of {names}"
        if sampler not in TRANSFER:
            learns = f"{sampler} does not learn from other studies"
        tried = f"{count(len(points), 'point')} of {'theirs' if len(studies) > 1 else names} will be tried first"
        said.append(f"{learns}; {tried}" if points else learns)
    return Learned(
        studies,
        smaller,
        points,
        tuple(sentence for each in fitted for sentence in each.misfits),
        tuple(said),
    )


def keep_learned(storage: RecordStorage, study: optuna.Study, study_file: StudyFile) -> list[str]:
    """Store what the study learns, and enqueue its first points, unless that was done before.

    Returns:
        What the user should know, in sentences.

    Raises:
        UserError: There is no such study, or it has other directions.
        RecordAway: The database cannot be reached.
    """
    from .study_definition import other_study

    if EARLIER in storage.get_study_system_attrs(study._study_id):
        return []
    here = storage.get_all_trials(study._study_id, deepcopy=False)
    if any(LEARNED in trial.user_attrs for trial in here):  # copied by an earlier version
        return []
    ids = {name: other_study(storage, study, name) for name in study_file.start_from.studies}

    def trials_of(name: str) -> Sequence[FrozenTrial]:
        return storage.get_all_trials(ids[name], deepcopy=False)

    found = learned(study_file, trials_of)
    notes = [*found.said, *found.misfits]
    if found.narrowed and any(trial.state != TrialState.WAITING for trial in here):
        found = dataclasses.replace(found, narrowed={})
        notes.append("the study had trials before start_from.narrow was set, so its space stays as it is")
    elif study_file.start_from.narrow and not found.narrowed:
        why = "the best earlier trials are spread over all of the space" if found.studies else "no earlier trial fits"
        notes.append(f"start_from.narrow leaves the space as it is: {why}")
    notes += narrowed_in_words(found.narrowed)
    for study_id in ids.values():
        storage.unit_of_work.unload(study_id)
    storage.set_study_system_attr(study._study_id, EARLIER, found.to_json())
    for point in found.points:
        study.enqueue_trial(dict(point), skip_if_exists=True)
    storage.commit()
    return notes


def narrowed_in_words(smaller: Mapping[str, BaseDistribution]) -> list[str]:
    """The narrowed ranges, in one sentence; nothing where there are none."""
    from ..distributions import describe

    parts = [f"{name} is {describe(distribution)}" for name, distribution in smaller.items()]
    return [f"the space is narrowed to what was good before: {'; '.join(parts)}"] if parts else []


def earlier_studies(study: optuna.Study) -> tuple[EarlierStudy, ...]:
    """The earlier studies' trials that the study keeps."""
    from ..suggest.transfer.earlier import EarlierStudy

    kept = study._storage.get_study_system_attrs(study._study_id).get(EARLIER) or {}
    return tuple(EarlierStudy.from_json(each) for each in kept.get("studies", ()))


def in_its_space(study_file: StudyFile, study: optuna.Study) -> StudyFile:
    """The study file with the space that the study searches: a narrowed one where the study keeps one."""
    from ..suggest.transfer import narrowing

    kept = study._storage.get_study_system_attrs(study._study_id).get(EARLIER) or {}
    smaller = narrowing.from_json(kept.get("narrowed") or {})
    if study_file.space is None or not smaller:
        return study_file
    return dataclasses.replace(study_file, space=narrowing.with_distributions(study_file.space, smaller))
