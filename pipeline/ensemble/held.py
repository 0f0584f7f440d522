"""Reads the predictions that trials have kept for held-out rows, and checks that they can be compared.

The artifact ``held.npz`` of a trial, written by ``numpy.savez``, holds for a regression ``y``, ``mean`` and ``std`` of
one shape, N or N x D; for a classification ``y``, N whole numbers from 0, and ``probabilities``, N x C. All trials must
have predicted the same rows. An artifact ``check.npz`` of the same form has rows that no selection sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...grammar import count

HELD, CHECK = "held.npz", "check.npz"
"""Names of the artifacts."""

NORMAL, CLASSES = "normal", "classes"
"""What is predicted: Normal distributions, or probabilities of classes."""

ARRAYS = ("y", "mean", "std", "probabilities")

SUM_TOLERANCE = 1e-3
"""So far from 1 the sum of a row's probabilities may be: they may have been stored with half precision."""

LARGEST = 1e100
"""Numbers are from its negative to it, and standard deviations at least one over it: beyond, squares overflow."""

SHOWN = 20
"""Most trials, or ranges of them, that a message names."""

NAMES_SHOWN, LONGEST_SHOWN = 5, 80
"""Most names of arrays that a message has, and most characters of each, and of what NumPy says."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of K models for the same N rows.

    Attributes:
        trials: The trial of each model.
        y: The true values, N or N x D; of classes, N whole numbers.
        mean: K x N or K x N x D; empty for classes.
        std: Likewise.
        probabilities: K x N x C; empty for a regression.
    """

    trials: tuple[int, ...]
    y: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    probabilities: np.ndarray

    @property
    def kind(self) -> str:
        """:data:`NORMAL` or :data:`CLASSES`."""
        return CLASSES if self.probabilities.ndim == 3 else NORMAL

    @property
    def outputs(self) -> int:
        """D of a regression; 0 where each row has one number, and of classes."""
        return self.y.shape[1] if self.y.ndim == 2 else 0

    @property
    def form(self) -> str:
        """What is predicted for a row, in words."""
        if self.kind == CLASSES:
            return count(self.probabilities.shape[2], "class", "classes")
        return f"rows of {count(self.outputs, 'number')}" if self.outputs else "one number a row"

    def rows(self, chosen: np.ndarray) -> Predictions:
        """The same of these rows only."""
        if self.kind == CLASSES:
            return Predictions(self.trials, self.y[chosen], self.mean, self.std, self.probabilities[:, chosen])
        return Predictions(self.trials, self.y[chosen], self.mean[:, chosen], self.std[:, chosen], self.probabilities)


class Unusable(Exception):
    """One file cannot be used; the message says why and follows its name."""


def read_predictions(files: Mapping[int, Path]) -> Predictions:
    """Read the predictions of several trials.

    Args:
        files: The file of each trial, by its number; at least one.

    Raises:
        UserError: A file is damaged, holds something else, or predicts other rows than most files do. The sentence
            names the first such trial, and how all of them are left out.
    """
    found: dict[int, dict[str, np.ndarray]] = {}
    wrong: dict[int, str] = {}
    for trial, file in sorted(files.items()):
        try:
            found[trial] = read_file(file)
        except Unusable as problem:
            wrong[trial] = str(problem)
    wrong |= _strangers(found)
    if wrong:
        first = min(wrong)
        what = f"{files[first].name} of trial {first} {wrong[first]}"
        if len(wrong) == len(files):
            others = f", and none of the other {len(wrong) - 1} can be used either" if len(wrong) > 1 else ""
            raise UserError(f"{what}{others}; correct what the objective writes, and run new trials")
        more = f" (and so on: {count(len(wrong), 'trial')} in all)" if len(wrong) > 1 else ""
        raise UserError(f"{what}{more}; leave out such trials with --without {listed(wrong)}")
    return _stacked(found)


def listed(trials: Collection[int]) -> str:
    """Trials as ``--without`` takes them, with ranges; three dots where there are very many.

    >>> listed({4, 7, 8, 9, 2})
    '2,4,7-9'
    """
    ranges: list[list[int]] = []
    for trial in sorted(trials):
        if ranges and trial == ranges[-1][1] + 1:
            ranges[-1][1] = trial
        else:
            ranges.append([trial, trial])
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ",".join(words[:SHOWN]) + (",..." if len(words) > SHOWN else "")


def read_file(file: Path) -> dict[str, np.ndarray]:
    """The arrays of one file, checked. Raises :class:`Unusable`."""
    try:
        if isinstance(stored := np.load(file, allow_pickle=False), np.ndarray):
            raise Unusable("holds one array, and not those that numpy.savez writes")
        with stored:
            arrays: dict[str, np.ndarray] = {name: stored[name] for name in ARRAYS if name in stored.files}
            names = stored.files
    except Unusable:
        raise
    except MemoryError:
        raise Unusable("has arrays for which there is not enough memory") from None
    except Exception as error:  # NumPy raises nearly any error for a file that is none of its own
        raise Unusable(f"cannot be read ({_why(error)})") from None
    for name, each in arrays.items():
        if not isinstance(each, np.ndarray):
            raise Unusable(f"has {name} that is no array of NumPy")
    if "y" in arrays and {"mean", "std"} <= set(arrays):
        arrays.pop("probabilities", None)
        _check_normals(arrays)
    elif "y" in arrays and "probabilities" in arrays:
        arrays = {name: arrays[name] for name in ("y", "probabilities")}
        _check_classes(arrays)
    else:
        raise Unusable(f"has {_names(names)}, and not y, mean and std, or y and probabilities")
    return arrays


