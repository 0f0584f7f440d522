"""Placement in whole campaigns, with walltimes, failures, memory limits and a pool that goes away.

``python benchmarks/placement_campaign.py [--small] [--keep] [--table] [--trials 200] [--seeds 3]``

``placement.py`` compares policies on ideal pools. Here the campaign is the real one, with its record, its loop and what
learns costs; only the pools are simulated (``placement_site.py``). 15 workers in three pools run the trials of three of
the cases there. A trial reports three times, and saves a checkpoint each time. All policies get the same trials in the
same order, with the same seconds.

- none: nothing goes wrong.
- walltimes: blocks wait for 2 minutes and end after 20; long trials yield, or are killed, and go on from a checkpoint.
- failures: an attempt in 25 fails, and is tried again.
- memory: large models do not fit in the old pool, and are killed there for their memory.
- vanishing: the GPUs go away after a third of the bound's time and do not come back.

Makespan is the time until the last trial has ended, in seconds. Trials an hour are those of the second and third
quarter to end. Each counts by what the linear program says that a trial of its kind is worth, so that no policy gains
by ending the short ones first. It is not shown where a pool goes away. Worker-hours a result are those for which blocks
held workers, for each complete trial. The regret is that of the best complete trial when a quarter and half of first-
come's makespan have passed; the optimum is 0. A ratio over first-come is above 1 where the policy is faster. Intervals
are 95 %, over seeds. The bound is the linear program's rate from the first second to the last. It knows memory and the
pool that goes away, but no walltimes and no failures, and takes trials in any order: of a pool that goes away it uses
each second for what only that pool is good at.

A finished run is a line in ``build/published`` (``--cache``), and the next call goes on. ``--table`` runs nothing.
"""

from __future__ import annotations

import math
import os
import sys
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import optuna
from placement import CASES, KNOWN, NAMES, POLICIES, Case, interval, program
from placement_site import FEWER, NEEDS, SLOWER, TROUBLES, Trials, Trouble, campaign

from benchmarks import common
from benchmarks.published import kept

HARDWARE = {"speed": CASES[0], "larger": CASES[1], "medium": CASES[2]}
BOUND = "bound"
VANISHES_AFTER = 1 / 3
"""Of the bound's time, if all pools stayed."""

HIGHEST, PRECISION = 20.0, 1e-3
"""Where one goes away, the bound is no more than so many times that with all pools, and known to this part."""

MOMENTS = (1 / 4, 1 / 2)
"""The parts of first-come's makespan after which the regret is told."""

STEADY = [each.name for each in TROUBLES if not each.vanishes]
"""With the other troubles the rate is not the same all the time, so it is not shown."""

FIRST = POLICIES[0]
SMALL_TRIALS = 30


@dataclass(frozen=True)
class Row:
    """A run, as it is kept.

    Attributes:
        case: The hardware, a key of ``HARDWARE``.
        trouble: What went wrong.
        policy: How trials were placed.
        seed: Of the trials and of all else that was drawn.
        trials: Their number.
        makespan: Seconds until the last trial had ended.
        rate: Trials an hour while the mix was fixed.
        held: Worker-hours.
        complete: Complete trials.
        attempts: Attempts that were begun.
        best: Each improvement of the best value: seconds, and the value.
    """

    case: str
    trouble: str
    policy: str
    seed: int
    trials: int
    makespan: float
    rate: float
    held: float = 0.0
    complete: int = 1
    attempts: int = 0
    best: Sequence[tuple[float, float]] = ()

    def regret(self, seconds: float) -> float:
        """Of the best trial that was complete at such a time; 1 before there was any."""
        return min([value for when, value in self.best if when <= seconds], default=1.0)


def solved(trials: Trials, trouble: Trouble, times: Mapping[str, float]) -> tuple[float, Sequence[float]]:
    """The linear program: how many trials end where each pool's workers have so many seconds, and trials' worth."""
    case, scale = trials.case, SLOWER * FEWER
    workers = {name: many * times[name] / scale for name, many in case.workers.items()}

    def may(params: Mapping[str, object], pool: str) -> bool:
        return NEEDS[str(params["model"])] <= trouble.memory.get(pool, math.inf)

    ended, worth = program(Case(case.name, workers, case.seconds), trials.drawn, may)  # type: ignore[arg-type]
    return ended, worth.tolist()


def rate_of(trials: Trials, trouble: Trouble) -> tuple[float, Sequence[float]]:
    """Trials a second by the linear program while all pools are there, and trials' worth."""
    return solved(trials, trouble, dict.fromkeys(trials.case.workers, 1.0))


def vanishing_time(trials: Trials, trouble: Trouble) -> float:
    """Seconds after which the pool goes away."""
    return VANISHES_AFTER * len(trials.drawn) / rate_of(trials, trouble)[0]


