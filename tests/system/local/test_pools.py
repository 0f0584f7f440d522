"""Several pools, and blocks with a walltime, on real workers of this machine."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from pilotune.pipeline.attributes import details_of

from ...support.local import Here, end_of, ended, processes, until

pytestmark = pytest.mark.real

EPOCHS = """
import os, time
from pathlib import Path

NOTES = Path(__file__).parent / "epochs"

def objective(trial):
    saved = trial.checkpoint_dir / "epoch"
    first = int(saved.read_text()) + 1 if saved.exists() else 1
    for epoch in range(first, trial.params["epochs"] + 1):
        time.sleep(0.5)
        with open(NOTES, "a") as file:
            file.write(f"{trial.number}:{trial.attempt}:{epoch}\\n")
        saved.write_text(str(epoch))
        trial.report(epoch, step=epoch)
    if trial.params["meet"]:
        (NOTES.parent / f"runs-in-{os.environ['PILOTUNE_POOL']}").touch()
        while len(list(NOTES.parent.glob("runs-in-*"))) < 2:
            time.sleep(0.05)
    return trial.params["x"]
"""
"""Trials that ``meet`` wait until each of two pools runs one, so that the first pool to start does not run them all."""


def study(here: Here, name: str, epochs: int, trials: int, *, meet: bool = False) -> None:
    here.study(
        name,
        EPOCHS,
        f"direction: minimize\nspace: {{x: {{float: [0, 1]}}, epochs: {epochs}, meet: {int(meet)}}}\n"
        f"sampler: random\nbudget: {{trials: {trials}}}\n",
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Here, dict[str, subprocess.Popen[str]]]]:
    """All campaigns of this file, side by side, since they mostly wait."""
    here = Here(tmp_path_factory.mktemp("pools"))
    here.write("two.yaml", "scheduler: local\npools: {a: {workers_per_node: 2}, b: {workers_per_node: 1}}\n")
    here.write(
        "short.yaml",
        "scheduler: local\npools: {a: {workers_per_node: 2, walltime: 45s, blocks: {init: 1, max: 1}}}\n",
    )
    study(here, "both", 3, 9, meet=True)
    study(here, "crossing", 90, 2)
    with (
        ended(here.start("run", "both.yaml", "--site", "./two.yaml")) as both,
        ended(here.start("run", "crossing.yaml", "--site", "./short.yaml")) as crossing,
    ):
        yield here, {"both": both, "crossing": crossing}


def test_every_pool_of_a_site_runs_trials(started: tuple[Here, dict[str, subprocess.Popen[str]]]) -> None:
    here, running = started
    end_of(running["both"])
    pools = Counter(details_of(trial)["pool"] for trial in here.optuna("both").trials)
    assert sum(pools.values()) == 9
    assert pools["a"] > pools["b"] > 0


@pytest.mark.exhaustive
def test_trials_longer_than_their_blocks_go_on_from_block_to_block_and_compute_no_epoch_twice(
    started: tuple[Here, dict[str, subprocess.Popen[str]]],
) -> None:
    here, running = started
    assert "2: 2 complete" in end_of(running["crossing"]).stdout
    trials = here.optuna("crossing").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert all(list(trial.intermediate_values) == list(range(1, 91)) for trial in trials)
    assert all(trial.user_attrs["pilotune:attempts"] >= 2 for trial in trials)
    assert all("last_loss" not in details_of(trial) for trial in trials), "they yielded before the end"
    epochs = [tuple(map(int, line.split(":"))) for line in here.lines("epochs")]
    computed = Counter((number, epoch) for number, _, epoch in epochs if number < 2)
    assert all(times == 1 for (_, epoch), times in computed.items() if epoch > 3), "both studies note epochs 1 to 3"
    until(lambda: not processes(here), "all processes have ended")


def test_a_study_that_no_pool_can_run_is_refused_with_the_resources_of_each(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.write("two.yaml", "scheduler: local\npools: {a: {gpus_per_node: 1}, b: {gpus_per_node: 2}}\n")
    study(here, "large", 1, 1)
    done = here.run("run", "large.yaml", "--site", "./two.yaml", "--set", "trial.gpus=4", code=2)
    assert "--set trial.gpus: a trial needs 1 core and 4 GPUs; pool a offers " in done.stderr
    assert "1 GPU; pool b offers" in done.stderr
    assert "2 GPUs (site two)" in done.stderr
