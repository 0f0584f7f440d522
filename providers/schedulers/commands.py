"""Runs a scheduler's commands: no shell, a time limit, English messages, and no passwords in the environment."""

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
"""Seconds that a command may take: it hangs for some time when the scheduler's controller is down."""

TIMED_OUT = 124
"""Exit code of a command that was ended because it took too long."""

SECRETS = ("PGPASSWORD",)
"""Environment variables that are hidden from a scheduler's commands, since some pass the environment on to the job."""


@dataclass(frozen=True)
class Answer:
    """The exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its errors, or else its output, on one line.

        >>> Answer(1, "", "sbatch: error: invalid partition\\n\\ntry again\\n").words
        'sbatch: error: invalid partition | try again'
        """
        text = self.err.strip() or self.out.strip()
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())


def run(argv: Sequence[str], timeout: float = TIMEOUT, folder: Path | None = None, without: str = "") -> Answer:
    """Run a command to its end. A command that fails or takes too long is an Answer too.

    Args:
        argv: The command's words.
        timeout: Seconds after which it is ended.
        folder: The folder it runs in; by default the current one.
        without: Regular expression; environment variables whose names match are hidden from it.

    Raises:
        SiteError: There is no such program, or it may not be executed.
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
            start_new_session=True,  # Ctrl-C at the terminal must reach the driver only
        )
    except FileNotFoundError:
        raise SiteError(
            f"{argv[0]} is not on PATH: jobs cannot be submitted from this host, or a module must be loaded"
        ) from None
    except PermissionError:
        raise SiteError(f"{argv[0]} may not be executed by this user") from None
    except subprocess.TimeoutExpired as error:
        said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
        return Answer(TIMED_OUT, "", f"{argv[0]} did not answer within {timeout:.0f} s. {said}".strip())
    return Answer(done.returncode, done.stdout, done.stderr)
