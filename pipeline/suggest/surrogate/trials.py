"""The trials of one study as arrays, one row each in the order in which they were first seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...study_changes import Changes, observed
from ..published import published
from .encoding import Encoding

NONE, RUNNING, COMPLETE, PRUNED, FAILED = range(5)
"""States of a row. NONE: it was dropped, or its configuration is not in this space."""


class Trials:
    """What is known of each trial.

    Args:
        encoding: Of the space.
        directions: Of the study.

    Attributes:
        size: The number of rows.
        state: By row: NONE, RUNNING, COMPLETE, PRUNED or FAILED.
        places: By row: the configuration.
        losses: By row and direction: the values, those to maximize negated; NaN where there are none.
        reports: By row: the intermediate values by step, where there are any, those to maximize negated on reading.
        constraints: By name, the amounts by row; NaN where a trial says nothing.
        finished: The number of complete, pruned and failed rows.
        scored: The number of complete and pruned rows.
        row_of: The row of each trial, by its id.
    """

    def __init__(self, encoding: Encoding, directions: Sequence[StudyDirection]) -> None:
        self.encoding = encoding
        self.signs = np.array([-1.0 if each == StudyDirection.MAXIMIZE else 1.0 for each in directions])
        self._clear()

    def _clear(self) -> None:
        self.size, self.finished, self.scored = 0, 0, 0
        self.state = np.zeros(64, dtype=np.int8)
        self.places = np.zeros((64, len(self.encoding.names)))
        self.losses = np.full((64, len(self.signs)), np.nan)
        self.reports: dict[int, Mapping[int, float]] = {}
        self.constraints: dict[str, np.ndarray] = {}
        self.row_of: dict[int, int] = {}  # by trial id
        self._params: dict[int, int] = {}  # by row of a running trial: how many values it had when last read
        self._keys: dict[int, int] = {}  # of configurations to how many rows have them

    def apply(self, changes: Changes) -> tuple[list[int], list[int]]:
        """Read what changed.

        Returns:
            Rows that finished, and rows whose configuration is new or another one.
        """
        if changes.whole:
            self._clear()
        for gone in changes.gone:
            row = self.row_of.pop(gone, None)
            if row is not None:
                self._leave(row)
        ended, placed = [], []
        trials = [trial for trial in sorted(changes.trials, key=lambda trial: trial.number) if not self._same(trial)]
        runs = [trial.state == TrialState.RUNNING and not observed(trial) for trial in trials]
        params = [
            {**published(trial), **trial.params} if run else trial.params
            for trial, run in zip(trials, runs, strict=True)
        ]
        for trial, run, places in zip(trials, runs, self.encoding.places_of(params, runs), strict=True):
            row = self.row_of.get(trial._trial_id)
            if places is None:
                if not run and row is not None:
                    self._leave(row)
                continue
            row = self._row(trial) if row is None else row
            moved, over = self._add_running(trial, row, places) if run else self._add_finished(trial, row, places)
            if moved:
                placed.append(row)
            if over:
                ended.append(row)
        return ended, placed

    def _same(self, trial: FrozenTrial) -> bool:
        """Whether the trial runs with the configuration that is known: most storages list all running ones."""
        if trial.state == TrialState.WAITING:
            return True
        row = self.row_of.get(trial._trial_id)
        if row is None or trial.state != TrialState.RUNNING or observed(trial):
            return False
        if self._params.get(row) != len(trial.params):
            return False
        if trial.intermediate_values:
            self.reports[row] = trial.intermediate_values
        return True

    def _leave(self, row: int) -> None:
        """The row counts no more."""
        self._count(row, -1)
        if self.state[row] != NONE:
            self._remember(self.places[row], -1)
        self.state[row] = NONE
        self.reports.pop(row, None)
        self._params.pop(row, None)

    def _count(self, row: int, change: int) -> None:
        state = self.state[row]
        self.finished += change * int(state >= COMPLETE)
        self.scored += change * int(state in (COMPLETE, PRUNED))

    def _add_running(self, trial: FrozenTrial, row: int, places: np.ndarray) -> tuple[bool, bool]:
        """Read a running trial. Returns whether it has a configuration that it did not have, and that it goes on."""
        self._params[row] = len(trial.params)
        return self._place(row, places, RUNNING), False

    def _add_finished(self, trial: FrozenTrial, row: int, places: np.ndarray) -> tuple[bool, bool]:
        """Read a trial that a sampler may learn from. Returns whether it moved, and whether it ended just now."""
        before = int(self.state[row])
        if before not in (NONE, RUNNING):
            self._count(row, -1)
        self._params.pop(row, None)
        moved = self._place(row, places, self._read(row, trial))
        self._count(row, 1)
        return moved, before in (NONE, RUNNING) or int(self.state[row]) != before

    def _read(self, row: int, trial: FrozenTrial) -> int:
        """Read a trial's results. Returns its state."""
        if trial.intermediate_values:
            self.reports[row] = trial.intermediate_values
        if any(key.startswith("constraints") for key in trial.system_attrs):
            for name, amount in trial.constraints.items():
                column = self.constraints.get(name)
                if column is None:
                    column = self.constraints[name] = np.full(len(self.state), np.nan)
                column[row] = amount
        if trial.state == TrialState.COMPLETE:
            losses = np.asarray(trial.values, dtype=float) * self.signs
            self.losses[row] = losses
            return COMPLETE if np.isfinite(losses).all() else FAILED
        if trial.state == TrialState.FAIL or len(self.signs) > 1:
            return FAILED
        return PRUNED if any(not math.isnan(value) for value in trial.intermediate_values.values()) else FAILED

    def _place(self, row: int, places: np.ndarray, state: int) -> bool:
        """Put a row in its place. Returns whether it was not there before."""
        was = self.state[row] != NONE
        moved = not was or bool(np.abs(self.places[row] - places).max() > 1e-6)
        if moved:
            if was:
                self._remember(self.places[row], -1)
            self._remember(places, 1)
            self.places[row] = places
        self.state[row] = state
        return moved

    def _row(self, trial: FrozenTrial) -> int:
        row = self.size
        self.size += 1
        if self.size > len(self.state):
            more = len(self.state)
            self.state = np.concatenate([self.state, np.zeros(more, dtype=np.int8)])
            self.places = np.concatenate([self.places, np.zeros((more, self.places.shape[1]))])
            self.losses = np.concatenate([self.losses, np.full((more, len(self.signs)), np.nan)])
            for name, column in self.constraints.items():
                self.constraints[name] = np.concatenate([column, np.full(more, np.nan)])
        self.row_of[trial._trial_id] = row
        return row

    # -- configurations that were tried -------------------------------------------------------------------------------

    def _remember(self, places: np.ndarray, change: int) -> None:
        key = self.encoding.key(places)
        count = self._keys.get(key, 0) + change
        if count > 0:
            self._keys[key] = count
        else:
            self._keys.pop(key, None)

    def tried(self, places: np.ndarray) -> bool:
        """Whether some trial has this configuration, in whatever state it is."""
        return self.encoding.key(places) in self._keys

    # -- views --------------------------------------------------------------------------------------------------------

    def rows(self, *states: int) -> np.ndarray:
        """The rows in these states, ascending."""
        return np.flatnonzero(np.isin(self.state[: self.size], states))

    def violations(self, rows: np.ndarray) -> np.ndarray:
        """The sum of the amounts by which each of these rows breaks constraints."""
        found = np.zeros(len(rows))
        for column in self.constraints.values():
            found += np.maximum(np.nan_to_num(column[rows], nan=0.0, posinf=1e300, neginf=0.0), 0.0)
        return found
