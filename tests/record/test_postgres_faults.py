"""A PostgreSQL server that is full, read-only, out of connections, denies access, or restarts during a transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from pilotune.errors import RecordAway, RecordStarting, RecordStuck, UserError
from pilotune.pipeline.driver.open_record import open_when_ready
from pilotune.pipeline.record import RecordStorage, normalize_url, open_storage

from ..support.local import until
from ..support.postgres import Server
from ..support.small_disks import fill, small_disk

pytestmark = pytest.mark.postgres

PASSWORD = "correct-horse"


class Guest:
    """A study of a user who is no superuser of the server, so that access can be denied."""

    def __init__(self, server: Server, name: str = "guest"):
        self.server, self.name = server, name
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        url = server.new_database()
        self.database = url.rsplit("/", 1)[1]
        server.execute(f"ALTER DATABASE {self.database} OWNER TO {name}")
        self.url = normalize_url(url.replace("postgres@", f"{name}@"))
        self.storage = RecordStorage(self.url, autocommit=False)
        self.study = optuna.create_study(storage=self.storage, study_name="s")
        self.storage.commit()

    def stage(self, value: float, load: int = 10) -> None:
        trial = self.study.ask()
        trial.set_user_attr("load", "x" * load)
        self.study.tell(trial, value)

    def disconnect(self) -> None:
        """Terminate the study's connections."""
        self.server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.database}'")

    def values(self) -> list[float]:
        trials = optuna.load_study(study_name="s", storage=self.url).trials
        assert {trial.state for trial in trials} <= {TrialState.COMPLETE}
        return [trial.value for trial in trials]

    def drop(self) -> None:
        self.storage.close()
        self.server.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        self.server.execute(f"DROP OWNED BY {self.name}")
        self.server.execute(f"DROP ROLE {self.name}")


@pytest.fixture
def guest(postgres_server: Server) -> Iterator[Guest]:
    made = Guest(postgres_server)
    yield made
    made.drop()


@pytest.mark.parametrize("within", [False, True], ids=["between", "within a transaction"])
def test_a_terminated_connection_loses_nothing(guest: Guest, within: bool) -> None:
    guest.stage(1.0)
    if within:
        work = guest.storage.database.commit

        def disconnect_then_commit() -> None:
            guest.storage.database.commit = work
            guest.disconnect()
            work()

        guest.storage.database.commit = disconnect_then_commit
    else:
        guest.disconnect()
    with pytest.raises(RecordAway) as caught:
        guest.storage.commit()
    assert not isinstance(caught.value, RecordStuck)
    guest.storage.commit()
    assert guest.values() == [1.0]


def _stage_while_the_server_stops(guest: Guest) -> None:
    with guest.storage.locked(guest.study._study_id):
        guest.stage(3.0)
        guest.server.shut_down()


def test_after_a_restart_during_a_transaction_nothing_is_lost_or_written_twice(guest: Guest) -> None:
    guest.stage(1.0)
    guest.storage.commit()
    guest.stage(2.0)
    with pytest.raises(RecordAway) as caught:
        _stage_while_the_server_stops(guest)
    assert not isinstance(caught.value, RecordStuck)
    with pytest.raises(RecordAway, match="connection"):
        guest.storage.commit()
    guest.server.start()
    guest.storage.commit()
    guest.stage(4.0)
    guest.storage.commit()
    assert guest.values() == [1.0, 2.0, 4.0], "what was staged inside the lock is dropped with it"


@pytest.fixture
def small_space(guest: Guest) -> Iterator[Path]:
    """Move the guest's database to a small disk that the server's user can write to."""
    folder, space = Path(f"/tmp/pilotune-{guest.database}"), f"small_{guest.database}"
    with small_disk(folder, "24m", uid=str(guest.server.user.pw_uid)) as disk:
        guest.server.execute(f"CREATE TABLESPACE {space} LOCATION '{disk}'")
        guest.storage.close()
        guest.server.execute(f"ALTER DATABASE {guest.database} SET TABLESPACE {space}")
        yield disk
        guest.storage.close()
        guest.server.execute(f"DROP DATABASE {guest.database} WITH (FORCE)")
        guest.server.execute(f"DROP TABLESPACE {space}")
    folder.rmdir()


def test_a_full_server_is_reported_and_the_commit_succeeds_later(guest: Guest, small_space: Path) -> None:
    filler = fill(small_space)
    guest.stage(1.0, load=3_000_000)
    with pytest.raises(RecordStuck, match=r"the database server's disk is full .*No space left on device"):
        guest.storage.commit()
    filler.unlink()
    guest.storage.commit()
    assert guest.values() == [1.0]


