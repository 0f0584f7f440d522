"""A real driver (campaign, record, loop, sampler, pruner) on a study that already has trials, without real workers."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import studies
from optuna.trial import TrialState

from pilotune.pipeline.campaign.events import Action, Capacity, Ended, Event, Submit
from pilotune.pipeline.campaign.limits import ASKS_PER_STEP
from pilotune.pipeline.driver.claimed_study import claimed
from pilotune.pipeline.driver.driver import Driver
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.driver.settings import RunSettings
from pilotune.pipeline.record import Orphan, RunDirectory
from pilotune.pipeline.studyfile import load_study_file
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, Report, Started
from pilotune.providers.site import load_site

BEGAN = 1_000_000.0
"""Start of these campaigns, seconds."""

SECONDS = 120.0
"""Duration of the simulated trials, seconds."""


@contextlib.contextmanager
def driver_on(folder: Path, url: str, *, sampler: str = "tpe", pruner: str = "") -> Iterator[Driver]:
    """A driver that has claimed the study at ``url``, as ``pilotune run`` does; its files are under ``folder``."""
    # It is never run; populations are refused where an objective does not name its checkpoints.
    (folder / "objective.py").write_text("def run(trial):\n    trial.checkpoint_dir\n")
    study = folder / "study.yaml"
    study.write_text(studies.study_text("objective.py:run", sampler=sampler, pruner=pruner))
    settings = RunSettings(load_study_file(study), load_site("local"), url, folder / "runs")
    run = RunDirectory(folder / "runs" / studies.NAME / "c1")
    run.create()
    run.channel_key.touch()  # its absence would mean that somebody deleted the directory
    with claimed(settings, run, "c1") as (storage, study, lease):
        yield Driver(settings, storage, study, run, lease, BEGAN, lambda status: None)


def adopt_running(driver: Driver) -> list[str]:
    """Take over every running trial of the study; returns the tokens of their attempts."""
    running = driver.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    folder = str(driver.run.path)
    orphans = [Orphan(trial.number, 1, "c0", folder, dict(trial.params)) for trial in running]
    return [driver.campaign.adopt(orphan) for orphan in orphans]


def loop_of(driver: Driver, pool: object) -> CampaignLoop:
    """The driver's loop as ``Driver.drive`` makes it."""
    return CampaignLoop(
        driver.campaign,
        pool,  # type: ignore[arg-type]
        driver.storage,
        driver,
        limit=driver.study_file.budget.trials,
    )


class Desk:
    """A pool whose workers do what the benchmark says, one tick of the driver after another.

    Args:
        driver: The driver; this pool takes over the running trials of its study.
        workers: Attempts that run at once; at least as many as trials are running already.

    Attributes:
        running: Tokens of the running attempts, the oldest first.
    """

    latency = 0.01

    def __init__(self, driver: Driver, workers: int = 0):
        self.driver, self.time = driver, BEGAN
        self.running = deque(adopt_running(driver))
        self.loop = loop_of(driver, self)
        self._submitted: list[AttemptSpec] = []
        self._requests: dict[str, int] = {}
        capacity = Capacity(max(workers, len(self.running)), self.latency)
        self.tick([capacity, *(Started(token, "host", 1, "0", "0") for token in self.running)])
        while self._submitted or driver.campaign.more_to_ask:
            self.tick(self.started())

    def tick(self, events: Sequence[Event]) -> None:
        """One tick of the driver, exactly as in production: step, commit, actions."""
        self.time += 1.0
        self.loop.tick(events)

    def turn_over(self, trials: int = ASKS_PER_STEP) -> list[Event]:
        """Events: the oldest trials end, and those that were just submitted begin."""
        begun = self.started()
        return [*begun, *(self._ended(self.running.popleft()) for _ in range(min(trials, len(self.running))))]

    def started(self) -> list[Event]:
        """Events: the attempts that were submitted since the last call begin."""
        specs, self._submitted = self._submitted, []
        self.running.extend(spec.token for spec in specs)
        return [Started(spec.token, "host", 1, "0", "0") for spec in specs]

    def report(self, token: str, step: int, value: float) -> Report:
        """A report as an attempt's worker sends it."""
        self._requests[token] = self._requests.get(token, 0) + 1
        return Report(token, self._requests[token], step, value)

    def _ended(self, token: str) -> Ended:
        params = self.driver.campaign.flights[token].params
        number, attempt = (int(part) for part in token.split(".")[:2])
        return Ended(
            Outcome(
                token=token,
                number=number,
                attempt=attempt,
                kind="complete",
                values=[studies.value_of(params)],
                host="host",
                started=self.time - SECONDS,
                finished=self.time,
            )
        )

    # -- the Pool protocol --------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds

    def wait(self, timeout: float) -> list[Event]:
        return []

    def perform(self, actions: Sequence[Action]) -> None:
        self._submitted += [action.spec for action in actions if isinstance(action, Submit)]

    def close(self) -> None:
        pass
