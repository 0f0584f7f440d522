"""The request that resumes a study: the options of its last run, and what is given anew."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from .request import Request, absolute_sites, load_options

if TYPE_CHECKING:
    from .resolve import StudyLocation


def resumed(study: StudyLocation, changes: Request) -> Request:
    """The request that runs a study again.

    Args:
        study: The study.
        changes: Options that are given now; those that it leaves out are those of the last run. Its ``study``,
            ``new_name`` and ``runs`` are not used.

    Raises:
        UserError: The study file is not known or gone, or there is no such database.
    """
    from .resolve import split_overrides

    if study.study_file is None:
        raise UserError(f"the location of the study file of {study.name!r} is not known; use pilotune run STUDY")
    if not study.study_file.is_file():
        raise UserError(
            f"the study file of {study.name!r} is gone; put it back, or use pilotune run", file=study.study_file
        )
    if changes.storage is not None:
        check_database(study.name, changes.storage)
    last, sites = load_options(study.folder), changes.sites
    before = tuple(re.split(r", | and ", study.site)) if study.site else ()
    kept = last.overrides
    if sites and absolute_sites(sites) not in (last.sites, before):
        kept = tuple(split_overrides(kept, _names_of(last.sites))[1])  # the others are of the other site's pools
    return replace(
        changes,
        study=str(study.study_file),
        sites=sites or last.sites or before,
        storage=changes.storage or study.storage,
        trials=changes.trials or last.trials,
        overrides=(*kept, *changes.overrides),
        new_name=study.name,
        runs=study.runs,
    )


def _names_of(sites: Sequence[str]) -> list[str]:
    """The names of the sites of the last run, whose files may be gone."""
    from .resolve import names_of_sites

    try:
        return names_of_sites(sites)
    except UserError:
        return [Path(site).stem if "/" in site else site for site in sites]


def check_database(name: str, storage: str) -> None:
    """Raise UserError if a database that was given as ``--storage`` does not exist: there is nothing to resume."""
    from ..record import known_studies, sqlite_file
    from .resolve import given_url

    url = given_url(storage)
    path = sqlite_file(url)
    if path is not None and not path.is_file():
        elsewhere = known_studies.found_elsewhere(name, url)
        raise UserError(f"there is no database file {path}{elsewhere}", file="--storage")
