"""Keeps ``PGPASSWORD`` from the processes that a campaign starts, while its own connections still use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLE = "PGPASSWORD"
"""The environment variable from which libpq takes the password."""

_hidden = ""
_passfile: int | None = None


def secret() -> str:
    """The password from the environment, to be left out of messages; empty when there is none."""
    return _hidden or os.environ.get(VARIABLE, "")


@contextlib.contextmanager
def hidden_password() -> Iterator[None]:
    """Remove the password from this process's environment, which workers, trials and batch jobs would inherit.

    Meanwhile libpq reads it from a password file like ``~/.pgpass`` that exists only in this process's memory
    (:func:`arguments`), so that a password in a service file still takes precedence.
    """
    global _hidden, _passfile
    password = os.environ.pop(VARIABLE, "")
    if not password:
        yield
        return
    _hidden, _passfile = password, os.memfd_create("pgpass", os.MFD_CLOEXEC)
    try:
        os.fchmod(_passfile, 0o600)  # libpq ignores files that others can read
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        os.write(_passfile, f"*:*:*:*:{escaped}\n".encode())
        yield
    finally:
        os.close(_passfile)
        _hidden, _passfile = "", None
        os.environ[VARIABLE] = password


def arguments() -> dict[str, str]:
    """Arguments for a connection to PostgreSQL, besides its URL."""
    return {} if _passfile is None else {"passfile": f"/proc/self/fd/{_passfile}"}
