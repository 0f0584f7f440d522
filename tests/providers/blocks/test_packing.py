"""Attempts of different sizes are packed on nodes: the largest first, the tightest fit, nobody starved."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pilotune.pipeline.trial.protocol import AttemptSpec, Limits
from pilotune.providers.blocks.packed_node import Need, NodeRoom
from pilotune.providers.blocks.packing import LEAST_AHEAD, MOST_HOMELESS, MOST_OVERTAKEN, Packer

from ...support.packing import MACHINES, NEEDS, Ledger

GPU_NODE = NodeRoom("g", "g", "gpu", cores=16, gpus=8, trials=8)


def packer(*rooms: NodeRoom) -> Packer:
    made = Packer()
    for room in rooms:
        made.node_up(room)
    return made


def put(made: Packer, **gpus: float) -> None:
    for token, number in gpus.items():
        made.put(token, Need(1, number))


def begun(made: Packer) -> list[str]:
    return [each.token for each in made.place()]


def node(name: str, **room: Any) -> NodeRoom:
    return NodeRoom(name, name, room.pop("pool", "p"), **{"trials": 8, **room})


def test_the_largest_begins_first_and_then_what_still_fits() -> None:
    made = packer(GPU_NODE)
    put(made, a=1, b=2, c=4, d=8, e=2)
    assert begun(made) == ["d"]
    made.end("d")
    assert begun(made) == ["c", "b", "e"], "of equal ones the older first"
    made.end("c")
    assert begun(made) == ["a"]


def test_the_node_with_the_least_left_over_is_taken() -> None:
    made = packer(node("wide", gpus=8), node("narrow", gpus=4))
    put(made, a=3)
    assert [each.node for each in made.place()] == ["narrow"]


def test_a_trial_without_gpus_takes_a_node_with_gpus_only_where_no_other_has_room() -> None:
    made = packer(node("g", gpus=4, cores=4), node("c", cores=1))
    put(made, a=0, b=0)
    assert [each.node for each in made.place()] == ["c", "g"]


def test_shares_fill_up_a_gpu_before_another_one_is_begun_and_whole_gpus_are_alone() -> None:
    made = packer(node("g", gpus=2))
    put(made, a=0.3, b=0.3, c=0.3, d=0.3)
    placed = {each.token: each.gpus for each in made.place()}
    assert placed == {"a": (0,), "b": (0,), "c": (0,), "d": (1,)}
    put(made, whole=1)
    assert begun(made) == []
    made.end("d")
    assert [(each.token, each.gpus) for each in made.place()] == [("whole", (1,))]


def test_cores_are_those_near_the_gpus() -> None:
    made = packer(node("g", gpus=2, cores=8))
    made.put("a", Need(2, 1))
    made.put("b", Need(3, 1))
    assert {each.token: (each.gpus, each.cores) for each in made.place()} == {
        "a": ((0,), (0, 1)),
        "b": ((1,), (4, 5, 6)),
    }


def test_what_was_overtaken_often_gets_a_node_of_its_own() -> None:
    made = packer(node("g", gpus=8), node("h", gpus=2))
    put(made, first=1)
    assert [each.node for each in made.place()] == ["h"]
    put(made, small=2)
    assert [each.node for each in made.place()] == ["g"]
    put(made, large=8)
    for number in range(MOST_OVERTAKEN):
        assert begun(made) == []
        made.put(f"n{number}", Need(1, 2))
        assert begun(made) == [f"n{number}"]
        made.end(f"n{number}")
    made.put("one more", Need(1, 2))
    assert begun(made) == [], "g is reserved"
    made.end("small")
    assert begun(made) == ["large"]
    made.end("large")
    assert begun(made) == ["one more"]


def test_a_reservation_ends_with_its_node() -> None:
    made = packer(node("g", gpus=8))
    put(made, busy=2)
    assert begun(made) == ["busy"]
    put(made, large=8)
    for number in range(MOST_OVERTAKEN):
        made.put(f"n{number}", Need(1, 1))
        begun(made)
        made.end(f"n{number}")
    made.hold("g")
    made.node_up(node("x", gpus=4))
    made.put("late", Need(1, 1))
    assert [each.node for each in made.place()] == ["x"]
    assert made.node_down("g") == ("busy",)
    made.node_up(node("y", gpus=8))
    assert [(each.token, each.node) for each in made.place()] == [("large", "y")]


def test_a_host_is_avoided_while_another_could_run_the_attempt() -> None:
    made = packer(node("a", gpus=2), node("b", gpus=2))
    made.put("x", Need(1, 2), ["a"])
    assert [each.node for each in made.place()] == ["b"]
    made.put("y", Need(1, 2), ["a"])
    assert begun(made) == []
    made.node_down("b")
    assert [each.node for each in made.place()] == ["a"], "its worker declines it, and the campaign decides"


def test_it_wants_as_many_as_fill_what_is_free_and_some_to_choose_from() -> None:
    made = Packer(Need(1, 2))
    assert made.capacity == 0, "no node is there"
    made.node_up(GPU_NODE)
    assert made.capacity == 4 + LEAST_AHEAD
    put(made, a=8)
    assert begun(made) == ["a"]
    assert made.capacity == 1 + LEAST_AHEAD
    for number in range(20):
        made.put(f"n{number}", Need(1, 8))
    assert made.capacity == 1 + LEAST_AHEAD, "no more, however many wait"


def test_attempts_that_fit_no_node_that_is_there_keep_none_from_those_that_are() -> None:
    made = packer(node("c", cores=4))
    for number in range(MOST_HOMELESS - 1):
        made.put(f"n{number}", Need(1, 1))
    made.put("x", Need(1))
    assert begun(made) == ["x"]
    assert made.capacity > MOST_HOMELESS, "it asks for more"


def test_utilization_counts_gpus_and_cores_where_there_are_none() -> None:
    made = packer(node("g", gpus=8, cores=8), node("c", cores=4))
    made.put("a", Need(1, 4))
    made.put("b", Need(2))
    made.place()
    assert made.busy / sum(made.slots.values()) == (4 / 8 + 2 / 4) / 2


def spec(token: str, need: Need) -> AttemptSpec:
    limits = Limits(memory=int(need.memory) or None)
    return AttemptSpec(token, "s", 0, 1, {}, False, "", 0, 1, cores=int(need.cores), gpus=need.gpus, limits=limits)


@given(
    machine=st.sampled_from(MACHINES),
    moves=st.lists(st.tuples(st.sampled_from("ppppeeeehud"), st.integers(0, 1000)), max_size=120),
)
@settings(max_examples=60, deadline=None)
def test_no_order_of_events_overcommits_a_node_or_starves_an_attempt(
    machine: tuple[NodeRoom, ...], moves: list[tuple[str, int]]
) -> None:
    made, ledger, running = packer(*machine), Ledger({room.name: room for room in machine}), list[str]()
    specs: dict[str, AttemptSpec] = {}
    for number, (move, choice) in enumerate(moves):
        room = machine[choice % len(machine)]
        if move == "p":
            specs[str(number)] = spec(str(number), NEEDS[choice % len(NEEDS)])
            made.put(str(number), Need.of(specs[str(number)]))
            ledger.waits(specs[str(number)])
        elif move == "e" and running:
            token = running.pop(choice % len(running))
            made.end(token)
            ledger.freed(token)
        elif move == "h":
            made.hold(room.name)
            ledger.went(room.name)
        elif move == "u":
            made.node_up(room)
            ledger.came(room)
        elif move == "d":
            ledger.went(room.name)
            for token in made.node_down(room.name):
                running.remove(token)
                made.end(token)
                ledger.freed(token)
        for placement in made.place():
            ledger.placed(specs[placement.token], placement)
            running.append(placement.token)
        waiting = [Need.of(waiter.spec) for waiter in ledger.waiting.values()]
        busy = {room.name for room, *_ in ledger.running.values()}
        idle = [room for name, room in ledger.rooms.items() if name not in busy]
        assert not any(room.holds(need) for room in idle for need in waiting), "a node idles"
