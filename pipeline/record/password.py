"""``PGPASSWORD`` while a campaign runs: its own connections get it, and nothing that it starts inherits it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLE = "PGPASSWORD"

_hidden = ""
_passfile: int | None = None


def secret() -> str:
    """The password that the environment gave; empty where it gave none. It is to be left out of all that is told."""
    return _hidden or os.environ.get(VARIABLE, "")


@contextlib.contextmanager
def hidden_password() -> Iterator[None]:
    """Take the password out of this process's environment, which workers, trials and batch jobs would inherit.

    What libpq connects with meanwhile it reads, as it would ``~/.pgpass``, from a file in this process's memory
    (:func:`arguments`): so a password that a service file gives still comes first.
    """
    global _hidden, _passfile
    password = os.environ.pop(VARIABLE, "")
    if not password:
        yield
        return
    _hidden, _passfile = password, os.memfd_create("pgpass", os.MFD_CLOEXEC)
    try:
        os.fchmod(_passfile, 0o600)  # libpq takes no other
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        os.write(_passfile, f"*:*:*:*:{escaped}\n".encode())
        yield
    finally:
        os.close(_passfile)
        _hidden, _passfile = "", None
        os.environ[VARIABLE] = password


def arguments() -> dict[str, str]:
    """What a connection to PostgreSQL is to be given beside its URL."""
    return {} if _passfile is None else {"passfile": f"/proc/self/fd/{_passfile}"}
