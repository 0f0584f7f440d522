"""An ensemble in a folder of its own, which needs nothing of the study that it was chosen from.

The folder holds ``ensemble.json``, the files of each member in ``members/<trial>/``, and in ``code/`` the Python files
of the function that predicts.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...errors import UserError
from ...filesystems import has_ended, writer
from ...grammar import count
from .combined import ClassPrediction, Prediction
from .held import CHECK, CLASSES, HELD, NORMAL
from .members import How, Member, predict_function
from .own_code import OwnCode

VERSION = 1
"""Of ``ensemble.json``."""

FILE, MEMBERS, CODE = "ensemble.json", "members", "code"

LONGEST_PART = 100
"""Most characters of the folder's name that are in the name of a half-made one: a name has 255 bytes at most."""


@dataclass(frozen=True)
class Ensemble:
    """Models that predict together. :func:`load` makes one.

    Attributes:
        folder: Where it is.
        study: The name of the study that its members are from.
        kind: ``normal`` for a regression, ``classes`` for a classification.
        outputs: Of a regression: D, or 0 where each row has one number and arrays are N instead of N x D.
        members: The models, the heaviest first.
        how: How they predict.
        about: How it was chosen, and how good it was on rows that the selection had not seen.
        code: The Python files that came with it.
    """

    folder: Path
    study: str
    kind: str
    outputs: int
    members: tuple[Member, ...]
    how: How
    about: Mapping[str, Any]
    code: OwnCode = field(repr=False, compare=False)

    @property
    def weights(self) -> np.ndarray:
        """Of the members; their sum is one."""
        return np.array([member.weight for member in self.members])

    def predict(self, x: Any) -> Prediction | ClassPrediction:
        """Predict with all members, and combine what they predict.

        Args:
            x: The rows, in the form that the function that predicts takes: mostly an array, N x features.

        Returns:
            For a regression a :class:`.combined.Prediction`, with ``mean``, ``aleatoric``, ``epistemic``, ``quantiles``
            and more; for a classification a :class:`.combined.ClassPrediction`, with ``probabilities``.

        Raises:
            UserError: There is no function that predicts, or what it returns cannot be used.
            Exception: Whatever that function raises.

        Example::

            found = ensemble.load("best").predict(x)
            low, high = found.interval(0.9)
        """
        found = []
        with self.code.in_use():
            function = predict_function(self.how, self.folder, self.kind)
            for member in self.members:
                try:
                    found.append(self._checked(function(dict(member.files), dict(member.params), x)))
                except UserError as error:
                    raise UserError(f"the member of trial {member.trial} in {self.folder}: {error.message}") from error
        if len({each.shape for each in found}) > 1:
            shapes = ", ".join(str(each.shape[1:]) for each in found)
            raise UserError(f"the members in {self.folder} predict arrays of unequal shape: {shapes}")
        together = np.stack(found)
        if self.kind == CLASSES:
            return ClassPrediction(together[:, 0], self.weights)
        return Prediction(together[:, 0], together[:, 1], self.weights)

    def _checked(self, found: Any) -> np.ndarray:
        """What one member predicts, as one array: its mean and standard deviation, or its probabilities alone."""
        if self.kind == CLASSES:
            probabilities = np.asarray(found, dtype=float)
            if probabilities.ndim != 2 or not np.isfinite(probabilities).all():
                raise UserError(f"predicts {_said(found)}, and not the probabilities of classes, N x C")
            return probabilities[None]
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise UserError(f"predicts {_said(found)}, and not the mean and the standard deviation")
        mean, std = (self._numbers(np.asarray(each, dtype=float)) for each in found)
        if mean.shape != std.shape:
            raise UserError(f"predicts a mean of the shape {mean.shape} and a standard deviation of {std.shape}")
        if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std <= 0).any():
            raise UserError("predicts numbers that are not finite, or standard deviations that are not above 0")
        return np.stack([mean, std])

    def _numbers(self, found: np.ndarray) -> np.ndarray:
        """An array N, or N x D: one column may stand for N and the other way round."""
        if not self.outputs:
            return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found
        return found[:, None] if self.outputs == 1 and found.ndim == 1 else found


def _said(found: Any) -> str:
    shape = getattr(found, "shape", None)
    return f"an array of the shape {tuple(shape)}" if shape is not None else f"a value of type {type(found).__name__}"


