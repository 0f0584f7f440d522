"""Leases of campaigns on a study, and the takeover of trials that dead drivers left behind.

A campaign's lease is a system attribute of the study (``attributes.LEASE`` and the campaign's id), renewed while its
driver lives. Another driver is declared dead only with the study locked. After that it cannot commit anything more: its
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
from ..attributes import ATTEMPT, DIRECTORY, LEASE, LEFT, OWNER, has_begun
from ..worker.node.posix import place, process_start
from .liveness import SILENCE
from .rundir import RunDirectory
from .storage import RecordStorage
from .unit_of_work import LeaseLost


@dataclass(frozen=True)
class Lease:
    """A campaign's right to run its trials, as stored in the database.

    Attributes:
        campaign: The campaign's unique id.
        host: Name of the driver's host, for messages.
        place: Boot id and process namespace of that host; the process can be looked up only where they are the same.
        pid: The driver's process id.
        pid_start: Clock ticks from boot to that process's start; a later process with the same id has another start.
        run: The campaign's run directory.
        started: Unix seconds by the database's clock.
        heartbeat: The last renewal, by the same clock.
        state: ``running``, ``ended``, or ``dead`` (another driver took over its trials).

    Example:
        >>> lease = Lease.here("20261121-143005-a1b2c3", "/scratch/me/pilotune/digits/20261121-143005-a1b2c3")
        >>> lease.alive(now=0.0)  # this process lives
        True
        >>> Lease.parse(lease.campaign, lease.to_json()) == lease
        True
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
        """A lease for the calling process, not claimed yet."""
        return cls(campaign, socket.gethostname(), place(), os.getpid(), process_start(os.getpid()) or 0, run)

    @classmethod
    def parse(cls, campaign: str, value: Any) -> Lease:
        """A lease from its attribute's value; one that cannot be read counts as ended."""
        names = {field.name for field in dataclasses.fields(cls)} - {"campaign"}
        try:
            return cls(campaign, **{name: value[name] for name in names})
        except (TypeError, KeyError):
            return cls(campaign, "?", "", 0, 0, "", state="ended")

    @property
    def key(self) -> str:
        """Key of the study's system attribute that holds the lease."""
        return LEASE + self.campaign

    def alive(self, now: float) -> bool:
        """Whether the lease's driver is alive; ``now``: Unix seconds by the database's clock."""
        if self.state != "running":
            return False
        if self.place == place():
            return process_start(self.pid) == self.pid_start
        # A heartbeat far in the future is no sign of life: a driver that is alive soon writes one by the clock as set.
        return abs(now - self.heartbeat) <= SILENCE

    def to_json(self) -> dict[str, Any]:
        """The attribute's value."""
        fields = dataclasses.asdict(self)
        del fields["campaign"]
        return fields


@dataclass(frozen=True)
class Orphan:
    """A trial that a dead or ended campaign left RUNNING, with what is needed to continue it.

    Attributes:
        number: The trial's number.
        attempt: Number of its latest attempt; 0 when it was never started.
        campaign: Id of the campaign that started that attempt.
        directory: The trial's directory; empty when it is not known.
        params: Its parameters, without the study file's constants.
        begun: Whether a worker may have begun one of its attempts.
    """

    number: int
    attempt: int
    campaign: str
    directory: str
    params: dict[str, Any]
    begun: bool = True


def study_leases(storage: RecordStorage, study: optuna.Study) -> list[Lease]:
    """The leases of all campaigns that ever worked on the study, as of the storage's last ``sync``."""
    attrs = storage.get_study_system_attrs(study._study_id)
    return [Lease.parse(key.removeprefix(LEASE), attrs[key]) for key in attrs if key.startswith(LEASE)]


