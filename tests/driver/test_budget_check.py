"""Budgets in hours that do not fit the site: what a run refuses, and what check says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.driver.budget_check import budget_notes, check_budgets
from pilotune.pipeline.record.hours import Ledger, Spent
from pilotune.pipeline.studyfile import load_study_file
from pilotune.providers.site import BlockCounts, PoolSpec, Site

CPU = PoolSpec("cpu", walltime=3600.0, nodes_per_block=2, blocks=BlockCounts(max=3), workers_per_node=4)
GPU = PoolSpec("gpu", walltime=3600.0, gpus_per_node=8, workers_per_node=8)
LOCAL = PoolSpec("local", blocks=BlockCounts(max=2))
BOTH = "{pools: [cpu, gpu]}"


def said(
    folder: Path, budget: str, *pools: PoolSpec, trial: str = "{}", scheduler: str = "slurm", reserved: float = 0.0
) -> list[str]:
    """The error as a list, or the notes, without the folder. ``reserved``: node-hours of earlier campaigns in cpu."""
    (folder / "train.py").write_text("def train(trial):\n    return 1.0\n")
    path = folder / "study.yaml"
    space = "space: {x: {float: [0, 1]}}"
    path.write_text(f"name: s\nobjective: train.py:train\ndirection: maximize\n{space}\ntrial: {trial}\n{budget}\n")
    study_file, site = load_study_file(path), Site("here", scheduler, pools, Path())
    try:
        check_budgets(study_file, site)
        found = budget_notes(study_file, site, {"c0": Ledger({"cpu": Spent(0.0, reserved * 3600.0)})})
    except UserError as error:
        found = ["refused", str(error)]
    return [each.replace(f"{folder}/", "") for each in found]


def test_a_budget_of_a_pool_that_the_site_lacks_is_one_sentence_with_its_line(tmp_path: Path) -> None:
    found = said(tmp_path, "budget:\n  node_hours:\n    cpu: 3\n    gpuu: 4", CPU, GPU)
    assert found == [
        "refused", "study.yaml:9: budget.node_hours.gpuu: site here has no pool 'gpuu'; did you mean 'gpu'?"
    ]  # fmt: skip


@pytest.fixture
def two_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the site ``here`` and another one can be named."""
    monkeypatch.chdir(tmp_path)
    for name, pools in (("here", "{cpu: {walltime: 1h}, gpu: {walltime: 1h}}"), ("there", "{cpu: {walltime: 1h}}")):
        (tmp_path / f"{name}.yaml").write_text(f"scheduler: slurm\npools: {pools}\n")
    (tmp_path / "broken.yaml").write_text("scheduler: [\n")
    return tmp_path


@pytest.mark.parametrize("unit", ["node_hours", "gpu_hours"])
def test_a_budget_may_be_of_a_pool_of_another_site(two_sites: Path, unit: str) -> None:
    assert said(two_sites, f"budget: {{trials: 9, {unit}: {{here.gpu: 8, there.cpu: 4}}}}", GPU) == []


def test_a_budget_that_names_the_pool_with_its_site_limits_it(two_sites: Path) -> None:
    assert said(two_sites, "budget: {node_hours: {here.cpu: 3, there.cpu: 9}}", CPU) == []
    _, sentence = said(two_sites, "budget:\n  node_hours:\n    there.cpu: 90\n    here.cpu: 1.9", CPU)
    assert sentence.startswith("study.yaml:9: budget.node_hours.here.cpu: pays for no block of pool cpu")
    _, sentence = said(two_sites, "budget: {node_hours: {there.cpu: 90}}", CPU)
    assert "does not limit pool cpu, so the study would never end" in sentence
    (note,) = said(two_sites, "budget: {trials: 9, node_hours: {here.gpu: 3, there.cpu: 9}}", CPU, GPU)
    assert note.endswith("budget.node_hours.here.gpu: limits nothing, since the study does not use pool here.gpu")


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("there.cpuu", "site here has no pool 'there.cpuu'; did you mean 'there.cpu'?"),
        (
            "theer.cpu",
            "site here has no pool 'theer.cpu'; did you mean 'there.cpu'? For a pool of another site, that site must "
            "be in `pilotune site list`",
        ),
        ("here.gpuu", "site here has no pool 'here.gpuu'; did you mean 'here.gpu'?"),
        (
            "atlantis.whale",
            "site here has no pool 'atlantis.whale'; it has cpu, gpu. For a pool of another site, that site must be in "
            "`pilotune site list`",
        ),
    ],
)
def test_a_budget_of_a_pool_of_no_site_is_refused(two_sites: Path, pool: str, message: str) -> None:
    found = said(two_sites, f"budget:\n  trials: 9\n  node_hours: {{{pool}: 4}}", CPU, GPU)
    assert found == ["refused", f"study.yaml:8: budget.node_hours.{pool}: {message}"]


