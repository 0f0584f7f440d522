"""Data-parallel training with torch.distributed in the ranks of a trial."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.trial.protocol import ObjectiveSpec
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.trial_driver import Driver, make_spec, verdict_at

pytest.importorskip("torch")
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.heavy]

OBJECTIVES = """
    import os

    import optuna
    import torch
    import torch._dynamo  # the first step of an optimizer would import it in each rank
    import torch.distributed as dist
    from optuna_integration import TorchDistributedTrial
    from sklearn.datasets import load_digits

    BATCH = 256

    def train(trial):
        # The loss is summed over all ranks' parts of a batch of 256, so it is the same for any number of them.
        if trial.number == 3 and trial.rank == 1:
            os.kill(os.getpid(), 9)
        dist.init_process_group("gloo")
        images, targets = (torch.tensor(part) for part in load_digits(return_X_y=True))
        images = images.float() / 16
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
        model = torch.nn.parallel.DistributedDataParallel(net)
        optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["x"])
        for epoch in range(1, 4):
            total = torch.zeros(())
            for start in range(0, 1536, BATCH):
                part = range(start + trial.rank, start + BATCH, trial.world_size)
                loss = torch.nn.functional.cross_entropy(model(images[part]), targets[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach() / trial.world_size
            dist.all_reduce(total)
            if trial.number == 4 and epoch == 2 and trial.rank == 1:
                raise ValueError("no data")
            trial.report(total.item() / 6, step=epoch)
        return total.item() / 6

    # The objective of Optuna's own example pytorch_distributed_simple.py, with smaller data and network.
    def objective(single_trial):
        trial = TorchDistributedTrial(single_trial)
        lr = trial.suggest_float("lr", 0.25, 1.0, log=True)
        optimizer_name = trial.suggest_categorical("optimizer", ["SGD", "Adam"])
        torch.manual_seed(0)
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
        optimizer = getattr(torch.optim, optimizer_name)(model.parameters(), lr=lr)
        for epoch in range(1, 4):
            optimizer.zero_grad()
            loss = model(torch.ones(2, 4)).pow(2).mean()
            loss.backward()
            optimizer.step()
            trial.report(loss.item(), epoch)
            if trial.should_prune():
                raise optuna.exceptions.TrialPruned()
        trial.set_user_attr("size", dist.get_world_size())
        return loss.item()

    def either(trial):  # one function, so that one fork server is enough
        return objective(trial) if trial.number == 7 else train(trial)
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all tests, so that one fork server imports torch for them."""
    path: Path = tmp_path_factory.mktemp("objectives") / "objectives.py"
    path.write_text(textwrap.dedent(OBJECTIVES))
    return path


@pytest.fixture
def run(tmp_path: Path, module: Path) -> Callable[..., dict[str, Any]]:
    def start(number: int, ranks: int, **changes: Any) -> dict[str, Any]:
        objective = ObjectiveSpec(file=str(module), function="either")
        fields = {"ranked": True, "ranks": ranks, "ranks_per_node": ranks, "cores": ranks, "params": {"x": 0.5}}
        return run_attempt(make_spec(tmp_path, objective, number=number, **{**fields, **changes}))

    return start


def test_the_loss_does_not_depend_on_the_number_of_ranks(run: Any) -> None:
    losses = []
    for number, ranks in enumerate((1, 2, 4)):
        outcome = run(number, ranks)
        assert (outcome["kind"], outcome["reason"]) == ("complete", "")
        losses.append([value for _, value in outcome["reports"]])
    assert len(losses[0]) == 3
    assert losses[0][0] > losses[0][2]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[2] == pytest.approx(losses[0], abs=1e-4)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(3, "rank 1 on node {}: killed by SIGKILL (signal 9)"), (4, "rank 1 on node {}: ValueError: no data")],
)
def test_of_ranks_in_a_collective_call_the_one_that_failed_first_is_named(run: Any, number: int, reason: str) -> None:
    outcome = run(number, 3, grace=1.0)
    assert outcome["kind"] == "failed"
    assert outcome["reason"].startswith(reason.format(outcome["host"]))


@pytest.mark.parametrize(
    ("preload", "pruned"), [(True, True), (True, False), pytest.param(False, False, marks=pytest.mark.exhaustive)]
)
def test_an_objective_with_a_torch_distributed_trial_runs_unchanged(
    run: Any, tmp_path: Path, preload: bool, pruned: bool
) -> None:
    driver = Driver(tmp_path, verdict_at(2 if pruned else 9, "prune"))
    try:
        suggested = {"params": {}, "defines_space": True, "space_names": [], "preload": preload}
        outcome = run(7, 2, channel=driver.address, **suggested)
    finally:
        driver.close()
    assert outcome["kind"] == ("pruned" if pruned else "complete"), outcome["reason"]
    assert outcome["params"] == {"lr": 0.25, "optimizer": "SGD"}
    assert [step for step, _ in outcome["reports"]] == ([1, 2] if pruned else [1, 2, 3])
    assert outcome["user_attrs"] == ({} if pruned else {"size": 2})
