"""The study and its storage as an objective sees them: questions to the driver, which reads and writes the database.

Both have the methods of Optuna's classes that an objective or a callback of a library uses. What only the process that
runs the study can do is refused with a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from ..attributes import PREFIX
from .distributions import stored_choice
from .optuna_classes import TrialReader, directions, optuna_object, state_names
from .protocol import MESSAGE_LIMIT
from .values import as_name, jsonable

REFUSED = {
    "optimize": "Pilotune runs the study; an objective cannot start another run of it",
    "ask": "Pilotune asks for trials itself; use `enqueue_trial` to have a configuration tried",
    "tell": "Pilotune tells the study what the objective returns; return the value, or raise TrialPruned",
    "add_trial": "trials of other studies are taken over with `start_from: {studies: ...}` in the study file",
    "add_trials": "trials of other studies are taken over with `start_from: {studies: ...}` in the study file",
    "set_metric_names": "the names of the values are `metrics:` in the study file",
    "sampler": "the sampler is in the driver's process, and the study file names it",
    "pruner": "the pruner is in the driver's process, and the study file names it",
}
"""What Optuna's Study has and an objective cannot use here, and what to do instead."""


class AskingTrial(Protocol):
    """What a trial's study and storage need of the trial; :class:`.optuna_side.OptunaSide` has it."""

    number: int

    @property
    def study(self) -> TrialStudy: ...

    @property
    def storage(self) -> TrialStorage: ...

    @property
    def user_attrs(self) -> dict[str, Any]: ...

    @property
    def system_attrs(self) -> dict[str, Any]: ...

    def ask_driver(self, what: str, **arguments: Any) -> Any: ...

    def reader(self) -> TrialReader: ...

    def set_user_attr(self, key: str, value: Any) -> None: ...

    def set_system_attr(self, key: str, value: Any) -> None: ...

    def report_quietly(self, value: float, step: int) -> None: ...


