"""An artifact store for ``optuna.artifacts`` whose files are the artifacts of trials."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from .artifacts import checked_name, copy_whole

VARIABLE = "PILOTUNE_ARTIFACTS"
"""The environment variable with the folder of the running attempt's artifacts."""

INDEX = ".optuna.json"
"""File beside the artifacts: the name of each by Optuna's id of it."""


class ArtifactStore:
    """Keeps what ``optuna.artifacts.upload_artifact`` uploads as ``trial.artifact`` does: with the trial, by its name.

    In an objective it writes to the running trial. Elsewhere it finds what the trials of a study have kept, as for
    ``optuna.artifacts.download_artifact`` or optuna-dashboard. Nothing is written there.

    Args:
        study_folder: The study's folder of the run directories, ``<runs>/<study>``. Default: the running trial.

    An objective for Optuna changes in one line::

        store = pilotune.ArtifactStore()  # was: FileSystemArtifactStore(base_path="./artifacts")

        def objective(trial):
            ...
            upload_artifact(artifact_store=store, file_path="model.pt", study_or_trial=trial)
    """

    def __init__(self, study_folder: str | os.PathLike[str] | None = None) -> None:
        self._study = Path(study_folder) if study_folder is not None else None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep a file of Optuna's with the running trial, under the name that it has now.

        One of the same name that was uploaded before gets its id in front of its name.

        Raises:
            ValueError: No trial is running here, or the trial has written another artifact of this name.
        """
        folder = self._running()
        source, index = getattr(content_body, "name", ""), _read(folder)
        is_file = isinstance(source, str) and os.path.isfile(source)
        name = checked_name(os.path.basename(source) if is_file else artifact_id)  # a stream has no name but its id
        folder.mkdir(mode=0o700, exist_ok=True)
        earlier = next((each for each, named in index.items() if named == name), None)
        if earlier is not None:
            index[earlier] = f"{earlier}.{name}"
            os.replace(folder / name, folder / index[earlier])
        elif (folder / name).exists():
            raise ValueError(f"the trial has an artifact {name!r} already; upload the file under another name")
        if is_file:
            copy_whole(source, folder / name)
        else:
            (folder / name).write_bytes(content_body.read())
        index[artifact_id] = name
        part = folder / f"{INDEX}.part"
        part.write_text(json.dumps(index))
        os.replace(part, folder / INDEX)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact by Optuna's id. Raises ArtifactNotFound where there is none, or its trial's are deleted."""
        for folder in self._folders():
            name = _read(folder).get(artifact_id)
            if name:
                with contextlib.suppress(FileNotFoundError):
                    return open(folder / name, "rb")
        missing = import_module("optuna.artifacts.exceptions").ArtifactNotFound
        raise missing(f"there is no artifact {artifact_id}; those of trials that the study does not keep are deleted")

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact of the running trial."""
        folder = self._running()
        index = _read(folder)
        name = index.pop(artifact_id, None)
        if name:
            (folder / name).unlink(missing_ok=True)
            (folder / INDEX).write_text(json.dumps(index))

    def _running(self) -> Path:
        place = os.environ.get(VARIABLE)
        if not place or self._study is not None:
            raise ValueError("pilotune.ArtifactStore() writes in an objective that Pilotune runs, and only there")
        return Path(place)

    def _folders(self) -> Iterator[Path]:
        if self._study is None:
            yield self._running()
            return
        home = self._study / "artifacts"
        with contextlib.suppress(OSError):
            yield from (Path(entry) for entry in os.scandir(home) if entry.name.isdigit())


def _read(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
