"""DHPO's speed-up: how much sooner 64 evaluations of equal duration are over with 2, 4 and 8 workers than with one.

``python benchmarks/published/speedup.py [--slurm] [--seconds 1 3] [--repetitions 3] [--table] [--keep]``

DHPO evaluates 16 generations of 4, each with a barrier; published are speed-ups of 3.65 and 3.80 with 4 workers. This
runs ``pilotune run`` on its three rates with an objective that sleeps, once with the barrier and once without, on local
workers. With ``--slurm`` it runs on four nodes of the Slurm of the tests as well, which takes root: with 1, 2 and 4
workers each has a node of its own, with 8 two share one.

A speed-up is the time with one worker over that with several, of the same repetition. Times are measured twice: from
the first line of the first trial to the last line of the last one, and from the command to the prompt.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the table and runs nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import optuna
import yaml

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.search import interval
from pilotune import grammar

HERE = Path(__file__).resolve().parent
PILOTUNE = Path(sys.executable).with_name("pilotune")
TRIALS, WORKERS = 64, (1, 2, 4, 8)
METHODS = {"with barrier": True, "without": False}
PUBLISHED = {("with barrier", 4): "3.65, 3.80"}
NODES = 4
NOTE = (
    "DHPO's evolution with a population of 4, whose barrier keeps at most 4 workers busy. Times in seconds are means;\n"
    "speed-ups have 95 % intervals over repetitions. Trials: from the first line of the first one to the last line of\n"
    "the last one. Command: from its start to the prompt, so that starting and ending the workers counts."
)


@dataclass(frozen=True)
class Timing:
    """One campaign of equal trials.

    Attributes:
        where: ``local`` or ``slurm``.
        method: One of ``METHODS``.
        pause: Seconds that a trial sleeps.
        trials: Seconds from the beginning of the first trial to the end of the last one.
        command: Seconds from the command to the prompt.
    """

    where: str
    method: str
    workers: int
    pause: float
    count: int
    repetition: int
    trials: float = 0.0
    command: float = 0.0

    @property
    def which(self) -> tuple[object, ...]:
        """What distinguishes the campaign from others."""
        return self.where, self.method, self.workers, self.pause, self.count, self.repetition


class Timings:
    """The campaigns in a file with one line each."""

    def __init__(self, file: Path) -> None:
        self._lines = kept.JsonLines(file)
        self.all = [Timing(**row) for row in self._lines.rows]

    def has(self, wanted: Timing) -> bool:
        return any(each.which == wanted.which for each in self.all)

    def add(self, timing: Timing) -> None:
        self.all.append(timing)
        self._lines.add(asdict(timing))

    def of(self, where: str, method: str, workers: int, pause: float, count: int) -> dict[int, Timing]:
        """The campaigns with such trials by repetition."""
        which = (where, method, workers, pause, count)
        return {each.repetition: each for each in self.all if each.which[:-1] == which}


def site_text(workers: int, scheduler: Mapping[str, Any] | None) -> str:
    """A site file with so many workers: local ones, or in one block of the Slurm with the keys ``scheduler``.

    >>> print(site_text(2, None))
    name: here
    scheduler: local
    pools:
      workers:
        workers_per_node: 2
    <BLANKLINE>
    """
    site: dict[str, Any] = {"name": "here", "scheduler": "local", "pools": {"workers": {"workers_per_node": workers}}}
    if scheduler is not None:
        nodes = min(workers, NODES)
        pool = {
            "walltime": "20m",
            "nodes_per_block": nodes,
            "workers_per_node": workers // nodes,
            "cores_per_node": 2,
            "exclusive": False,
            "launcher": "srun" if nodes > 1 else "single",
            "blocks": {"init": 1, "max": 1},
        }
        site |= {"scheduler": "slurm", "poll": "1s", **scheduler, "pools": {"workers": pool}}
    return yaml.safe_dump(site, sort_keys=False)


def study_text(timing: Timing) -> str:
    """DHPO's study, with the objective that sleeps."""
    sampler = {"name": "dhpo", "population": 4, "barrier": METHODS[timing.method], "seed": timing.repetition}
    rate = {"float": [0.0001, 0.9999]}
    return yaml.safe_dump(
        {
            "name": "speedup",
            "objective": f"{HERE / 'pause.py'}:train",
            "direction": "maximize",
            "space": {"lr": rate, "dropout": dict(rate), "momentum": dict(rate), "seconds": timing.pause},
            "sampler": sampler,
            "budget": {"trials": timing.count},
        },
        sort_keys=False,
    )


