"""Remembers in the database which trials have ended and whose callbacks have not returned yet."""

from __future__ import annotations

import optuna

from ..attributes import CALLBACKS
from .leases import study_leases
from .storage import RecordStorage

MOST_TAKEOVERS = 2
"""So often other campaigns call the callbacks of a trial again, each after a driver's death: the callbacks may be what
kills the drivers."""


class DueCallbacks:
    """The trials of one campaign whose callbacks are due. All changes are staged, as everything in ``storage``.

    A trial is added in the transaction that stores its end, and removed after its callbacks have returned. A driver
    that dies in between leaves it, and the next campaign takes it over. So no callback is lost, and it is called a
    second time only where a driver died while it ran or within the second after.

    Args:
        storage: The campaign's storage.
        study_id: Of its study.
        campaign: Its id.
    """

    def __init__(self, storage: RecordStorage, study_id: int, campaign: str):
        self._storage, self._study_id, self._key = storage, study_id, CALLBACKS + campaign
        self._due: dict[int, int] = {}  # trial number -> takeovers
        self._in_doubt: set[int] = set()  # taken over by a transaction whose answer was lost

    def add(self, number: int, takeovers: int = 0) -> None:
        """Stage that the callbacks of this trial are due."""
        self._due[number] = takeovers
        self._stage()

    def remove(self, number: int) -> None:
        """Stage that the callbacks of this trial have returned."""
        if self._due.pop(number, None) is not None:
            self._stage()

    def _stage(self) -> None:
        value = {str(number): takeovers for number, takeovers in self._due.items()}
        self._storage.set_study_system_attr(self._study_id, self._key, value)

    def take_over(self, study: optuna.Study) -> tuple[list[int], list[int]]:
        """Take over what campaigns left that have ended or are marked dead; ``orphans`` marks them, so call it first.

        One transaction, so only one driver gets each trial, and the campaign that had it can commit nothing more.

        Returns:
            The numbers of the trials whose callbacks this campaign is to call; and of those whose callbacks are given
            up, since a driver died ``MOST_TAKEOVERS`` times more.

        Raises:
            RecordAway: The database did not answer, so it is unknown whether trials were taken over; call it again.
        """
        taken: list[int] = []
        given_up: list[int] = []
        if not self._in_doubt and not self._left(study):
            return taken, given_up
        try:
            with self._storage.locked(self._study_id):
                taken += self._answered()
                for key in self._left(study):
                    left = self._storage.get_study_system_attrs(self._study_id)[key]
                    for number, takeovers in sorted((int(text), int(times)) for text, times in left.items()):
                        if takeovers >= MOST_TAKEOVERS:
                            given_up.append(number)
                        else:
                            self.add(number, takeovers + 1)
                            taken.append(number)
                    self._storage.set_study_system_attr(self._study_id, key, {})
        except BaseException:
            self._in_doubt.update(taken)
            raise
        self._in_doubt.clear()
        return taken, given_up

    def _answered(self) -> list[int]:
        """Of the trials that an earlier call tried to take over, those that it did, as the database shows now."""
        ours = self._storage.get_study_system_attrs(self._study_id).get(self._key) or {}
        got = [number for number in sorted(self._in_doubt) if str(number) in ours]
        for number in self._in_doubt.difference(got):
            self._due.pop(number, None)
        return got

    def _left(self, study: optuna.Study) -> list[str]:
        """Keys of the campaigns that have ended or are marked dead and have left trials here."""
        attrs = self._storage.get_study_system_attrs(self._study_id)
        keys = [key for key, value in attrs.items() if key.startswith(CALLBACKS) and value and key != self._key]
        if not keys:
            return []
        running = {lease.campaign for lease in study_leases(self._storage, study) if lease.state == "running"}
        return [key for key in keys if key.removeprefix(CALLBACKS) not in running]
