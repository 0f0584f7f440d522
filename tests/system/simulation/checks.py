"""Checks the invariants at the end of a seed: compares the database with what really happened."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise

from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.attributes import ATTEMPT, ENDED_PAUSED, OWNER
from pilotune.pipeline.campaign.events import Finish
from pilotune.pipeline.hours import Account
from pilotune.pipeline.noise import repetitions_of
from pilotune.pipeline.record.due_callbacks import MOST_TAKEOVERS
from pilotune.pipeline.record.hours import Ledger
from pilotune.pipeline.trial.protocol import Outcome

from .artifacts import check_artifacts
from .cases import GENERATIONS, POPULATIONS, Trouble
from .database import STUDY
from .populations import check_population
from .promotions import check_promotions
from .repetitions import check_repetitions
from .world import World

LOOK_AHEAD = 15.0
"""Most seconds from a driver's read of the disk to the fence of the next attempt, if the driver is not suspended."""

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass
class History:
    """What the audit table recorded of one trial. Moments are numbers of transactions, in the order of their commits.

    Attributes:
        fences: Moment and attempt.
        owners: Moment and campaign.
        states: Moment, campaign, old and new state.
        reports: Moment, campaign, step and value.
        notes: Moment, campaign, attempt, and the reports that it had made when it set the attribute.
    """

    number: int
    fences: list[tuple[int, int]] = field(default_factory=list)
    owners: list[tuple[int, str]] = field(default_factory=list)
    states: list[tuple[int, str, str, str]] = field(default_factory=list)
    reports: list[tuple[int, str, int, float]] = field(default_factory=list)
    values: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, str, int, int]] = field(default_factory=list)

    def fence_before(self, moment: int) -> int:
        return max((attempt for when, attempt in self.fences if when < moment), default=0)

    def owner_at(self, moment: int) -> str:
        return next((owner for when, owner in reversed(self.owners) if when <= moment), "")

    @property
    def last_fence(self) -> int:
        return self.fences[-1][1] if self.fences else 0


def check_end(world: World, finish: Finish) -> str:
    """Check every invariant; returns a digest of everything that happened. Raises AssertionError."""
    with closing(sqlite3.connect(world.database)) as connection:
        rows = connection.execute("SELECT moment, campaign, what, trial, key, value FROM audit ORDER BY seq").fetchall()
    with closing(world.drivers[-1].storage) as storage:  # reopened, so that it reads the database
        storage.unit_of_work.unload(1)
        trials = storage.get_all_trials(storage.get_study_id_from_name(STUDY), deepcopy=False)
    histories = read_histories(rows)
    _paid(world)
    _budget(world, trials, finish)
    for history in histories.values():
        _told_once(history)
        _written_by_owner(history)
        _fenced(world, history)
        _prefix(world, history)
        _noted(history)
    _recorded_once(world, trials)
    by_number = {history.number: history for history in histories.values()}
    assert len(by_number) == len(histories), "two trials have one number"
    for trial in trials:
        _real(world, trial, by_number[trial.number])
        _nothing_lost(world, trial, by_number[trial.number])
    check_repetitions(world, trials)
    check_population(world, trials, {number: history.reports for number, history in by_number.items()})
    check_promotions(world, trials, {number: history.reports for number, history in by_number.items()})
    _outcomes_kept(world, {trial.number: trial for trial in trials}, by_number)
    assert all(count == 1 for count in world.truth.starts.values()), "an attempt was begun twice"
    check_artifacts(world, trials)
    _called_back(world, [trial for trial in trials if trial.state.is_finished()])
    vanishes = world.case.pools is not None and world.case.pools.vanishes_after is not None
    ended_early = world.case.stop_at is not None or world.case.hours is not None or vanishes
    if replace(world.case.trouble, rubbish=0.0) == Trouble() and not ended_early:
        _attempts_are_counted(world, trials)
    return hashlib.sha256(repr((rows, [(t.number, t.state, t.values) for t in trials])).encode()).hexdigest()