def save(
    folder: Path,
    *,
    study: str,
    kind: str,
    outputs: int,
    members: Sequence[Member],
    how: How,
    code: Mapping[str, Path],
    about: Mapping[str, Any],
) -> None:
    """Write an ensemble. Its folder gets its name when all of it is there.

    Args:
        folder: Where; it must not exist, or be empty.
        study: See :class:`Ensemble`, also for what is not listed here.
        kind: Likewise.
        outputs: Likewise.
        members: With their files where they are now; they are copied, but for the held-out predictions.
        how: Its ``file`` is relative to the new folder, and one of ``code``.
        code: Files to copy, by their place in the new folder.
        about: Anything that JSON can hold.

    Raises:
        UserError: There is something else in the folder, or a file to copy cannot be read.
        OSError: The file system refuses. What was written is removed.
    """
    check_free(folder)
    folder = Path(os.path.realpath(folder))
    _sweep(folder)
    part = folder.with_name(f".{folder.name[:LONGEST_PART]}.{writer()}.part")
    shutil.rmtree(part, ignore_errors=True)  # of an earlier process with the number of this one
    try:
        part.mkdir(parents=True)
        listed = []
        for member in members:
            files = {name: path for name, path in member.files.items() if name not in (HELD, CHECK)}
            places = {name: f"{MEMBERS}/{member.trial}/{name}" for name in files}
            sizes = {name: _copy(files[name], part, place) for name, place in places.items()}
            listed.append(asdict(member) | {"files": places, "sizes": sizes})
        for place, path in code.items():
            _copy(path, part, place)
        content = {"version": VERSION, "study": study, "kind": kind, "outputs": outputs,
                   "predict": {name: value for name, value in asdict(how).items() if value},
                   "code": sorted(code), "members": listed, "about": about}  # fmt: skip
        (part / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def check_free(folder: Path) -> None:
    """Raise UserError if an ensemble cannot be written there."""
    if folder.is_dir() and not any(folder.iterdir()):
        if folder.samefile(Path.cwd()):  # it is replaced, and a shell would stay in a folder that is no more
            raise UserError(f"{folder} is the working directory, and an ensemble needs a new folder; give another path")
        return
    if folder.exists():
        what = "holds files" if folder.is_dir() else "is a file"
        raise UserError(f"{folder} {what} already, and an ensemble needs a new folder; give another path")


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left half-made of this folder."""
    begin, end = f".{folder.name[:LONGEST_PART]}.", ".part"
    for name in os.listdir(folder.parent) if folder.parent.is_dir() else ():
        if name.startswith(begin) and name.endswith(end) and has_ended(name[len(begin) : -len(end)]):
            shutil.rmtree(folder.parent / name, ignore_errors=True)


def _copy(source: Path, part: Path, place: str) -> int:
    """Copy a file to its place in the half-made folder; returns its bytes."""
    target = part / place
    try:
        source.open("rb").close()
    except OSError as error:  # said here, since what is refused below is about the new folder
        raise UserError(f"{source} cannot be copied into the ensemble ({error.strerror or error})") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    return target.stat().st_size


def load(folder: str | os.PathLike[str]) -> Ensemble:
    """Load an ensemble that ``pilotune ensemble`` has written. No member is loaded before it predicts.

    Args:
        folder: Its folder.

    Raises:
        UserError: There is no ensemble, it is damaged, or a file is missing or has another size than when it was saved.

    Example::

        from pilotune import ensemble

        best = ensemble.load("best-of-digits")
        print(best.predict(x).probabilities)
    """
    home = Path(folder)
    try:
        content = json.loads((home / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no ensemble in {home}: it has no {FILE}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot be read ({error})", file=home / FILE) from None
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise UserError(f"has the version {version!r}, but this Pilotune reads version {VERSION}", file=home / FILE)
    try:
        made = _made(home, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"is damaged ({type(error).__name__}: {error})", file=home / FILE) from None
    return made


def _made(home: Path, content: Mapping[str, Any]) -> Ensemble:
    members = tuple(
        Member(int(each["trial"]), float(each["weight"]), dict(each["params"]),
               {str(name): _inside(home, place) for name, place in each["files"].items()})
        for each in content["members"]
    )  # fmt: skip
    weights = [member.weight for member in members]
    if not weights or min(weights) <= 0 or not math.isclose(sum(weights), 1, abs_tol=1e-6):
        raise ValueError("weights that are not above 0 with a sum of 1")
    if content["kind"] not in (NORMAL, CLASSES):
        raise ValueError(f"kind {content['kind']!r}")
    how = How(**content["predict"])
    code = [_inside(home, place) for place in content.get("code", [])] + ([_inside(home, how.file)] if how.file else [])
    _check_whole(members, [each.get("sizes", {}) for each in content["members"]], code)
    folders = [code[-1].parent] if how.file else []
    return Ensemble(
        home, content["study"], content["kind"], int(content["outputs"]), members, how, content.get("about", {}),
        OwnCode([*folders, home / CODE]),
    )  # fmt: skip


def _inside(home: Path, place: str) -> Path:
    """A file of the ensemble. Raises ValueError for one that is elsewhere."""
    if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
        raise ValueError(f"the file {place!r} is outside of the folder")
    return home / place


def _check_whole(members: Sequence[Member], sizes: Sequence[Mapping[str, Any]], code: Sequence[Path]) -> None:
    """Raise UserError where a file is missing or has another size than it had: the folder was copied in part."""
    for path in code:
        if not path.is_file():
            raise UserError(f"the file {path}, by which the ensemble predicts, is missing")
    for member, known in zip(members, sizes, strict=True):
        for name, path in member.files.items():
            if not path.is_file():
                raise UserError(f"the file {path} of the member of trial {member.trial} is missing")
            found, wanted = path.stat().st_size, known.get(name)
            if wanted is not None and found != wanted:
                raise UserError(
                    f"the file {path} of the member of trial {member.trial} has {count(found, 'byte')}, and had "
                    f"{wanted:,} when the ensemble was saved: copy the ensemble again"
                )
