"""Which drivers work on a study: leases in its database, and the trials that dead drivers left behind.

A campaign's lease is the study's system attribute ``pilotune:campaign:<id>``, renewed while its driver lives. Every
decision about another driver's life is taken with the study locked, and one declared dead can commit nothing more: its
next commit raises LeaseLost.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...errors import CampaignRunning, RecordAway
from ..trial.files import TrialFiles
from ..worker.node.posix import place, process_start
from .rundir import RunDirectory
from .storage import RecordStorage
from .study_cache import OWNER
from .unit_of_work import LeaseLost

PREFIX = "pilotune:campaign:"
"""Of the study system attributes that hold leases."""
ATTEMPT = "pilotune:attempt"
"""Trial system attribute: the number of the latest attempt."""
LEFT = "pilotune:left"
"""Trial system attribute of one that was taken over: who started its latest attempt, and where."""
SILENCE = 120.0
"""Seconds without a heartbeat after which a driver on another host is taken for dead."""


@dataclass(frozen=True)
class Lease:
    """A campaign's right to its trials.

    Attributes:
        campaign: Its id, unique.
        host: Name of the driver's host, for people.
        place: Boot and process namespace of that host: where equal to ours, its process can be looked up.
        pid: The driver's process.
        pid_start: Clock ticks from boot to that process's start; a later process of the same number has another.
        started: Unix seconds by the database's clock; ``heartbeat`` too.
        run: The campaign's run directory.
        state: ``running``, ``ended``, or ``dead``: another driver took its trials over.
    """

    campaign: str
    host: str
    place: str
    pid: int
    pid_start: int
    run: str
    started: float = 0.0
    heartbeat: float = 0.0
    state: str = "running"

    @classmethod
    def here(cls, campaign: str, run: str) -> Lease:
        """A lease of the calling process, not claimed yet."""
        return cls(campaign, socket.gethostname(), place(), os.getpid(), process_start(os.getpid()) or 0, run)

    @classmethod
    def parse(cls, campaign: str, value: Any) -> Lease:
        """A lease from its attribute; a broken one counts as ended."""
        names = {field.name for field in dataclasses.fields(cls)} - {"campaign"}
        try:
            return cls(campaign, **{name: value[name] for name in names})
        except (TypeError, KeyError):
            return cls(campaign, "?", "", 0, 0, "", state="ended")

    @property
    def key(self) -> str:
        return PREFIX + self.campaign

    def alive(self, now: float) -> bool:
        """Whether its driver works on; ``now``: unix seconds by the database's clock."""
        if self.state != "running":
            return False
        if self.place == place():
            return process_start(self.pid) == self.pid_start
        return abs(now - self.heartbeat) <= SILENCE  # one that lives and sees its clock set back renews it soon

    def to_json(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        del fields["campaign"]
        return fields


@dataclass(frozen=True)
class Orphan:
    """A trial that a campaign left RUNNING, with what is needed to go on with it.

    Attributes:
        attempt: Its latest attempt, 0 when it was never started.
        campaign: The campaign that started that attempt.
        directory: The trial's directory.
        params: Its parameters; the constants are in the study file.
    """

    number: int
    attempt: int
    campaign: str
    directory: str
    params: dict[str, Any]


def study_leases(storage: RecordStorage, study: optuna.Study) -> list[Lease]:
    """All campaigns there ever were on the study, as far as the storage has read."""
    attrs = storage.get_study_system_attrs(study._study_id)
    return [Lease.parse(key.removeprefix(PREFIX), attrs[key]) for key in attrs if key.startswith(PREFIX)]


def claim(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """Begin a campaign: from here on new trials of ``storage`` are its own, and its commits are fenced.

    On SQLite a study has one driver at a time. Raises CampaignRunning when another one is alive there, RecordAway.
    """
    study_id = study._study_id
    with storage.locked(study_id):
        now = storage.clock()
        if storage.single_driver:
            for other in study_leases(storage, study):
                if other.campaign != lease.campaign and other.alive(now):
                    raise CampaignRunning(_running(study.study_name, other))
        lease = dataclasses.replace(lease, started=now, heartbeat=now, state="running")
        storage.set_study_system_attr(study_id, lease.key, lease.to_json())
    storage.campaign, storage.fence = lease.campaign, (study_id, lease.key)


def _running(study: str, other: Lease) -> str:
    where = f"process {other.pid} on {other.host}"
    after = "" if other.place == place() else f" (if that host is down: {SILENCE:.0f} s after its last sign of life)"
    return (
        f"the study {study!r} is being worked on by {where}, and an SQLite database takes one driver at a time: "
        f"wait for it, stop it with `pilotune stop {study}`{after}, or keep the study in PostgreSQL"
    )


def renew(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """Stage a sign of life; the next commit writes it. To be called a few times in SILENCE seconds."""
    _stage(storage, study, lease, "running")


def release(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """End the campaign: commit what is staged (no trial starts any more) and give the lease back.

    A database that is away keeps the lease; the end of this process ends it as well.
    """
    try:
        _stage(storage, study, lease, "ended")
        storage.commit(limit=0)
    except (RecordAway, LeaseLost):
        pass
    finally:
        storage.campaign = storage.fence = None


def _stage(storage: RecordStorage, study: optuna.Study, lease: Lease, state: str) -> None:
    known = storage.get_study_system_attrs(study._study_id).get(lease.key) or lease.to_json()
    storage.set_study_system_attr(study._study_id, lease.key, {**known, "heartbeat": storage.clock(), "state": state})


def orphans(storage: RecordStorage, study: optuna.Study, held: Container[int] | None = None) -> list[Orphan]:
    """Take over, for the campaign that ``storage`` claimed, every trial whose campaign has ended or died.

    One transaction: of several drivers one gets each trial. Trials of plain Optuna processes are nobody's orphans.

    Args:
        storage: Of the campaign.
        study: On it.
        held: Ids of the trials that the campaign has in hand. Those of its own that are not among them are taken too:
            they were taken before by a call whose answer was lost. None: it has all its trials in hand.

    Raises:
        RecordAway: Nothing was taken, or nobody can tell; to be called again with ``held``.
        LeaseLost: Another driver took this campaign for dead.
    """
    if storage.campaign is None:
        raise ValueError("claim the study before taking trials over")
    study_id, found = study._study_id, []
    with storage.locked(study_id):
        now = storage.clock()
        known = {lease.campaign: lease for lease in study_leases(storage, study)}
        for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.system_attrs.get(OWNER)
            lease = known.get(str(owner))
            if owner == storage.campaign:
                forgotten = held is not None and trial._trial_id not in held
            else:
                forgotten = owner is not None and (lease is None or not lease.alive(now))
            if forgotten:
                found.append(_take(storage, trial, lease))
        for lease in known.values():
            if lease.state == "running" and not lease.alive(now):
                storage.set_study_system_attr(study_id, lease.key, {**lease.to_json(), "state": "dead"})
    return found


def _take(storage: RecordStorage, trial: FrozenTrial, lease: Lease | None) -> Orphan:
    attempt = int(trial.system_attrs.get(ATTEMPT, 0))
    left = trial.system_attrs.get(LEFT, {})
    campaign = str(left["campaign"] if left.get("attempt") == attempt else trial.system_attrs[OWNER])
    directory = trial.user_attrs.get("pilotune:directory") or left.get("directory") or ""
    if not directory and lease is not None and lease.run:
        files: TrialFiles = RunDirectory(Path(lease.run)).trial(trial.number)
        directory = str(files.directory)
    storage.set_trial_system_attr(
        trial._trial_id, LEFT, {"campaign": campaign, "attempt": attempt, "directory": directory}
    )
    storage.set_trial_system_attr(trial._trial_id, OWNER, storage.campaign)
    storage.adopt([trial._trial_id])
    return Orphan(trial.number, attempt, campaign, directory, dict(trial.params))
