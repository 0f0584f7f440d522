"""What trials cost that this campaign does not run itself: those of earlier campaigns, and of drivers beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..attributes import EXIT, OWNER, PEAK_MEMORY, POOL, RUNS, SECONDS_RUNNING, details_of
from ..placement import Costs
from ..record.pool_sites import sites_of, with_site
from ..study_changes import StudyWatch
from .cost_learner import note_cost
from .whole_trial import WholeTrial

Noted = list[tuple[dict[str, Any], str]]
"""The parameters and the pool of each trial that said how long it ran, in the order in which they ended."""


class PoolNames:
    """What the pools of all campaigns of a study are called in one of them.

    Pools of two sites may have the same name, and are different hardware: that of another site is ``SITE.POOL`` here.
    A campaign on several sites that have such a pool calls it so, too.

    Args:
        read: Gives the study's system attributes, which say at which sites campaigns run.
        campaign: The campaign whose names are given.
        pools: Its pools.

    >>> setups = {"pilotune:setup:a": {"site": "theta"}, "pilotune:setup:b": {"site": "polaris"}}
    >>> names = PoolNames(lambda: setups, "a", ["cpu"])
    >>> names.here("a", "cpu"), names.here("b", "cpu")
    ('cpu', 'polaris.cpu')
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]], campaign: str, pools: Iterable[str]):
        self._read = read
        self._sites: dict[str, tuple[str, Mapping[str, str]]] = {}  # campaign -> its site, and the site of each pool
        self._own = {self._full(campaign, pool): pool for pool in pools}

    def here(self, campaign: str, pool: str) -> str:
        """The name of a pool of a campaign."""
        full = self._full(campaign, pool)
        return self._own.get(full, full)

    def _full(self, campaign: str, pool: str) -> str:
        if campaign not in self._sites:
            self._sites[campaign] = sites_of(self._read(), campaign)
        site, by_pool = self._sites[campaign]
        return with_site(pool, by_pool.get(pool, site))


class PastCosts:
    """Tells costs of finished trials, from what the record has of them.

    A trial counts where all its attempts ran in one pool and none of its time is unknown.

    Args:
        costs: Is told.
        constants: The space's constants, which are among the parameters of each trial.
        names: What pools are called here; None: as they were.
    """

    def __init__(self, costs: Costs, constants: Mapping[str, object], names: PoolNames | None = None):
        self.costs, self._constants, self._names = costs, constants, names
        self._whole: WholeTrial | None = None  # the last complete one

    def tell(self, trials: Iterable[FrozenTrial]) -> Noted:
        """Tell what these trials have cost; returns those that counted."""
        ordered = sorted(trials, key=lambda each: (each.datetime_complete is None, each.datetime_complete))
        return [noted for trial in ordered if (noted := self._tell(trial)) is not None]

    def _tell(self, trial: FrozenTrial) -> tuple[dict[str, Any], str] | None:
        earlier = trial.system_attrs.get(RUNS) or []
        pools = {details_of(trial).get(POOL) or "", *(run[5] for run in earlier)}
        seconds = trial.user_attrs.get(SECONDS_RUNNING)
        if not trial.state.is_finished() or len(pools) != 1 or "" in pools or not seconds:
            return None
        pool, params = pools.pop(), {**self._constants, **trial.params}
        if self._names is not None:
            pool = self._names.here(str(trial.system_attrs.get(OWNER, "")), pool)
        memory = trial.user_attrs.get(PEAK_MEMORY)
        memory = memory if type(memory) is int else None
        if trial.user_attrs.get(EXIT) == "memory":
            self.costs.failed_by_memory(params, pool, memory)
        if trial.state == TrialState.FAIL or any(run[3] == "lost" for run in earlier):
            return None
        whole = trial.state == TrialState.COMPLETE
        own = WholeTrial.of(trial.intermediate_values)
        self._whole = own if whole else self._whole
        like = self._whole or own
        steps = None if own is None or like is None else like.done(own.last)
        of = None if self._whole is None else self._whole.steps
        note_cost(self.costs, params, pool, float(seconds), whole, steps, of, memory)
        return params, pool


class OthersCosts:
    """Tells of all trials of a study that one campaign does not run itself, as they end.

    Args:
        past: Tells costs of them.
        study: The study.
        campaign: The campaign, which learns of its own trials from events.
    """

    def __init__(self, past: PastCosts, study: Study, campaign: str):
        self._past, self._study, self._campaign = past, study, campaign
        self._watch = StudyWatch()
        self._told: set[int] = set()

    def refresh(self) -> Noted:
        """Tell of the trials that have ended since the last call, the first time of all; it costs what has changed."""
        new = [trial for trial in self._watch.refresh(self._study).trials if trial.state.is_finished()]
        new = [trial for trial in new if trial._trial_id not in self._told]
        self._told.update(trial._trial_id for trial in new)
        return self._past.tell(trial for trial in new if trial.system_attrs.get(OWNER) != self._campaign)
