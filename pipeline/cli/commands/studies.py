"""``init`` and ``check``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ....errors import UserError
from ..formatting import echo_json
from ..options import json_option, runs_option, set_option, site_option, storage_option, study_argument, trials_option

TEMPLATES = Path(__file__).parent.with_name("templates")


@click.command("init")
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--name", metavar="NAME", help="The study's name; default: the folder's.")
def init_command(folder: Path, name: str | None) -> None:
    """Write a study file and an objective to start from into DIR (default: here). They run at once.

    Nothing is overwritten.
    """
    files = sorted(path for path in TEMPLATES.iterdir() if path.is_file() and path.suffix in (".py", ".yaml"))
    for file in files:
        if (folder / file.name).exists():
            message = "it exists and is not overwritten; give another folder: pilotune init DIR"
            raise UserError(message, file=folder / file.name)
    from ....yamlfile import dump_yaml

    title = dump_yaml([name or name_of(folder)]).strip()[1:-1]  # in quotes where YAML would take it for something else
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        text = file.read_text()
        if file.suffix == ".yaml":
            text = re.sub(r"^name: .*$", lambda _: f"name: {title}", text, count=1, flags=re.MULTILINE)
        with open(folder / file.name, "x", encoding="utf-8") as out:
            out.write(text)
    study = folder / "study.yaml"
    written = " and ".join(str(folder / file.name) for file in files)
    click.echo(f"wrote {written}\n\npilotune check {study}    what would be run\npilotune run {study}      run it here")


def name_of(folder: Path) -> str:
    """The folder's name as a study's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().resolve().name).strip("-._") or "first-study"


@click.command("check")
@study_argument
@site_option
@storage_option
@trials_option
@set_option
@runs_option
@json_option
def check_command(
    study: str,
    site: str | None,
    storage: str | None,
    trials: int | None,
    overrides: tuple[str, ...],
    runs: Path | None,
    as_json: bool,
) -> None:
    """Validate the study in the file STUDY and the site, and print the plan: space, sampler, brackets, blocks.

    Nothing is run, started or written.
    """
    from ....providers.site import render_site, site_json
    from ...studyfile import plan, render_plan
    from ..resolve import prepare

    prepared = prepare(study, site, storage, overrides, trials=trials, runs=runs)
    laid_out = plan(prepared.study_file)
    if not as_json:
        storage_line = f"storage    {prepared.storage}"
        click.echo("\n".join([render_plan(laid_out), "", render_site(prepared.site), storage_line]))
        return
    echo_json(
        {
            "study": laid_out.to_json(),
            "site": site_json(prepared.site),
            "storage": prepared.storage,
            "runs": str(prepared.runs),
        }
    )
