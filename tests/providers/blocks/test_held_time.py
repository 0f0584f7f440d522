"""For how long blocks hold their nodes, as schedulers charge them."""

from __future__ import annotations

import pytest

from pilotune.providers.blocks.held_time import HeldTime
from pilotune.providers.schedulers.jobs import Phase


def test_a_job_is_charged_from_its_start_to_its_end_as_the_scheduler_says() -> None:
    held = HeldTime()
    held.follow(Phase.QUEUED, 90.0)
    held.follow(Phase.RUNNING, 130.0)  # noticed late
    held.correct(101.0)
    held.follow(Phase.ENDING, 190.0)
    held.settle(101.0, 160.0, 200.0)
    assert (held.before, held.since, held.began, held.left) == (59.0, None, 101.0, 160.0)


def test_a_job_that_was_never_seen_to_run_is_charged_where_the_scheduler_says_so() -> None:
    quick, never = HeldTime(), HeldTime()
    quick.settle(101.0, 103.0, 200.0)
    never.settle(None, None, 200.0)
    assert (quick.before, never.before, never.left) == (2.0, 0.0, None)


@pytest.mark.parametrize("phase", [Phase.SUSPENDED, Phase.QUEUED])
def test_the_time_of_a_suspension_or_in_the_queue_again_is_not_charged(phase: Phase) -> None:
    held = HeldTime()
    held.follow(Phase.RUNNING, 100.0)
    held.follow(phase, 110.0)
    held.follow(Phase.RUNNING, 1000.0)
    held.correct(100.0)
    held.settle(100.0, 1030.0, 1040.0)
    assert held.before == 40.0


def test_without_the_schedulers_words_the_moments_count_at_which_it_was_seen() -> None:
    held = HeldTime()
    held.follow(Phase.RUNNING, 100.0)
    held.follow(Phase.ENDED, 160.0)
    held.follow(Phase.ENDED, 170.0)
    assert (held.before, held.left) == (60.0, 160.0)
