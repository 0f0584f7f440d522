"""Trials that fail in every way, in one campaign on real workers: no other trial fails, and each reason is recorded."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from ...support.local import Here

pytestmark = pytest.mark.real

OBJECTIVE = """
import os, signal, sys, time

def objective(how):
    if how == "raise":
        raise ValueError("the data is missing")
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        os._exit(3)
    if how == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(16 * 2**20))
    if how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    if how == "print":
        while True:
            print("x" * 10_000)
    if how == "unsaid":
        raise Unsaid()
    if how == "relative":
        open("data.csv")
    odd = {"set": {0.5}, "empty": {}, "null": {"value": None}}
    usual = {"nan": float("nan"), "none": None, "two": [1.0, 2.0], "text": "0.9", "good": 0.5, "better": 0.7}
    return {**odd, **usual}[how]

class Unsaid(Exception):
    def __str__(self):
        raise RuntimeError("no")
"""

TIMEOUT = 15
"""Seconds. Only the trial that hangs takes longer, also on a machine with other work; it is the first to start."""

WAYS = {
    "hang": ("timeout", f"timeout of {TIMEOUT} s"),
    "raise": ("exception", "ValueError: the data is missing"),
    "unsaid": ("exception", "Unsaid: its message cannot be shown, since its __str__ raises RuntimeError"),
    "relative": ("exception", "'data.csv'; each trial has a working directory of its own, so use an absolute path"),
    "segfault": ("signal", "killed by SIGSEGV (signal 11)"),
    "exit": ("exit", "the process exited with 3"),
    "memory": ("memory", "MemoryError"),
    "print": ("output", "more than 200000 bytes"),
    "nan": ("value", "nan, not a finite number"),
    "none": ("value", "returned None"),
    "two": ("value", "2 values where the study has one direction"),
    "text": ("value", "'0.9' (str), not a number"),
    "set": ("value", "{0.5} (set), not a number"),
    "empty": ("value", "returned an empty dict; it needs 'value', 'values' or the metrics by name"),
    "null": ("value", "'value' in the returned dict is None"),
}
GOOD = {"good": 0.5, "better": 0.7}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Here:
    here = Here(tmp_path_factory.mktemp("failures"))
    first, *others = WAYS
    ways = [first, "good", *others, "better"]
    points = ", ".join(f"{{how: {way!r}}}" for way in ways)
    here.study(
        "ways",
        OBJECTIVE,
        f"""
direction: maximize
space: {{how: {{choice: {ways}}}}}
sampler: random
budget: {{trials: {len(ways)}, failures: 20}}
trial: {{timeout: {TIMEOUT}s, memory: 500MB, max_output: 200kB, grace: 1s}}
start_from: {{enqueue: [{points}]}}
""",
    )
    here.summary = here.run("run", "ways.yaml", "--set", "pools.local.workers_per_node=2").stdout
    return here


@pytest.fixture(scope="module")
def by_way(campaign: Here) -> dict[str, optuna.trial.FrozenTrial]:
    return {trial.params["how"]: trial for trial in campaign.optuna("ways").trials}


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_trial_has_its_reason_in_its_attributes_and_is_not_retried(way: str, by_way) -> None:
    kind, reason = WAYS[way]
    trial = by_way[way]
    assert trial.state == optuna.trial.TrialState.FAIL
    assert trial.user_attrs["pilotune:exit"] == kind
    assert reason in trial.user_attrs["pilotune:reason"]
    assert trial.user_attrs["pilotune:attempts"] == 1


def test_good_trials_among_them_complete(by_way) -> None:
    assert {way: by_way[way].value for way in GOOD} == GOOD


def test_an_exception_keeps_its_traceback(by_way) -> None:
    assert 'raise ValueError("the data is missing")' in by_way["raise"].system_attrs["pilotune:traceback"]
    assert "raise Unsaid()" in by_way["unsaid"].system_attrs["pilotune:traceback"]


def test_the_list_of_trials_shows_each_reason(campaign: Here) -> None:
    rows = {row["params"]["how"]: row for row in campaign.trials("ways")}
    assert {way: rows[way]["exit"] for way in WAYS} == {way: kind for way, (kind, _) in WAYS.items()}
    table = campaign.run("trials", "ways", "--state", "failed").stdout
    for _, reason in WAYS.values():
        assert reason in table


def test_the_campaign_ends_with_0_and_counts_them(campaign: Here) -> None:
    assert f"{len(WAYS) + 2}: 2 complete, 0 pruned, {len(WAYS)} failed" in campaign.summary
    assert campaign.json("best", "ways")["best"][0]["params"] == {"how": "better"}


def test_a_flood_of_output_is_cut_on_disk(campaign: Here, by_way) -> None:
    folder = Path(by_way["print"].user_attrs["pilotune:directory"])
    assert (folder / "stdout-1.txt").stat().st_size < 300_000
