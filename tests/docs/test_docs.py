"""README and docs agree with the code: keys, options, fields, dependencies, and an example that loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pilotune.pipeline.cli.lazy_group import LazyGroup
from pilotune.pipeline.cli.main import COMMANDS, cli
from pilotune.pipeline.fidelity import pruner_names
from pilotune.pipeline.fidelity.registry import pruner_arguments
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.studyfile.keep import KeepOptions
from pilotune.pipeline.studyfile.schema import Budget, Command, StartFrom, StudySchema, TrialOptions
from pilotune.pipeline.suggest import sampler_names
from pilotune.pipeline.suggest.registry import sampler_arguments
from pilotune.pipeline.worker.command.template import FIELDS
from pilotune.providers.check.findings import CHECKS
from pilotune.providers.schedulers.launchers import LAUNCHERS
from pilotune.providers.site import SHIPPED
from pilotune.providers.site.schema import BlocksSchema, DriverJob, NetworkSchema, PoolSchema, SiteSchema

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FOLDER = REPOSITORY / "docs"
DOCS = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.md")}
PAGES = {"README.md": README, "examples/README.md": (REPOSITORY / "examples/README.md").read_text(encoding="utf-8")}
PAGES |= {f"docs/{name}": text for name, text in DOCS.items()}


def section(page: str, title: str) -> str:
    """The part of a page under the heading ``title``."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCS[page], flags=re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_readmes_study_file_is_a_valid_one(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "train.py").write_text("def train(trial): ...\n", encoding="utf-8")
    (tmp_path / "study.yaml").write_text(block, encoding="utf-8")
    study_file = load_study_file(tmp_path / "study.yaml")
    assert study_file.name == "digits"
    assert study_file.space.names == ["lr", "layers", "units", "optimizer", "momentum", "epochs"]


@pytest.mark.parametrize(
    ("page", "title", "keys"),
    [
        ("study-file.md", "Keys", StudySchema.model_fields),
        ("study-file.md", "`budget`", Budget.model_fields),
        ("study-file.md", "`trial`", TrialOptions.model_fields),
        ("study-file.md", "`trial.keep`", KeepOptions.model_fields),
        ("study-file.md", "`start_from`", StartFrom.model_fields),
        ("study-file.md", "`command`", Command.model_fields),
        ("sites.md", "Keys", SiteSchema.model_fields),
        ("sites.md", "`network`", NetworkSchema.model_fields),
        ("sites.md", "`pools`", PoolSchema.model_fields),
        ("sites.md", "`blocks`", BlocksSchema.model_fields),
        ("sites.md", "`driver`", DriverJob.model_fields),
        ("sites.md", "`launcher`", LAUNCHERS),
    ],
)
def test_every_key_of_a_file_has_a_row_and_no_other_key_has_one(page, title, keys):
    rows = re.findall(r"^\| `(\w+)` \|", section(page, title), flags=re.MULTILINE)
    assert sorted(rows) == sorted(keys)


def test_every_line_of_a_sites_check_is_documented():
    rows = re.findall(r"^\| ([^|]*) \|", section("sites.md", "Checking a site"), flags=re.MULTILINE)
    names = [name for row in rows[2:] for name in row.split(", ")]
    assert names == ["scheduler", "space", "database", *CHECKS, "end"]


def test_every_shipped_site_is_documented():
    text = section("sites.md", "Which file")
    assert [path.name for path in SHIPPED.glob("*.yaml") if f"`{path.stem}`" not in text] == []


@pytest.mark.parametrize(
    ("title", "names", "arguments"),
    [("`sampler`", sampler_names(), sampler_arguments), ("`pruner`", pruner_names(), pruner_arguments)],
)
def test_every_sampler_and_pruner_is_documented_with_its_arguments(title, names, arguments):
    text = section("study-file.md", title)
    for name in names:
        assert f"`{name}`" in text
        missing = [argument for argument in arguments(name) if argument not in text and "warn_" not in argument]
        assert not missing, name


def test_every_command_and_option_is_documented():
    text = DOCS["command-line.md"]
    commands = [(name, cli.get_command(None, name)) for name in COMMANDS]
    inner = [(name, group) for name, group in commands if isinstance(group, LazyGroup)]
    commands += [(f"{name} {each}", group.get_command(None, each)) for name, group in inner for each in group.table]
    for name, command in commands:
        assert f"pilotune {name}" in text
        options = [text for p in command.params for text in (*p.opts, *p.secondary_opts) if text.startswith("--")]
        assert [option for option in options if option not in text] == [], name


def test_every_field_of_a_command_is_documented():
    assert [name for name in FIELDS if f"`{{{name}}}`" not in DOCS["objectives.md"]] == []


def test_the_readme_gives_the_range_of_every_dependency():
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| ([\w\[\]-]+) \| (>=[^|]*) \|", README, flags=re.MULTILINE))
    wanted = dict(re.fullmatch(r"([\w\[\]-]+)(.*)", text).groups() for text in data["project"]["dependencies"])
    assert {name: text.replace(" ", "") for name, text in rows.items()} == wanted


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_leads_to_an_existing_file_and_heading(page):
    for target in re.findall(r"\]\(([^)#]*)(?:#[\w-]+)?\)", PAGES[page]):
        assert (REPOSITORY / page).parent.joinpath(target).exists(), target
    for target, anchor in re.findall(r"\]\(([^)#]*)#([\w-]+)\)", PAGES[page]):
        text = (REPOSITORY / page).parent.joinpath(target).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
