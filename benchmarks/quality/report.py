"""The report of the quality benchmark: what is lost first, then ranks, costs, and every problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import common

from . import stats
from .problems import Problem
from .simulate import Trace

CPU_SECONDS = (0.3, 3.0, 30.0)
WORSE = 0.10
"""A peer is better by more than this share of our regret: worth a line among the losses."""


class Results:
    """The regrets of several samplers on several problems, with one number of workers.

    Args:
        problems: By name, in the order of the report.
        samplers: In the order of the report; those without any result here are left out.
        traces: By problem and sampler, for each seed.
        trials: The trials of each run.
    """

    def __init__(
        self,
        problems: Mapping[str, Problem],
        samplers: Sequence[str],
        traces: Mapping[tuple[str, str], Mapping[int, Trace]],
        trials: int,
    ):
        self.traces, self.trials = traces, trials
        self.samplers = [each for each in samplers if any(traces.get((name, each)) for name in problems)]
        self.problems = {n: p for n, p in problems.items() if any(traces.get((n, each)) for each in self.samplers)}
        self.ranked = [each for each in self.samplers if all(traces.get((name, each)) for name in self.problems)]

    def seeds(self, problem: str, samplers: Sequence[str]) -> list[int]:
        """The seeds that all `samplers` have on `problem`, in order."""
        sets = [set(self.traces.get((problem, sampler), ())) for sampler in samplers]
        return sorted(set.intersection(*sets)) if sets else []

    def regrets(
        self, problem: str, sampler: str, seeds: Sequence[int], key: str, limits: Sequence[float]
    ) -> np.ndarray:
        """The regret with each seed, when `key` of the trace reaches that seed's limit."""
        runs, regret = self.traces[problem, sampler], self.problems[problem].regret
        return np.array([regret(runs[seed].at(key, limit)) for seed, limit in zip(seeds, limits, strict=True)])

    def after(self, problem: str, sampler: str, seeds: Sequence[int], share: float = 1.0) -> np.ndarray:
        """The regret with each seed after a `share` of the trials."""
        return self.regrets(problem, sampler, seeds, "trials", [math.ceil(self.trials * share)] * len(seeds))

    def horizon(self, problem: str, seeds: Sequence[int], share: float) -> list[float]:
        """For each seed, a `share` of the simulated time that the first of the ranked samplers needs for its trials."""
        return [share * min(self.traces[problem, each][seed].seconds for each in self.ranked) for seed in seeds]

    def ranks(self, key: str, limit: float) -> np.ndarray:
        """The mean rank of each ranked sampler on each problem: (samplers, problems).

        Args:
            key: ``trials`` or ``seconds``, with `limit` as a share of all; or ``cpu``, with `limit` in seconds.
        """
        means = []
        for problem in self.problems:
            seeds = self.seeds(problem, self.ranked)
            limits = [limit if key == "cpu" else math.ceil(limit * self.trials)] * len(seeds)
            if key == "seconds":
                limits = self.horizon(problem, seeds, limit)
            rows = [self.regrets(problem, sampler, seeds, key, limits) for sampler in self.ranked]
            means.append(stats.places(np.array(rows)).mean(axis=1))
        return np.array(means).T

    def medians(self) -> np.ndarray:
        """The median regret of each ranked sampler on each problem, over the seeds that all of them have."""
        return np.array(
            [
                [np.median(self.after(name, each, self.seeds(name, self.ranked))) for name in self.problems]
                for each in self.ranked
            ]
        )

    def comparison(self, problem: str, base: str, peer: str) -> stats.Comparison | None:
        """`base` beside `peer` on their seeds in common; None where they have none."""
        seeds = self.seeds(problem, [base, peer])
        if not seeds:
            return None
        return stats.compared(self.after(problem, base, seeds), self.after(problem, peer, seeds))


