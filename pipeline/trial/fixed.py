"""A trial with given parameters, to call an objective from Python: to train with the best ones, or in a test."""

from __future__ import annotations

import json
import math
import operator
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...grammar import a
from .api import Trial
from .distributions import stored_choice
from .offline import OfflineConnection
from .optuna_classes import json_of
from .protocol import AttemptSpec
from .values import shown

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory


class FixedTrial(Trial):
    """A trial whose parameters are given, as ``optuna.trial.FixedTrial``; without a study, a driver or a database.

    It has all that an objective may use of a :class:`Trial`. :attr:`~Trial.params` are the given ones, ``suggest_*``
    looks its value up there, and :meth:`~Trial.report` never ends the trial unless ``prune_at`` or ``yield_at`` say so.
    What the objective reports and sets is kept in :attr:`reports` and :attr:`~Trial.user_attrs`.

    Args:
        params: Values by name, constants included, as ``pilotune export --best`` writes them.
        number: The trial's ``number``.
        checkpoint_dir: The trial's ``checkpoint_dir``; it is made where it does not exist. Default: a temporary folder,
            which is made when the objective asks for it and deleted with this object.
        artifact_dir: Folder of what ``artifact`` keeps, made in the same way; its default is another such folder.
        seed: The trial's ``rng_seed``. Unlike a worker, this object does not seed any random generator.
        cores: The trial's ``resources.cores``.
        gpus: The trial's ``resources.gpus``.
        rank: The trial's ``rank``, and
        world_size: its ``world_size``, to call the objective once in each of several processes, as ``torchrun`` does.
        directions: The directions of ``trial.study``, in which this trial is alone; some callbacks compare them with a
            metric's.
        prune_at: The first step at which a report raises TrialPruned (in Optuna's style: ``should_prune`` is true).
        yield_at: The first step at which a report raises TrialYield.

    Raises:
        TypeError: ``params`` is no dictionary, or a number is no whole number.
        ValueError: A number is out of range, or ``directions`` are none.

    Attributes:
        reports: ``(step, value)`` of each report, in order.

    Train once more with the best parameters (``pilotune export digits --best --format json -o best.json``)::

        import json
        import pilotune
        from train import train

        train(pilotune.FixedTrial(json.load(open("best.json")), checkpoint_dir="final"))

    >>> import pilotune
    >>> def objective(trial):
    ...     lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    ...     trial.report(lr * 2, step=1)
    ...     return lr * trial.params["epochs"]
    >>> trial = pilotune.FixedTrial({"lr": 0.01, "epochs": 10})
    >>> objective(trial), trial.reports
    (0.1, [(1, 0.02)])
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        number: int = 0,
        *,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        artifact_dir: str | os.PathLike[str] | None = None,
        seed: int = 0,
        cores: int = 1,
        gpus: int = 0,
        rank: int = 0,
        world_size: int = 1,
        directions: Sequence[str] = ("minimize",),
        prune_at: int | None = None,
        yield_at: int | None = None,
    ) -> None:
        if not isinstance(params, Mapping):
            raise TypeError(f"FixedTrial needs a dictionary of values by name, got {a(type(params).__name__)}")
        number, seed = _whole(number, "number"), _whole(seed, "seed", most=2**32 - 1)
        world_size = _whole(world_size, "world_size", 1)
        spec = AttemptSpec(
            token=f"{number}.1.fixed",
            study="fixed",
            number=number,
            attempt=1,
            params={str(name): value for name, value in params.items()},
            defines_space=True,
            directory="",
            seed=seed,
            n_values=len(words := _direction_words(directions)),
            directions=words,
            space_names=[str(name) for name in params],
            cores=_whole(cores, "cores", 1),
            gpus=_whole(gpus, "gpus"),
            rank=_whole(rank, "rank", most=world_size - 1),
            ranks=world_size,
            ranked=world_size > 1,
        )
        self._answers = FixedConnection(prune_at, yield_at)
        self._temporary: list[TemporaryDirectory[str]] = []
        self._artifact_dir = Path(artifact_dir) if artifact_dir is not None else None
        self._checkpoint_dir = Path(checkpoint_dir) if checkpoint_dir is not None else None
        super().__init__(spec, self._checkpoint_dir or Path(), self._answers)

    def __repr__(self) -> str:
        return f"<pilotune.FixedTrial params={self.params}>"

    @property
    def reports(self) -> list[tuple[int, float]]:
        """``(step, value)`` of each report, in order (a copy)."""
        return list(self._answers.reports)

    @property
    def checkpoint_dir(self) -> Path:
        """The given folder, or a temporary one that is made at the first use."""
        if self._checkpoint_dir is None:
            self._checkpoint_dir = self._new_folder()
        self._checkpoint_dir.mkdir(parents=True, exist_ok=True)
        return self._checkpoint_dir

    @checkpoint_dir.setter
    def checkpoint_dir(self, folder: Path) -> None:
        """Called by :class:`Trial` with what was given here already."""

    def artifact(self, name_or_path: str | os.PathLike[str]) -> Path:
        """As :meth:`Trial.artifact`; the files stay in ``artifact_dir``."""
        if self._artifact_dir is None:
            self._artifact_dir = self._new_folder()
        self._artifact_dir.mkdir(parents=True, exist_ok=True)
        self._artifacts.folder = self._artifact_dir
        return super().artifact(name_or_path)

    def _new_folder(self) -> Path:
        """A temporary folder, which is deleted with this object."""
        from tempfile import TemporaryDirectory

        self._temporary.append(TemporaryDirectory(prefix="pilotune-fixed-"))
        return Path(self._temporary[-1].name)

    def _suggest(self, name: str, distribution: Any) -> Any:
        form = distribution if isinstance(distribution, str) else json_of(distribution)
        name = str(name)  # Optuna takes names of any type
        return fitted(name, super()._suggest(name, form), form, stacklevel=4)

    def __reduce__(self) -> Any:
        restore, (kind, process, identity, known) = super().__reduce__()
        return restore, (kind, process, identity, {**known, "_temporary": []})


def _whole(value: Any, name: str, least: int = 0, most: int = sys.maxsize) -> int:
    """A whole number that was given as the argument ``name``. Raises TypeError or ValueError where it is none."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"FixedTrial needs a whole number as {name}, got {shown(value)}") from None
    if not least <= number <= most:
        wanted = f"of at least {least}" if most == sys.maxsize else f"from {least} to {most}"
        raise ValueError(f"FixedTrial needs a whole number {wanted} as {name}, got {shown(value)}")
    return number


