"""Records which studies this account has run, so that commands find them by name from any folder.

One JSON file for each study in ``$XDG_STATE_HOME/pilotune/studies`` (default: ``~/.local/state/pilotune/studies``);
files have mode 0600, folders 0700.
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
from ...names import NAME, NAME_RULE
from ..trial.files import write_atomically
from ..trial.from_json import build, read_json
from .rundir import make_private

log = logging.getLogger(__name__)

STORAGE = re.compile(r"(sqlite:///|postgresql(\+psycopg)?://)[^\0]+")
"""A storage URL as ``normalize_url`` returns it."""


@dataclass(frozen=True)
class Entry:
    """Where a study was run last.

    Attributes:
        name: The study's name.
        study_file: Its study file.
        storage: URL of its database, without a password.
        runs: The folder of all run directories.
        site: The site's name.
        run_dir: Run directory of the latest campaign.
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
    """The folder of the JSON files; it need not exist."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "pilotune" / "studies"


def save(*, name: str, study_file: Path, storage: str, runs: Path, site: str, run_dir: Path) -> None:
    """Record where a study runs now; log a warning when that cannot be written.

    The arguments are those of :class:`Entry`. Raises UserError for a name that breaks ``NAME_RULE``.
    """
    entry = Entry(_valid(name), study_file, storage, runs, site, run_dir, time.time())
    try:
        make_private(folder())
        write_atomically(_file(name), json.dumps(asdict(entry), default=str, indent=1))
    except OSError as error:
        log.warning(
            "the list of studies in %s cannot be written (%s); later commands will need --storage",
            folder(),
            error.strerror,
        )


def forget(name: str) -> None:
    """Remove a study from the list, if it is there. Raises OSError."""
    _file(_valid(name)).unlink(missing_ok=True)


def find(name: str) -> Entry | None:
    """The study with this name; None when it never ran from this account.

    Raises UserError for a name that breaks ``NAME_RULE``, or an entry that cannot be read.
    """
    file = _file(_valid(name))
    return _read(file) if file.exists() else None


def all() -> list[Entry]:
    """All studies, the latest first; an entry that cannot be read is left out with a warning."""
    found = []
    for file in folder().glob("*.json"):
        try:
            found.append(_read(file))
        except UserError as error:
            log.warning("%s", error)
    return sorted(found, key=lambda entry: -entry.updated)


def found_elsewhere(name: str, url: str) -> str:
    """The end of a sentence on a study that was looked for at ``url``: where it ran last, if that is another place.

    Args:
        name: The study's name.
        url: A URL as ``normalize_url`` returns it.
    """
    try:
        entry = find(name)
    except UserError:
        return ""
    if entry is None or entry.storage == url:
        return ""
    file = entry.storage.removeprefix("sqlite:///") if entry.storage.startswith("sqlite:///") else None
    if file is not None and not Path(file).is_file():
        return ""
    return f"; study {name!r} is in {entry.storage}"


def _valid(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(f"{name[:140]!r} cannot be a study's name: {NAME_RULE}")
    return name


def _file(name: str) -> Path:
    return folder() / f"{name}.json"


def _read(file: Path) -> Entry:
    try:
        entry = build(Entry, read_json(file.read_bytes()))
        if entry.name == file.stem and STORAGE.fullmatch(entry.storage):
            return entry
        raise ValueError("the entry is of another study")
    except (OSError, ValueError):
        raise UserError(
            "this entry of the list of studies cannot be read; delete it and run the study again", file=file
        ) from None
