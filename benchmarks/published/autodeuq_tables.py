"""The ensembles of AutoDEUQ's experiment, from the predictions that are kept, and its tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.published.search import gain, half_width, wins
from pilotune import ensemble

Arrays = Mapping[str, np.ndarray]

PUBLISHED = {
    "boston": [(3.01, 2.57), (2.97, 2.46), (3.28, 2.41), (2.90, 2.40)],
    "concrete": [(5.67, 3.16), (5.23, 3.04), (6.03, 3.06), (4.83, 2.94)],
    "energy": [(1.80, 2.04), (1.66, 1.99), (2.09, 1.38), (0.54, 1.21)],
    "kin8nm": [(0.10, -0.90), (0.10, -0.95), (0.09, -1.20), (0.079, -1.14)],
    "naval": [(0.01, -3.73), (0.01, -3.80), (0.00, -5.63), (0.0007, -4.45)],
    "power": [(4.12, 2.84), (4.02, 2.80), (4.11, 2.79), (4.01, 2.81)],
    "protein": [(4.73, 2.97), (4.36, 2.89), (4.71, 2.83), (4.27, 2.87)],
    "wine": [(0.64, 0.97), (0.62, 0.93), (0.64, 0.94), (0.62, 0.93)],
    "yacht": [(1.02, 1.63), (1.11, 1.55), (1.58, 1.18), (0.67, 1.25)],
}
"""RMSE and negative log likelihood by table, means of 20 splits (protein: 5), of the methods below."""

COLUMNS = ("PBP", "MC dropout", "deep ensembles", "MC dropout, 100 times the epochs")
"""The first three are in table 1 of arXiv:1612.01474, the last one in the results of DropoutUncertaintyExps."""

DRAWS = 20
"""How often random members are drawn; the mean is shown."""

BAGS = 20


@dataclass(frozen=True)
class Scores:
    """What a method reaches on the test rows of one split.

    Attributes:
        matched: The negative log likelihood of one Normal with the mean and variance of the mixture, as published.
        mixture: That of the mixture itself.
        rmse: The error of the mean.
        crps: The continuous ranked probability score.
        coverage: The share of the targets in the central interval of 90 %.
    """

    matched: float
    mixture: float
    rmse: float
    crps: float
    coverage: float


def scores(predicted: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> Scores:
    """The scores of an ensemble whose members predict (members, 2, rows)."""
    mean, std = predicted.astype(float).swapaxes(0, 1)
    return Scores(
        ensemble.nll_matched(mean, std, y, weights),
        ensemble.nll(mean, std, y, weights),
        ensemble.rmse(mean, y, weights),
        ensemble.crps(mean, std, y, weights),
        ensemble.coverage(mean, std, y, weights=weights),
    )


def mean_scores(found: Iterable[Scores]) -> Scores:
    return Scores(*np.mean([list(vars(each).values()) for each in found], axis=0).tolist())


def usable(row: Mapping[str, Any], arrays: Arrays) -> np.ndarray:
    """The networks of a search that did not diverge."""
    finite = np.isfinite(arrays["search_selection"]).all((1, 2)) & np.isfinite(arrays["search_test"]).all((1, 2))
    return np.flatnonzero(finite & np.isfinite(np.array(row["scores"], dtype=float)))


def chosen(row: Mapping[str, Any], arrays: Arrays, members: int) -> dict[str, np.ndarray]:
    """The weights of the networks of a search in each of the ensembles that are chosen from it.

    Test rows are not looked at.
    """
    networks = usable(row, arrays)
    mean, std = arrays["search_selection"][networks].astype(float).swapaxes(0, 1)
    loss = ensemble.Nll(mean, std, arrays["y_selection"])
    members = min(members, len(networks))
    found = {
        "single best": np.eye(len(networks))[np.array(row["scores"], dtype=float)[networks].argmin()],
        "top": ensemble.top_k(loss.alone, members),
        "greedy": ensemble.greedy(loss, members),
        "greedy, bagged": ensemble.greedy(loss, members, bags=BAGS),
    }
    weights = {name: np.zeros(len(row["scores"])) for name in found}
    for name, each in found.items():
        weights[name][networks] = each
    return weights


def all_scores(row: Mapping[str, Any], arrays: Arrays, members: int) -> dict[str, Scores]:
    """By method, what it reaches on the test rows."""
    y, networks = arrays["y_test"], usable(row, arrays)
    random, size = np.random.default_rng(row["split"]), min(members, len(networks))
    drawn = [arrays["search_test"][random.choice(networks, size, replace=False)] for _ in range(DRAWS)]
    found = {"random": mean_scores(scores(each, y) for each in drawn)}
    for method in METHODS.keys() - found.keys():
        test, weights = predicted(row, arrays, method, members)
        found[method] = scores(test, y, weights)
    return found


METHODS = {
    "single best": "single best",
    "five seeds of the best": "5 seeds of the best",
    "random": "random {members}",
    "top": "top {members}",
    "greedy": "greedy {members}",
    "greedy, bagged": "greedy {members}, bagged",
    "greedy, trained again": "greedy, trained again",
    "by hand": "deep ensemble by hand",
    "as published": "deep ensemble as published, here",
}
"""By method, its column."""


def with_error(values: Sequence[float]) -> str:
    """The mean and the half-width of its 95 % interval by Student's t; the mean alone of one value.

    >>> with_error([0.10, 0.12, 0.11])
    '0.110 ± 0.025'
    >>> with_error([2.0])
    '2.00'
    """
    mean = float(np.mean(values))
    digits = 2 if abs(mean) >= 1 else 3 if abs(mean) >= 0.05 else 5
    return f"{mean:.{digits}f}" + (f" ± {half_width(values):.{digits}f}" if len(values) > 1 else "")


Found = dict[str, dict[int, dict[str, Scores]]]
"""Scores by table, split and method."""


def score_table(title: str, found: Found, of: Callable[[Scores], float], published: int | None, members: int) -> str:
    """A row for each table, a column for each method and for each published one."""
    head = ["table", "splits", *(name.format(members=members) for name in METHODS.values())]
    head += [f"published: {name}" for name in COLUMNS] if published is not None else []
    rows: list[list[object]] = []
    for table, splits in found.items():
        row: list[object] = [table, len(splits)]
        row += [with_error([of(each[method]) for each in splits.values()]) for method in METHODS]
        row += [f"{each[published]:g}" for each in PUBLISHED[table]] if published is not None else []
        rows.append(row)
    return common.table(title, head, rows)


def rivals(found: Found, members: int, ours: str = "greedy") -> str:
    """How ``ours`` compares with each method, over all tables and splits, by the mixture's likelihood."""

    def gained(splits: dict[int, dict[str, Scores]], method: str) -> dict[int, float]:
        return {split: -each[method].mixture for split, each in splits.items()}

    rows: list[list[object]] = []
    for method in [name for name in METHODS if name != ours]:
        pairs = {table: (gained(splits, ours), gained(splits, method)) for table, splits in found.items()}
        counts = np.sum([[int(part) for part in wins(*pair).split(" / ")] for pair in pairs.values()], axis=0)
        better = [table for table, (mine, theirs) in pairs.items() if sum(mine.values()) > sum(theirs.values())]
        gains = "; ".join(f"{table} {gain(*pair)}" for table, pair in pairs.items())
        name = METHODS[method].format(members=members)
        rows.append([name, " / ".join(map(str, counts)), f"{len(better)} of {len(pairs)}", gains])
    head = ["against", "wins / ties / losses by split", "tables with a better mean", "gain in nats a row by table"]
    return common.table(f"{METHODS[ours].format(members=members)}, by the likelihood of the mixture", head, rows)


