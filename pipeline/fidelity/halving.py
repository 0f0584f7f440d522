"""Hyperband and successive halving with Optuna's verdicts, at a cost that does not grow with the study.

Optuna's own pruners list all trials at each report that reaches a rung, and Hyperband hashes each into its bracket.
These keep the rungs' values sorted: a verdict costs what changed in the study since the last one, and O(log n). The
verdicts, and what is written to the study, are the same, so that a study can change from one to the other; except that
these never prune at the last step, where nothing is left to save. Optuna's do where steps count from 1: a trial that
reports at step 27 of 27 is complete but for its return.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Self, cast

import optuna.pruners
from optuna.study import Study
from optuna.trial import FrozenTrial

from .rungs import RungTable, halve, longest
from .table_pruner import TablePruner


class SuccessiveHalvingPruner(TablePruner, optuna.pruners.SuccessiveHalvingPruner):
    """Asynchronous successive halving (ASHA): at each rung the best one in ``reduction_factor`` trials goes on.

    Rungs are at the steps ``min_resource * reduction_factor ** (min_early_stopping_rate + k)``, k = 0, 1, ... A trial
    that reaches a rung is compared with all trials that have reached it so far, and pruned there unless it is among the
    best; trials never wait for each other. Verdicts are those of ``optuna.pruners.SuccessiveHalvingPruner``, but for
    the last step, at which nothing is pruned.

    Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020 (algorithm 2 without promotion).

    Args:
        min_resource: Steps before the first rung. Default ``"auto"``: a hundredth of the steps of the longest trial,
            at least 1, known at the first verdict after a trial is complete; until then nothing is pruned.
        reduction_factor: One trial in this many goes on, at least 2. Default 4.
        min_early_stopping_rate: Rungs to skip at the beginning. Default 0.
        bootstrap_count: Trials that must reach a rung before any goes on from there. Default 0.
        max_resource: The last step of a full trial. Default ``"auto"``: that of the longest complete trial, once there
            is one.

    Raises:
        ValueError: An argument is out of range, or ``bootstrap_count`` is given with ``min_resource="auto"``.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.fidelity import SuccessiveHalvingPruner
        >>> study = optuna.create_study(pruner=SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))
        >>> verdicts = []
        >>> for loss in (0.5, 0.9, 0.1):
        ...     trial = study.ask()
        ...     trial.report(loss, step=1)
        ...     verdicts.append(trial.should_prune())
        >>> verdicts
        [False, True, False]
    """

    TABLE = RungTable
    _table: RungTable

    def __init__(
        self,
        min_resource: str | int = "auto",
        reduction_factor: int = 4,
        min_early_stopping_rate: int = 0,
        bootstrap_count: int = 0,
        max_resource: str | int = "auto",
    ) -> None:
        super().__init__(min_resource, reduction_factor, min_early_stopping_rate, bootstrap_count)
        if max_resource != "auto" and (not isinstance(max_resource, int) or max_resource < 1):
            raise ValueError(f"max_resource must be a whole number of at least 1, or auto, but is {max_resource!r}")
        self._last = max_resource if isinstance(max_resource, int) else None

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to prune the trial after its last report. Writes the value at each rung to the trial's attributes."""
        with self._lock:
            if trial.last_step is None or (self._min_resource is None and not self._estimate_min_resource(study)):
                return False
            return halve(self, self._table, 0, lambda _: 0, study, trial, self._last)

    def _estimate_min_resource(self, study: Study) -> bool:
        """Set ``min_resource`` from the longest complete trial; False where there is none."""
        # New trials are enough: were there a complete one among those read before, the estimate would exist.
        steps = longest(self._table.watch.refresh(study).trials)
        if steps is None:
            return False
        self._min_resource, self._table = max(steps // 100, 1), RungTable()
        return True


class HyperbandPruner(TablePruner, optuna.pruners.HyperbandPruner):
    """Hyperband: asynchronous successive halving in several brackets, which begin to prune at different steps.

    How early a trial can be judged depends on the problem and is not known beforehand. So bracket 0 prunes early and
    many trials, each further bracket later and fewer. A hash of the study's name and the trial's number gives the
    trial's bracket, within which it competes. Verdicts are those of ``optuna.pruners.HyperbandPruner``, but for the
    last step, at which nothing is pruned.

    Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 18, 2018.

    Args:
        min_resource: Steps before the first rung of bracket 0. Default 1.
        max_resource: Steps of a full trial, such as its epochs; at this step and later nothing is pruned. Default
            ``"auto"``: those of the first trial that completes; until then nothing is pruned, and from then on nothing
            at or after the last step of the longest complete trial.
        reduction_factor: One trial in this many goes on at each rung, at least 2. Default 3.
        bootstrap_count: Trials that must reach a rung before any goes on from there. Default 0.

    Raises:
        ValueError: ``max_resource`` is neither a number nor ``"auto"``, or ``bootstrap_count`` is given with it.

    Example:
        >>> import optuna
        >>> from pilotune.pipeline.fidelity import HyperbandPruner, hyperband_brackets
        >>> pruner = HyperbandPruner(min_resource=1, max_resource=27)
        >>> [bracket.rungs for bracket in hyperband_brackets({"max_resource": 27})]
        [(1, 3, 9), (3, 9), (9,), ()]
    """

    TABLE = RungTable
    UNSAVED = (*TablePruner.UNSAVED, "_bracket_studies")
    _table: RungTable
    _bracket_studies: dict[int, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls, *args, **kwargs)
        made._bracket_studies = {}
        return made

    def __init__(
        self,
        min_resource: int = 1,
        max_resource: str | int = "auto",
        reduction_factor: int = 3,
        bootstrap_count: int = 0,
    ) -> None:
        super().__init__(min_resource, max_resource, reduction_factor, bootstrap_count)
        self._by_trials = max_resource == "auto"  # the last step is that of the longest complete trial

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to prune the trial after its last report. Writes the value at each rung to the trial's attributes."""
        with self._lock:
            if not self._pruners:
                self._make_brackets(study)
            if not self._pruners or trial.last_step is None:
                return False
            bracket = self._get_bracket_id(study, trial)
            bracket_of = partial(self._get_bracket_id, study)
            last = None if self._by_trials else cast(int, self._max_resource)
            return halve(self._pruners[bracket], self._table, bracket, bracket_of, study, trial, last)

    def _make_brackets(self, study: Study) -> None:
        """Make the brackets, where the steps of a full trial are known."""
        if self._max_resource == "auto":
            # New trials are enough: were there a complete one among those read before, the brackets would exist.
            steps = longest(self._table.watch.refresh(study).trials)
            if steps is None:
                return
            self._max_resource, self._table = steps + 1, RungTable()
        self._try_initialization(study)

    def _create_bracket_study(self, study: Study, bracket_id: int) -> Study:
        """The bracket as a study, which samplers get instead of the study; kept, since making one is slow."""
        made: Any = self._bracket_studies.get(bracket_id)
        if made is None or made._study is not study or made.sampler is not study.sampler:
            made = self._bracket_studies[bracket_id] = super()._create_bracket_study(study, bracket_id)
        made._thread_local.cached_all_trials = None  # as in a newly made one
        return cast(Study, made)
