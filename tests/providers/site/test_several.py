"""Several sites as one: their pools, and what a setting changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.providers.site import load_sites, render_site

A = "name: {name}\nscheduler: slurm\npools:\n  cpu: {{walltime: 1h}}\n  gpu: {{walltime: 1h, gpus_per_node: 4}}\n"
B = "scheduler: pbs\nruns: /scratch/me\npools:\n  cpu: {walltime: 2h}\n  knl: {walltime: 3h}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(A.format(name="a"))
    (tmp_path / "b.yaml").write_text(B)
    return tmp_path


def said(*names: str, settings: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        load_sites(names, settings)
    return str(caught.value)


def test_pools_that_two_sites_have_are_called_by_site_and_pool():
    both = load_sites(["a", "b"])
    assert (both.name, both.scheduler) == ("a and b", "slurm and pbs")
    assert [pool.name for pool in both.pools] == ["a.cpu", "gpu", "b.cpu", "knl"]
    assert [both.home(pool.name).name for pool in both.pools] == ["a", "a", "b", "b"]
    assert both.runs == Path("/scratch/me"), "of the first site that names a folder"
    assert render_site(both).count("site       ") == 2
    assert [pool.name for pool in load_sites(["b"]).pools] == ["cpu", "knl"], "one site is as before"


def test_a_setting_says_which_site_it_changes():
    settings = ["pools.gpu.walltime=4h", "pools.b.cpu.walltime=5h", "a.pools.cpu.walltime=6h", "b.account=proj"]
    both = load_sites(["a", "b"], settings)
    assert [pool.walltime for pool in both.pools] == [6 * 3600, 4 * 3600, 5 * 3600, 3 * 3600]
    assert [part.account for part in both.parts] == ["", "proj"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "pools.cpu.walltime=1h",
            "--set pools.cpu.walltime: several of the sites have such a pool; write a.pools.cpu.walltime or "
            "b.pools.cpu.walltime",
        ),
        ("account=x", "--set account: it could be of each of the sites; write a.account or b.account"),
        (
            "pools.cpuu.walltime=1h",
            "--set pools.cpuu.walltime: it could be of each of the sites; write a.pools.cpuu.walltime or "
            "b.pools.cpuu.walltime",
        ),
        ("a.pools.cpuu.walltime=1h", "--set pools.cpuu.walltime: there is no pool 'cpuu'; did you mean 'cpu'?"),
    ],
)
def test_a_setting_that_is_not_clear_is_one_sentence(setting: str, message: str):
    assert said("a", "b", settings=(setting,)) == message


def test_a_site_is_used_once(folder: Path):
    assert said("a", "a") == "--site: site a is given twice; a campaign uses each site once"
    assert said("a", "./a.yaml") == "--site: site a is given twice; a campaign uses each site once"
    (folder / "other.yaml").write_text(A.format(name="a"))
    assert said("a", "other") == (
        f"--site: {folder}/a.yaml and {folder}/other.yaml are both named a; give one of them another `name:`"
    )
    assert said("a", "nowhere").startswith("--site: there is no site 'nowhere'")


def test_two_pools_cannot_have_one_name(folder: Path):
    (folder / "c.yaml").write_text("scheduler: slurm\npools: {cpu: {walltime: 1h}, a.cpu: {walltime: 1h}}\n")
    assert said("a", "c") == "--site: the sites have two pools named a.cpu; rename one of them in its site file"
