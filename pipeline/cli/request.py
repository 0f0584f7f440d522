"""How a study was last run, kept beside its campaigns, so that ``pilotune resume`` needs only its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .commands.run import Request

FILE = "command.json"
"""In ``<runs>/<study>/``."""


@dataclass(frozen=True)
class Remembered:
    """Options of the last run; all empty where it is not known."""

    site: str | None = None
    trials: int | None = None
    overrides: tuple[str, ...] = ()


def remember(folder: Path, request: Request) -> None:
    """Keep the options of ``request`` for the study whose campaigns lie under ``folder``."""
    from ..record.rundir import make_private
    from ..trial.files import write_atomically

    make_private(folder)
    data = {"site": absolute(request.site), "trials": request.trials, "overrides": list(request.overrides)}
    write_atomically(folder / FILE, json.dumps(data))


def recall(folder: Path | None) -> Remembered:
    """What was kept; nothing where the file is missing or broken, or may be somebody else's."""
    from ..record.rundir import strangers_in
    from ..trial.from_json import build, read_json

    if folder is None or strangers_in(folder):
        return Remembered()
    try:
        return build(Remembered, read_json((folder / FILE).read_bytes()))
    except (OSError, ValueError):
        return Remembered()


def absolute(site: str | None) -> str | None:
    """A site's name as it is; its file so that it is found from anywhere."""
    return str(Path(site).absolute()) if site is not None and Path(site).is_file() else site
