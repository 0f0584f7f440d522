"""What a trial of Optuna's tells: its state in Pilotune's words, its values, its times. Tables and plots share it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..attributes import (
    ARTIFACTS,
    ATTEMPTS,
    HOST,
    NOT_BEGUN,
    OWNER,
    POOL,
    RUNG,
    SECONDS_RUNNING,
    SECONDS_WAITING,
    details_of,
    has_begun,
)
from ..attributes import PAUSED as PAUSED_AT

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "running": "RUNNING", "waiting": "WAITING"}
"""Pilotune's word for each of Optuna's trial states."""

PAUSED = "paused"
"""State of a trial that waits at a rung for its promotion; Optuna calls it running."""

INTERRUPTED = "interrupted"
"""State of a trial whose driver has ended or died while it ran; ``pilotune resume`` continues it. Optuna calls it
running."""

NUMBER_LIMIT = 2**63
"""Numbers in a trial's attributes must be below this, since tables have whole numbers of 64 bits."""

WORDS = {optuna: word for word, optuna in STATES.items()}
"""Optuna's name of a trial state -> Pilotune's word."""

ENDED = ("complete", "pruned", "failed")
"""States of trials that have ended."""


def state_of(trial: FrozenTrial, live: Collection[str] = ()) -> str:
    """A word of :data:`STATES`, :data:`PAUSED` or :data:`INTERRUPTED`.

    Args:
        trial: The trial.
        live: Campaigns whose drivers are alive. A trial that another campaign left running is interrupted, or waiting
            where no worker has ever begun it.

    >>> import optuna
    >>> state_of(optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs={"pilotune:paused": 9}))
    'paused'
    """
    state = WORDS[trial.state.name]
    if state != "running":
        return state
    if paused_at(trial) is not None:
        return PAUSED
    owner = trial.system_attrs.get(OWNER)
    if owner is None or owner in live:
        return state
    return INTERRUPTED if has_begun(trial.system_attrs) else "waiting"


def paused_at(trial: FrozenTrial) -> int | None:
    """The step at which the trial is paused, or is about to be; None for other trials."""
    at: int | None = number_attribute(trial.user_attrs, PAUSED_AT, (int,), None)
    return at


def last_step(trial: FrozenTrial) -> int | None:
    """The step of the trial's last report; None if it has made none."""
    return max(trial.intermediate_values, default=None)


def values_of(trial: FrozenTrial, state: str, objectives: int) -> Sequence[float | None]:
    """The trial's values; of one objective, the last report where the trial was pruned or has not ended.

    Args:
        trial: The trial.
        state: Its state, as :func:`state_of` tells.
        objectives: How many objectives the study has.

    Returns:
        One for each objective; None where it is not known (yet).
    """
    known: Sequence[float | None] | None = trial.values
    if known is None and objectives == 1 and state in ("pruned", "running", PAUSED, INTERRUPTED):
        step = last_step(trial)
        known = None if step is None else [trial.intermediate_values[step]]
    return known or [None] * objectives


def rung_of(trial: FrozenTrial, state: str) -> int | None:
    """The step at which the trial was pruned or is paused; None for other trials."""
    if state == PAUSED:
        return paused_at(trial)
    otherwise = last_step(trial) if state == "pruned" else None
    rung: int | None = number_attribute(details_of(trial), RUNG, (int,), otherwise)
    return rung


def seconds_of(trial: FrozenTrial, state: str) -> float | None:
    """Run time of the trial's attempts; if unknown, the time from start to end. None before the end."""
    seconds: float | None = number_attribute(trial.user_attrs, SECONDS_RUNNING, (int, float), None)
    return elapsed(trial) if seconds is None and state in ENDED else seconds


def waiting_of(trial: FrozenTrial) -> float | None:
    """Seconds that the trial's attempts waited for a worker; None if not known."""
    waiting: float | None = number_attribute(trial.user_attrs, SECONDS_WAITING, (int, float), None)
    return waiting


def attempts_made(trial: FrozenTrial, state: str) -> int:
    """How many attempts the trial has had; without those that only waited for a worker until their driver was gone."""
    waited = int(number_attribute(trial.system_attrs, NOT_BEGUN, (int,), 0))
    made = int(number_attribute(trial.user_attrs, ATTEMPTS, (int,), 0))
    return made - waited if made > waited else 1 if state != "waiting" else 0


def host_of(trial: FrozenTrial) -> str:
    """Host of the last attempt; empty if not known."""
    return str(trial.user_attrs.get(HOST, ""))


def pool_of(trial: FrozenTrial) -> str:
    """Pool of the last attempt; empty if not known."""
    return str(details_of(trial).get(POOL, ""))


def constraints_of(trial: FrozenTrial) -> dict[str, float]:
    """The trial's constraints by name, without what other programs wrote that is no number."""
    if not any(key.startswith("constraints") for key in trial.system_attrs):
        return {}
    try:
        found = trial.constraints
    except TypeError:  # "constraints" is not a list
        return {}
    return {name: float(value) for name, value in found.items() if type(value) in (int, float)}


def breaks_none(trial: FrozenTrial) -> bool:
    """Whether the trial breaks no constraint, as far as is known."""
    return all(amount <= 0.0 for amount in constraints_of(trial).values())


def number_attribute(attrs: Mapping[str, Any], name: str, kinds: tuple[type, ...], otherwise: Any) -> Any:
    """A number among the attributes; ``otherwise`` if it is missing, or has been set to something else."""
    value: Any = attrs.get(name)
    return value if type(value) in kinds and -NUMBER_LIMIT < value < NUMBER_LIMIT else otherwise


def in_utc(moment: datetime | None) -> datetime | None:
    """Optuna's local time without a zone as UTC."""
    return None if moment is None else moment.astimezone(UTC)


def elapsed(trial: FrozenTrial) -> float | None:
    """Seconds from the trial's start to its end."""
    return trial.duration.total_seconds() if trial.duration is not None else None


def artifacts_of(trial: FrozenTrial) -> dict[str, int]:
    """Bytes of each file that a complete trial kept, by name, as its attempt left them."""
    found = trial.system_attrs.get(ARTIFACTS) if trial.state.name == "COMPLETE" else None
    return {str(name): size for name, size in found.items() if type(size) is int} if isinstance(found, dict) else {}