def published_goal(found: Found, members: int) -> str:
    """On how many tables each method's mean is below the published deep ensembles', as published: moment-matched."""
    lines = []
    for method, name in METHODS.items():
        below = [
            table
            for table, splits in found.items()
            if np.mean([each[method].matched for each in splits.values()]) < PUBLISHED[table][2][1]
        ]
        lines.append(f"{name.format(members=members)}: {len(below)} of {len(found)} ({', '.join(below) or 'none'})")
    return (
        "Below the published deep ensembles' negative log likelihood (moment-matched):\n\n- "
        + "\n- ".join(lines)
        + "\n"
    )


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """CPU seconds of training by table: of the search, of its rivals, and of the suggestions."""
    lines: list[list[object]] = []
    for table in dict.fromkeys(each["table"] for each in rows):
        mine = [each for each in rows if each["table"] == table]
        spent = {name: float(np.mean([sum(each["seconds"][name]) for each in mine])) for name in mine[0]["seconds"]}
        suggestions = float(np.mean([each["search_seconds"] - sum(each["seconds"]["search"]) for each in mine]))
        lines.append(
            [table, len(mine), *spent.values(), suggestions, float(np.mean([each["all_seconds"] for each in mine]))]
        )
    head = ["table", "splits", "search", "5 seeds, after a shorter search", "greedy again, after a shorter search"]
    head += ["by hand", "as published", "suggestions", "all"]
    return common.table("CPU seconds for one split", head, lines)


