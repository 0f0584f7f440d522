"""Resolves what the user typed: a study's name or file to its database, files and run directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError

if TYPE_CHECKING:
    from ...providers.site import Site
    from ..record.known_studies import Entry
    from ..studyfile import StudyFile


@dataclass(frozen=True)
class StudyLocation:
    """Where a study that was named on the command line is kept.

    Attributes:
        name: The study's name.
        storage: URL of its database, as ``normalize_url`` gives it.
        runs: The folder of all run directories; None if only a URL was given.
        study_file: The study file of its last run here; None if only a URL was given.
        site: Name of the site of its last run here, or of several as ``a and b``; None before the first.
        run_dir: Run directory of its last campaign here; None before the first.
    """

    name: str
    storage: str
    runs: Path | None = None
    study_file: Path | None = None
    site: str | None = None
    run_dir: Path | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of the study's run directories, ``<runs>/<name>``."""
        return self.runs / self.name if self.runs else None


@dataclass(frozen=True)
class PreparedRun:
    """What a run needs, read and checked.

    Attributes:
        study_file: The study, with its overrides applied.
        site: The site, likewise.
        storage: URL of the database.
        runs: The folder of all run directories.
    """

    study_file: StudyFile
    site: Site
    storage: str
    runs: Path


def prepare_run(
    study: str | Path,
    sites: Sequence[str] = (),
    storage: str | None = None,
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    new_name: str | None = None,
    runs: Path | None = None,
    beside: Path | None = None,
) -> PreparedRun:
    """Read the study file and the site file, and decide where the database and the run directories are.

    Args:
        study: The study file, or the folder that holds a ``study.yaml``.
        sites: Name or path of each; ``local`` by default.
        storage: URL; default: the study file's, else ``study.db`` in the study's folder of the run directories.
        overrides: The ``--set`` options, for either file.
        trials: Overrides ``budget.trials``.
        new_name: Overrides ``name``.
        runs: Overrides the folder of run directories.
        beside: The folder in which the default folder of run directories is, instead of the study file's.

    Raises:
        UserError: Either file or an option is wrong.
    """
    import dataclasses
    import json

    from ...providers.site import load_sites
    from ..studyfile import check_user_parts, load_study_file

    for_site, for_study = split_overrides(overrides, names_of_sites(sites))
    if new_name is not None:
        check_new_name(new_name)
        for_study.append(f"name={json.dumps(new_name)}")
    if trials is not None:
        for_study.append(f"budget.trials={trials}")
    study_file = load_study_file(study_path(study), for_study)
    chosen_site = load_sites(sites, for_site)
    check_user_parts(study_file)
    folder = runs.absolute() if runs else runs_folder(study_file, chosen_site, beside)
    check_path(folder)
    parts = tuple(dataclasses.replace(part, runs=folder) for part in chosen_site.parts)
    chosen_site = dataclasses.replace(chosen_site, runs=folder, parts=parts)
    check_pools(study_file, chosen_site)
    if study_file.budget.accounts:
        from ..driver.budget_check import check_budgets

        check_budgets(study_file, chosen_site)
    url = storage_url(study_file, folder, storage)
    check_database_folder(study_file, url, folder, given=storage is not None)
    return PreparedRun(study_file, chosen_site, url, folder)


def check_new_name(name: str) -> None:
    """Raise UserError if the name that ``--new-name`` gives is none for a study."""
    from ...fields import shown
    from ...names import NAME, NAME_RULE

    if not NAME.fullmatch(name):
        raise UserError(f"must be {NAME_RULE}, but is {shown(name)}", file="--new-name")


def check_pools(study_file: StudyFile, site: Site) -> None:
    """Raise UserError, at the line of the study file, if no pool of the site can run the study's trials."""
    from ...providers.blocks.resources import usable_pools
    from ..driver.settings import needs_of

    _check_ambiguous_names(study_file, site)
    _check_bare_names(study_file, site)
    try:
        usable_pools(site, needs_of(study_file))
    except UserError as error:
        raise study_file.error(f"{error.message} (site {site.name})", error.key or "trial") from None


def _check_ambiguous_names(study_file: StudyFile, site: Site) -> None:
    """Raise UserError if ``trial.pools`` or a budget names a pool that several of the campaign's sites have."""
    from ...grammar import listed
    from ...providers.site import ambiguous_pool

    named = [(name, "trial.pools") for name in (study_file.pools.named if study_file.pools else ())]
    named += [(each.pool, each.key) for each in study_file.budget.accounts if each.pool]
    for name, key in named:
        full = ambiguous_pool(site, name)
        if full:
            message = f"the sites {listed([part.name for part in site.parts])} have several pools '{name}'"
            raise study_file.error(f"{message}; write {' or '.join(full)}", key)


