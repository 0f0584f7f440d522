"""``pilotune site check``: send a small block through the real queue, and check what a campaign needs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....grammar import count
from ..options import SiteName, json_option, runs_option, set_option
from ..stdout import echo_json, terminal_width

if TYPE_CHECKING:
    from ....providers.check.facts import Finding
    from ....providers.site import Site

FOLDER = "site-check"
"""Folder of the checks' run directories, beside those of the studies."""

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


class Duration(click.ParamType[float]):
    """A duration in seconds, written as in study files: ``90s``, ``30m``, ``1h30m``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from ....fields import duration

        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("check")
@click.argument("site", type=SiteName())
@click.option(
    "--pool",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this pool, even if it is switched off; may be repeated.",
)
@click.option(
    "--walltime",
    type=Duration(),
    default="10m",
    show_default=True,
    help="Walltime of the block; the pool's own if that is shorter.",
)
@click.option("--wait", type=Duration(), default="10m", show_default=True, help="How long the block may be queued.")
@click.option("--storage", metavar="URL", help="The database to check; default: SQLite in the run directory.")
@runs_option
@set_option
@json_option
def site_check_command(
    site: str,
    names: tuple[str, ...],
    walltime: float,
    wait: float,
    storage: str | None,
    runs: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Send a small block to each pool of SITE (a name, or a file) through the real queue, and check what a campaign
    needs: submission, set-up, versions, network, hardware, clocks, file systems, database.

    The block has one node, or two if the pool's blocks have several, and ends after the check. The exit code is 3 if a
    check failed, and 0 if there are only warnings.
    """
    from ....providers.site import load_site

    loaded = load_site(site, overrides)
    pools = [loaded.pool(name) for name in names] or [pool for pool in loaded.pools if pool.is_on]
    folder = runs_folder(loaded, runs)
    from ....providers.check.facts import State
    from ....providers.check.watch import ProbeLimits
    from ...record import RunDirectory, new_campaign_id

    name = new_campaign_id()
    run = RunDirectory(folder / FOLDER / name)
    found = run_checks(loaded, pools, run, storage, ProbeLimits(walltime, wait))
    failed = any(each.state == State.FAILED for each in found)
    if not failed:
        remove(run.path)
    if as_json:
        echo_json(
            {
                "site": loaded.name,
                "scheduler": loaded.scheduler,
                "ok": not failed,
                "findings": [{**dataclasses.asdict(each), "pool": each.pool or None} for each in found],
                "run_dir": str(run.path) if failed else None,
            }
        )
    else:
        where = f"Job scripts and output are kept in {run.path}" if failed else ""
        click.echo(render(f"site {loaded.name} ({loaded.scheduler}), {loaded.path}", found, where, terminal_width()))
    return 3 if failed else 0


def runs_folder(site: Site, given: Path | None) -> Path:
    """The folder in which a study's run directories would be."""
    if given is not None:
        return given.absolute()
    own = site.source is not None and site.source.data.get("runs")
    fallback = os.environ.get("PILOTUNE_RUNS")
    return Path(fallback).expanduser().absolute() if fallback and not own else site.runs


def run_checks(site: Site, pools: Sequence[Any], run: Any, storage: str | None, order: Any) -> list[Finding]:
    """Check the site, then each pool; returns all findings in that order."""
    from sqlalchemy.engine import URL

    from ...driver.run import logging_to, private_files
    from ...record import normalize_url
    from ...record.password import hidden_password
    from ...studies.resolve import given_url, require_folder

    default = URL.create("sqlite", database=str(run.path / "study.db")).render_as_string()
    url = given_url(storage) if storage else normalize_url(default)
    if storage:
        require_folder(url, "--storage")
    run.create()
    with hidden_password(), private_files(), logging_to(run.log), interruptible():
        from ....providers.check.run import check_site
        from ....providers.htex.pool import PoolFiles

        files = PoolFiles(run.parsl, run.blocks, run.jobs, run.channel_key)
        label = f"{FOLDER}-{run.path.name[-6:]}"
        kept = check_database(url, "" if storage else f"SQLite in {run.path.parent.parent}")
        found = [kept, *check_site(site, pools, files, label, order, lambda text: click.echo(text, err=True))]
    return sorted(found, key=lambda each: (each.pool != "", each.name == "database"))


