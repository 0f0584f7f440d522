"""The objective's side: :class:`Trial`, with Pilotune's own surface and with that of an Optuna trial."""

from __future__ import annotations

import datetime
import json
import numbers
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from . import distributions as forms
from .block_env import LAUNCHER, block_end
from .exceptions import TrialPruned, TrialYield
from .gpus import gpu_ids
from .link import DriverConnection, Stopping
from .protocol import MESSAGE_LIMIT, STEP_LIMIT, AttemptSpec

DEEPEST = 100
"""Lists inside lists of an attribute; the limit of pickle and JSON is not far."""

LONGEST_REPR = 10_000
"""Characters kept of what JSON has no form for."""


@dataclass(frozen=True)
class Resources:
    """What one attempt may use: CPU cores and GPUs on each node, and nodes.

    Attributes:
        gpu_ids: The names of its GPUs, as ``CUDA_VISIBLE_DEVICES`` (or AMD's, or Intel's variable) has them.
        launcher: What starts a command on all its nodes, such as ``srun --nodes 2 --ntasks 8``; empty on one node,
            unless the site sets ``PILOTUNE_LAUNCHER``.
    """

    cores: int = 1
    gpus: int = 0
    nodes: int = 1
    gpu_ids: tuple[str, ...] = ()
    launcher: str = ""


