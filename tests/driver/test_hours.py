"""What dead drivers' blocks have cost, what local blocks may cost, and what a study can cost before it runs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection, load_study

from pilotune.pipeline.attributes import BLOCKS, HOURS, LEASE, SETUP
from pilotune.pipeline.campaign.events import Capacity, Charged, PoolCharge
from pilotune.pipeline.campaign.node_hours import HoursPlan, PoolCost
from pilotune.pipeline.cli.summary import larger_budget
from pilotune.pipeline.driver.hours import hours_plan, with_walltimes
from pilotune.pipeline.driver.hours_status import BudgetHours
from pilotune.pipeline.driver.settlement import LINGER, settle_cleaned, settled_use
from pilotune.pipeline.driver.status import Status, snapshot
from pilotune.pipeline.hours import Account
from pilotune.pipeline.record import Lease, RunDirectory, open_storage
from pilotune.pipeline.record.hours import (
    Ledger,
    PoolHours,
    Spent,
    give_back,
    hours_by_pool,
    keep_hours,
    ledgers,
    ledgers_in,
)
from pilotune.pipeline.studies.campaign_status import ObservedCampaign
from pilotune.pipeline.studies.node_hours import budget_texts, cost_line, usage_text
from pilotune.pipeline.studies.progress import status_line
from pilotune.pipeline.studies.stored_hours import with_stored_hours
from pilotune.pipeline.studyfile import StudyFile, load_study_file
from pilotune.providers.blocks.job_log import RecordedJob, read_job_log
from pilotune.providers.blocks.orphaned_jobs import Fate, OrphanedJob
from pilotune.providers.site import BlockCounts, PoolSpec, Site
from tests.support.campaign_bench import benches, started

NOW, HOUR = 1_000_000.0, 3600.0
CPU = PoolSpec("cpu", walltime=HOUR, nodes_per_block=2, blocks=BlockCounts(max=3), workers_per_node=4)
GPU = PoolSpec("gpu", walltime=HOUR, gpus_per_node=8, workers_per_node=8)


def site_of(*pools: PoolSpec, scheduler: str = "slurm") -> Site:
    return Site("here", scheduler, pools, Path())


def study_of(folder: Path, budget: str, trial: str = "{}") -> StudyFile:
    (folder / "train.py").write_text("def train(trial):\n    return 1.0\n")
    path = folder / "study.yaml"
    space = "space: {x: {float: [0, 1]}}"
    path.write_text(f"name: s\nobjective: train.py:train\ndirection: maximize\n{space}\ntrial: {trial}\n{budget}\n")
    return load_study_file(path)


# What is known before a run


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ("{trials: 9}", "no limit: blocks are replaced while there is work; `budget: {node_hours: N}` or"),
        ("{node_hours: 500}", "500 node-hours at most, over all campaigns"),
        ("{time: 2h}", "14 node-hours and 16 GPU-hours at most in a campaign of 2h"),
        ("{node_hours: {cpu: 400, gpu: 1}}", "401 node-hours and 8 GPU-hours at most, over all campaigns"),
        ("{gpu_hours: {gpu: 16}, time: 1h}", "7 node-hours and 8 GPU-hours at most, over all campaigns"),
    ],
)
def test_check_says_what_the_study_can_cost_at_most(tmp_path, budget, line):
    assert cost_line(study_of(tmp_path, f"budget: {budget}"), site_of(CPU, GPU), [CPU, GPU]).startswith(line)


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        ("{node_hours: 500}", "497 node-hours more at most, over all campaigns; "
         "other campaigns have used or reserved 3 node-hours"),
        ("{node_hours: {cpu: 2, gpu: 9}}", "9 node-hours and 72 GPU-hours more at most, over all campaigns; "
         "other campaigns have used or reserved 2 node-hours in pool cpu"),
    ],
)  # fmt: skip
def test_check_says_what_earlier_campaigns_have_left_of_the_budget(tmp_path, budget, line):
    found = [Ledger({"cpu": Spent(2 * HOUR, 3 * HOUR)})]
    assert cost_line(study_of(tmp_path, f"budget: {budget}"), site_of(CPU, GPU), [CPU, GPU], found).startswith(line)


def test_a_local_block_ends_by_itself_before_it_could_exceed_the_budget(tmp_path):
    study = study_of(tmp_path, "budget: {node_hours: 4}")
    local = site_of(PoolSpec("local", blocks=BlockCounts(max=2)), scheduler="local")
    spent = {"c0": Ledger({"local": Spent(HOUR, 2 * HOUR)})}
    assert [pool.walltime for pool in with_walltimes(study, local, spent).pools] == [HOUR], "an equal part of 2 hours"
    assert with_walltimes(study_of(tmp_path, "budget: {trials: 4}"), local, {}) == local
    assert hours_plan(study, with_walltimes(study, local, {})).metered == {"local"}


def test_the_blocks_of_all_local_pools_share_a_budget_that_covers_them(tmp_path):
    pools = [PoolSpec("one", blocks=BlockCounts(max=1)), PoolSpec("two", blocks=BlockCounts(max=3))]
    local = site_of(*pools, scheduler="local")
    both = study_of(tmp_path, "budget: {node_hours: 4}")
    assert [pool.walltime for pool in with_walltimes(both, local, {}).pools] == [HOUR, HOUR]
    one = study_of(tmp_path, "budget: {node_hours: {one: 4}, trials: 9}")
    assert [pool.walltime for pool in with_walltimes(one, local, {}).pools] == [4 * HOUR, None]


def test_a_trial_takes_its_share_of_a_node_or_all_of_its_nodes(tmp_path):
    small = hours_plan(study_of(tmp_path, "budget: {trials: 1}", "{gpus: 2}"), site_of(CPU, GPU))
    assert small.share("gpu", {}) == 0.25
    wide = hours_plan(study_of(tmp_path, "budget: {trials: 1}", "{nodes: 2}"), site_of(CPU))
    assert wide.share("cpu", {}) == 2.0
    sized = hours_plan(study_of(tmp_path, "budget: {trials: 1}", '{gpus: "2 if x > 0.5 else 4"}'), site_of(GPU))
    assert (sized.share("gpu", {"x": 0.9}), sized.share("gpu", {"x": 0.1})) == (0.25, 0.5)


# What dead drivers have cost


class Dead:
    """A dead driver with its run directory, and the attributes that it left."""

    def __init__(self, folder: Path, scheduler: str = "slurm"):
        self.run = RunDirectory(folder / "c0")
        self.run.path.mkdir()
        self.lease = Lease("c0", "login", "elsewhere", 1, 1, str(self.run.path), NOW - 900.0, NOW - 600.0, "dead")
        self.attrs: dict[str, Any] = {SETUP + "c0": {"scheduler": scheduler}}

    def blocks(self, *rows: tuple[str, float, float | None, float | None]) -> None:
        """Rows of block, and when it was submitted, began and ended."""
        kept = [
            ["cpu", block, f"j{block}", queued, began, ended, 1, 2, "", None] for block, queued, began, ended in rows
        ]
        self.attrs[BLOCKS + "c0:0"] = kept

    def jobs(self, *jobs: tuple[str, str, float]) -> list[RecordedJob]:
        lines = []
        for block, ended, time in jobs:
            recorded = RecordedJob(f"s-cpu-{block}", "slurm", "cpu", block, f"j{block}", ended, time)
            lines.append(json.dumps({"event": "x", **vars(recorded)}))
        self.run.jobs.write_text("\n".join(lines) + "\n")
        return read_job_log(self.run.jobs)

    def used(self, orphans: list[OrphanedJob] | None) -> dict[str, float] | None:
        return settled_use(self.attrs, [self.lease], orphans, NOW).get("c0")


@pytest.fixture
def dead(tmp_path: Path) -> Dead:
    return Dead(tmp_path)


def test_jobs_that_may_be_left_keep_what_they_can_cost_reserved(dead):
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None))
    assert dead.used(None) is None, "nobody has looked"
    (job,) = dead.jobs(("0", "", NOW - 800.0))
    assert dead.used(None) is None
    assert dead.used([OrphanedJob(dead.run.jobs, job, Fate.UNREACHABLE)]) is None


def test_the_scheduler_says_when_the_jobs_of_a_dead_driver_began_and_ended(dead):
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None), ("1", NOW - 800.0, None, None), ("2", NOW - 800.0, None, None))
    jobs = dead.jobs(*((block, "", NOW - 800.0) for block in "0123"))
    states = [
        {"fate": Fate.GONE, "began": NOW - 710.0, "left": NOW - 610.0},
        {"fate": Fate.ENDING, "was": "queued"},
        {"fate": Fate.ENDING, "was": "running", "began": NOW - 50.0},
        {"fate": Fate.GONE, "began": NOW - 30.0, "left": NOW - 20.0},  # submitted just before the driver's death
    ]
    orphans = [OrphanedJob(dead.run.jobs, job, **state) for job, state in zip(jobs, states, strict=True)]
    assert dead.used(orphans) == {"cpu": 2 * (100.0 + 50.0 + 10.0)}


def test_what_nobody_knows_of_a_job_counts_as_the_longest_time(dead):
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None), ("1", NOW - 800.0, NOW - 700.0, NOW - 690.0))
    first, _ = dead.jobs(("0", "", NOW - 800.0), ("1", "walltime", NOW - 690.0))
    assert dead.used([OrphanedJob(dead.run.jobs, first, Fate.GONE)]) == {"cpu": 2 * (700.0 + 10.0)}


def test_jobs_that_another_process_has_ended_cost_until_then(dead):
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None))
    dead.jobs(("0", "cancelled", NOW - 500.0))
    assert dead.used([]) == {"cpu": 2 * 200.0}


def test_blocks_of_a_local_site_end_soon_after_their_driver(tmp_path):
    dead = Dead(tmp_path, "local")
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None))
    assert dead.used(None) == {"cpu": 2 * (100.0 + LINGER)}


def test_of_a_campaign_on_a_cluster_and_this_host_only_the_blocks_here_end_with_their_driver(dead):
    dead.attrs[SETUP + "c0"] = {"scheduler": "local and slurm", "local": ["here"]}
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None))
    dead.attrs[BLOCKS + "c0:0"].append(["here", "0", "j", NOW - 800.0, NOW - 650.0, None, 1, 1, "", None])
    dead.jobs(("0", "cancelled", NOW - 500.0))
    assert dead.used([]) == {"cpu": 2 * 200.0, "here": 50.0 + LINGER}


def test_clean_writes_what_the_blocks_of_a_dead_driver_have_cost_and_status_shows_it(dead, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    dead.blocks(("0", NOW - 800.0, NOW - 700.0, None))
    (job,) = dead.jobs(("0", "", NOW - 800.0))
    kept = {LEASE + "c0": dead.lease.to_json(), HOURS + "c0": Ledger({"cpu": Spent(100.0, 4 * HOUR)}).to_json()}
    with contextlib.closing(open_storage(url)) as storage:
        study_id = storage.create_new_study([StudyDirection.MINIMIZE], "s")
        for key, value in {**dead.attrs, **kept}.items():
            storage.set_study_system_attr(study_id, key, value)
        storage.commit()
    gone = OrphanedJob(dead.run.jobs, job, Fate.GONE, began=NOW - 710.0, left=NOW - 610.0)
    assert [each.over for each in settle_cleaned(url, "s", [], [gone])] == [False], "nobody has looked there"
    old = Status("s", "c0", "running", hours=[asdict(PoolHours("cpu", 100.0 / HOUR))],
                 hour_budgets=[asdict(BudgetHours("node_hours", "", 5.0, 100.0 / HOUR, 3.97, 1.0, 2.0))])  # fmt: skip
    shown = with_stored_hours(ObservedCampaign(old, dead.run.path, alive=False), url).status
    assert budget_texts(shown) == ["0.02778 of 5 node-hours used, 3.972 reserved, 1 left"]
    assert settle_cleaned(url, "s", [dead.run.jobs], [gone]) == [Ledger({"cpu": Spent(200.0, 200.0)}, over=True)]
    shown = with_stored_hours(ObservedCampaign(old, dead.run.path, alive=False), url).status
    assert usage_text(shown) == "0.05556 node-hours, 0% busy and 100% idle"
    assert budget_texts(shown) == ["0.05556 of 5 node-hours used, 4.944 left"]
    living = ObservedCampaign(old, dead.run.path, alive=True)
    assert with_stored_hours(living, url) == living
    assert settle_cleaned(f"sqlite:///{tmp_path}/none.db", "s", [dead.run.jobs], []) == []
    assert not (tmp_path / "none.db").exists()


def test_what_a_campaign_said_at_its_end_is_kept_by_a_driver_that_had_thought_it_dead(tmp_path):
    url, used = f"sqlite:///{tmp_path}/study.db", {"c0": {"cpu": 60.0}}
    with contextlib.closing(open_storage(url)) as ended, contextlib.closing(open_storage(url)) as late:
        study_id = ended.create_new_study([StudyDirection.MINIMIZE], "s")
        one = load_study(study_name="s", storage=ended)
        keep_hours(ended, one, "c0", Ledger({"cpu": Spent(60.0, HOUR)}))
        ended.commit()
        other = load_study(study_name="s", storage=late)
        assert not ledgers(late, other)["c0"].over
        last = Ledger({"cpu": Spent(90.0, 90.0)}, over=True)
        keep_hours(ended, one, "c0", last)
        ended.commit()
        asked = []
        give_back(late, other, lambda campaigns: asked.append(sorted(campaigns)) or used)
        assert asked == [["c0"], []], "once by what it had read, and once with the study locked"
        late.commit()
        assert ledgers_in(ended.get_study_system_attrs(study_id)) == {"c0": last}
        give_back(late, other, lambda campaigns: asked.append(sorted(campaigns)) or {})
        assert asked[2:] == [[]], "the study is not locked for nothing"


# What is shown


def test_a_status_has_the_hours_of_the_study_and_what_is_left_of_each_budget(tmp_path):
    plan = HoursPlan({"gpu": PoolCost(2, 4, HOUR)}, (Account("gpu_hours", 40.0),), lambda pool, params: 0.5)
    bench = benches(tmp_path)(trials=3, hours=plan)
    bench.campaign.hours.others = {"c0": Ledger({"gpu": Spent(HOUR, 2 * HOUR, 4, HOUR)})}
    (first, *_) = bench.specs(Capacity(2))
    began = bench.now
    bench.turn(Charged({"gpu": PoolCharge(1, 0.0, ((0.0, began),))}), started(first, host="n1"))
    bench.turn(after=1799.0)
    status = snapshot(bench.campaign, storage="", run_dir="")
    (used,) = status.hours
    assert used == {
        "pool": "gpu", "node_hours": 2.0, "gpu_hours": 8.0, "busy_node_hours": pytest.approx(1.25, abs=0.01)
    }  # fmt: skip
    (budget,) = status.hour_budgets
    assert (budget["used"], budget["reserved"], budget["left"]) == (8.0, 8.0, 24.0)
    assert Status.from_json(status.to_json()).hours == status.hours
    assert usage_text(status) == "2 node-hours, 62% busy and 38% idle; 8 GPU-hours"
    assert budget_texts(status) == ["8 of 40 GPU-hours used, 8 reserved, 24 left"]
    assert "8 of 40 GPU-hours used" in status_line(status)
    assert larger_budget(status) == "", "it pays three more"


@pytest.mark.parametrize(
    ("accounts", "others", "advice"),
    [
        ([Account("node_hours", 0.9)], {}, "budget.node_hours=1.8"),
        ([Account("node_hours", 0.5)], {"gpu": Spent(HOUR, HOUR, 8)}, "budget.node_hours=2"),
        ([Account("node_hours", 3, "cpu"), Account("gpu_hours", 9)], {"cpu": Spent(2 * HOUR, 2 * HOUR)},
         "budget.node_hours.cpu=6"),
        ([Account("gpu_hours", 9), Account("node_hours", 5)], {"gpu": Spent(1.5 * HOUR, 4.5 * HOUR, 8)},
         "budget.gpu_hours=44 --set budget.node_hours=10"),
    ],
)  # fmt: skip
def test_the_summary_names_an_amount_that_pays_another_block(tmp_path, accounts, others, advice):
    plan = HoursPlan({"cpu": PoolCost(2, 0, HOUR), "gpu": PoolCost(1, 8, HOUR)}, tuple(accounts))
    bench = benches(tmp_path)(trials=3, hours=plan)
    bench.campaign.hours.others = {"c0": Ledger(others)}
    status = snapshot(bench.campaign, storage="", run_dir="")
    assert larger_budget(status) == f" --set {advice}"
    bench.campaign.hours.spent = frozenset({"gpu"})
    for each, account in zip(snapshot(bench.campaign, storage="", run_dir="").hour_budgets, accounts, strict=True):
        gpu = {"gpu_hours": 8.0, "node_hours": 1.0}[account.unit]
        assert each["block"] == (gpu if account.covers("gpu") else 0.0), "what is wanted and cannot be paid"


def test_a_status_without_pools_has_no_hours(tmp_path):
    status = snapshot(benches(tmp_path)(trials=1).campaign, storage="", run_dir="")
    assert (status.hours, status.hour_budgets, usage_text(status), budget_texts(status)) == ([], [], "", [])


# Pools of several sites


@pytest.mark.parametrize(
    ("pool", "used"),
    [
        ("a.cpu", 1.0 + 4.0),  # by a campaign at site a, which calls it cpu, and by one at both sites
        ("b.cpu", 2.0 + 8.0),
        ("cpu", 1.0 + 2.0 + 4.0 + 8.0),  # of all sites
        ("gpu", 16.0),
    ],
)
def test_a_budget_of_a_pool_counts_it_under_every_name_that_campaigns_gave_it(pool: str, used: float) -> None:
    found = ledgers_in(of_two_sites()).values()
    assert sum(ledger.total(Account("node_hours", 99.0, pool)) for ledger in found) == used


def test_hours_are_shown_once_for_each_pool_of_a_site() -> None:
    found = ledgers_in(of_two_sites())
    shown = {each.pool: each.node_hours for each in hours_by_pool(found.values()).values()}
    assert shown == {"a.cpu": 5.0, "b.cpu": 10.0, "gpu": 16.0}
    assert list(hours_by_pool([found["at-a"]])) == ["cpu"]
    assert list(hours_by_pool([found["at-both"]])) == ["a.cpu", "b.cpu", "gpu"]


def of_two_sites() -> dict[str, Any]:
    """What a study keeps that ran at site a, at site b, and at both; the hours used are powers of two."""
    at_both = {"a.cpu": 4.0, "b.cpu": 8.0, "gpu": 16.0}
    used = {"at-a": {"cpu": 1.0}, "at-b": {"cpu": 2.0}, "at-both": at_both}
    setups = {
        "at-a": {"site": "a"},
        "at-b": {"site": "b"},
        "at-both": {"site": "a and b", "pools": {"a.cpu": "a", "b.cpu": "b", "gpu": "b"}},
    }
    ledgers = {name: Ledger({pool: Spent(hours * HOUR) for pool, hours in of.items()}) for name, of in used.items()}
    attrs: dict[str, Any] = {HOURS + name: ledger.to_json() for name, ledger in ledgers.items()}
    return attrs | {SETUP + name: setup for name, setup in setups.items()}
