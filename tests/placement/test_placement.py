"""Placement: each rule by which a freed worker takes a trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from pilotune.pipeline.placement import POLICIES, Costs, Placement, PoolRoom

CPU, GPU = "cpu", "gpu"
SVM, CNN = {"model": "svm"}, {"model": "cnn"}
SECONDS = {("svm", CPU): 10.0, ("svm", GPU): 10.0, ("cnn", CPU): 100.0, ("cnn", GPU): 5.0}
ROOMS = {CPU: PoolRoom(10), GPU: PoolRoom(2)}


def known(times: int = 12) -> Costs:
    """Costs of two models, whose trials have run in both pools."""
    costs = Costs([CPU, GPU])
    for _ in range(times):
        for (model, pool), seconds in SECONDS.items():
            costs.note({"model": model}, pool, seconds)
    return costs


def made(policy: str = "learned", costs: Costs | None = None, rooms: Mapping[str, PoolRoom] = ROOMS) -> Placement:
    placement = Placement(policy, known() if costs is None else costs)
    placement.pools(rooms)
    return placement


def with_waiting(placement: Placement, *many: Mapping[str, object], now: float = 0.0) -> Placement:
    """Put trials with the keys 0, 1, ..."""
    for key, params in enumerate(many):
        placement.put(key, params, now)
    return placement


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="one of learned, fifo, shadho, not 'best'"):
        Placement("best", Costs([]))


def test_a_worker_takes_the_kind_that_its_pool_is_good_at():
    placement = with_waiting(made(), *[SVM, CNN] * 4)
    assert placement.take(GPU, 0.0) == 1
    assert placement.take(CPU, 0.0) == 0


def test_no_worker_stays_idle_while_something_may_run():
    assert with_waiting(made(), CNN).take(CPU, 0.0) == 0
    assert with_waiting(made(), SVM).take(GPU, 0.0) == 0
    assert made().take(GPU, 0.0) is None


def test_shares_of_the_linear_program_are_followed():
    placement = made()
    taken: Counter[tuple[str, str]] = Counter()
    placement.pools({CPU: PoolRoom(10), GPU: PoolRoom(1)})
    for number in range(20):
        placement.put(number, (SVM, CNN)[number % 2], 0.0)
    for number in range(20, 320):  # now stays 0: nothing starves
        pool = CPU if number % 3 else GPU
        key = placement.take(pool, 0.0)
        assert isinstance(key, int)
        model = ("svm", "cnn")[key % 2]
        taken[model, pool] += 1
        placement.put(number, (SVM, CNN)[number % 2], 0.0)
    shares = {kind.name: kind.shares for kind in placement.table().kinds}
    assert shares["model = svm"][GPU] == 0.0
    assert taken["svm", GPU] == 0
    spent = {model: taken[model, CPU] * SECONDS[model, CPU] for model in ("svm", "cnn")}
    assert spent["cnn"] / sum(spent.values()) == pytest.approx(shares["model = cnn"][CPU], abs=0.1)


def unlike() -> Costs:
    """Costs of two models, one of which has not run on a GPU."""
    costs = Costs([CPU, GPU])
    for _ in range(20):
        costs.note(SVM, CPU, 10.0)
        costs.note(SVM, GPU, 10.0)
        costs.note(CNN, CPU, 100.0)
    return costs


def test_what_has_not_run_in_a_pool_is_tried_there_once_even_where_it_is_expected_to_lose():
    placement = with_waiting(made(costs=unlike()), *[SVM] * 6, *[CNN] * 6)
    assert [placement.take(GPU, 0.0) for _ in range(3)] == [6, 0, 1]


@pytest.mark.parametrize(("seconds", "first"), [(5.0, [6, 7, 8]), (100.0, [0, 1, 2]), (400.0, [0, 1, 2])])
def test_one_try_tells_what_a_pool_is_good_at(seconds, first):
    costs = unlike()
    costs.note(CNN, GPU, seconds)
    costs.refit()
    placement = with_waiting(made(costs=costs), *[SVM] * 6, *[CNN] * 6)
    assert [placement.take(GPU, 0.0) for _ in range(3)] == first


def test_of_numbers_both_halves_are_tried_and_of_many_choices_none():
    costs = Costs([CPU, GPU])
    many = [{"units": 2.0**step, "seed": f"seed {step}"} for step in range(20)]
    for params in many:
        costs.note(params, CPU, 10.0 * params["units"])  # type: ignore[operator]
    for params in many[:5]:
        costs.note(params, GPU, 10.0 * params["units"])  # type: ignore[operator]
    placement = made(costs=costs)
    placement.put("small", {"units": 2.0, "seed": "another"}, 0.0)
    placement.put("large", {"units": 2.0**15, "seed": "a third"}, 0.0)
    placement.put("larger", {"units": 2.0**19, "seed": "a fourth"}, 0.0)
    assert placement.take(GPU, 0.0) == "large", "no large one has run there"
    assert placement.take(GPU, 0.0) != "larger", "a large one runs there"


def test_without_any_data_it_is_first_come():
    placement = with_waiting(made(costs=Costs([CPU, GPU])), SVM, CNN, SVM, CNN)
    assert [placement.take(pool, 0.0) for pool in (GPU, CPU, GPU, CPU)] == [0, 1, 2, 3]


def test_the_oldest_goes_first_after_three_mean_durations():
    costs = known()
    assert costs.mean == 31.25
    placement = with_waiting(made(costs=costs), CNN, *[SVM] * 6)
    assert placement.take(GPU, 0.0) == 0
    placement = with_waiting(made(costs=costs), SVM, *[CNN] * 6)
    assert placement.take(GPU, 93.7) == 1
    assert placement.take(GPU, 93.8) == 0


def test_nothing_starves_while_others_keep_coming():
    placement = with_waiting(made(), SVM, *[CNN] * 9)
    taken = []
    for step in range(60):
        now = 10.0 * step
        taken.append(placement.take(GPU, now))
        placement.put(100 + step, CNN, now)
    assert 0 in taken[:20]


def test_one_pool_changes_nothing():
    for policy in POLICIES:
        placement = with_waiting(made(policy, rooms={GPU: PoolRoom(3, memory=1.0)}), SVM, CNN, SVM, CNN)
        assert placement.ahead == 0
        assert [placement.take(GPU, 0.0) for _ in range(5)] == [0, 1, 2, 3, None]


def test_how_many_may_wait():
    assert [made(policy).ahead for policy in POLICIES] == [20, 0, 20]
    assert made(rooms={CPU: PoolRoom(10), GPU: PoolRoom(0)}).ahead == 0


def test_a_trial_runs_only_where_the_study_file_lets_it():
    for policy in POLICIES:
        placement = made(policy)
        placement.put("a", SVM, 0.0, allowed=[GPU])
        placement.put("b", CNN, 0.0, allowed=["elsewhere"])
        assert placement.take(CPU, 1e9) is None
        assert placement.take(GPU, 1e9) == "a"
        assert placement.take(GPU, 1e9) is None


def test_a_trial_runs_where_its_memory_suffices():
    costs = known()
    for _ in range(10):
        costs.note(CNN, CPU, 100.0, memory=30e9)
        costs.note(SVM, CPU, 10.0, memory=1e9)
    rooms = {CPU: PoolRoom(10, memory=100e9), GPU: PoolRoom(2, memory=20e9)}
    placement = with_waiting(made(costs=costs, rooms=rooms), CNN, CNN)
    assert placement.take(GPU, 1e9) is None
    assert placement.take(CPU, 0.0) == 0
    assert [(closed.kind, closed.pool) for closed in placement.table().closed] == [("model = cnn", GPU)]


def test_where_no_memory_suffices_it_is_the_largest():
    costs = known()
    for _ in range(10):
        costs.note(CNN, CPU, 100.0, memory=30e9)
    placement = made(costs=costs, rooms={CPU: PoolRoom(10, memory=10e9), GPU: PoolRoom(2, memory=20e9)})
    with_waiting(placement, CNN)
    assert placement.take(CPU, 0.0) is None
    assert placement.take(GPU, 0.0) == 0


def test_a_pool_is_closed_to_a_kind_that_failed_there_by_memory_twice():
    costs = known()
    placement = with_waiting(made(costs=costs), CNN, CNN, CNN, SVM)
    costs.failed_by_memory(CNN, GPU)
    assert placement.take(GPU, 0.0) == 0
    costs.failed_by_memory(CNN, GPU)
    assert placement.take(GPU, 0.0) == 3
    assert placement.take(GPU, 1e9) is None
    (closed,) = placement.table().closed
    assert (closed.kind, closed.pool, closed.reason) == (
        "model = cnn", GPU, "trials like these failed there by memory twice"
    )  # fmt: skip


def test_a_pool_is_never_closed_to_what_has_no_other():
    costs = known()
    for pool in (GPU, GPU, CPU, CPU):
        costs.failed_by_memory(CNN, pool)
    assert with_waiting(made(costs=costs), CNN).take(GPU, 0.0) == 0
    costs = known()
    for _ in range(2):
        costs.failed_by_memory(CNN, GPU)
    placement = made(costs=costs)
    placement.put("only here", CNN, 0.0, allowed=[GPU])
    assert placement.take(GPU, 0.0) == "only here"


def test_a_pool_that_vanishes_and_comes_back():
    placement = with_waiting(made(), CNN, SVM, CNN)
    assert placement.take(GPU, 0.0) == 0
    placement.pools({CPU: PoolRoom(10), GPU: PoolRoom(0)})
    placement.ended(0, 1.0)
    placement.put(0, CNN, 1.0)
    assert placement.take(GPU, 1.0) is None or len(placement) == 2
    placement.pools({CPU: PoolRoom(10), "new": PoolRoom(4)})
    placement.put(4, SVM, 2.0)
    assert placement.take("new", 2.0) is not None
    placement.pools(ROOMS)
    placement.put(5, CNN, 3.0)
    assert placement.take(GPU, 3.0) in (0, 2, 5)


def test_a_closed_pool_opens_when_the_other_vanishes():
    costs = known()
    for _ in range(2):
        costs.failed_by_memory(CNN, GPU)
    placement = with_waiting(made(costs=costs, rooms={**ROOMS, "third": PoolRoom(1)}), CNN)
    assert placement.take(GPU, 0.0) is None
    placement.pools({GPU: PoolRoom(2), "third": PoolRoom(0)})
    assert placement.take(GPU, 0.0) is None
    assert placement.fits(0) == {"third"}
    placement.pools({GPU: PoolRoom(2)})
    assert placement.take(GPU, 0.0) == 0


def test_what_fits_only_in_a_pool_without_workers_waits_for_them():
    costs = known()
    for _ in range(10):
        costs.note(CNN, CPU, 100.0, memory=30e9)
        costs.note(SVM, CPU, 10.0, memory=1e9)
    small, large = PoolRoom(10, memory=20e9), PoolRoom(2, memory=100e9)
    for others in ({}, {"third": small}):
        placement = with_waiting(made(costs=costs, rooms={CPU: small, GPU: PoolRoom(0, 100e9), **others}), CNN, SVM)
        assert [placement.take(CPU, 0.0), placement.take(CPU, 1e9)] == [1, None]
        assert placement.fits(0) == {GPU}
        placement.pools({CPU: small, GPU: large, **others})
        assert placement.fits(0) == {GPU}
        assert [placement.take(CPU, 1e9), placement.take(GPU, 1e9)] == [None, 0]


def test_what_fits_in_none_of_the_pools_that_are_left_runs_in_the_largest():
    costs = known()
    for _ in range(10):
        costs.note(CNN, CPU, 100.0, memory=30e9)
    placement = made(costs=costs, rooms={CPU: PoolRoom(10, 20e9), GPU: PoolRoom(0, 100e9), "third": PoolRoom(1, 1e9)})
    with_waiting(placement, CNN)
    assert placement.take(CPU, 0.0) is None
    placement.pools({CPU: PoolRoom(10, 20e9), "third": PoolRoom(1, 1e9)})
    assert [placement.take("third", 0.0), placement.take(CPU, 0.0)] == [None, 0]


def test_what_is_taken_runs_and_what_is_removed_does_not():
    placement = with_waiting(made("fifo"), SVM, CNN)
    assert placement.take(CPU, 5.0) == 0
    placement.remove(1)
    placement.remove("unknown")
    assert (len(placement), 1 in placement, dict(placement.running)[0].pool) == (0, False, CPU)
    placement.ended(0, 6.0)
    placement.ended(0, 6.0)
    assert not placement.running


def test_a_trial_that_is_put_again_keeps_its_place():
    placement = with_waiting(made("fifo"), SVM, CNN)
    placement.put(0, CNN, 9.0)
    assert placement.take(CPU, 9.0) == 0


def test_the_table_names_kinds_and_says_what_is_gained():
    table = made().table()
    assert [kind.name for kind in table.kinds] == ["model = svm", "model = cnn"]
    _, cnn = table.kinds
    assert cnn.seconds[GPU] == pytest.approx(5.0, rel=0.1)
    assert cnn.part == 0.5
    assert 10 <= cnn.seen[CPU] <= 12
    assert cnn.shares[GPU] == 1.0
    assert table.gain is not None
    assert table.gain > 1.5
    assert table.closed == ()


def test_the_table_is_empty_before_there_are_data_and_the_same_for_all_policies():
    assert made(costs=Costs([CPU])).table().kinds == ()
    assert made("fifo").table() == made("shadho").table() == made().table()


def test_pools_that_differ_by_one_factor_have_nothing_to_gain():
    costs = Costs([CPU, GPU])
    for _ in range(12):
        for model, seconds in (("svm", 10.0), ("cnn", 100.0)):
            costs.note({"model": model}, CPU, seconds)
            costs.note({"model": model}, GPU, seconds / 4)
    assert made(costs=costs).table().gain == pytest.approx(1.0, abs=0.02)


def test_shadho_deals_free_spaces_to_large_hardware():
    rooms = {"a": PoolRoom(1, size=1), "b": PoolRoom(1, size=2), "c": PoolRoom(1, size=3)}
    placement = made("shadho", rooms=rooms)
    for key in range(2):
        placement.put(("free", key), {"x": 10.0 * key, "y": 9.0 * key, "z": 8.0 * key}, 0.0)
        placement.put(("middle", key), {"x": 10.0 * key, "y": 9.0 * key}, 0.0)
        placement.put(("little", key), {"x": 10.0 * key}, 0.0)
    assert placement.take("a", 0.0) == ("little", 0)
    assert placement.take("c", 0.0) == ("free", 0)
    assert [placement.take("a", 0.0) for _ in range(2)] == [("little", 1), ("middle", 0)]


def test_shadho_runs_with_two_classes():
    placement = with_waiting(made("shadho"), SVM, CNN, {"x": 1.0})
    assert sorted(placement.take(pool, 0.0) for pool in (CPU, GPU, CPU)) == [0, 1, 2]  # type: ignore[type-var]


def test_the_same_calls_take_the_same_trials():
    def keys() -> list[object]:
        costs = Costs([CPU, GPU])
        placement, found = made(costs=costs), []
        for number in range(80):
            placement.put(number, {"model": ("svm", "cnn")[number % 2], "lr": 0.1 * (1 + number % 7)}, float(number))
            if number >= 10:
                pool = (CPU, GPU)[number % 3 == 0]
                key = placement.take(pool, float(number))
                assert isinstance(key, int)
                found.append(key)
                placement.ended(key, float(number) + 0.5)
                costs.note({"model": ("svm", "cnn")[key % 2]}, pool, SECONDS[("svm", "cnn")[key % 2], pool])
        return found

    assert keys() == keys()
