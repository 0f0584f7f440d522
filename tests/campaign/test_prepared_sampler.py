"""A sampler that has much to do before its first suggestion does it in parts, between the events of the campaign."""

from __future__ import annotations

import optuna

from pilotune.pipeline.campaign.events import Capacity

from ..support.campaign_bench import benches, over


class Slow(optuna.samplers.RandomSampler):
    """A sampler that is ready after some calls, or fails at them."""

    def __init__(self, calls: int, error: Exception | None = None):
        super().__init__(seed=0)
        self.left, self.error = calls, error

    def prepare(self, study: optuna.Study) -> bool:
        if self.error is not None:
            raise self.error
        self.left -= 1
        return self.left <= 0


def test_a_study_with_results_waits_for_its_sampler_and_events_do_not(tmp_path) -> None:
    first = benches(tmp_path)(trials=1)
    first.turn(over(*first.specs(Capacity(1))))
    first.storage.close()
    second = benches(tmp_path)("c2", {"sampler": Slow(4)})  # the campaign makes the first call
    assert [len(second.specs(Capacity(2))), len(second.specs())] == [0, 0]
    assert second.campaign.more_to_ask
    assert len(second.specs()) == 2
    assert not second.campaign.more_to_ask


def test_a_new_study_asks_at_once_while_its_sampler_prepares(tmp_path) -> None:
    campaign = benches(tmp_path)("c1", {"sampler": Slow(3)})
    assert campaign.campaign.more_to_ask, "the loop goes on without waiting for events"
    assert len(campaign.specs(Capacity(2))) == 2
    assert campaign.campaign.more_to_ask
    assert campaign.specs() == []
    assert not campaign.campaign.more_to_ask


def test_a_sampler_that_cannot_be_prepared_is_asked_all_the_same(tmp_path) -> None:
    campaign = benches(tmp_path)("c1", {"sampler": Slow(3, RuntimeError("no"))})
    assert len(campaign.specs(Capacity(2))) == 2
