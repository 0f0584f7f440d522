"""``pilotune dashboard``: show a study in a browser."""

from __future__ import annotations

import os
import socket
from typing import Any

import click

from ..options import name_argument, storage_option


@click.command("dashboard")
@name_argument(required=False)
@storage_option
@click.option("--port", type=click.IntRange(1, 65_535), metavar="PORT", help="Default: a free one.")
@click.option("--ipv6", is_flag=True, help="Listen on ::1 instead of 127.0.0.1.")
@click.option("--write", is_flag=True, help="Allow changes: notes, new studies, deletion.")
@click.option("--all", "everything", is_flag=True, help="Show all studies of the database.")
def dashboard_command(
    name: str | None, storage: str | None, port: int | None, ipv6: bool, write: bool, everything: bool
) -> int:
    """Show the study NAME in a browser, with optuna-dashboard, until Ctrl-C.

    It listens on this host only, and only the URL that is printed lets a browser in. From another computer, the line
    with ssh makes a tunnel to it. It changes nothing, unless --write is given. It needs pip install
    'pilotune[dashboard]'.
    """
    from ...analysis.reading import read_study, stored_study
    from ...record.rundir import user_name
    from ...studies.resolve import resolve_study
    from ..dashboard.serve import check_installed, serve

    study = resolve_study(name, storage)
    check_installed()
    if stored_study(study.storage, study.name) is None:
        read_study(study.storage, study.name)  # raises the sentence that says what there is instead

    def tell(url: str, port: int) -> None:
        click.echo(url)
        address = "[::1]" if ipv6 else "127.0.0.1"
        user, host = user_name(os.geteuid()), socket.gethostname()
        click.echo(f"from another computer, first: ssh -L {port}:{address}:{port} {user}@{host}")
        click.echo(f"{'changes are allowed' if write else 'read-only'}; Ctrl-C ends it", err=True)

    shown = None if everything else study.name
    serve(opened(study.storage, shown, write), study.name, tell, address="::1" if ipv6 else "127.0.0.1",
          port=port or 0, write=write)  # fmt: skip
    return 0


def opened(url: str, name: str | None, write: bool) -> Any:
    """The storage that the dashboard reads.

    Args:
        url: The database.
        name: The only study that is shown; None shows all.
        write: It may be changed.
    """
    if write:
        from ..dashboard.writable import WritableStorage

        return WritableStorage(url, name)
    from ..dashboard.storage import ReadOnlyStorage

    return ReadOnlyStorage(url, name)
