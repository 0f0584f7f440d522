"""Artifacts: the files of a trial that are kept, such as a model or held-out predictions.

An attempt writes them into a folder of its own in the trial's folder (:meth:`.files.TrialFiles.artifacts`). They count
when that attempt completes the trial: after the commit that says so, the driver moves the folder to the artifacts of
the study (:mod:`pilotune.pipeline.record.artifacts`). What other attempts wrote vanishes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ...grammar import a
from .values import shown

LONGEST_NAME = 200
"""Most bytes of an artifact's name; file systems take 255, and a name that is being written is longer."""

MOST_LISTED = 1000
"""Most files of a trial that are listed in the database; further ones are kept all the same."""


class KeepsArtifacts:
    """The part of :class:`.api.Trial` that keeps files."""

    _artifacts: ArtifactFolder

    def artifact(self, name_or_path: str | os.PathLike[str]) -> Path:
        """Keep a file with the trial: a model, held-out predictions.

        What an attempt has kept counts when it completes the trial: ``pilotune artifacts`` lists it, and the study
        file's ``trial: {keep: {artifacts: 50}}`` says of how many trials, the best ones, files stay. The artifacts of
        an attempt that fails, is pruned or yields vanish, so save into ``checkpoint_dir`` what the next attempt needs.
        In a trial of several ranks, rank 0 writes; a path to an existing file does nothing in other ranks.

        Args:
            name_or_path: A plain name, such as ``"model.pt"``: you write that file yourself, now or later, as often as
                you like. Or a path to an existing file (text with a slash, or a ``pathlib.Path``): it is copied as it
                is now, under its own name.

        Returns:
            Where to write the file, or where the copy lies; its folder exists.

        Raises:
            TypeError: It is neither text nor a path.
            ValueError: The name is none that a file here may have, the path is a folder's, or another file of the same
                name was kept before.
            FileNotFoundError: There is no file at the path.
            OSError: It cannot be copied.

        >>> import pilotune
        >>> trial = pilotune.FixedTrial({"lr": 0.1})
        >>> _ = trial.artifact("model.txt").write_text("weights")
        >>> trial.artifact("model.txt").read_text()
        'weights'
        >>> trial.artifact("runs/model.txt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        FileNotFoundError: there is no file 'runs/model.txt' to keep as an artifact; for ...
        """
        return self._artifacts.place(name_or_path)


class ArtifactFolder:
    """The artifacts of one attempt.

    Args:
        folder: Where they lie; made when the first one is named.
        writes: Whether this process keeps files; False for ranks other than rank 0.
    """

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder, self._writes = folder, writes
        self._sources: dict[str, str] = {}  # the real path of what was kept under each name; empty: the user writes it

    def place(self, name_or_path: str | os.PathLike[str]) -> Path:
        """Do what :meth:`KeepsArtifacts.artifact` says, and return what it returns."""
        given = os.fspath(name_or_path) if isinstance(name_or_path, str | os.PathLike) else None
        if not isinstance(given, str):
            raise TypeError(f"an artifact is named by text or a path, got {a(type(name_or_path).__name__)}")
        if isinstance(name_or_path, str) and "/" not in given:
            name = checked_name(given)
            self._sources.setdefault(name, "")
            self.folder.mkdir(mode=0o700, exist_ok=True)
            return self.folder / name
        return self._keep(given)

    def _keep(self, given: str) -> Path:
        if os.path.isdir(given):
            message = f"{shown(given)} is a folder, and an artifact is a file: pack it with shutil.make_archive, or "
            raise ValueError(message + "write its files below trial.artifact('NAME')")
        if "\0" in given or not os.path.isfile(given):
            hint = "; for the path of a new file give a name without a slash, as in trial.artifact('model.pt')"
            raise FileNotFoundError(f"there is no file {shown(given)} to keep as an artifact{hint}")
        source, name = os.path.realpath(given), checked_name(os.path.basename(given))
        target = self.folder / name
        if source == os.path.realpath(target):
            return target
        other = self._sources.setdefault(name, source)
        if other != source:
            already = f"the trial has an artifact {name!r} already{f', from {other}' if other else ''}"
            raise ValueError(f"{already}; copy {shown(given)} to another name first")
        if self._writes:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            copy_whole(source, target)
        return target


def checked_name(name: str) -> str:
    """A name that an artifact may have. Raises ValueError for others, with a sentence that says which are possible.

    >>> checked_name("model.pt")
    'model.pt'
    >>> checked_name("..")
    Traceback (most recent call last):
        ...
    ValueError: an artifact cannot be named '..': a name is a file's, and does not begin with a dot
    """
    why = ""
    if not name:
        why = "a name has at least one character"
    elif name.startswith("."):
        why = "a name is a file's, and does not begin with a dot"
    elif not name.isprintable() or "/" in name:
        why = "a name has no slash and no character that cannot be printed"
    elif len(name.encode()) > LONGEST_NAME:
        why = f"a name has at most {LONGEST_NAME} bytes"
    if why:
        raise ValueError(f"an artifact cannot be named {name[:80]!a}: {why}")
    return name


def copy_whole(source: str | os.PathLike[str], target: Path) -> None:
    """Copy a file; it gets its name when it is whole, and replaces what had that name.

    It is a copy and not a hard link, since an objective may go on to write into its file.

    Raises:
        OSError: The file system refuses; nothing half is left.
    """
    import shutil  # it imports compression libraries, which few attempts need

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, part)
        os.chmod(part, 0o600)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def files_in(folder: str | os.PathLike[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The artifacts in a folder, by name: each file with what ``lstat`` says. Those in a folder below have its name.

    Files whose names begin with a dot are half-made, or an index of :class:`.artifact_store.ArtifactStore`. Raises
    OSError.
    """
    for inside, folders, names in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(inside, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and not name.startswith("."):
                yield os.path.relpath(path, folder), found


def _raise(error: OSError) -> None:
    raise error


def sizes_in(folder: Path) -> dict[str, int]:
    """Bytes of the artifacts in a folder by name, ``MOST_LISTED`` of them; empty where there is none.

    Raises:
        OSError: The folder is there and cannot be read.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, int] = {}
    for name, about in files_in(folder):
        if len(found) == MOST_LISTED:
            break
        found[name] = about.st_size
    return found
