"""``pilotune artifacts``: list, fetch and delete the files that trials have kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....errors import UserError
from ....filesystems import size_in_words, writer
from ....grammar import count
from ...studies.formatting import number, table
from ...studies.harmless import harmless_line
from ..options import json_option, name_argument, storage_option, yes_option
from ..output_file import writing
from ..stdout import echo_json, terminal_width
from .delete import confirmed

if TYPE_CHECKING:
    from ...analysis import StudyData
    from ...analysis.artifacts import KeptTrial


@click.command("artifacts")
@name_argument(required=False)
@storage_option
@click.option(
    "--trial",
    "numbers",
    type=click.IntRange(min=0),
    metavar="N",
    multiple=True,
    help="Only of trial N; may be repeated.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only of the N best trials.")
@click.option(
    "--fetch",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy them to DIR/TRIAL/FILE.",
)
@click.option("--prune", type=click.IntRange(min=1), metavar="N", help="Delete those of all but the N best trials.")
@yes_option
@json_option
def artifacts_command(
    name: str | None,
    storage: str | None,
    numbers: tuple[int, ...],
    limit: int | None,
    target: Path | None,
    prune: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    """List the files that the complete trials of the study NAME have kept, the best trial first.

    \b
    pilotune artifacts my-study
    pilotune artifacts my-study --limit 8 --fetch models
    pilotune artifacts my-study --prune 20

    An objective keeps files with trial.artifact. How many trials' stay is said by trial.keep.artifacts in the study
    file.
    """
    if prune is not None and (numbers or limit or target):
        raise UserError("--prune deletes artifacts of all but the best trials: leave out --trial, --limit and --fetch")
    data, folder = _study(name, storage)
    found, strangers = _found(data, folder)
    if prune is not None:
        return _prune(data, folder, found, prune, yes, as_json)
    for each in strangers:
        click.echo(f"{folder}/artifacts/{each} is not listed: the study has no complete trial {each}", err=True)
    chosen = _chosen(data, found, numbers)[:limit]
    if target is not None:
        _fetch(chosen, target)
    if as_json:
        echo_json({"study": data.name, "folder": str(folder / "artifacts"), "bytes": sum(each.size for each in chosen),
                   "trials": [each.as_dict(data.metrics) for each in chosen]})  # fmt: skip
    elif target is not None:
        click.echo(f"copied artifacts of {count(len(chosen), 'trial')} ({_size(chosen)}) to {target}")
    elif chosen:
        click.echo(_table(data.metrics, chosen))
        click.echo(f"{count(sum(len(each.sizes) for each in chosen), 'artifact')} of {count(len(chosen), 'trial')}, "
                   f"{_size(chosen)}, in {folder / 'artifacts'}", err=True)  # fmt: skip
    else:
        click.echo(f"{data.name} has no artifacts; an objective keeps a file with trial.artifact", err=True)
    return 0


def _study(name: str | None, storage: str | None) -> tuple[StudyData, Path]:
    """The study, and its folder of the run directories."""
    from ...analysis import read_study
    from ...studies.resolve import resolve_study

    study = resolve_study(name, storage)
    if study.folder is None:
        raise UserError(
            f"the run directories of {study.name!r} are not known here, and its artifacts lie there; name the study "
            "as the account that runs it does"
        )
    return read_study(study.storage, study.name), study.folder


def _found(data: StudyData, folder: Path) -> tuple[list[KeptTrial], list[int]]:
    from ...analysis.artifacts import kept_in_study

    return kept_in_study(data, folder)


def _chosen(data: StudyData, found: Sequence[KeptTrial], numbers: Sequence[int]) -> list[KeptTrial]:
    """Those of the given trials, or all. Raises UserError for a trial that has none."""
    here = {each.trial.number for each in found}
    for each in numbers:
        if each in here:
            continue
        trial = data.trial(each)
        if trial is None:
            raise UserError(f"{data.name!r} has no trial {each}")
        why = "" if trial.state.name == "COMPLETE" else ": it is not complete"
        raise UserError(f"trial {each} of {data.name!r} has no artifacts{why}")
    return [each for each in found if not numbers or each.trial.number in numbers]


def _table(metrics: tuple[str, ...], found: Sequence[KeptTrial]) -> str:
    """One line for each file."""
    lines = []
    for each in found:
        values = [number(value) for value in each.trial.values]
        for name, size in each.sizes.items():
            lines.append([str(each.trial.number), *values, size_in_words(size), harmless_line(name)])
    return table(["trial", *metrics, "size", "file"], lines, right=["trial", *metrics, "size"], width=terminal_width())


def _size(found: Sequence[KeptTrial]) -> str:
    return size_in_words(sum(each.size for each in found))


def _fetch(found: Sequence[KeptTrial], target: Path) -> None:
    """Copy the artifacts to ``target/TRIAL/FILE``; a trial's folder gets its name when it is whole."""
    from ...record import artifacts

    for each in found:
        place = target / str(each.trial.number)
        if place.exists():
            raise UserError(f"{place} exists already; name another folder, or delete it first")
    with writing(target):
        artifacts.sweep_copies(target)
        for each in found:
            artifacts.copy(each.folder, target, each.trial.number, writer())


def _prune(data: StudyData, folder: Path, found: Sequence[KeptTrial], most: int, yes: bool, as_json: bool) -> int:
    """Delete the artifacts of all but the best trials."""
    from ...record import artifacts
    from ..study_files import require_own

    require_own(folder)
    surplus = found[most:]
    what = f"the artifacts of {count(len(surplus), 'trial')} of {data.name} ({_size(surplus)})"
    if surplus and not yes and not confirmed(f"delete {what}?"):
        click.echo("nothing was deleted", err=True)
        return 1
    for each in surplus:
        artifacts.forget(each.folder.parent, each.trial.number)
    if as_json:
        echo_json({"study": data.name, "deleted": [each.trial.number for each in surplus],
                   "bytes": sum(each.size for each in surplus)})  # fmt: skip
    elif surplus:
        click.echo(f"deleted {what}; those of {count(most, 'trial')} are left")
    else:
        click.echo(f"{data.name} has artifacts of {count(len(found), 'trial')}; nothing was deleted")
    return 0
