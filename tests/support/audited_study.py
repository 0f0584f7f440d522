"""A study as a real campaign leaves it, with outcome files as workers write them; and ways to damage it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa

from pilotune.pipeline.analysis.audit import Audit, audit
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.events import Capacity, Ended, Lost, Submit
from pilotune.pipeline.campaign.limits import CampaignLimits
from pilotune.pipeline.record import Lease, RecordStorage, RunDirectory, claim, orphans, release
from pilotune.pipeline.trial.files import TrialFiles, write_atomically
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome, Report, Started
from pilotune.pipeline.trial.report_log import ReportLog, as_ranges, newest_log

from .campaign_bench import SPACE, QuietServices

NAME = "digits"


class Audited(QuietServices):
    """One campaign on a study, whose workers are played by the test.

    Args:
        folder: Folder of the run directories.
        url: The database's URL.
        campaign: The campaign's id.
        trials: The campaign's budget.
        directions: Number of the study's objectives.
        limits: More limits of the campaign; a trial whose process crashed has one retry.
    """

    def __init__(
        self, folder: Path, url: str, campaign: str = "c1", trials: int = 9, directions: int = 1, **limits: Any
    ):
        self.folder, self.url = folder, url
        self.run = RunDirectory(folder / "runs" / NAME / campaign)
        self.run.create()
        self.run.study_file.write_text(f"name: {NAME}\nbudget: {{trials: {trials}}}\n")
        self.storage = RecordStorage(url, autocommit=False)
        if url.startswith("sqlite"):
            self.storage.database.run("PRAGMA synchronous=OFF")  # most time would go into the disk
        study = optuna.create_study(
            storage=self.storage, study_name=NAME, load_if_exists=True, directions=["minimize"] * directions,
            sampler=optuna.samplers.RandomSampler(0), pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip
        self.storage.commit()
        self.lease = Lease.here(campaign, str(self.run.path))
        claim(self.storage, study, self.lease)
        self.study, self.limit, self.now = study, trials, 1000.0
        campaign_study = CampaignStudy(study, self.storage, SPACE, campaign)
        self.campaign = Campaign(
            campaign_study, CampaignLimits(trials=trials, **{"retries": 1, **limits}), self, campaign, self.now
        )

    def make_spec(self, flight: Any) -> AttemptSpec:
        flight.directory = flight.directory or str(self.run.trial(flight.number).directory)
        return AttemptSpec(
            token=flight.token, study=NAME, number=flight.number, attempt=flight.attempt, params=flight.params,
            defines_space=False, directory=flight.directory, seed=0, n_values=len(self.study.directions),
            reported=as_ranges(self.campaign.study.reported(flight.trial)), repeat=flight.repeat, since=flight.since,
        )  # fmt: skip

    def report_log(self, flight: Any) -> ReportLog | None:
        return newest_log(TrialFiles(Path(flight.directory)), flight.attempt)

    def take_over(self) -> list[AttemptSpec]:
        """Take over the trials of dead drivers, all of whose attempts count as lost; returns their next attempts."""
        taken = orphans(self.storage, self.study, self.campaign.held)
        tokens = [self.campaign.adopt(orphan) for orphan in taken]
        return self.turn(Capacity(len(tokens)), *(Lost(token, "its driver died") for token in tokens))

    def turn(self, *events: Any) -> list[AttemptSpec]:
        """One tick. Returns the attempts that it submits; a worker begins each of them at once."""
        self.now += 1.0
        self.campaign.step(self.now, events)
        result = self.storage.commit(self.limit)
        actions = self.campaign.release(result.refused, result.overtaken)
        specs = [action.spec for action in actions if isinstance(action, Submit)]
        for spec in specs:
            TrialFiles(Path(spec.directory)).create(spec.attempt)
        if specs:
            self.turn(*(Started(spec.token, "n1", 1, "0", "0") for spec in specs))
        return specs

    def begin(self, trials: int) -> list[AttemptSpec]:
        return self.turn(Capacity(trials))

    def report(self, spec: AttemptSpec, *values: float) -> None:
        """Reports at steps 1, 2, ..., as they come over the channel."""
        self.turn(*(Report(spec.token, step, step, value) for step, value in enumerate(values, 1)))

    def write(self, spec: AttemptSpec, kind: str = "complete", *values: float, **fields: Any) -> Outcome:
        """Write the outcome of an attempt, as its worker does at the end."""
        outcome = Outcome(
            token=spec.token, number=spec.number, attempt=spec.attempt, kind=kind, values=list(values) or None,
            host="n1", finished=60.0, **fields,
        )  # fmt: skip
        path = TrialFiles(Path(spec.directory)).outcome(spec.attempt)
        write_atomically(path, json.dumps(outcome.to_dict()))
        return outcome

    def end(self, spec: AttemptSpec, kind: str = "complete", *values: float, **fields: Any) -> list[AttemptSpec]:
        """Write the outcome and report it to the driver; returns the attempts that follow."""
        return self.turn(Ended(self.write(spec, kind, *values, **fields)))

    def lose(self, spec: AttemptSpec) -> AttemptSpec:
        """Report the worker as lost; returns the trial's next attempt."""
        (again,) = self.turn(Lost(spec.token, "its worker was lost"))
        return again

    def stop(self) -> Audited:
        """End the campaign properly."""
        release(self.storage, self.study, self.lease)
        self.storage.close()
        return self

    def die(self) -> Audited:
        """End the campaign as a killed driver does: its lease stays, and another process has its pid now."""
        self.set_lease(pid_start=self.lease.pid_start + 1)
        self.storage.close()
        return self

    def set_lease(self, **changes: Any) -> None:
        lease = dataclasses.replace(self.lease, **changes)
        self.storage.set_study_system_attr(self.study._study_id, lease.key, lease.to_json())
        self.storage.commit()

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        return audit(self.url, NAME)

    def spoil(self, *statements: str) -> None:
        """Change the database directly; on SQLite without checks of foreign keys."""
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def outcome(self, number: int, attempt: int = 1) -> Path:
        return self.run.trial(number).outcome(attempt)

    def rewrite(self, number: int, attempt: int = 1, /, **fields: Any) -> None:
        """Change an outcome file."""
        path = self.outcome(number, attempt)
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def three(folder: Path, url: str, **options: Any) -> Audited:
    """A campaign that has ended. Trial 0 is complete, 1 pruned, 2 failed in its second attempt; each has reports."""
    study = Audited(folder, url, trials=3, **options)
    first, second, third = study.begin(3)
    study.report(first, 0.5, 0.25)
    study.end(first, "complete", 0.125, reports=[[1, 0.5], [2, 0.25]])
    study.end(second, "pruned", reports=[[1, 0.75]])
    (again,) = study.end(third, "failed", failure="signal", reports=[[1, 0.875]])
    study.end(again, "failed", failure="exception", reports=[[1, 0.0], [2, 0.0]])
    return study.stop()


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder, by path."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def opened(url: str) -> Any:
    """A plain connection to an SQLite database."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        yield connection
