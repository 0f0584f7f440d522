"""One seed's world: time, clocks, drivers and machines, and which of them runs next."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from optuna.distributions import distribution_to_json
from optuna.trial import TrialState

from pilotune.errors import CampaignRunning, RecordAway
from pilotune.pipeline.attributes import OWNER
from pilotune.pipeline.campaign.events import Finish
from pilotune.pipeline.record import LeaseLost
from pilotune.pipeline.record import leases as campaigns
from pilotune.pipeline.trial.protocol import AttemptSpec
from pilotune.providers.simulated.clock import VirtualTime
from pilotune.providers.simulated.faults import Disk
from pilotune.providers.simulated.pool import Note, Question, Step, Wish

from .cases import POPULATIONS, WISHES, Case
from .database import audience
from .driver import Driver, DriverKilled
from .truth import Truth

NOTED, CONSTRAINT = "noted", "constraints:steps"
"""Attributes that objectives set: attempt and number of reports before; the latter."""

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("study_attrs", {}),
    ("trials", {"after": -1, "states": None}),
    ("best_trials", {"after": -1}),
    ("set_study_attr", {"kind": "user", "key": "seen", "value": 1}),
]

LIMIT = 1.3e6
"""Seconds after which an unfinished study counts as one that never ends."""

LOCKED_AWAY = 120.0
"""Seconds after which the simulated server ends an idle transaction."""


class Seat:
    """A user who runs one driver after another on the study."""

    def __init__(self, world: World, index: int, host: str):
        self.world, self.index, self.host = world, index, host
        self.random = random.Random(f"seat {index} {world.case.seed}")
        self.kills, self.naps = world.case.trouble.kills, world.case.trouble.naps
        self.driver: Driver | None = None
        self.not_before = world.time.now
        if index:
            self.not_before += self.random.choice([1.0, 30.0, 300.0]) * self.random.random()
        self.finish: Finish | None = None

    @property
    def ready(self) -> bool:
        if self.finish is not None:
            return False
        if self.driver is None:
            return self.world.time.now >= self.not_before
        return not self.driver.stopped

    def turn(self) -> None:
        """Run the driver's next turn, or start another driver."""
        before = self.world.current
        try:
            self._go_on()
        except DriverKilled:
            assert self.driver is not None
            self.driver.die()
            self.kills -= 1
            self._again()
        finally:
            self.world.current = before

    def _go_on(self) -> None:
        world = self.world
        try:
            if self.driver is None:
                self._sit_down()
            else:
                world.current, self.driver.turn_began = self.driver, world.time.now
                self.driver.turn()
        except LeaseLost:
            world.saw["lease lost"] += 1
            self._end_early()
        if self.driver and self.driver.loop and self.driver.loop.campaign.finished:
            self.finish = self.driver.loop.campaign.finished
            self._nothing_left_behind(self.finish)
            self.driver.end()

    def _sit_down(self) -> None:
        world = self.world
        self.driver = world.current = Driver(world, self, f"c{len(world.drivers)}")
        world.drivers.append(self.driver)
        try:
            self.driver.start()
        except (CampaignRunning, RecordAway) as error:
            world.saw[f"not started: {type(error).__name__}"] += 1
            self._end_early()

    def _nothing_left_behind(self, finish: Finish) -> None:
        """A campaign that ends with everything done owns no running trial."""
        assert self.driver is not None
        if finish.code in (0, 1) and "node-hours" not in finish.reason:
            running = self.driver.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            left = [trial.number for trial in running if trial.system_attrs[OWNER] == self.driver.name]
            assert not left, f"{self.driver.name} ended ({finish.reason}) and left its trials {left} behind"

    def _end_early(self) -> None:
        assert self.driver is not None
        with contextlib.suppress(LeaseLost):
            self.driver.end()
        self._again()
        self.not_before += 60.0

    def _again(self) -> None:
        self.driver, trouble = None, self.world.case.trouble
        self.not_before = self.world.time.now + self.random.uniform(0.0, trouble.restart)
        if trouble.moves:
            self.host = self.random.choice(["login1", "login2", "login3"])


