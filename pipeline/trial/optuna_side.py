"""What a trial has beside its parameters and reports for code that was written for Optuna's Trial."""

from __future__ import annotations

import datetime
import math
import os
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ...grammar import a
from ..attributes import STEERING
from .distributions import stored_choice
from .link import DriverConnection, Stopping
from .optuna_classes import TrialReader, optuna_object
from .protocol import AttemptSpec
from .study import TrialStorage, TrialStudy, checked_arguments
from .values import as_float, as_name, as_step, jsonable, warn_of_name

CONSTRAINT = "constraints:"
"""How Optuna names the system attribute of a constraint; its name follows."""


class OptunaSide:
    """The part of :class:`.api.Trial` that libraries and callbacks for Optuna use.

    A copy of a trial, shallow or deep, is the trial itself, since callbacks are copied with the trial that they hold.
    One that was pickled and is loaded in another process keeps what the trial knew, and cannot reach the driver.

    Attributes:
        number: The trial's number in the study.
        params: The configuration.
    """

    number: int
    params: dict[str, Any]
    checkpoint_dir: Path
    datetime_start: datetime.datetime
    _forms: dict[str, str]
    _spec: AttemptSpec
    _connection: DriverConnection

    def _begin(self, spec: AttemptSpec) -> None:
        self._spec = spec
        self._trial_id = spec.number
        self._study: TrialStudy | None = None
        self._storage: TrialStorage | None = None
        self._user_attrs: dict[str, Any] = {}  # that this attempt has set
        self._earlier_attrs: dict[str, Any] | None = None if spec.has_attrs else {}  # None: not asked for yet
        self._system_attrs: dict[str, Any] = {}
        self._choices: dict[str, dict[Any, Any]] = {}  # of parameters whose choices are kept as text: text -> choice

    @property  # type: ignore[misc]  # isinstance() reads it
    def __class__(self) -> Any:
        """This class, which Optuna's Trial then knows as one of its own, so that ``isinstance`` holds for both."""
        theirs = optuna_object("optuna.trial", "Trial")
        if theirs is not None:
            theirs.register(type(self))
        return type(self)

    # -- the study ----------------------------------------------------------------------------------------------------

    @property
    def study(self) -> TrialStudy:
        """The study, read and written through the driver; see :class:`.study.TrialStudy`.

        >>> from pilotune.pipeline.trial.offline import offline_trial
        >>> offline_trial({"lr": 0.1}).study.direction.name
        'MINIMIZE'
        """
        if self._study is None:
            spec = self._spec
            self._study = TrialStudy(self, spec.study, spec.directions, spec.metrics)
        return self._study

    @property
    def storage(self) -> TrialStorage:
        """The part of Optuna's storage that a trial may use; see :class:`.study.TrialStorage`."""
        if self._storage is None:
            self._storage = TrialStorage(self)
        return self._storage

    def ask_driver(self, what: str, **arguments: Any) -> Any:
        """Ask the driver a question of :data:`.protocol.QUERIES`; one round trip.

        Raises:
            ValueError: The driver refuses, with a sentence why.
            TrialYield: The attempt must end before there is an answer.
        """
        found = self._connection.ask(what, checked_arguments(what, arguments))
        return self._with_itself(what, arguments, found) if self._connection.alone else found

    def _with_itself(self, what: str, arguments: Mapping[str, Any], found: Any) -> Any:
        """An answer of a study that has no other trial: this one runs in it."""
        states = arguments.get("states")
        fits = states is None or "RUNNING" in states
        if what == "n_trials":
            return int(fits)
        if what == "trial":
            fits = arguments["number"] == self.number
        elif what != "trials" or arguments["after"] >= self.number:
            return found
        return {**found, "trials": [self._record()], "forms": list(self._forms.values())} if fits else found

    def _record(self) -> dict[str, Any]:
        """This trial as the driver would send it."""
        return {
            "number": self.number,
            "state": "RUNNING",
            "values": None,
            "params": {name: stored_choice(self.params[name]) for name in self._forms},
            "forms": {name: place for place, name in enumerate(self._forms)},
            "reports": [list(report) for report in getattr(self._connection, "reports", ())],
            "user_attrs": dict(self._user_attrs),
            "system_attrs": dict(self._system_attrs),
            "start": self.datetime_start.isoformat(),
            "end": None,
        }

    def reader(self) -> TrialReader:
        """Reads the study's trials as this objective knows its parameters."""
        return TrialReader(self._choices)

    # -- attributes ---------------------------------------------------------------------------------------------------

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep something about the trial in the database, beside its values.

        Optuna shows it as ``study.trials[n].user_attrs``, and ``pilotune export`` writes it. It reaches the database
        with the next report, or a second later, and at the latest with the attempt's end.

        Args:
            key: Any name. Setting it again replaces the value.
            value: Numbers, texts, lists and dictionaries are kept as JSON, and scalars and arrays of NumPy and PyTorch
                as numbers and lists. Anything else, and an array of more than 10,000 elements, is kept as its ``repr``,
                cut at 10,000 characters.

        >>> from pilotune.pipeline.trial.offline import offline_trial
        >>> trial = offline_trial({"lr": 0.1})
        >>> trial.set_user_attr("parameters", 123456)
        >>> trial.user_attrs
        {'parameters': 123456}
        """
        name, value = as_name(key), jsonable(value)
        warn_of_name(name, stacklevel=2)
        self._connection.set_attr(name, value)
        self._user_attrs[name] = value

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The trial's user attributes, those of earlier attempts included (a copy)."""
        if self._earlier_attrs is None:
            found = self.ask_driver("trial", number=self.number)["trials"]
            self._earlier_attrs = dict(found[0]["user_attrs"]) if found else {}
        return {**self._earlier_attrs, **self._user_attrs}

    def set_system_attr(self, key: str, value: Any) -> None:
        """Keep a system attribute of the trial, as :meth:`set_user_attr` keeps one of the user's.

        Those by which campaigns and samplers steer, such as ``fixed_params``, are not kept; a warning says so.
        """
        if as_name(key).startswith(STEERING):
            warnings.warn(f"the system attribute {key!r} is not kept: the driver steers by it", stacklevel=2)
            return
        name, value = as_name(key), jsonable(value)
        self._connection.set_attr(name, value, system=True)
        self._system_attrs[name] = value

    @property
    def system_attrs(self) -> dict[str, Any]:
        """The system attributes that this attempt has set (a copy); ``trial.storage`` reads all of them."""
        return dict(self._system_attrs)

    # -- constraints --------------------------------------------------------------------------------------------------

    def set_constraint(self, key: str, value: float) -> None:
        """Say by how much the trial breaks a constraint: above 0, it is broken, and the trial never counts as best.

        The samplers tpe, gp, optuna_tpe, optuna_gp, nsgaii and nsgaiii prefer configurations that break none.

        Args:
            key: The constraint's name. A second value of it is ignored with a warning, as in Optuna.
            value: A number that is not NaN, or what ``float`` takes.

        Raises:
            TypeError: ``value`` is not a number.
            ValueError: It is NaN.

        >>> from pilotune.pipeline.trial.offline import offline_trial
        >>> trial = offline_trial({"lr": 0.1})
        >>> trial.set_constraint("memory", -0.5)
        >>> trial.constraints
        {'memory': -0.5}
        """
        try:
            number = float(value)
        except Exception:  # a user's __float__ may raise anything
            message = f"the constraint {key!r} needs a number as value, got {a(type(value).__name__)}"
            raise TypeError(message) from None
        if math.isnan(number):
            raise ValueError(f"the value of the constraint {key!r} is NaN, not a number")
        name = CONSTRAINT + as_name(key)
        if name in self._system_attrs:
            warnings.warn(f"the constraint {key!r} was set before; this value is ignored", stacklevel=2)
            return
        self.set_system_attr(name, number)

    @property
    def constraints(self) -> dict[str, float]:
        """The constraints that this attempt has set, by name."""
        attrs = self._system_attrs.items()
        return {key.removeprefix(CONSTRAINT): value for key, value in attrs if key.startswith(CONSTRAINT)}

    def report_quietly(self, value: float, step: int) -> None:
        """Report without ending the trial, whatever the verdict; the next report brings it again."""
        self._connection.report(as_step(step), as_float(value))

    # -- copies -------------------------------------------------------------------------------------------------------

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        _pickled[id(self)] = self
        known = {**self.__dict__, "_study": None, "_storage": None}
        if self._connection.bound_to_process:
            known["_connection"] = ElsewhereConnection(self.number)
        return _unpickled, (type(self), os.getpid(), id(self), known)


_pickled: weakref.WeakValueDictionary[int, OptunaSide] = weakref.WeakValueDictionary()
"""Trials of this process that were pickled, by identity: loaded here again, they are themselves."""


def _unpickled(kind: type[OptunaSide], process: int, identity: int, known: dict[str, Any]) -> OptunaSide:
    trial = _pickled.get(identity) if process == os.getpid() else None
    if trial is None:
        trial = kind.__new__(kind)
        trial.__dict__.update(known)
    return trial


class ElsewhereConnection:
    """The connection of a trial that was sent to another process than the one that runs it: there is none."""

    bound_to_process = False
    alone = False

    def __init__(self, number: int) -> None:
        self._number = number

    def report(self, step: int, value: float) -> Stopping:
        self._refuse("report")

    def suggest(self, name: str, distribution: str) -> Any:
        self._refuse("suggest a new parameter")

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        self._refuse("read or change the study")

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        self._refuse("set an attribute")

    def yield_asked(self) -> bool:
        return False

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(
            f"this copy of trial {self._number} is in another process and cannot {what}; do that in the process that "
            "called the objective, and send it what it needs"
        )