def _direction_words(directions: Any) -> list[str]:
    """The words of the directions, which may be members of Optuna's enum. Raises ValueError where they are none."""
    given = list(directions) if isinstance(directions, list | tuple) else []
    words = [str(getattr(each, "name", each)).lower() for each in given]
    if not words or any(word not in ("minimize", "maximize") for word in words):
        wanted = "a list of 'minimize' and 'maximize' as directions, as in [\"minimize\"]"
        raise ValueError(f"FixedTrial needs {wanted}, got {shown(directions)}")
    return words


class FixedConnection(OfflineConnection):
    """Answers no question for a parameter: all values were given."""

    def suggest(self, name: str, distribution: str) -> Any:
        raise ValueError(f"parameter {name!r} has no value here; give it as in FixedTrial({{{name!r}: ...}})")


def fitted(name: str, value: Any, form: str, *, stacklevel: int = 2) -> Any:
    """A given value as a parameter of the distribution ``form`` (Optuna's JSON).

    Warns where a number is outside the range, as ``optuna.trial.FixedTrial`` does.

    Args:
        name: The parameter's, for messages.
        value: The given value.
        form: The distribution.
        stacklevel: Of the warning.

    Returns:
        The value; of a choice the choice's own object, so that 1 becomes True where True is the choice.

    Raises:
        ValueError: It is none of the choices, or not a number.

    >>> form = '{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "adamw"]}}'
    >>> fitted("optimizer", "adam", form)
    Traceback (most recent call last):
        ...
    ValueError: the value of 'optimizer' is 'adam', which is none of its choices ['sgd', 'adamw']
    """
    attributes = json.loads(form)["attributes"]
    if "choices" in attributes:
        choices = attributes["choices"]
        value = _as_stored(value)
        same = [each for each in choices if type(each) is type(value) and each == value]
        equal = same or [each for each in choices if each == value]
        if not equal:
            raise ValueError(f"the value of {name!r} is {value!r}, which is none of its choices {choices!r}")
        return equal[0]
    whole = json.loads(form)["name"] == "IntDistribution"
    try:
        number = not isinstance(value, str | bytes) and hasattr(value, "__float__") and not math.isnan(value)
    except OverflowError:
        raise ValueError(f"the value of {name!r} is too large: {shown(value):.60}") from None
    if not number:
        raise ValueError(f"the value of {name!r} is {value!r}, not a number")
    if whole and (not math.isfinite(value) or int(value) != value):
        raise ValueError(f"the value of {name!r} is {value!r}, not a whole number")
    low, high, step = attributes["low"], attributes["high"], attributes["step"]
    if not low <= value <= high:
        warnings.warn(f"{name!r} is {value!r}, which is outside its range [{low}, {high}]", stacklevel=stacklevel)
    elif step is not None and not on_step(float(value), low, step):
        message = f"{name!r} is {value!r}, which is not a whole number of steps of {step} above {low}"
        warnings.warn(message, stacklevel=stacklevel)
    return value


def _as_stored(value: Any) -> Any:
    try:
        return stored_choice(value)
    except (TypeError, ValueError, RecursionError):  # an object, which is no choice
        return value


def on_step(value: float, low: float, step: float) -> bool:
    """Whether ``value`` is a whole number of steps above ``low``, to the last digits of a float.

    >>> on_step(0.3, 0.0, 0.1), on_step(0.35, 0.0, 0.1)
    (True, False)
    """
    steps = (Decimal(str(value)) - Decimal(str(low))) / Decimal(str(step))
    return abs(steps - round(steps)) < Decimal("1e-8")
