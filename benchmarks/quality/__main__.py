"""Search quality with asynchronous workers: regret against trials, time and CPU, beside the strongest peers.

``python benchmarks/quality --cache build/quality --budget 2h`` runs what is missing for at most two hours and prints
tables for each number of workers; the next call goes on. Without ``--confirm`` it uses the tuning problems and the
seeds 0 to 99, by which a sampler's constants may be chosen. With ``--confirm`` it uses the confirming problems and
the seeds from 100 on, which must not influence a sampler; ``--confirm seeds`` has tuning problems with those seeds.

Regret of data is 0 at the optimum and 1 at the median best of 100 random configurations; of functions the difference to
the optimum; of several objectives the missing share of the hypervolume. Workers run on a virtual clock: a free one asks
for a trial, and tells its value when its duration is over. CPU is that of asking and telling.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: for small matrices, threads cost more than they gain
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from benchmarks import common
from benchmarks.quality import peers, problems, report, runs, simulate
from pilotune.errors import UserError

TRIALS = {1: 100, 16: 256, 128: 640, 1024: 5120}
"""Trials by number of workers: few enough that the best value still improves at the end on most problems."""
SMALL = {1: 20, 16: 40}
SMALL_PROBLEMS = ("branin", "conditional-machine", "gramacy", "branin-currin")
SMALL_SAMPLERS = ("tpe", "random", "optuna_tpe", "nsgaii")
KINDS = ("one objective", "soft constraints", "several objectives")
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """A duration such as ``90s``, ``30m`` or ``2h`` in seconds.

    >>> seconds("1.5h"), seconds("90")
    (5400.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is no duration; write it as 90s, 30m or 2h")
    return float(found[1]) * UNITS[found[2]]


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="seeds of each run (default: %(default)s)")
    parser.add_argument("--slow-seeds", type=int, default=3, help="seeds of slow peers (default: %(default)s)")
    parser.add_argument("--workers", default="1,16,128,1024", help="default: %(default)s")
    parser.add_argument("--trials", type=int, help=f"trials of a run; default, by workers: {TRIALS}")
    parser.add_argument("--problems", help="names, or families: " + ", ".join(problems.FAMILIES))
    parser.add_argument("--samplers", help="names, also with arguments (tpe+parallel=crowd), all, or fast")
    parser.add_argument("--against", default="tpe", help="the sampler that others are compared with (default: tpe)")
    parser.add_argument("--confirm", nargs="?", const="all", choices=["all", "seeds"], help="see above")
    parser.add_argument("--cache", type=Path, help="a folder in which results are stored and found again")
    parser.add_argument("--budget", type=seconds, default=math.inf, help="stop in time, as 90s, 30m or 2h")
    parser.add_argument("--again", help="samplers whose stored results are removed first: their code has changed")
    parser.add_argument("--list", action="store_true", help="list problems and samplers, and stop")
    return parser.parse_args()


def chosen_problems(text: str | None, confirm: str | None) -> list[str]:
    """The problems that `text` names, of those that `confirm` allows. Exits with a sentence about another."""
    allowed = problems.names_of(confirm == "all")
    if text is None:
        return allowed
    names: list[str] = []
    for name in text.split(","):
        if name in problems.FAMILIES:
            names += [each for each in problems.FAMILIES[name] if each in allowed]
        elif name in allowed:
            names.append(name)
        elif name in problems.PROBLEMS:
            needed = "for tuning; leave out --confirm" if confirm == "all" else "for confirming; add --confirm"
            raise SystemExit(f"{name} is {needed}, or choose another problem.")
        else:
            raise SystemExit(f"The problem {name} is unknown; known are {', '.join(problems.PROBLEMS)}.")
    return list(dict.fromkeys(names))


def chosen_samplers(text: str | None) -> list[str]:
    """The samplers that `text` names. Exits with a sentence where one is unknown."""
    if text in (None, "all"):
        return peers.defaults()
    names = [*peers.families(), "crowd", *peers.FAST] if text == "fast" else (text or "").split(",")
    for name in names:
        try:
            peers.peer(name)
        except UserError as error:
            raise SystemExit(f"{error} Peers are {', '.join(peers.PEERS)}.") from None
    return names


def kind_of(problem: problems.Problem) -> str:
    if problem.objectives > 1:
        return KINDS[2]
    return KINDS[1] if problem.constrained else KINDS[0]


