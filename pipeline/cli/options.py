"""Command-line options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class StudyName(click.ParamType[str]):
    """A study's name, or the path of its study file; the shell completes both."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ..record import known_studies

        names = [entry.name for entry in known_studies.all() if entry.name.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if not names or "/" in incomplete else []
        return [CompletionItem(name) for name in names] + files


class SiteName(click.ParamType[str]):
    """A site's name, or the path of its file; the shell completes both."""

    name = "site"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from ...providers.site.locate import find_sites

        names = [name for name in find_sites() if name.startswith(incomplete)]
        files = [CompletionItem(incomplete, type="file")] if not names or "/" in incomplete else []
        return [CompletionItem(name) for name in names] + files


class Setting(click.ParamType[str]):
    """KEY=VALUE of ``--set``; the shell completes the keys."""

    name = "setting"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from .set_keys import complete

        return complete(ctx, incomplete)


def name_argument(required: bool = True) -> Callable[[Any], Any]:
    """NAME, a study that has run before."""
    return click.argument("name", type=StudyName(), required=required)


def study_argument(function: Any) -> Any:
    """STUDY, a study file or a folder with one."""
    return click.argument("study", type=click.Path(dir_okay=True))(function)


def json_option(function: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead.")(function)


def storage_option(function: Any) -> Any:
    return click.option(
        "--storage",
        metavar="URL",
        help="Database of the study: sqlite:///FILE or postgresql://HOST/DB, without a password.",
    )(function)


def metric_option(function: Any) -> Any:
    return click.option("--metric", metavar="NAME", help="Which of several objectives.")(function)


def parameter_option(function: Any) -> Any:
    return click.option(
        "--param",
        "parameters",
        metavar="NAME",
        multiple=True,
        help="Show this parameter (slice, parallel, contour); may be repeated. Default: those that matter most.",
    )(function)


def set_option(function: Any) -> Any:
    return click.option(
        "--set",
        "overrides",
        type=Setting(),
        metavar="KEY=VALUE",
        multiple=True,
        help="Change a key of the study or site file for this run: budget.time=1h, pools.local.workers_per_node=4.",
    )(function)


def site_option(function: Any) -> Any:
    return click.option(
        "--site",
        "sites",
        type=SiteName(),
        metavar="NAME|FILE",
        multiple=True,
        help="Where to run: a site's name (see pilotune site list) or its file; this machine by default. Give it more "
        "than once to run on several sites at once.",
    )(function)


def trials_option(function: Any) -> Any:
    return click.option(
        "--trials", type=click.IntRange(min=1), metavar="N", help="Total number of trials of the study (budget.trials)."
    )(function)


def runs_option(function: Any) -> Any:
    return click.option(
        "--runs",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder of the run directories, on a file system that all nodes see.",
    )(function)


def detach_option(function: Any) -> Any:
    return click.option("--detach", is_flag=True, help="Keep it running in the background, and return.")(function)


def in_job_option(function: Any) -> Any:
    return click.option(
        "--in-job",
        is_flag=True,
        help="Run the driver itself in a batch job, which submits a successor before its walltime ends.",
    )(function)


def yes_option(function: Any) -> Any:
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def quiet_option(function: Any) -> Any:
    return click.option("--quiet", "-q", is_flag=True, help="Show no progress on stderr.")(function)
