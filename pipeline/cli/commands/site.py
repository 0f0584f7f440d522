"""``pilotune site``: list and show the machines that studies can run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...studies.formatting import table
from ..lazy_group import LazyGroup
from ..options import SiteName, json_option, set_option
from ..stdout import echo_json, terminal_width

if TYPE_CHECKING:
    from ....providers.site.outline import SiteOutline

SITE_COMMANDS = {
    "list": ("site", "List the known sites, and where their files are."),
    "show": ("site", "Print a site with every default written out."),
    "check": ("site_check", "Send a small block to a site, and check what a campaign needs."),
}
"""Command -> (module in commands/, one line of help)."""


@click.command("site", cls=LazyGroup, table=SITE_COMMANDS, prefix="site_")
def site_command() -> None:
    """Show the machines that studies can run on.

    A site is a computer, described by a YAML file. Site files are searched in the working directory, in the folders of
    PILOTUNE_SITES, in ~/.config/pilotune/sites, and among the shipped ones; the first with the name is used.
    """


@click.command("list")
@json_option
def site_list_command(as_json: bool) -> None:
    """List the sites that can be named with --site, and where their files are.

    NEEDS are the environment variables that the site's file uses and that are not set here.
    """
    from ....providers.site.outline import outlines

    sites = outlines()
    if as_json:
        echo_json([_as_json(site) for site in sites])
        return
    lines = [
        (site.name, site.scheduler or "-", " ".join(site.pools) or "-", " ".join(site.unset) or "-", str(site.path))
        for site in sites
    ]
    click.echo(table(("SITE", "SCHEDULER", "POOLS", "NEEDS", "FILE"), lines, width=terminal_width()))
    for site in sites:
        if site.error:
            click.echo(f"\nerror: {site.error}")


def _as_json(site: SiteOutline) -> dict[str, Any]:
    """A site for ``--json``."""
    return {
        "name": site.name,
        "scheduler": site.scheduler or None,
        "pools": list(site.pools),
        "needs": list(site.unset),
        "path": str(site.path),
        "error": site.error or None,
    }


@click.command("show")
@click.argument("site", type=SiteName())
@set_option
@json_option
def site_show_command(site: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print SITE (a name, or a file) as it would be used: every default written out, variables filled in.

    The output is a valid site file.
    """
    from ....providers.site import load_site, site_json, with_affinity
    from ....yamlfile import dump_yaml

    loaded = with_affinity(load_site(site, overrides))
    given = loaded.source is not None and loaded.source.data.get("runs")
    runs = str(loaded.runs) if given else None  # by default they are beside the study file
    if as_json:
        echo_json({**site_json(loaded), "runs": runs})
        return
    changed = "".join(f" --set {text}" for text in overrides)
    click.echo(f"# {loaded.path}{changed}\n{dump_yaml({**loaded.data(), 'runs': runs})}", nl=False)
