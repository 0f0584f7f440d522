"""Runs a scheduler's commands: no shell, a time limit, English words, and no password in what a job inherits."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import SiteError
from .file_limits import usual_limit

TIMEOUT = 60.0
"""Seconds a command may take: a scheduler whose controller is away lets its commands hang for some time."""

TIMED_OUT = 124
"""Exit code given to a command that was ended for its time."""

SECRETS = ("PGPASSWORD",)
"""Left out of the environment of scheduler commands, which hand theirs on to the job."""


@dataclass(frozen=True)
class Answer:
    """What a command said: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it said on one line, errors first."""
        text = self.err.strip() or self.out.strip()
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())


def run(argv: Sequence[str], timeout: float = TIMEOUT, folder: Path | None = None, without: str = "") -> Answer:
    """Run a command to its end, in ``folder``. ``without``: a regular expression; environment variables with such names
    are left out.

    Raises SiteError where there is no such program; a command that fails or hangs is an Answer like any other.
    """
    hidden = re.compile("|".join(filter(None, (*SECRETS, without))))
    environment = {name: value for name, value in os.environ.items() if not hidden.fullmatch(name)}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**environment, "LC_ALL": "C"},
            cwd=folder,
            preexec_fn=usual_limit(),
            start_new_session=True,  # Ctrl-C at the terminal is the driver's to handle
        )
    except FileNotFoundError:
        raise SiteError(
            f"{argv[0]} is not on PATH: this is not a host from which jobs are submitted, or a module is missing"
        ) from None
    except PermissionError:
        raise SiteError(f"{argv[0]} may not be executed by this user") from None
    except subprocess.TimeoutExpired as error:
        said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
        return Answer(TIMED_OUT, "", f"{argv[0]} did not answer within {timeout:.0f} s. {said}".strip())
    return Answer(done.returncode, done.stdout, done.stderr)
