"""Deletes, renames and copies whole studies in the database.

Deleting and renaming are one transaction each, with the study locked, and are refused while a driver works on it. A
copy is made under another name, which becomes the wanted one only when it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import IntegrityError

from ...errors import CampaignRunning, UserError
from ..attributes import (
    ATTEMPT,
    COPIED,
    DIRECTORY,
    LEARNED,
    LEASE,
    LEFT,
    NOT_BEGUN,
    OWNER,
    PAUSED,
    PREFIX,
    RENAMED,
    TICK,
)
from .database import Database
from .leases import Lease
from .storage import RecordStorage
from .study_rows import delete_rows, find_study
from .tables import studies, study_system_attributes, trial_system_attributes, trial_user_attributes, trials

UNFINISHED = ".copying"
"""What the name of a copy ends with until it is whole."""


def delete_study(database: Database, name: str) -> None:
    """Delete a study with all its trials.

    Raises:
        UserError: There is no such study.
        CampaignRunning: A driver works on it.
        RecordAway: The database cannot be reached.
    """
    with database.writing():
        delete_rows(database, _locked(database, name))


def rename_study(database: Database, name: str, new: str, move: Callable[[str], str]) -> None:
    """Give a study another name, and adapt the paths of its run directories.

    The study remembers its old name (``RENAMED``), so that an interrupted command can be completed.

    Args:
        database: The database.
        name: The study's name.
        new: The new name.
        move: Gives the new path of a file or folder of the study.

    Raises:
        UserError: There is no such study, or the new name is taken.
        CampaignRunning: A driver works on it.
        RecordAway: The database cannot be reached.
    """
    try:
        with database.writing():
            study_id = _locked(database, name)
            database.run(sa.update(studies).where(studies.c.study_id == study_id).values(study_name=new))
            _move_paths(database, study_id, move)
            _rewrite(
                database,
                trial_user_attributes,
                trial_user_attributes.c.trial_user_attribute_id,
                trial_user_attributes.c.key == LEARNED,
                lambda origin: f"{new}#{origin[len(name) + 1 :]}" if str(origin).startswith(f"{name}#") else origin,
            )
            _set_system_attribute(database, study_id, RENAMED, name)
    except IntegrityError:
        raise UserError(f"there is a study named {new!r} in this database already") from None


def renamed_from(database: Database, name: str) -> str | None:
    """The name that the study had before it was last renamed; None if there is no such study, or it never was."""
    table = study_system_attributes
    with database.reading():
        study_id = find_study(database, name)
        chosen = sa.select(table.c.value_json).where(table.c.study_id == study_id, table.c.key == RENAMED)
        text = None if study_id is None else database.run(chosen).scalar()
    return None if text is None else str(json.loads(text))


def _locked(database: Database, name: str) -> int:
    """Lock a study on which no driver works; returns its id."""
    lock = sa.select(studies.c.study_id).where(studies.c.study_name == name).with_for_update()
    study_id = database.run(lock).scalar()
    if study_id is None:
        raise UserError(f"there is no study {name!r} in this database")
    now, table = database.clock(), study_system_attributes
    leases = sa.select(table.c.key, table.c.value_json).where(
        table.c.study_id == study_id, table.c.key.startswith(LEASE)
    )
    for key, text in database.run(leases).all():
        lease = Lease.parse(key.removeprefix(LEASE), json.loads(text))
        if lease.alive(now):
            raise CampaignRunning(
                f"the study {name!r} is being worked on by process {lease.pid} on {lease.host}; stop it first, with "
                f"pilotune stop {name}"
            )
    return int(study_id)


def _move_paths(database: Database, study_id: int, move: Callable[[str], str]) -> None:
    """Rewrite the attributes that hold paths of run directories."""
    of = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    user, system, study = trial_user_attributes, trial_system_attributes, study_system_attributes

    def moved(key: str) -> Callable[[Any], Any]:
        return lambda value: {**value, key: move(value[key])} if isinstance(value, dict) and key in value else value

    _rewrite(database, user, user.c.trial_user_attribute_id, (user.c.key == DIRECTORY) & user.c.trial_id.in_(of), move)
    left = (system.c.key == LEFT) & system.c.trial_id.in_(of)
    _rewrite(database, system, system.c.trial_system_attribute_id, left, moved("directory"))
    leases = study.c.key.startswith(LEASE) & (study.c.study_id == study_id)
    _rewrite(database, study, study.c.study_system_attribute_id, leases, moved("run"))


def _rewrite(
    database: Database, table: sa.Table, key: sa.Column[int], chosen: Any, change: Callable[[Any], Any]
) -> None:
    rows = []
    for row_id, text in database.run(sa.select(key, table.c.value_json).where(chosen)).all():
        before = json.loads(text)
        after = change(before) if isinstance(before, str | dict) else before
        if after != before:
            rows.append({"row": row_id, "text": json.dumps(after)})
    if rows:
        update = sa.update(table).where(key == sa.bindparam("row")).values(value_json=sa.bindparam("text"))
        database.run(update, rows)


def _set_system_attribute(database: Database, study_id: int, key: str, value: Any) -> None:
    table = study_system_attributes
    database.run(sa.delete(table).where(table.c.study_id == study_id, table.c.key == key))
    row = {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
    database.run(sa.insert(table), row)


# -- copies -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copied:
    """What was copied: the number of trials, and how many of them had not ended and start anew in the copy."""

    trials: int
    unfinished: int


def copy_study(
    source: RecordStorage, name: str, target: RecordStorage, new: str, whole: Callable[[], None] = lambda: None
) -> Copied:
    """Copy a study with all its trials, under another name or into another database.

    Trials that have not ended wait in the copy, and start anew there with the same parameters: their checkpoints belong
    to the original. A driver may work on the original meanwhile; the copy is of one moment.

    Args:
        source: Storage of the study.
        name: Its name.
        target: Storage of the copy, with ``autocommit=False``; may be ``source``.
        new: Name of the copy.
        whole: Called when the copy is whole and has not its name yet, to copy what lies outside the database.

    Raises:
        UserError: There is no such study, or the new name is taken.
        RecordAway: A database cannot be reached.
    """
    source_id = _study_id(source, name)
    if source_id is None:
        raise UserError(f"there is no study {name!r} in this database")
    if _study_id(target, new) is not None:
        raise UserError(f"there is a study named {new!r} in this database already")
    unfinished = _study_id(target, new + UNFINISHED)
    if unfinished is not None:  # an earlier call was interrupted
        target.delete_study(unfinished)
    copied = target.create_new_study(source.get_study_directions(source_id), new + UNFINISHED)
    for key, value in source.get_study_user_attrs(source_id).items():
        target.set_study_user_attr(copied, key, value)
    for key, value in source.get_study_system_attrs(source_id).items():
        if not key.startswith((LEASE, TICK)) and key != RENAMED:
            target.set_study_system_attr(copied, key, value)
    found = source.get_all_trials(source_id, deepcopy=False)
    for trial in found:
        target.create_new_trial(copied, copy_of(trial, name))
    target.commit()
    whole()
    try:
        with target.database.writing():
            update = sa.update(studies).where(studies.c.study_id == copied).values(study_name=new)
            target.database.run(update)
    except IntegrityError:
        target.delete_study(copied)
        raise UserError(f"there is a study named {new!r} in this database already") from None
    return Copied(len(found), sum(trial.state == TrialState.RUNNING for trial in found))


def _study_id(storage: RecordStorage, name: str) -> int | None:
    with storage.unit_of_work.translated():
        return find_study(storage.database, name)


def copy_of(trial: FrozenTrial, study: str) -> FrozenTrial:
    """A trial of ``study`` as it is in a copy of it: no campaign runs it, and one that was running waits."""
    if trial.state == TrialState.RUNNING:
        return optuna.create_trial(
            state=TrialState.WAITING,
            user_attrs={key: value for key, value in trial.user_attrs.items() if not key.startswith(PREFIX)},
            system_attrs={"fixed_params": dict(trial.params)},
        )
    system = {key: value for key, value in trial.system_attrs.items() if key not in (OWNER, ATTEMPT, NOT_BEGUN, LEFT)}
    if trial.state.is_finished():
        system[COPIED] = f"{study}#{trial.number}"
    copy = optuna.create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={key: value for key, value in trial.user_attrs.items() if key != PAUSED},
        system_attrs=system,
        intermediate_values=trial.intermediate_values,
    )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy
