"""``pilotune``: the group of commands, and how errors become sentences and exit codes."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from ... import __version__
from ...errors import PilotuneError
from ...filesystems import NO_ROOM
from .lazy_group import Commands

COMMANDS = {
    "init": ("studies", "Write a study file and an objective that run at once."),
    "check": ("studies", "Validate a study without running it, and print the plan."),
    "run": ("run", "Run a study, or go on with it."),
    "status": ("status", "Show this user's studies and campaigns, or one in detail."),
    "watch": ("watch", "Follow a campaign's progress, from any login node."),
    "stop": ("stop", "End a campaign: after its running trials, or now."),
    "clean": ("clean", "End the blocks that a dead driver left at a scheduler."),
    "resume": ("run", "Go on with a study where it stopped."),
    "best": ("results", "Show the best trial, or the Pareto front."),
    "trials": ("results", "List the trials, with the reason of those that failed."),
    "export": ("results", "Write trials as CSV, JSON or Parquet, or the best parameters."),
    "importance": ("results", "Show which parameters mattered."),
    "verify": ("verify", "Check that nothing of a study is lost, doubled or altered."),
    "site": ("site", "Show the machines that studies can run on."),
    "completion": ("completion", "Print the completion script for bash or zsh."),
}
"""Command -> (module in commands/, one line of help). Only the module of the command that is called is imported."""

EPILOG = """\b
Exit codes: 0 done; 1 ended without what was asked; 2 a mistake in what was given;
3 the site refused (or a disk, or the database); 130 stopped by a signal (pilotune resume NAME goes on).

\b
Completion:  eval "$(pilotune completion bash)"   in ~/.bashrc
             eval "$(pilotune completion zsh)"    in ~/.zshrc
"""


@click.command(cls=Commands, table=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="pilotune", message="%(prog)s %(version)s")
def cli() -> None:
    """Hyperparameter optimization on supercomputers.

    \b
    pilotune init my-study                 a study file and an objective to start from
    pilotune check my-study/study.yaml     what would be run
    pilotune run my-study/study.yaml       run it here, or elsewhere with --site
    pilotune best my-study                 what came out
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default); returns the exit code, and never raises for a mistake."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal has no letters for is escaped: names of files, say
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=None if argv is None else list(argv), prog_name="pilotune", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except PilotuneError as error:
        return fail(error, error.exit_code)
    except click.ClickException as error:
        return misused(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away; nothing is wrong, and nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.filename is None or error.strerror is None:
            return crashed(error)
        return fail(error, 3 if error.errno in NO_ROOM else 1, f"{error.filename}: {error.strerror}")
    except Exception as error:
        return crashed(error)


def debugging() -> bool:
    return os.environ.get("PILOTUNE_DEBUG", "") not in ("", "0")


def fail(error: Exception, code: int, text: str = "") -> int:
    """Print an expected error as one sentence."""
    if debugging():
        import traceback

        traceback.print_exception(error)
    for sentence in (text or str(error)).splitlines():
        click.echo(f"error: {sentence}", err=True)
    return code


def misused(error: click.ClickException) -> int:
    """Print what is wrong with the command line itself."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; see {context.command_path} --help" if context is not None else ""
    text = error.format_message().rstrip(".")
    click.echo(f"error: {text[:1].lower()}{text[1:]}{hint}", err=True)
    return error.exit_code


def crashed(error: Exception) -> int:
    """Print an unexpected error as one sentence, and keep the traceback in a file for a report."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    if debugging():
        where = "its traceback is above"
        click.echo(text, err=True)
    else:
        try:
            with tempfile.NamedTemporaryFile("w", prefix="pilotune-", suffix=".txt", delete=False) as file:
                file.write(text)
            where = f"its traceback is in {file.name} (PILOTUNE_DEBUG=1 prints it)"
        except OSError:  # the temporary folder may be full as well
            where = "PILOTUNE_DEBUG=1 prints its traceback"
    line = (str(error).splitlines() or [""])[0]
    click.echo(f"error: Pilotune failed unexpectedly with {type(error).__name__}: {line}; {where}", err=True)
    return 70


def program() -> NoReturn:
    """The process ``pilotune``. A Ctrl-C while the interpreter ends does not take the place of the exit code."""
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    program()
