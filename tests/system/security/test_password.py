"""A database with a password: campaigns can use it, and the password appears nowhere else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from pilotune.pipeline.record.database import open_database
from pilotune.pipeline.record.password import arguments, hidden_password, secret

from ...support.local import Here, end_of, ended, until
from ...support.postgres import Server

pytestmark = pytest.mark.real

MARK = "Tr0ub4dor"
SECRET = f"t0p: \\{MARK}'; --"
"""Contains what a password file has to escape."""

OBJECTIVE = """
import json, os, time
from pathlib import Path

def objective(trial):
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    trial.report(1, step=0)
    time.sleep(0.2)
    return trial.params["x"]
"""

STUDY = "direction: minimize\nspace: {x: {float: [0.0, 1.0]}}\nsampler: random\nbudget: {trials: 20}\n"


@pytest.fixture
def guarded(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty database of a user who needs a password."""
    url = postgres_server.new_database()
    name, rules = url.rsplit("/", 1)[1], postgres_server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all keeper 127.0.0.1/32 scram-sha-256\n{before}")
    quoted = SECRET.replace("'", "''")
    postgres_server.execute("DROP ROLE IF EXISTS keeper")
    postgres_server.execute(f"CREATE ROLE keeper LOGIN PASSWORD '{quoted}'")
    postgres_server.execute(f"ALTER DATABASE {name} OWNER TO keeper")
    postgres_server.execute("SELECT pg_reload_conf()")
    guarded = url.replace("postgres@", "keeper@")
    until(lambda: _refuses(guarded), "the server asks for the password")
    yield guarded
    rules.write_text(before)
    postgres_server.execute("SELECT pg_reload_conf()")
    postgres_server.drop_database(url)
    postgres_server.execute("DROP ROLE keeper")


def _refuses(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return True
    return False


def leaks(folder: Path) -> list[str]:
    """Files that contain the password, plain or quoted as in JSON, YAML or a shell."""
    part = MARK.encode()
    return [str(path) for path in folder.rglob("*") if path.is_file() and part in path.read_bytes()]


@pytest.mark.postgres
def test_a_campaign_uses_its_password_and_hands_it_to_nobody(
    tmp_path: Path, postgres_server: Server, guarded: str
) -> None:
    here = Here(tmp_path, PGPASSWORD=SECRET)
    here.study("guarded", OBJECTIVE, f"{STUDY}storage: {guarded}\n")
    with ended(here.start("run", "guarded.yaml", "--set", "pools.local.workers_per_node=2")) as process:
        here.await_status("guarded", lambda status: status["complete"] >= 2, "some trials are done")
        shown = {}
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                shown[child.pid] = (" ".join(child.cmdline()), child.environ())
        postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keeper'")
        summary = end_of(process).stdout
    assert "20: 20 complete" in summary, "it connected again with the password it was given"
    assert len(shown) >= 6
    for words, environment in shown.values():
        assert MARK not in words
        assert not any(MARK in value for value in environment.values()), words
    assert [path.name for path in here.runs.rglob("environment.json")] == ["environment.json"] * 20
    assert leaks(tmp_path) == []
    assert here.json("best", "guarded")["best"], "what reads only gets it from the environment as before"


@pytest.mark.postgres
def test_a_wrong_password_is_told_without_it(tmp_path: Path, guarded: str) -> None:
    here = Here(tmp_path, PGPASSWORD="another-Tr0ub4dor", PILOTUNE_DEBUG="1")
    here.study("wrong", OBJECTIVE, f"{STUDY}storage: {guarded}\n")
    process = here.start("run", "wrong.yaml")
    with ended(process):
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "password authentication failed" in err
    assert "another-Tr0ub4dor" not in out + err
    assert leaks(tmp_path) == []


@pytest.mark.postgres
def test_a_service_s_own_password_comes_first_as_libpq_has_it(
    tmp_path: Path, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, database = re.findall(r":(\d+)/(\w+)", guarded)[0]
    (tmp_path / "services").write_text(
        f"[tuning]\nhost=127.0.0.1\nport={port}\nuser=keeper\ndbname={database}\npassword={SECRET}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGPASSWORD", "of another database")
    with hidden_password():
        open_database("postgresql+psycopg:///?service=tuning").drop()


def test_the_password_is_hidden_meanwhile_and_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert arguments() == {}
    with hidden_password():
        assert "PGPASSWORD" not in os.environ
        assert secret() == SECRET
        file = Path(arguments()["passfile"])
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() == "*:*:*:*:t0p\\: \\\\Tr0ub4dor'; --\n"
        with hidden_password():  # a second one has nothing to hide
            assert secret() == SECRET
    assert (os.environ["PGPASSWORD"], arguments()) == (SECRET, {})
    monkeypatch.delenv("PGPASSWORD")
    with hidden_password():
        assert (secret(), arguments()) == ("", {})
