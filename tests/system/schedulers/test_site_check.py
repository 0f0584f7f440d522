"""``pilotune site check`` on this host, a real Slurm, an emulated OpenPBS and an emulated Cobalt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ...support.emulators.install import Emulated, install
from ...support.local import Here, press_ctrl_c, until
from ...support.slurm import ACCOUNTS, Lab

pytestmark = [pytest.mark.real, pytest.mark.heavy]

LONG = 300.0
"""Seconds within which a check ends, also on a slow machine."""

QUICK = {"late": 0.2, "exiting": 0.2, "starting": 0.1}
TWO_NODES = {"nodes_per_block": 4, "cores_per_node": 1}
MODULES = {"modules": ["no-such-module"]}


@dataclass
class Machine:
    """A scheduler and its user.

    Attributes:
        scheduler: As the site file names it.
        here: The user's folder.
        jobs: Lists the jobs of checks that have not ended.
        site: More keys of the site file.
        pools: Of the site file: ``good``, ``gpus`` (of which there are fewer), ``partition`` (that does not exist).
    """

    scheduler: str
    here: Here
    jobs: Callable[[], list[str]]
    site: Mapping[str, Any] = field(default_factory=dict)
    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, name: str, pools: Mapping[str, Mapping[str, Any]], **more: Any) -> Path:
        walltime = {} if self.scheduler == "local" else {"walltime": "1h"}
        spelt = {each: {"workers_per_node": 2, **walltime, **pool} for each, pool in pools.items()}
        data = {"scheduler": self.scheduler, "poll": "1s", **self.site, **more, "pools": spelt}
        return self.here.write(f"{name}.yaml", yaml.safe_dump(data))


def this_host(folder: Path) -> Machine:
    pools = {"good": {}, "gpus": {"gpus_per_node": 64}}
    return Machine("local", Here(folder), list, pools=pools)


def slurm(folder: Path, lab: Lab) -> Machine:
    pools = {
        "good": {**TWO_NODES, "gpus_per_node": 1},
        "gpus": {"gpus_per_node": 2, "options": ["#SBATCH --gpus-per-node=1"]},
        "partition": {"queue": "no-such"},
    }

    def jobs() -> list[str]:
        return [name for name in lab.run("squeue", "-h", "-o", "%j").stdout.split() if name.startswith("site-check")]

    shared = {name: {"queue": "batch", "exclusive": False, "cores_per_node": 1, **pool} for name, pool in pools.items()}
    site = {"account": ACCOUNTS[0], "network": {"address": lab.head}}
    return Machine("slurm", Here(folder, **lab.environment), jobs, site, shared)


def emulated(folder: Path, machine: Emulated, scheduler: str, pools: Mapping[str, Mapping[str, Any]]) -> Machine:
    def jobs() -> list[str]:
        return [str(job.number) for job in machine.jobs() if job.phase != "ended"]

    return Machine(scheduler, Here(folder, **machine.env), jobs, {"network": {"address": "127.0.0.1"}}, pools)


PBS_POOLS = {
    "good": {**TWO_NODES, "gpus_per_node": 1, "launcher": "pbsdsh"},
    "gpus": {"gpus_per_node": 4, "options": ["#PBS -l select=1:ncpus=1:ngpus=1"]},
    "partition": {"queue": "no-such"},
}
COBALT_POOLS = {"good": TWO_NODES, "gpus": {"gpus_per_node": 4}, "partition": {"queue": "no-such"}}


@pytest.fixture(scope="module", params=["local", "slurm", "pbs", pytest.param("cobalt", marks=pytest.mark.exhaustive)])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "local":
            yield this_host(folder / "me")
        elif request.param == "slurm":
            yield slurm(folder / "me", request.getfixturevalue("slurm_lab"))
        elif request.param == "pbs":
            settings = {"gpus": 2, "gpu_variables": True, "kill_delay": 1.0}
            pbs = stack.enter_context(install(folder / "pbs", "pbs", **settings, **QUICK))
            yield emulated(folder / "me", pbs, "pbs", PBS_POOLS)
        else:
            settings = {"force_kill_delay": 2.0, "qdel_sleep": 0.1}
            cobalt = stack.enter_context(install(folder / "cobalt", "cobalt", **settings, **QUICK))
            yield emulated(folder / "me", cobalt, "cobalt", COBALT_POOLS)


@dataclass(frozen=True)
class Checked:
    """The result of a check."""

    code: int
    found: Mapping[tuple[str, str], tuple[str, str]]  # pool, line -> state, text
    err: str

    def of(self, pool: str) -> dict[str, str]:
        """The state of each line of a pool."""
        return {name: state for (where, name), (state, _) in self.found.items() if where == pool}

    def text(self, pool: str, name: str) -> str:
        return self.found[pool, name][1]


def ended(process: Any) -> Checked:
    out, err = process.communicate(timeout=LONG)
    assert out, err
    found = {(each["pool"] or "", each["name"]): (each["state"], each["text"]) for each in json.loads(out)["findings"]}
    return Checked(process.returncode, found, err)


@pytest.fixture(scope="module")
def checked(machine: Machine) -> Mapping[str, Checked]:
    """Two checks side by side: of a site with a good and two bad pools, and of one whose modules do not load."""
    files = {
        "pools": machine.write("pools", machine.pools),
        "modules": machine.write("modules", {"cpu": {}}, **MODULES),
    }
    started = {name: machine.here.start("site", "check", path, "--json") for name, path in files.items()}
    return {name: ended(process) for name, process in started.items()}


SITE = {"scheduler", "space", "database"}
ON_THE_NODES = {"Python", "packages", "network", "round trip", "cores", "GPUs", "memory", "clocks", "run directory"}


def test_every_line_of_a_good_pool_is_ok(machine: Machine, checked: Mapping[str, Checked]) -> None:
    seen = checked["pools"]
    assert set(seen.of("")) == SITE
    assert set(seen.of("").values()) == {"ok"}
    queued = set() if machine.scheduler == "local" else {"queue", "in-job"}
    assert seen.of("good") == dict.fromkeys({"submission", "set-up", "workers", "end"} | ON_THE_NODES | queued, "ok")
    assert "on both sides" in seen.text("good", "packages")


def test_a_pool_with_several_nodes_is_checked_with_two_through_its_launcher(
    machine: Machine, checked: Mapping[str, Checked]
) -> None:
    nodes, workers = (1, 2) if machine.scheduler == "local" else (2, 4)
    words = f"{nodes} node{'s' * (nodes > 1)} with {workers} workers registered"
    assert checked["pools"].text("good", "workers") == words


def test_missing_gpus_fail_and_nothing_else_does(checked: Mapping[str, Checked]) -> None:
    seen = checked["pools"]
    assert [name for name, state in seen.of("gpus").items() if state == "failed"] == ["GPUs"]
    assert "and the site file says gpus_per_node: " in seen.text("gpus", "GPUs")
    assert seen.code == 3


def test_a_queue_that_does_not_exist_is_reported_in_the_schedulers_words(
    machine: Machine, checked: Mapping[str, Checked]
) -> None:
    if machine.scheduler == "local":
        assert ("partition", "submission") not in checked["pools"].found
        return
    words = {"slurm": "invalid partition specified: no-such", "pbs": "Unknown queue", "cobalt": "non-existent queue"}
    assert checked["pools"].of("partition") == {"submission": "failed"}
    assert words[machine.scheduler] in checked["pools"].text("partition", "submission")


def test_modules_that_do_not_load_are_reported_with_the_output_of_the_block(checked: Mapping[str, Checked]) -> None:
    seen = checked["modules"]
    assert seen.code == 3
    assert [name for name, state in seen.of("cpu").items() if state == "failed"] == ["set-up"]
    assert "while modules and setup of the site file ran. Its last output: " in seen.text("cpu", "set-up")
    assert "module" in seen.text("cpu", "set-up").partition("last output")[2]


@pytest.mark.usefixtures("checked")
def test_no_job_is_left(machine: Machine) -> None:
    until(lambda: not machine.jobs(), "all jobs of checks are gone")


def test_another_version_of_parsl_on_the_nodes_is_reported(tmp_path: Path) -> None:
    here = Here(tmp_path / "me")
    (tmp_path / "sitecustomize.py").write_text("import parsl.version\nparsl.version.VERSION = '2020.01.01'\n")
    machine = Machine("local", here, list)
    path = machine.write("other", {"cpu": {}}, setup=f"export PYTHONPATH={tmp_path}")
    seen = ended(here.start("site", "check", path, "--json"))
    assert [name for name, state in seen.of("cpu").items() if state == "failed"] == ["workers"]
    assert "2020.01.01" in seen.text("cpu", "workers")
    assert "both sides need the same Python and the same Parsl" in seen.text("cpu", "workers")


# -- of a real Slurm only ---------------------------------------------------------------------------------------------


@pytest.fixture
def on_slurm(slurm_lab: Lab, tmp_path: Path) -> Machine:
    return slurm(tmp_path / "me", slurm_lab)


def test_a_block_that_stays_in_the_queue_is_given_up_with_the_reason(on_slurm: Machine) -> None:
    held = {**on_slurm.pools["good"], "options": ["#SBATCH --hold"]}
    too_long = {"queue": "debug", "exclusive": False}  # which gives five minutes
    path = on_slurm.write("waiting", {"held": held, "long": too_long})
    seen = ended(on_slurm.here.start("site", "check", path, "--json", "--wait", "5s"))
    assert seen.code == 3
    assert seen.of("held") == {"submission": "ok", "queue": "failed", "end": "ok"}
    assert "still queued after" in seen.text("held", "queue")
    assert "JobHeldUser: held by its owner" in seen.text("held", "queue")
    assert "it will not start (PartitionTimeLimit" in seen.text("long", "queue")
    assert "is queued: JobHeldUser" in seen.err


def test_an_address_that_nodes_do_not_reach_is_named_with_those_this_host_has(on_slurm: Machine) -> None:
    nowhere = {"network": {"address": "10.255.255.1"}}
    path = on_slurm.write("nowhere", {"cpu": on_slurm.pools["good"]}, **nowhere)
    seen = ended(on_slurm.here.start("site", "check", path, "--json"))
    assert [name for name, state in seen.of("cpu").items() if state == "failed"] == ["workers"]
    text = seen.text("cpu", "workers")
    assert "they cannot reach this host. Workers try 10.255.255.1" in text
    assert f"({on_slurm.site['network']['address']})" in text


def test_ctrl_c_takes_the_block_out_of_the_queue(on_slurm: Machine) -> None:
    path = on_slurm.write("held", {"cpu": {**on_slurm.pools["good"], "options": ["#SBATCH --hold"]}})
    process = on_slurm.here.start("site", "check", path)
    until(on_slurm.jobs, "the block is queued", LONG)
    press_ctrl_c(process)
    out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (130, "")
    assert re.search(r"ending (job \d+|the check\n)", err), "the latter where Slurm has not answered yet"
    until(lambda: not on_slurm.jobs(), "the job is gone")
