"""Each shipped site file loads, names its sources, and has comments for those who edit it."""

from __future__ import annotations

import re

import pytest

from pilotune.errors import UserError
from pilotune.providers.site import SHIPPED, load_site

FILES = {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}
TO_START_FROM = {"local", "slurm", "slurm-gpu", "pbs", "cobalt"}
MACHINES = {"theta": "cobalt", "polaris": "pbs", "aurora": "pbs", "perlmutter": "slurm", "frontier": "slurm"}


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"PROJECT": "proj", "SCRATCH": "/scratch", "USER": "me"}.items():
        monkeypatch.setenv(name, value)
    for name in ("SBATCH_ACCOUNT", "PBS_ACCOUNT", "COBALT_PROJ", "PILOTUNE_SITES", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_they_are_these():
    assert set(FILES) == TO_START_FROM | set(MACHINES)


@pytest.mark.parametrize("name", FILES)
def test_each_loads_under_its_name_with_a_pool_that_is_on(name):
    site = load_site(FILES[name])
    assert site.name == name
    assert site.scheduler == MACHINES.get(name, name.partition("-")[0])
    assert any(pool.is_on for pool in site.pools)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"local"}))
def test_each_shows_how_to_try_it_and_that_nothing_is_burnt_at_first(name):
    head = re.match(r"(#.*\n)+", FILES[name].read_text())[0]
    assert f"pilotune run study.yaml --site {name} --dry-run" in head
    site = load_site(FILES[name])
    assert len([pool for pool in site.pools if pool.is_on]) == 1
    assert all(pool.blocks.min == 0 and pool.blocks.max <= 2 for pool in site.pools)


@pytest.mark.parametrize("name", FILES)
def test_every_line_that_is_commented_out_is_valid(name, tmp_path):
    """Lines such as ``# cores_per_node: 64   # why`` can be uncommented one by one."""
    lines = FILES[name].read_text().splitlines()
    keys = (
        r"account|modules|network|runs|poll|driver|queue|cores_per_node|gpus_per_node|gpu_type|memory_per_node|affinity"
    )
    tried = 0
    for number, line in enumerate(lines):
        commented = re.match(rf"( *)# ((?:{keys}): .*)$", line)
        if commented:
            text = "\n".join([*lines[:number], commented[1] + commented[2], *lines[number + 1 :]])
            (tmp_path / "tried.yaml").write_text(text)
            load_site(tmp_path / "tried.yaml")
            tried += 1
    assert tried or name in MACHINES


@pytest.mark.parametrize("name", MACHINES)
def test_a_real_machine_names_the_pages_and_when_they_were_read(name):
    head = re.match(r"(#.*\n)+", FILES[name].read_text())[0]
    assert re.search(r"https://docs\.|github\.com/", head)
    assert re.search(r"read in [A-Z][a-z]+ 20\d\d", head)


@pytest.mark.parametrize("name", MACHINES)
def test_a_real_machine_asks_for_the_project_by_name(name, monkeypatch):
    monkeypatch.delenv("PROJECT")
    with pytest.raises(UserError) as caught:
        load_site(FILES[name])
    assert str(caught.value).startswith(f"{FILES[name]}:")
    assert "account: the environment variable PROJECT is not set" in str(caught.value)


@pytest.mark.parametrize("name", MACHINES)
def test_its_switches_in_the_head_work_as_written(name):
    """``--set pools.debug.blocks.max=1 --set pools.X.blocks.max=0`` leaves only the debug pool on."""
    (line,) = {line for line in FILES[name].read_text().splitlines() if "pools.debug.blocks.max=1" in line}
    site = load_site(FILES[name], re.findall(r"--set (\S+)", line))
    assert [pool.name for pool in site.pools if pool.is_on] == ["debug"]


@pytest.mark.parametrize(
    ("name", "workers", "gpu_type"),
    [("polaris", 4, "nvidia"), ("aurora", 12, "intel"), ("perlmutter", 4, "nvidia"), ("frontier", 8, "amd")],
)
def test_each_gpu_of_a_node_has_a_worker_with_cores_of_its_own(name, workers, gpu_type):
    for pool in load_site(FILES[name]).pools:
        if not pool.gpus_per_node:
            continue
        assert (pool.workers_per_node, pool.gpu_type) == (workers, gpu_type)
        groups = [cores_of(part) for part in pool.affinity.removeprefix("list:").split(":")]
        assert len({len(group) for group in groups}) == 1
        assert len(set().union(*groups)) == sum(len(group) for group in groups)


def cores_of(part: str) -> set[int]:
    cores: set[int] = set()
    for piece in part.split(","):
        first, _, last = piece.partition("-")
        cores |= set(range(int(first), int(last or first) + 1))
    return cores
