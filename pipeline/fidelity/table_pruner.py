"""What pruners with a table of the study have in common."""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar, Self

from ..study_changes import StudyWatch


class Table:
    """Something known of a study, brought up to date by what a ``StudyWatch`` says."""

    def __init__(self) -> None:
        self.watch = StudyWatch()


class Tabled:
    """To be inherited before one of Optuna's pruners: gives it a table of its own, and a lock around it.

    Copies and pickles go without the table; theirs is made again from the study at the first verdict.
    """

    TABLE: ClassVar[type[Table]]
    UNSAVED: ClassVar[tuple[str, ...]] = ("_table", "_lock")
    _table: Any
    _lock: Lock

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Not in __init__, whose signature is Optuna's own, and which unpickling does not call.
        made = super().__new__(cls)
        made._table, made._lock = cls.TABLE(), Lock()
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.UNSAVED}
