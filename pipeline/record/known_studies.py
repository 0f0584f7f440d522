"""The studies that this user has run from this account, so that they can be named from anywhere.

One JSON file a study in ``$XDG_STATE_HOME/pilotune/studies`` (``~/.local/state`` by default), 0600 in folders of 0700.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import UserError
from ..trial.files import write_atomically
from ..trial.from_json import build, read_json
from .rundir import make_private

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""What a study may be called; it is a file's name here."""

STORAGE = re.compile(r"(sqlite:///|postgresql(\+psycopg)?://)[^\0]+")


@dataclass(frozen=True)
class Entry:
    """Where a study was run last.

    Attributes:
        storage: URL of its database, without a password.
        runs: The folder of all run directories.
        site: The site's name.
        run_dir: Of the latest campaign.
        updated: Unix seconds.
    """

    name: str
    study_file: Path
    storage: str
    runs: Path
    site: str
    run_dir: Path
    updated: float


def folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "pilotune" / "studies"


def remember(*, name: str, study_file: Path, storage: str, runs: Path, site: str, run_dir: Path) -> None:
    """Write down where a study runs now. An account whose home cannot be written to only loses the short names."""
    entry = Entry(_valid(name), study_file, storage, runs, site, run_dir, time.time())
    try:
        make_private(folder())
        write_atomically(_file(name), json.dumps(asdict(entry), default=str, indent=1))
    except OSError as error:
        log.warning("the list of studies in %s cannot be written (%s): give --storage later", folder(), error.strerror)


def find(name: str) -> Entry | None:
    """The study of that name; None when it never ran here. Raises UserError for an impossible name or a broken file."""
    file = _file(_valid(name))
    return _read(file) if file.exists() else None


def all() -> list[Entry]:
    """All studies, the latest first; a broken file is warned of and left out."""
    found = []
    for file in folder().glob("*.json"):
        try:
            found.append(_read(file))
        except UserError as error:
            log.warning("%s", error)
    return sorted(found, key=lambda entry: -entry.updated)


def _valid(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(f"{name[:140]!r} is no study's name: letters, digits, '.', '_', '+' and '-' only")
    return name


def _file(name: str) -> Path:
    return folder() / f"{name}.json"


def _read(file: Path) -> Entry:
    try:
        entry = build(Entry, read_json(file.read_bytes()))
        if entry.name == file.stem and STORAGE.fullmatch(entry.storage):
            return entry
        raise ValueError("a note of another study")
    except (OSError, ValueError):
        raise UserError(
            "this note of where a study runs cannot be read; delete it and run the study again", file=file
        ) from None
