"""What a trial finds of its hardware: its own GPUs, cores and threads, and a launcher for all of its nodes."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from pilotune.pipeline.trial.gpus import describe, gpu_environment
from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import make_spec

THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    "LOKY_MAX_CPU_COUNT",
)
SEEN = (*THREADS, "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "HIP_VISIBLE_DEVICES")
SEEN += ("PILOTUNE_LAUNCHER", "PILOTUNE_NODELIST", "PILOTUNE_NODES", "PILOTUNE_RANKS_PER_NODE", "SRUN_CPUS_PER_TASK")

OBJECTIVE = """
    import os

    at_import = dict(os.environ)

    def look(trial):
        resources = trial.resources
        return {
            "value": 1.0,
            "environment": {name: os.environ.get(name) for name in NAMES},
            "imported": {name: at_import.get(name) for name in NAMES},
            "cores": sorted(os.sched_getaffinity(0)),
            "resources": [resources.cores, resources.gpus, resources.nodes, resources.gpu_ids, resources.launcher],
        }

    def takes_a_core(trial):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        return 1.0
"""

COMMAND = """
    import json, os
    seen = {name: os.environ.get(name) for name in NAMES}
    with open(os.environ["PILOTUNE_REPORTS"], "w") as file:
        json.dump({"value": 1.0, "environment": seen, "cores": sorted(os.sched_getaffinity(0))}, file)
