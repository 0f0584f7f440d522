"""The port between the campaign and the machines: what every pool of workers implements.

``providers.htex.pool.ParslPool`` runs trials on the blocks of a scheduler, ``providers.simulated.pool.SimulatedPool``
in a simulation on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .events import Action, Event


class Pool(Protocol):
    """Workers that run attempts.

    The driver calls ``wait`` and ``perform`` in turn, from one thread. The pool guarantees:

    * every submitted attempt leads to exactly one ``Ended`` or ``Lost``, unless the pool is closed before;
    * a worker's ``Started`` precedes its other messages on the same attempt, and all of them precede the end;
    * an attempt that is stopped while it waits for a worker may be ``Lost`` at once;
    * ``Capacity`` is sent before anything can be submitted, and again whenever it changes.

    Example:
        The smallest pool there is runs each attempt in the driver, while ``wait`` is called::

            class InlinePool:
                def __init__(self, objective):
                    self.objective, self.events, self.specs = objective, [Capacity(workers=1)], []

                def wait(self, timeout):
                    for spec in self.specs:
                        value = self.objective(spec.params)
                        outcome = Outcome(spec.token, spec.number, spec.attempt, "complete", [value])
                        self.events += [Started(spec.token, "localhost", os.getpid(), "0", "0"), Ended(outcome)]
                    self.specs = []
                    events, self.events = self.events, []
                    return events

                def perform(self, actions):
                    self.specs += [action.spec for action in actions if isinstance(action, Submit)]

                def now(self):
                    return time.time()

                def pause(self, seconds):
                    time.sleep(seconds)

                def close(self):
                    pass
    """

    def wait(self, timeout: float) -> list[Event]:
        """Return all events that are ready; wait up to ``timeout`` seconds for the first."""

    def perform(self, actions: Sequence[Action]) -> None:
        """Carry out the actions: submit attempts, send replies, stop attempts.

        Called only after what led to them has been committed.
        """

    def now(self) -> float:
        """Unix seconds that never jump: read from the system at the start, steady since. Virtual in a simulation."""

    def pause(self, seconds: float) -> None:
        """Let time pass without taking events; they stay until the next ``wait``."""

    def close(self) -> None:
        """End all blocks. Running attempts get a last chance to save what they have."""
