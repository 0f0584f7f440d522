import json
import math
import os
from dataclasses import replace

import pytest

from pilotune.errors import UserError
from pilotune.providers.site import (
    BlockCounts,
    DriverJob,
    Network,
    PoolSpec,
    find_sites,
    load_site,
    node_hours,
    render_site,
    site_json,
)

THETA = """\
name: theta
scheduler: cobalt
account: ${PROJECT}
modules: [conda, pilotune]
setup: |
  conda activate ${BASE:-base}
  export A=${UNSET_HERE}
network: {interface: ipogif0}
runs: ${SCRATCH}/pilotune
pools:
  knl:
    queue: default
    walltime: 3h
    blocks: {init: 1, min: 0, max: 4}
    nodes_per_block: 128
    workers_per_node: 1
    cores_per_node: 64
    gpus_per_node: 0
    memory_per_node: 192GB
    launcher: aprun
    options: ["#COBALT --attrs mcdram=cache:numa=quad"]
"""
PLAIN = "scheduler: slurm\npools:\n  cpu: {walltime: 1h}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working directory and an empty home."""
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("PILOTUNE_SITES", raising=False)
    monkeypatch.setenv("PROJECT", "materials")
    monkeypatch.setenv("SCRATCH", "/lus/me")
    monkeypatch.delenv("UNSET_HERE", raising=False)
    return tmp_path