def read_histories(rows: list[tuple]) -> dict[int, History]:
    """The audit table's rows by the trials' database ids."""
    found: dict[int, History] = {}
    for moment, campaign, what, trial, key, value in rows:
        assert what != "rewritten", f"{key} of a trial was changed after it was written"
        if what == "new":
            found[trial] = History(key)
            found[trial].states.append((moment, campaign, "", value))
        elif what == "state":
            found[trial].states.append((moment, campaign, key, value))
        elif what == "report":
            found[trial].reports.append((moment, campaign, key, value))
        elif what == "note":
            found[trial].notes.append((moment, campaign, *json.loads(value)))
        elif what == "value":
            found[trial].values.append((moment, campaign))
        elif what == ATTEMPT:
            found[trial].fences.append((moment, int(value)))
        elif what == OWNER:
            found[trial].owners.append((moment, value.strip('"')))
    return found


def _budget(world: World, trials: list[FrozenTrial], finish: Finish) -> None:
    """Exactly the budget was run, over all drivers, and every trial has ended."""
    assert [trial.number for trial in trials] == list(range(len(trials))), "numbers have holes"
    started = [trial for trial in trials if trial.state != TrialState.WAITING]
    assert len(started) <= world.case.trials, "over budget"
    whole = world.case.sampler in POPULATIONS and len(started) >= world.case.sampler.args["population"]
    assert whole or len(started) == world.case.trials, (
        f"{len(started)} of {world.case.trials} trials, at the end: {finish}"
    )
    assert all(trial.state.is_finished() for trial in started), "a trial was lost"


def _paid(world: World) -> None:
    """All drivers together were charged no more than the budget in node-hours, and their ledgers say how much."""
    limit = world.case.hours
    if limit is None:
        return
    paid = {driver.name for driver in world.drivers if driver.paid}
    charged = sum(driver.charged for driver in world.drivers if driver.paid) / 3600.0
    assert charged <= limit * (1 + 1e-6), f"{charged} of {limit} node-hours were charged"
    if charged > 0.5 * limit:
        world.saw["more than half of the node-hours were used"] += 1
    with closing(sqlite3.connect(world.database)) as connection:
        query = "SELECT key, value_json FROM study_system_attributes WHERE key LIKE 'pilotune:hours:%'"
        kept = {key.rpartition(":")[2]: Ledger.from_json(json.loads(text)) for key, text in connection.execute(query)}
    account = Account("node_hours", limit)
    told = sum(each.total(account) for name, each in kept.items() if name in paid)
    assert all(each.over for each in kept.values()), f"a ledger was left open: {kept}"
    assert abs(told - charged) <= 1e-5, f"the ledgers tell of {told} node-hours, and {charged} were charged"


def _recorded_once(world: World, trials: list[FrozenTrial]) -> None:
    """No two trials have the same drawn configuration: that would be a commit that was repeated."""
    if world.case.sampler in (*GENERATIONS, *POPULATIONS):  # children of one parent may be alike
        return
    own = [trial.params for trial in trials if "x" in trial.params and "fixed_params" not in trial.system_attrs]
    drawn = [tuple(sorted(params.items())) for params in own]  # a sampler may keep some parameters of the best trial
    assert len(set(drawn)) == len(drawn), "a trial was recorded twice"


def _told_once(history: History) -> None:
    ends = [new for _, _, _, new in history.states if new in ("COMPLETE", "PRUNED", "FAIL")]
    assert len(ends) <= 1, f"trial {history.number} was told {len(ends)} times"
    assert all(old != "RUNNING" or new != "WAITING" for _, _, old, new in history.states), "a trial waits again"


def _written_by_owner(history: History) -> None:
    """Only the driver that owns a trial changes it."""
    writes = [(moment, campaign) for moment, campaign, *_ in (*history.reports, *history.values, *history.notes)]
    writes += [(moment, campaign) for moment, campaign, _, new in history.states if new != "WAITING"]
    for moment, campaign in writes:
        owner = history.owner_at(moment)
        assert owner == campaign, f"{campaign} changed trial {history.number}, which was {owner}'s"