def check_database(url: str, name: str = "") -> Finding:
    """Check that studies can be kept in a database: create one, read it, and delete it.

    Args:
        url: The database.
        name: What to call it in the finding, instead of ``url``.
    """
    import secrets

    from optuna.study import StudyDirection
    from sqlalchemy.engine import make_url

    from ....errors import PilotuneError
    from ....filesystems import filesystem_of
    from ....providers.check.facts import Finding, State
    from ...analysis import safe_url
    from ...record import open_storage

    parsed, study = make_url(url), f"{FOLDER}-{secrets.token_hex(8)}"
    path = Path(parsed.database or "") if parsed.drivername == "sqlite" else None
    there = path is None or path.exists()
    try:
        kept = open_storage(url)
        made = kept.create_new_study([StudyDirection.MINIMIZE], study)
        same = kept.get_study_id_from_name(study) == made
        kept.delete_study(made)
        kept.close()
    except PilotuneError as error:
        return Finding("database", State.FAILED, str(error))
    finally:
        if path is not None and not there:
            for each in (path, *(path.with_name(f"{path.name}-{tail}") for tail in ("wal", "shm", "journal"))):
                each.unlink(missing_ok=True)
    shown = name or safe_url(url)
    mount = filesystem_of(path) if path is not None else None
    if not same:
        return Finding("database", State.FAILED, f"{shown}: what was read is not what was written")
    if mount is not None and mount.network:
        return Finding(
            "database",
            State.WARNING,
            f"{shown} works, but lies on {mount.name} ({mount.point}), whose locks SQLite cannot rely on: use "
            "postgresql://HOST/DATABASE, or a file on a local disk of this host, as in "
            "--storage sqlite:////var/tmp/study.db",
        )
    on = f" on {mount.name} ({mount.point})" if mount is not None else ""
    return Finding("database", State.OK, f"{shown}{on}: a study was written, read and deleted")


def render(title: str, found: Sequence[Finding], where: str, width: int | None) -> str:
    """The findings as a table, with long lines wrapped if ``width`` (the terminal's) is given."""
    from ....providers.check.findings import CHECKS

    size, pool, lines = max(len(each.name) for each in found), "", [title]
    for each in found:
        if each.pool != pool:
            pool = each.pool
            lines += ["", f"pool {pool}"]
        head = f"{each.name:<{size}}  {each.state:<7}  "
        texts = textwrap.wrap(each.text, max(30, width - len(head))) if width else [" ".join(each.text.split())]
        shown = click.style(f"{each.state:<7}", fg=COLOURS[each.state])
        lines.append(f"{each.name:<{size}}  {shown}  {texts[0]}")
        lines += [" " * len(head) + text for text in texts[1:]]
    lines.append("")
    for name in dict.fromkeys(each.pool for each in found if each.pool):
        seen = {each.name for each in found if each.pool == name}
        if "Python" not in seen:
            unseen = ", ".join(each for each in CHECKS if each not in seen)
            lines.append(f"pool {name}: not checked, since no worker came: {unseen}")
    counts = {state: sum(each.state == state for each in found) for state in COLOURS}
    lines.append(f"{counts['ok']} ok, {count(counts['warning'], 'warning')}, {counts['failed']} failed")
    return "\n".join([*lines, where] if where else lines)


def remove(folder: Path) -> None:
    """Remove the check's folder, and the folders above it if they are empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End the check at the first Ctrl-C, SIGTERM or SIGHUP; ignore further ones until its blocks are cancelled."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    received: list[int] = []

    def end(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) > 1:
            click.echo("the blocks are being cancelled", err=True)
            return
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
