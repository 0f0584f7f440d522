"""AMBS's comparison (DeepHyper, HiPC 2018): asynchronous model-based search, random search and a genetic algorithm.

``python benchmarks/published/ambs.py [--workers 16 128] [--seeds 5] [--methods NAME ...] [--table] [--keep]``

AMBS is a random forest whose acquisition is gp_hedge, and to which running trials count as the worst result. The
genetic algorithm has generations of five times as many trials as workers, with a barrier. Both are those of DeepHyper
0.1.7. The paper's own problems are not repeated: these are a table of real trainings, a surrogate of others, and a
table of GPU kernels, with simulated workers. Beside them stand the genetic algorithm without a barrier, the forest with
q-UCB, TPE, and gp, the default sampler.

Results are kept in a file as they come; the next call goes on. ``--table`` prints the tables and runs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # before NumPy is imported: one process on one core
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import numpy as np
import optuna

from benchmarks import common
from benchmarks.published import kept
from benchmarks.published.ambs_campaign import PARTS, Campaign, CampaignWorkers
from benchmarks.published.search import gain, wins
from benchmarks.quality import peers, problems

PROBLEMS = ("fcnet-protein", "lcbench-167168", "kernel-a100")
METHODS = {
    "random": "random",
    "genetic, barrier": "genetic+population={generation}+barrier=true",
    "genetic": "genetic+population={generation}",
    "tpe": "tpe",
    "AMBS": "forest+acquire=gp_hedge+lie=max",
    "forest": "forest",
    "gp": "gp",
}
"""By name, the sampler as ``benchmarks/quality`` takes it."""

BASE = "AMBS"
TRIALS = {16: 400, 128: 1280}
"""Trials by number of workers: five generations of the genetic algorithm, and two."""

SMALL = {4: 40}
CHECKPOINTS = (0.25, 0.5, 1.0)
FIRST_SEED = problems.FIRST_CONFIRMING_SEED
NOTE = """\
AMBS is the forest with gp_hedge and lie max, forest the one with q-UCB. A generation of genetic has five times as many
trials as workers, as published, so that with 128 workers only one is bred. Regret 0 is the optimum, 1 the median best
of 100 random configurations. A trial of fcnet-protein takes a minute in the median, drawn log-normally with a sigma of
0.5; of lcbench-167168 the seconds that the surrogate predicts; of kernel-a100 the measured seconds of compiling and
running. The CPU time of each suggestion and result passes on the clock, since the driver does one after the other. Time
is a share of that in which the quickest method of the same seed has run all its trials. Workers that are idle since no
trial is left are so in the last tenths. Intervals are 95 %, of the mean difference on equal seeds. The problems are
among those by which constants of samplers are chosen (benchmarks/README.md); the seeds are not."""


@dataclass(frozen=True)
class Setting:
    """Which campaign it is, but for its seed."""

    problem: str
    method: str
    workers: int
    trials: int


class Campaigns:
    """The campaigns in a file with one line each."""

    def __init__(self, file: Path) -> None:
        self._lines = kept.JsonLines(file)
        self.known: dict[Setting, dict[int, Campaign]] = {}
        for row in self._lines.rows:
            self._remember(row)

    def _remember(self, row: Mapping[str, Any]) -> None:
        found = dict(row["campaign"])
        found |= {"steps": tuple(map(tuple, found["steps"])), "busy": tuple(found["busy"])}
        self.known.setdefault(Setting(**row["setting"]), {})[row["seed"]] = Campaign(**found)

    def add(self, setting: Setting, seed: int, campaign: Campaign) -> None:
        row = {"setting": asdict(setting), "seed": seed, "campaign": asdict(campaign)}
        self._lines.add(row)
        self._remember(row)

    def of(self, setting: Setting) -> dict[int, Campaign]:
        """The campaigns of a setting by seed."""
        return self.known.get(setting, {})


class Group:
    """The campaigns of some methods on one problem with one number of workers, on the seeds that all of them have."""

    def __init__(
        self, campaigns: Campaigns, problem: problems.Problem, workers: int, trials: int, methods: Sequence[str]
    ) -> None:
        self.problem, self.trials, self.methods = problem, trials, methods
        self.by_method = {name: campaigns.of(Setting(problem.name, name, workers, trials)) for name in methods}
        self.seeds = sorted(set.intersection(*(set(each) for each in self.by_method.values())))

    def regrets(self, method: str, share: float, clock: bool) -> dict[int, float]:
        """By seed, the regret after a share of the trials, or of the time."""
        found = {}
        for seed in self.seeds:
            campaign = self.by_method[method][seed]
            end = min(each[seed].seconds for each in self.by_method.values())
            value = campaign.at(seconds=share * end) if clock else campaign.at(trials=round(share * self.trials))
            found[seed] = self.problem.regret(value)
        return found


def regret_rows(group: Group) -> list[list[object]]:
    """Median regrets: a row for each share of trials and time, a column for each method."""
    return [
        [group.problem.name, len(group.seeds), f"{'time' if clock else 'trials'}, {share:.0%}",
         *(float(np.median(list(group.regrets(name, share, clock).values()))) for name in group.methods)]
        for clock in (False, True)
        for share in CHECKPOINTS
    ]  # fmt: skip


def paired_rows(group: Group) -> list[list[object]]:
    """By how much each method's regret is below that of AMBS."""
    rows: list[list[object]] = []
    for name in group.methods:
        if name == BASE or BASE not in group.methods:
            continue
        row: list[object] = [group.problem.name, name]
        for clock, share in ((False, 0.5), (False, 1.0), (True, 1.0)):
            base, ours = group.regrets(BASE, share, clock), group.regrets(name, share, clock)
            row += [gain(base, ours), wins(base, ours)]
        rows.append(row)
    return rows


