"""Compares our pruners with Optuna's: random arguments, and random histories of reports passed to both."""

from __future__ import annotations

import pickle
import random
from typing import Any
from unittest.mock import patch

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import TrialState

from pilotune.pipeline import fidelity

KINDS = ["HyperbandPruner", "SuccessiveHalvingPruner", "MedianPruner", "PercentilePruner"]
ENDS = [*[TrialState.COMPLETE] * 4, TrialState.PRUNED, TrialState.FAIL]


def arguments(kind: str, rng: random.Random) -> dict[str, Any]:
    """Random arguments of a pruner."""
    if kind == "HyperbandPruner":
        low, high = rng.choice([1, 2, 3]), rng.choice([1, 4, 9, 27, "auto"])
        bootstrap = 0 if high == "auto" else rng.choice([0, 0, 2])
        factor = rng.choice([2, 3, 4])
        return {"min_resource": low, "max_resource": high, "reduction_factor": factor, "bootstrap_count": bootstrap}
    if kind == "SuccessiveHalvingPruner":
        low = rng.choice([1, 2, "auto"])
        bootstrap = 0 if low == "auto" else rng.choice([0, 0, 3])
        factor, rate = rng.choice([2, 3, 4]), rng.choice([0, 0, 1])
        return {
            "min_resource": low,
            "reduction_factor": factor,
            "min_early_stopping_rate": rate,
            "bootstrap_count": bootstrap,
        }
    args: dict[str, Any] = {
        "n_startup_trials": rng.choice([0, 1, 3]),
        "n_warmup_steps": rng.choice([0, 0, 0, 3]),
        "interval_steps": rng.choice([1, 1, 1, 3]),
        "n_min_trials": rng.choice([1, 1, 1, 3]),
    }
    if kind == "PercentilePruner":
        args["percentile"] = rng.choice([0.0, 100.0, 25.0, 50, 100 / 3, rng.uniform(0, 100)])
    return args


def number(rng: random.Random) -> float:
    """A report's value: often one of a few values, so that ties occur, and sometimes NaN or infinite."""
    kind = rng.random()
    if kind < 0.06:
        return float("nan")
    if kind < 0.1:
        return rng.choice([float("inf"), -float("inf")])
    return float(rng.randrange(6)) if kind < 0.4 else rng.gauss(0, 1)


class PairedStudies:
    """One history in two studies of the same name: with Optuna's pruner in memory, and with ours in ``storage``."""

    def __init__(self, kind: str, storage: BaseStorage, name: str, seed: int):
        self.rng = random.Random(seed)
        self.args = arguments(kind, self.rng)
        self.kind = kind
        self.theirs: BasePruner = getattr(optuna.pruners, kind)(**self.args)
        self.ours: BasePruner = getattr(fidelity, kind)(**self.args)
        direction = self.rng.choice(["minimize", "maximize"])
        both = zip((InMemoryStorage(), storage), (self.theirs, self.ours), strict=True)
        self.studies = [
            optuna.create_study(storage=place, pruner=pruner, study_name=name, direction=direction)
            for place, pruner in both
        ]
        self.running: list[tuple[optuna.Trial, optuna.Trial]] = []
        self.verdicts: list[bool] = []

    def play(self, turns: int) -> None:
        """Make ``turns`` random moves. Compares every verdict, and at the end the rungs written to the studies."""
        for _ in range(turns):
            rng = self.rng
            kind = rng.random()
            if not self.running or kind < 0.16:
                self._ask()
            elif kind < 0.28:
                self._end(rng.choice(self.running), rng.choice(ENDS))
            elif kind < 0.3:
                self.ours = pickle.loads(pickle.dumps(self.ours))
            elif kind < 0.33:
                self._add()
            else:
                self._report(rng.choice(self.running))
        assert rungs(self.studies[0]) == rungs(self.studies[1])

    def _ask(self) -> None:
        if self.rng.random() < 0.1:
            for study in self.studies:
                study.enqueue_trial({})
        one, other = (study.ask() for study in self.studies)
        assert one.number == other.number
        self.running.append((one, other))

    def _add(self) -> None:
        """Add a trial made elsewhere, in any state, perhaps with values at rungs."""
        rng = self.rng
        state = rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING, TrialState.FAIL])
        steps = {step: number(rng) for step in range(rng.randrange(4))}
        attrs = {f"completed_rung_{rung}": rng.gauss(0, 1) for rung in range(rng.randrange(3))}
        value = 1.0 if state == TrialState.COMPLETE else None
        for study in self.studies:
            study.add_trial(
                optuna.trial.create_trial(
                    state=state, value=value, intermediate_values=dict(steps), system_attrs=dict(attrs)
                )
            )

    def _end(self, pair: tuple[optuna.Trial, optuna.Trial], state: TrialState) -> None:
        self.running.remove(pair)
        for study, trial in zip(self.studies, pair, strict=True):
            study.tell(trial, 1.0 if state == TrialState.COMPLETE else None, state=state)

    def _report(self, pair: tuple[optuna.Trial, optuna.Trial]) -> None:
        rng = self.rng
        steps = self.studies[0]._storage.get_trial(pair[0]._trial_id).intermediate_values
        last = max(steps, default=-1)
        step = rng.randrange(30) if rng.random() < 0.1 else last + rng.choice([1, 1, 1, 1, 1, 2, 9])
        value = number(rng) + pair[0].number % 4 * 1.5  # some trials are worse than others
        at_the_end = is_last(self.kind, self.args, self.studies[0], max(step, last))
        verdicts = []
        for study, pruner, trial in zip(self.studies, (self.theirs, self.ours), pair, strict=True):
            study._storage.set_trial_intermediate_value(trial._trial_id, step, value)
            reported = study._storage.get_trial(trial._trial_id)
            if at_the_end and pruner is self.theirs:  # which prunes there, too; it is asked without writing
                with patch.object(study._storage, "set_trial_system_attr"):
                    pruner.prune(study, reported)
                verdicts.append(False)
            else:
                verdicts.append(bool(pruner.prune(study, reported)))
        assert verdicts[0] == verdicts[1], (self.kind, self.args, pair[0].number, step, value)
        self.verdicts.append(verdicts[0])
        if verdicts[0] and rng.random() < 0.7:
            self._end(pair, TrialState.PRUNED)


def is_last(kind: str, args: dict[str, Any], study: Study, step: int) -> bool:
    """Whether a report at ``step`` is the last of a trial, at which our pruners with rungs never prune."""
    if kind not in ("HyperbandPruner", "SuccessiveHalvingPruner"):
        return False
    if args.get("max_resource", "auto") != "auto":
        return step >= args["max_resource"]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ends = [trial.last_step for trial in complete if trial.last_step is not None]
    return bool(ends) and step >= max(ends)


def rungs(study: Study) -> list[dict[str, float]]:
    """Each trial's values at rungs, as written to the study."""
    return [
        {key: value for key, value in trial.system_attrs.items() if key.startswith("completed_rung")}
        for trial in study.get_trials(deepcopy=False)
    ]
