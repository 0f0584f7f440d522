"""Hyperband and successive halving with Optuna's verdicts, at a cost that does not grow with the study.

Optuna's own pruners list all trials at each report that reaches a rung (and Hyperband hashes each into its bracket).
These keep the rungs' values sorted: a verdict costs what changed in the study since the last one, and O(log n). The
verdicts, and what is written to the study, are the same, so that either can go on where the other stopped.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Self, cast

import optuna.pruners
from optuna.study import Study
from optuna.trial import FrozenTrial

from .rungs import RungTable, halve, longest
from .table_pruner import Tabled


class SuccessiveHalvingPruner(Tabled, optuna.pruners.SuccessiveHalvingPruner):
    """Asynchronous successive halving (Li et al., MLSys 2020); arguments and defaults as in Optuna's class.

    ``min_resource: auto`` is a hundredth of the steps of the longest trial complete at the first verdict after one is.
    """

    TABLE = RungTable
    _table: RungTable

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to stop after its last report. A trial that reaches a rung is marked in the study."""
        with self._lock:
            if trial.last_step is None or (self._min_resource is None and not self._estimate(study)):
                return False
            return halve(self, self._table, 0, lambda _: 0, study, trial)

    def _estimate(self, study: Study) -> bool:
        # Whatever was seen earlier had no such trial in it, or the estimate would stand: what is new is enough.
        steps = longest(self._table.watch.look(study).trials)
        if steps is None:
            return False
        self._min_resource, self._table = max(steps // 100, 1), RungTable()
        return True


class HyperbandPruner(Tabled, optuna.pruners.HyperbandPruner):
    """Hyperband (Li et al., JMLR 18, 2018) over asynchronous successive halving; arguments as in Optuna's class.

    The bracket of a trial is a hash of the study's name and the trial's number. As with Optuna's, samplers are handed
    the trial's bracket in the place of the study.
    """

    TABLE = RungTable
    UNSAVED = (*Tabled.UNSAVED, "_bracket_studies")
    _table: RungTable
    _bracket_studies: dict[int, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls, *args, **kwargs)
        made._bracket_studies = {}
        return made

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is to stop after its last report. A trial that reaches a rung is marked in the study."""
        with self._lock:
            if not self._pruners:
                self._begin(study)
            if not self._pruners or trial.last_step is None:
                return False
            bracket = self._get_bracket_id(study, trial)
            bracket_of = partial(self._get_bracket_id, study)
            return halve(self._pruners[bracket], self._table, bracket, bracket_of, study, trial)

    def _begin(self, study: Study) -> None:
        """Make the brackets, if the steps of a full trial are known by now."""
        if self._max_resource == "auto":
            # Whatever was seen earlier had no such trial in it, or the brackets would stand: what is new is enough.
            steps = longest(self._table.watch.look(study).trials)
            if steps is None:
                return
            self._max_resource, self._table = steps + 1, RungTable()
        self._try_initialization(study)

    def _create_bracket_study(self, study: Study, bracket_id: int) -> Study:
        """The bracket as a study. Optuna makes a class and a study for each call, three in the life of a trial."""
        made: Any = self._bracket_studies.get(bracket_id)
        if made is None or made._study is not study or made.sampler is not study.sampler:
            made = self._bracket_studies[bracket_id] = super()._create_bracket_study(study, bracket_id)
        made._thread_local.cached_all_trials = None  # a new one has none either
        return cast(Study, made)