def claim(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """Begin a campaign: from now on it owns the new trials of ``storage``, and its commits are fenced.

    Args:
        storage: With ``autocommit=False``.
        study: Loaded from ``storage``.
        lease: From ``Lease.here``.

    Raises:
        CampaignRunning: On SQLite, where a study has one driver at a time, another driver is alive.
        RecordAway: The database cannot be reached.

    Example:
        >>> import optuna, tempfile
        >>> from pilotune.pipeline.record import open_storage
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     storage = open_storage(f"sqlite:///{folder}/study.db")
        ...     study = optuna.create_study(storage=storage, study_name="s")
        ...     lease = Lease.here("c1", "/runs/s/c1")
        ...     claim(storage, study, lease)
        ...     trial = study.ask()
        ...     owner = study.trials[0].system_attrs[OWNER]
        ...     release(storage, study, lease)  # drops the trial, which was only staged
        ...     states = [each.state for each in study_leases(storage, study)]
        ...     storage.close()
        >>> owner, states
        ('c1', ['ended'])
    """
    study_id = study._study_id
    with storage.locked(study_id):
        now = storage.database.clock()
        if storage.database.single_driver:
            for other in study_leases(storage, study):
                if other.campaign != lease.campaign and other.alive(now):
                    raise CampaignRunning(_running(study.study_name, other))
        lease = dataclasses.replace(lease, started=now, heartbeat=now, state="running")
        storage.set_study_system_attr(study_id, lease.key, lease.to_json())
    storage.campaign, storage.unit_of_work.fence = lease.campaign, (study_id, lease.key)


def _running(study: str, other: Lease) -> str:
    where = f"process {other.pid} on {other.host}"
    after = "" if other.place == place() else f" (if that host is down: {SILENCE:.0f} s after its last heartbeat)"
    return (
        f"the study {study!r} is being worked on by {where}, and an SQLite database takes one driver at a time: "
        f"wait for it, stop it with `pilotune stop {study}`{after}, or keep the study in PostgreSQL"
    )


def renew(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """Stage a new heartbeat, which the next commit writes. Call it several times in ``SILENCE`` (120) seconds."""
    _stage(storage, study, lease, "running")


def release(storage: RecordStorage, study: optuna.Study, lease: Lease) -> None:
    """End the campaign: commit what is staged, without starting any trial, and mark the lease as ended.

    Does not raise when the database cannot be reached: the lease then ends with this process, or by its silence.
    """
    try:
        _stage(storage, study, lease, "ended")
        storage.commit(limit=0)
    except (RecordAway, LeaseLost):
        pass
    finally:
        storage.campaign = storage.unit_of_work.fence = None


def _stage(storage: RecordStorage, study: optuna.Study, lease: Lease, state: str) -> None:
    known = storage.get_study_system_attrs(study._study_id).get(lease.key) or lease.to_json()
    storage.set_study_system_attr(
        study._study_id, lease.key, {**known, "heartbeat": storage.database.clock(), "state": state}
    )


def orphans(storage: RecordStorage, study: optuna.Study, held: Container[int] | None = None) -> list[Orphan]:
    """Take over every running trial whose campaign has ended or died, for the campaign that ``storage`` claimed.

    One transaction: of several drivers only one gets each trial. Trials of plain Optuna processes have no campaign and
    are left alone. Campaigns found dead are marked so, and can commit nothing more.

    Args:
        storage: The campaign's storage, after ``claim``.
        study: Loaded from ``storage``.
        held: Local ids of the trials that the campaign has in hand. Its own trials that are not among them are
            returned too: an earlier call took them over, but its answer was lost. None: it has all its trials in hand.

    Returns:
        The trials that now belong to this campaign, by ascending number.

    Raises:
        RecordAway: The database did not answer, so it is unknown whether trials were taken over. Call again
            with ``held``.
        LeaseLost: Another driver declared this campaign dead.
        ValueError: The campaign has not claimed the study.
    """
    if storage.campaign is None:
        raise ValueError("call claim() before orphans()")
    study_id, found = study._study_id, []
    with storage.locked(study_id):
        now = storage.database.clock()
        known = {lease.campaign: lease for lease in study_leases(storage, study)}
        for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            owner = trial.system_attrs.get(OWNER)
            lease = known.get(str(owner))
            if owner == storage.campaign:
                forgotten = held is not None and trial._trial_id not in held
            else:
                forgotten = owner is not None and (lease is None or not lease.alive(now))
            if forgotten:
                found.append(_take_over(storage, trial, lease))
        for lease in known.values():
            if lease.state == "running" and not lease.alive(now):
                storage.set_study_system_attr(study_id, lease.key, {**lease.to_json(), "state": "dead"})
    return found


def folder_of(recorded: str, run: str, number: int) -> str:
    """The folder of a trial that was left, in which its latest attempt was to run; empty when it is not known.

    A trial keeps its folder, whether an attempt has made it yet or not, until the run directory around it is deleted.
    Then the campaign that has the trial at that time gives it one in its own run directory.

    Args:
        recorded: The folder as an earlier takeover recorded it; empty when there was none.
        run: The run directory of the campaign that had the trial last; empty when it is not known.
        number: The trial's number.
    """
    if run and not (recorded and os.path.isdir(os.path.dirname(recorded))):
        return str(RunDirectory(Path(run)).trial(number).directory)
    return recorded


def _take_over(storage: RecordStorage, trial: FrozenTrial, lease: Lease | None) -> Orphan:
    attempt = int(trial.system_attrs.get(ATTEMPT, 0))
    left = trial.system_attrs.get(LEFT, {})
    campaign = str(left["campaign"] if left.get("attempt") == attempt else trial.system_attrs[OWNER])
    recorded = trial.user_attrs.get(DIRECTORY) or left.get("directory") or ""
    directory = folder_of(recorded, lease.run if lease is not None else "", trial.number)
    storage.set_trial_system_attr(
        trial._trial_id, LEFT, {"campaign": campaign, "attempt": attempt, "directory": directory}
    )
    storage.set_trial_system_attr(trial._trial_id, OWNER, storage.campaign)
    storage.adopt([trial._trial_id])
    return Orphan(trial.number, attempt, campaign, directory, dict(trial.params), _may_have_begun(trial, directory))


def _may_have_begun(trial: FrozenTrial, directory: str) -> bool:
    """Whether a worker may have begun a trial: the first one makes its folder.

    A worker of a dead driver may do so after the trial was taken over. So the folder decides; where it cannot be known
    whether there was one, the attributes do.
    """
    if directory and os.path.isdir(os.path.dirname(directory)):
        return os.path.isdir(directory)
    return has_begun(trial.system_attrs)
