"""The states of a flight: legal and illegal moves, and broken campaigns that ``validate`` finds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import pytest

from pilotune.pipeline.campaign import campaign as module
from pilotune.pipeline.campaign import flight_states
from pilotune.pipeline.campaign.campaign import Campaign
from pilotune.pipeline.campaign.events import Capacity, Lost, StopRequested
from pilotune.pipeline.campaign.flight import Flight
from pilotune.pipeline.campaign.flight_states import (
    IN_FLIGHT,
    TRANSITIONS,
    BrokenInvariant,
    IllegalMove,
    Move,
    State,
    next_state,
)
from pilotune.pipeline.campaign.flight_table import BackoffQueue, FlightTable
from pilotune.pipeline.campaign.promotion import PromotionController
from pilotune.pipeline.fidelity import Origin, rung_schedule
from pilotune.pipeline.noise import Repetition
from pilotune.pipeline.registry_args import Named
from pilotune.pipeline.trial.protocol import Report, Verdict
from tests.support.campaign_bench import Bench, benches, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


# -- the table --------------------------------------------------------------------------------------------------------


def test_each_state_but_the_final_ones_can_be_left_and_each_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    final = {state for state, moves in TRANSITIONS.items() if not moves}
    assert final == {State.FINISHED, State.LEFT}
    reached, frontier = {State.NEW}, [State.NEW]
    while frontier:
        new = set(TRANSITIONS[frontier.pop()].values()) - reached
        reached |= new
        frontier += new
    assert reached == set(State)


def test_a_move_leads_to_the_same_state_from_wherever_it_is_made() -> None:
    """So a move is what happened, and a state is where the flight is kept because of it."""
    for move in Move:
        assert len({moves[move] for moves in TRANSITIONS.values() if move in moves}) == 1


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)))
def test_every_move_that_is_not_in_the_table_raises(state: State, move: Move) -> None:
    flight = Flight(trial=None, params={}, state=state)  # type: ignore[arg-type]
    if move in TRANSITIONS[state]:
        flight.move(move)
        assert flight.state is next_state(state, move)
        return
    with pytest.raises(IllegalMove, match=f"a flight that is {state.name} cannot {move.name}"):
        flight.move(move)
    assert flight.state is state


def test_only_what_was_prepared_in_this_tick_or_taken_over_is_submitted() -> None:
    assert {state for state, moves in TRANSITIONS.items() if Move.SUBMIT in moves} == {State.PREPARED, State.NEW}


def test_an_attempt_is_judged_once() -> None:
    assert {state for state, moves in TRANSITIONS.items() if Move.RETURN in moves} == {*IN_FLIGHT, State.PAUSED}
    assert Move.RETURN not in TRANSITIONS[State.RETURNED]


# -- the way of a trial -----------------------------------------------------------------------------------------------


def test_a_trial_goes_from_one_state_to_the_next(bench) -> None:
    campaign = bench(trials=1, retries=1)
    (spec,) = campaign.specs(Capacity(1))
    flight = campaign.campaign.flights[spec.token]
    assert flight.state is State.SUBMITTED
    campaign.turn(started(spec))
    assert flight.state is State.RUNNING
    (again,) = campaign.specs(Lost(spec.token, "its node died"))
    assert (flight.state, flight.attempt) == (State.SUBMITTED, 2)
    campaign.turn(started(again), over(again))
    assert flight.state is State.FINISHED


def test_a_trial_that_does_nothing_backs_off_and_a_campaign_that_ends_leaves_it(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    flight = campaign.campaign.flights[spec.token]
    for _ in range(2):
        (spec,) = campaign.specs(over(spec, "declined"))
    assert campaign.specs(over(spec, "declined")) == []
    assert flight.state is State.BACKED_OFF
    campaign.turn(StopRequested("finish"))
    assert flight.state is State.LEFT


def test_a_refused_trial_is_left(bench) -> None:
    campaign = bench(trials=2).campaign
    campaign.step(1001.0, [Capacity(1)])
    (flight,) = campaign.trials.prepared
    campaign.study.storage.commit(2)
    campaign.release(refused=[flight.trial_id])
    assert flight.state is State.LEFT
    assert not campaign.flights


def promoting(make: Callable[..., Bench]) -> tuple[Bench, Flight]:
    """A campaign with one trial that is paused at a rung, and one that runs."""
    schedule = rung_schedule(Named("successive_halving", {"mode": "promote", "max_resource": 9}))
    bench = make(trials=2, options={"pausing": schedule})
    one, two = bench.specs(Capacity(2))
    flight = bench.campaign.flights[one.token]
    bench.turn(started(one), started(two), Report(one.token, 1, 1, 5.0))
    bench.turn(over(one, "yielded", started=0.0, finished=60.0, reports=[[1, 5.0]]))
    return bench, flight


def test_a_trial_pauses_at_a_rung(bench) -> None:
    campaign, flight = promoting(bench)
    assert flight.state is State.PAUSED
    assert campaign.campaign.promotion.paused == {flight.number: flight}


# -- what validate finds ----------------------------------------------------------------------------------------------

ONCE = Repetition("7.1.c", 0, (1.0,))
BROKEN_FLIGHTS: dict[str, tuple[Iterable[State], dict[str, object]]] = {
    "has a negative counter": (State, {"losses": -1}),
    "waited -1.0 s": (State, {"waited": -1.0}),
    "ran 5.0 s, 6.0 s of them before its stage": (State, {"ran": 5.0, "ran_before_stage": 6.0}),
    "has repetitions that ended with the attempts [1, 1]": (
        State,
        {"repetitions": 2 * (Repetition("7.1.c", 0, (1.0,)),)},
    ),
    "has a repetition of a later attempt: [2]": (State, {"repetitions": (Repetition("7.2.c", 0, (1.0,)),)}),
    "its attempt has returned values already": ([State.PREPARED], {"repetitions": (ONCE,)}),
    "was submitted without a number": (IN_FLIGHT, {"number": -1}),
    "is in attempt 2, but its token is '7.1.c'": (IN_FLIGHT, {"attempt": 2}),
    "keeps a reply to another attempt": (IN_FLIGHT, {"last_reply": Verdict("7.0.c", 1)}),
    "has no start time": ([State.RUNNING], {"started": None}),
    "has a start time, but no worker has begun it": ([State.SUBMITTED], {"started": 1.0}),
    "has no attempt": ([State.PREPARED], {"attempt": 0}),
    "of its last attempt": ([State.PREPARED], {"pause": 3}),
    "was not reset after its last attempt": ([State.PREPARED], {"yield_asked": True}),
    "is paused at no rung": ([State.PAUSED], {"pause": None}),
    "keeps a reply, and no attempt of it runs": ([State.PAUSED], {"last_reply": Verdict("7.1.c", 1)}),
}


def sound(state: State) -> Flight:
    running = {"started": 1.0} if state is State.RUNNING else {"pause": 9} if state is State.PAUSED else {}
    return Flight(trial=None, params={}, state=state, number=7, attempt=1, token="7.1.c", **running)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", State)
def test_a_sound_flight_is_valid_in_every_state(state: State) -> None:
    sound(state).validate()


@pytest.mark.parametrize("sentence", BROKEN_FLIGHTS)
def test_a_broken_flight_is_found(sentence: str) -> None:
    states, changes = BROKEN_FLIGHTS[sentence]
    for state in states:
        with pytest.raises(BrokenInvariant) as caught:
            dataclasses.replace(sound(state), **changes).validate()
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("known", "earlier"),
    [
        ({}, None),
        ({"last_step": 0, "last_value": 0.5}, 0),
        ({"last_step": 4, "last_value": 0.5, "earlier_step": 2}, 4),
        ({"earlier_step": 2}, 2),
        ({"origin": Origin(parent=3, step=5, folder="")}, 5),
    ],
)
def test_an_attempt_goes_on_from_the_last_step_of_those_before_it(known: dict, earlier: int | None) -> None:
    flight = dataclasses.replace(sound(State.NEW), **known)
    flight.prepare()
    assert flight.earlier_step == earlier


def busy(make: Callable[..., Bench]) -> Bench:
    """A campaign with two running attempts, one that waits, and one that is backed off."""
    bench = make(trials=9)
    specs = bench.specs(Capacity(4))
    for _ in range(2):
        (specs[3],) = bench.specs(over(specs[3], "declined"))
    bench.turn(over(specs[3], "declined"), started(specs[0]))
    bench.turn(started(specs[1]), after=0.1)
    return bench


def flights_of(campaign: Campaign) -> list[Flight]:
    return list(campaign.flights.values())


def forget_running(campaign: Campaign) -> None:
    campaign.flights.running.popitem()


def swap(campaign: Campaign) -> None:
    first, second = campaign.flights.running.values()
    first.started, second.started = second.started, first.started


def under_another_token(campaign: Campaign) -> None:
    flights_of(campaign)[0].token = "0.1.c2"


def among_the_others(campaign: Campaign) -> None:
    token, flight = campaign.flights.running.popitem()
    campaign.flights.waiting[token] = flight


def finished_in_flight(campaign: Campaign) -> None:
    flights_of(campaign)[0].state = State.FINISHED


def unknown_trial(campaign: Campaign) -> None:
    trial_id, token = campaign.flights._tokens.popitem()
    campaign.flights._tokens[trial_id + 100] = token


def earlier_than_it_says(campaign: Campaign) -> None:
    next(iter(campaign.backoff)).not_before += 1.0


def launched_from_the_queue(campaign: Campaign) -> None:
    next(iter(campaign.backoff)).state = State.PREPARED


def in_two_places(campaign: Campaign) -> None:
    twin = dataclasses.replace(flights_of(campaign)[0], state=State.NEW)
    twin.prepare()
    campaign.trials.prepared.append(twin)


def submitted_is_prepared(campaign: Campaign) -> None:
    campaign.trials.prepared.append(flights_of(campaign)[0])


def ending_with_a_queue(campaign: Campaign) -> None:
    campaign.ending = module.Finish(0, "over")


def finished_too_early(campaign: Campaign) -> None:
    campaign.backoff.clear()
    campaign.ending = campaign.finished = module.Finish(0, "over")


def progress_to_come(campaign: Campaign) -> None:
    campaign.last_progress = campaign.now + 1.0


def busier_than_possible(campaign: Campaign) -> None:
    campaign.busy_seconds = campaign.worker_seconds + 1.0


BROKEN_CAMPAIGNS: dict[Callable[[Campaign], None], str] = {
    forget_running: "3 attempts, but 2 that wait or run",
    swap: "is not in the order of starts",
    under_another_token: "is kept under the token",
    among_the_others: "is not kept where the attempts of its state are",
    finished_in_flight: "(FINISHED) is among the attempts in flight",
    unknown_trial: "is not found by its trial id",
    earlier_than_it_says: "but says",
    launched_from_the_queue: "(PREPARED) is in the backoff queue",
    in_two_places: "in two places",
    submitted_is_prepared: "is to be submitted",
    ending_with_a_queue: "the campaign is ending, and 1 trials are still to submit",
    finished_too_early: "the campaign has finished with 3 attempts in flight",
    progress_to_come: "the last progress was at",
    busier_than_possible: "workers were busy for",
}


@pytest.mark.parametrize("damage", BROKEN_CAMPAIGNS, ids=lambda damage: damage.__name__)
def test_a_broken_campaign_is_found(damage: Callable[[Campaign], None], bench) -> None:
    campaign = busy(bench).campaign
    campaign.validate()
    damage(campaign)
    with pytest.raises(BrokenInvariant) as caught:
        campaign.validate()
    assert BROKEN_CAMPAIGNS[damage] in str(caught.value)


def test_broken_paused_trials_are_found(bench) -> None:
    campaign, flight = promoting(bench)
    campaign.campaign.validate()
    flight.state = State.RETURNED
    with pytest.raises(BrokenInvariant, match=r"\(RETURNED\) is among the paused trials"):
        campaign.campaign.validate()
    flight.state = State.PAUSED
    campaign.campaign.promotion._numbers.clear()
    with pytest.raises(BrokenInvariant, match="are indexed as"):
        campaign.campaign.validate()


# -- mistakes in the code ---------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[type, str, Callable[..., object], str]] = {
    "an attempt that ended stays in the table": (
        FlightTable, "pop", lambda table, token, move: table._all.get(token), "cannot|is among the attempts",
    ),
    "a worker's start is not noted": (
        FlightTable, "begin", lambda table, flight, now: flight.move(Move.START), "has no start time|is not kept where",
    ),
    "a flight is not reset for its next attempt": (
        Flight, "prepare", lambda flight: flight.move(Move.PREPARE), "has no attempt|start time|of its last attempt",
    ),
    "a campaign that ends keeps what it had backed off": (
        BackoffQueue, "clear", lambda queue: None, "the campaign is ending, and 1 trials",
    ),
    "a promoted trial stays among the paused ones": (
        PromotionController, "_pop", lambda promotion, number: promotion.paused[number], "cannot PREPARE",
    ),
}  # fmt: skip


def run_through(make: Callable[..., Bench], paused: bool) -> None:
    """A campaign in which trials start, end, are lost, back off or pause, and which is stopped or finishes."""
    if paused:
        campaign, _ = promoting(make)
        (running,) = campaign.campaign.flights.running.values()
        campaign.turn(over(campaign.make_spec(running)))
        for _ in range(3):
            campaign.turn()
        return
    campaign = busy(make)
    first, second, *_ = map(campaign.make_spec, flights_of(campaign.campaign))
    (again, *_) = campaign.specs(over(first), after=0.1)
    campaign.turn(started(again), Lost(second.token, "its node died"), after=0.1)
    campaign.turn(StopRequested("finish"), after=0.1)


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_in_the_code_is_found(what: str, bench, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, replacement, sentence = MISTAKES[what]
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises((BrokenInvariant, IllegalMove), match=sentence):
        run_through(bench, paused=owner is PromotionController)


@pytest.mark.parametrize("paused", [False, True])
def test_without_a_mistake_nothing_is_found(bench, paused: bool) -> None:
    run_through(bench, paused)


# -- the switch -------------------------------------------------------------------------------------------------------


def test_tests_check_the_invariants_and_production_does_not() -> None:
    assert flight_states.VALIDATE
    code = "from pilotune.pipeline.campaign import flight_states; print(flight_states.VALIDATE)"
    found = subprocess.run([sys.executable, "-c", code], env={}, check=True, capture_output=True, text=True)
    assert found.stdout == "False\n"


def test_steps_check_the_invariants_only_where_that_is_switched_on(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = busy(bench)
    campaign.campaign.last_progress = 1e18
    with pytest.raises(BrokenInvariant):
        campaign.turn()
    monkeypatch.setattr(flight_states, "VALIDATE", False)
    campaign.turn()


def test_a_step_checks_a_bounded_number_of_flights_on_average(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    campaign = bench(trials=1000)
    monkeypatch.setattr(Campaign, "validate", lambda campaign: checks.append(campaign.in_flight))
    campaign.turn(Capacity(512))
    while campaign.campaign.more_to_ask:
        campaign.turn()
    checks.clear()
    for _ in range(32):  # of a step and a release each
        campaign.turn()
    assert sum(checks) <= (2 * 32 + 8) * module.VALIDATED_PER_STEP
    assert len(checks) >= 7
