"""Every benchmark runs at a tiny size and prints its table; nothing is said here about times."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.quality.problems.folder import data_folder

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def lines_of(name: str, *arguments: str) -> list[str]:
    """The lines of a benchmark's tables, without titles and rules."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("| ")]


def test_the_drivers_cost_is_printed_beside_optunas_storages() -> None:
    head, *rows = lines_of("driver_cost", "--n", "20", "--r", "3", "--cap", "0.05")
    assert "CPU ms" in head
    assert [row.split("|")[3].strip() for row in rows] == [
        "Pilotune, SQLite", "Pilotune, SQLite, gp", "Optuna, memory", "Optuna, journal", "Optuna, SQLite"
    ]  # fmt: skip


def test_a_profile_of_the_driver_names_functions() -> None:
    command = [sys.executable, str(BENCHMARKS / "driver_cost.py"), "--n", "20", "--cap", "0.05", "--profile"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert "/pipeline/" in done.stdout
    assert "ms of CPU under the profiler" in done.stdout


@pytest.mark.exhaustive
def test_the_cost_of_a_suggestion_is_printed_for_each_sampler() -> None:
    words = ("--n", "40", "--cap", "0.1", "--samplers", "dhpo", "bohb", "pbt")
    head, *rows = lines_of("suggestion_cost", *words)
    assert "largest, 40" in head
    assert [row.split("|")[1].strip() for row in rows] == ["dhpo", "bohb", "pbt"]
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row.split("|")[2:5])


def test_calls_of_a_sampler_by_itself_count_once(module: object) -> None:
    class Sampler:
        def infer_relative_search_space(self) -> None:
            self.sample_independent()

        def sample_independent(self) -> None: ...

    ticks = iter(range(100))
    sampler = Sampler()
    clock = module("suggestion_cost").SamplerClock(sampler, lambda: next(ticks))  # type: ignore[operator]
    sampler.infer_relative_search_space()
    sampler.sample_independent()
    assert (clock.lap(), clock.lap()) == (2, 0)


@pytest.mark.parametrize(
    "pruner", ["hyperband", *(pytest.param(other, marks=pytest.mark.exhaustive) for other in ("median", "percentile"))]
)
def test_verdicts_take_one_commit_a_tick(pruner: str) -> None:
    head, ours, memory, sqlite = lines_of("verdict_cost", "--n", "30", "--r", "96", "--pruner", pruner, "--cap", "0.05")
    assert "at a rung" in head
    assert "1.0 a tick" in ours
    assert "0.0 a report" in memory
    assert "Optuna, SQLite" in sqlite


def test_without_data_early_stopping_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "early_stopping.py"), "--small"]
    environment = {**os.environ, "PILOTUNE_DATA": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True, env=environment)
    assert len(done.stdout.splitlines()) == 3
    assert "PILOTUNE_DATA names the data folder" in done.stdout


@pytest.mark.skipif(not data_folder().is_dir(), reason=f"the benchmark's data are not here ({data_folder()})")
def test_pruners_are_compared_on_recorded_curves() -> None:
    head, *rows = lines_of("early_stopping", "--seeds", "1", "--trials", "4")
    assert "steps used" in head
    assert len(rows) == 21
    assert all(row.split("|")[-2].strip() == "1.00" for row in rows if "| none" in row)


@pytest.mark.skipif(not data_folder().is_dir(), reason=f"the benchmark's data are not here ({data_folder()})")
@pytest.mark.exhaustive
def test_earlier_studies_are_compared_with_none() -> None:
    head, *rows = lines_of("transfer", "--small")
    assert "after 10" in head
    assert [row.split("|")[2].strip() for row in rows] == ["without", "with", "narrowed", "negated", "shuffled"]


@pytest.mark.exhaustive
def test_the_start_of_ranks_is_measured_beside_that_of_one_process() -> None:
    pytest.importorskip("torch")
    head, *rows = lines_of("ranks", "--ranks", "2", "--attempts", "1")
    assert "called, ms" in head
    assert [row.split("|")[2].strip() for row in rows] == ["none", "2"] * 3
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row.split("|")[3:5])


def test_simulated_workers_are_used() -> None:
    head, ours, *peers = lines_of(
        "simulated_utilization", "--workers", "16", "--seconds", "60", "--n", "30", "--cap", "2", "--per-worker", "3"
    )
    place = head.split("|").index(next(cell for cell in head.split("|") if "utilization" in cell))
    assert 0.5 < float(ours.split("|")[place]) <= 1.0
    assert len(peers) == 1


