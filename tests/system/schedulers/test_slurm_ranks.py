"""Python objectives with ranks on two nodes of a Slurm: data-parallel training, and what is killed or goes down."""

from __future__ import annotations

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from pilotune.pipeline.worker.node.posix import parents

from ...support import slurm
from ...support.campaigns import LONG, NOTE, Result, campaign, computed_again, running_jobs, write_study
from ...support.local import processes, until
from .lab import N4, SLURM, SlurmLab, SlurmLogin

pytestmark = [pytest.mark.real, pytest.mark.heavy, pytest.mark.parametrize("lab", [SLURM], ids=["slurm"])]

needs_open_mpi = pytest.mark.skipif(
    not (shutil.which("mpiexec.openmpi") and find_spec("mpi4py")) and not os.environ.get("CI"),
    reason="mpiexec.openmpi, from tests/support/setup.sh, and mpi4py are not both installed",
)

RANKED = (
    NOTE
    + """
import socket, time

def tell(path, number):
    path.with_suffix(".part").write_text(str(number))
    path.with_suffix(".part").rename(path)

def objective(trial):
    saved, first = trial.checkpoint_dir / "epoch", trial.checkpoint_dir / f"first-{trial.attempt}"
    last = trial.checkpoint_dir / "last"
    if trial.rank == 0:
        tell(first, int(saved.read_text()) + 1 if saved.exists() else 1)
    while not first.exists():
        time.sleep(0.05)
    for epoch in range(int(first.read_text()), 100_000):
        time.sleep(0.1)
        if trial.rank == 0:
            tell(saved, epoch)
            note(trial.number, trial.attempt, epoch, socket.gethostname(), "", os.environ["PILOTUNE_POOL"])
            if (STUDY / "go").exists():
                tell(last, epoch)
        trial.report(epoch, step=epoch)
        if last.exists() and int(last.read_text()) == epoch:
            return float(trial.world_size)
"""
)
"""Rank 0 says with which epoch the ranks begin, and which is the last one."""


class RankUser(SlurmLogin):
    """A user whose trials have a rank on each of two nodes."""

    def write(self) -> None:
        write_study(self.here, {}, trial={"nodes": 2, "ranks": 2, "grace": "3s"})
        self.here.write("epochs.py", RANKED)

    def pids(self, *words: str) -> list[int]:
        """The user's processes with all of these words."""
        return [pid for pid, said in processes(self.here).items() if all(word in said for word in words)]


def machine(lab: SlurmLab) -> slurm.Lab:
    assert lab.slurm is not None
    return lab.slurm


def ranks_lost(folder: Path, lab: SlurmLab) -> Result:
    """The launcher is killed, then the program of a rank, then the campaign is stopped, then the driver is killed."""
    user = RankUser(machine(lab), folder, {"nodes_per_block": 2, "options": ["#SBATCH --exclude=n4"]})
    user.write()
    with user.start_again() as process:
        user.await_epochs(1)
        (launcher,) = [pid for pid in user.pids("srun", "rank_program") if os.getpgid(pid) == pid]
        os.kill(launcher, signal.SIGKILL)
        user.await_epochs(1, attempt=2)
        os.kill(program_of_a_rank(user), signal.SIGKILL)
        user.await_epochs(1, attempt=3)
        user.here.run("stop", "epochs", "--yield")
        process.communicate(timeout=LONG)
    user.nothing_is_left()
    with user.start_again() as process:
        user.await_epochs(1, attempt=4)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    user.nothing_is_left()
    user.let_trials_end()
    with user.start_again() as process:
        return user.finish(process)


def program_of_a_rank(user: RankUser) -> int:
    """The one whose child has the same words, since it was forked for the objective."""
    of, ours = parents(), user.pids("rank_program")
    return max(of[pid] for pid in ours if of[pid] in ours and "-P" in words_of(of[pid])[:2])


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