class Trial:
    """One trial, as the objective sees it.

    Attributes:
        params: The configuration: parameters and constants by name. An inactive conditional parameter is left out.
        number: The trial's number in the study, for ever the same.
        attempt: Which execution of the trial this is, from 1.
        checkpoint_dir: A folder kept across attempts; what an attempt saves here the next one goes on from.
        rng_seed: A seed, 0 to 2**32 - 1, the same for all attempts. ``random``, NumPy and PyTorch are seeded with it.
        resources: What the trial may use.

    An objective that calls any ``suggest_*`` is in Optuna's style: :meth:`report` never raises and :meth:`should_prune`
    gives the verdict. Otherwise :meth:`report` raises :class:`TrialPruned` or :class:`TrialYield` itself.
    """

    def __init__(self, spec: AttemptSpec, checkpoint_dir: Path, connection: DriverConnection) -> None:
        self.params: dict[str, Any] = dict(spec.params)
        self.number = spec.number
        self.attempt = spec.attempt
        self.checkpoint_dir = checkpoint_dir
        self.rng_seed = spec.seed
        self.resources = Resources(
            spec.cores, spec.gpus, spec.nodes, gpu_ids(spec.gpus, os.environ), os.environ.get(LAUNCHER, "")
        )
        self.datetime_start = datetime.datetime.now()
        self._study_name = spec.study
        self._defines_space = spec.defines_space
        self._space_names = tuple(spec.space_names)
        self._connection = connection
        self._optuna_style = False
        self._stop: Stopping = ""
        self._steps: set[int] = set()
        self._forms: dict[str, str] = {}
        self._user_attrs: dict[str, Any] = {}
        self._system_attrs: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<pilotune.Trial {self.number} of {self._study_name}, attempt {self.attempt}, params={self.params}>"

    # -- both styles ------------------------------------------------------------------------------------------------

    def report(self, value: float, step: int) -> None:
        """Tell the ``value`` at ``step`` (epochs, rounds, ...: a whole number from 0) and wait for the verdict.

        Where the driver has not answered within a second, the trial goes on: the next call brings the verdict.

        Raises:
            TrialPruned: The trial is to end (never in Optuna's style).
            TrialYield: The attempt is to end and goes on elsewhere from its checkpoint (never in Optuna's style).
            TypeError: ``value`` or ``step`` is not a number.
            ValueError: ``step`` is negative or not whole.
        """
        number, position = _as_float(value), _as_step(step)
        if position in self._steps:
            warnings.warn(f"step {position} was reported before; this report is ignored", stacklevel=2)
        else:
            self._stop = self._connection.report(position, number)
            self._steps.add(position)
        if self._optuna_style:
            return
        if self._stop == "prune":
            raise TrialPruned(f"pruned at step {position}")
        if self._stop or self._connection.yield_asked():
            raise TrialYield(f"asked to yield at step {position}")

    def should_prune(self) -> bool:
        """The verdict on the last report. In Optuna's style also true when the attempt is to yield."""
        return bool(self._stop) or (self._optuna_style and self._connection.yield_asked())

    def should_yield(self) -> bool:
        """Whether this attempt is to end soon: save a checkpoint, then ``raise pilotune.TrialYield``."""
        return self._stop in ("yield", "kill") or self._connection.yield_asked()

    @property
    def time_left(self) -> float | None:
        """Seconds until the block, the batch job that this attempt runs in, ends; None where it has no end."""
        end = block_end()
        return None if end is None else max(0.0, end - time.time())

    @property
    def pruned(self) -> bool:
        """Whether the driver's last verdict was to prune."""
        return self._stop == "prune"

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep ``value`` beside the trial in the database; what JSON has no form for is kept as its ``repr``."""
        value = jsonable(value)
        self._user_attrs[str(key)] = value
        self._connection.set_attr(str(key), value)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """What this attempt set."""
        return dict(self._user_attrs)

    # -- Optuna's surface -------------------------------------------------------------------------------------------

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As ``optuna.Trial.suggest_float``. With a space in the study file it gives that space's value."""
        return float(self._suggest(name, forms.float_distribution(low, high, step, log)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """As ``optuna.Trial.suggest_int``."""
        return int(self._suggest(name, forms.int_distribution(low, high, step, log)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As ``optuna.Trial.suggest_categorical``."""
        choices = tuple(choices)
        return forms.choice_for(self._suggest(name, forms.categorical_distribution(choices)), choices)

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high)``."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high, log=True)``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Optuna's old name of ``suggest_float(name, low, high, step=q)``."""
        return self.suggest_float(name, low, high, step=q)

    def set_system_attr(self, key: str, value: Any) -> None:
        """Kept for this attempt only: system attributes belong to the driver."""
        self._system_attrs[str(key)] = value

    @property
    def system_attrs(self) -> dict[str, Any]:
        return dict(self._system_attrs)

    @property
    def relative_params(self) -> dict[str, Any]:
        return dict(self.params)

    @property
    def distributions(self) -> dict[str, Any]:
        """Optuna's distribution objects of what was suggested; Optuna is imported when this is read, never before."""
        from importlib import import_module

        decode = import_module("optuna.distributions").json_to_distribution
        return {name: decode(form) for name, form in self._forms.items()}

    @property
    def study(self) -> NoReturn:
        raise AttributeError(
            f"a trial on a worker has no study: the driver of {self._study_name!r} alone reads and writes it; "
            "use trial.number, trial.params and trial.user_attrs"
        )

    def _suggest(self, name: str, form: str) -> Any:
        self._optuna_style = True
        before = self._forms.get(name)
        if before is not None and not _compatible(before, form):
            raise ValueError(f"parameter {name!r} was suggested before with another kind or other choices: {before}")
        if name not in self.params:
            if not self._defines_space:
                raise ValueError(self._unknown(name))
            if len(json.dumps([name, form])) > MESSAGE_LIMIT // 2:
                hint = "give its choices short names, and look them up"
                raise ValueError(f"parameter {name[:80]!r} is too long to be suggested; {hint}")
            self.params[name] = self._connection.suggest(name, form)
        self._forms.setdefault(name, form)
        return self.params[name]

    def _unknown(self, name: str) -> str:
        if name in self._space_names:
            return f"parameter {name!r} is inactive in this trial (its `when` does not hold), so it has no value"
        known = ", ".join(self._space_names) or "nothing"
        return f"parameter {name!r} is not in the study file's space ({known}); add it there, or leave `space:` out"


def jsonable(value: Any) -> Any:
    """``value`` where JSON has a form for it, a number for a NumPy or PyTorch scalar, else its ``repr``."""
    try:
        return _through_json(value)
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        item = getattr(value, "item", None)  # of NumPy and PyTorch scalars
        return _through_json(item()) if callable(item) else shown(value)
    except Exception:  # whatever somebody's item() raises
        return shown(value)


def _through_json(value: Any) -> Any:
    """Raises ValueError for what is nested so deeply that nothing could hold it."""
    kept = json.loads(json.dumps(value))
    level, depth = [kept], 0
    while level:
        depth += 1
        inside = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in inside for item in (each.values() if isinstance(each, dict) else each)]
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
    return kept


def shown(value: Any) -> str:
    """``repr(value)``, cut where it is endless, whatever somebody's own raises."""
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 3]}..."


def _compatible(one: str, other: str) -> bool:
    first, second = json.loads(one), json.loads(other)
    same_choices = first["attributes"].get("choices") == second["attributes"].get("choices")
    return bool(first["name"] == second["name"] and same_choices)


def _as_float(value: Any) -> float:
    if not isinstance(value, str | bytes | bool):
        try:
            return float(value)
        except Exception:  # whatever somebody's __float__ raises
            pass
    raise TypeError(f"report() needs a number as value, got {shown(value)} ({type(value).__name__})")


def _as_step(step: Any) -> int:
    if isinstance(step, str | bytes | bool) or not (isinstance(step, numbers.Real) or hasattr(step, "__int__")):
        raise TypeError(f"report() needs a whole number as step, got {shown(step)} ({type(step).__name__})")
    try:
        number = float(step)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"report() needs a whole number as step, got {shown(step)} ({type(step).__name__})") from None
    if whole != number or not 0 <= whole < STEP_LIMIT:
        raise ValueError(f"report() needs a whole number from 0 to {STEP_LIMIT - 1} as step, got {shown(step)}")
    return whole