def _fenced(world: World, history: History) -> None:
    """No attempt changes anything after a later one was committed."""
    assert all(one <= other for (_, one), (_, other) in pairwise(history.fences)), "attempts are counted backwards"
    for moment, _, step, value in history.reports:
        spec = world.truth.spoken.get((history.number, step, value))
        assert spec, f"trial {history.number} has a report that nobody sent: {step}, {value}"
        fence, told_by = history.fence_before(moment), world.truth.told_by.get((history.number, step, value), 0)
        told = max(spec.attempt, told_by)
        assert told >= fence, f"attempt {spec.attempt} of trial {history.number} reported after {fence} began"


def _prefix(world: World, history: History) -> None:
    """The kept reports of each attempt are a prefix of those it made, without steps that another attempt reported."""
    kept: dict[str, list[int]] = defaultdict(list)
    for _, _, step, value in history.reports:
        kept[world.truth.spoken[history.number, step, value].token].append(step)
    for token, steps in kept.items():
        others = {step for other, theirs in kept.items() if other != token for step in theirs}
        said = [step for step, _ in world.truth.reports[token] if step not in others]
        assert sorted(said[: len(steps)]) == sorted(steps), f"of {token}'s reports {said} only {steps} were kept"


def _nothing_lost(world: World, trial: FrozenTrial, history: History) -> None:
    """Every report of the attempts that the trial went on from is in the database, in order, once, the first of a step.

    With an outcome of the last attempt also that attempt's own reports; see :func:`_same_end`.
    """
    required = world.truth.required.get(trial.number, {})
    kept = trial.intermediate_values
    lost = [step for step in required if step not in kept]
    assert not lost, f"reports of trial {trial.number} at {lost} are lost, though the trial went on from them"
    other = [step for step in required if kept[step] != required[step]]
    assert not other, f"trial {trial.number} has other values at {other} than those that were reported first"
    order = [step for _, _, step, _ in history.reports if step in required]
    assert order == list(required), f"the reports of trial {trial.number} came in the order {order}"


def _noted(history: History) -> None:
    """Attributes are those of the attempt that counts, and never go back within it."""
    for moment, _, attempt, _ in history.notes:
        fence = history.fence_before(moment)
        assert attempt >= fence, f"attempt {attempt} of trial {history.number} set an attribute after {fence} began"
    order = [(attempt, step) for _, _, attempt, step in history.notes]
    assert order == sorted(order), f"an older attribute of trial {history.number} replaced a newer one: {order}"


def _real(world: World, trial: FrozenTrial, history: History) -> None:
    """A trial's end and values are those of its last attempt."""
    if trial.state == TrialState.WAITING:
        return
    attempts = trial.user_attrs["pilotune:attempts"]
    begun = {spec.attempt for spec in world.truth.begun if spec.number == trial.number}
    assert begun <= set(range(1, attempts + 1)), "an attempt that is not counted"
    assert attempts == history.last_fence, "an attempt was begun after the trial's end"
    params = world.truth.params.get(trial.number, {})
    assert all(params.get(name, value) == value for name, value in trial.params.items()), "other parameters ran"
    if trial.state == TrialState.COMPLETE and not repetitions_of(trial):
        returned = [written.outcome for written in world.truth.written if written.outcome.number == trial.number]
        ends = [(outcome.kind, outcome.attempt, outcome.values) for outcome in returned]
        assert ("complete", attempts, trial.values) in ends, "a value that nobody returned"
    _last_attributes(world, trial, attempts)


def _last_attributes(world: World, trial: FrozenTrial, attempts: int) -> None:
    """A trial that has ended has the attributes that its last attempt set last."""
    if not world.case.notes or trial.state == TrialState.FAIL:
        return
    ends = [written.outcome for written in world.truth.written if written.outcome.number == trial.number]
    last = [outcome for outcome in ends if outcome.attempt == attempts and STATES.get(outcome.kind) == trial.state]
    for outcome in last:
        own = {} if repetitions_of(trial) else outcome.system_attrs  # else it has the means of its constraints
        for noted, kept in ((outcome.user_attrs, trial.user_attrs), (own, trial.system_attrs)):
            assert noted.items() <= kept.items(), f"{outcome.token} set {noted}, and the trial has {kept}"