def write(folder, text, name="site.yaml"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_local_needs_no_file(home):
    site = load_site("local")
    cores = len(os.sched_getaffinity(0))
    assert (site.name, site.scheduler, site.runs) == ("local", "local", home / "work" / "pilotune-runs")
    (pool,) = site.pools
    assert pool == PoolSpec("local", workers_per_node=cores, cores_per_node=cores, gpus_per_node=pool.gpus_per_node)
    assert (pool.blocks, pool.launcher) == (BlockCounts(1, 0, 1), "single")
    assert node_hours(pool) == math.inf
    assert load_site() == site


def test_every_key_of_a_site_file_is_understood(home):
    site = load_site(write(home, THETA))
    assert (site.name, site.scheduler, site.account) == ("theta", "cobalt", "materials")
    assert str(site.runs) == "/lus/me/pilotune"
    assert site.network == Network("ipogif0", "")
    assert site.pool("knl") == PoolSpec(
        name="knl", queue="default", walltime=10800, blocks=BlockCounts(1, 0, 4), nodes_per_block=128,
        workers_per_node=1, cores_per_node=64, gpus_per_node=0, memory_per_node=192 * 10**9, launcher="aprun",
        options=("#COBALT --attrs mcdram=cache:numa=quad",),
    )  # fmt: skip
    assert site.pool("knl").workers_per_block == 128
    assert node_hours(site.pool("knl")) == 4 * 128 * 3
    assert json.loads(json.dumps(site_json(site)))["pools"][0]["node_hours"] == 1536
    assert "0 to 4 blocks of 128 nodes x 1 worker, 3h each, 1,536 node hours at most" in render_site(site)


def test_setup_is_left_to_the_shell_of_the_block(home):
    site = load_site(write(home, THETA))
    assert site.worker_init.splitlines()[1:] == [
        "module load conda || exit",
        "module load pilotune || exit",
        "conda activate ${BASE:-base}",
        "export A=${UNSET_HERE}",
    ]


def test_the_resolved_file_reads_back_the_same(home):
    site = load_site(write(home, THETA))
    again = load_site(write(home, site.resolved()))
    assert again == site


@pytest.mark.parametrize(
    ("scheduler", "nodes", "launcher"),
    [("slurm", 1, "single"), ("slurm", 2, "srun"), ("pbs", 2, "mpiexec"), ("cobalt", 2, "aprun")],
)
def test_the_launcher_follows_the_scheduler(home, scheduler, nodes, launcher):
    path = write(home, PLAIN.replace("slurm", scheduler).replace("1h", f"1h, nodes_per_block: {nodes}"))
    assert load_site(path).pools[0].launcher == launcher


def test_a_launcher_may_have_options(home):
    path = write(home, PLAIN.replace("1h", "1h, launcher: {name: srun, options: --exclusive}"))
    assert (load_site(path).pools[0].launcher, load_site(path).pools[0].launcher_options) == ("srun", "--exclusive")


def test_workers_follow_the_gpus_of_a_node(home):
    assert load_site(write(home, PLAIN.replace("1h", "1h, gpus_per_node: 4"))).pools[0].workers_per_node == 4
    assert load_site(write(home, PLAIN)).pools[0].workers_per_node == 1


def test_environment_variables_may_have_a_default_and_be_numbers(home, monkeypatch):
    monkeypatch.setenv("NODES", "3")
    text = PLAIN.replace("1h", "'${WALL:-2h}', nodes_per_block: '${NODES}', queue: '${NODES}'")
    pool = load_site(write(home, text)).pools[0]
    assert (pool.walltime, pool.nodes_per_block, pool.queue) == (7200, 3, "3")


def test_a_variable_that_may_be_empty_is_as_if_not_given(home):
    assert load_site(write(home, PLAIN + "account: ${UNSET_HERE:-}\n")).account == ""


def test_a_pool_is_switched_off_with_max_0_whatever_else_its_blocks_say(home):
    site = load_site(write(home, THETA + "  debug: {walltime: 10m}\n"), ["pools.knl.blocks.max=0"])
    assert [(pool.name, pool.is_on) for pool in site.pools] == [("knl", False), ("debug", True)]
    assert site.pool("knl").blocks == BlockCounts(0, 0, 0)
    assert "pool       knl: off" in render_site(site)


def test_what_is_for_one_scheduler_or_all_has_defaults(home):
    site = load_site(write(home, PLAIN))
    (pool,) = site.pools
    assert (site.poll, site.driver) == (60, DriverJob())
    assert (pool.exclusive, pool.affinity, pool.gpu_type, pool.blocks.idle) == (True, "", "nvidia", 60)


def test_the_drivers_job_and_the_finer_keys_are_understood(home):
    text = PLAIN.replace("1h", "1h, exclusive: no, affinity: 'list:0-3,8:4-7', workers_per_node: 2, gpu_type: amd, "
                         "blocks: {idle: 5m}")  # fmt: skip
    driver = "driver: {queue: cron, walltime: 7d, cores: 2, memory: 4GB, options: ['#SBATCH --qos=cron']}"
    site = load_site(write(home, f"{text}poll: 2m\n{driver}\n"))
    (pool,) = site.pools
    assert (site.poll, site.driver) == (
        120,
        DriverJob(queue="cron", walltime=7 * 86_400, cores=2, memory=4 * 10**9, options=("#SBATCH --qos=cron",)),
    )
    assert (pool.exclusive, pool.affinity, pool.gpu_type) == (False, "list:0-3,8:4-7", "amd")
    assert pool.blocks.idle == 300
    assert load_site(write(home, site.resolved(), "again.yaml")) == replace(site, name="site", path=home / "again.yaml")


def test_the_first_interface_that_this_host_has_is_taken(home):
    text = PLAIN + "network: {interface: [none0, lo, none1]}\n"
    assert load_site(write(home, text)).network == Network("lo", "")
    assert load_site(write(home, text.replace("lo, ", ""))).network == Network("none0", "")


@pytest.mark.parametrize(
    ("workers", "gpus", "expected"),
    [
        (4, 0, "list:0-3:4-7:8-11:12-15"),
        (4, 1, "list:0-3:4-7:8-11:12-15"),
        (2, 2, "list:0-3,4-7:8-11,12-15"),
        (1, 3, "list:0-3,4-7,8-11"),
        (2, 0, "list:0-3,4-7:8-11,12-15"),
        (2, 1, "list:0-3:4-7"),
        (3, 0, "list:0-3:4-7:8-11"),
    ],
)
def test_a_list_of_cores_is_joined_for_fewer_and_larger_workers(workers, gpus, expected):
    pool = PoolSpec("gpu", workers_per_node=4, gpus_per_node=4, affinity="list:0-3:4-7:8-11:12-15")
    assert pool.affinity_for(workers, gpus) == expected
    assert replace(pool, affinity="block").affinity_for(workers, gpus) == "block"


def test_set_changes_any_key(home):
    path = write(home, THETA)
    site = load_site(path, ["pools.knl.walltime=1h", "pools.knl.blocks.max=9", "account=other", "network=null"])
    assert (site.pools[0].walltime, site.pools[0].blocks.max) == (3600, 9)
    assert (site.account, site.network) == ("other", Network())
    assert load_site("local", ["pools.local.workers_per_node=7"]).pools[0].workers_per_node == 7


def test_sites_are_looked_up_in_order(home, monkeypatch):
    config = home / "home" / ".config" / "pilotune" / "sites"
    write(config, PLAIN.replace("cpu", "config"), "a.yaml")
    assert load_site("a").pools[0].name == "config"
    monkeypatch.setenv("PILOTUNE_SITES", f"{home}/none:{home}/team")
    write(home / "team", PLAIN.replace("cpu", "team"), "a.yml")
    assert load_site("a").pools[0].name == "team"
    write(home / "work", PLAIN.replace("cpu", "work"), "a.yaml")
    assert load_site("a").pools[0].name == "work"
    assert load_site("a").name == "a"
    write(home / "work", PLAIN, "local.yaml")
    assert load_site("local").scheduler == "slurm"
    assert load_site(config / "a.yaml").pools[0].name == "config"
    assert load_site("./a.yaml").pools[0].name == "work"


def test_other_yaml_files_of_the_working_directory_are_no_sites(home):
    write(home / "work", "name: digits\nobjective: a.py:f\n", "local.yaml")
    write(home / "work", "a: [\n", "broken.yaml")
    assert load_site("local").scheduler == "local"
    assert "broken" not in find_sites()


def test_an_unknown_site_names_the_nearest(home):
    with pytest.raises(UserError, match=r"there is no site 'locla'; did you mean 'local'\?"):
        load_site("locla")
    with pytest.raises(UserError, match=r"x\.yaml: there is no such site file"):
        load_site("x.yaml")


MISTAKES = [
    ("account: ${PROJECT}", "account: ${UNSET_HERE}", "site.yaml:3: account: the environment variable UNSET_HERE is "
     "not set; run `export UNSET_HERE=<value>`, or write its value here"),
    ("scheduler: cobalt", "scheduler: slrum", "site.yaml:2: scheduler: must be one of local, slurm, pbs, "
     "cobalt, but is "
     "'slrum'; did you mean 'slurm'?"),
    ("scheduler: cobalt", "", "site.yaml:1: scheduler: this key is required"),
    ("name: theta", "name: [x]", "site.yaml:1: name: must be letters, digits, '.', '_', '+' or '-', but is ['x']"),
    ("modules: [conda, pilotune]", "modules: conda", "site.yaml:4: modules: must be a list of texts, but is 'conda'"),
    ("network: {interface: ipogif0}", "network: {interfaec: ib0}",
     "site.yaml:8: network.interfaec: unknown key; did you mean 'interface'?"),
    ("network: {interface: ipogif0}", "network: {interface: []}", "site.yaml:8: network.interface: must be the name "
     "of a network interface, or a list of them, but is []"),
    ("network: {interface: ipogif0}", "network: {interface: ib0, address: 10.0.0.1}",
     "site.yaml:8: network: give an interface or an address, not both"),
    ("queue: default", "qeue: default", "site.yaml:12: pools.knl.qeue: unknown key; did you mean 'queue'?"),
    ("walltime: 3h", "walltime: 3x", "site.yaml:13: pools.knl.walltime: must be a duration above 0, as in 90s, "
     "30m, 1h30m "
     "or 00:30:00, but is '3x'"),
    ("walltime: 3h", "", "site.yaml:11: pools.knl.walltime: a pool on cobalt needs a walltime for its blocks, as in "
     "walltime: 1h"),
    ("blocks: {init: 1, min: 0, max: 4}", "blocks: 4", "site.yaml:14: pools.knl.blocks: must be a mapping, as in "
     "{max: 4}, but is 4"),
    ("max: 4", "max: many", "site.yaml:14: pools.knl.blocks.max: must be a whole number of at least 0, but is 'many'"),
    ("min: 0, max: 4", "min: 5, max: 4", "site.yaml:14: pools.knl.blocks.min: min 5 is above max 4"),
    ("init: 1", "init: 7", "site.yaml:14: pools.knl.blocks.init: must be from min 0 to max 4, but is 7"),
    ("max: 4", "max: 4, idle: 0", "site.yaml:14: pools.knl.blocks.idle: must be a duration above 0, as in 90s, "
     "30m, 1h30m or 00:30:00, but is 0"),
    ("max: 4", "max: 0", "site.yaml:10: pools: every pool is off (blocks.max is 0); at least one must be on"),
    ("walltime: 3h", "walltime: 59s", "site.yaml:13: pools.knl.walltime: is 59s, but Cobalt needs at least 1m"),
    ("walltime: 3h", "walltime: 30", "site.yaml:13: pools.knl.walltime: '30' means 30 seconds; Cobalt needs at least "
     "1m. Did you mean 30m?"),
    ("walltime: 3h", "walltime: 1", "site.yaml:13: pools.knl.walltime: '1' means 1 second; Cobalt needs at least 1m. "
     "Did you mean 1m?"),
    ("nodes_per_block: 128", "exclusive: true",
     "site.yaml:15: pools.knl.exclusive: only Slurm has it; on cobalt the queue decides, or a line in options"),
    ("nodes_per_block: 128", "affinity: blok", "site.yaml:15: pools.knl.affinity: must be none, block, block-reverse, "
     "alternating, or the cores of each worker as in list:0-3:4-7, but is 'blok'"),
    ("nodes_per_block: 128", "affinity: list:0-3:4-7",
     "site.yaml:15: pools.knl.affinity: the list has 2 parts, and a node has 1 worker; give the cores of each"),
    ("nodes_per_block: 128", "gpu_type: cuda",
     "site.yaml:15: pools.knl.gpu_type: must be one of nvidia, amd, intel, but is 'cuda'"),
    ("name: theta", "poll: 0", "site.yaml:1: poll: must be a duration above 0, as in 90s, 30m, 1h30m or 00:30:00, "
     "but is 0"),
    ("name: theta", "driver: {walltime: 30s}",
     "site.yaml:1: driver.walltime: is 30s, but Cobalt needs at least 1m"),
    ("name: theta", "driver: {walltime: 24}",
     "site.yaml:1: driver.walltime: '24' means 24 seconds; Cobalt needs at least 1m. Did you mean 24m?"),
    ("name: theta", "driver: {wall: 1h}", "site.yaml:1: driver.wall: unknown key; did you mean 'walltime'?"),
    ("nodes_per_block: 128", "nodes_per_block: 0",
     "site.yaml:15: pools.knl.nodes_per_block: must be a whole number of at least 1, but is 0"),
    ("memory_per_node: 192GB", "memory_per_node: much",
     "site.yaml:19: pools.knl.memory_per_node: must be a size, as in 512MB, 2GB or 2GiB, but is 'much'"),
    ("launcher: aprun", "launcher: mpirun", "site.yaml:20: pools.knl.launcher: must be one of single, srun, "
     "mpiexec, aprun, "
     "pbsdsh, or {name: srun, options: --exclusive}, but is 'mpirun'"),
    ("launcher: aprun", "launcher: single", "site.yaml:20: pools.knl.launcher: single starts workers on one "
     "node only, but "
     "a block has 128; use aprun"),
    ("scheduler: cobalt", "scheduler: local", "site.yaml:15: pools.knl.nodes_per_block: a local pool has one node"),
    ("  knl:", "  k nl:", "site.yaml:10: pools: the pool 'k nl' must be named with letters, digits, '.', '_', "
     "'+' or '-'"),
]  # fmt: skip


def test_this_machine_has_no_job_for_the_driver(home):
    with pytest.raises(UserError, match="driver: a local site has no batch job for the driver; leave this key out"):
        load_site("local", ["driver.cores=2"])


@pytest.mark.parametrize(("line", "instead", "expected"), MISTAKES, ids=[m[1] or m[0] for m in MISTAKES])
def test_a_mistake_is_a_sentence_with_its_place(home, line, instead, expected):
    assert line in THETA
    path = write(home, THETA.replace(line, instead))
    with pytest.raises(UserError) as caught:
        load_site(path)
    assert str(caught.value).replace(f"{home}/", "") == expected


def test_a_mistake_in_set_names_the_option(home):
    with pytest.raises(UserError) as caught:
        load_site("local", ["pools.local.workers=2"])
    assert str(caught.value) == "--set pools.local.workers: unknown key; `workers` is set with `workers_per_node:`"


def test_an_unknown_pool_is_an_error(home):
    with pytest.raises(UserError, match="there is no pool 'cpu'; known are local"):
        load_site("local").pool("cpu")


def test_the_shipped_site_is_commented_for_newcomers(home):
    text = find_sites()["local"].read_text()
    assert all(key in text for key in ("workers_per_node", "runs", "modules", "setup", "--set"))
