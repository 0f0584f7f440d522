"""Copies of trials' checkpoints, from which other trials start.

The files of a copy are hard links, so that a copy takes no time and no space. Whoever goes on with one gives itself
files of its own first (:func:`pilotune.pipeline.worker.node.fencing.enter`), so that no trial writes into the
checkpoint of another, not even an objective that writes into files in their place.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from ..fidelity import Origin
from ..trial.files import SNAPSHOT, TrialFiles

log = logging.getLogger(__name__)


def take_snapshot(files: TrialFiles, step: int) -> str:
    """Copy a trial's newest checkpoint, and remove the copies from before.

    Args:
        files: Of a trial of which no attempt runs.
        step: The last step that the trial has reported.

    Returns:
        The copy's folder; empty where the trial has saved nothing, or the file system refuses.
    """
    try:
        _, newest = files.newest_checkpoint()
        if newest is None or not os.listdir(newest):
            return ""
        copy = files.snapshot(step)
        if not copy.is_dir():
            _link(newest, copy)
        for older in files.snapshots():
            if older != copy:
                shutil.rmtree(older, ignore_errors=True)
    except OSError as error:
        log.warning("the checkpoint of trial %s cannot be copied: %s", files.directory.name, error)
        return ""
    return str(copy)


def inherit(files: TrialFiles, origin: Origin) -> int | None:
    """Fill the checkpoint folder of a trial that starts from the checkpoint of another.

    Where that copy is gone, because a driver died and the other trial went on meanwhile, its newest one is taken.

    Args:
        files: Of the new trial.
        origin: Where it starts.

    Returns:
        The step that its checkpoint holds; None where it had a checkpoint folder already.

    Raises:
        OSError: The file system refuses.
    """
    if files.directory.is_dir() and files.newest_checkpoint()[1] is not None:
        return None
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = Path(origin.folder) if origin.folder else None
    for found in [source, *(reversed(TrialFiles(source.parent).snapshots()) if source else ())]:
        if found is not None and found.is_dir():
            _link(found, files.checkpoint_of(0))
            named = SNAPSHOT.match(found.name)
            return int(named[1]) if named else origin.step
    log.warning("trial %s starts from nothing: the checkpoint of trial %d is gone", files.directory.name, origin.parent)
    return 0


def copy_parent(files: TrialFiles, parent: Path) -> str:
    """Give a trial a copy of the checkpoint of the trial that it is a child of.

    Args:
        files: Of the new trial.
        parent: The parent's folder.

    Returns:
        The copy's folder; empty where the parent has saved nothing, or its files are gone.
    """
    copy = files.parent_checkpoint
    try:
        if not copy.is_dir():
            _, newest = TrialFiles(parent).newest_checkpoint()
            if newest is None or not os.listdir(newest):
                return ""
            files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _link(newest, copy)
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.warning("trial %s starts without its parent's weights: %s", files.directory.name, error)
        return ""
    return str(copy)


def _link(source: Path, target: Path) -> None:
    """Copy a folder by hard links, or file by file where there are none; it gets its name when it is whole."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, symlinks=True, copy_function=_link_file)
    os.replace(part, target)


def _link_file(source: str, target: str, *, follow_symlinks: bool = False) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
    return target
