"""``pilotune copy``: copy a study with all its trials."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import UserError
from ....grammar import count
from ..options import json_option, name_argument
from ..stdout import echo_json
from .rename import check_name

if TYPE_CHECKING:
    from ...record.study_admin import Copied
    from ...studies.resolve import StudyLocation


@click.command("copy")
@name_argument()
@click.argument("new_name", metavar="NEW")
@click.option("--to", metavar="URL", help="Database of the copy; by default, that of a new study, or the same server.")
@json_option
def copy_command(name: str, new_name: str, to: str | None, as_json: bool) -> int:
    """Copy the study NAME with all its trials to a study named NEW, for example to go on with other settings.

    The run directories are not copied; files that trials have kept (artifacts) are. Trials that have not ended wait in
    the copy, and start anew there.
    """
    from ...analysis import safe_url
    from ...record import known_studies
    from ...studies.resolve import resolve_study
    from ..study_files import save_entry

    check_name(new_name)
    study = resolve_study(name)
    target = target_url(study, new_name, to)
    entry = known_studies.find(study.name)
    copied = copy_to(study, target, new_name, with_artifacts=entry is not None)
    if entry is not None and study.runs is not None:
        save_entry(entry, new_name, target, study.runs / new_name)
        keep_options(study, new_name)
    if as_json:
        echo_json({"study": new_name, "from": study.name, "storage": target, "trials": copied.trials,
                   "unfinished": copied.unfinished})  # fmt: skip
        return 0
    click.echo(f"copied {count(copied.trials, 'trial')} of {study.name} to {new_name} in {safe_url(target)}")
    if copied.unfinished:
        click.echo(f"{count(copied.unfinished, 'trial')} had not ended, and will start anew", err=True)
    if entry is not None:
        click.echo(f"pilotune resume {new_name} --trials N continues it", err=True)
    return 0


def copy_artifacts(folder: Path, new: Path) -> None:
    """Give the copy the artifacts of the study, as hard links where that is possible, before it has its name.

    Args:
        folder: The study's, ``<runs>/<name>``.
        new: The copy's.

    Raises:
        UserError: There are artifacts of an earlier study of that name.
    """
    from ...record import artifacts
    from ..study_files import require_own

    home, target = artifacts.artifacts_folder(folder), artifacts.artifacts_folder(new)
    require_own(new)
    for number in artifacts.kept_trials(target):  # an interrupted command has copied them
        if artifacts.artifact_sizes(target, number) != artifacts.artifact_sizes(home, number):
            raise UserError("an earlier study has left artifacts in this folder; move it away first", file=target)
    for number in artifacts.kept_trials(home):
        with contextlib.suppress(FileNotFoundError):  # a driver deletes them meanwhile
            artifacts.copy(home / str(number), target, number, link=True)


def target_url(study: StudyLocation, new: str, to: str | None) -> str:
    """Where the copy goes: as given; beside the default database of its original; else into the same database."""
    from ...record import sqlite_file, sqlite_url
    from ...studies.resolve import given_url, require_folder
    from ..study_files import DATABASE

    if to is not None:
        url = given_url(to, "--to")
        require_folder(url, "--to")
        return url
    if study.folder is not None and study.runs is not None and sqlite_file(study.storage) == study.folder / DATABASE:
        return sqlite_url(study.runs / new / DATABASE)
    return study.storage


def copy_to(study: StudyLocation, target: str, new: str, *, with_artifacts: bool = False) -> Copied:
    """Copy the study into the database ``target``, and its artifacts into the folder of the copy."""
    from ...analysis import study_names
    from ...record import open_storage, sqlite_file
    from ...record.study_admin import copy_study
    from ..study_files import require_own

    if study.name not in study_names(study.storage):
        raise UserError(f"there is no study {study.name!r} in its database")
    file = sqlite_file(target)
    if file is not None:
        require_own(file.parent)
    with contextlib.closing(open_storage(study.storage)) as source, contextlib.closing(open_storage(target)) as made:

        def whole() -> None:
            if with_artifacts and study.runs is not None:
                copy_artifacts(study.runs / study.name, study.runs / new)

        return copy_study(source, study.name, made, new, whole)


def keep_options(study: StudyLocation, new: str) -> None:
    """Keep the options of the original's last run for ``pilotune resume NEW``."""
    from ...studies.request import FILE, load_options, write_options

    options = load_options(study.folder)
    if study.folder is not None and study.runs is not None and (study.folder / FILE).exists():
        write_options(study.runs / new, options)
