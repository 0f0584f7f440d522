"""What the published experiments share: methods from a study file, one trial after another, and tables over seeds.

A run is one method with one seed. Its line in a file is written when it is over, so an experiment that is stopped goes
on where it was. A method sees the score of a trial only; what the test set says is kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import t as student

from benchmarks.published.kept import JsonLines
from pilotune.pipeline.fidelity import make_pruner
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.suggest import make_sampler


class Point(NamedTuple):
    """A point of a learning curve.

    Attributes:
        step: How far the training is; counted as its cost, too.
        score: What the method sees.
        test: The accuracy on the test set, which the method does not see; of the last point only.
    """

    step: int
    score: float
    test: float


Curve = Callable[[dict[str, Any], int, bool], Iterator[Point]]
"""Trains a configuration with a seed. The last point is the result; others come only if the third argument is true."""


@dataclass(frozen=True)
class Method:
    """A way to search.

    Attributes:
        name: As the tables call it.
        overrides: What it changes in the study file, as ``--set`` takes it.
        steps: Whether it sees every point of the curves, and gets as many steps as the others need for their trials.
    """

    name: str
    overrides: tuple[str, ...]
    steps: bool = False


@dataclass(frozen=True)
class Tried:
    """A trial of a run: what it cost in steps, its last score and test accuracy, and whether it was completed."""

    cost: int
    score: float
    test: float
    complete: bool
    params: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One method with one seed on one protocol.

    Attributes:
        seconds: CPU time of the training and the search.
    """

    protocol: str
    method: str
    seed: int
    trials: tuple[Tried, ...]
    seconds: float


def searched(study: Path, method: Method, curve: Curve, seed: int, trials: int, full: int) -> list[Tried]:
    """The trials of a method, each begun after the last one has ended; first the points that the study file names.

    Args:
        study: The study file, whose sampler and pruner the method replaces.
        method: The method.
        curve: Trains a configuration.
        seed: Of the sampler.
        trials: How many trials; with ``method.steps``, as many steps as these trials have, and at least these trials.
        full: The steps of a whole trial.
    """
    file = load_study_file(study, list(method.overrides))
    assert file.space is not None
    optuna_study = optuna.create_study(
        study_name=f"{file.name} {seed}",  # determines the trials' brackets in Hyperband
        sampler=make_sampler(file, seed=seed),
        pruner=make_pruner(file),
        directions=list(file.directions),
    )
    for point in file.start_from.enqueue:
        optuna_study.enqueue_trial(point)
    found: list[Tried] = []
    while len(found) < trials or (method.steps and sum(each.cost for each in found) < trials * full):
        trial = optuna_study.ask()
        params = file.space.for_objective(file.space.suggest(trial))
        pruned, last = False, Point(0, 0.0, 0.0)
        for last in curve(params, seed, method.steps):
            if method.steps and last.step < full:
                trial.report(last.score, last.step)
                pruned = trial.should_prune()
            if pruned:
                break
        optuna_study.tell(trial, None if pruned else last.score, TrialState.PRUNED if pruned else TrialState.COMPLETE)
        found.append(Tried(last.step, last.score, last.test, not pruned, params))
    return found


class Results:
    """The runs in a file with one line each."""

    def __init__(self, file: Path) -> None:
        self._lines = JsonLines(file)
        self.runs = [_run(row) for row in self._lines.rows]

    def has(self, protocol: str, method: str, seed: int) -> bool:
        return any((run.protocol, run.method, run.seed) == (protocol, method, seed) for run in self.runs)

    def add(self, run: Run) -> None:
        self.runs.append(run)
        self._lines.add(asdict(run))

    def of(self, protocol: str, method: str) -> dict[int, Run]:
        """The runs of a method by seed."""
        return {run.seed: run for run in self.runs if (run.protocol, run.method) == (protocol, method)}


def _run(row: dict[str, Any]) -> Run:
    return Run(**{**row, "trials": tuple(Tried(**each) for each in row["trials"])})


def add_missing(
    results: Results, protocol: str, methods: Iterable[Method], seed: int, make: Callable[[Method], list[Tried]]
) -> None:
    """Add the runs of ``methods`` with ``seed`` that are not among the results."""
    for method in methods:
        if not results.has(protocol, method.name, seed):
            began = time.process_time()
            trials = make(method)
            results.add(Run(protocol, method.name, seed, tuple(trials), round(time.process_time() - began, 1)))
            print(f"  {protocol}, {method.name}, seed {seed}", flush=True)


def best(run: Run, trials: int | None = None, cost: int | None = None) -> Tried:
    """The completed trial with the best score, among the first ``trials`` or until ``cost`` steps were used."""
    among, spent = [], 0
    for each in run.trials[:trials]:
        spent += each.cost
        if cost is not None and spent > cost:
            break
        if each.complete:
            among.append(each)
    return max(among, key=lambda each: each.score)


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean, by Student's t; of two values or more.

    >>> round(half_width([94.0, 95.0, 96.0]), 2)
    2.48
    """
    return float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def interval(values: Sequence[float]) -> str:
    """The mean and its 95 % interval by Student's t; the mean alone of one value.

    >>> interval([94.0, 95.0, 96.0])
    '95.00 (92.52 to 97.48)'
    >>> interval([94.0])
    '94.00'
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.2f}"
    half = half_width(values)
    return f"{mean:.2f} ({mean - half:.2f} to {mean + half:.2f})"


def gain(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """By how much ours is better on the common seeds: the mean of the differences and its interval.

    >>> gain({0: 95.0, 1: 93.0, 2: 96.0}, {0: 94.0, 1: 91.0})
    '1.50 (-4.85 to 7.85)'
    """
    return interval([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])


def wins(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """On how many common seeds ours is better, equal and worse.

    >>> wins({0: 3.0, 1: 2.0, 2: 1.0}, {0: 1.0, 1: 2.0})
    '1 / 1 / 0'
    """
    seeds = ours.keys() & theirs.keys()
    more, less = (sum(sign * (ours[seed] - theirs[seed]) > 0 for seed in seeds) for sign in (1, -1))
    return f"{more} / {len(seeds) - more - less} / {less}"
