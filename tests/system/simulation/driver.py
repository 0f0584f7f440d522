"""A simulated driver: the real campaign, loop and record; it can be killed or suspended between any two steps."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from pilotune.errors import RecordAway
from pilotune.pipeline.attributes import STEP
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.cost_learner import CostLearner
from pilotune.pipeline.campaign.events import Action, Event, PoolCharge, Scale, StopRequested, shape_key
from pilotune.pipeline.campaign.flight import Flight, seed_of
from pilotune.pipeline.campaign.limits import CampaignLimits, ahead
from pilotune.pipeline.campaign.node_hours import HoursPlan, PoolCost
from pilotune.pipeline.campaign.past_costs import PastCosts
from pilotune.pipeline.campaign.placed_pool import MOST_STRANDED, PlacedPool
from pilotune.pipeline.driver.driver import _outcome_of, _outcome_on_disk
from pilotune.pipeline.driver.loop import CampaignLoop
from pilotune.pipeline.driver.stall_report import waiting
from pilotune.pipeline.fidelity import Origin, make_pruner, population_plan, rung_schedule
from pilotune.pipeline.hours import Account
from pilotune.pipeline.placement import Costs, Placement
from pilotune.pipeline.placement.policy import AHEAD, AHEAD_A_POOL
from pilotune.pipeline.record import (
    DueCallbacks,
    Lease,
    LeaseLost,
    Orphan,
    RecordStorage,
    RunDirectory,
    claim,
    orphans,
    release,
    renew,
)
from pilotune.pipeline.record.hours import give_back, keep_hours
from pilotune.pipeline.suggest import make_sampler
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, Limits, Outcome, OutcomeKind
from pilotune.pipeline.trial.report_log import ReportLog, ReportWriter, as_ranges, newest_log
from pilotune.providers.blocks.block import Block
from pilotune.providers.blocks.charges import charge_of
from pilotune.providers.blocks.packed_node import Need
from pilotune.providers.blocks.packing import LEAST_AHEAD, MOST_HOMELESS, SHARE_AHEAD
from pilotune.providers.schedulers.jobs import End
from pilotune.providers.simulated.attempt import Attempt, Objective
from pilotune.providers.simulated.blocks import NAME
from pilotune.providers.simulated.faults import Faults
from pilotune.providers.simulated.pool import SimulatedPool
from pilotune.providers.simulated.several import SimulatedPools
from tests.support.campaign_bench import QuietServices

from .artifacts import SimulatedKeeper, begin_artifacts, end_artifacts
from .cases import NODES, POINTS
from .database import STUDY, FaultyLink
from .pools import Pools
from .surroundings import Seat, Surroundings


class DriverKilled(BaseException):
    """The simulated kill -9 of a driver; no code of the driver catches it."""


class Driver(QuietServices):
    """One driver's process, from its claim on the study to its end, which may come at any moment.

    Attributes:
        name: The campaign's name.
        points: Steps taken; between any two of them it may be stopped (at one of ``naps``, for so many seconds).
        dies_at: It is killed after so many steps, or after so many of its pool's actions if ``dies_acting``: there are
            few of them among the steps.
        steps_to_death: How many of these were taken.
        stopped: It is suspended.
        dead: It was killed; none of its code may run.
        paid: A budget in node-hours limits its blocks. The last driver, which has no faults, gets as many as it wants.
    """

    def __init__(self, world: Surroundings, seat: Seat, name: str):
        self.world, self.name, self.host = world, name, seat.host
        self.pid = len(world.drivers)
        self.points, self.dies_at, self.naps = 0, 0, dict[int, float]()
        self.stopped = self.dead = self.ended = False
        draw, trouble = random.Random(f"{world.case.seed} {name}"), world.case.trouble
        self.steps_to_death, self.dies_acting = 0, False
        if seat.kills > 0:
            self.dies_at = int(trouble.points ** draw.random())
            self.dies_acting = random.Random(f"acting {world.case.seed} {name}").random() < 0.2
        for _ in range(draw.randint(0, seat.naps)):
            seat.naps -= 1
            self.naps[int(1000 ** draw.random())] = draw.choice([0.0, 0.0, 1.0, 50.0, 200.0, 400.0])
        self.database = FaultyLink(f"sqlite:///{world.database}", world, self)
        self.storage = RecordStorage(self.database.url, autocommit=False, database=self.database)
        self.run = RunDirectory(world.runs / name)
        self.lease = Lease(name, self.host, self.host, self.pid, self.pid, str(self.run.path))
        self.pool: Machine | PlacedPool | None = None
        self.machines: dict[str, Machine] = {}  # by the pool's name
        self.site: SimulatedPools | None = None  # joins them, where there are several
        self.loop: SteppedLoop | None = None
        self.claimed = False
        self.keeper: SimulatedKeeper | None = None
        self.returned: list[int] = []
        self.turn_began = world.time.now
        self.paid = world.case.hours is not None and not world.calm

    @property
    def lives(self) -> bool:
        return not (self.dead or self.ended)

    def start(self) -> None:
        """Start as ``pipeline/driver`` does, the claim first. Raises CampaignRunning, RecordAway, LeaseLost."""
        case, world = self.world.case, self.world
        self.study = optuna.load_study(study_name=STUDY, storage=self.storage, pruner=make_pruner(case))
        claim(self.storage, self.study, self.lease)
        self.claimed = True
        self.run.trials.mkdir(parents=True, exist_ok=True)
        for point in POINTS[: case.enqueued]:
            self.study.enqueue_trial(point, skip_if_exists=True)
        self.storage.commit()
        self.study.sampler = make_sampler(case, seed=case.seed + self.pid)
        self.pool = self._placed(case.pools) if case.pools else self._machine(NAME, self.name, world.objective)
        self.campaign = CheckedCampaign(
            CheckedStudy(self.study, self.storage, case.space, self.name),
            CampaignLimits(
                trials=case.trials,
                failures=1_000,
                expected=case.expected,
                retries=case.retries,
                patience=10**6,
                repeats=case.repeats,
                seed=case.seed,
                hours=self._hours(),
                moves=True,
            ),
            self,
            self.name,
            world.time.now,
            rung_schedule(case.pruner) or population_plan(case.sampler),
        )
        self.campaign.world, self.campaign.taken_over = world, set()
        self.due = self.campaign.study.due = DueCallbacks(self.storage, self.study._study_id, self.name)
        self.loop = SteppedLoop(
            self.campaign,
            self.pool,
            self.storage,
            self,
            limit=case.trials,
            sync_period=case.still,
            still_period=case.still,
            longest_wait=case.quiet,
        )
        self.loop.driver = self
        if case.artifacts:
            self.keeper = SimulatedKeeper(self.storage, self.study, self.name, self.run.path.parent, case.keep)
            self.keeper.world = world
            self.keeper.start()

    def _machine(self, pool: str, name: str, objective: Objective) -> Machine:
        case, world = self.world.case, self.world
        plan = case.pools.plan(pool, case.plan) if case.plan and case.pools else case.plan
        machine = Machine(
            case.workers,
            objective,
            seed=case.seed + self.pid + 1000 * len(self.machines),
            faults=case.faults if not world.calm else Faults(),
            plan=replace(plan, metered=self.paid) if plan else None,
            disk=world.disk,
            time=world.time,
            rooms=[replace(room, name=f"{name}.{room.name}") for room in case.sizes.rooms] if case.sizes else (),
            witness=world.truth.of_pool(name),
            logs=True,
        )
        machine.driver, machine.skew = self, world.skews["workers"]
        self.machines[pool] = machine
        return machine

    def _placed(self, pools: Pools) -> PlacedPool:
        """Several pools, one of which may vanish, and what gives each attempt to one of them."""
        world = self.world
        self.site = site = SimulatedPools(
            {
                name: self._machine(name, f"{self.name}.{name}", pools.objective(name, world.objective, world.saw))
                for name in pools.names
            }
        )
        if pools.vanishes_after is not None and not world.calm:
            world.time.at(pools.vanishes_after, lambda: self._vanish(site, pools.names[-1]))
        costs = Costs(pools.names)
        PastCosts(costs, {}).tell(self.study.get_trials(deepcopy=False))
        return PlacedPool(site, Placement(pools.policy, costs), CostLearner(costs))

    def _vanish(self, site: SimulatedPools, name: str) -> None:
        if self.lives and name in site.pools:
            self.world.saw["pools vanished"] += 1
            site.vanish(name)

    def turn(self) -> None:
        assert self.loop is not None
        self.loop.turn()

    def die(self) -> None:
        """Kill the process; its workers do not know yet."""
        self.dead = True
        self.database.sever()
        for machine in self.machines.values():
            machine.abandon()

    def end(self) -> None:
        """Do what a driver does at its end, whatever the reason."""
        if self.claimed:
            if self.loop:
                self.world.saw["trials put aside"] += len(self.campaign.stopping.put_aside)
                self._settle()
                if self.pool and self.world.case.plan and self.world.case.hours is not None:
                    self.pool.close()
                    self.campaign.hours.take(self.charges)
                    self.campaign.hours.over = True
                    with contextlib.suppress(RecordAway):
                        self._keep_hours()
                with contextlib.suppress(RecordAway, LeaseLost):
                    self.storage.commit(limit=0)
                if self.keeper and self.campaign.finished:
                    self.keeper.finish(lambda: False, lambda sentence: None)
            release(self.storage, self.study, self.lease)
        if self.pool:
            self.pool.close()
        self.ended = True
        self.storage.close()
        self._look_back()

    def _look_back(self) -> None:
        for blocks in [machine.blocks for machine in self.machines.values() if machine.blocks]:
            plan = self.world.case.plan
            assert plan
            assert blocks.most <= plan.counts.max, "more blocks than the site allows"
            self.world.saw["blocks"] += len(blocks.blocks)
            self.world.saw["suspended"] += blocks.suspensions
            self.world.saw.update(str(block.end) for block in blocks.blocks)
            self.world.saw["withdrawn"] += blocks.withdrawn
            moved = [token for leave in blocks.leaving.leaves for token in leave.tokens]
            numbers = [token.partition(".")[0] for token in moved]
            assert len(set(numbers)) == len(numbers), f"a trial was asked to leave its block twice: {moved}"
            self.world.saw["trials asked to leave their block"] += len(moved)
            left = [block for block in blocks.blocks if block.left_for]
            self.world.saw["blocks left by the last trials"] += sum(block.end == End.CANCELLED for block in left)
            targets = {block.number: block for block in blocks.blocks}
            for block in left:
                nodes = sum(blocks.nodes_of(targets[number]) for number in block.left_for)
                smaller = nodes < blocks.nodes_of(block)
                assert smaller or not plan.shapes, f"block {block.number} was left for what is not smaller"
            if plan.shapes:
                self.world.saw.update(f"blocks of shape {block.shape}" for block in blocks.blocks)

    # -- DriverServices -----------------------------------------------------------------------------------------------

    def renew_lease(self) -> None:
        renew(self.storage, self.study, self.lease)
        if self.world.case.hours is not None:
            self._keep_hours()

    def _hours(self) -> HoursPlan | None:
        """The pools of simulated nodes, and the budget; None where hours are not counted."""
        case = self.world.case
        if case.hours is None or case.plan is None:
            return None
        accounts = (Account("node_hours", case.hours),) if self.paid else ()
        names, shapes = case.pools.names if case.pools else [NAME], case.plan.shapes
        costs = {name: PoolCost(NODES, 2, case.plan.walltime) for name in names}
        if shapes:
            costs = {
                shape_key(name, number): PoolCost(shape.nodes, 2, shape.walltime)
                for name in names
                for number, shape in enumerate(shapes)
            }
        return HoursPlan(costs, accounts)

    def _keep_hours(self) -> None:
        """Keep what the blocks have cost; what dead drivers had reserved is given back once their blocks are gone."""
        keep_hours(self.storage, self.study, self.name, self.campaign.hours.ledger(self.world.time.now))
        give_back(self.storage, self.study, self._gone, self.world.case.trials)

    def _gone(self, campaigns: Collection[str]) -> dict[str, dict[str, float]]:
        """Of those campaigns whose drivers do not live and whose blocks are gone, what these were charged."""
        return {
            each.name: each.charged_by_pool
            for each in self.world.drivers
            if each.name in campaigns and not each.lives
            if each.machines and all(machine.over for machine in each.machines.values())
        }

    @property
    def charged(self) -> float:
        """Node-seconds that the scheduler has charged for this driver's blocks, as the machines know."""
        return sum(self.charged_by_pool.values())

    @property
    def charged_by_pool(self) -> dict[str, float]:
        """The same by pool."""
        found: dict[str, float] = {}
        for name, machine in self.machines.items():
            for block in machine.blocks.blocks if machine.blocks else ():
                nodes = block.node_count or NODES
                seconds = charge_of([block]).seconds(self.world.time.now)
                found[name] = found.get(name, 0.0) + nodes * seconds
        return found

    @property
    def charges(self) -> dict[str, PoolCharge]:
        """For how long the blocks of each pool have held their nodes."""
        return {
            key.replace(NAME, name, 1): charge
            for name, machine in self.machines.items()
            if machine.blocks
            for key, charge in machine.blocks.charges().items()
        }

    def make_spec(self, flight: Flight) -> AttemptSpec:
        world = self.world
        if not flight.directory:
            flight.directory = str(self.run.trial(flight.number).directory)
        if flight.origin is not None:
            self._inherit(flight, flight.origin)
        need = world.case.sizes.need(flight.params) if world.case.sizes else Need()
        kept = world.disk is not None and world.disk.saved.get(flight.number, 0)
        return AttemptSpec(
            token=flight.token,
            study=STUDY,
            number=flight.number,
            attempt=flight.attempt,
            params=dict(flight.params),
            defines_space=world.case.wishes,
            directory=flight.directory,
            seed=seed_of(world.case.seed, STUDY, flight.number, flight.repeat),
            repeat=flight.repeat,
            since=flight.since,
            n_values=1,
            expected=self.campaign.outcomes.durations.left(flight.stage_seconds if kept else 0.0),
            reported=as_ranges(self.campaign.study.reported(flight.trial)),
            pools=list(world.case.pools.of(flight.params)) if world.case.pools else [],
            cores=int(need.cores),
            gpus=need.gpus,
            limits=Limits(memory=int(need.memory) or None),
        )

    def why_unfit(self, flight: Flight) -> str:
        sizes = self.world.case.sizes
        if sizes is None or sizes.fits(sizes.need(flight.params)):
            return ""
        self.world.saw["trials that fit nowhere"] += 1
        return "trial.gpus: this trial needs more"

    def snapshot(self, flight: Flight, step: int) -> str:
        self.world.point("before a copy")
        folder = self.world.truth.snapshot(flight.number, step)
        self.world.point("after a copy")
        return folder

    def forget_snapshot(self, folder: str) -> None:
        self.world.truth.snapshots.pop(folder, None)

    def _inherit(self, flight: Flight, origin: Origin) -> None:
        step = self.world.truth.inherit(flight.number, origin)
        if step is not None and step != origin.step:
            self.campaign.study.attributes.annotate(flight.trial, {}, {STEP: step})
        self.world.point("after an inheritance")

    def take_over_orphans(self) -> tuple[list[Orphan], list[Outcome]]:
        taken = orphans(self.storage, self.study, self.campaign.held)
        due, given_up = self.due.take_over(self.study)
        self.world.saw["callbacks taken over"] += len(due)
        self.world.truth.given_up.update(given_up)
        self._call_back(due)
        self.world.saw["trials taken over"] += len(taken)
        for orphan in taken:
            if not orphan.begun:
                self.world.saw["trials taken over that only waited"] += 1
                assert orphan.number not in self.world.truth.newest, f"trial {orphan.number} has begun before"
        self.world.point("before the outcomes are read")
        found = [outcome for orphan in taken if (outcome := _outcome_of(orphan))]
        self.world.saw["outcomes found on disk"] += len(found)
        return taken, found

    def on_ended(self, numbers: Sequence[int]) -> None:
        """Keep the trials' artifacts, and call their callbacks."""
        if self.keeper:
            self.keeper.on_ended(numbers)
        self._call_back(numbers)

    def _call_back(self, numbers: Sequence[int]) -> None:
        """Call the callbacks, one trial after the other; the driver may die before and after each."""
        for number in numbers:
            self.world.point("before a callback")
            self.world.truth.called[number] += 1
            self.world.point("after a callback")
            self.returned.append(number)

    def _settle(self) -> None:
        returned, self.returned = self.returned, []
        for number in returned:
            self.due.remove(number)

    def stop_requests(self) -> Sequence[StopRequested]:
        self._settle()
        return []

    def last_saved(self, flight: Flight) -> float | None:
        """The simulated disk knows what was saved, and not when."""
        disk = self.world.disk
        return self.world.time.now if disk is not None and disk.saved.get(flight.number) else None

    def written_outcome(self, flight: Flight) -> Outcome | None:
        return _outcome_on_disk(flight.directory, flight.attempt, flight.token)

    def report_log(self, flight: Flight) -> ReportLog | None:
        log = newest_log(TrialFiles(Path(flight.directory)), flight.attempt)
        self.world.saw["report logs read by drivers"] += log is not None
        self.world.truth.heard(flight.number, flight.attempt, log.pairs if log else [])
        return log