def test_a_read_only_database_is_reported_as_standby_or_read_only(guest: Guest) -> None:
    guest.server.execute(f"ALTER DATABASE {guest.database} SET default_transaction_read_only = on")
    guest.disconnect()
    guest.stage(1.0)
    with pytest.raises(RecordAway):
        guest.storage.commit()
    with pytest.raises(RecordStuck, match="is read-only: it is a standby server or was set read-only"):
        guest.storage.commit()
    guest.server.execute(f"ALTER DATABASE {guest.database} RESET default_transaction_read_only")
    guest.storage.commit()
    assert guest.values() == [1.0]


def test_a_commit_without_a_free_connection_can_be_repeated(guest: Guest) -> None:
    guest.server.execute(f"ALTER ROLE {guest.name} CONNECTION LIMIT 0")
    guest.storage.close()
    guest.stage(1.0)
    with pytest.raises(RecordAway, match="too many connections") as caught:
        guest.storage.commit()
    assert not isinstance(caught.value, RecordStuck)
    guest.server.execute(f"ALTER ROLE {guest.name} CONNECTION LIMIT -1")
    guest.storage.commit()
    assert guest.values() == [1.0]


REFUSALS = {
    "nobody": ("ALTER ROLE guest NOLOGIN", "ALTER ROLE guest LOGIN", "is not permitted to log in"),
    "no right": (
        "REVOKE INSERT ON ALL TABLES IN SCHEMA public FROM guest",
        "GRANT INSERT ON ALL TABLES IN SCHEMA public TO guest",
        "permission denied for table",
    ),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_denied_access_is_reported(guest: Guest, name: str) -> None:
    shut, open_again, words = REFUSALS[name]

    def execute(statement: str) -> None:
        import psycopg

        dsn = f"host=127.0.0.1 port={guest.server.port} user=postgres dbname={guest.database}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement)

    execute(shut)
    guest.storage.close()
    guest.stage(1.0)
    with pytest.raises(RecordStuck, match=rf"the database server denies access \(.*{words}"):
        guest.storage.commit()
    execute(open_again)
    guest.storage.commit()
    assert guest.values() == [1.0]


def test_a_changed_password_is_reported_without_it_and_the_new_one_is_used(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hba = guest.server.data / "pg_hba.conf"
    before = hba.read_text()
    passwords = tmp_path / "pgpass"

    def set_password(password: str) -> None:
        passwords.write_text(f"*:*:*:{guest.name}:{password}\n")
        passwords.chmod(0o600)

    monkeypatch.setenv("PGPASSFILE", str(passwords))
    try:
        hba.write_text(f"host all {guest.name} 127.0.0.1/32 scram-sha-256\n{before}")
        guest.server.execute("SELECT pg_reload_conf()")
        until(lambda: _refused(guest), "the server asks for passwords")
        set_password("old-battery")
        guest.storage.close()
        guest.stage(1.0)
        with pytest.raises(RecordStuck, match=r"denies access .*password authentication failed") as caught:
            guest.storage.commit()
        assert "old-battery" not in str(caught.value)
        with pytest.raises(UserError, match="the database cannot be opened"):
            RecordStorage(guest.url)
        set_password(PASSWORD)
        guest.storage.commit()
        assert guest.values() == [1.0]
    finally:
        guest.storage.close()
        hba.write_text(before)
        guest.server.execute("SELECT pg_reload_conf()")
        until(lambda: not _refused(guest), "the server asks for no passwords any more")


def _refused(guest: Guest) -> bool:
    import psycopg

    time.sleep(0.02)
    try:
        psycopg.connect(guest.url.replace("+psycopg", ""), connect_timeout=5).close()
    except psycopg.OperationalError:
        return True
    return False


def test_a_dropped_database_is_reported(guest: Guest) -> None:
    guest.server.execute(f"DROP DATABASE {guest.database} WITH (FORCE)")
    guest.stage(1.0)
    with pytest.raises(RecordAway):
        guest.storage.commit()
    with pytest.raises(RecordStuck, match=rf"denies access \(.*database \"{guest.database}\" does not exist"):
        guest.storage.commit()


def test_a_server_that_recovers_is_not_ready_and_then_it_is(postgres_server: Server) -> None:
    """Its archive answers slowly, so that it does not accept connections for a while."""
    server = Server()
    try:
        url = server.new_database(tables=True)
        server.shut_down()
        (server.data / "recovery.signal").touch()
        server.start(wait=False, restore_command="sleep 1; false", hot_standby="off")

        def refusal() -> str:
            try:
                open_storage(url).close()
            except RecordStarting as error:
                return str(error)
            except UserError:  # it does not listen yet
                return ""
            return ""

        said = until(refusal, "the server says that it is not ready", 30.0)
        assert said.startswith("the database server of postgresql")
        assert "is not ready (" in said
        open_when_ready(url, "s", lambda sentence: None).close()
    finally:
        server.stop()
