"""Reads what changed in a study, all at once or in parts that take some milliseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from optuna.study import Study
from optuna.trial import FrozenTrial

from ...study_changes import Changes, StudyWatch

READ = 500
"""Values of parameters that are read at a time."""


class StudyReader:
    """Hands the changes of one study to a search.

    Args:
        learn: Called with them.
        parameters: How many parameters a trial has.
    """

    def __init__(self, learn: Callable[[Changes], None], parameters: int) -> None:
        self._learn, self._part = learn, max(1, READ // parameters)
        self._watch = StudyWatch()
        self._unread: deque[FrozenTrial] | None = None  # None until it was begun to read

    def refresh(self, study: Study) -> None:
        """Read all that changed."""
        if self._unread:
            self._learn(Changes(list(self._unread)))
        self._unread = deque()
        self._learn(self._watch.refresh(study))

    def read_part(self, study: Study) -> bool:
        """Read a part of a study that was not read before. Returns False where there was nothing left to read."""
        if self._unread is None:
            changes = self._watch.refresh(study)
            self._learn(Changes((), changes.gone, changes.whole))
            self._unread = deque(sorted(changes.trials, key=lambda trial: trial.number))
        elif self._unread:
            part = min(len(self._unread), self._part)
            self._learn(Changes([self._unread.popleft() for _ in range(part)]))
        else:
            return False
        return True