def _outcomes_kept(world: World, trials: dict[int, FrozenTrial], histories: dict[int, History]) -> None:
    """Every outcome that a worker wrote is in the database, unless a later attempt had begun by then."""
    for written in world.truth.written:
        outcome = written.outcome
        if outcome.kind not in STATES:
            continue
        trial, history = trials[outcome.number], histories[outcome.number]
        last = trial.user_attrs["pilotune:attempts"] == outcome.attempt
        if outcome.token in {each.token for each in repetitions_of(trial)}:
            continue
        if last and trial.user_attrs["pilotune:exit"] not in ENDED_PAUSED:
            _same_end(trial, outcome, written.readable)
        elif last and outcome.kind != "failed" and written.readable:
            _retired(world, history, outcome, written.at)
        elif not last and outcome.kind != "failed" and written.readable:
            _overtaken(world, history, outcome, written.at)


def _same_end(trial: FrozenTrial, outcome: Outcome, readable: bool) -> None:
    if not readable and trial.user_attrs["pilotune:exit"] != outcome.kind:
        return  # corrupt on disk, and never delivered
    assert trial.state == STATES[outcome.kind], f"{outcome.token} ended {outcome.kind}, trial is {trial.state.name}"
    assert outcome.values is None or trial.values == outcome.values, f"{outcome.token} returned {outcome.values}"
    if repetitions_of(trial):  # its reports are those of the first repetition
        return
    missing = [step for step, _ in outcome.reports if int(step) not in trial.intermediate_values]
    assert not missing, f"{outcome.token} reported {missing}, which are lost"


def _retired(world: World, history: History, outcome: Outcome, at: float) -> None:
    """The outcome was written after a driver had looked for it and decided that the paused trial ends."""
    ended = next(when for when, _, _, new in history.states if new == "PRUNED")
    assert at >= world.begun_at(ended) - LOOK_AHEAD, f"the outcome of {outcome.token} lay on disk at the trial's end"


def _overtaken(world: World, history: History, outcome: Outcome, at: float) -> None:
    """The outcome was written after a driver had looked for it and was about to begin a later attempt."""
    moment = next((when for when, attempt in history.fences if attempt > outcome.attempt), None)
    assert moment is not None, f"the outcome of {outcome.token} is lost"
    looked = world.begun_at(moment) - LOOK_AHEAD
    assert at >= looked, f"the outcome of {outcome.token} lay on disk and was passed over"


def _called_back(world: World, ended: list[FrozenTrial]) -> None:
    """The callbacks of every trial were called; more than once only where a driver or the database failed."""
    called = world.truth.called
    most = 1 if replace(world.case.trouble, rubbish=0.0) == Trouble() else 1 + MOST_TAKEOVERS
    for trial in ended:
        assert called[trial.number] > 0, f"the callbacks of trial {trial.number} were never called"
        times = called[trial.number]
        assert times <= most, f"the callbacks of trial {trial.number} were called {times} times"
    assert called.keys() <= {trial.number for trial in ended}, "callbacks were called for trials that have not ended"
    assert all(called[number] > MOST_TAKEOVERS for number in world.truth.given_up), "callbacks were given up early"


def _attempts_are_counted(world: World, trials: list[FrozenTrial]) -> None:
    """Where no campaign was stopped and no pool given up, every counted attempt was given to a worker.

    Declined ones are not counted.
    """
    given = [*world.truth.begun, *world.truth.unbegun]
    for trial in trials:
        if trial.state.is_finished() and trial.user_attrs["pilotune:exit"] != "resources":  # such a one never begins
            numbers = sorted(spec.attempt for spec in given if spec.number == trial.number)
            assert numbers == list(range(1, trial.user_attrs["pilotune:attempts"] + 1)), "attempts have holes"
            assert trial.user_attrs["pilotune:exit"] != "yielded", "a trial that gets on was given up"