"""

FORMS = ["isolated", "inline", "command"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (*SEEN, "PILOTUNE_GPU_TYPE", "PILOTUNE_NODE_GPUS", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def look(tmp_path):
    """Runs an attempt in one of the forms, and returns what it saw."""
    names = f"NAMES = {SEEN!r}\n"
    (tmp_path / "ours.py").write_text(names + textwrap.dedent(OBJECTIVE))
    command = (names + textwrap.dedent(COMMAND)).replace("{", "{{").replace("}", "}}")

    def run(form, function="look", **fields):
        if form == "command":
            objective = ObjectiveSpec(command=[sys.executable, "-c", command])
        else:
            objective = ObjectiveSpec(file=str(tmp_path / "ours.py"), function=function)
        outcome = run_attempt(make_spec(tmp_path, objective, isolate=form == "isolated", **fields))
        assert outcome["kind"] == "complete", outcome["reason"]
        return outcome["user_attrs"]

    return run


def pinned(monkeypatch, accelerator, *, make="nvidia", before=None, workers=None, rank=0):
    """The environment of a worker that Parsl has pinned to ``accelerator`` on a node that Pilotune started."""
    monkeypatch.setenv("PILOTUNE_GPU_TYPE", make)
    monkeypatch.setenv("PARSL_WORKER_RANK", str(rank))
    monkeypatch.setenv("PILOTUNE_NODE_GPUS", describe(workers or [accelerator], before or {}))
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"):
        monkeypatch.setenv(name, accelerator)


# -- GPUs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("make", "variable"),
    [("nvidia", "CUDA_VISIBLE_DEVICES"), ("amd", "ROCR_VISIBLE_DEVICES"), ("intel", "ZE_AFFINITY_MASK")],
)
def test_only_the_variable_of_the_gpus_make_is_set(look, monkeypatch, form, make, variable):
    pinned(monkeypatch, "2,3", make=make)
    seen = look(form, gpus=2)
    names = [name for name in SEEN if name.endswith(("DEVICES", "MASK")) and seen["environment"][name] is not None]
    assert names == [variable]
    assert seen["environment"][variable] == "2,3"
    if form != "command":
        assert seen["resources"] == [1, 2, 1, ["2", "3"], ""]


def test_an_objective_is_imported_with_its_gpus_set(look, monkeypatch):
    pinned(monkeypatch, "1", make="amd", before={"ROCR_VISIBLE_DEVICES": "0,1"})
    seen = look("isolated", gpus=1)
    assert (seen["imported"]["ROCR_VISIBLE_DEVICES"], seen["imported"]["CUDA_VISIBLE_DEVICES"]) == ("1", None)


def test_the_variables_of_other_makes_are_as_the_block_had_them(monkeypatch):
    pinned(monkeypatch, "1", before={"CUDA_VISIBLE_DEVICES": "0,1", "ZE_AFFINITY_MASK": "0.0"})
    changes = gpu_environment(1)
    assert changes == {"CUDA_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": None, "ZE_AFFINITY_MASK": "0.0"}


def test_on_amd_nothing_chooses_among_the_chosen(monkeypatch):
    pinned(monkeypatch, "3", make="amd", before={"CUDA_VISIBLE_DEVICES": "2,3", "ROCR_VISIBLE_DEVICES": "2,3"})
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,3")
    changes = gpu_environment(1)
    assert changes["ROCR_VISIBLE_DEVICES"] == "3"
    assert changes["CUDA_VISIBLE_DEVICES"] is changes["HIP_VISIBLE_DEVICES"] is None


def test_a_worker_has_the_gpus_of_its_rank_whatever_parsl_made_of_them(monkeypatch):
    # Parsl divides by the GPUs that nvidia-smi counts, where there are fewer than workers.
    pinned(monkeypatch, "0", workers=["GPU-aa", "GPU-bb"], rank=1)
    assert gpu_environment(1)["CUDA_VISIBLE_DEVICES"] == "GPU-bb"


def test_a_trial_without_gpus_sees_what_the_block_did(look, monkeypatch):
    pinned(monkeypatch, "1", before={"CUDA_VISIBLE_DEVICES": "0,1"})
    seen = look("isolated", gpus=0)
    assert seen["environment"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert seen["environment"]["ROCR_VISIBLE_DEVICES"] is None
    assert seen["resources"][3] == []


def test_a_pool_without_gpus_leaves_the_environment_alone(monkeypatch):
    assert gpu_environment(0) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("PILOTUNE_NODE_GPUS", describe([], os.environ))
    assert gpu_environment(0) == {}


def test_workers_that_no_node_program_started_keep_what_parsl_set(monkeypatch):
    pinned(monkeypatch, "1")
    monkeypatch.delenv("PILOTUNE_NODE_GPUS")
    changes = gpu_environment(1)
    assert changes == {"CUDA_VISIBLE_DEVICES": "1", "ROCR_VISIBLE_DEVICES": None, "ZE_AFFINITY_MASK": None}


# -- threads and cores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_libraries_use_as_many_threads_as_the_trial_has_cores(look, form):
    assert {look(form, cores=3)["environment"][name] for name in THREADS} == {"3"}


@pytest.mark.parametrize("form", FORMS)
def test_a_number_of_threads_that_somebody_set_is_kept(look, form, monkeypatch):
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    seen = look(form, cores=3)["environment"]
    assert (seen["MKL_NUM_THREADS"], seen["OMP_NUM_THREADS"]) == ("8", "3")


@pytest.mark.parametrize(("cores", "threads"), [(2, "2"), (1, "4")])
def test_of_the_cores_that_parsl_pins_a_trial_uses_as_many_as_it_asked_for(look, monkeypatch, cores, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "0,1,2,3")
    monkeypatch.setenv("KMP_AFFINITY", "explicit,proclist=[0,1,2,3]")
    assert {look("command", cores=cores)["environment"][name] for name in THREADS} == {threads}


@pytest.mark.parametrize("form", FORMS)
def test_a_worker_s_cores_are_its_trials_cores_attempt_after_attempt(look, form):
    all_cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, [max(all_cores)])
        for number in (1, 2):
            assert look(form, number=number)["cores"] == [max(all_cores)]
    finally:
        os.sched_setaffinity(0, all_cores)


@pytest.mark.parametrize("form", ["isolated", "inline"])
def test_cores_that_an_attempt_gives_up_are_there_for_the_next(look, form):
    look(form, "takes_a_core", number=1)
    assert look(form, number=2)["cores"] == sorted(os.sched_getaffinity(0))


def test_cores_that_the_imports_of_an_objective_give_up_are_there_for_its_trials(tmp_path, look):
    ours = tmp_path / "ours.py"
    ours.write_text(f"{ours.read_text()}\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n")
    assert look("isolated")["cores"] == sorted(os.sched_getaffinity(0))


def test_a_trial_whose_size_depends_on_its_parameters_sees_the_gpus_of_its_task() -> None:
    node = describe(["0", "1", "2", "3"], {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    worker = {"PILOTUNE_NODE_GPUS": node, "PARSL_WORKER_RANK": "7", "PILOTUNE_PLACED_GPUS": "MIG-a,MIG-b"}
    assert gpu_environment(2, worker)["CUDA_VISIBLE_DEVICES"] == "MIG-a,MIG-b"
    assert gpu_environment(0, {**worker, "PILOTUNE_PLACED_GPUS": ""})["CUDA_VISIBLE_DEVICES"] == "", "none, not all"


def test_a_share_of_a_gpu_is_a_share_of_its_threads_under_mps() -> None:
    worker = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"}
    assert gpu_environment(0.25, worker)["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
    own = {**worker, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "90"}
    for gpus, environment in ((1, worker), (0.25, {"CUDA_VISIBLE_DEVICES": "0"}), (0.25, own)):
        assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in gpu_environment(gpus, environment)
