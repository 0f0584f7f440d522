"""Opens the study that a study file describes, and copies trials from other studies into it (transfer learning).

A new study is created; an existing one must have the directions and the space that the study file says. Both are
kept in a system attribute of the study, ``DEFINITION``. Earlier versions kept them in a user attribute, which is moved
when such a study is opened; their drivers can still open the study afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from ...errors import StudyMismatch, UserError
from ...version import __version__
from ..attributes import DEFINITION, LEARNED, REPEATS, VERSION
from .storage import RecordStorage
from .storage_urls import normalize_url
from .tables import plain

if TYPE_CHECKING:
    from ..space import Space
    from ..studyfile import StudyFile


def open_storage(url: str) -> RecordStorage:
    """Open the database at ``url`` for a campaign: writes are staged until ``commit``.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://[USER@]HOST[:PORT]/DATABASE``; a relative FILE is relative to the
            working directory. An SQLite file is created if it is missing, with mode 0600.

    Raises:
        UserError: The URL is not valid, or the database cannot be opened.
        RecordStuck: The file system of an SQLite file is full or read-only.
    """
    return RecordStorage(normalize_url(url), autocommit=False)


def open_study(
    storage: RecordStorage, study_file: StudyFile, *, sampler: BaseSampler | None, pruner: BasePruner | None
) -> optuna.Study:
    """Open the study that a study file describes, and create it if the database has none with its name.

    Args:
        storage: With ``autocommit=False``, as ``open_storage`` returns it.
        study_file: The study's name, directions, metrics and space.
        sampler: The study's sampler. None: Optuna's default.
        pruner: The study's pruner. None: Optuna's default.

    Raises:
        StudyMismatch: The database has a study with this name, but other directions or another space.
        RecordAway: The database cannot be reached.
    """
    name, directions = study_file.name, list(study_file.directions)
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        try:
            study_id = storage.create_new_study([_direction(text) for text in directions], name)
        except DuplicatedStudyError:  # another driver was first
            study_id = storage.get_study_id_from_name(name)
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    wanted = _definition(study_file)
    known = _known_definition(storage, study_id)
    stored = [direction.name.lower() for direction in study.directions]
    check_definition(study_file, stored, known, lambda: storage.distributions(study_id))
    if known is None:
        storage.set_study_user_attr(study_id, VERSION, __version__)
        if study_file.metrics:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(list(study_file.metrics))
    _keep_definition(storage, study_id, wanted if known is None else known)
    return study


def check_definition(
    study_file: StudyFile,
    directions: Sequence[str],
    known: Mapping[str, Any] | None,
    sampled: Callable[[], Mapping[str, BaseDistribution]],
) -> None:
    """Raise StudyMismatch if a study file describes another study than the one of its name in the database.

    Args:
        study_file: The study file.
        directions: The directions of the study in the database.
        known: What it was created with; None if Pilotune has never opened it.
        sampled: Returns the distributions of its trials; called for a study that Pilotune has never opened.
    """
    found = _differences(directions, known, _definition(study_file), study_file.space, sampled)
    if found:
        what = "directions" if found[0].startswith("direction") else "search space"
        raise StudyMismatch(
            f"the {what} of {study_file.name!r} changed after it ran: {'; '.join(found)}. Undo the change, or run this "
            "as a new study with --new-name NAME",
            file=study_file.path,
        )


def _known_definition(storage: RecordStorage, study_id: int) -> dict[str, Any] | None:
    """What the study was created with; None if Pilotune has never opened it."""
    for attrs in (storage.get_study_system_attrs(study_id), storage.get_study_user_attrs(study_id)):
        if isinstance(attrs.get(DEFINITION), dict):
            return dict(attrs[DEFINITION])
    return None


def _keep_definition(storage: RecordStorage, study_id: int, definition: Mapping[str, Any]) -> None:
    """Commit the definition as a system attribute, and then remove the user attribute of earlier versions."""
    if storage.get_study_system_attrs(study_id).get(DEFINITION) != definition:
        storage.set_study_system_attr(study_id, DEFINITION, definition)
    storage.commit()
    if DEFINITION in storage.get_study_user_attrs(study_id):
        storage.drop_study_user_attr(study_id, DEFINITION)


def _direction(text: str) -> optuna.study.StudyDirection:
    return optuna.study.StudyDirection[text.upper()]


def _definition(study_file: StudyFile) -> dict[str, Any]:
    space = study_file.space
    definition = {
        "space": None if space is None else space.to_json(),
        "directions": list(study_file.directions),
        "metrics": list(study_file.metrics),
    }
    return dict(plain(definition))


def _differences(
    stored: Sequence[str],
    known: Mapping[str, Any] | None,
    wanted: Mapping[str, Any],
    space: Space | None,
    sampled: Callable[[], Mapping[str, BaseDistribution]],
) -> list[str]:
    found = []
    if list(stored) != wanted["directions"]:
        found.append(f"{_directions(stored)} in the database, {_directions(wanted['directions'])} in the study file")
    if known is None:
        # The study was created by plain Optuna, so its space is known only from its trials' distributions.
        return found if space is None else found + _clashes(sampled(), space.distributions)
    old, new = known.get("space"), wanted["space"]
    if (old is None) != (new is None):
        kinds = "defined by the objective as it runs", "given by `space`"
        return [
            *found,
            f"the space is {kinds[old is not None]} in the database, {kinds[new is not None]} in the study file",
        ]
    if old is None:
        return found
    from ..space import differences

    return found + differences(old, new)


def _directions(names: Sequence[str]) -> str:
    return f"direction {names[0]}" if len(names) == 1 else f"directions [{', '.join(names)}]"


def _clashes(seen: Mapping[str, BaseDistribution], wanted: Mapping[str, BaseDistribution]) -> list[str]:
    from ..distributions import describe

    found = []
    for name in seen.keys() & wanted.keys():
        try:
            check_distribution_compatibility(seen[name], wanted[name])
        except ValueError:
            found.append(f"{name}: {describe(seen[name])} in the database, {describe(wanted[name])} in the study file")
    return sorted(found)


def learn_from(storage: RecordStorage, study: optuna.Study, names: Sequence[str], space: Space | None = None) -> int:
    """Copy the complete trials of other studies in the same database into ``study``, for its sampler to learn from.

    Copied trials do not count for the budget. Each is copied once, however often this is called.

    Args:
        storage: The storage of ``study``.
        study: The study to copy into.
        names: Names of the studies to copy from.
        space: Copy the trials whose parameters are a configuration of this space. None: those whose distributions are
            compatible with the study's.

    Returns:
        Number of trials copied by this call.

    Raises:
        UserError: There is no such study, or it has other directions.
        RecordAway: The database cannot be reached.
    """
    copied = 0
    here = storage.get_all_trials(study._study_id, deepcopy=False)
    copied_before = {trial.user_attrs[LEARNED] for trial in here if LEARNED in trial.user_attrs}
    for name in names:
        other = other_study(storage, study, name)
        for trial in storage.get_all_trials(other, deepcopy=False, states=(TrialState.COMPLETE,)):
            origin = f"{name}#{trial.number}"
            # A trial that was itself copied would be learned twice if its first study is named too.
            if origin in copied_before or LEARNED in trial.user_attrs:
                continue
            fitting = _fit(trial, space) if space is not None else _compatible(storage, study, trial)
            if fitting is not None:
                study.add_trial(_copy(trial, *fitting, origin))
                copied += 1
        storage.unit_of_work.unload(other)
    storage.commit()
    return copied


def other_study(storage: RecordStorage, study: optuna.Study, name: str) -> int:
    """The id of the study ``name`` that ``study`` learns from. Raises UserError if it cannot."""
    if name == study.study_name:
        raise UserError(f"the study {name!r} cannot learn from itself", key="start_from.studies")
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        known = ", ".join(sorted(each.study_name for each in storage.get_all_studies())) or "none"
        raise UserError(f"no study {name!r} in the database; it has: {known}", key="start_from.studies") from None
    if storage.get_study_directions(study_id) != study.directions:
        raise UserError(
            f"{name!r} has other directions than this study, so its trials cannot be copied", key="start_from.studies"
        )
    return study_id


_Fitting = tuple[dict[str, Any], dict[str, BaseDistribution]]


def _fit(trial: FrozenTrial, space: Space) -> _Fitting | None:
    """The trial's parameters as a configuration of ``space``, or None."""
    from ..distributions import contains

    values, params = dict(space.constants), {}
    for parameter in space.parameters:
        name = parameter.name
        if not parameter.active(values):
            continue
        if name not in trial.params or not contains(parameter.distribution, trial.params[name]):
            return None
        values[name] = params[name] = trial.params[name]
    known = {**space.constants, **params}
    if any(name not in known or known[name] != value for name, value in trial.params.items()):
        return None
    return (params, {name: space.distributions[name] for name in params}) if space.feasible(params) else None


def _compatible(storage: RecordStorage, study: optuna.Study, trial: FrozenTrial) -> _Fitting | None:
    sampled = storage.distributions(study._study_id)
    return None if _clashes(sampled, trial.distributions) else (dict(trial.params), dict(trial.distributions))


def _copy(
    trial: FrozenTrial, params: dict[str, Any], distributions: dict[str, BaseDistribution], origin: str
) -> FrozenTrial:
    copy = optuna.create_trial(
        state=TrialState.COMPLETE,
        values=trial.values,
        params=params,
        distributions=distributions,
        user_attrs={LEARNED: origin},
        system_attrs={REPEATS: trial.system_attrs[REPEATS]} if REPEATS in trial.system_attrs else {},
    )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy
