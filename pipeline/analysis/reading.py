"""Reads a study from its database in one transaction, also while campaigns work on it. Never writes."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...errors import RecordAway, UserError
from ..attributes import DEFINITION, LEASE
from .collector import no_collection

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

    from ..record.database import Database


@dataclass(frozen=True)
class StudyData:
    """A study as it was when it was read. :func:`read_study` makes one.

    Attributes:
        url: The database.
        name: The study's name.
        directions: ``minimize`` or ``maximize`` for each objective.
        metrics: The objectives' names; ``("value",)`` or ``("value_0", "value_1", ...)`` if the study names none.
        trials: All trials of any state, by ascending number.
        user_attrs: The study's user attributes.
        live: Ids of the campaigns whose drivers are alive.
        system_attrs: The study's system attributes.
    """

    url: str
    name: str
    directions: tuple[str, ...]
    metrics: tuple[str, ...]
    trials: tuple[FrozenTrial, ...]
    user_attrs: Mapping[str, Any]
    live: frozenset[str] = frozenset()
    system_attrs: Mapping[str, Any] = field(default_factory=dict)

    def trial(self, number: int) -> FrozenTrial | None:
        """The trial with this number; None where there is none."""
        return next((trial for trial in self.trials if trial.number == number), None)

    @property
    def constants(self) -> Mapping[str, Any]:
        """The constants of the study file's space; empty for a study of plain Optuna."""
        return dict(self._space.get("constants") or {})

    @property
    def graphs(self) -> Mapping[str, Any]:
        """The graphs of the study file's space, as the objective gets them; empty where it has none."""
        return dict(self._space.get("graphs") or {})

    @property
    def objects(self) -> Mapping[str, Mapping[str, Any]]:
        """By parameter the choices that are lists or mappings, by the text that the trials have for them."""
        parameters: dict[str, Any] = self._space.get("parameters") or {}
        return {
            name: {text: json.loads(text) for text in parameter["objects"]}
            for name, parameter in parameters.items()
            if parameter.get("objects")
        }

    @property
    def _space(self) -> Mapping[str, Any]:
        definition = self.system_attrs.get(DEFINITION, self.user_attrs.get(DEFINITION))  # earlier versions: the latter
        space = definition.get("space") if isinstance(definition, dict) else None
        return space if isinstance(space, dict) else {}


def read_study(url: str, name: str, parts: Collection[str] | None = None) -> StudyData:
    """Read a study of Pilotune or of plain Optuna.

    Args:
        url: The database, ``sqlite:///FILE`` or ``postgresql://HOST/DATABASE``.
        name: The study's name.
        parts: What to read of the trials besides their numbers, states and times, of ``record.sync.EVERYTHING``; None:
            everything. Reading less is faster, and the trials have nothing of the other parts.

    Raises:
        UserError: There is no database, it is none of Optuna's, or it has no study of that name (the message gives the
            nearest names).
        RecordAway: The database server does not answer.

    Example::

        data = read_study("sqlite:///study.db", "digits")
        [trial.value for trial in data.trials if trial.state.name == "COMPLETE"]
    """
    from ..record import known_studies, normalize_url, sync

    elsewhere = known_studies.found_elsewhere(name, normalize_url(url))
    with no_collection(), reading(url, elsewhere) as database:
        known = studies_of(database)
        if name not in known:
            raise UserError(f"no study {name!r} in {safe_url(url)}{elsewhere or nearest(name, list(known))}")
        cache = sync.read_study(database, known[name])
        user, system = sync.read_attributes(database, known[name])
        trials = sync.read_trials(database, known[name], sync.EVERYTHING if parts is None else parts)
        live = live_campaigns(database, system)
    directions = tuple(direction.name.lower() for direction in cache.directions)
    metrics = metric_names(system.get("study:metric_names"), len(directions))
    return StudyData(url, name, directions, metrics, tuple(trials), user, live, system)


def stored_study(url: str, name: str) -> tuple[tuple[str, ...], dict[str, Any] | None] | None:
    """A study's directions, and what Pilotune has created it with (None for a study of plain Optuna); without trials.

    Returns:
        None where the database has no such study, or no tables yet.

    Raises:
        UserError: There is no such database file, or it is no database.
        RecordAway: The database server does not answer.
    """
    import sqlalchemy as sa

    from ..record import sync

    with reading(url) as database:
        if not sa.inspect(database.connection).has_table("studies"):
            return None
        known = studies_of(database)
        if name not in known:
            return None
        cache = sync.read_study(database, known[name])
        user, system = sync.read_attributes(database, known[name])
    definition = system.get(DEFINITION, user.get(DEFINITION))
    directions = tuple(direction.name.lower() for direction in cache.directions)
    return directions, definition if isinstance(definition, dict) else None


def live_campaigns(database: Database, system_attrs: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the campaigns whose drivers are alive.

    Args:
        database: The study's database, in a transaction.
        system_attrs: The study's system attributes, which hold the leases.
    """
    from ..record import Lease

    found = {key.removeprefix(LEASE): value for key, value in system_attrs.items() if key.startswith(LEASE)}
    leases = [lease for campaign, value in found.items() if (lease := Lease.parse(campaign, value)).state == "running"]
    now = clock_of(database) if leases else 0.0
    return frozenset(lease.campaign for lease in leases if lease.alive(now))


def clock_of(database: Database) -> float:
    """Unix seconds by the clock of the drivers: the server's, or this host's for SQLite."""
    if database.dialect != "postgresql":
        return database.clock()
    return float(database.run("SELECT extract(epoch FROM clock_timestamp())").scalar_one())


def study_names(url: str) -> list[str]:
    """Names of all studies in a database, sorted. Raises as :func:`read_study`."""
    with reading(url) as database:
        return sorted(studies_of(database))


def studies_of(database: Database) -> dict[str, int]:
    """Ids of the studies in a database, by name."""
    import sqlalchemy as sa

    from ..record.tables import studies

    rows = database.run(sa.select(studies.c.study_name, studies.c.study_id))
    return {row.study_name: row.study_id for row in rows}


def metric_names(given: list[str] | None, count: int) -> tuple[str, ...]:
    """The names that a study gives its objectives, else ``value`` or ``value_0``, ``value_1``, ..."""
    if given:
        return tuple(given)
    return ("value",) if count == 1 else tuple(f"value_{i}" for i in range(count))


def nearest(name: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known names, else all of them.

    >>> nearest("digts", ["digits", "svm"])
    "; did you mean 'digits'?"
    >>> nearest("x", ["digits", "svm"])
    '; known: digits, svm'
    """
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(repr(each) for each in close)}?"
    if not known:
        return "; there are none yet"
    shown = ", ".join(sorted(known)[:8]) + (", ..." if len(known) > 8 else "")
    return f"; known: {shown}"


@contextmanager
def reading(url: str, elsewhere: str = "") -> Iterator[Database]:
    """One transaction on a connection that cannot write. The database's errors become UserError or RecordAway.

    Args:
        url: The database.
        elsewhere: The end of a sentence on where the wanted study is, if there is no such file.
    """
    import sqlalchemy as sa

    from ..record import normalize_url
    from ..record.database import Database

    class ReadOnly(Database):
        def _configure(self, connection: sa.Connection) -> None:
            """Do not set the journal mode, which would write to the database."""

    url = normalize_url(url)
    target, arguments = read_only(url, elsewhere)
    database = ReadOnly(url)
    database.engine = sa.create_engine(
        target, connect_args=arguments, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, hide_parameters=True
    )
    try:
        database.begin(write=False)
        yield database
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise readable_error(url, error) from error
    finally:
        database.drop()


def read_only(url: str, elsewhere: str = "") -> tuple[str, dict[str, Any]]:
    """URL and connection arguments with which the database refuses every write."""
    from sqlalchemy.engine import make_url

    from ..record.rundir import why_no_regular_file

    parts = make_url(url)
    if parts.get_backend_name() == "postgresql":
        return url, {"options": "-c default_transaction_read_only=on", "connect_timeout": 20}
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return url, {}
    path = Path(parts.database)
    problem = why_no_regular_file(path)
    if problem:
        raise UserError(problem, file=path)
    if not path.is_file():
        hint = elsewhere or "; `pilotune run` creates it, or give --storage URL"
        raise UserError(f"there is no database file {path}{hint}")
    target = parts.set(database=f"file:{quote(str(path.absolute()))}", query={"mode": "ro", "uri": "true"})
    return target.render_as_string(), {"timeout": 60}


def safe_url(url: str) -> str:
    """``url`` with a password in it replaced by stars.

    >>> safe_url("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "that address"


def readable_error(url: str, error: BaseException) -> UserError | RecordAway:
    """A database error as one that says what is wrong and what to do."""
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    place = safe_url(url)
    if "no such table" in text or ("does not exist" in text and "relation" in text):
        return UserError(f"{place} holds no Optuna study; give the URL that the study was run with")
    if "not a database" in text:
        return UserError(f"{place} is not an SQLite database")
    if type(error).__name__ in ("OperationalError", "InterfaceError"):
        return RecordAway(f"the database {place} cannot be read: {text}")
    return UserError(f"cannot open the database {place}: {text}")


def _without_strays(trial: FrozenTrial) -> FrozenTrial:
    """The trial, or a copy without the parameters whose values their distributions do not contain."""
    inside = {
        name: distribution
        for name, distribution in trial.distributions.items()
        if distribution._contains(distribution.to_internal_repr(trial.params[name]))
    }
    if len(inside) == len(trial.distributions):
        return trial
    found = copy.copy(trial)
    found.params = {name: trial.params[name] for name in inside}
    found.distributions = inside
    return found


def study_of(data: StudyData) -> Study:
    """An in-memory study with the trials, for Optuna's analyses. Trial numbers become indices into ``data.trials``.

    A value outside of its parameter's range, which a sampler of a user's may have returned, is left out.
    """
    import optuna

    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return _with_trials(data, data.trials)
    except ValueError:  # Optuna checks each value itself
        return _with_trials(data, [_without_strays(trial) for trial in data.trials])
    finally:
        optuna.logging.set_verbosity(quiet)


def readable(data: StudyData) -> Study:
    """As :func:`study_of`, for reading only: its trials are shallow copies, where Optuna would make deep ones."""
    import optuna

    trials = [copy.copy(_without_strays(trial)) for trial in data.trials]
    for place, trial in enumerate(trials):  # a trial that was drawn twice counts twice
        trial.number = trial._trial_id = place

    class Given(optuna.storages.InMemoryStorage):
        def get_all_trials(
            self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
        ) -> list[FrozenTrial]:
            return [trial for trial in trials if states is None or trial.state in states]

    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        directions = [optuna.study.StudyDirection[word.upper()] for word in data.directions]
        return optuna.create_study(storage=Given(), directions=directions, sampler=optuna.samplers.RandomSampler())
    finally:
        optuna.logging.set_verbosity(quiet)


def _with_trials(data: StudyData, trials: Sequence[FrozenTrial]) -> Study:
    import optuna

    study = optuna.create_study(
        directions=[optuna.study.StudyDirection[word.upper()] for word in data.directions],
        sampler=optuna.samplers.RandomSampler(),
    )
    study.add_trials(trials)
    return study