def gap_table(found: Sequence[tuple[Mapping[str, Any], Arrays]], members: int, noise: tuple[float, float]) -> str:
    """The parts of the uncertainty where data are and in the gap, of the ensembles and the deep ensemble by hand."""
    rows: list[list[object]] = []
    for name in ("five seeds of the best", "top", "greedy", "greedy, bagged", "greedy, trained again", "by hand"):
        values = [gap_values(*predicted(row, arrays, name, members), noise) for row, arrays in found]
        cells = [with_error(part) for part in zip(*values, strict=True)]
        rows.append([METHODS[name].format(members=members), len(values), *cells])
    head = ["ensemble", "seeds", "epistemic deviation on the data", "in the gap", "ratio", "ratio of variances"]
    head += [f"aleatoric deviation, noise {noise[0]:g}", f"noise {noise[1]:g}", "largest relative error of these"]
    return common.table("Gap test: the epistemic part must grow at least tenfold in [-20, 20]", head, rows)


GROUPS = {
    "five seeds of the best": "seeds_test",
    "greedy, trained again": "greedy_test",
    "by hand": "hand_test",
    "as published": "published_test",
}


def predicted(
    row: Mapping[str, Any], arrays: Arrays, method: str, members: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """What the members of an ensemble predict for the test rows, and their weights."""
    if method in GROUPS:
        weights = np.array(row["greedy_weights"]) if method == "greedy, trained again" else None
        return arrays[GROUPS[method]], weights
    weights = chosen(row, arrays, members)[method]
    kept = np.flatnonzero(weights)
    return arrays["search_test"][kept], weights[kept]


def gap_values(predicted: np.ndarray, weights: np.ndarray | None, noise: tuple[float, float]) -> list[float]:
    """For a grid of 601 points from -30 to 30: mean deviations on the data, in the gap, their ratios, and the noise."""
    grid = np.linspace(-30, 30, 601)
    mean, std = predicted.astype(float).swapaxes(0, 1)
    _, aleatoric, epistemic = ensemble.moments(mean, std, weights)
    data, gap = abs(grid) >= 20, abs(grid) < 20
    inside, outside = np.sqrt(epistemic[data]).mean(), np.sqrt(epistemic[gap]).mean()
    left, right = (float(np.sqrt(aleatoric[side].mean())) for side in (grid <= -20, grid >= 20))
    variances = epistemic[gap].mean() / max(epistemic[data].mean(), 1e-12)
    error = max(abs(left / noise[0] - 1), abs(right / noise[1] - 1))
    return [float(inside), float(outside), float(outside / max(inside, 1e-12)), float(variances), left, right, error]


def report(kept: Sequence[tuple[Mapping[str, Any], Arrays]], members: int, gap: str, noise: tuple[float, float]) -> str:
    """All tables."""
    found: Found = {}
    for row, arrays in kept:
        if row["table"] != gap:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found.setdefault(row["table"], {})[row["split"]] = all_scores(row, arrays, members)
    parts = []
    if found:
        parts = [
            score_table(
                "Negative log likelihood, moment-matched (as published)", found, lambda each: each.matched, 1, members
            ),
            score_table("Negative log likelihood of the mixture", found, lambda each: each.mixture, None, members),
            score_table("RMSE", found, lambda each: each.rmse, 0, members),
            score_table("CRPS", found, lambda each: each.crps, None, members),
            score_table("Coverage of the 90 % interval", found, lambda each: each.coverage, None, members),
            published_goal(found, members),
            rivals(found, members),
            cost_table([row for row, _ in kept]),
        ]
    gaps = [each for each in kept if each[0]["table"] == gap]
    parts += [gap_table(gaps, members, noise)] if gaps else []
    return "\n".join(parts) or "Nothing is there yet.\n"