@pytest.mark.exhaustive
def test_real_workers_are_timed() -> None:
    head, *rows = lines_of("throughput", "--workers", "2", "--trials", "12", "--only", "no-op", "--no-peers")
    assert "trials/s" in head
    assert [row.split("|")[1].strip()[:6] for row in rows] == ["Pilotu", "Pilotu", "a fork", "Optuna", "Optuna"]


@pytest.mark.exhaustive
def test_the_cost_of_a_trial_is_split_by_process() -> None:
    head, *rows = lines_of("process_cost", "--workers", "2", "--trials", "40")
    assert "fork server" in head
    assert [row.split("|")[1].strip() for row in rows] == ["isolate: true", "isolate: false"]
    assert all(float(row.split("|")[3]) > 0 for row in rows)


@pytest.mark.exhaustive
def test_resume_and_memory_are_measured() -> None:
    lines = lines_of("startup_memory", "--small", "--only", "resume", "memory", "--n", "40")
    assert sum("Pilotune" in line for line in lines) >= 3


def test_a_peer_that_is_not_installed_is_named(module: object) -> None:
    common = module("common")  # type: ignore[operator]
    assert "no-such-peer is not installed" in common.missing("no-such-peer")
    assert common.missing("pilotune") is None


def test_a_table_is_aligned_and_rounds_to_three_digits(module: object) -> None:
    text = module("common").table("t", ["who", "ms"], [["a", 1.2345], ["bcd", 12345.6], ["e", None]])  # type: ignore[operator]
    assert text.splitlines()[2:] == [
        "| who |     ms |", "|-----|-------:|", "| a   |   1.23 |", "| bcd | 12,346 |", "| e   |      - |"
    ]  # fmt: skip


def test_a_kept_section_replaces_itself_and_no_other(
    module: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common: ModuleType = module("common")  # type: ignore[operator]
    monkeypatch.setattr(common, "RESULTS", tmp_path / "RESULTS.md")
    for section, text in (("B", "first"), ("A", "other"), ("B", "second")):
        common.keep(section, text, "make it")
    kept = common.RESULTS.read_text()
    assert [line for line in kept.splitlines() if line.startswith("## ")] == ["## A", "## B"]
    assert "first" not in kept
    assert all(word in kept for word in ("other", "second", "`make it`", common.processor()))


def test_rates_count_whole_waves_of_workers_that_all_end_at_once(module: object) -> None:
    throughput = module("throughput")  # type: ignore[operator]
    ends = tuple(float(wave) for wave in range(1, 11) for _ in range(4))
    row = throughput.Row("who", 4, 1.0, ends)
    assert (row.trials, row.rate, row.utilization) == (36, 4.0, 1.0)


@pytest.mark.exhaustive
def test_placement_is_compared_with_known_costs() -> None:
    head, *rows = lines_of("placement", "--small")
    assert "of known costs" in head
    assert "of known later" in head
    policies = ["first-come", "shadho", "learned", "known costs", "known later", "bound"]
    assert [row.split("|")[2].strip() for row in rows[:6]] == policies
    assert len(rows) == 24


@pytest.mark.exhaustive
def test_placement_is_compared_in_campaigns_with_troubles(tmp_path: Path) -> None:
    words = ("--small", "--cases", "larger", "--troubles", "memory", "vanishing", "--cache", str(tmp_path))
    rows = lines_of("placement_campaign", *words)
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows if "| hardware" not in row]
    assert len(cells) == 10
    for group in (cells[:5], cells[5:]):
        assert [row[1] for row in group] == ["first-come", "shadho", "learned", "known costs", "bound"]
        makespans = [float(row[3].replace(",", "")) for row in group]
        assert makespans[-1] == min(makespans)
    assert lines_of("placement_campaign", *words) == rows, "the runs are kept"


def test_ways_to_repeat_are_compared_on_noisy_functions() -> None:
    head, *rows = lines_of("noisy_objectives", "--seeds", "1", "--runs", "6", "--samplers", "random")
    assert "by bound" in head
    assert len(rows) == 24
    counts = {row.split("|")[4].strip(): float(row.split("|")[5]) for row in rows}
    assert (counts["once"], counts["3 times"]) == (6.0, 2.0)
