"""The auditor: whether a study's database and what its workers wrote agree. It reads both, and writes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError, OperationalError

from ....errors import UserError
from ...record import RunDirectory
from ..reading import nearest, reading, safe_url, studies_of
from .checks import check_database
from .database import Claims, RecordedTrial, claims, own_check, read_recorded_trials, steady, strays
from .files import TrialFolder, read_trial, read_trials
from .findings import Audit
from .outcomes import check_outcomes

if TYPE_CHECKING:
    from ...record.database import Database


class Damaged(Exception):
    """The database file cannot be read any further; the audit says why."""


def audit(url: str, name: str) -> Audit:
    """Check the study ``name`` in the database at ``url`` and in its run directories, also while campaigns work on it.

    Files are read before the database, so that what a campaign does meanwhile cannot look like a loss.

    Raises:
        UserError: No database, no study of that name, or not an Optuna database.
        RecordAway: The database does not answer.
    """
    found = Audit(name)
    try:
        with _moment(url, found) as database:
            known = _look(database, found, url)
        folders = _folders(found, known)
        with _moment(url, found) as database:
            known, kept = claims(database, known.study_id), read_recorded_trials(database, known.study_id)
    except Damaged:
        return found
    found.dead = [Path(lease.run) for lease in known.dead if lease.run]
    trials = sorted(kept.values(), key=lambda trial: trial.number)
    check_database(found, known, trials)
    check_outcomes(found, known, trials, _completed(trials, folders))
    return found


@contextmanager
def _moment(url: str, found: Audit) -> Iterator[Database]:
    """The database at one moment. Raises Damaged where its file is broken, which is a finding and no mistake."""
    with reading(url) as database:
        try:
            steady(database)
            yield database
        except DatabaseError as error:
            if isinstance(error, OperationalError) or "malformed" not in str(error.orig):
                raise
            found.violation(f"the database file is damaged: {error.orig}")
            raise Damaged from error


def _look(database: Database, found: Audit, url: str) -> Claims:
    """See that the database is whole, and who works on the study."""
    for what in own_check(database):
        found.violation(what)
    ids = studies_of(database)
    if found.study not in ids:
        raise UserError(f"no study {found.study!r} in {safe_url(url)}{nearest(found.study, list(ids))}")
    for what in strays(database):
        found.violation(what)
    return claims(database, ids[found.study])


def _folders(found: Audit, known: Claims) -> dict[str, TrialFolder]:
    """The trials' folders in the run directories of all campaigns, by their paths."""
    folders: list[TrialFolder] = []
    for run in dict.fromkeys(os.path.realpath(lease.run) for lease in known.leases.values() if lease.run):
        trials = RunDirectory(Path(run)).trials
        try:
            folders += read_trials(trials)
        except FileNotFoundError:
            found.note("the run directory is gone, or cannot be seen from here: nothing in it was checked", file=run)
        except OSError as error:
            found.note(f"the run directory cannot be read ({error.strerror}): nothing in it was checked", file=trials)
    return {str(folder.path): folder for folder in folders}


def _completed(trials: Iterable[RecordedTrial], folders: Mapping[str, TrialFolder]) -> list[TrialFolder]:
    """With those of trials that have ended since the others were read, or that lie in no run directory."""
    complete = dict(folders)
    for trial in trials:
        if trial.final and trial.directory:
            # As it is written down, or where that leads to over symbolic links.
            place = trial.directory if trial.directory in complete else os.path.realpath(trial.directory)
            known = complete.get(place)
            if known is None or all(each.attempt != trial.attempt for each in known.written):
                complete[place] = read_trial(Path(place), trial.number)
    return list(complete.values())
