"""Near the end of a campaign, a worker leaves some trials to other pools."""

from __future__ import annotations

import pytest

from pilotune.pipeline.placement import Costs, Placement, PoolRoom

ROOMS = {"cpu": PoolRoom(10), "gpu": PoolRoom(1)}


def placement(**seconds: tuple[float, float]) -> Placement:
    """One that knows how long models run on a CPU and on a GPU."""
    costs = Costs(["cpu", "gpu"])
    found = Placement("learned", costs)
    found.pools(ROOMS)
    for _ in range(12):
        for model, (on_cpu, on_gpu) in seconds.items():
            costs.note({"model": model}, "cpu", on_cpu)
            costs.note({"model": model}, "gpu", on_gpu)
    return found


def put(found: Placement, *models: str) -> None:
    for model in models:
        found.put(f"{model} {len(found)}", {"model": model}, now=0.0)


def test_a_slow_pool_leaves_the_last_trials_to_a_fast_one_that_ends_them_earlier() -> None:
    found = placement(cnn=(100.0, 5.0), svm=(10.0, 10.0))
    put(found, "cnn", "cnn", "cnn")
    found.coming(0)
    assert found.take("cpu", now=1.0) is None
    assert found.take("gpu", now=1.0) == "cnn 0"
    found.coming(None)
    assert found.take("cpu", now=1.0) == "cnn 1", "where more may come, no worker stays idle"
    found.coming(5000)
    assert found.take("cpu", now=1.0) == "cnn 2"


def test_a_slow_pool_takes_what_would_end_later_in_the_fast_one() -> None:
    found = placement(cnn=(100.0, 5.0), svm=(10.0, 10.0))
    put(found, *["cnn"] * 30)
    found.coming(0)
    assert found.take("cpu", now=1.0) == "cnn 29", "it would end after 150 s in the other pool"
    taken = 1
    while found.take("cpu", now=1.0) is not None:
        taken += 1
    assert 8 <= taken <= 12, "about 20 are left, which end in 100 s there"


def test_a_trial_that_runs_on_in_the_fast_pool_does_not_hold_back_the_slow_one_for_ever() -> None:
    found = placement(cnn=(100.0, 5.0), svm=(10.0, 10.0))
    put(found, "cnn", "cnn")
    found.coming(0)
    assert found.take("gpu", now=0.0) == "cnn 0"
    assert found.take("cpu", now=4.0) is None
    assert found.take("cpu", now=300.0) is None, "a quarter of 300 s more is expected there"
    assert found.take("cpu", now=500.0) == "cnn 1"


def test_a_slow_pool_leaves_trials_to_a_fast_one_whose_next_block_is_expected_soon() -> None:
    found = placement(cnn=(100.0, 5.0), svm=(10.0, 10.0))
    put(found, "cnn", "cnn")
    found.coming(0)
    found.pools({"cpu": PoolRoom(10), "gpu": PoolRoom(0, back=30.0)})
    assert found.take("cpu", now=10.0) is None
    found.pools({"cpu": PoolRoom(10), "gpu": PoolRoom(1)})
    assert found.take("gpu", now=31.0) == "cnn 0"


def test_a_slow_pool_takes_trials_where_the_fast_one_comes_too_late_or_nobody_knows_when() -> None:
    for back, now in ((200.0, 0.0), (30.0, 130.0), (None, 0.0)):
        found = placement(cnn=(100.0, 5.0), svm=(10.0, 10.0))
        put(found, "cnn", "cnn")
        found.coming(0)
        found.pools({"cpu": PoolRoom(10), "gpu": PoolRoom(0, back=back)})
        assert found.take("cpu", now=now) == "cnn 0"


def test_the_longest_goes_first() -> None:
    found = placement(long=(90.0, 100.0), short=(10.0, 11.0))
    put(found, "short", "short", "long")
    found.coming(0)
    assert [found.take("cpu", now=1.0) for _ in range(3)] == ["long 2", "short 0", "short 1"]


@pytest.mark.parametrize("policy", ["fifo", "shadho"])
def test_other_policies_leave_no_worker_idle(policy: str) -> None:
    found = Placement(policy, Costs(["cpu", "gpu"]))
    found.pools(ROOMS)
    put(found, "cnn")
    found.coming(0)
    assert found.take("cpu", now=1.0) == "cnn 0"
