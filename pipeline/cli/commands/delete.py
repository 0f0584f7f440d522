"""``pilotune delete``: delete a study with its trials and run directories."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ....errors import UserError
from ....grammar import count
from ..options import json_option, name_argument, storage_option, yes_option
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...studies.resolve import StudyLocation


@click.command("delete")
@name_argument()
@storage_option
@click.option(
    "--keep-files",
    is_flag=True,
    help="Keep the run directories and artifacts: checkpoints, output and kept files of the trials.",
)
@yes_option
@json_option
def delete_command(name: str, storage: str | None, keep_files: bool, yes: bool, as_json: bool) -> int:
    """Delete the study NAME: its trials in the database, and its run directories. The study file stays.

    A study that a campaign works on is not deleted.
    """
    from ...record import known_studies
    from ...record.database import open_database
    from ...record.study_admin import delete_study
    from ...studies.resolve import resolve_study
    from ..study_files import require_idle, require_own

    study = resolve_study(name, storage)
    if not keep_files:
        require_own(study.folder)
        require_idle(study, "delete")
    trials = trials_of(study)
    if trials is None and study.run_dir is None:
        raise UserError(f"there is no study {study.name!r} in {study.storage}")
    if not yes and not confirmed(description(study, trials, keep_files)):
        click.echo("nothing was deleted", err=True)
        return 1
    if trials is not None:
        database = open_database(study.storage)
        try:
            delete_study(database, study.name)
        finally:
            database.drop()
    left = [] if keep_files or study.folder is None else delete_files(study)
    known = known_studies.find(study.name)
    if known is not None and known.storage == study.storage:
        known_studies.forget(study.name)
    if as_json:
        echo_json({"study": study.name, "trials": trials or 0, "left": left})
    else:
        click.echo(f"deleted {study.name}")
        for file in left:
            click.echo(f"left {file}, which is not Pilotune's", err=True)
    return 0


def trials_of(study: StudyLocation) -> int | None:
    """Number of the study's trials; None if the database does not have the study, or is gone."""
    from ...analysis import read_study, study_names
    from ...record import sqlite_file

    file = sqlite_file(study.storage)
    if file is not None and not file.exists():
        return None
    return len(read_study(study.storage, study.name).trials) if study.name in study_names(study.storage) else None


def description(study: StudyLocation, trials: int | None, keep_files: bool) -> str:
    """What would be deleted, as a question."""
    from ...analysis import safe_url
    from ...record.artifacts import artifacts_folder, kept_trials
    from ..study_files import run_directories, size_of

    parts = [f"{count(trials, 'trial')} in {safe_url(study.storage)}"] if trials is not None else []
    runs = run_directories(study.folder)
    if runs and not keep_files:
        size = size_of(study.folder) / 1e6
        noun = "run directory" if len(runs) == 1 else "run directories"
        kept = len(kept_trials(artifacts_folder(study.folder))) if study.folder else 0
        more = f", with the artifacts of {count(kept, 'trial')}" if kept else ""
        parts.append(f"{len(runs)} {noun} in {study.folder} ({size:.1f} MB{more})")
    return f"delete the study {study.name!r}: {' and '.join(parts) or 'it has no trials'}?"


def confirmed(question: str) -> bool:
    """Ask on the terminal. Raises UserError if there is none."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} There is no terminal to ask on; give --yes")
    return click.confirm(question, err=True)


def delete_files(study: StudyLocation) -> list[str]:
    """Delete the study's folder; returns what was left in it. A database with other studies stays."""
    from ...analysis import study_names
    from ...record import sqlite_file
    from ..study_files import DATABASE, delete_folder

    folder = study.folder
    if folder is None or not folder.is_dir():
        return []
    inside = folder / DATABASE
    others = sqlite_file(study.storage) == inside and inside.exists() and bool(study_names(study.storage))
    ours = sqlite_file(study.storage) == inside and not others
    return [str(file) for file in delete_folder(folder, ours) if not (others and file.name.startswith(DATABASE))]