def busy_rows(group: Group) -> list[list[object]]:
    """The mean utilization over the campaign, and what suggestions cost."""
    rows: list[list[object]] = []
    for name in group.methods:
        runs = [group.by_method[name][seed] for seed in group.seeds]
        parts = np.mean([run.busy for run in runs], axis=0)
        minutes = float(np.mean([run.seconds for run in runs])) / 60
        cost = 1e3 * float(np.mean([run.cpu for run in runs])) / group.trials
        largest = 1e3 * max(run.largest for run in runs)
        rows.append([group.problem.name, name, *(f"{part:.2f}" for part in parts), f"{parts.mean():.2f}", minutes,
                     cost, largest])  # fmt: skip
    return rows


def tables(campaigns: Campaigns, chosen: Mapping[str, problems.Problem], sizes: Mapping[int, int]) -> str:
    """Three tables for each number of workers."""
    texts = []
    for workers, trials in sizes.items():
        known = {(each.problem, each.method) for each in campaigns.known if each.workers == workers}
        there = [problem for name, problem in chosen.items() if any(each == name for each, _ in known)]
        methods = [method for method in METHODS if all((problem.name, method) in known for problem in there)]
        if not there or not methods:
            continue
        groups = [Group(campaigns, problem, workers, trials, methods) for problem in there]
        title = f"{workers} workers, {trials:,} trials"
        texts += [
            common.table(
                f"{title}: median regret", ["problem", "seeds", "after", *methods], _flat(regret_rows, groups)
            ),
            common.table(
                f"{title}: regret of {BASE} minus that of the method, its wins / ties / losses",
                ["problem", "method", "half the trials", "", "all trials", "", "equal time", ""],
                _flat(paired_rows, groups),
            ),
            common.table(
                f"{title}: share of busy workers in tenths of the time; CPU of a suggestion with its result",
                ["problem", "method", *map(str, range(1, PARTS + 1)), "mean", "minutes", "CPU ms", "most ms"],
                _flat(busy_rows, groups),
            ),
        ]
    return "\n".join(texts)


def _flat(rows_of: Any, groups: list[Group]) -> list[list[object]]:
    return [row for group in groups if group.seeds for row in rows_of(group)]


def run(campaigns: Campaigns, chosen: Mapping[str, problems.Problem], options: argparse.Namespace) -> None:
    """Run what is missing, seed after seed."""
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        for workers, trials in options.sizes.items():
            for name, problem in chosen.items():
                for method in options.methods:
                    setting = Setting(name, method, workers, trials)
                    if seed in campaigns.of(setting):
                        continue
                    spec = METHODS[method].format(generation=5 * workers)
                    sampler = peers.peer(spec).make(peers.Setting(problem, seed, workers, trials))
                    campaigns.add(setting, seed, CampaignWorkers(problem, sampler, workers, trials, seed).campaign())
                    print(f"  {workers} workers, {name}, {method}, seed {seed}", file=sys.stderr, flush=True)


def main() -> None:
    parser = kept.parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    options.sizes = SMALL if options.small else {workers: TRIALS[workers] for workers in options.workers}
    options.seeds = 1 if options.small else options.seeds
    notes = [note for name in options.problems if (note := problems.missing(name))]
    chosen = {name: problems.make(name) for name in options.problems if not problems.missing(name)}
    campaigns = Campaigns(options.cache / "ambs.jsonl")
    if not options.table:
        run(campaigns, chosen, options)
    text = "\n".join([tables(campaigns, chosen, options.sizes), NOTE, *notes])
    common.finish("Published experiments: AMBS", f"{text}\n", options.keep)


if __name__ == "__main__":
    main()