class CheckedStudy(CampaignStudy):
    """Checks that each trial is told once."""

    def tell(self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None = None) -> None:
        assert self.storage.get_trial(trial._trial_id).state == TrialState.RUNNING, "told twice"
        super().tell(trial, state, values)


class CheckedCampaign(Campaign):
    """A campaign that can be killed before and after its step.

    Attributes:
        taken_over: Numbers of the trials that it took over.
    """

    world: Surroundings
    taken_over: set[int]

    def adopt(self, orphan: Orphan) -> str:
        self.taken_over.add(orphan.number)
        return super().adopt(orphan)

    def _launch(self, flight: Flight) -> None:
        if flight.pause is not None:
            self.world.saw["trials promoted"] += 1
        if flight.repeat:
            self.world.saw["repetitions"] += flight.attempt + 1 == flight.since
            self.world.saw["repetitions tried again"] += flight.attempt + 1 > flight.since
        if flight.origin is not None and flight.attempt == 0:
            self.world.saw["members copied"] += 1
        super()._launch(flight)

    def step(self, now: float, events: Sequence[Event]) -> None:
        self.world.point("before the step")
        super().step(now, events)
        self.world.point("after the step")

    def release(self, refused: Sequence[int] = (), overtaken: Sequence[int] = ()) -> list[Action]:
        self.world.saw["trials refused beyond the budget"] += len(refused)
        self.world.saw["trials overtaken"] += len(overtaken)
        actions = super().release(refused, overtaken)
        self.world.point("after the commit")
        return actions


