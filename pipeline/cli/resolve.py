"""From what a person types to a study: its database, its files, its run directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError

if TYPE_CHECKING:
    from ...providers.site import Site
    from ..studyfile import StudyFile


@dataclass(frozen=True)
class Found:
    """A study that was named on the command line.

    Attributes:
        storage: URL of its database, as ``normalize_url`` gives it.
        runs: Where its run directories lie; None when only a URL was given.
        study_file: Where its study file was when it last ran here; None likewise.
        run_dir: Of its last campaign here; None before the first.
    """

    name: str
    storage: str
    runs: Path | None = None
    study_file: Path | None = None
    site: str | None = None
    run_dir: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """Everything that a run needs, read and validated."""

    study_file: StudyFile
    site: Site
    storage: str
    runs: Path


def prepare(
    study: str | Path,
    site: str | None = None,
    storage: str | None = None,
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    new_name: str | None = None,
    runs: Path | None = None,
) -> Prepared:
    """Read the study file and the site file, and say where database and run directories are.

    Args:
        study: The study file, or the folder that holds a ``study.yaml``.
        site: Name or path; ``local`` by default.
        storage: URL; default: the study file's, else ``study.db`` beside the run directories.
        overrides: Of ``--set``, for both files.
        trials: Overrides ``budget.trials``.
        new_name: Overrides ``name``.
        runs: Overrides the folder of run directories.

    Raises:
        UserError: Anything wrong in either file or in an option.
    """
    import dataclasses
    import json

    from ...providers.site import load_site
    from ..studyfile import load_study_file

    for_site, for_study = split_overrides(overrides)
    if new_name is not None:
        for_study.append(f"name={json.dumps(new_name)}")
    if trials is not None:
        for_study.append(f"budget.trials={trials}")
    study_file = load_study_file(study_path(study), for_study)
    the_site = load_site(site or "local", for_site)
    folder = runs.absolute() if runs else runs_folder(study_file, the_site)
    check_name(folder)
    the_site = dataclasses.replace(the_site, runs=folder)
    return Prepared(study_file, the_site, storage_url(study_file, folder, storage), folder)


def study_path(study: str | Path) -> Path:
    """The study file that is meant. Raises UserError where there is none."""
    path = Path(study).expanduser()
    if path.is_dir():
        path = path / "study.yaml"
    if path.is_file():
        check_name(path.absolute())
        return path
    hint = "`pilotune init` writes one"
    if path.parent.is_dir():
        files = [str(each) for each in sorted(path.parent.iterdir()) if names_study(each)]
        from ..analysis import nearest

        hint = nearest(str(path), files).lstrip("; ") if files else hint
    raise UserError(f"there is no study file {path}; {hint}")


def check_name(path: Path) -> None:
    """Raise UserError for a path that no URL, YAML file or database can hold."""
    from ...yamlfile import is_text

    if not is_text(str(path)):
        raise UserError("the name of this file or folder is not UTF-8 text; rename it", file=path)


def names_study(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml") or (path / "study.yaml").is_file()


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """``--set`` values for the site file and for the study file."""
    for text in overrides:
        if "=" not in text or text.startswith("="):
            raise UserError(f"--set {text}: give KEY=VALUE, as in --set budget.trials=10")
    from ...providers.site import SITE_KEYS

    site = [text for text in overrides if text.split("=")[0].split(".")[0].strip() in SITE_KEYS]
    return site, [text for text in overrides if text not in site]


def runs_folder(study_file: StudyFile, site: Site | None) -> Path:
    """Where run directories go: the site's, else ``$PILOTUNE_RUNS``, else ``pilotune-runs`` beside the study file."""
    if site is not None and site.source is not None and site.source.data.get("runs"):
        return site.runs
    if os.environ.get("PILOTUNE_RUNS"):
        return Path(os.environ["PILOTUNE_RUNS"]).expanduser().absolute()
    return study_file.folder / "pilotune-runs"


def storage_url(study_file: StudyFile, runs: Path, given: str | None) -> str:
    """URL of the study's database; a relative SQLite path in a study file is relative to that file."""
    from ..record import normalize_url

    if given:
        return normalize_url(given)
    if study_file.storage:
        return normalize_url(study_file.storage, study_file.folder)
    from sqlalchemy.engine import URL

    return normalize_url(URL.create("sqlite", database=str(runs / study_file.name / "study.db")).render_as_string())


def find(name: str | None, storage: str | None = None) -> Found:
    """The study that ``name`` (a name, or a study file's path) and ``--storage`` mean.

    Raises:
        UserError: Unknown or ambiguous; names the nearest known ones.
    """
    from ..record import known_studies, normalize_url

    if name is not None and looks_like_file(name):
        return of_file(Path(name), storage)
    if storage is not None:
        url = normalize_url(storage)
        return Found(name if name is not None else only_study(url), url)
    entries = known_studies.all()
    if name is None:
        if len(entries) == 1:
            return of_entry(entries[0])
        known = ", ".join(sorted(entry.name for entry in entries))
        raise UserError(
            f"which study? give its NAME, one of {known}"
            if entries
            else "no study has been run yet: pilotune run STUDY"
        )
    for entry in entries:
        if entry.name == name:
            return of_entry(entry)
    from ..analysis import nearest

    hint = nearest(name, [entry.name for entry in entries])
    raise UserError(f"no study {name!r} has been run by you here{hint} (or give --storage URL, or its study file)")


def looks_like_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file()


def of_entry(entry: object) -> Found:
    """A registry's entry."""

    def path(key: str) -> Path | None:
        value = getattr(entry, key, None)
        return Path(value) if value else None

    name, storage, site = (getattr(entry, key) for key in ("name", "storage", "site"))
    return Found(name, storage, path("runs"), path("study_file"), site or None, path("run_dir"))


def of_file(path: Path, storage: str | None) -> Found:
    """The study of a study file, where it last ran or where it would run by default."""
    from ..record import known_studies, normalize_url
    from ..studyfile import load_study_file

    study_file = load_study_file(study_path(path))
    for entry in known_studies.all():
        found = of_entry(entry)
        if found.name == study_file.name and found.study_file == study_file.path and storage is None:
            return found
    runs = runs_folder(study_file, None)
    url = normalize_url(storage) if storage else storage_url(study_file, runs, None)
    return Found(study_file.name, url, runs, study_file.path)


def only_study(url: str) -> str:
    from ..analysis import safe_url, study_names

    names = study_names(url)
    if len(names) == 1:
        return names[0]
    shown = f"give a NAME, one of {', '.join(names)}" if names else "it holds none"
    raise UserError(f"which study of {safe_url(url)}? {shown}")
