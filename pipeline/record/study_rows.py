"""Creates, deletes and lists studies in the database, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection

# Optuna's storages return this class, and it has no public name.
from optuna.study._frozen import FrozenStudy
from sqlalchemy.exc import IntegrityError

from . import tables
from .database import Database
from .loaded_studies import LoadedStudies
from .sync import read_attributes
from .tables import studies, study_directions, trials


def insert_study(database: Database, name: str, directions: Sequence[StudyDirection]) -> int:
    """Create a study; returns its id. Raises DuplicatedStudyError when the name is taken, RecordAway."""
    rows = [{"direction": direction, "objective": objective} for objective, direction in enumerate(directions)]
    try:
        with database.writing():
            inserted = database.run(sa.insert(studies).returning(studies.c.study_id), {"study_name": name})
            study_id = int(inserted.scalar_one())
            database.run(sa.insert(study_directions), [{"study_id": study_id, **row} for row in rows])
    except IntegrityError:
        raise DuplicatedStudyError(f"a study named {name!r} exists") from None
    return study_id


def delete_study(database: Database, study_id: int) -> None:
    """Delete a study with all its trials. Raises KeyError when there is no such study, RecordAway."""
    with database.writing():
        lock = sa.select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update()
        if database.run(lock).first() is None:
            raise KeyError(f"no study with id {study_id}")
        delete_rows(database, study_id)


def delete_rows(database: Database, study_id: int) -> None:
    """Delete a locked study with all its trials, inside the caller's transaction."""
    its_trials = sa.select(trials.c.trial_id).where(trials.c.study_id == study_id)
    for table in tables.OF_TRIAL:
        database.run(sa.delete(table).where(table.c.trial_id.in_(its_trials)))
    for table in (trials, *tables.OF_STUDY, studies):
        database.run(sa.delete(table).where(table.c.study_id == study_id))


def delete_user_attribute(database: Database, study_id: int, key: str) -> None:
    """Delete a user attribute of a study, if it has it. Raises RecordAway."""
    attributes = tables.study_user_attributes
    with database.writing():
        database.run(sa.delete(attributes).where(attributes.c.study_id == study_id, attributes.c.key == key))


def find_study(database: Database, name: str) -> int | None:
    """The id of the study of this name; None when there is none."""
    study_id = database.run(sa.select(studies.c.study_id).where(studies.c.study_name == name)).scalar()
    return None if study_id is None else int(study_id)


def list_studies(database: Database, loaded: LoadedStudies) -> list[FrozenStudy]:
    """All studies by ascending id, with the attributes that are staged in ``loaded``. Raises RecordAway."""
    with database.reading():
        found = []
        for study_id, name in database.run(sa.select(studies).order_by(studies.c.study_id)).all():
            user, system = read_attributes(database, study_id)
            query = sa.select(study_directions.c.direction).where(study_directions.c.study_id == study_id)
            directions = list(database.run(query.order_by(study_directions.c.objective)).scalars())
            cache, staged = loaded.caches.get(study_id), loaded.staged.get(study_id)
            if cache is not None and staged is not None:
                user |= {key: cache.user_attrs[key] for key in staged.user}
                system |= {key: cache.system_attrs[key] for key in staged.system}
            found.append(FrozenStudy(name, None, user, system, study_id, directions=directions))
        return found