@campaign(ranks_lost)
def test_ranks_on_two_nodes_go_on_after_kills_and_leave_nothing_behind(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [2.0]
    assert result.attempts(0) == 5
    assert computed_again(result.epochs) == []


def ranks_node_down(folder: Path, lab: SlurmLab) -> Result:
    """One of the two nodes goes down, and comes back."""
    user = RankUser(machine(lab), folder, {"nodes_per_block": 2, "options": ["#SBATCH --nodelist=n3,n4"]})
    user.write()
    with N4, user.start_again() as process:
        user.await_epochs(1)
        user.machine.set_down("n4")
        try:
            until(lambda: len(running_jobs(user.here)) > 1, "there is another block", LONG)
        finally:
            user.machine.set_up("n4")
        user.await_epochs(1, attempt=2)
        user.let_trials_end()
        return user.finish(process)


@pytest.mark.exhaustive
@campaign(ranks_node_down)
def test_a_node_that_goes_down_costs_a_trial_with_ranks_an_attempt(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    assert [trial.value for trial in result.trials] == [2.0]
    assert computed_again(result.epochs) == []


TRAINING = """
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

BATCH = 256

def train(rank, size, lr, wrap, total_of, report):
    images, targets = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = images.float() / 16
    torch.manual_seed(0)
    model = wrap(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(1, 4):
        total = torch.zeros(())
        for start in range(0, 1536, BATCH):
            part = range(start + rank, start + BATCH, size)
            loss = torch.nn.functional.cross_entropy(model(images[part]), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() / size
        total_of(total)
        report(total.item() / 6, epoch)
    return total.item() / 6

def objective(trial):
    dist.init_process_group("gloo")
    wrap = torch.nn.parallel.DistributedDataParallel
    return train(trial.rank, trial.world_size, trial.params["lr"], wrap, dist.all_reduce, trial.report)
"""

TRAINING_STUDY = """
direction: minimize
space: {lr: {float: [0.1, 0.9]}}
sampler: random
start_from: {enqueue: [{lr: 0.5}]}
budget: {trials: 1}
trial: {nodes: 2, ranks: 4}
"""


def ranks_training(folder: Path, lab: SlurmLab) -> Result:
    """Data-parallel training in two ranks on each of two nodes."""
    user = RankUser(machine(lab), folder, {"nodes_per_block": 2, "cores_per_node": 2})
    user.here.study("epochs", TRAINING, TRAINING_STUDY)
    with user.start_again() as process:
        return user.finish(process)


@pytest.mark.slow
@campaign(ranks_training)
def test_data_parallel_training_on_two_nodes_has_the_loss_of_one_rank(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    space: dict[str, object] = {}
    exec(TRAINING, space)
    losses: dict[int, float] = {}
    train = space["train"]
    assert callable(train)
    train(0, 1, 0.5, lambda net: net, lambda total: None, lambda loss, epoch: losses.__setitem__(epoch, loss))
    assert result.trials[0].intermediate_values == pytest.approx(losses, abs=1e-4)
    assert losses[1] > losses[3]


MESSAGES = """
def objective(trial):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    names = comm.gather(MPI.Get_processor_name())
    total = comm.allreduce(trial.rank + trial.params["x"])
    trial.report(total, step=1)
    if trial.rank == 0:
        trial.set_user_attr("names", [name.partition(".")[0] for name in names])
    return total
"""
MESSAGES_STUDY = """
direction: minimize
space: {x: {float: [0, 1]}}
start_from: {enqueue: [{x: 0.5}]}
budget: {trials: 1}
trial: {nodes: 2, ranks: 4, launcher: mpiexec}
"""


def ranks_of_open_mpi(folder: Path, lab: SlurmLab) -> Result:
    """Two ranks on each of two nodes, started by Open MPI's mpiexec."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "mpiexec").symlink_to(str(shutil.which("mpiexec.openmpi")))
    setup = f"export PATH={programs}:$PATH MPI4PY_MPIABI=openmpi"
    user = RankUser(machine(lab), folder / "user", {"nodes_per_block": 2, "cores_per_node": 2}, {"setup": setup})
    user.here.study("epochs", MESSAGES, MESSAGES_STUDY)
    with user.start_again() as process:
        return user.finish(process)


@pytest.mark.slow
@needs_open_mpi
@campaign(ranks_of_open_mpi)
def test_open_mpi_starts_ranks_on_the_nodes_of_a_trial(result: Result) -> None:
    assert result.code == 0, result.out + result.err
    (trial,) = result.trials
    assert trial.value == 8.0
    names = trial.user_attrs["names"]
    assert (names[0], names[2]) == (names[1], names[3])
    assert names[0] != names[2]
