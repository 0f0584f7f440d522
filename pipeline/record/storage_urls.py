"""Reads the URLs of databases: makes them complete, and answers mistyped ones with what is right."""

from __future__ import annotations

import os
import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from ...errors import UserError
from ...yamlfile import is_text

_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def normalize_url(url: str, folder: Path | None = None) -> str:
    """A storage URL as SQLAlchemy needs it: an absolute path for SQLite, the driver's name for PostgreSQL.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://[USER@]HOST[:PORT]/DATABASE``.
        folder: What a relative FILE is relative to. Default: the working directory.

    Raises:
        UserError: For a password in the URL (which the message does not show), a database in memory, any other
            kind of database, or no URL at all.

    Example:
        >>> normalize_url("sqlite:///study.db", folder=Path("/home/me"))
        'sqlite:////home/me/study.db'
        >>> normalize_url("postgresql://login1/tuning")
        'postgresql+psycopg://login1/tuning'
    """
    try:
        parsed = sa.make_url(url if is_text(url) else "")
    except (ArgumentError, ValueError):
        raise UserError(f"the storage must be a URL: {_meant(url)} or postgresql://host/database") from None
    if parsed.password is not None or any("pass" in key.lower() and key != "passfile" for key in parsed.query):
        raise UserError(
            "the storage URL holds a password, which would end up in logs and process lists; take it out and give it "
            "by PGPASSWORD, ~/.pgpass or a service file"
        )
    if parsed.drivername.lower() in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_url(parsed, folder or Path.cwd())
    if parsed.drivername in _POSTGRES:
        return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=True)
    raise UserError(f"no storage for {parsed.drivername!r}: use sqlite:///study.db or postgresql://host/database")


def _meant(text: str) -> str:
    """The SQLite URL that a text is probably meant as: the path of a file, or a URL with too few slashes.

    >>> _meant("results/study.db"), _meant("sqlite:/home/me/study.db"), _meant("study")
    ('sqlite:///results/study.db', 'sqlite:////home/me/study.db', 'sqlite:///study.db')
    """
    path = text.removeprefix("sqlite:")
    is_path = path != text or Path(path).suffix or path.startswith("/")
    if is_text(path) and re.fullmatch(r"[\w ./~+-]+", path) and is_path:
        return f"sqlite:///{path}"
    return "sqlite:///study.db"


def _sqlite_url(parsed: sa.URL, folder: Path) -> str:
    if parsed.host:
        meant = "/".join(part for part in (parsed.host, parsed.database) if part)
        raise UserError(f"an SQLite URL has three slashes and a path: sqlite:///{meant}")
    name = parsed.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise UserError("a study must outlive its process: name a file, as in sqlite:///study.db")
    path = Path(os.path.abspath(folder / Path(name).expanduser()))
    return str(parsed.set(drivername="sqlite", database=str(path)))


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for other databases."""
    parts = sa.make_url(url)
    return Path(parts.database) if parts.get_backend_name() == "sqlite" and parts.database else None


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite file."""
    return normalize_url(sa.URL.create("sqlite", database=str(file)).render_as_string())