def _check_bare_names(study_file: StudyFile, site: Site) -> None:
    """Raise UserError if a name in the expression ``trial.pools`` is neither a parameter nor a pool, or is both."""
    from ...yamlfile import nearest

    rule, pools = study_file.pools, [pool.name for pool in site.pools]
    parameters = study_file.space.names if study_file.space else []
    for name in rule.bare if rule else ():
        if name not in pools:
            what = f"'{name}', which is neither a parameter nor a pool of site {site.name}"
            what += nearest(name, [*parameters, *pools])
            raise study_file.error(f"'{rule.text if rule else ''}' uses {what}", "trial.pools")
    for name in sorted(rule.results) if rule else ():
        if name in pools:
            both = f"in '{rule.text if rule else ''}', '{name}' is a parameter and a pool of site {site.name}"
            raise study_file.error(f"{both}; put the pool's name in quotes, or rename the parameter", "trial.pools")


def check_database_folder(study_file: StudyFile, url: str, runs: Path, *, given: bool) -> None:
    """Raise UserError if an SQLite file cannot be there.

    It must be a regular file or none yet, and its folder must exist, unless it is the study's default one.

    Args:
        study_file: The study.
        url: Its database.
        runs: The folder of run directories.
        given: The URL is from ``--storage``, not from the study file.
    """
    from ..record import known_studies, sqlite_file
    from ..record.rundir import why_no_regular_file

    path = sqlite_file(url)
    if path is None:
        return
    problem = why_no_regular_file(path)
    if problem:
        if given or not study_file.storage:
            raise UserError(f"{path}: {problem}" if given else problem, file="--storage" if given else path)
        raise study_file.error(f"{path}: {problem}", "storage")
    if path.parent.is_dir() or path.parent == runs / study_file.name:
        return
    message = f"there is no folder {path.parent} for the database; make it, or correct the path"
    message += known_studies.found_elsewhere(study_file.name, url)
    raise UserError(message, file="--storage") if given else study_file.error(message, "storage")


def require_folder(url: str, option: str) -> None:
    """Raise UserError if the folder of an SQLite file that an option names does not exist: it is probably mistyped."""
    from ..record import sqlite_file

    path = sqlite_file(url)
    if path is not None and not path.parent.is_dir():
        message = f"there is no folder {path.parent} for the database; make it, or correct the path"
        raise UserError(message, file=option)


def study_path(study: str | Path) -> Path:
    """The study file that ``study`` means: the path itself, or ``study.yaml`` in it. Raises UserError without one."""
    path = Path(study).expanduser()
    if path.is_dir():
        path = path / "study.yaml"
    if path.is_file():
        check_path(path.absolute())
        refuse_other_kinds(path)
        return path
    from ..record import known_studies

    if str(study) in {entry.name for entry in known_studies.all()}:
        raise UserError(
            f"{str(study)!r} is a study that you have run: continue it with pilotune resume {study}, or give its study "
            "file"
        )
    hint = "`pilotune init` writes one"
    if path.parent.is_dir():
        files = [str(each) for each in sorted(path.parent.iterdir()) if is_study_path(each)]
        from ..analysis import nearest

        hint = nearest(str(path), files).lstrip("; ") if files else hint
    raise UserError(f"there is no study file {path}; {hint}")


OTHER_KINDS = {".py": "Python code", ".ipynb": "a notebook", ".db": "a database", ".sqlite3": "a database"}
"""Endings of files that belong to a study, but are no study files."""


def refuse_other_kinds(path: Path) -> None:
    """Raise UserError for a file that is no study file, but something that belongs to one."""
    kind = OTHER_KINDS.get(path.suffix)
    if kind is None:
        return
    files = [str(each) for each in sorted(path.parent.iterdir()) if is_study_path(each)]
    hint = f"such as {' or '.join(files)}" if files else "which `pilotune init` writes"
    names = " whose `objective:` names it" if path.suffix == ".py" else ""
    raise UserError(f"this is {kind}; give the study file{names}, {hint}", file=path)


def check_path(path: Path) -> None:
    """Raise UserError if a path is not UTF-8 text: no URL, YAML file or database could hold it."""
    from ...yamlfile import is_text

    if not is_text(str(path)):
        raise UserError("the name of this file or folder is not UTF-8 text; rename it", file=path)


def is_study_path(path: Path) -> bool:
    """Whether a path may be meant as a study: a YAML file, or a folder with a ``study.yaml``."""
    return path.suffix in (".yaml", ".yml") or (path / "study.yaml").is_file()


def names_of_sites(sites: Sequence[str]) -> list[str]:
    """The names of the sites of a campaign that uses several; none where it uses one. Raises UserError."""
    from ...providers.site import site_heads

    return [head.name for head in site_heads(sites)] if len(sites) > 1 else []


