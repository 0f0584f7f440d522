"""What a campaign keeps of when its attempts and its blocks ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pilotune.pipeline.attributes import BEGAN, MOST_RUNS, RUNS
from pilotune.pipeline.campaign.block_history import PART, BlockHistory
from pilotune.pipeline.campaign.events import BlockView, Capacity, Lost
from tests.support.campaign_bench import Bench, benches, over, started


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return benches(tmp_path)


def test_a_trial_keeps_when_its_last_attempt_began(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    campaign.turn(started(spec), over(spec, started=1000.0, finished=1060.0))
    (trial,) = campaign.trials()
    assert trial.user_attrs[BEGAN] == 1000.0
    assert RUNS not in trial.system_attrs


def test_earlier_attempts_are_kept_with_their_place(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    (again,) = campaign.specs(started(spec), Lost(spec.token, "its node died", host="n7"))
    (third,) = campaign.specs(started(again), over(again, "yielded", started=2000.0, finished=2030.0, host="n1"))
    campaign.turn(started(third), over(third, started=3000.0, finished=3001.0))
    (trial,) = campaign.trials()
    (lost, went_on) = trial.system_attrs[RUNS]
    assert (lost[0], lost[3]) == (1, "lost")
    assert went_on[:5] == [2, 2000.0, 30.0, "went on", "n1"]
    assert trial.user_attrs[BEGAN] == 3000.0


def test_only_the_latest_attempts_are_kept(bench) -> None:
    campaign = bench(trials=1)
    (spec,) = campaign.specs(Capacity(1))
    flight = next(iter(campaign.campaign.flights.values()))
    for _ in range(MOST_RUNS + 5):
        flight.note_run(1.0, 1.0, "went on")
    assert len(flight.runs) == MOST_RUNS
    assert spec.attempt == 1


def view(block: str, state: str, since: float, workers: int = 0) -> BlockView:
    return BlockView("cpu", block, f"job{block}", state, "why", workers, None, since)  # type: ignore[arg-type]


def test_blocks_keep_when_they_were_submitted_began_got_workers_and_ended() -> None:
    history = BlockHistory()
    for now, state, since, workers in (
        (11.0, "queued", 10.0, 0),
        (21.0, "starting", 20.0, 0),
        (25.0, "running", 20.0, 4),
        (40.0, "running", 20.0, 2),
    ):
        history.see([view("0", state, since, workers)], now)
    assert history.changed(lambda pool: 2) == {0: [["cpu", "0", "job0", 10.0, 20.0, None, 4, 2, "", 25.0]]}
    assert history.changed(lambda pool: 2) == {}, "nothing has changed"
    history.see([view("0", "ended", 90.0)], 91.0)
    assert history.changed(lambda pool: 2) == {0: [["cpu", "0", "job0", 10.0, 20.0, 90.0, 4, 2, "why", 25.0]]}


def test_a_change_writes_only_the_part_that_it_is_in() -> None:
    history = BlockHistory()
    history.see([view(str(block), "queued", 1.0) for block in range(PART + 1)], 1.0)
    assert {part: len(blocks) for part, blocks in history.changed(lambda pool: 1).items()} == {0: PART, 1: 1}
    history.see([view("7", "running", 2.0)], 2.0)
    assert list(history.changed(lambda pool: 1)) == [0]
