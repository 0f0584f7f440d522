"""The states of a flight, and the table of its transitions.

A *flight* is one trial in the hands of this campaign: from the moment when it is asked for, or taken over from a dead
driver, until the study is told of it or the campaign lets go of it. A flight has one attempt after the other, at most
one at a time. Its state says where it is kept, and what may happen to it next.

State        Meaning, and where the flight is kept
-----------  ---------------------------------------------------------------------------------------------------------
NEW          Just created, within the handling of one event. Kept nowhere.
PREPARED     Its next attempt is staged in the record (number and fence), but not committed yet, so no worker may know
             of it. ``HeldTrials.prepared``, from a step to the release of the same tick.
SUBMITTED    Its attempt is committed, and the pool has it; no worker has begun it. ``FlightTable.waiting``.
RUNNING      A worker has begun its attempt. ``FlightTable.running``.
RETURNED     Its attempt is over, by an outcome or by a loss, and is being judged. Kept nowhere, within one event.
BACKED_OFF   It came back with nothing done, and waits for ``flight.not_before``. ``BackoffQueue``.
PAUSED       It waits at a rung for its promotion. ``PromotionController.paused``.
FINISHED     The study was told how the trial ended. Final.
LEFT         The campaign let go of it. Final. Either the trial stays RUNNING in the database for a later campaign, or
             another process has ended it, or the record refused it because the budget was used up.

Move         Cause
-----------  ---------------------------------------------------------------------------------------------------------
PREPARE      The campaign launches an attempt: of a new trial, of one that is tried again, or of one that is promoted.
SUBMIT       The step was committed and the attempt goes to the pool. Also: a dead driver had submitted it before.
START        A worker says that it has begun the attempt (``Started``).
RETURN       The attempt ended (``Ended``) or was lost (``Lost``). A paused trial returns when its attempt turns out to
             have ended after all, because its driver had died before it could be told that it pauses.
BACK_OFF     The trial came back with nothing done several times, so it is not submitted again at once.
PAUSE        The attempt ended at a rung, and the trial is not among the best there.
FINISH       The trial completed, was pruned or failed.
LEAVE        The campaign is ending, or the record did not accept what was staged for the trial.

The way of most trials, and where it may differ:

    NEW -> PREPARED -> SUBMITTED -> RUNNING -> RETURNED -> FINISHED

    NEW -> SUBMITTED                        a dead driver had submitted it
    SUBMITTED -> RETURNED                   a worker declined it, or died before it began
    RETURNED -> PREPARED                    another attempt, at once
    RETURNED -> BACKED_OFF -> PREPARED      another attempt, later
    RETURNED -> PAUSED -> PREPARED          it paused at a rung, and was promoted
    RETURNED -> PAUSED -> FINISHED          it paused at a rung, and was not
    (any state but NEW and the final ones) -> LEFT

Three rules follow from the table, and the rest of the campaign relies on them:

* Nothing is submitted that was not prepared in this tick and committed: the only way to SUBMITTED, except for what a
  dead driver submitted, is from PREPARED.
* A trial is told once: FINISHED has no way out.
* An attempt is judged once: RETURNED has no RETURN, and a flight that is not SUBMITTED or RUNNING is in no table in
  which a second outcome for its token could find it.

An illegal move always raises. The invariants that cost more to check, since they compare whole collections, are in the
``validate`` methods of Flight, FlightTable, BackoffQueue, PromotionController, HeldTrials and Campaign. They run where
:data:`VALIDATE` is on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum, auto

VALIDATE = os.environ.get("PILOTUNE_VALIDATE") == "1"
"""Whether campaigns check their invariants after each step. Off in production, since a check costs time for each trial
in flight; all tests and simulations switch it on, by the environment variable ``PILOTUNE_VALIDATE=1``."""


class State(Enum):
    """Where a flight is; see the module's table."""

    NEW = auto()
    PREPARED = auto()
    SUBMITTED = auto()
    RUNNING = auto()
    RETURNED = auto()
    BACKED_OFF = auto()
    PAUSED = auto()
    FINISHED = auto()
    LEFT = auto()


class Move(Enum):
    """What moves a flight from one state to another; see the module's table."""

    PREPARE = auto()
    SUBMIT = auto()
    START = auto()
    RETURN = auto()
    BACK_OFF = auto()
    PAUSE = auto()
    FINISH = auto()
    LEAVE = auto()


TRANSITIONS: Mapping[State, Mapping[Move, State]] = {
    State.NEW: {Move.PREPARE: State.PREPARED, Move.SUBMIT: State.SUBMITTED},
    State.PREPARED: {Move.SUBMIT: State.SUBMITTED, Move.LEAVE: State.LEFT},
    State.SUBMITTED: {Move.START: State.RUNNING, Move.RETURN: State.RETURNED, Move.LEAVE: State.LEFT},
    State.RUNNING: {Move.RETURN: State.RETURNED, Move.LEAVE: State.LEFT},
    State.RETURNED: {
        Move.PREPARE: State.PREPARED,
        Move.BACK_OFF: State.BACKED_OFF,
        Move.PAUSE: State.PAUSED,
        Move.FINISH: State.FINISHED,
        Move.LEAVE: State.LEFT,
    },
    State.BACKED_OFF: {Move.PREPARE: State.PREPARED, Move.LEAVE: State.LEFT},
    State.PAUSED: {
        Move.PREPARE: State.PREPARED,
        Move.RETURN: State.RETURNED,
        Move.FINISH: State.FINISHED,
        Move.LEAVE: State.LEFT,
    },
    State.FINISHED: {},
    State.LEFT: {},
}

IN_FLIGHT = frozenset({State.SUBMITTED, State.RUNNING})
"""States of a flight whose attempt the pool has."""


class IllegalMove(RuntimeError):
    """A flight was to make a move that its state does not allow: a mistake in Pilotune."""


class BrokenInvariant(AssertionError):
    """Something does not hold that always must: a mistake in Pilotune. Raised by the ``validate`` methods only."""


def next_state(state: State, move: Move) -> State:
    """The state that follows.

    Raises:
        IllegalMove: ``state`` does not allow ``move``.

    >>> next_state(State.SUBMITTED, Move.START)
    <State.RUNNING: 4>
    >>> next_state(State.FINISHED, Move.PREPARE)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    IllegalMove: a flight that is FINISHED cannot PREPARE
    """
    try:
        return TRANSITIONS[state][move]
    except KeyError:
        raise IllegalMove(f"a flight that is {state.name} cannot {move.name}") from None


def require(condition: object, sentence: str) -> None:
    """Raise BrokenInvariant with ``sentence`` unless ``condition`` holds."""
    if not condition:
        raise BrokenInvariant(sentence)
