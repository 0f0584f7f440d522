"""What it takes to start an objective in one process, and in 1, 2 and 8 ranks, with and without PyTorch.

``python benchmarks/ranks.py [--small] [--keep] [--ranks 1 2 8] [--attempts 20] [--launcher mpiexec]``

One worker runs attempts one after the other, without a driver. Its fork server has imported the objective's module
before the first that is measured. An attempt's objective notes when it is called, and returns; the last one measured
here also meets the other ranks in a process group. With ``--launcher``, that one starts the ranks, and each imports
the module itself.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import common

from pilotune.pipeline.trial.protocol import AttemptSpec, ObjectiveSpec
from pilotune.pipeline.worker.process import forked
from pilotune.pipeline.worker.run_attempt import run_attempt

RANKS, ATTEMPTS = (1, 2, 8), 20
TICK = os.sysconf("SC_CLK_TCK")

NOTE = """\
Called: from the start of the attempt to the first line of the objective in the last rank. Attempt: until the worker has
its outcome. CPU: of the worker, its fork server and all ranks. Medians; CPU is the mean."""

PLAIN = """
import time

def objective(trial):
    (trial.checkpoint_dir / str(trial.rank)).write_text(repr(time.monotonic()))
    return 0.0
"""
TORCH = f"import torch\nimport torch._dynamo\n{PLAIN}"
GROUP = f"""
import torch.distributed as dist
{TORCH.replace("return 0.0", "meet(trial); return 0.0")}

def meet(trial):
    if trial.world_size > 1:
        dist.init_process_group("gloo")
        dist.barrier()
"""
OBJECTIVES = {"imports nothing": PLAIN, "imports torch": TORCH, "meets in a gloo group": GROUP}


@dataclass(frozen=True)
class Measured:
    """What one attempt took, in milliseconds."""

    called: float
    attempt: float


def spec_of(folder: Path, module: Path, number: int, ranks: int, launcher: str = "") -> AttemptSpec:
    """An attempt with so many ranks; 0: without ``trial.ranks``."""
    return AttemptSpec(
        token=f"{number}.1.bench",
        study="bench",
        number=number,
        attempt=1,
        params={},
        defines_space=False,
        directory=str(folder / "trials" / str(number)),
        seed=1,
        n_values=1,
        ranked=ranks > 0,
        ranks=max(1, ranks),
        ranks_per_node=max(1, ranks),
        cores=max(1, ranks),
        launcher=launcher,
        objective=ObjectiveSpec(file=str(module), function="objective"),
    )


def measure(folder: Path, module: Path, number: int, ranks: int, launcher: str) -> Measured:
    """Run one attempt."""
    spec = spec_of(folder, module, number, ranks, launcher).to_dict()
    began = time.monotonic()
    outcome = run_attempt(spec)
    ended = time.monotonic()
    if outcome["kind"] != "complete":
        raise RuntimeError(outcome["reason"])
    notes = (folder / "trials" / str(number) / "checkpoint-1").iterdir()
    called = max(float(note.read_text()) for note in notes)
    return Measured(1000 * (called - began), 1000 * (ended - began))


def cpu_seconds() -> float:
    """CPU seconds of this process, of its fork server, and of all processes of either that have ended."""
    if forked._server is None:  # a launcher has started the ranks
        used = os.times()
        return used.user + used.system + used.children_user + used.children_system
    fields = Path(f"/proc/{forked._server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + sum(map(int, fields[11:15])) / TICK


def rows_of(name: str, source: str, counts: list[int], attempts: int, launcher: str) -> list[list[object]]:
    """The measurements of one objective; one fork server is used for all."""
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, "objective.py")
        module.write_text(source)
        numbers = count()
        for ranks in counts:
            measure(Path(folder), module, next(numbers), ranks, launcher)
            before = cpu_seconds()
            found = [measure(Path(folder), module, next(numbers), ranks, launcher) for _ in range(attempts)]
            cpu = 1000 * (cpu_seconds() - before) / attempts
            called, whole = ([getattr(each, key) for each in found] for key in ("called", "attempt"))
            rows.append([name, ranks or "none", statistics.median(called), statistics.median(whole), cpu])
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS), help="numbers of ranks")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="attempts of each kind")
    parser.add_argument("--launcher", default="", choices=["srun", "mpiexec", "aprun"], help="what starts the ranks")
    options = parser.parse_args()
    attempts = 3 if options.small else options.attempts
    counts = options.ranks if options.launcher else [0, *options.ranks]
    sources = OBJECTIVES.items()
    rows = [row for name, source in sources for row in rows_of(name, source, counts, attempts, options.launcher)]
    head = ["objective", "ranks", "called, ms", "attempt, ms", "CPU, ms"]
    title = f"Starting an objective{f' by {options.launcher}' if options.launcher else ''}"
    common.finish("Ranks", common.table(title, head, rows) + "\n" + NOTE + "\n", options.keep)


if __name__ == "__main__":
    main()
