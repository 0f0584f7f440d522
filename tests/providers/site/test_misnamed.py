"""What is written under another name, or in another form, in a site file: the sentence says what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.providers.site import load_site
from pilotune.providers.site.outline import outline


def refused(folder: Path, text: str, *overrides: str, name: str = "lab.yaml") -> str:
    """The sentence that refuses a site file."""
    (folder / name).write_text(text)
    with pytest.raises(UserError) as caught:
        load_site(folder / name, overrides)
    return str(caught.value).replace(f"{folder}/", "")


KEYS = [
    ("slurm", "partition: gpu", "partition: ?; on Slurm the partition is set with `queue:`"),
    ("pbs", "partition: gpu", "partition: ?; on PBS the partition is set with `queue:`"),
    ("slurm", "time: 1h", "time: ?; `time` is set with `walltime:`"),
    ("slurm", "wall-time: 1h", "wall-time: ?; `wall-time` is set with `walltime:`"),
    ("slurm", "nodes: 4", "nodes: ?; `nodes` is set with `nodes_per_block:`"),
    ("slurm", "cpus_per_task: 4", "cpus_per_task: ?; `cpus_per_task` is set with `cores_per_node:`"),
    ("pbs", "ncpus: 4", "ncpus: ?; `ncpus` is set with `cores_per_node:`"),
    ("slurm", "gres: gpu:4", "gres: ?; `gres` is set with `gpus_per_node:`"),
    ("slurm", "mem: 4GB", "mem: ?; `mem` is set with `memory_per_node:`"),
    ("slurm", "ntasks: 4", "ntasks: ?; `ntasks` is set with `workers_per_node:`"),
    ("slurm", "qos: debug", 'qos: ?; on Slurm it stands in `options: ["#SBATCH --qos=NAME"]`'),
    ("slurm", "reservation: r", 'reservation: ?; on Slurm it stands in `options: ["#SBATCH --reservation=NAME"]`'),
    ("slurm", "constraint: gpu", 'constraint: ?; on Slurm it stands in `options: ["#SBATCH --constraint=NAME"]`'),
    ("pbs", "reservation: r", "reservation: ?; on PBS a reservation is a queue: write `queue: NAME`"),
    ("pbs", "place: excl", 'place: ?; on PBS it stands in `options: ["#PBS -l place=scatter:excl"]`'),
    ("pbs", "filesystems: home", 'filesystems: ?; on PBS it stands in `options: ["#PBS -l filesystems=home:eagle"]`'),
    ("cobalt", "attrs: x=1", 'attrs: ?; on Cobalt it stands in `options: ["#COBALT --attrs NAME=VALUE"]`'),
    ("cobalt", "reservation: r", "reservation: ?; on Cobalt a reservation is a queue: write `queue: NAME`"),
    ("slurm", "account: me", "account: ?; the project that is charged is set with `account:` at the top of the "
     'file, or here by `options: ["#SBATCH --account=NAME"]`'),
    ("pbs", "project: me", "project: ?; the project that is charged is set with `account:` at the top of the "
     'file, or here by `options: ["#PBS -A NAME"]`'),
    ("cobalt", "project: me", "project: ?; `project` is set with `account:` at the top of the file"),
    ("slurm", "max: 3", "max: ?; `max` stands in `blocks` of a pool"),
    ("slurm", "interface: ib0", "interface: ?; `interface` stands in `network`"),
    ("slurm", "modules: [python]", "modules: ?; `modules` stands at the top of the file"),
    ("slurm", "max_blocks: 3", "max_blocks: ?; write `blocks: {max: N}`"),
    ("local", "partition: gpu", "partition: ?; the partition is set with `queue:`"),
    ("slurm", "--time: 1h", "--time: ?; `--time` is set with `walltime:`"),
    ("slurm", "blocks: {max_blocks: 4}", "blocks.max_blocks: ?; write `max: N`"),
    ("slurm", "walltmie: 1h", "walltmie: ?; did you mean 'walltime'?"),
]  # fmt: skip


@pytest.mark.parametrize(("scheduler", "line", "words"), KEYS, ids=[f"{key[0]} {key[1]}" for key in KEYS])
def test_a_pools_key_under_another_name(tmp_path: Path, scheduler: str, line: str, words: str) -> None:
    text = f"scheduler: {scheduler}\npools:\n  gpu:\n    walltime: 1h\n    {line}\n"
    assert refused(tmp_path, text) == f"lab.yaml:5: pools.gpu.{words.replace('?', 'unknown key', 1)}"


TOP = [
    ("project: m1", "project: unknown key; `project` is set with `account:`"),
    ("walltime: 1h", "walltime: unknown key; `walltime` stands below a pool"),
    ("partition: x", "partition: unknown key; on Slurm the partition is set with `queue:` below a pool"),
    ("nodes: 4", "nodes: unknown key; `nodes` is set with `nodes_per_block:` below a pool"),
    ("qos: x", 'qos: unknown key; on Slurm it stands in `options: ["#SBATCH --qos=NAME"]` below a pool'),
    ("max_blocks: 4", "max_blocks: unknown key; write `blocks: {max: N}` below a pool"),
    ("worker_init: x", "worker_init: unknown key; `worker_init` is set with `setup:`"),
    ("module: x", "module: unknown key; `module` is set with `modules:`"),
    ("interface: x", "interface: unknown key; `interface` stands in `network`"),
    ("driver: {partition: x}", "driver.partition: unknown key; on Slurm the partition is set with `queue:`"),
    ("driver: {qos: x}", 'driver.qos: unknown key; on Slurm it stands in `options: ["#SBATCH --qos=NAME"]`'),
]


@pytest.mark.parametrize(("line", "words"), TOP, ids=[line for line, _ in TOP])
def test_a_key_elsewhere_under_another_name_or_in_the_wrong_place(tmp_path: Path, line: str, words: str) -> None:
    text = f"scheduler: slurm\npools: {{cpu: {{walltime: 1h}}}}\n{line}\n"
    assert refused(tmp_path, text) == f"lab.yaml:3: {words}"


OPTIONS = [
    ("slurm", "--qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "-C gpu", "is no directive of Slurm; write '#SBATCH -C gpu'"),
    ("slurm", "qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "SBATCH --qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "# SBATCH --qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "#sbatch --qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "#SBATCH--qos=debug", "is no directive of Slurm; write '#SBATCH --qos=debug'"),
    ("slurm", "#PBS -q debug", "is a line for PBS; on Slurm it begins with #SBATCH"),
    ("slurm", "module load x", "is no directive of Slurm, which begins with #SBATCH; shell lines stand in `setup`"),
    ("slurm", "#SBATCH", "is no directive of Slurm, which begins with #SBATCH; shell lines stand in `setup`"),
    ("pbs", "-l filesystems=home", "is no directive of PBS; write '#PBS -l filesystems=home'"),
    ("pbs", "place=excl", "is no directive of PBS; write '#PBS -l place=excl'"),
    ("pbs", "#SBATCH --qos=x", "is a line for Slurm; on PBS it begins with #PBS"),
    ("cobalt", "--attrs x=y", "is no directive of Cobalt; write '#COBALT --attrs x=y'"),
    (
        "cobalt",
        "ulimit -s unlimited",
        "is no directive of Cobalt, which begins with #COBALT; shell lines stand in `setup`",
    ),
]


@pytest.mark.parametrize(("scheduler", "line", "words"), OPTIONS, ids=[f"{s} {line}" for s, line, _ in OPTIONS])
def test_a_line_of_options_that_is_no_directive(tmp_path: Path, scheduler: str, line: str, words: str) -> None:
    text = f"scheduler: {scheduler}\npools:\n  cpu:\n    walltime: 1h\n    options: ['{line}']\n"
    assert refused(tmp_path, text) == f"lab.yaml:5: pools.cpu.options[0]: '{line}' {words}"
    text = f"scheduler: {scheduler}\npools: {{cpu: {{walltime: 1h}}}}\ndriver: {{options: ['{line}']}}\n"
    assert refused(tmp_path, text) == f"lab.yaml:3: driver.options[0]: '{line}' {words}"


def test_directives_and_those_for_burst_buffers_are_kept(tmp_path: Path) -> None:
    lines = ["#SBATCH --qos=debug", "#SBATCH  -C gpu", "#DW jobdw capacity=10GB", "#BB create_persistent name=x"]
    (tmp_path / "lab.yaml").write_text(
        "scheduler: slurm\npools:\n  cpu:\n    walltime: 1h\n    options:\n"
        + "".join(f'      - "{line}"\n' for line in lines)
    )
    assert load_site(tmp_path / "lab.yaml").pool("cpu").options == tuple(lines)


SLURM = "scheduler: slurm\npools:\n  gpu: {walltime: 1h}\n  cpu.large: {walltime: 1h}\n"


def test_set_of_a_pool_that_does_not_exist_is_an_error_and_adds_none(tmp_path: Path) -> None:
    assert refused(tmp_path, SLURM, "pools.gpuu.walltime=2h") == (
        "--set pools.gpuu.walltime: there is no pool 'gpuu'; did you mean 'gpu'?"
    )
    assert refused(tmp_path, SLURM, "pools.debug.walltime=2h").endswith("no pool 'debug'; known are gpu, cpu.large")
    assert refused(tmp_path, SLURM, "pools.cpu.walltime=2h").startswith(
        "--set pools.cpu.walltime: there is no pool 'cpu'"
    )
    site = load_site(tmp_path / "lab.yaml", ["pools.gpu.walltime=2h", "pools.cpu.large.walltime=3h"])
    assert [pool.walltime for pool in site.pools] == [7200, 10800]
    whole = load_site(tmp_path / "lab.yaml", ["pools.new={walltime: 1h}", "pools.new.queue=debug"])
    assert (whole.pool("new").walltime, whole.pool("new").queue) == (3600, "debug")


def test_missing_variables_are_named_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROJECT", "MY_SCRATCH", "NODES"):
        monkeypatch.delenv(name, raising=False)
    text = "scheduler: slurm\naccount: ${PROJECT}\nruns: ${MY_SCRATCH}/x\n"
    text += "pools: {cpu: {walltime: 1h, queue: '${NODES}'}}\n"
    assert refused(tmp_path, text) == (
        "lab.yaml:2: account: the environment variables PROJECT, MY_SCRATCH and NODES are not set; run `export "
        "PROJECT=<your project> MY_SCRATCH=<folder> NODES=<value>`, or write their values here"
    )
    found = outline("lab", tmp_path / "lab.yaml")
    assert (found.error, found.unset) == ("", ("MY_SCRATCH", "NODES", "PROJECT"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with pytest.raises(UserError, match=r"or copy this file to ~/\.config/pilotune/sites and edit it"):
        load_site("polaris")


def test_a_copy_of_a_generic_file_has_the_name_of_its_file(tmp_path: Path) -> None:
    from pilotune.providers.site import SHIPPED

    for name in ("slurm", "slurm-gpu", "pbs", "cobalt", "local"):
        (tmp_path / f"my-{name}.yaml").write_text((SHIPPED / f"{name}.yaml").read_text())
        assert load_site(tmp_path / f"my-{name}.yaml").name == f"my-{name}"
