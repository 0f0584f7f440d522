"""Writes a study from memory into a new database file when its own file is broken."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from .storage import RecordStorage


def save_study(storage: RecordStorage, study_id: int) -> Path | None:
    """Write the study, uncommitted changes included, into a new file beside its SQLite file.

    Returns the new file; None on PostgreSQL. Raises OSError, UserError or RecordAway when it cannot be written.
    """
    file = storage.database.path
    if file is None:
        return None
    path = file.with_name(f"{file.name}.{time.strftime('%Y%m%d-%H%M%S')}-saved")
    with contextlib.closing(RecordStorage(f"sqlite:///{path}", autocommit=False)) as copy:
        copied = copy.create_new_study(storage.get_study_directions(study_id), storage.get_study_name_from_id(study_id))
        for key, value in storage.get_study_user_attrs(study_id).items():
            copy.set_study_user_attr(copied, key, value)
        for key, value in storage.get_study_system_attrs(study_id).items():
            copy.set_study_system_attr(copied, key, value)
        for trial in storage.get_all_trials(study_id, deepcopy=False):
            copy.create_new_trial(copied, trial)
        copy.commit()
    return path
