"""What must hold of a campaign after every step and every release.

Each sentence below names one invariant. They are checked in tests and simulations only, see
:data:`.flight_states.VALIDATE`; the functions raise BrokenInvariant with the sentence that does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .events import Finish
from .flight import Flight
from .flight_states import State, require


def check_prepared(prepared: Iterable[Flight]) -> None:
    """What is to be submitted at the next release is prepared for it."""
    for flight in prepared:
        require(flight.state is State.PREPARED, f"trial {flight.number} ({flight.state.name}) is to be submitted")
        flight.validate()


def check_homes(*homes: Iterable[Flight]) -> None:
    """A trial is kept in one place."""
    ids = [flight.trial_id for home in homes for flight in home]
    twice = sorted({trial_id for trial_id in ids if ids.count(trial_id) > 1}) if len(set(ids)) < len(ids) else []
    require(not twice, f"the campaign has these trials (by id) in two places: {twice}")


def check_end(ending: Finish | None, finished: Finish | None, in_flight: Collection[object], to_submit: int) -> None:
    """A campaign that is ending submits nothing, and one that has finished by itself has nothing in flight."""
    if ending:
        require(not to_submit, f"the campaign is ending, and {to_submit} trials are still to be submitted")
    if ending and finished:
        require(not in_flight, f"the campaign has finished with {len(in_flight)} attempts in flight")


def check_times(began: float, last_progress: float, now: float, busy: float, total: float) -> None:
    """Progress lies between the start and now, and workers are not busy for longer than they are there."""
    progress = began <= last_progress <= now
    require(progress, f"the last progress was at {last_progress}, outside of the campaign's {began} to {now}")
    require(busy <= total + 1e-6, f"workers were busy for {busy} s of {total} s")
