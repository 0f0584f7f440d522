"""A real PostgreSQL server for tests, from Debian's packages, in a temporary folder, on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import optuna
import psycopg

from .watcher import unwatch, watch

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # The tests kill the server but never its host, so nothing has to reach the disk.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "log_min_messages": "fatal",
}


class Unavailable(Exception):
    """Raised when no server can run on this machine; the message says why."""


def find_binaries() -> Path:
    """The folder of ``initdb`` and ``postgres``, installed with apt-get if they are missing."""
    if os.geteuid() != 0:
        raise Unavailable("PostgreSQL tests start a server as the user postgres, which needs root")
    if not _installed():
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "postgresql"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment)
    if not _installed():
        raise Unavailable("no postgres below /usr/lib/postgresql, and apt-get could not install it")
    return _installed()[-1]


def _installed() -> list[Path]:
    return sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))


class Server:
    """A PostgreSQL server in a temporary folder.

    Attributes:
        folder: Its folder, which ``stop`` deletes.
        port: Its port on 127.0.0.1.
        process: The running server.
    """

    def __init__(self) -> None:
        binaries = find_binaries()
        self.watcher: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="pilotune-postgres-", dir="/tmp"))
        self.user = pwd.getpwnam("postgres")
        os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.data, self.program = self.folder / "data", binaries / "postgres"
        self._run([binaries / "initdb", "-D", self.data, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def _run(self, command: list[object]) -> None:
        arguments = [str(word) for word in command]
        result = subprocess.run(arguments, user=self.user.pw_uid, group=self.user.pw_gid, capture_output=True, cwd="/")
        if result.returncode:
            raise RuntimeError(f"{arguments[0]}: {result.stderr.decode()}")

    def start(self, *, wait: bool = True, **settings: str) -> None:
        """Start the server, with more settings, and ``wait`` until it accepts connections."""
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **settings}.items()]
        command = [self.program, "-D", self.data, "-p", str(self.port), "-k", self.folder, *options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                user=self.user.pw_uid,
                group=self.user.pw_gid,
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watch()
        if wait:
            self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def _watch(self) -> None:
        """Have the server and its folder removed if this process is killed."""
        if self.watcher is not None:
            unwatch(self.watcher)
        end = 'kill -QUIT "$1"; n=0; while kill -0 "$1" && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done; rm -rf "$2"'
        self.watcher = watch(["/bin/sh", "-c", end, "sh", self.process.pid, self.folder])

    def _dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def execute(self, statement: str) -> list[tuple]:
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def new_database(self, *, tables: bool = False) -> str:
        """Create a database and return its URL.

        With ``tables`` it has Optuna's tables, copied from a template because creating them is slow.
        """
        if tables and not self.execute("SELECT 1 FROM pg_database WHERE datname = 'prepared'"):
            self.execute("CREATE DATABASE prepared")
            storage = optuna.storages.RDBStorage(self.url("prepared").replace("://", "+psycopg://"))
            storage.remove_session()
            storage.engine.dispose()
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {'prepared' if tables else 'template0'}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def shut_down(self) -> None:
        """Stop the server at once, which to a client looks like a crash of its host."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def stop(self) -> None:
        """Stop the server and delete its folder."""
        if self.process.poll() is None:
            self.shut_down()
        if self.watcher is not None:
            unwatch(self.watcher)
        shutil.rmtree(self.folder, ignore_errors=True)
