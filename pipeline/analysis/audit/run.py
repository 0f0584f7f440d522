"""Runs an audit: compares a study's database with the files that its workers wrote. Reads both, writes neither."""

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
from .artifacts import check_artifacts, read_artifacts
from .checks import check_database
from .database import (
    Claims,
    RecordedTrial,
    integrity_errors,
    read_claims,
    read_recorded_trials,
    stray_rows,
    use_one_snapshot,
)
from .files import TrialFolder, read_trial, read_trials
from .findings import Audit
from .outcomes import check_outcomes

if TYPE_CHECKING:
    from ...record.database import Database


class Damaged(Exception):
    """The database file is damaged and cannot be read any further; the audit has a violation that says so."""


def audit(url: str, name: str) -> Audit:
    """Check that the database of a study agrees with the outcome files in its run directories.

    May be used while campaigns run: the files are read before the database, so that what a campaign commits meanwhile
    cannot look like a loss.

    Args:
        url: The database, ``sqlite:///FILE`` or ``postgresql://HOST/DATABASE``.
        name: The study's name.

    Raises:
        UserError: There is no database, it is none of Optuna's, or it has no study of that name.
        RecordAway: The database does not answer.

    Example::

        result = audit("sqlite:///study.db", "digits")
        assert result.ok, [each.what for each in result.violations]
    """
    found = Audit(name)
    try:
        with _snapshot(url, found) as database:
            known = _check_whole_database(database, found, url)
        folders, artifacts = _folders(found, known), read_artifacts(known)
        with _snapshot(url, found) as database:
            known, kept = read_claims(database, known.study_id), read_recorded_trials(database, known.study_id)
    except Damaged:
        return found
    found.dead = [Path(lease.run) for lease in known.dead if lease.run]
    trials = sorted(kept.values(), key=lambda trial: trial.number)
    check_database(found, known, trials)
    check_outcomes(found, known, trials, _completed(trials, folders))
    check_artifacts(found, trials, artifacts)
    return found


@contextmanager
def _snapshot(url: str, found: Audit) -> Iterator[Database]:
    """One snapshot of the database. If its file is damaged, adds a violation and raises Damaged."""
    with reading(url) as database:
        try:
            use_one_snapshot(database)
            yield database
        except DatabaseError as error:
            if isinstance(error, OperationalError) or "malformed" not in str(error.orig):
                raise
            found.violation(f"the database file is damaged: {error.orig}")
            raise Damaged from error


def _check_whole_database(database: Database, found: Audit, url: str) -> Claims:
    """Check the database as a whole, and read which campaigns work on the study."""
    for what in integrity_errors(database):
        found.violation(what)
    ids = studies_of(database)
    if found.study not in ids:
        raise UserError(f"no study {found.study!r} in {safe_url(url)}{nearest(found.study, list(ids))}")
    for what in stray_rows(database):
        found.violation(what)
    return read_claims(database, ids[found.study])


def _folders(found: Audit, known: Claims) -> dict[str, TrialFolder]:
    """The trials' folders in the run directories of all campaigns, by path."""
    folders: list[TrialFolder] = []
    for run in dict.fromkeys(os.path.realpath(lease.run) for lease in known.leases.values() if lease.run):
        trials = RunDirectory(Path(run)).trials
        try:
            folders += read_trials(trials)
        except FileNotFoundError:
            found.note("the run directory is gone, or not visible from this host, so that it was not checked", file=run)
        except OSError as error:
            found.note(f"the run directory cannot be read ({error.strerror}), so that it was not checked", file=trials)
    return {str(folder.path): folder for folder in folders}


def _completed(trials: Iterable[RecordedTrial], folders: Mapping[str, TrialFolder]) -> list[TrialFolder]:
    """The folders, and those of trials that ended after ``folders`` was read or that are in no run directory."""
    complete = dict(folders)
    for trial in trials:
        if trial.final and trial.directory:
            # Its directory as recorded, or with symbolic links resolved, as the others were found.
            place = trial.directory if trial.directory in complete else os.path.realpath(trial.directory)
            known = complete.get(place)
            if known is None or all(each.attempt != trial.attempt for each in known.written):
                complete[place] = read_trial(Path(place), trial.number)
    return list(complete.values())
