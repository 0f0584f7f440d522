"""A campaign with its record, on a clock that the test sets, and events made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution

from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.events import Ended, Finish, Scale, StopRequested, Submit
from pilotune.pipeline.campaign.flight import Flight
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.record import Orphan, RecordStorage
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, Started
from pilotune.pipeline.trial.report_log import ReportLog

SPACE = Space(parameters=(Parameter("x", FloatDistribution(0.0, 1.0), {}),), constants={}, constraints=())


class QuietServices:
    """The process around a campaign in which nothing happens; a test replaces what it needs."""

    def stop_requests(self) -> Sequence[StopRequested]:
        return []

    def renew_lease(self) -> None:
        pass

    def take_over_orphans(self) -> tuple[Sequence[Orphan], Sequence[Outcome]]:
        return [], []

    def why_unfit(self, flight: Flight) -> str:
        return ""

    def last_saved(self, flight: Flight) -> float | None:
        return None

    def written_outcome(self, flight: Flight) -> Outcome | None:
        return None

    def report_log(self, flight: Flight) -> ReportLog | None:
        return None

    def snapshot(self, flight: Flight, step: int) -> str:
        return f"/snapshots/{flight.number}/{step}"

    def forget_snapshot(self, folder: str) -> None: ...

    def report_status(self, problem: str) -> None:
        pass

    def on_ended(self, numbers: Sequence[int]) -> None: ...

    def free_reserve(self) -> bool:
        return False

    def save_study(self) -> str:
        return ""


class Bench(QuietServices):
    """A campaign, its record and a clock; ``turn`` is one tick of the driver's loop."""

    def __init__(self, url: str, limits: CampaignLimits, campaign: str, **options: Any):
        self.storage = RecordStorage(url, autocommit=False)
        optuna.create_study(storage=self.storage, study_name="s", load_if_exists=True)
        self.storage.commit()
        sampler = options.pop("sampler", optuna.samplers.RandomSampler(seed=0))
        pruner = options.pop("pruner", optuna.pruners.NopPruner())
        study = optuna.load_study(study_name="s", storage=self.storage, sampler=sampler, pruner=pruner)
        pausing = options.pop("pausing", None)
        campaign_study = CampaignStudy(study, self.storage, options.pop("space", SPACE), campaign)
        self.now, self.limit = 1000.0, limits.trials
        self.scales: list[Scale] = []
        self.campaign = Campaign(campaign_study, limits, self, campaign, self.now, pausing)

    def make_spec(self, flight: Any) -> AttemptSpec:
        return AttemptSpec(
            token=flight.token, study="s", number=flight.number, attempt=flight.attempt, params=flight.params,
            defines_space=False, directory="/tmp", seed=0, n_values=1, avoid=sorted(flight.avoid), repeat=flight.repeat,
            since=flight.since,
        )  # fmt: skip

    def turn(self, *events: Any, after: float = 1.0) -> list[Any]:
        self.now += after
        self.campaign.step(self.now, events)
        result = self.storage.commit(self.limit)
        actions = self.campaign.release(result.refused, result.overtaken)
        self.scales += [action for action in actions if isinstance(action, Scale)]
        return [action for action in actions if not isinstance(action, Scale)]

    def specs(self, *events: Any, after: float = 1.0) -> list[AttemptSpec]:
        return [action.spec for action in self.turn(*events, after=after) if isinstance(action, Submit)]

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """The trials, as another process reads them."""
        return optuna.load_study(study_name="s", storage=self.storage.url).trials


def benches(folder: Path) -> Callable[..., Bench]:
    """Makes benches on one study in ``folder``."""

    def make(campaign: str = "c1", options: Any = None, **limits: Any) -> Bench:
        return Bench(f"sqlite:///{folder}/study.db", CampaignLimits(**limits), campaign, **(options or {}))

    return make


def started(spec: AttemptSpec, host: str = "host") -> Started:
    return Started(spec.token, host, 1, "0", "0")


def over(spec: AttemptSpec, kind: str = "complete", value: float = 1.0, **fields: Any) -> Ended:
    values = [value] if kind == "complete" else None
    outcome = Outcome(token=spec.token, number=spec.number, attempt=spec.attempt, kind=kind, values=values, **fields)
    return Ended(outcome)


def finish_of(actions: list[Any]) -> Finish:
    (found,) = [action for action in actions if isinstance(action, Finish)]
    return found
