"""The artifacts of a study: the files that complete trials have kept, in ``<runs>/<study>/artifacts/<trial>/NAME``.

A trial's folder gets there by one rename, after the commit that completed the trial, and leaves by one rename. So at
any moment it is whole or not there, and where a driver is killed in between, the next one does the rest. Names that
begin with a dot are half-made copies, and what is being deleted.

Standard library only, since commands that only list files use it too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from ...filesystems import has_ended
from ..trial.artifacts import files_in
from ..trial.files import ARTIFACTS, TrialFiles

FOLDER = "artifacts"
"""Name of the folder, in the study's folder of the run directories."""

COPYING = re.compile(r"\.(\d+)\.([^/]*)\.part")
"""Name of a copy that is being made; the groups are the trial and the campaign."""

LEAVING = re.compile(r"\.(\d+)\.[0-9a-f]+\.gone")
"""Name of what is being deleted."""


def artifacts_folder(study_folder: Path) -> Path:
    """Where the artifacts of a study lie. ``study_folder``: ``<runs>/<study>``."""
    return study_folder / FOLDER


def kept_artifacts(study_folder: Path) -> dict[int, dict[str, Path]]:
    """The artifacts of a study: by trial number and by name, the file.

    They are of trials that completed. Which trials of the study have any left is up to ``trial: keep`` of its study
    file, and to ``pilotune artifacts --prune``.

    Args:
        study_folder: ``<runs>/<study>``.

    Returns:
        Trials by ascending number; empty where there is nothing.

    Example::

        for number, files in kept_artifacts(Path("pilotune-runs/digits")).items():
            print(number, files["model.pt"].stat().st_size)
    """
    home = artifacts_folder(study_folder)
    found = {number: artifacts_of(home, number) for number in kept_trials(home)}
    return {number: files for number, files in found.items() if files}


def kept_trials(home: Path) -> list[int]:
    """The trials whose artifacts are in the folder ``home``, by ascending number; none where there is no folder."""
    try:
        names = os.listdir(home)
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name)


def artifacts_of(home: Path, number: int) -> dict[str, Path]:
    """The artifacts of one trial by name; empty where it has none, or they are being deleted."""
    folder = home / str(number)
    try:
        return {name: folder / name for name, _ in files_in(folder)}
    except OSError:
        return {}


def artifact_sizes(home: Path, number: int) -> dict[str, int]:
    """Bytes of one trial's artifacts by name; empty where it has none, or they are being deleted."""
    try:
        return {name: about.st_size for name, about in files_in(home / str(number))}
    except OSError:
        return {}


# -- changes ----------------------------------------------------------------------------------------------------------


def keep(source: Path, home: Path, number: int, campaign: str = "") -> bool:
    """Move the artifacts of a complete trial to those of the study; nothing where they are there already.

    On one file system that is one rename. From another they are copied; the copy gets its name when it is whole.

    Args:
        source: What the trial's last attempt wrote.
        home: The study's artifacts; made where it does not exist.
        number: The trial.
        campaign: Whose driver does it, for the name of a copy that is being made.

    Returns:
        Whether they are there now; False where there is no ``source`` either.

    Raises:
        OSError: The file system refuses; ``source`` is as it was.
    """
    target = home / str(number)
    if target.is_dir():
        shutil.rmtree(source, ignore_errors=True)  # an interrupted call copied them
        return True
    if not source.is_dir():
        return False
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            copy(source, home, number, campaign)
            shutil.rmtree(source, ignore_errors=True)
        elif not target.is_dir():  # else another driver was faster
            raise
    return True


def copy(source: Path, home: Path, number: int, campaign: str = "", *, link: bool = False) -> None:
    """Copy the artifacts of a trial into those of a study; nothing where they are there already.

    Args:
        source: The folder of the trial's artifacts.
        home: The study's; made where it does not exist.
        number: The trial.
        campaign: As in :func:`keep`.
        link: Hard links instead of copies, where the file system allows them.

    Raises:
        OSError: The file system refuses. The half-made copy is removed.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    part, target = home / f".{number}.{campaign or os.getpid()}.part", home / str(number)
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(source, part, symlinks=True, copy_function=_link_file if link else shutil.copy2)
        os.rename(part, target)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if not target.is_dir():  # else another driver was faster
            raise


def _link_file(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def forget(home: Path, number: int, between: Callable[[], None] = lambda: None) -> None:
    """Delete the artifacts of a trial; they are gone at once for whoever lists them.

    Args:
        home: The study's artifacts.
        number: The trial.
        between: Called when they are gone and not deleted yet; for tests.

    Raises:
        OSError: The file system refuses.
    """
    gone = home / f".{number}.{secrets.token_hex(4)}.gone"
    try:
        os.rename(home / str(number), gone)
    except FileNotFoundError:
        return
    between()
    shutil.rmtree(gone, ignore_errors=True)


def set_aside(home: Path, number: int, campaign: str) -> None:
    """Give the artifacts of another study's trial a name that no trial has. Raises OSError."""
    os.rename(home / str(number), home / f"{number}.before-{campaign}")


def drop_attempts(directory: Path) -> None:
    """Remove what the attempts of a trial have left of artifacts in its folder: none of it counts any more."""
    files = TrialFiles(directory)
    try:
        attempts = files.attempts_with(ARTIFACTS)
    except OSError:
        return
    for attempt in attempts:
        shutil.rmtree(files.artifacts(attempt), ignore_errors=True)


def sweep(home: Path, running: Collection[str] = ()) -> int:
    """Remove what killed drivers left half-made or half-deleted; returns how many folders.

    Args:
        home: The study's artifacts.
        running: The campaigns that are running: what they are copying stays.
    """
    try:
        names = os.listdir(home)
    except OSError:
        return 0
    found = 0
    for name in names:
        copying = COPYING.fullmatch(name)
        if LEAVING.fullmatch(name) or (copying and copying[2] not in running):
            shutil.rmtree(home / name, ignore_errors=True)
            found += 1
    return found


def sweep_copies(folder: Path) -> None:
    """Remove half-made copies that killed processes of this host have left in a folder of the user's.

    Args:
        folder: To which :func:`copy` has copied, with :func:`pilotune.filesystems.writer` as the campaign.
    """
    for name in os.listdir(folder) if folder.is_dir() else ():
        copying = COPYING.fullmatch(name)
        if copying and has_ended(copying[2]):
            shutil.rmtree(folder / name, ignore_errors=True)