class Machine(SimulatedPool):
    """A pool whose driver can be killed between any two actions."""

    driver: Driver

    def _start(self, spec: AttemptSpec, block: Block | None, host: str) -> None:
        assert block is None or not block.left_for, f"{spec.token} begins in block {block.number}, which others left"
        super()._start(spec, block, host)

    def _take_up_log(self, spec: AttemptSpec) -> tuple[list[list[float]], ReportWriter | None]:
        carried, writer = super()._take_up_log(spec)
        if self.driver.world.case.artifacts:
            begin_artifacts(spec)
        self.driver.world.saw["reports carried"] += len(carried)
        return carried, writer

    def _write(self, attempt: Attempt, kind: OutcomeKind) -> Outcome:
        if self.driver.world.case.artifacts:
            attempt.artifacts = end_artifacts(attempt.spec, complete=kind == "complete")
        return super()._write(attempt, kind)

    def perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            super().perform([action])
            self.driver.world.point(f"after {type(action).__name__}", acting=True)


class SteppedLoop(CampaignLoop):
    """A loop whose driver can be killed or suspended between its steps; its bounds are checked after each tick."""

    driver: Driver
    campaign: CheckedCampaign
    ticks = 0
    checked: Scale | None = None

    def tick(self, events: Sequence[Event]) -> None:
        world, self.ticks = self.driver.world, self.ticks + 1
        if self.ticks == world.case.stop_at and not world.calm:
            world.saw[f"told to end: {world.case.stop_how}"] += 1
            asked: Any = world.case.stop_how
            events = [*events, StopRequested(asked)]
        world.point("before the tick")
        super().tick(events)
        self._check()

    def _sync(self, now: float, period: float) -> None:
        super()._sync(now, period)
        self.driver.world.point("after the sync")

    def _renew(self, now: float) -> None:
        super()._renew(now)
        self.driver.world.point("after the lease")

    def _check(self) -> None:
        case, campaign = self.driver.world.case, self.campaign
        workers, pools = case.all_workers, len(self.driver.machines)
        most = workers + ahead(workers, campaign.latency, 1e-3)
        if case.sizes is not None:
            most = workers + pools * (round(SHARE_AHEAD * case.workers) + LEAST_AHEAD + MOST_HOMELESS)
            most += ahead(most, campaign.latency, 1e-3)
        if pools > 1:
            most += AHEAD_A_POOL * pools + AHEAD + MOST_STRANDED
        flights = (*campaign.flights.values(), *campaign.trials.to_submit)
        # A repetition of a trial that was taken over is timed in full, and runs where the trial ran.
        taken = campaign.taken_over
        adopted = sum(not flight.fully_timed or (flight.repeat > 0 and flight.number in taken) for flight in flights)
        assert campaign.in_flight <= most + adopted, "too much in flight"
        for machine in self.driver.machines.values():
            assert machine.most_running <= case.workers, "more runs than there are workers"
        assert campaign.busy_seconds <= campaign.worker_seconds + 1e-6, "busier than there are workers"
        assert self.ticks < 50_000, "it never ends"
        if self.driver.site:
            order = self.driver.site.demand.order
            self.driver.world.saw["ticks with work for a later pool first"] += order != tuple(sorted(order))
        self._check_demand()
        waiting(campaign)

    def _check_demand(self) -> None:
        campaign, demand = self.campaign, self.campaign.demand
        if demand is None or demand is self.checked or self.driver.world.case.seats > 1:
            return
        self.checked = demand
        ended = sum(count for state, count in campaign.study.counts.items() if state.is_finished())
        assert demand.workers <= self.driver.world.case.trials - ended, "more workers wanted than trials are left"
        assert demand.workers >= campaign.in_flight, "what is in flight is in demand"
        assert not campaign.ending or demand.workers == campaign.in_flight, "an end needs no more workers"