def test_a_budget_of_gpu_hours_needs_gpus(tmp_path: Path) -> None:
    (_, sentence) = said(tmp_path, "budget: {gpu_hours: 3}", CPU)
    assert "site here has no GPUs, so GPU-hours are never used" in sentence
    (_, sentence) = said(tmp_path, "budget:\n  gpu_hours: {gpu: 9,\n   cpu: 3}", CPU, GPU)
    assert sentence.startswith("study.yaml:8: budget.gpu_hours.cpu: pool cpu has no GPUs")


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ("budget:\n  node_hours: 1.9",
         "study.yaml:7: budget.node_hours: pays for no block of pool cpu: one (2 nodes for 1h) can cost 2 "
         "node-hours, and the budget is 1.9; give at least 2, or make the pool's blocks smaller"),
        ("budget:\n  trials: 9\n  node_hours: {cpu: 0.5}",
         "study.yaml:8: budget.node_hours.cpu: pays for no block of pool cpu: one (2 nodes for 1h) can cost "
         "2 node-hours, and the budget is 0.5; give at least 2, or make the pool's blocks smaller"),
    ],
)  # fmt: skip
def test_a_budget_that_pays_for_no_block_at_all_is_refused(tmp_path: Path, budget: str, sentence: str) -> None:
    assert said(tmp_path, budget, CPU) == ["refused", sentence]


def test_of_several_pools_the_refusal_names_the_one_that_lacks_least(tmp_path: Path) -> None:
    _, sentence = said(tmp_path, "budget: {trials: 9, node_hours: 0.9}", CPU, GPU, trial=BOTH)
    assert sentence.startswith(
        "study.yaml:6: budget.node_hours: pays for no block: one of pool gpu (1 node for 1h) can"
    )
    _, sentence = said(tmp_path, "budget: {node_hours: {cpu: 1.8}, gpu_hours: 1}", CPU, GPU, trial=BOTH)
    assert "budget.node_hours.cpu: pays for no block: one of pool cpu (2 nodes for 1h)" in sentence


def test_check_notes_a_budget_of_which_too_little_is_left(tmp_path: Path) -> None:
    assert said(tmp_path, "budget: {node_hours: 5}", CPU, reserved=3.0) == []
    (note,) = said(tmp_path, "budget: {node_hours: 5}", CPU, reserved=3.5)
    assert note == (
        "study.yaml:6: budget.node_hours: pays for no block of pool cpu: one (2 nodes for 1h) can cost 2 node-hours, "
        "and earlier campaigns have left 1.5 of the budget of 5; give at least 5.5, or make the pool's blocks smaller"
    )


def test_a_pool_that_never_gets_a_block_is_a_note(tmp_path: Path) -> None:
    (note,) = said(tmp_path, "budget: {node_hours: 500, gpu_hours: 7}", CPU, GPU, trial=BOTH)
    assert note == (
        "study.yaml:6: budget.gpu_hours: pays for no block of pool gpu: one (1 node for 1h) can cost 8 GPU-hours, and "
        "the budget is 7; give at least 8, or make the pool's blocks smaller"
    )


def test_a_local_block_takes_at_least_a_minute(tmp_path: Path) -> None:
    _, sentence = said(tmp_path, "budget: {node_hours: 0.001}", LOCAL, scheduler="local")
    assert sentence.endswith(
        "(1 node for 1m) can cost 0.01667 node-hours, and the budget is 0.001; give at least 0.0167"
    )
    assert said(tmp_path, "budget: {node_hours: 0.0167}", LOCAL, scheduler="local") == []


def test_a_budget_of_one_pool_does_not_end_a_study_that_uses_others(tmp_path: Path) -> None:
    found = said(tmp_path, "budget: {node_hours: {cpu: 9}}", CPU, GPU, trial=BOTH)
    assert found == [
        "refused",
        "study.yaml:6: budget: does not limit pool gpu, so the study would never end; set trials, time or target, or "
        "node_hours for it too",
    ]
    assert said(tmp_path, "budget: {node_hours: {cpu: 9}, trials: 100}", CPU, GPU, trial=BOTH) == []
    assert said(tmp_path, "budget: {node_hours: {cpu: 9}, gpu_hours: 9}", CPU, GPU, trial=BOTH) == []
    assert said(tmp_path, "budget: {node_hours: {cpu: 9}}", CPU, GPU) == [], "trials without GPUs use cpu only"


def test_a_budget_of_a_pool_that_the_study_does_not_use_is_a_note(tmp_path: Path) -> None:
    found = said(tmp_path, "budget:\n  trials: 9\n  node_hours: {gpu: 4}\n  gpu_hours: 4", CPU, GPU)
    assert found == [
        "study.yaml:8: budget.node_hours.gpu: limits nothing, since the study does not use pool gpu",
        "study.yaml:9: budget.gpu_hours: limits nothing, since the study uses no pool with GPUs",
    ]
