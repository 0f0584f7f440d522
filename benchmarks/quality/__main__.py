"""Search quality with 1, 16 and 128 asynchronous workers: median regret, beside Optuna's TPE, random and DeepHyper.

``python benchmarks/quality [--seeds 20] [--workers 1,16,128] [--problems a,b] [--samplers a,b] [--keep]`` prints a
table for each number of workers. Regret 0 is the optimum, 1 the median best of 100 random configurations. Workers run
on a virtual clock: a free one asks for a trial, and tells its value when its duration is over. A sampler's rank is its
place among all samplers on the same problem and seed; 1 is the best, and ties share the mean of their places.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = (
    "1"  # for small matrices, threads cost more than they gain
)

from benchmarks import common
from benchmarks.quality import problems, results
from benchmarks.quality.samplers import SAMPLERS, absent

TRIALS = {1: 100, 16: 256, 128: 640}
"""Trials by number of workers: few enough that the best value still improves at the end on most problems."""
SMALL = {1: 20, 16: 40}


def listed(text: str, known: list[str]) -> list[str]:
    """The names in the comma-separated `text`. Exits with a message where one is not in `known`."""
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"{name} is unknown; known are {', '.join(known)}.")
    return names


def arguments() -> argparse.Namespace:
    parser = common.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", default="1,16,128")
    parser.add_argument("--problems", default=",".join(problems.MAKERS), help="default: %(default)s")
    others = ",".join(name for name in SAMPLERS if name != "pilotune-crowd")
    parser.add_argument("--samplers", default=others, help="default: %(default)s; pilotune-crowd by name")
    parser.add_argument("--cache", type=Path, help="a folder in which results are stored and found again")
    return parser.parse_args()


def main() -> None:
    warnings.simplefilter("ignore")
    wanted = arguments()
    names = listed(wanted.problems, list(problems.MAKERS))
    samplers = listed(wanted.samplers, list(SAMPLERS))
    counts = [int(count) for count in wanted.workers.split(",")]
    seeds = wanted.seeds
    if wanted.small:
        counts, seeds, names = list(SMALL), 2, names[:2]
        samplers = [name for name in samplers if name != "deephyper"]
    notes = [note for note in (*map(problems.missing, names), *map(absent, samplers)) if note]
    names = [name for name in names if not problems.missing(name)]
    samplers = [name for name in samplers if not absent(name)]
    if not names or not samplers:
        raise SystemExit("\n".join(notes))
    cache = results.Results(wanted.cache)
    for count in counts:
        trials = SMALL[count] if wanted.small else TRIALS.get(count, 5 * count)
        found = cache.collect(names, samplers, count, trials, range(seeds))
        text = results.text(found, names, samplers, count, trials, seeds)
        workers = "1 worker" if count == 1 else f"{count} workers"
        common.finish(f"Search quality with {workers}", "\n".join([text, *notes]), wanted.keep)


if __name__ == "__main__":
    main()
