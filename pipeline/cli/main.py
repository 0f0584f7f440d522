"""The program ``pilotune``: its table of commands, and how errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn, TextIO

import click

from ...errors import PilotuneError
from ...filesystems import NO_ROOM
from ...version import __version__
from .lazy_group import LazyGroup

COMMANDS = {
    "init": ("init", "Write a study file and an objective to start from."),
    "check": ("check", "Validate a study without running it, and print the plan."),
    "try": ("try_trial", "Run one trial here, in the foreground, without the database."),
    "run": ("run", "Run a study, or resume it."),
    "resume": ("resume", "Resume a stopped study."),
    "status": ("status", "Show your studies and their campaigns, or one study in detail."),
    "watch": ("watch", "Follow a campaign's progress, from any login node."),
    "stop": ("stop", "End a campaign: after its running trials, or now."),
    "clean": ("clean", "End the blocks that a dead driver left at a scheduler."),
    "best": ("best", "Show the best trial, or the Pareto front."),
    "trials": ("trials", "List the trials, and why failed ones failed."),
    "export": ("export", "Write trials as CSV, JSON or Parquet, or the best parameters."),
    "artifacts": ("artifacts", "List, fetch or delete the files that trials have kept."),
    "build": ("build", "Write the network of a trial as a PyTorch program, or draw it."),
    "ensemble": ("ensemble", "Choose models that predict together, and compare them with the best."),
    "importance": ("importance", "Show which parameters mattered."),
    "plan": ("plan", "Show what trials cost in each pool, and how pools are shared."),
    "report": ("report", "Write a report of one study or several, to send or to print."),
    "plot": ("plot", "Draw a study: its history, parameters, workers, blocks and cost."),
    "dashboard": ("dashboard", "Show a study in a browser, with optuna-dashboard."),
    "copy": ("copy", "Copy a study with all its trials."),
    "rename": ("rename", "Give a study another name."),
    "delete": ("delete", "Delete a study with its trials and run directories."),
    "verify": ("verify", "Check that no result is lost, doubled or altered."),
    "site": ("site", "Show the machines that studies can run on."),
    "completion": ("completion", "Print the completion script for bash or zsh."),
}
"""Command -> (module in commands/, one line of help).

A new command is a module with a click command ``<name>_command``, and a line here. Only the module of the command that
is called is imported."""

PLUGINS = "pilotune.commands"
"""Entry-point group in which other packages offer commands."""

EPILOG = """\b
Exit codes: 0 done; 1 no usable result; 2 usage or input error;
3 site, disk or database failure; 130 stopped by a signal or pilotune stop (continue with pilotune resume NAME).

\b
Completion:  eval "$(pilotune completion bash)"   in ~/.bashrc
             eval "$(pilotune completion zsh)"    in ~/.zshrc
"""


@click.command(
    cls=LazyGroup,
    table=COMMANDS,
    plugins=PLUGINS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "--version", prog_name="pilotune", message="%(prog)s %(version)s")
def cli() -> None:
    """Hyperparameter optimization on supercomputers.

    \b
    pilotune init my-study                 a study file and an objective to start from
    pilotune check my-study/study.yaml     show what would be run
    pilotune try my-study/study.yaml       run one trial on this terminal
    pilotune run my-study/study.yaml       run it here, or elsewhere with --site
    pilotune best my-study                 show the best trial
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: The arguments after the program's name; ``sys.argv`` by default.

    Returns:
        The exit code. Errors are printed on stderr and do not raise.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape characters that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings_to_log():
            code = cli.main(args=None if argv is None else list(argv), prog_name="pilotune", standalone_mode=False)
        flush()
        return code if isinstance(code, int) else 0
    except PilotuneError as error:
        return fail(error, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # `pilotune` and `pilotune site` alone
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return misused(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:  # the reader of the pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        if error.filename is None or error.strerror is None:
            return crashed(error)
        return fail(error, 3 if error.errno in NO_ROOM else 1, f"{error.filename}: {error.strerror}")
    except Exception as error:
        return crashed(error)


def flush() -> None:
    """Write out what was printed. An objective that runs in this process may have taken stdout away."""
    if sys.stdout is not None:
        sys.stdout.flush()


def debugging() -> bool:
    """Whether ``PILOTUNE_DEBUG`` asks for tracebacks."""
    return os.environ.get("PILOTUNE_DEBUG", "") not in ("", "0")


@contextlib.contextmanager
def warnings_to_log() -> Iterator[None]:
    """Inside, Python's warnings go to the log, which is driver.log in a campaign, and not to the terminal.

    They are written for the developers of libraries, such as Optuna's about a distribution. ``PILOTUNE_DEBUG``,
    ``PYTHONWARNINGS`` and ``python -W`` bring them back.
    """
    if debugging() or sys.warnoptions:
        yield
        return
    with warnings.catch_warnings():
        warnings.showwarning = log_warning
        yield


def log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write a warning to the log ``py.warnings``, as ``logging.captureWarnings`` does, but import logging only now."""
    import logging

    log = logging.getLogger("py.warnings")
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # else logging prints it on stderr where no log file is open
    log.warning("%s", warnings.formatwarning(message, category, filename, lineno, line).rstrip())


def fail(error: Exception, code: int, text: str = "") -> int:
    """Print an expected error, one line for each sentence, and return the exit code."""
    if debugging():
        import traceback

        traceback.print_exception(error)
    for sentence in (text or str(error)).splitlines():
        click.echo(f"error: {sentence}", err=True)
    return code


def misused(error: click.ClickException) -> int:
    """Print what is wrong with the command line, and return the exit code."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"; see {context.command_path} --help" if context is not None else ""
    text = error.format_message().rstrip(".")
    click.echo(f"error: {text[:1].lower()}{text[1:]}{hint}", err=True)
    return error.exit_code


def crashed(error: Exception) -> int:
    """Print an unexpected error as one sentence, and keep its traceback in a file for a bug report."""
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
    """Run ``pilotune`` and exit. Signals during the interpreter's shutdown are ignored, to keep the exit code."""
    code = main()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    program()