class Benchmark:
    """Problems, samplers and sizes of one call, and the runs that they mean.

    Attributes:
        notes: Sentences on what is left out.
    """

    def __init__(self, names: list[str], samplers: list[str], sizes: dict[int, int], confirming: bool):
        self.notes = [note for note in (*map(problems.missing, names), *map(peers.absent, samplers)) if note]
        self.problems = {name: problems.make(name) for name in names if not problems.missing(name)}
        self.samplers = [name for name in samplers if not peers.absent(name)]
        self.sizes, self.confirming = sizes, confirming
        if not self.problems or not self.samplers:
            raise SystemExit("\n".join(self.notes))

    def groups(self) -> list[runs.Run]:
        """One run of each sampler on each problem that suits it, for each size."""
        found = []
        for workers, trials in self.sizes.items():
            for name, problem in self.problems.items():
                for sampler in self.samplers:
                    note = peers.unsuited(sampler, problem, trials)
                    if note is None:
                        found.append(runs.Run(name, sampler, workers, trials, 0))
                    elif note not in self.notes:
                        self.notes.append(note)
        return found

    def execute(self, run: runs.Run, deadline: float) -> simulate.Trace:
        """Run one run."""
        problem = self.problems[run.problem]
        setting = peers.Setting(problem, run.seed, run.workers, run.trials)
        sampler = peers.peer(run.sampler).make(setting)
        return simulate.Workers(problem, sampler, run.workers, run.trials, run.seed, deadline).run()

    def tables(self, cache: runs.Cache, seeds: range, workers: int, base: str) -> str:
        """The report for one number of workers: a part for each kind of problems."""
        parts, trials = [], self.sizes[workers]
        for kind in KINDS:
            chosen = {name: problem for name, problem in self.problems.items() if kind_of(problem) == kind}
            traces = {}
            for name in chosen:
                for sampler in self.samplers:
                    known = cache.traces(runs.Run(name, sampler, workers, trials, 0))
                    traces[name, sampler] = {seed: known[seed] for seed in seeds if seed in known}
            results = report.Results(chosen, self.samplers, traces, trials)
            if results.problems:
                parts.append(f"### {kind.capitalize()}\n\n{report.text(results, base)}")
        return "\n".join(parts)


def listing() -> str:
    """All problems with their roles, and all samplers."""
    rows = [
        [family, name, "confirming" if listed.confirming else "tuning", problems.missing(name) or ""]
        for family, members in problems.FAMILIES.items()
        for name, listed in members.items()
    ]
    samplers = [[name, peers.absent(name) or ""] for name in peers.defaults()]
    head = ["family", "problem", "for", "missing"]
    return common.table("Problems", head, rows) + "\n" + common.table("Samplers", ["sampler", "missing"], samplers)


def sizes_of(wanted: argparse.Namespace) -> dict[int, int]:
    """The trials by number of workers."""
    counts = [int(count) for count in wanted.workers.split(",")]
    return SMALL if wanted.small else {each: wanted.trials or TRIALS.get(each, 5 * each) for each in counts}


def main() -> None:
    warnings.simplefilter("ignore")
    simulate.optuna.logging.set_verbosity(simulate.optuna.logging.WARNING)
    wanted = arguments()
    if wanted.list:
        print(listing())
        return
    names, samplers = chosen_problems(wanted.problems, wanted.confirm), chosen_samplers(wanted.samplers)
    if wanted.small:
        names = list(SMALL_PROBLEMS) if wanted.problems is None else names
        samplers = list(SMALL_SAMPLERS) if wanted.samplers is None else samplers
    try:
        seeds = problems.seeds_of(bool(wanted.confirm), 2 if wanted.small else wanted.seeds)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    benchmark = Benchmark(names, samplers, sizes_of(wanted), bool(wanted.confirm))
    cache, groups = runs.Cache(wanted.cache), benchmark.groups()
    if wanted.again:
        cache.forget(group for group in groups if group.sampler in wanted.again.split(","))
    slow = {name for name in benchmark.samplers if peers.peer(name).slow}
    planned = runs.interleaved(groups, seeds, slow, wanted.slow_seeds)
    missing = runs.fill(cache, planned, benchmark.execute, runs.Budget(wanted.budget))
    notes = [*benchmark.notes, *missing.failures]
    if missing.late:
        notes.append(f"{missing.late:,} runs did not fit the budget; the next call goes on with them.")
    for workers in benchmark.sizes:
        found = benchmark.tables(cache, seeds, workers, wanted.against)
        title = f"Search quality with {workers} worker{'s' * (workers > 1)}"
        title += f", confirming {'seeds' if wanted.confirm == 'seeds' else 'problems'}" if wanted.confirm else ""
        common.finish(title, "\n".join([found, *notes]), wanted.keep)


if __name__ == "__main__":
    main()