def _why(error: Exception) -> str:
    """What NumPy says of a file, without its advice."""
    text = str(error)
    if isinstance(error, ValueError) and "allow_pickle" in text:
        return "it holds Python objects, which are not loaded"
    return _short((text or type(error).__name__).splitlines()[0])


def _names(names: Sequence[str]) -> str:
    """The names of arrays for a message: they are whatever somebody has written into the file."""
    shown = [_short(name) for name in sorted(names)[:NAMES_SHOWN]]
    more = [f"{len(names) - NAMES_SHOWN:,} more"] if len(names) > NAMES_SHOWN else []
    return ", ".join([*shown, *more]) or "nothing"


def _short(text: str) -> str:
    """A text on one line, cut."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_SHOWN else f"{plain[: LONGEST_SHOWN - 3]}..."


def _check_normals(arrays: dict[str, np.ndarray]) -> None:
    shapes = {name: each.shape for name, each in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise Unusable("has arrays of unequal shape: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items()))
    if arrays["y"].ndim not in (1, 2) or not arrays["y"].size:
        raise Unusable(f"has arrays of the shape {arrays['y'].shape}, and not N or N x D")
    for name, each in arrays.items():
        if each.dtype.kind not in "fiu":
            raise Unusable(f"has {name} that are no numbers")
        _check_none(~np.isfinite(each), name, "NaN or infinite")
        _check_none(np.abs(each.astype(np.float64, copy=False)) > LARGEST, name, f"beyond {LARGEST:.0e}")
        arrays[name] = each.astype(np.float64, copy=False)
    _check_none(arrays["std"] <= 0, "std", "not above 0")
    _check_none(arrays["std"] < 1 / LARGEST, "std", f"below {1 / LARGEST:.0e}")


def _check_none(bad: np.ndarray, name: str, what: str) -> None:
    if found := int(np.count_nonzero(bad)):
        raise Unusable(f"has {count(found, 'value')} in {name} that {'is' if found == 1 else 'are'} {what}")


def _check_classes(arrays: dict[str, np.ndarray]) -> None:
    y, probabilities = arrays["y"], arrays["probabilities"]
    if y.ndim != 1 or probabilities.ndim != 2 or len(y) != len(probabilities) or not len(y):
        raise Unusable(f"has y of the shape {y.shape} and probabilities of {probabilities.shape}, and not N and N x C")
    if y.dtype.kind not in "iu":
        raise Unusable("has y that are no whole numbers, so no classes")
    classes = probabilities.shape[1]
    if classes < 2 or y.min() < 0 or y.max() >= classes:
        named = count(classes, "class", "classes")
        raise Unusable(f"has classes from {y.min()} to {y.max()}, but probabilities of {named}")
    if probabilities.dtype.kind != "f":
        raise Unusable("has probabilities that are no floats")
    _check_none(~np.isfinite(probabilities), "probabilities", "NaN or infinite")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if (probabilities < 0).any() or (np.abs(sums - 1) > SUM_TOLERANCE).any():
        raise Unusable("has probabilities that are negative, or whose sum in a row is not 1")
    arrays["y"] = y.astype(np.int64, copy=False)
    if probabilities.dtype == np.float16:
        arrays["probabilities"] = probabilities.astype(np.float32)


def _strangers(found: Mapping[int, dict[str, np.ndarray]]) -> dict[int, str]:
    """The trials whose true values, or whose form, are not those of most trials, and why."""
    marks = {trial: (_form(each), each["y"].tobytes()) for trial, each in found.items()}
    if not marks:
        return {}
    usual = Counter(marks.values())
    model = max(marks, key=lambda trial: (usual[marks[trial]], -trial))
    wrong = {}
    for trial, mark in marks.items():
        if mark == marks[model]:
            continue
        if mark[0] != marks[model][0]:
            one, other = _said(found[trial]), _said(found[model])
            wrong[trial] = f"has {one}, and that of trial {model} {other}"
        else:
            wrong[trial] = f"has another y than that of trial {model}, so it predicts other rows"
    return wrong


def _form(arrays: Mapping[str, np.ndarray]) -> tuple[object, ...]:
    """What must be the same in all files besides the numbers."""
    return arrays["y"].shape, arrays["probabilities"].shape if "probabilities" in arrays else None


def _said(arrays: Mapping[str, np.ndarray]) -> str:
    rows = count(len(arrays["y"]), "row")
    if "probabilities" in arrays:
        return f"{rows} of {count(arrays['probabilities'].shape[1], 'class', 'classes')}"
    outputs = arrays["y"].shape[1] if arrays["y"].ndim == 2 else 1
    return f"{rows} of {count(outputs, 'number')}"


def _stacked(found: Mapping[int, dict[str, np.ndarray]]) -> Predictions:
    trials = tuple(sorted(found))
    first = found[trials[0]]

    def stack(name: str) -> np.ndarray:
        return np.stack([found[trial][name] for trial in trials]) if name in first else np.empty(0)

    return Predictions(trials, first["y"], stack("mean"), stack("std"), stack("probabilities"))
