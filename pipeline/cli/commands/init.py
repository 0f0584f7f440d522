"""``pilotune init``: write a study file and an objective to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ....errors import UserError
from ...studies.formatting import pairs
from ..output_file import writing

TEMPLATES = Path(__file__).parent.with_name("templates")
"""Folder of the files that are written."""


@click.command("init")
@click.argument("folder", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--name", metavar="NAME", help="The study's name; default: the folder's.")
def init_command(folder: Path, name: str | None) -> None:
    """Write a study file and an objective into DIR (default: the current folder). They run as they are.

    Existing files are not overwritten.
    """
    files = sorted(path for path in TEMPLATES.iterdir() if path.is_file() and path.suffix in (".py", ".yaml"))
    for file in files:
        if (folder / file.name).exists():
            message = "the file exists and is not overwritten; give another folder: pilotune init DIR"
            raise UserError(message, file=folder / file.name)
    from ....yamlfile import dump_yaml

    title = dump_yaml([name or name_of(folder)]).strip()[1:-1]  # quoted if YAML would read it as a number, say
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        text = file.read_text()
        if file.suffix == ".yaml":
            text = re.sub(r"^name: .*$", lambda _: f"name: {title}", text, count=1, flags=re.MULTILINE)
        with writing(folder / file.name), open(folder / file.name, "x", encoding="utf-8") as out:
            out.write(text)
    study = folder / "study.yaml"
    written = " and ".join(str(folder / file.name) for file in files)
    commands = {"check": "show the plan", "try": "run one trial on this terminal", "run": "run it here"}
    calls = [(f"pilotune {command} {study}", what) for command, what in commands.items()]
    click.echo(f"wrote {written}\n\n{pairs(calls)}")


def name_of(folder: Path) -> str:
    """The folder's name with every character replaced that a study's name may not have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().resolve().name).strip("-._") or "first-study"
