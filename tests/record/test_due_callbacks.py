"""Which trials' callbacks are due survives drivers, and only one driver gets each."""

from __future__ import annotations

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from pilotune.errors import RecordAway
from pilotune.pipeline.attributes import CALLBACKS
from pilotune.pipeline.record import DueCallbacks, Lease, RecordStorage, claim, orphans, release
from pilotune.pipeline.record.due_callbacks import MOST_TAKEOVERS


class Campaign:
    def __init__(self, url: str, name: str):
        self.storage = RecordStorage(url, autocommit=False)
        self.study = optuna.load_study(study_name="s", storage=self.storage)
        lease = Lease.here(name, "/runs")
        self.lease = lease
        claim(self.storage, self.study, lease)
        self.due = DueCallbacks(self.storage, self.study._study_id, name)

    def take_over(self) -> tuple[list[int], list[int]]:
        orphans(self.storage, self.study)
        return self.due.take_over(self.study)

    def die(self) -> None:
        """As ``kill -9`` would: what is committed stays, and the lease is found dead."""
        dead = {**self.lease.to_json(), "pid_start": -1}
        self.storage.set_study_system_attr(self.study._study_id, self.lease.key, dead)
        self.storage.commit()
        self.storage.close()

    def end(self) -> None:
        release(self.storage, self.study, self.lease)
        self.storage.close()


@pytest.fixture
def url(tmp_path) -> str:
    optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


def in_database(url: str) -> dict[str, dict[str, int]]:
    attrs = optuna.load_study(study_name="s", storage=url)._storage.get_study_system_attrs(1)
    return {key.removeprefix(CALLBACKS): value for key, value in attrs.items() if key.startswith(CALLBACKS)}


def test_what_a_dead_driver_left_is_taken_over_once(url):
    first = Campaign(url, "c1")
    for number in (0, 1, 2):
        first.due.add(number)
    first.due.remove(1)
    first.storage.commit()
    assert in_database(url) == {"c1": {"0": 0, "2": 0}}
    first.die()

    second = Campaign(url, "c2")
    assert second.take_over() == ([0, 2], [])
    assert in_database(url) == {"c1": {}, "c2": {"0": 1, "2": 1}}
    assert second.take_over() == ([], []), "its own are not taken over"
    second.due.remove(0)
    second.storage.commit()
    second.end()

    third = Campaign(url, "c3")
    assert third.take_over() == ([2], []), "a campaign that ended left it, too"
    third.due.remove(2)
    third.end()
    assert in_database(url) == {"c1": {}, "c2": {}, "c3": {}}


def test_callbacks_that_kill_drivers_are_given_up(url):
    campaign = Campaign(url, "c0")
    campaign.due.add(7)
    campaign.storage.commit()
    for round_ in range(1, MOST_TAKEOVERS + 1):
        campaign.die()
        campaign = Campaign(url, f"c{round_}")
        assert campaign.take_over() == ([7], [])
    campaign.die()
    last = Campaign(url, "last")
    assert last.take_over() == ([], [7])
    assert not any(in_database(url).values())
    last.end()


@pytest.mark.parametrize("landed", [True, False])
def test_a_takeover_whose_answer_is_lost_is_settled_by_the_next_call(url, landed, monkeypatch):
    first = Campaign(url, "c1")
    first.due.add(4)
    first.storage.commit()
    first.die()
    second = Campaign(url, "c2")
    orphans(second.storage, second.study)
    commit = second.storage.database.commit

    def lost() -> None:
        if landed:
            commit()
        else:
            second.storage.database.rollback()
        monkeypatch.undo()
        raise OperationalError("COMMIT", {}, Exception("disk I/O error"))

    monkeypatch.setattr(second.storage.database, "commit", lost)
    with pytest.raises(RecordAway):
        second.due.take_over(second.study)
    assert second.due.take_over(second.study) == ([4], [])
    assert in_database(url) == {"c1": {}, "c2": {"4": 1}}
    assert second.due.take_over(second.study) == ([], [])
    second.end()