def split_overrides(overrides: Sequence[str], sites: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The ``--set`` options for the site files, and those for the study file.

    Args:
        overrides: The options.
        sites: The names of the campaign's sites, where it uses several: ``SITE.KEY`` is a key of that site's file.
    """
    for text in overrides:
        if "=" not in text or text.startswith("="):
            raise UserError(f"--set {text}: give KEY=VALUE, as in --set budget.trials=10")
    from ...overrides import dotted
    from ...providers.site import SITE_KEYS, is_of_site
    from ...yamlfile import nearest
    from ..studyfile.schema import StudySchema

    known = [*StudySchema.model_fields, *SITE_KEYS]
    site: list[str] = []
    study: list[str] = []
    for text in overrides:
        key = text.split("=")[0].strip()
        top = dotted(key).split(".")[0]
        if is_of_site(key, sites):
            site.append(text)
            continue
        if top not in known:
            message = f"neither study files nor site files have this key{nearest(top, known)}"
            raise UserError(message, file=f"--set {key}")
        (site if top in SITE_KEYS else study).append(text)
    return site, study


def runs_folder(study_file: StudyFile, site: Site | None, beside: Path | None = None) -> Path:
    """The folder of all run directories: the site's, else ``$PILOTUNE_RUNS``, else one beside the study file.

    A study file that ``pilotune.run`` has written lies in the study's own folder, which is in that of all studies.

    Args:
        study_file: The study.
        site: Where it runs; None if that is not known.
        beside: Stands for the study file's folder.
    """
    from ..studyfile.written import is_written

    if site is not None and any(each.source is not None and each.source.data.get("runs") for each in site.each):
        return site.runs
    if os.environ.get("PILOTUNE_RUNS"):
        return Path(os.environ["PILOTUNE_RUNS"]).expanduser().absolute()
    if beside is None and is_written(study_file.path):
        return study_file.folder.parent
    return (beside or study_file.folder) / "pilotune-runs"


def storage_url(study_file: StudyFile, runs: Path, given: str | None) -> str:
    """URL of the study's database. A relative SQLite path in a study file starts at that file's folder."""
    from ..record import normalize_url, sqlite_url

    if given is not None:
        return given_url(given)
    if study_file.storage:
        try:
            return normalize_url(study_file.storage, study_file.folder)
        except UserError as error:
            raise study_file.error(error.message, "storage") from None
    return sqlite_url(runs / study_file.name / "study.db")


def given_url(url: str, option: str = "--storage") -> str:
    """The complete URL of a database that an option gives. Raises UserError, which names the option."""
    from ..record import normalize_url

    try:
        return normalize_url(url)
    except UserError as error:
        raise UserError(error.message, file=option) from None


def resolve_study(name: str | None, storage: str | None = None) -> StudyLocation:
    """The study that a NAME and ``--storage`` mean.

    Args:
        name: A study's name, or the path of its study file; None for the only study.
        storage: URL of the database to look in instead of the user's list of studies.

    Raises:
        UserError: Unknown or ambiguous; the message names the nearest known studies.
    """
    from ..record import known_studies

    if name is not None and looks_like_file(name):
        return from_study_file(Path(name), storage)
    if storage is not None:
        url = given_url(storage)
        return StudyLocation(name if name is not None else only_study(url), url)
    entries = known_studies.all()
    if name is None:
        if len(entries) == 1:
            return from_entry(entries[0])
        known = ", ".join(sorted(entry.name for entry in entries))
        raise UserError(
            f"which study? give its NAME, one of {known}"
            if entries
            else "no study has been run yet: pilotune run STUDY"
        )
    for entry in entries:
        if entry.name == name:
            return from_entry(entry)
    from ..analysis import nearest

    hint = nearest(name, [entry.name for entry in entries])
    raise UserError(f"you have run no study {name!r} here{hint} (or give --storage URL, or its study file)")


def looks_like_file(name: str) -> bool:
    """Whether a NAME is meant as the path of a study file."""
    return name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file()


def from_entry(entry: Entry) -> StudyLocation:
    """The study of an entry in the user's list of studies."""
    return StudyLocation(entry.name, entry.storage, entry.runs, entry.study_file, entry.site or None, entry.run_dir)


def from_study_file(path: Path, storage: str | None) -> StudyLocation:
    """The study of a study file: where it last ran, or where it would run by default."""
    from ..record import known_studies
    from ..studyfile import load_study_file

    study_file = load_study_file(study_path(path))
    for entry in known_studies.all():
        study = from_entry(entry)
        if study.name == study_file.name and study.study_file == study_file.path and storage is None:
            return study
    runs = runs_folder(study_file, None)
    url = storage_url(study_file, runs, storage)
    return StudyLocation(study_file.name, url, runs, study_file.path)


def only_study(url: str) -> str:
    """Name of the only study in a database. Raises UserError if there are several, or none."""
    from ..analysis import safe_url, study_names

    names = study_names(url)
    if len(names) == 1:
        return names[0]
    shown = f"give a NAME, one of {', '.join(names)}" if names else "it holds none"
    raise UserError(f"which study of {safe_url(url)}? {shown}")