def measured(timing: Timing, scheduler: Mapping[str, Any] | None, environment: Mapping[str, str]) -> Timing:
    """Run the campaign; returns it with its times."""
    with tempfile.TemporaryDirectory(prefix="speedup") as name:
        folder = Path(name)
        study, site = folder / "study.yaml", folder / "site.yaml"
        study.write_text(study_text(timing))
        site.write_text(site_text(timing.workers, scheduler))
        url = f"sqlite:///{folder}/study.db"
        places = {"PILOTUNE_RUNS": str(folder / "runs"), "XDG_STATE_HOME": str(folder / "state")}
        began = time.monotonic()
        subprocess.run(
            [PILOTUNE, "run", study, "--storage", url, "--site", site, "--quiet"],
            env={**os.environ, **environment, **places},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took = time.monotonic() - began
        trials = optuna.load_study(study_name="speedup", storage=url).get_trials(deepcopy=False)
        spans = [trial.user_attrs["span"] for trial in trials]
        if len(spans) != timing.count:
            raise RuntimeError(f"{len(spans)} trials ended instead of {timing.count}")
        seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
        return Timing(*timing.which, round(seconds, 3), round(took, 3))  # type: ignore[arg-type]


@contextlib.contextmanager
def slurm_of_tests() -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Start the Slurm of the tests, and end it; keys of a site file, and variables for Slurm's commands."""
    from pilotune.tests.support.slurm import ACCOUNTS, Lab, Unavailable

    try:
        lab = Lab()
    except Unavailable as error:
        raise SystemExit(f"--slurm is not possible here: {error}.") from None
    try:
        yield {"account": ACCOUNTS[0], "network": {"address": lab.head}}, lab.environment
    finally:
        lab.stop()


def table_of(timings: Timings, pause: float, count: int) -> str:
    """A row for each place, method and number of workers; speed-ups are paired by repetition."""
    rows: list[list[object]] = []
    workers = sorted({each.workers for each in timings.all})
    for where in ("local", "slurm"):
        for method in METHODS:
            alone = timings.of(where, method, 1, pause, count)
            for number in workers:
                found = timings.of(where, method, number, pause, count)
                if not found:
                    continue
                row: list[object] = [where, method, number, len(found)]
                for what in ("trials", "command"):
                    times = [getattr(each, what) for each in found.values()]
                    gains = [
                        getattr(alone[each], what) / getattr(found[each], what)
                        for each in sorted(found)
                        if each in alone
                    ]
                    row += [sum(times) / len(times), interval(gains) if gains and number > 1 else None]
                rows.append([*row, PUBLISHED.get((method, number))])
    head = ["where", "generations", "workers", "runs", "trials, s", "speed-up", "command, s", "its speed-up",
            "published"]  # fmt: skip
    return common.table(f"{count} trials of {pause:g} s", head, rows)


def run(timings: Timings, planned: list[Timing], where: str) -> None:
    """Measure what is missing in one place."""
    missing = [each for each in planned if each.where == where and not timings.has(each)]
    if not missing:
        return
    with contextlib.ExitStack() as stack:
        given: tuple[Mapping[str, Any] | None, Mapping[str, str]] = (None, {})
        if where == "slurm":
            given = stack.enter_context(slurm_of_tests())
        for each in missing:
            done = measured(each, *given)
            timings.add(done)
            workers = grammar.count(each.workers, "worker")
            print(f"  {where}, {each.method}, {workers}: {done.trials:.1f} s", file=sys.stderr, flush=True)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--slurm", action="store_true", help="on the Slurm of the tests, too; takes root")
    parser.add_argument("--local", action=argparse.BooleanOptionalAction, default=True, help="on local workers [yes]")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0], help="that a trial sleeps [1]")
    parser.add_argument("--repetitions", type=int, default=3, help="of each campaign [3]")
    parser.add_argument("--workers", type=int, nargs="+", choices=WORKERS, default=list(WORKERS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    count, repetitions, pauses = TRIALS, options.repetitions, options.seconds
    if options.small:
        count, repetitions, pauses = 8, 1, [0.2]
    timings = Timings(options.cache / "speedup.jsonl")
    places = ["local"] * options.local + ["slurm"] * options.slurm
    planned = [
        Timing(where, method, workers, pause, count, repetition)
        for where in places
        for pause in pauses
        for repetition in range(repetitions)
        for method in METHODS
        for workers in options.workers
    ]
    for where in () if options.table else places:
        run(timings, planned, where)
    text = "\n".join([*(table_of(timings, pause, count) for pause in pauses), NOTE])
    common.finish("Published experiments: DHPO, speed-up", f"{text}\n", options.keep)


if __name__ == "__main__":
    main()
