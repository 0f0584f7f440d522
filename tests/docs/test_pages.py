"""The pages to start with, and those on how to do something: their files and commands work, and all links lead on."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from pilotune.pipeline.cli.main import cli

from ..support.local import Here
from ..support.pages import DOCS, run_page

REPOSITORY = DOCS.parent

TO_SLURM = {"start/cluster.md", "how-to/several-nodes.md"}
"""Pages whose jobs go to a real Slurm, see tests/system/schedulers/test_pages.py."""

TO_READ = {"how-to/method.md"}
"""Pages without commands."""

LOCAL = {
    "start/laptop.md": [
        "the budget of 60 trials is used up",
        "the budget of 80 trials is used up",
        "No problems found.",
    ],
    "how-to/checkpoints.md": ["interrupted"],
    "how-to/artifacts.md": ["copied artifacts of 1 trial", "model.json"],
    "how-to/gpus.md": ["--gpus-per-node=4", "used: 4 trials at a time in a block"],
    "how-to/architectures.md": [
        "3,655,808 networks",
        "where net_parameters <= 9000",
        "wrote a program of the network of",
        "graph of 2 variables in 3 nodes, 9 networks",
    ],
    "how-to/several-ranks.md": ["study    two-ranks", "study    sharded", "3: 3 complete"],
    "how-to/ensembles.md": [
        "that the selection has not seen",
        "wrote the ensemble of",
        "unknown: more where there are no data",
    ],
    "how-to/retrain.md": ["loss on the test data: 1."],
    "how-to/failures.md": ["ValueError: three layers do not fit", "it fails here too"],
}
"""By page that runs on this machine, what its commands print, among other things."""


LONG = ("how-to/architectures.md", "how-to/artifacts.md", "how-to/several-ranks.md", "how-to/failures.md")


@pytest.mark.real
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.exhaustive) if page in LONG else page for page in LOCAL]
)
def test_the_files_and_commands_of_a_page_work(page: str, tmp_path: Path) -> None:
    printed = run_page(page, Here(tmp_path))
    assert [words for words in LOCAL[page] if words not in printed] == [], printed


def test_every_such_page_is_run() -> None:
    pages = {path.relative_to(DOCS).as_posix() for folder in ("start", "how-to") for path in (DOCS / folder).glob("*")}
    assert pages == set(LOCAL) | TO_SLURM | TO_READ


def commands() -> list[tuple[str, str]]:
    """Each command line of Pilotune that stands on a line of its own on any page, with the page's path."""
    pages = [REPOSITORY / "README.md", REPOSITORY / "examples/README.md", *sorted(DOCS.rglob("*.md"))]
    return [
        (page.relative_to(REPOSITORY).as_posix(), line.strip())
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r"(    )?pilotune [a-z]", line)
    ]


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_line_of_a_page_is_one(page: str, line: str) -> None:
    words = shlex.split(re.split(r"\s+(?:#|\|\|)", line)[0])[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="pilotune")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command, context = found, click.Context(found, info_name=found.name, parent=context)
    names = {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words if re.match("--?[a-z]", word) and word.split("=")[0] not in names] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as a site; a link that leads nowhere is an error, and so is a page that none leads to."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, env={"NO_MKDOCS_2_WARNING": "1"})
    assert built.returncode == 0, built.stderr
    return folder


def test_the_site_has_pages_from_all_of_the_repository(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "help.html", "benchmarks/RESULTS.html", "CHANGELOG.html", "start/laptop.html"} <= pages
    help_page = (site / "help.html").read_text(encoding="utf-8")
    assert "pilotune site check" in help_page
    assert "--dry-run" in help_page


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"<(?:script|img|link)[^>]*(?:src|href)=\"?(https?:)?//", re.IGNORECASE)
    found = [path.name for path in site.rglob("*.html") if loaded.search(path.read_text(encoding="utf-8"))]
    assert found == []
