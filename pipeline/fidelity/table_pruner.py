"""Base of pruners that keep a table of the study's reports, updated with what changed."""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar, Self

from ..study_changes import StudyWatch


class Table:
    """What a pruner keeps of one study.

    Attributes:
        watch: Gives what changed in the study since it was last asked.
    """

    def __init__(self) -> None:
        self.watch = StudyWatch()


class TablePruner:
    """Mixin for one of Optuna's pruners, named before it in the bases: adds a table, and a lock around it.

    Copies and pickles do not include the table; they read the study anew at their first verdict.

    Attributes:
        TABLE: The class of the table.
        UNSAVED: Attributes that copies and pickles leave out.
    """

    TABLE: ClassVar[type[Table]]
    UNSAVED: ClassVar[tuple[str, ...]] = ("_table", "_lock")
    _table: Any
    _lock: Lock

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Not in __init__: its signature must stay Optuna's, and unpickling does not call it.
        made = super().__new__(cls)
        made._table, made._lock = cls.TABLE(), Lock()
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.UNSAVED}
