"""Each invariant of the simulation can fail: with a part of the real code broken, some seed finds it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MethodType
from typing import Any, cast

import optuna
import pytest
from optuna.trial import FrozenTrial

from pilotune.pipeline.campaign import campaign
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Event, LastTrial, Scale
from pilotune.pipeline.campaign.flight import Flight, seed_of
from pilotune.pipeline.campaign.last_trials import LastTrials
from pilotune.pipeline.campaign.outcomes import OutcomeHandler
from pilotune.pipeline.campaign.placed_pool import PlacedPool
from pilotune.pipeline.campaign.promotion import PromotionController
from pilotune.pipeline.campaign.repeater import Repeater
from pilotune.pipeline.campaign.trial_attributes import TrialAttributes
from pilotune.pipeline.driver import artifacts as keeper
from pilotune.pipeline.driver import hours
from pilotune.pipeline.driver.artifacts import ArtifactKeeper
from pilotune.pipeline.fidelity import Population, Promotions
from pilotune.pipeline.noise import Repeats
from pilotune.pipeline.record import hours as record_hours
from pilotune.pipeline.record import leases as campaigns
from pilotune.pipeline.record import unit_of_work as commit
from pilotune.pipeline.record.due_callbacks import DueCallbacks
from pilotune.pipeline.record.hours import Ledger, settled
from pilotune.pipeline.record.storage import RecordStorage
from pilotune.pipeline.record.unit_of_work import UnitOfWork
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import Attributes
from pilotune.pipeline.trial.report_log import LoggedReport, ReportWriter, newest_log
from pilotune.providers.blocks import block_shape
from pilotune.providers.blocks.block import Block
from pilotune.providers.blocks.packed_node import WHOLE, Need, PackedNode
from pilotune.providers.blocks.packing import Packer
from pilotune.providers.simulated import blocks as simulated_blocks
from pilotune.providers.simulated import pool as simulated_pool
from pilotune.providers.simulated.attempt import Attempt
from pilotune.providers.simulated.blocks import PlannedShape, SimulatedBlocks
from pilotune.providers.simulated.faults import Disk, Faults
from pilotune.providers.simulated.pool import SimulatedPool
from tests.support.packing import MACHINES
from tests.system.simulation import Case, check, driver, template
from tests.system.simulation.__main__ import memory
from tests.system.simulation.cases import GENERATIONS, NODES, POPULATIONS, PROMOTE, SAMPLERS, Trouble
from tests.system.simulation.pools import Pools
from tests.system.simulation.sizes import Sizes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with TemporaryDirectory(dir=memory(), prefix="simulation-") as name:
        template(Path(name))
        yield Path(name)


def complaints(cases: Iterator[Case], words: str, folder: Path) -> list[str]:
    """The messages of the seeds that fail, until one has ``words``: another invariant may be broken first."""
    found: list[str] = []
    for case in cases:
        try:
            check(case, folder / "template.db", folder)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
            if re.search(words, found[-1]):
                break
    return found


def too_much(campaign: Campaign) -> list[Scale]:
    campaign._demand.last = Scale(campaign.in_flight + (campaign.limits.trials or 0))
    return [campaign.demand]


def never_landed(work: UnitOfWork) -> None:
    """Treat a commit in doubt as one that failed."""
    pending, work._pending = work._pending, None
    if pending is not None:
        work.studies.put_back({i: staged for i, (staged, _) in pending.written.items()}, pending.before)


def always_landed(work: UnitOfWork) -> None:
    """Treat a commit in doubt as one that succeeded."""
    pending, work._pending = work._pending, None
    if pending is not None:
        work._landed(pending)


def without_population(case: Case) -> Case:
    """The case with another sampler where it trains a population, whose own invariants break first."""
    return replace(case, sampler=SAMPLERS[0]) if case.sampler in POPULATIONS else case


def plain(seed: int) -> Case:
    return without_population(Case.of(seed))


def rivals(seed: int) -> Case:
    """Two drivers on one study, which are sometimes suspended for longer than their leases last."""
    trouble = Trouble(kills=1, points=300, naps=6, away=0.01)
    return replace(plain(seed), seats=2, server=True, workers=2, trials=6, stretch=5.0, stop_at=None, trouble=trouble)


def heirs(seed: int) -> Case:
    """One driver after the other; each takes over the trials of the last, and the database fails."""
    trouble = Trouble(kills=3, points=300, away=0.03)
    return replace(plain(seed), seats=1, workers=4, trials=6, stretch=5.0, stop_at=None, trouble=trouble)


def pausing(seed: int) -> Case:
    """One driver after the other, whose trials pause at rungs."""
    trouble = Trouble(kills=2, points=1000)
    case = replace(Case.with_blocks(seed), workers=2, plan=None, every=1, stretch=1.0, stop_at=None, trouble=trouble)
    return without_population(replace(case, trials=9, pruner=PROMOTE, server=False))


def repeating(seed: int) -> Case:
    """One driver after the other, the first of which is stopped, and trials that are run three times."""
    trouble = Trouble(kills=1, points=300)
    case = replace(Case.of(seed), seats=1, workers=3, trials=4, trouble=trouble, stop_at=12, stop_how="finish")
    return replace(case, repeats=Repeats(3, 3), stretch=5.0, pruner=None)


def training(seed: int) -> Case:
    """One driver after the other, whose trials are members of a population."""
    return replace(pausing(seed), sampler=POPULATIONS[0], pruner=None, trials=30)


def noted_whenever(campaign: Campaign, event: Attributes) -> None:
    """Keep attributes even where a message is older than the last one."""
    flight = campaign.flights.get(event.token)
    if flight is not None:
        campaign.study.attributes.note(flight.trial, event.user_attrs, event.system_attrs)


def noting(seed: int) -> Case:
    """Objectives that set attributes, and messages that come late, twice or not at all."""
    return replace(plain(3 * seed), notes=True, faults=replace(Case.of(3 * seed).faults, shuffle=True, twice=0.5))


def breeding(seed: int) -> Case:
    """Several trials of a sampler with a barrier between generations."""
    return replace(Case.of(seed), sampler=GENERATIONS[seed % 3], trials=5, stop_at=None)


def logged_after_sending(pool: SimulatedPool, attempt: Attempt, value: float) -> None:
    """Write a report down when it was sent; the worker may die in between, and the message may be lost."""
    writer, attempt.log = attempt.log, None
    report(pool, attempt, value)
    attempt.log = writer
    if writer and not attempt.over:
        writer.append(attempt.step, attempt.value)


report = SimulatedPool._report


def own_reports_only(files: TrialFiles, attempt: int, since: int) -> list[LoggedReport]:
    """Read the log of the last attempt, and do not begin one with it."""
    log = newest_log(files, attempt - 1, since)
    files.report_log(attempt).touch()
    return list(log.reports) if log else []


def dying(seed: int) -> Case:
    """One driver after the other, and workers that die as they report."""
    return replace(heirs(seed), faults=replace(Case.of(seed).faults, mute=0.1, linger=60.0))


def lost_when_suspended(blocks: SimulatedBlocks, block: Block) -> None:
    """Tell the driver that what runs in a suspended block is lost."""
    suspend(blocks, block)
    pool = cast("SimulatedPool", cast("MethodType", blocks._on_end).__self__)
    for attempt in pool._running.values():
        if attempt.block is block:
            pool._notice(attempt.spec.token)


suspend = SimulatedBlocks._suspend


def packing(seed: int) -> Case:
    """One driver, which packs trials of 1 and of 8 GPUs on one node."""
    sizes = Sizes(MACHINES[0], (Need(1, 1),) * 6 + (Need(1, 8),) * 2)
    case = replace(plain(seed), seats=1, trouble=Trouble(), stop_at=None, sizes=sizes, workers=8, trials=60)
    return replace(case, sampler=SAMPLERS[0], pruner=None, repeats=Repeats(1, 1), stretch=1.0, wishes=False)


def packing_blocks(seed: int) -> Case:
    """The same on blocks that end."""
    return replace(Case.with_blocks(seed), sizes=packing(seed).sizes, sampler=SAMPLERS[0], workers=24)


def given_back_twice(node: PackedNode, token: str) -> None:
    """Give the cores of an attempt back before it has ended, too."""
    give_back(node, token)
    node.cores |= set(range(node.room.cores))
    node.gpus = [WHOLE] * node.room.gpus


give_back = PackedNode.give_back


def keeping(seed: int) -> Case:
    """One driver after the other, whose trials keep files, those of the two best."""
    trouble = Trouble(kills=6, points=60)
    case = replace(plain(seed), seats=1, workers=4, trials=12, stop_at=None, trouble=trouble, artifacts=True, keep=2)
    return replace(case, sizes=None, repeats=Repeats(1, 1), pruner=None)


def keeping_all(seed: int) -> Case:
    return replace(keeping(seed), keep=None)


def kept_early(campaign: driver.CheckedCampaign, now: float, events: Sequence[Event]) -> None:
    """Keep the artifacts of trials that have ended before their ends are committed."""
    step(campaign, now, events)
    keeps = campaign.services.keeper  # type: ignore[attr-defined]
    if keeps is None:  # it takes over before it has begun
        return
    keeps.on_ended([campaign.study.storage.get_trial_number_from_id(each) for each in campaign.study.ended])


step = driver.CheckedCampaign.step


def sharing(seed: int) -> Case:
    """Two drivers on blocks that a budget pays; each dies once, and its workers go on for a while."""
    case = replace(Case.with_hours(seed), seats=2, trouble=Trouble(kills=1, points=300), workers=4, trials=40)
    assert case.plan is not None
    case = replace(case, plan=replace(case.plan, shapes=()))
    case = replace(case, hours=NODES * case.plan.walltime / 3600.0 * 1.5, faults=replace(case.faults, linger=400.0))
    return replace(case, stretch=20.0, pruner=None, sizes=None, sampler=SAMPLERS[0], stop_at=None)


def on_pools(seed: int) -> Case:
    """Two pools, of which one alone may run half of the trials."""
    pools = Pools({"p0": 1.0, "p1": 1.0}, {"a": ("p0",)}, "learned", None)
    return replace(plain(seed), pools=pools, workers=2, trials=12, wishes=False, sizes=None, pruner=None)


def given_back_early(found: dict[str, Ledger], used: dict[str, dict[str, float]]) -> dict[str, Ledger]:
    """Settle the ledgers of all others, whether their jobs are over or not."""
    return settled(found, {campaign: {} for campaign in found})


def of_an_earlier_attempt(trial: FrozenTrial) -> Path:
    """Take the artifacts of the attempt before, where it has left any."""
    source = source_of(trial)
    earlier = source.with_name(f"artifacts-{trial.user_attrs['pilotune:attempts'] - 1}")
    return earlier if earlier.is_dir() else source


source_of = keeper.source_of


def long_ends(seed: int) -> Case:
    """Long trials on large blocks, which the last ones may leave; some of them are lost."""
    case = replace(Case.with_long_ends(seed), trouble=Trouble(), faults=Faults(lose=0.1), pools=None)
    assert case.plan is not None
    shapes = (PlannedShape(1, 1, 1000.0, 100.0), PlannedShape(2, 4, 1000.0, 1.0), PlannedShape(6, 32, 2000.0, 1.0))
    return replace(case, plan=replace(case.plan, shapes=shapes), stretch=30.0)


def always_movable(last: LastTrials, flight: Flight, began: float, now: float) -> LastTrial:
    """Say of each trial that it may move, also of one that has moved."""
    return replace(look_at(last, flight, began, now), ends=now + 300.0, lost=0.0)


look_at = LastTrials._look_at


BROKEN: dict[str, tuple[Any, str, Callable[..., Any], Callable[[int], Case], str]] = {
    "two drivers start more than the budget allows":
        (commit, "enforce_budget", lambda *_: [], plain, "over budget"),
    "what others told is told again":
        (commit, "drop_overtaken", lambda *_: [], plain, "was told 2 times|which was c"),
    "a driver that was taken for dead writes on":
        (UnitOfWork, "_check_fence", lambda work: None, rivals,
         "changed trial|was changed after|backwards|after the trial's"),
    "a commit in doubt is made twice":
        (UnitOfWork, "settle", never_landed, rivals, "left its trials|recorded twice|never called"),
    "callbacks of dead drivers are not called":
        (DueCallbacks, "take_over", lambda *_: ([], []), heirs, "never called"),
    "callbacks that have returned stay due":
        (DueCallbacks, "remove", lambda *_: None, plain, "were called 2 times"),
    "a commit in doubt is forgotten":
        (UnitOfWork, "settle", always_landed, rivals, "were kept|KeyError|lost|left its trials|and the trial has"),
    "the database is asked in the middle of a step":
        (RecordStorage, "get_trial_number_from_id", lambda storage, trial: storage.database.run("SELECT 1") and
         storage._fresh_of(trial)[1].number, plain, "OperationalError|InterfaceError"),
    "trials that were taken over unnoticed are forgotten":
        (driver, "orphans", lambda storage, study, held: campaigns.orphans(storage, study), heirs, "left its trials"),
    "a trial that a worker has begun is taken for one that only waited":
        (campaigns, "_may_have_begun", lambda *_: False, heirs, "has begun before"),
    "nobody looks for outcomes on disk":
        (driver, "_outcome_on_disk", lambda *_: None, heirs,
         "ended complete|passed over|is lost|lay on disk"),
    "an attempt does not carry what earlier ones reported":
        (simulated_pool, "unheard", lambda *_: [], dying, "are lost, though|other values"),
    "reports are not written down":
        (ReportWriter, "append", lambda *_: None, dying, "are lost, though|other values"),
    "reports are written down after they were sent":
        (SimulatedPool, "_report", logged_after_sending, dying, "are lost, though|other values"),
    "an attempt carries only what the one before it reported itself":
        (simulated_pool, "carry", own_reports_only, dying, "are lost, though|other values|reported after"),
    "the number of an attempt is not kept":
        (driver.CheckedStudy, "fence", lambda *_: None, plain, "after the trial's end|begun twice"),
    "a lost trial is forgotten":
        (Campaign, "_try_again", lambda *_: None, plain, "left its trials|was lost"),
    "a trial that is paused is forgotten":
        (PromotionController, "park", lambda _, flight: flight.pause is not None, pausing, "left its trials|was lost"),
    "a trial that a dead driver left paused is run at once":
        (campaign, "paused_at", lambda trial: None, pausing, "never was among the best|is still paused"),
    "the best of a rung do not go on":
        (Promotions, "promotable", property(lambda promotions: 0), pausing, "among the best"),
    "a member goes on as a copy of any other":
        (Population, "origin_for", lambda members, number: next(iter(members._copies.values()), None), training,
         "by no better one|copy of itself|before it had reported"),
    "a copy starts from nothing":
        (driver.Driver, "_inherit", lambda *_: None, training, "KeyError"),
    "a trial that was put aside is forgotten":
        (Campaign, "_take_up", lambda *_: None, Case.with_blocks, "."),
    "late attributes replace newer ones":
        (Campaign, "_on_attributes", noted_whenever, noting, "an older attribute"),
    "attributes of an outcome are not kept":
        (TrialAttributes, "note", lambda *_: None, noting, "set {'noted'"),
    "a declined attempt is taken for a lost one":
        (OutcomeHandler, "_declined", lambda ends, flight, now: ends._lose(flight, "declined", now), Case.with_blocks,
         "have holes|begun twice|given up"),
    "a suspended trial is taken for a lost one":
        (SimulatedBlocks, "_suspend", lost_when_suspended, Case.with_blocks, "while it is only suspended"),
    "more workers are wanted than there are trials":
        (Campaign, "_demanded", too_much, Case.with_blocks, "more workers wanted"),
    "a generation that has ended is waited for":
        (Campaign, "_waits", lambda campaign: campaign.study.at_once is not None and campaign.study.asked > 0, breeding,
         "it never ends"),
    "values that a dead driver has kept are kept again":
        (Flight, "counted", property(lambda flight: False), repeating, "ended with the attempts|was repetition"),
    "the values of a repetition are not kept":
        (Repeater, "keep", lambda *_: None, repeating, "has 0 repetitions"),
    "a trial is told before it has all its repetitions":
        (Repeater, "again", lambda *_: False, repeating, "has 1 repetitions"),
    "a repetition begins where the trial began":
        (Flight, "since", property(lambda flight: 1), repeating, "was repetition"),
    "all repetitions have the seed of the first":
        (driver, "seed_of", lambda seed, study, number, repeat: seed_of(seed, study, number), repeating,
         "had the seed"),
    "an attempt that is overtaken waits on":
        (Packer, "_reserve", lambda *_: None, packing, "it is starved"),
    "a node has more room than it has":
        (PackedNode, "give_back", given_back_twice, packing, "attempts have one core|is taken of each|cores are taken"),
    "a node that accepts nothing gets attempts":
        (Packer, "hold", lambda *_: None, packing_blocks, "which accepts nothing"),
    "a trial that fits nowhere is submitted":
        (driver.Driver, "why_unfit", lambda *_: "", plain, "fits on no node"),
    "a trial runs in a pool that may not run it":
        (PlacedPool, "_may_run", lambda *_: None, on_pools, "runs in p1, not in"),
    "artifacts are moved before the commit":
        (driver.CheckedCampaign, "step", kept_early, keeping, "before its end was committed"),
    "nobody moves the artifacts that a dead driver has left":
        (ArtifactKeeper, "reconcile", ArtifactKeeper._learn, keeping_all, "are kept, not of"),
    "surplus artifacts are not deleted":
        (driver.SimulatedKeeper, "_forget", lambda *_: None, keeping, "are kept, not of"),
    "the artifacts of an earlier attempt are kept":
        (keeper, "source_of", of_an_earlier_attempt, keeping, "has the artifacts of|are kept, not of"),
    "two drivers use the same node-hours":
        (hours, "ledgers", lambda *_: {}, sharing, "node-hours were charged|overdrawn"),
    "a dead driver gives back what its jobs may still use":
        (record_hours, "settled", given_back_early, sharing, "node-hours were charged|the ledgers tell|overdrawn"),
    "more blocks are submitted than the budget pays":
        (block_shape, "allowed_now", lambda want, submitted, allowed: want, sharing, "were charged|overdrawn"),
    "a trial leaves one block after the other":
        (LastTrials, "_look_at", always_movable, long_ends, "asked to leave its block twice"),
    "a block that was left gets attempts":
        (simulated_blocks, "accepts", lambda block: bool(block.managers), long_ends, "which others left"),
    "the steps after a checkpoint are computed twice":
        (Disk, "lose", lambda *_: None, Case.with_blocks, "is computed after"),
}  # fmt: skip


LATE = ("a driver that was taken for dead writes on", "trials that were taken over unnoticed are forgotten",
        "a trial that was put aside is forgotten", "callbacks of dead drivers are not called",
        "two drivers start more than the budget allows", "what others told is told again",
        "the artifacts of an earlier attempt are kept",
        "a trial that a worker has begun is taken for one that only waited")  # fmt: skip
"""What only one seed in many shows."""
SLOW = ("a generation that has ended is waited for", "nobody looks for outcomes on disk",
        "an attempt carries only what the one before it reported itself", "a suspended trial is taken for a lost one",
        "a declined attempt is taken for a lost one")  # fmt: skip
"""What shows by a study that goes on until a limit is met, which takes minutes."""


@pytest.mark.parametrize(
    "what", [pytest.param(w, marks=pytest.mark.exhaustive) if w in LATE + SLOW else w for w in BROKEN]
)
def test_what_is_broken_is_found(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement, of, words = BROKEN[what]
    monkeypatch.setattr(owner, name, replacement)
    found = complaints(map(of, range(400)), words, folder)
    assert found, "nothing is wrong"
    assert re.search(words, found[-1]), Counter(found)
