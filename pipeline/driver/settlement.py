"""Finds out what the blocks of dead drivers have cost, once none of their jobs is left.

What a dead driver's jobs can still cost stays reserved (``attributes.HOURS``) until they are known to be over: the next
driver with the same run directories ends those that are left, and asks the scheduler when the others began and ended.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..attributes import BLOCKS, SETUP
from ..record import Lease, RunDirectory
from ..record.hours import Ledger, give_back, ledgers, ledgers_in

if TYPE_CHECKING:
    import optuna

    from ...providers.blocks.job_log import RecordedJob
    from ...providers.blocks.orphaned_jobs import OrphanedJob
    from ..record import RecordStorage

LINGER = 60.0
"""Seconds from the last sign of life of a driver on a local site to the end of its blocks, at most: 15 s to the renewal
of its lease that did not come, and those in which its workers notice and let their trials yield."""


def settle(
    storage: RecordStorage,
    study: optuna.Study,
    dead: Callable[[], Sequence[Lease]],
    orphans: Sequence[OrphanedJob] | None,
    now: float,
    limit: int | None = None,
) -> None:
    """Write that dead campaigns give back the hours that their jobs can no longer use.

    Args:
        storage: The campaign's storage.
        study: Loaded from ``storage``.
        dead: Finds the leases of dead campaigns.
        orphans: As for :func:`settled_use`.
        now: Unix seconds.
        limit: As for ``RecordStorage.commit``.

    Raises:
        RecordAway: The database did not answer.
        LeaseLost: Another driver declared this campaign dead.
    """

    def used(open_: Collection[str]) -> dict[str, dict[str, float]]:
        leases = [lease for lease in dead() if lease.campaign in open_]
        attrs = storage.get_study_system_attrs(study._study_id) if leases else {}
        return settled_use(attrs, leases, orphans, now)

    give_back(storage, study, used, limit)


def settle_cleaned(url: str, name: str, records: Collection[Path], orphans: Sequence[OrphanedJob]) -> list[Ledger]:
    """Write what the blocks of dead campaigns have cost, after another process than a driver has ended them.

    Args:
        url: The study's database.
        name: The study.
        records: The job files of the campaigns whose jobs were looked for.
        orphans: What became of the jobs that were not recorded as ended.

    Returns:
        The ledgers of all campaigns of the study; none where the database has no such study.

    Raises:
        RecordAway: The database does not answer, or accepts no writes.
    """
    import optuna

    from ..record import open_storage, sqlite_file, study_leases

    path, looked_at = sqlite_file(url), {record.resolve() for record in records}
    if path is not None and not path.exists():
        return []
    with contextlib.closing(open_storage(url)) as storage:
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return []
        with storage.locked(study._study_id):
            clock = storage.database.clock()
            dead = [lease for lease in study_leases(storage, study) if not lease.alive(clock)]
            dead = [lease for lease in dead if RunDirectory(Path(lease.run)).jobs.resolve() in looked_at]
            settle(storage, study, lambda: dead, orphans, time.time())
        return list(ledgers(storage, study).values())


def settled_use(
    attrs: Mapping[str, Any], dead: Sequence[Lease], orphans: Sequence[OrphanedJob] | None, now: float
) -> dict[str, dict[str, float]]:
    """By dead campaign and pool, the node-seconds that its blocks were charged; without those that may have jobs left.

    Args:
        attrs: The study's system attributes.
        dead: The leases of dead campaigns.
        orphans: What became of the jobs that these drivers had not seen end; None where that is not known.
        now: Unix seconds.
    """
    found = {}
    for lease in dead:
        rows = blocks_of(attrs, lease.campaign)
        local = _local_pools(attrs, lease.campaign)
        if local is None:
            found[lease.campaign] = _use_of_local_blocks(attrs, rows, lease)
            continue
        record = RunDirectory(Path(lease.run)).jobs
        if orphans is None or not record.exists():
            continue
        own = [each for each in orphans if each.record == record]
        if not any(each.open for each in own):
            jobs = [row for row in rows if row[0] not in local]
            here = [row for row in rows if row[0] in local]
            found[lease.campaign] = _use_of_jobs(jobs, record, own, now)
            if local:
                found[lease.campaign] |= _use_of_local_blocks(attrs, here, lease, local)
    return found


def blocks_of(attrs: Mapping[str, Any], campaign: str) -> list[list[Any]]:
    """The blocks of a campaign, as in ``attributes.BLOCKS``."""
    parts = [value for key, value in attrs.items() if key.startswith(f"{BLOCKS}{campaign}:")]
    return [row for part in parts if isinstance(part, list) for row in part if isinstance(row, list) and len(row) > 7]


def _local_pools(attrs: Mapping[str, Any], campaign: str) -> Collection[str] | None:
    """The pools of a campaign whose blocks are processes on its host; None: all of them."""
    setup = attrs.get(SETUP + campaign)
    if not isinstance(setup, Mapping):
        return ()
    local = setup.get("local")
    return None if setup.get("scheduler") == "local" else local if isinstance(local, list) else ()


def _use_of_local_blocks(
    attrs: Mapping[str, Any], rows: list[list[Any]], lease: Lease, pools: Collection[str] | None = None
) -> dict[str, float]:
    """By pool, the node-seconds of blocks on this machine; of one that was not kept, those of the whole campaign.

    ``pools``: those with such blocks; None: all.
    """
    end = lease.heartbeat + LINGER
    known = {row[0] for row in rows}
    reserved = ledgers_in(attrs).get(lease.campaign, Ledger()).pools
    reserved = {pool: spent for pool, spent in reserved.items() if pools is None or pool in pools}
    unknown = [[pool, "", "", lease.started, lease.started, None, 0, 1] for pool in reserved if pool not in known]
    return _charged([*rows, *unknown], lambda row: (row[4], end))


def _charged(rows: Collection[list[Any]], span: Any) -> dict[str, float]:
    """By pool, the node-seconds of the blocks. ``span``: when a block that was not seen to end began and ended."""
    used: dict[str, float] = defaultdict(float)
    for row in rows:
        began, ended = (row[4], row[5]) if row[5] is not None else span(row)
        if began is not None and ended is not None:
            used[row[0]] += row[7] * max(0.0, ended - began)
    return dict(used)


def _use_of_jobs(rows: list[list[Any]], record: Path, orphans: Sequence[OrphanedJob], now: float) -> dict[str, float]:
    from ...providers.blocks.job_log import read_job_log

    recorded = {(job.pool, job.block): job for job in read_job_log(record)}
    left = {(each.job.pool, each.job.block): each for each in orphans}
    known = {(row[0], row[1]) for row in rows}
    nodes: dict[str, int] = {}
    for row in rows:  # blocks of a pool may differ: the largest counts
        nodes[row[0]] = max(row[7], nodes.get(row[0], 1))
    # Blocks that the driver submitted just before its death are in its file only.
    late = [[*key, job.job, job.time, None, None, 0, nodes.get(job.pool, 1)] for key, job in recorded.items()]
    everything = rows + [row for row in late if (row[0], row[1]) not in known]

    def span(row: list[Any]) -> tuple[float | None, float | None]:
        return _span(row, recorded.get((row[0], row[1])), left.get((row[0], row[1])), now)

    return _charged(everything, span)


def _span(
    row: list[Any], recorded: RecordedJob | None, orphan: OrphanedJob | None, now: float
) -> tuple[float | None, float | None]:
    """When a job began and ended whose driver did not see its end: what is not known counts as the longest time."""
    if orphan is None:  # another process has ended it and recorded that
        ended = recorded.time if recorded is not None and recorded.ended else now
        return (row[4] if row[4] is not None else row[3]), ended
    if orphan.was == "queued":
        return None, None
    began = orphan.began if orphan.began is not None else row[4] if row[4] is not None else row[3]
    return began, (now if orphan.left is None else orphan.left)