class TrialStudy:
    """``trial.study``: the study of a trial, read and written through the driver.

    Each attribute that changes while the study runs (``trials``, ``best_value``, ``user_attrs``, ...) is one question
    to the driver whenever it is read, or several for the trials of a large study; so keep what you use more than once.
    The driver answers from memory, and ``pilotune:`` attributes are left out.

    Args:
        trial: The trial that asks.
        name: The study's name.
        words: Its directions, ``minimize`` or ``maximize``.
        metrics: Names of the values; empty where they have none.

    Attributes:
        study_name: The study's name.

    >>> from pilotune.pipeline.trial.offline import offline_trial
    >>> study = offline_trial({"lr": 0.1}).study
    >>> study.study_name, study.direction.name, len(study.trials)
    ('offline', 'MINIMIZE', 1)
    """

    def __init__(self, trial: AskingTrial, name: str, words: Sequence[str], metrics: Sequence[str]) -> None:
        self.study_name = name
        self._trial, self._words, self._metrics = trial, tuple(words), tuple(metrics)
        self._study_id = 0

    def __repr__(self) -> str:
        return f"<study {self.study_name!r} as trial {self._trial.number} sees it>"

    @property  # type: ignore[misc]  # isinstance() reads it
    def __class__(self) -> Any:
        """Optuna's Study where the objective has imported it, so that ``isinstance`` holds."""
        return optuna_object("optuna.study", "Study") or TrialStudy

    def __reduce__(self) -> Any:
        return _study_of, (self._trial,)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> NoReturn:
        hint = f": {REFUSED[name]}" if name in REFUSED else ""
        raise AttributeError(f"trial.study has no `{name}` in Pilotune{hint}")

    # -- what does not change -----------------------------------------------------------------------------------------

    @property
    def directions(self) -> list[Any]:
        """The directions, as members of Optuna's ``StudyDirection``."""
        return directions(self._words)

    @property
    def direction(self) -> Any:
        """The direction. Raises RuntimeError where there are several."""
        self._single("direction", "directions")
        return self.directions[0]

    @property
    def metric_names(self) -> list[str] | None:
        """Names of the values; None where they have none."""
        return list(self._metrics) or None

    def _is_multi_objective(self) -> bool:
        return len(self._words) > 1

    @property
    def _storage(self) -> TrialStorage:
        return self._trial.storage

    # -- what the driver is asked for ---------------------------------------------------------------------------------

    @property
    def user_attrs(self) -> dict[str, Any]:
        """The study's user attributes."""
        return dict(self._trial.ask_driver("study_attrs")["user"])

    @property
    def system_attrs(self) -> dict[str, Any]:
        """The study's system attributes."""
        return dict(self._trial.ask_driver("study_attrs")["system"])

    @property
    def best_trial(self) -> Any:
        """The best complete trial that meets all constraints.

        Raises:
            RuntimeError: The study has several directions.
            ValueError: No trial is complete yet.
        """
        self._single("best_trial", "best_trials")
        found = self._trial.ask_driver("best_trials", after=-1)
        if not found["trials"]:
            raise ValueError("no trial is complete yet, or none meets the constraints")
        return self._trial.reader().read(found["trials"][0], found["forms"])

    @property
    def best_value(self) -> float:
        """The value of :attr:`best_trial`; raises as it does."""
        return float(self.best_trial.value)

    @property
    def best_params(self) -> dict[str, Any]:
        """The parameters of :attr:`best_trial`; raises as it does."""
        return dict(self.best_trial.params)

    @property
    def best_trials(self) -> list[Any]:
        """The trials on the Pareto front that meet all constraints."""
        return self._pages("best_trials")

    @property
    def trials(self) -> list[Any]:
        """All trials by ascending number, this one included."""
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Iterable[Any] | None = None) -> list[Any]:
        """The trials in ``states`` (None: all) by ascending number. ``deepcopy`` has no effect: they are copies."""
        return self._pages("trials", states=state_names(states))

    def _get_trials(self, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> list[Any]:
        return self.get_trials(deepcopy, states)

    def trials_dataframe(self, *arguments: Any, **options: Any) -> Any:
        """As Optuna's ``Study.trials_dataframe``; needs Optuna, imported by the objective, and pandas."""
        study = optuna_object("optuna.study", "Study")
        if study is None:
            raise RuntimeError("trials_dataframe() needs Optuna; `import optuna` in the objective")
        return study.trials_dataframe(self, *arguments, **options)

    def _pages(self, what: str, **arguments: Any) -> list[Any]:
        """All trials that the driver has to this question; it answers a part of a large study at a time."""
        trials: list[Any] = []
        reader, after = self._trial.reader(), -1
        while True:
            found = self._trial.ask_driver(what, after=after, **arguments)
            trials += [reader.read(record, found["forms"]) for record in found["trials"]]
            if not found["more"]:
                return trials
            after = found["trials"][-1]["number"]

    def _single(self, name: str, other: str) -> None:
        if self._is_multi_objective():
            raise RuntimeError(f"a study with several directions has no `{name}`; use `{other}`")

    # -- what the driver is told --------------------------------------------------------------------------------------

    def set_user_attr(self, key: str, value: Any) -> None:
        """Set a user attribute of the study. Of several trials that set it, the last counts."""
        self._set_attr("user", key, value)

    def set_system_attr(self, key: str, value: Any) -> None:
        """Set a system attribute of the study."""
        self._set_attr("system", key, value)

    def _set_attr(self, kind: str, key: str, value: Any) -> None:
        self._trial.ask_driver("set_study_attr", kind=kind, key=own_key(key), value=jsonable(value))

    def enqueue_trial(
        self, params: Mapping[str, Any], user_attrs: Mapping[str, Any] | None = None, skip_if_exists: bool = False
    ) -> None:
        """Have a configuration tried, as Optuna's ``Study.enqueue_trial``; it counts for the budget.

        An attempt that is repeated enqueues it again, unless ``skip_if_exists`` is true.
        """
        stored = {as_name(name): stored_choice(value) for name, value in params.items()}
        attrs = {as_name(name): jsonable(value) for name, value in (user_attrs or {}).items()}
        self._trial.ask_driver("enqueue", params=stored, user_attrs=attrs, skip=bool(skip_if_exists))

    def stop(self) -> None:
        """End this campaign: no further trial begins, and the running ones, this one included, run to their end."""
        self._trial.ask_driver("stop")


class TrialStorage:
    """``trial.storage``: the part of Optuna's storage that a trial may use, through the driver.

    It reads the whole study, and changes the attributes and reports of its own trial, and the study's attributes. A
    trial's id is its number.

    Args:
        trial: The trial.
    """

    def __init__(self, trial: AskingTrial) -> None:
        self._trial = trial

    def __repr__(self) -> str:
        return f"<storage of {self._trial.study.study_name!r} as trial {self._trial.number} sees it>"

    @property  # type: ignore[misc]  # isinstance() reads it
    def __class__(self) -> Any:
        """This class, which Optuna's BaseStorage then knows as one of its own, so that ``isinstance`` holds."""
        base = optuna_object("optuna.storages", "BaseStorage")
        if base is not None:
            base.register(TrialStorage)
        return TrialStorage

    def __reduce__(self) -> Any:
        return _storage_of, (self._trial,)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"trial.storage has no `{name}` in Pilotune: only the driver creates and ends trials")

    # -- this trial ---------------------------------------------------------------------------------------------------

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As :meth:`Trial.set_user_attr`, of this trial only."""
        self._own(trial_id).set_user_attr(key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep a system attribute of this trial."""
        self._own(trial_id).set_system_attr(key, value)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Report a value at a step; the verdict comes with the next report."""
        self._own(trial_id).report_quietly(intermediate_value, step)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        """The trial's system attributes, those included that were set just now."""
        found = dict(self.get_trial(trial_id).system_attrs)
        return found | (self._trial.system_attrs if trial_id == self._trial.number else {})

    def get_trial_user_attrs(self, trial_id: int) -> dict[str, Any]:
        """The trial's user attributes, those included that were set just now."""
        return self._trial.user_attrs if trial_id == self._trial.number else dict(self.get_trial(trial_id).user_attrs)

    def _own(self, trial_id: int) -> AskingTrial:
        if trial_id != self._trial.number:
            raise RuntimeError(f"an objective can change its own trial only, and {trial_id} is another one")
        return self._trial

    # -- reading ------------------------------------------------------------------------------------------------------

    def get_trial(self, trial_id: int) -> Any:
        """The trial with this id, which is its number. Raises KeyError where there is none."""
        found = self._trial.ask_driver("trial", number=int(trial_id))
        if not found["trials"]:
            raise KeyError(f"no trial with id {trial_id}")
        return self._trial.reader().read(found["trials"][0], found["forms"])

    def get_trial_params(self, trial_id: int) -> dict[str, Any]:
        """The trial's parameters."""
        return dict(self.get_trial(trial_id).params)

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """The number itself: a trial's id is its number here."""
        return trial_id

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """The number itself: a trial's id is its number here."""
        return trial_number

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[Any]:
        """The study's trials, as :meth:`TrialStudy.get_trials`."""
        return self._trial.study.get_trials(deepcopy, states)

    def get_n_trials(self, study_id: int, state: Any = None) -> int:
        """How many trials are in a state, in one of several, or in any (None)."""
        states = None if state is None else state_names(state if isinstance(state, tuple) else (state,))
        return int(self._trial.ask_driver("n_trials", states=states))

    def get_best_trial(self, study_id: int) -> Any:
        """As :attr:`TrialStudy.best_trial`."""
        return self._trial.study.best_trial

    def get_study_directions(self, study_id: int) -> list[Any]:
        """As :attr:`TrialStudy.directions`."""
        return self._trial.study.directions

    def get_study_name_from_id(self, study_id: int) -> str:
        """The study's name."""
        return self._trial.study.study_name

    def get_study_id_from_name(self, study_name: str) -> int:
        """The study's id. Raises KeyError for another study."""
        if study_name != self._trial.study.study_name:
            raise KeyError(f"trial.storage knows the study {self._trial.study.study_name!r} only")
        return self._trial.study._study_id

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As :attr:`TrialStudy.user_attrs`."""
        return self._trial.study.user_attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As :attr:`TrialStudy.system_attrs`."""
        return self._trial.study.system_attrs

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As :meth:`TrialStudy.set_user_attr`."""
        self._trial.study.set_user_attr(key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As :meth:`TrialStudy.set_system_attr`."""
        self._trial.study.set_system_attr(key, value)


def own_key(key: Any) -> str:
    """``key`` as text. Raises ValueError for Pilotune's own keys."""
    text = as_name(key)
    if text.startswith(PREFIX):
        raise ValueError(f"attributes whose names begin with {PREFIX!r} are Pilotune's own; choose another name")
    return text


def checked_arguments(what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``arguments`` for the driver, where they fit into a message. Raises TypeError and ValueError."""
    try:
        length = len(json.dumps(arguments))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{what}: {error}; the driver takes what JSON can express") from None
    if length > MESSAGE_LIMIT // 2:
        raise ValueError(f"{what}: {length} characters are too many for the driver; at most {MESSAGE_LIMIT // 2}")
    return dict(arguments)


def _study_of(trial: AskingTrial) -> TrialStudy:
    return trial.study


def _storage_of(trial: AskingTrial) -> TrialStorage:
    return trial.storage