def bound(case: str, trouble: Trouble, seed: int, number: int) -> Row:
    """The linear program's time; a pool that goes away has only what it had until then."""
    trials = Trials(HARDWARE[case], number, seed)
    gone, low = vanishing_time(trials, trouble), number / rate_of(trials, trouble)[0]
    high = low
    if trouble.vanishes:
        high = HIGHEST * low
        while high - low > PRECISION * low:
            middle = (low + high) / 2
            times = {name: gone if name == trouble.vanishes else middle for name in trials.case.workers}
            low, high = (low, middle) if solved(trials, trouble, times)[0] >= number else (middle, high)
    return Row(case, trouble.name, BOUND, seed, number, high, 3600 * number / high)


def run(case: str, trouble: Trouble, policy: str, seed: int, number: int) -> Row:
    """One campaign."""
    trials = Trials(HARDWARE[case], number, seed)
    found = campaign(trials, trouble, policy, seed, vanishing_time(trials, trouble))
    worth = rate_of(trials, trouble)[1]
    ended = list(accumulate(worth[trial] for _, trial, _ in found.ends))
    quarter, last = (found.ends[bisect(ended, part * ended[-1])][0] for part in (0.25, 0.75))
    rate = 1800 * ended[-1] / (last - quarter)
    values = accumulate((value for _, _, value in found.ends), min)
    best = list(
        {value: (end[0], value) for end, value in reversed(list(zip(found.ends, values, strict=True)))}.values()
    )
    return Row(
        case, trouble.name, policy, seed, number, found.makespan, rate, found.held, found.complete, found.attempts, best
    )


def lines_of(rows: Sequence[Row], case: str) -> list[list]:
    """The lines of a table for one kind of hardware; ``rows`` are of one trouble."""
    by = {(row.policy, row.seed): row for row in rows if row.case == case}
    seeds = sorted({seed for _, seed in by if all((policy, seed) in by for policy in (*POLICIES, BOUND))})
    found = []
    for policy in (*POLICIES, BOUND) if seeds else ():
        own = [by[policy, seed] for seed in seeds]
        first, known = ([by[other, seed] for seed in seeds] for other in (FIRST, KNOWN))
        line: list = [
            HARDWARE[case].name,
            NAMES.get(policy, policy),
            len(seeds),
            interval([row.makespan for row in own]),
            interval([other.makespan / row.makespan for other, row in zip(first, own, strict=True)]),
            interval([other.makespan / row.makespan for other, row in zip(known, own, strict=True)]),
        ]
        if own[0].trouble in STEADY:
            line.append(interval([row.rate for row in own]))
            line.append(interval([row.rate / other.rate for other, row in zip(first, own, strict=True)]))
        else:
            line += [None, None]
        if policy == BOUND:
            found.append([*line, None, *(None for _ in MOMENTS), None])
            continue
        line.append(interval([row.held / row.complete for row in own]))
        for part in MOMENTS:
            line.append(interval([row.regret(part * other.makespan) for other, row in zip(first, own, strict=True)]))
        found.append([*line, mean(row.attempts / row.complete for row in own)])
    return found


HEAD = ["hardware", "policy", "seeds", "makespan, s", "over first-come", "over known costs", "trials an hour"]
HEAD += ["rate over first-come", "worker-hours a result", "regret, 1/4", "regret, 1/2", "attempts a result"]


def tables(rows: Sequence[Row], trials: int) -> str:
    """A table for each trouble of which there are runs."""
    found = []
    for trouble in TROUBLES:
        here = [row for row in rows if row.trouble == trouble.name]
        lines = [line for case in HARDWARE for line in lines_of(here, case)]
        if lines:
            found.append(common.table(f"{trouble.name}: {trials} trials of a fixed mix on 15 workers", HEAD, lines))
    return "\n".join(found) or "There are no runs.\n"


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--trials", type=int, default=200, help="[200]")
    parser.add_argument("--seeds", type=int, default=3, help="[3]")
    parser.add_argument("--cases", nargs="+", choices=list(HARDWARE), default=list(HARDWARE))
    parser.add_argument("--troubles", nargs="+", choices=[each.name for each in TROUBLES])
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials, seeds = (SMALL_TRIALS, 1) if options.small else (options.trials, options.seeds)
    troubles = [each for each in TROUBLES if not options.troubles or each.name in options.troubles]
    lines = kept.JsonLines(options.cache / f"placement-campaign-{trials}.jsonl")
    for seed in range(0 if options.table else seeds):
        for trouble in troubles:
            for case in options.cases:
                for policy in POLICIES:
                    of = {"case": case, "trouble": trouble.name, "policy": policy, "seed": seed}
                    lines.add_missing(of, partial(run, case, trouble, policy, seed, trials))
    rows = [Row(**row) for row in lines.rows if row["seed"] < seeds and row["case"] in options.cases]
    rows = [row for row in rows if row.trouble in {each.name for each in troubles}]
    known = sorted({(row.case, row.trouble, row.seed) for row in rows})
    by_name = {each.name: each for each in TROUBLES}
    rows += [bound(case, by_name[trouble], seed, trials) for case, trouble, seed in known]
    common.finish("Placement in campaigns", tables(rows, trials), options.keep)


if __name__ == "__main__":
    main()
