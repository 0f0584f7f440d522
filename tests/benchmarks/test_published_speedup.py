"""DHPO's speed-up: the campaigns it runs, and how their times are compared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.published import speedup
from benchmarks.published.speedup import Timing, Timings, site_text, study_text, table_of
from pilotune.pipeline.studyfile import load_study_file


@pytest.mark.parametrize(
    ("workers", "nodes", "each", "launcher"), [(1, 1, 1, "single"), (4, 4, 1, "srun"), (8, 4, 2, "srun")]
)
def test_on_slurm_the_workers_are_spread_over_the_nodes(workers: int, nodes: int, each: int, launcher: str) -> None:
    site = yaml.safe_load(site_text(workers, {"account": "proj1"}))
    pool = site["pools"]["workers"]
    assert (site["scheduler"], site["account"]) == ("slurm", "proj1")
    assert (pool["nodes_per_block"], pool["workers_per_node"], pool["launcher"]) == (nodes, each, launcher)


@pytest.mark.parametrize(("method", "barrier"), [("with barrier", True), ("without", False)])
def test_the_study_is_that_of_dhpo(tmp_path: Path, method: str, barrier: bool) -> None:
    (tmp_path / "study.yaml").write_text(study_text(Timing("local", method, 4, 1.0, 64, 2)))
    study = load_study_file(tmp_path / "study.yaml")
    assert study.sampler.args == {"population": 4, "barrier": barrier, "seed": 2}
    assert study.budget.trials == 64


def test_speed_ups_are_paired_by_repetition(tmp_path: Path) -> None:
    kept = Timings(tmp_path / "speedup.jsonl")
    for repetition, (alone, four) in enumerate([(64.0, 16.0), (80.0, 16.0)]):
        kept.add(Timing("local", "with barrier", 1, 1.0, 64, repetition, alone, alone + 16))
        kept.add(Timing("local", "with barrier", 4, 1.0, 64, repetition, four, four + 16))
    kept.add(Timing("local", "with barrier", 1, 0.2, 8, 0, 1.6, 5.0))  # of other trials
    again = Timings(tmp_path / "speedup.jsonl")
    assert again.all == kept.all
    assert again.has(Timing("local", "with barrier", 4, 1.0, 64, 1))
    assert not again.has(Timing("local", "with barrier", 4, 1.0, 64, 2))
    one, four = [line for line in table_of(again, 1.0, 64).splitlines() if line.startswith("| local")]
    assert [cell.strip() for cell in one.split("|")[3:9]] == ["1", "2", "72.0", "-", "88.0", "-"]
    assert "4.50 (-1.85 to 10.85)" in four
    assert "2.75 (-0.43 to 5.93)" in four
    assert "3.65, 3.80" in four


@pytest.mark.exhaustive
def test_campaigns_of_local_workers_are_timed(tmp_path: Path) -> None:
    words = ["--small", "--workers", "1", "2", "--cache", str(tmp_path)]
    for _ in range(2):  # the second call finds all of it
        done = subprocess.run(
            [sys.executable, speedup.__file__, *words], capture_output=True, text=True, timeout=240, check=True
        )
        assert len([line for line in done.stdout.splitlines() if line.startswith("| local")]) == 4
    assert done.stderr == ""
