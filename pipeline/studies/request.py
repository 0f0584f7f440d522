"""What the user asked to run: the options of ``run`` and ``resume``, and those remembered from the last run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .resolve import PreparedRun

FILE = "command.json"
"""File in ``<runs>/<study>/`` that keeps the options of the last run, so that ``pilotune resume`` needs only a name."""


@dataclass(frozen=True)
class Request:
    """The options of one ``run`` or ``resume``, before any file is read.

    Attributes:
        study: Path of the study file, or of the folder that holds a ``study.yaml``.
        sites: Names of the sites or paths of their files; empty means this machine.
        storage: Database URL; None means that of the study file, else the default.
        trials: Overrides ``budget.trials``.
        overrides: The ``--set`` options, ``KEY=VALUE`` each.
        new_name: Overrides the study's name.
        runs: Folder of the run directories; None means the default.
        as_json: Print the summary as JSON.
        quiet: Show no progress.
        beside: The folder in which the default folder of run directories is, instead of the study file's.
    """

    study: str
    sites: tuple[str, ...] = ()
    storage: str | None = None
    trials: int | None = None
    overrides: tuple[str, ...] = ()
    new_name: str | None = None
    runs: Path | None = None
    as_json: bool = False
    quiet: bool = False
    beside: Path | None = None

    def prepare(self) -> PreparedRun:
        """Read and check the study file and the site file. Raises UserError as :func:`resolve.prepare_run` does."""
        from .resolve import prepare_run

        return prepare_run(
            self.study,
            self.sites,
            self.storage,
            self.overrides,
            trials=self.trials,
            new_name=self.new_name,
            runs=self.runs,
            beside=self.beside,
        )


def command_line(request: Request, prepared: PreparedRun) -> list[str]:
    """The arguments with which another ``pilotune`` process runs this request, in any working directory."""
    words = [
        "run",
        str(prepared.study_file.path),
        "--storage",
        prepared.storage,
        "--runs",
        str(prepared.runs),
        "--quiet",
    ]
    for site in absolute_sites(request.sites):
        words += ["--site", site]
    if request.new_name is not None:
        words += ["--new-name", request.new_name]
    if request.trials is not None:
        words += ["--trials", str(request.trials)]
    for text in request.overrides:
        words += ["--set", text]
    return words


@dataclass(frozen=True)
class RememberedOptions:
    """The options of a study's last run; all are empty if they are not known.

    Attributes:
        site: The site, as earlier versions wrote it; None where ``sites`` has it.
    """

    site: str | None = None
    trials: int | None = None
    overrides: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()


def save_options(folder: Path, request: Request) -> None:
    """Keep the options of ``request`` for ``resume``. ``folder``: the study's, ``<runs>/<study>``."""
    sites = absolute_sites(request.sites)
    write_options(folder, RememberedOptions(None, request.trials, request.overrides, sites))


def write_options(folder: Path, options: RememberedOptions) -> None:
    """Keep options for ``resume`` in a study's folder."""
    from ..record.rundir import make_private
    from ..trial.files import write_atomically

    make_private(folder)
    data = {"sites": options.sites, "trials": options.trials, "overrides": options.overrides}
    write_atomically(folder / FILE, json.dumps(data))


def load_options(folder: Path | None) -> RememberedOptions:
    """The options of the last run; empty if the file is missing or broken, or if another user could have changed it."""
    from ..record.rundir import why_untrusted
    from ..trial.from_json import build, read_json

    if folder is None or why_untrusted(folder):
        return RememberedOptions()
    try:
        found = build(RememberedOptions, read_json((folder / FILE).read_bytes()))
    except (OSError, ValueError):
        return RememberedOptions()
    return replace(found, site=None) if not found.site else replace(found, site=None, sites=(found.site,))


def absolute_sites(sites: Sequence[str]) -> tuple[str, ...]:
    """``sites`` with the path of each file made absolute; the name of a site stays as it is."""
    return tuple(str(Path(site).absolute()) if Path(site).is_file() else site for site in sites)