class World:
    """Runs a case to its end.

    Attributes:
        time: Physical seconds; clocks of hosts may differ from it.
        current: The driver whose code runs.
        moment: Number of the last transaction.
        calm: From now on nothing goes wrong.
        saw: How often each thing happened.
    """

    def __init__(self, case: Case, database: Path, runs: Path):
        self.case, self.database, self.runs = case, database, runs
        self.random = random.Random(f"world {case.seed}")
        self.time = VirtualTime(1e6)
        self.moment = 0
        self._began: dict[int, float] = {}  # transaction -> when the turn that made it began
        self.saw: Counter[str] = Counter()
        self.calm = False
        self.current: Driver | None = None
        self.drivers: list[Driver] = []
        self.truth = Truth(self)
        self.disk = Disk(case.every) if case.plan else None
        self.skews: Counter[str] = Counter()  # seconds by which clocks are ahead: of hosts, of the server, of workers
        self.seats = [Seat(self, index, f"login{index + 1}") for index in range(case.seats)]
        self._outages = self._draw_outages()
        self._holder: Driver | None = None  # holds the database's lock while it is suspended
        self._locked_until = 0.0
        for _ in range(case.trouble.jumps):
            self.time.at(self.random.expovariate(1.0 / 60.0), self._jump)

    def go(self) -> Finish:
        """Run everything to its end, and then one more driver without faults."""
        audience(self)
        with self._identities():
            while any(seat.finish is None for seat in self.seats):
                self._go_on()
            self._calm_down()
            last = Seat(self, len(self.seats), "login9")
            self.seats, last.not_before = [last], 0.0
            while last.finish is None:
                self._go_on()
        self.saw[f"code {last.finish.code}"] += 1
        return last.finish

    def _go_on(self) -> None:
        ready = [seat for seat in self.seats if seat.ready]
        assert self.time.now < LIMIT, "it never ends"
        if ready:
            self.random.choice(ready).turn()
        else:
            self.time.step(self.time.now + 1.0)

    def _calm_down(self) -> None:
        self.calm = True
        self.skews.clear()
        self.time.advance(2000.0)

    def begun_at(self, moment: int) -> float:
        """When the turn that made the transaction ``moment`` began."""
        return self._began.get(moment, self.time.now)

    # -- drivers that are killed and stopped --------------------------------------------------------------------------

    def point(self, where: str, *, acting: bool = False) -> None:
        """The current driver is between two steps, or (``acting``) two actions: it may be killed or suspended here."""
        driver = self.current
        if driver is None or self.calm:
            return
        driver.points += 1
        driver.steps_to_death += acting or not driver.dies_acting
        if driver.steps_to_death == driver.dies_at and (acting or not driver.dies_acting):
            self.saw[f"killed {where}"] += 1
            raise DriverKilled(where)
        if driver.points in driver.naps:
            self._stop(driver, driver.naps.pop(driver.points))

    def _stop(self, driver: Driver, seconds: float) -> None:
        """Suspend the driver here, while all others go on."""
        self.saw["stopped"] += 1
        if driver.database.inside:
            self._stop_locking(driver, seconds)
            return
        until, driver.stopped = self.time.now + seconds, True
        turns = 3  # at least, even if no time passes
        while turns > 0 or self.time.now < until:
            turns -= 1
            others = [seat for seat in self.seats if seat.ready]
            if others:
                self.random.choice(others).turn()
            elif turns <= 0:
                self.time.step(until)
        driver.stopped, self.current = False, driver

    def _stop_locking(self, driver: Driver, seconds: float) -> None:
        """Suspend it inside a transaction: nobody else can write until a server ends the transaction."""
        if seconds < LOCKED_AWAY or not self.case.server:
            self.time.advance(seconds)
        elif self._holder is None:
            self._holder, self._locked_until = driver, self.time.now + LOCKED_AWAY
            driver.database.inside = False
            self._stop(driver, seconds)
            driver.database.sever()
            self._holder = None

    @contextlib.contextmanager
    def _identities(self) -> Iterator[None]:
        """Let leases see this world's processes and hosts."""
        with (
            mock.patch.object(campaigns, "place", self._place),
            mock.patch.object(campaigns, "process_start", self._process_start),
        ):
            yield

    def _place(self) -> str:
        assert self.current is not None
        return self.current.host

    def _process_start(self, pid: int) -> int | None:
        driver = self.drivers[pid]
        return pid if driver.lives and driver.host == self._place() else None

    # -- clocks -------------------------------------------------------------------------------------------------------

    def clock_of(self, driver: Driver) -> float:
        """The clock that leases use: the server's, or that of the driver's own host."""
        return self.time.now + self.skews["server" if self.case.server else driver.host]

    def _jump(self) -> None:
        if self.calm:
            return
        self.saw["clock set"] += 1
        by = self.random.choice([-86_400.0, -3600.0, -90.0, -1.0, 1.0, 90.0, 150.0, 3600.0, 86_400.0])
        self.skews[self.random.choice(["server", "login1", "login1", "login2", "workers"])] += by
        for driver in self.drivers:
            for machine in driver.machines.values():
                machine.skew = self.skews["workers"]

    # -- the database -------------------------------------------------------------------------------------------------

    def transact(self, driver: Driver) -> None:
        """A transaction that writes begins."""
        self.moment += 1
        self._began[self.moment] = driver.turn_began

    @property
    def writer(self) -> str:
        return self.current.name if self.current else ""

    def locked_against(self, driver: Driver) -> bool:
        if self._holder is None or self._holder is driver:
            return False
        if self.time.now >= self._locked_until:
            self._holder.database.sever()
        return self.time.now < self._locked_until

    def database_fails(self, statement: object) -> str:
        """How a statement fails now: ``severed`` or ``failed``; empty where it succeeds. Commits fail more often."""
        if self.calm:
            return ""
        if any(begin <= self.time.now < end for begin, end in self._outages):
            return "severed"
        if self.random.random() < self.case.trouble.away * (10 if statement == "COMMIT" else 1):
            return self.random.choice(["severed", "failed"])
        return ""

    def _draw_outages(self) -> list[tuple[float, float]]:
        drawn = []
        for _ in range(self.case.trouble.outages):
            begin = self.time.now + self.random.expovariate(1.0 / 30.0)
            drawn.append((begin, begin + self.random.choice([0.1, 1.0, 30.0, 120.0])))
        return drawn

    # -- trials -------------------------------------------------------------------------------------------------------

    def objective(self, spec: AttemptSpec) -> Iterator[Step]:
        """Steps of a trial, the same in all its attempts; the values show which attempt made them."""
        draw, case = random.Random(spec.seed), self.case
        longest = case.plan.shortest / 4 if case.plan else 1e9  # a step must fit into a block

        def seconds() -> float:
            return min(case.stretch * draw.expovariate(1.0), longest)

        def value(scale: float) -> float:
            return draw.random() / scale + 1e-6 * spec.attempt

        if case.wishes:
            for name, distribution in WISHES.items():
                yield seconds(), Wish(name, distribution_to_json(distribution))
        steps = draw.randint(0, 9 if case.plan else 5)
        if case.sampler in POPULATIONS:  # a copy goes on where its parent stood
            steps = 6
        asks = random.Random(f"asks {spec.seed}")
        for step in range(steps):
            if case.notes:
                yield 0.0, Note(NOTED, [spec.attempt, step])
                yield 0.0, Note(CONSTRAINT, float(step), system=True)
            yield seconds(), value(step + 1.0)
            if case.notes and asks.random() < 0.5:
                yield asks.expovariate(1.0), Question(*asks.choice(QUESTIONS))
        if case.notes:
            yield 0.0, Note(NOTED, [spec.attempt, steps])
        yield seconds(), None