def text(results: Results, base: str) -> str:
    """All tables. `base` is the sampler that the others are compared with; one without results compares nothing."""
    complete = len(results.ranked) > 1 and all(results.seeds(name, results.ranked) for name in results.problems)
    enough = complete and len(results.problems) > 1
    parts = []
    if base in results.samplers:
        parts += [losses(results, base), against(results, base), ablations(results, base)]
    if complete:
        parts += [ranks(results), difference(results) if enough else ""]
    parts += [costs(results), regrets(results)]
    left = [each for each in results.samplers if each not in results.ranked]
    for each in left if complete else ():
        lacking = [name for name in results.problems if not results.traces.get((name, each))]
        parts.append(f"{each} is not ranked: it has no result on {', '.join(lacking)}.\n")
    return "\n".join(part for part in parts if part)


def _beside(results: Results, name: str, base: str, peer: str) -> list | None:
    """A row: medians of both on their seeds in common, wins/ties/losses of `base`, p, and the interval."""
    found = results.comparison(name, base, peer)
    if found is None:
        return None
    seeds = results.seeds(name, [base, peer])
    medians = [float(np.median(results.after(name, each, seeds))) for each in (base, peer)]
    span = f"{common.text_of(found.low)} to {common.text_of(found.high)}"
    return [name, peer, *medians, f"{found.wins}/{found.ties}/{found.losses}", found.p, span]


def losses(results: Results, base: str) -> str:
    """The problems on which a peer's median is lower by more than a tenth, the most certain first."""
    rows = []
    for name in results.problems:
        for peer in results.samplers:
            row = _beside(results, name, base, peer) if peer != base else None
            if row and row[3] < row[2] * (1 - WORSE):
                rows.append(row)
    rows.sort(key=lambda row: row[5])
    certain = sum(row[5] < 0.05 for row in rows)
    if not rows:
        return f"**Lost by {base}**\n\nOn no problem is a peer's median regret lower by more than a tenth.\n"
    head = ["problem", "peer", base, "peer's", "wins/ties/losses", "p", "95 % of peer's minus ours"]
    title = f"Lost by {base}: medians higher than a peer's by more than a tenth ({certain} with p < 0.05)"
    return common.table(title, head, rows)


def against(results: Results, base: str) -> str:
    """Wins, ties and losses of `base` against each peer over all problems and seeds."""
    rows = []
    for peer in results.samplers:
        found = [results.comparison(name, base, peer) for name in results.problems if peer != base]
        known = [each for each in found if each]
        if known:
            wins, ties, lost = (sum(getattr(each, key) for each in known) for key in ("wins", "ties", "losses"))
            sure = [sum(each.p < 0.05 and sign * (each.wins - each.losses) > 0 for each in known) for sign in (1, -1)]
            rows.append([peer, len(known), wins, ties, lost, stats.sign_test(wins, lost), *sure])
    head = ["peer", "problems", "wins", "ties", "losses", "sign test p", "problems won, p < 0.05", "lost, p < 0.05"]
    table = common.table(f"{base} against each peer, seed by seed, at the end", head, rows) if rows else ""
    return "\n".join(part for part in (table, tail(results, base)) if part)


def tail(results: Results, base: str) -> str:
    """A sentence: how often the bad seeds of `base` are as good as the best peer's median."""
    peers = [each for each in results.samplers if each != base and not each.startswith(f"{base}+")]
    known = [name for name in results.problems if results.traces.get((name, base))]
    good = counted = 0
    for name in known:
        with_seeds = [each for each in peers if results.traces.get((name, each))]
        if with_seeds:
            best = min(np.median(results.after(name, each, results.seeds(name, [each]))) for each in with_seeds)
            counted += 1
            good += quantile(results.after(name, base, results.seeds(name, [base])), 0.9) <= best
    if not counted:
        return ""
    known_on = _counted(counted, "problem")
    return f"The 90 % quantile of {base} is no worse than the best peer's median on {good} of {known_on}.\n"


def ablations(results: Results, base: str) -> str:
    """The variants of `base`, which are named ``base+argument=value``, beside it."""
    rows = []
    for variant in results.samplers:
        known = [results.comparison(n, base, variant) for n in results.problems if variant.startswith(f"{base}+")]
        found = [each for each in known if each]
        if found:
            wins, ties, lost = (sum(getattr(each, key) for each in found) for key in ("losses", "ties", "wins"))
            better = sum(each.losses > each.wins for each in found)
            changed = variant.removeprefix(f"{base}+")
            rows.append([changed, len(found), wins, ties, lost, stats.sign_test(wins, lost), better])
    head = ["changed", "problems", "better", "equal", "worse", "sign test p", "problems better"]
    return common.table(f"Variants of {base}, seed by seed", head, rows) if rows else ""


