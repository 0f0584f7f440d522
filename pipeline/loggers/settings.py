"""The loggers that a study file may name, their keys, and the packages that they need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A logger that can be named.

    Attributes:
        module: The package that it needs, as it is imported.
        keys: Its keys in a study file, all of them text, with their meanings.
    """

    module: str
    keys: Mapping[str, str]


KINDS: Mapping[str, Kind] = {
    "tensorboard": Kind("tensorboard", {"dir": "folder of the event files"}),
    "mlflow": Kind(
        "mlflow", {"uri": "tracking server or store", "experiment": "name of the experiment, by default the study's"}
    ),
    "wandb": Kind(
        "wandb",
        {
            "project": "name of the project, by default the study's",
            "entity": "user or team that owns it",
            "mode": "`offline`, the default, or `online`",
            "dir": "folder of the offline runs",
        },
    ),
}
"""Name in a study file -> what it is. The extra of the same name installs its package."""

SQLITE = "sqlite:///"
"""What the URI of a SQLite file begins with."""

MODES = ("offline", "online")
"""Modes of wandb."""


@dataclass(frozen=True)
class LoggerSettings:
    """One logger of a study file.

    Attributes:
        name: One of :data:`KINDS`.
        args: Its keys, as the study file has them.
    """

    name: str
    args: Mapping[str, str]

    @property
    def missing(self) -> str:
        """How to install its package, as the end of a sentence; empty where it is installed.

        >>> LoggerSettings("tensorboard", {}).missing
        ''
        """
        module = KINDS[self.name].module
        if find_spec(module) is not None:
            return ""
        return f"{self.name} needs the package {module}, which is not installed: pip install 'pilotune[{self.name}]'"


@dataclass(frozen=True)
class Destination:
    """Where a logger writes.

    Attributes:
        name: The logger.
        args: Its arguments, complete.
        place: What tells this destination from others, for the journal and for people.
    """

    name: str
    args: dict[str, str]
    place: str

    @property
    def folder(self) -> Path | None:
        """The folder on this host that it writes to; None for a server.

        >>> Destination("mlflow", {"uri": "sqlite:////runs/mlflow.db"}, "").folder
        PosixPath('/runs')
        >>> Destination("mlflow", {"uri": "https://mlflow.example.org"}, "").folder
        """
        if self.name != "mlflow":
            return Path(self.args["dir"])
        uri = self.args["uri"]
        if uri.startswith(SQLITE):
            return Path(uri.removeprefix(SQLITE)).parent
        scheme, colon, path = uri.partition(":")
        return Path(path if colon else uri) if not colon or scheme == "file" else None

    def why_unwritable(self) -> str:
        """Why nothing can be written to its folder, and what to do, as a sentence; empty where that is not so."""
        folder = self.folder
        if folder is None:
            return ""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return ""
        except OSError as error:
            key, why = "uri" if self.name == "mlflow" else "dir", (error.strerror or str(error)).lower()
            return f"its folder {folder} cannot be written ({why}); make it writable, or give another as its `{key}`"


def destination(settings: LoggerSettings, study: str, folder: Path, home: Path) -> Destination:
    """Where a logger writes.

    Args:
        settings: The logger.
        study: The study's name.
        folder: The study file's folder, where relative paths start.
        home: The folder for loggers in the study's folder of the run directories.

    >>> destination(LoggerSettings("tensorboard", {}), "digits", Path("/here"), Path("/runs/digits/loggers")).place
    'tensorboard'
    """
    args = dict(settings.args)
    if settings.name in ("tensorboard", "wandb"):
        args["dir"] = os.path.abspath(folder / os.path.expanduser(args.get("dir", home / settings.name)))
    if settings.name == "mlflow":
        args.setdefault("experiment", study)
        args["uri"] = _store(args.get("uri") or os.environ.get("MLFLOW_TRACKING_URI", ""), folder, home)
        return Destination(settings.name, args, f"{args['uri']} {args['experiment']}")
    if settings.name == "wandb":
        args.setdefault("project", study)
        args.setdefault("mode", "offline")
        return Destination(settings.name, args, f"{_inside(args['dir'], home)} {args['project']}")
    return Destination(settings.name, args, _inside(args["dir"], home))


def _inside(path: str, home: Path) -> str:
    """A folder for the journal: relative to ``home`` where it is inside, since a study may be renamed."""
    return str(Path(path).relative_to(home)) if Path(path).is_relative_to(home) else path


def _store(uri: str, folder: Path, home: Path) -> str:
    """MLflow's store: as given, with a relative SQLite file from the study file's folder; or one of the study's own."""
    if not uri:
        return f"{SQLITE}{home / 'mlflow.db'}"
    if uri.startswith(SQLITE):
        return f"{SQLITE}{os.path.abspath(folder / uri.removeprefix(SQLITE))}"
    return uri
