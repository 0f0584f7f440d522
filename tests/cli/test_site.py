"""The commands ``pilotune site list`` and ``pilotune site show``, and completion of sites."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pilotune.pipeline.cli.commands.site import SITE_COMMANDS
from pilotune.pipeline.cli.options import SiteName
from pilotune.providers.site import load_site, with_affinity

from ..support.cli import Pilotune, alone, pilotune_  # noqa: F401
from .test_main import imported_after

PLAIN = "scheduler: slurm\npools:\n  cpu: {walltime: 1h}\n  off: {walltime: 1h, blocks: {max: 0}}\n"


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of site files of the user's own."""
    folder = tmp_path / "sites"
    folder.mkdir()
    monkeypatch.setenv("PILOTUNE_SITES", str(folder))
    for name in ("PROJECT", "SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "me")
    return folder


@pytest.mark.parametrize("name", [None, *SITE_COMMANDS])
def test_their_help_imports_nothing_heavy(name: str | None) -> None:
    assert imported_after("site", *([name] if name else []), "--help") == "0 []"


def test_help_lists_the_subcommands(pilotune: Pilotune) -> None:
    result = pilotune("site", "--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in SITE_COMMANDS)


def test_an_unknown_subcommand_names_the_nearest(pilotune: Pilotune) -> None:
    result = pilotune("site", "lst")
    assert (result.code, result.out) == (2, "")
    assert "no command 'lst'; did you mean 'list'?; see pilotune site --help" in result.err


def test_the_list_shows_scheduler_pools_and_missing_variables(pilotune: Pilotune, sites: Path) -> None:
    (sites / "mine.yaml").write_text(PLAIN)
    result = pilotune("site", "list")
    assert result.code == 0
    rows = {line.split("  ")[0]: line.split() for line in result.out.splitlines()}
    assert rows["mine"] == ["mine", "slurm", "cpu", "-", str(sites / "mine.yaml")]
    assert rows["perlmutter"][:5] == ["perlmutter", "slurm", "gpu", "PROJECT", "SCRATCH"]
    assert rows["local"][1] == "local"
    assert list(rows) == ["SITE", *sorted(row for row in rows if row != "SITE")]


def test_a_site_that_is_found_first_hides_the_others(pilotune: Pilotune, sites: Path) -> None:
    (sites / "theta.yaml").write_text(PLAIN)
    (theta,) = [site for site in json.loads(pilotune("site", "list", "--json").out) if site["name"] == "theta"]
    assert (theta["scheduler"], theta["pools"], theta["path"]) == ("slurm", ["cpu"], str(sites / "theta.yaml"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scheduler: [", "not valid YAML"),
        ("pools: {cpu: {walltime: 1h}}\n", "scheduler: this key is required"),
        (PLAIN.replace("1h}", "1x}", 1), "broken.yaml:3: pools.cpu.walltime: must be a duration"),
    ],
)
def test_a_broken_file_is_listed_with_its_error(pilotune: Pilotune, sites: Path, text: str, sentence: str) -> None:
    (sites / "broken.yaml").write_text(text)
    result = pilotune("site", "list")
    assert (result.code, result.err) == (0, "")
    assert "\nbroken " in result.out
    assert f"error: {sites / 'broken.yaml'}" in result.out
    assert sentence in result.out
    (found,) = [site for site in json.loads(pilotune("site", "list", "--json").out) if site["error"]]
    assert found["name"] == "broken"
    assert sentence in found["error"]


def test_the_output_of_show_is_a_file_of_the_same_site(pilotune: Pilotune, sites: Path) -> None:
    (sites / "mine.yaml").write_text(PLAIN + "setup: |\n  export A=$B\n")
    text = pilotune("site", "show", "mine", "--set", "pools.cpu.walltime=2h", "--set", "poll=30s").out
    assert text.startswith(f"# {sites / 'mine.yaml'} --set pools.cpu.walltime=2h --set poll=30s\n")
    assert all(f"{key}: " in text for key in ("walltime", "idle", "exclusive", "affinity", "gpu_type", "launcher"))
    (sites / "again.yaml").write_text(text)
    again, before = load_site("again"), load_site("mine", ["pools.cpu.walltime=2h", "poll=30s"])
    assert (again.pools, again.poll, again.setup, again.driver) == (
        with_affinity(before).pools,
        30,
        "export A=$B\n",
        before.driver,
    )


def test_show_in_json_has_seconds_and_bytes(pilotune: Pilotune, sites: Path) -> None:
    (sites / "mine.yaml").write_text(PLAIN.replace("1h}", "1h, memory_per_node: 2GB}", 1))
    data = json.loads(pilotune("site", "show", "mine", "--json").out)
    assert (data["scheduler"], data["runs"], data["poll"], data["driver"]["walltime"]) == ("slurm", None, 60, 86400)
    assert (data["pools"][0]["walltime"], data["pools"][0]["memory_per_node"]) == (3600, 2 * 10**9)


def test_show_names_a_missing_variable_and_an_unknown_site(pilotune: Pilotune, sites: Path) -> None:
    result = pilotune("site", "show", "polaris")
    assert (result.code, result.out) == (2, "")
    assert (
        "account: the environment variable PROJECT is not set; run `export PROJECT=<your project>`, or copy"
        in result.err
    )
    assert "there is no site 'polarsi'; did you mean 'polaris'?" in pilotune("site", "show", "polarsi").err


def test_names_and_files_of_sites_are_completed(sites: Path) -> None:
    (sites / "mine.yaml").write_text(PLAIN)
    complete = SiteName().shell_complete

    assert [item.value for item in complete(None, None, "m")] == ["mine"]  # type: ignore[arg-type]
    assert {"mine", "theta", "slurm-gpu"} <= {item.value for item in complete(None, None, "")}  # type: ignore[arg-type]
    assert [item.type for item in complete(None, None, "./m")] == ["file"]  # type: ignore[arg-type]