def ranks(results: Results) -> str:
    """Mean ranks against trials, simulated time and the sampler's CPU."""
    columns = {"1/4 trials": ("trials", 0.25), "half": ("trials", 0.5), "3/4": ("trials", 0.75), "end": ("trials", 1.0)}
    columns |= {"half time": ("seconds", 0.5), "all time": ("seconds", 1.0)}
    columns |= {f"{seconds:g} s CPU": ("cpu", seconds) for seconds in CPU_SECONDS}
    found = [results.ranks(*what) for what in columns.values()]
    ends = results.ranks("trials", 1.0)
    rows = []
    for i, sampler in enumerate(results.ranked):
        low, high = stats.interval(ends[i], lambda drawn: drawn.mean(axis=1))
        row = [float(each[i].mean()) for each in found]
        rows.append([sampler, *row, f"{low:.2f} to {high:.2f}"])
    rows.sort(key=lambda row: row[4])
    counts = [len(results.seeds(name, results.ranked)) for name in results.problems]
    seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    title = f"Mean rank among {len(results.ranked)} samplers over {_counted(len(counts), 'problem')}, {seeds} seeds"
    return common.table(title, ["sampler", *columns, "95 % of the end"], rows)


def difference(results: Results) -> str:
    """Friedman's test, and which samplers do not differ by Nemenyi's."""
    found = stats.critical(results.medians())
    order = np.argsort(found.ranks, kind="stable")
    ranked = ", ".join(f"{results.ranked[i]} {found.ranks[i]:.2f}" for i in order)
    lines = [
        f"**Critical difference, by the medians of {len(results.problems)} problems**",
        "",
        f"Mean ranks: {ranked}.",
    ]
    if not math.isnan(found.p):
        lines.append(f"Friedman's test that all are equal: p = {common.text_of(found.p)}.")
    lines.append(f"Nemenyi's critical difference at 5 %: {found.difference:.2f}.")
    for group in found.groups:
        lines.append(f"Not different: {', '.join(results.ranked[i] for i in group)}.")
    return "\n".join(lines) + "\n"


def costs(results: Results) -> str:
    """The sampler's CPU time a trial, and its most expensive call."""
    rows = []
    for sampler in results.samplers:
        runs = [run for name in results.problems for run in results.traces.get((name, sampler), {}).values()]
        per_trial = 1000 * sum(run.cpu for run in runs) / sum(run.trials for run in runs)
        largest = sorted(run.largest for run in runs)
        rows.append([sampler, len(runs), per_trial, 1000 * float(np.median(largest)), 1000 * largest[-1]])
    head = ["sampler", "runs", "CPU ms a trial", "largest call, median ms", "largest call, worst ms"]
    return common.table("The sampler's CPU time: ask and result", head, rows)


def regrets(results: Results) -> str:
    """The median and the 90 % quantile of each sampler on each problem, half-way and at the end."""
    rows = []
    for name in results.problems:
        most = max(len(results.seeds(name, [each])) for each in results.samplers)
        for when, share in (("half-way", 0.5), ("at the end", 1.0)):
            cells = [_cell(results, name, each, share, most) for each in results.samplers]
            rows.append([f"{name}, {when}", *cells])
    title = (
        f"Regret after {results.trials:,} trials: median / 90 % quantile over seeds (with fewer seeds: their number)"
    )
    return common.table(title, ["problem", *results.samplers], rows)


def _cell(results: Results, name: str, sampler: str, share: float, most: int) -> str | None:
    seeds = results.seeds(name, [sampler])
    if not seeds:
        return None
    found = results.after(name, sampler, seeds, share)
    fewer = "" if len(seeds) == most else f" ({len(seeds)})"
    return f"{common.text_of(float(np.median(found)))} / {common.text_of(quantile(found, 0.9))}{fewer}"


def quantile(values: np.ndarray, share: float) -> float:
    """The least of `values` that at least `share` of them do not exceed: defined where some are infinite."""
    return float(np.sort(values)[math.ceil(share * len(values)) - 1])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
