"""Declares the tables of Optuna's database schema, and encodes and decodes their values.

Optuna's own declarations are private, so they are repeated here; a test compares them with what Optuna 5 creates. As in
Optuna, times are stored as naive UTC, and are naive local time in memory. A float that a database cannot hold
(infinity, NaN) is stored as NULL beside a type that names it.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.study import StudyDirection
from optuna.trial import TrialState

SCHEMA_VERSION = 12
"""Optuna's version of the schema, in table ``version_info``."""
REVISION = "v3.2.0.a"
"""Alembic's revision of the same schema, in table ``alembic_version``."""
KEY_LENGTH = 512
"""Most characters of a study's, parameter's or attribute's name."""
STEP_LIMIT = 2**31
"""Steps are stored as signed integers of 32 bits, so they lie in [-STEP_LIMIT, STEP_LIMIT)."""

SHORT = 40
"""Texts with fewer characters are often equal in many trials, which then share one object."""

metadata = sa.MetaData()
_key = sa.String(KEY_LENGTH)
_float = sa.Float(precision=53)


def _of_study() -> sa.ForeignKey:
    return sa.ForeignKey("studies.study_id")


def _of_trial() -> sa.ForeignKey:
    return sa.ForeignKey("trials.trial_id")


def _attributes(name: str, identity: str, owner: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column(identity, sa.Integer, primary_key=True),
        sa.Column(owner, sa.Integer, _of_study() if owner == "study_id" else _of_trial()),
        sa.Column("key", _key),
        sa.Column("value_json", sa.Text),
        sa.UniqueConstraint(owner, "key"),
    )


studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("study_name", _key, nullable=False, index=True, unique=True),
)
study_directions = sa.Table(
    "study_directions",
    metadata,
    sa.Column("study_direction_id", sa.Integer, primary_key=True),
    sa.Column("direction", sa.Enum(StudyDirection), nullable=False),
    sa.Column("study_id", sa.Integer, _of_study(), nullable=False),
    sa.Column("objective", sa.Integer, nullable=False),
    sa.UniqueConstraint("study_id", "objective"),
)
study_user_attributes = _attributes("study_user_attributes", "study_user_attribute_id", "study_id")
study_system_attributes = _attributes("study_system_attributes", "study_system_attribute_id", "study_id")
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("study_id", sa.Integer, _of_study(), index=True),
    sa.Column("state", sa.Enum(TrialState), nullable=False),
    sa.Column("datetime_start", sa.DateTime),
    sa.Column("datetime_complete", sa.DateTime),
)
trial_user_attributes = _attributes("trial_user_attributes", "trial_user_attribute_id", "trial_id")
trial_system_attributes = _attributes("trial_system_attributes", "trial_system_attribute_id", "trial_id")
trial_params = sa.Table(
    "trial_params",
    metadata,
    sa.Column("param_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, _of_trial()),
    sa.Column("param_name", _key),
    sa.Column("param_value", _float),
    sa.Column("distribution_json", sa.Text),
    sa.UniqueConstraint("trial_id", "param_name"),
)
trial_values = sa.Table(
    "trial_values",
    metadata,
    sa.Column("trial_value_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, _of_trial(), nullable=False),
    sa.Column("objective", sa.Integer, nullable=False),
    sa.Column("value", _float),
    sa.Column("value_type", sa.Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype"), nullable=False),
    sa.UniqueConstraint("trial_id", "objective"),
)
trial_intermediate_values = sa.Table(
    "trial_intermediate_values",
    metadata,
    sa.Column("trial_intermediate_value_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, _of_trial(), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("intermediate_value", _float),
    sa.Column(
        "intermediate_value_type",
        sa.Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
    sa.UniqueConstraint("trial_id", "step"),
)
trial_heartbeats = sa.Table(
    "trial_heartbeats",
    metadata,
    sa.Column("trial_heartbeat_id", sa.Integer, primary_key=True),
    sa.Column("trial_id", sa.Integer, _of_trial(), nullable=False),
    sa.Column("heartbeat", sa.DateTime, nullable=False),
    sa.UniqueConstraint("trial_id"),
)
version_info = sa.Table(
    "version_info",
    metadata,
    sa.Column("version_info_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_version", sa.Integer),
    sa.Column("library_version", sa.String(256)),
    sa.CheckConstraint("version_info_id=1"),
)
alembic_version = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

OF_TRIAL = (
    trial_heartbeats,
    trial_intermediate_values,
    trial_values,
    trial_params,
    trial_system_attributes,
    trial_user_attributes,
)
"""The tables whose rows belong to a trial, by ``trial_id``."""
OF_STUDY = (study_system_attributes, study_user_attributes, study_directions)
"""The tables whose rows belong to a study, by ``study_id``."""


def create(connection: sa.Connection) -> None:
    """Create the tables that are missing, and note their version as Optuna does."""
    metadata.create_all(connection)
    if connection.execute(sa.select(version_info)).first() is None:
        versions = {"version_info_id": 1, "schema_version": SCHEMA_VERSION, "library_version": optuna.__version__}
        connection.execute(version_info.insert(), versions)
    if connection.execute(sa.select(alembic_version)).first() is None:
        connection.execute(alembic_version.insert(), {"version_num": REVISION})


def store_float(value: float) -> tuple[float | None, str]:
    """A float as the two columns that hold it: the value (None when not finite) and its type's name."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"


_SPECIAL = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}


def load_float(value: float | None, kind: str) -> float:
    """The inverse of ``store_float``."""
    return float(value) if value is not None else _SPECIAL.get(kind, math.nan)


def store_time(value: datetime | None) -> str | None:
    """Naive local time (or aware time) as text in naive UTC, which SQLite keeps as it is."""
    return None if value is None else value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def load_time(value: datetime | str | None) -> datetime | None:
    """The inverse of ``store_time``: naive UTC (text on SQLite) to naive local time."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    offset, fold = _local(moment.replace(second=0, microsecond=0))
    local = moment + offset
    return local.replace(fold=1) if fold else local


@lru_cache(maxsize=4096)
def _local(minute: datetime) -> tuple[timedelta, int]:
    """How far local time is ahead in this minute of naive UTC, and its ``fold``. Clocks change at whole minutes."""
    local = minute.replace(tzinfo=UTC).astimezone()
    return local.utcoffset() or timedelta(), local.fold


def plain(value: Any) -> Any:
    """``value`` encoded as JSON and decoded again, as every reader of the database will see it.

    Raises TypeError if it cannot be encoded.

    Example:
        >>> plain((1, 2))
        [1, 2]
    """
    kind = type(value)
    if kind is str and len(value) < SHORT:  # many trials have the same host, pool or reason: they share one object
        return sys.intern(value)
    if value is None or kind in (str, int, float, bool):
        return value
    return json.loads(json.dumps(value), object_pairs_hook=lean)


def lean(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary of JSON whose keys and short texts are shared with those of other trials, to save memory."""
    return {
        sys.intern(key): sys.intern(value) if type(value) is str and len(value) < SHORT else value
        for key, value in pairs
    }


def check_key(key: str) -> str:
    """Return ``key``. Raises ValueError when the database cannot store it as a name."""
    if len(key) > KEY_LENGTH or "\0" in key or not (key.isascii() or _is_text(key)):
        raise ValueError(
            f"a name in the database has at most {KEY_LENGTH} characters, no NUL and no lone surrogate; "
            f"got {key[:40]!r}…"
        )
    return sys.intern(key) if type(key) is str else key


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:  # a lone surrogate, as in file names of another encoding
        return False
    return True
