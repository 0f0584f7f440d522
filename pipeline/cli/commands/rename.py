"""``pilotune rename``: give a study another name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import PilotuneError, UserError
from ....names import NAME, NAME_RULE
from ..options import json_option, name_argument, yes_option
from ..stdout import echo_json

if TYPE_CHECKING:
    from ...record.known_studies import Entry
    from ..study_files import Move


@click.command("rename")
@name_argument()
@click.argument("new_name", metavar="NEW")
@yes_option
@json_option
def rename_command(name: str, new_name: str, yes: bool, as_json: bool) -> int:
    """Rename the study NAME to NEW, in the database and in the folder of its run directories.

    Change `name:` in the study file too. A study that a campaign works on is not renamed. If the command is
    interrupted, run it again.
    """
    from ...record import known_studies
    from ...studies.resolve import resolve_study
    from ..study_files import Move, require_idle, require_own, save_entry

    study = resolve_study(name)
    entry = known_studies.find(study.name)
    if entry is None:
        raise UserError(f"you have not run {study.name!r} here; a study is renamed by the account that runs it")
    if new_name == entry.name:
        raise UserError(f"the study is named {new_name!r} already")
    move = Move(entry.runs / entry.name, entry.runs / new_name)
    check_name(new_name, move.url(entry.storage))
    require_own(move.old)
    require_idle(study, "rename")
    rename_in_database(entry, new_name, move, yes)
    move.folder()
    entry = replace(entry, study_file=Path(move.path(str(entry.study_file))))  # pilotune.run writes it into the folder
    save_entry(entry, new_name, move.url(entry.storage), Path(move.path(str(entry.run_dir))))
    known_studies.forget(entry.name)
    if as_json:
        echo_json({"study": new_name, "was": entry.name, "storage": move.url(entry.storage)})
        return 0
    click.echo(f"renamed {entry.name} to {new_name}")
    click.echo(after(entry, new_name), err=True)
    return 0


def after(entry: Entry, new: str) -> str:
    """How to go on with the renamed study. The study file of a copy is that of its original, and keeps its name."""
    from ....yamlfile import read_yaml

    command = f"pilotune resume {new}"
    try:
        named = read_yaml(entry.study_file).data.get("name")
    except PilotuneError:
        named = None
    if named != entry.name:
        return f"{command} --trials N continues it"
    return f"change its name to {new} in {entry.study_file} too, or continue it with {command}"


def check_name(name: str, storage: str = "") -> None:
    """Raise UserError for a name that a study cannot have, or that another study of this account has.

    A study in ``storage`` may have it: an interrupted command has already listed it, or the database will refuse.
    """
    from ...record import known_studies

    if not NAME.fullmatch(name):
        raise UserError(f"{name[:140]!r} cannot be a study's name: {NAME_RULE}")
    known = known_studies.find(name)
    if known is not None and known.storage != storage:
        raise UserError(f"you have a study named {name!r} already")


def rename_in_database(entry: Entry, new: str, move: Move, yes: bool) -> None:
    """Rename the study in the database, unless an interrupted command has done so.

    Raises UserError if there is no such study, the new name is taken, or Hyperband needs a decision.
    """
    from ...analysis import read_study, study_names
    from ...record import sqlite_file
    from ...record.database import open_database
    from ...record.study_admin import rename_study, renamed_from

    url = entry.storage
    file = sqlite_file(url)
    if file is not None and not file.exists():
        url = move.url(url)
    names = study_names(url)
    database = open_database(url)
    try:
        if entry.name not in names and new in names and renamed_from(database, new) == entry.name:
            return
        if move.new.exists():
            raise UserError("this folder exists already; choose another name", file=move.new)
        if entry.name not in names:
            raise UserError(f"there is no study {entry.name!r} in its database")
        others = [name for name in names if name != entry.name]
        if others and move.url(url) != url:
            raise UserError(
                f"the database in the folder of {entry.name!r}, which would be renamed, has other studies "
                f"({', '.join(others)}); copy the study instead: pilotune copy {entry.name} {new}"
            )
        if not yes:
            require_no_brackets(read_study(url, entry.name).trials, entry.name)
        rename_study(database, entry.name, new, move.path)
    finally:
        database.drop()


def require_no_brackets(trials: object, name: str) -> None:
    """Raise UserError if trials are in brackets of Hyperband, which depend on the study's name."""
    from ...attributes import BRACKET, details_of

    assert isinstance(trials, tuple)
    if any(BRACKET in details_of(trial) for trial in trials):
        raise UserError(
            f"Hyperband assigns the trials of {name!r} to its brackets by the study's name: under another name they "
            "keep their results, but are compared in other brackets if the study goes on. To rename it anyway, give "
            "--yes"
        )
