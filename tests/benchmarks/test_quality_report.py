"""The benchmark of search quality: its arithmetic, its cache and budget, its report, and its command."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import __main__ as command
from benchmarks.quality import problems, report, runs, stats
from benchmarks.quality.runs import Budget, Cache, Run
from benchmarks.quality.simulate import OutOfTime, Step, Trace


def trace(*values: float, seconds: float = 10.0, cpu: float = 1.0) -> Trace:
    """A run of four trials, with a step for each value."""
    steps = tuple(Step(i + 1, (i + 1) * seconds / 4, (i + 1) * cpu / 4, value) for i, value in enumerate(values))
    return Trace(steps, 4, seconds, cpu, cpu / 4)


def test_equal_samplers_share_places():
    assert stats.places(np.array([[0.0], [1.0], [0.0]])).ravel().tolist() == [1.5, 3.0, 1.5]
    assert stats.places(np.array([[math.inf, 1.0], [2.0, 2.0]])).tolist() == [[2.0, 1.0], [1.0, 2.0]]


def test_wins_ties_losses_and_their_interval():
    found = stats.compared(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 1.0, math.inf]))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    clear = stats.compared(np.arange(10.0), np.arange(10.0) + np.linspace(1, 2, 10))
    assert clear.p == pytest.approx(2 / 2**10)
    assert 1.0 <= clear.low <= 1.5 <= clear.high <= 2.0
    assert stats.compared(np.ones(5), np.ones(5)) == stats.Comparison(0, 5, 0, 1.0, 0.0, 0.0)
    none = stats.compared(np.full(3, math.inf), np.full(3, math.inf))
    assert (none.ties, none.low, none.high) == (3, 0.0, 0.0)
    assert stats.compared(np.full(3, math.inf), np.ones(3)).high == -math.inf


def test_the_sign_test_leaves_ties_out():
    assert stats.sign_test(0, 0) == 1.0
    assert stats.sign_test(5, 0) == pytest.approx(2 / 2**5)
    assert stats.sign_test(0, 5) == stats.sign_test(5, 0)


def test_a_bootstrap_interval_is_always_the_same_and_holds_the_median():
    values = np.random.default_rng(3).normal(size=60)
    low, high = stats.interval(values)
    assert (low, high) == stats.interval(values)
    assert low < np.median(values) < high
    wide = stats.interval(values, share=0.99)
    assert wide[0] < low < high < wide[1]
    mean = stats.interval(values, lambda drawn: drawn.mean(axis=1))
    assert mean[1] - mean[0] == pytest.approx(2 * 1.96 * values.std() / math.sqrt(60), rel=0.15)


def test_the_critical_difference_is_nemenyis():
    medians = np.array([np.zeros(20), np.ones(20), np.ones(20) * 2, np.where(np.arange(20) % 2, 2.5, 1.5)])
    found = stats.critical(medians)
    assert found.ranks == (1.0, 2.0, 3.5, 3.5)
    assert found.difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 20)), rel=1e-3)  # Demsar's table: q = 2.569
    assert found.p < 1e-6
    assert found.groups == ((0, 1), (2, 3))
    assert math.isnan(stats.critical(np.ones((3, 5))).p)


def runs_of(problem: str, sampler: str, seeds: int) -> list[Run]:
    return [Run(problem, sampler, 4, 4, seed) for seed in range(seeds)]


def test_seeds_are_interleaved_and_slow_samplers_get_the_first():
    groups = [Run("a", "fast", 4, 4, 0), Run("a", "slow", 4, 4, 0)]
    found = [(run.seed, run.sampler) for run in runs.interleaved(groups, [7, 8], {"slow"}, 1)]
    assert found == [(7, "fast"), (7, "slow"), (8, "fast")]


def test_a_stopped_benchmark_goes_on_where_it_was(tmp_path: Path):
    planned, done = runs_of("a", "s", 4), []

    def execute(run: Run, deadline: float) -> Trace:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(run.seed)
        return trace(1.0, 0.5)

    with pytest.raises(KeyboardInterrupt):
        runs.fill(Cache(tmp_path), planned, execute, Budget())
    assert sorted(Cache(tmp_path).traces(planned[0])) == [0, 1]
    again: list[int] = []

    def rest(run: Run, deadline: float) -> Trace:
        again.append(run.seed)
        return trace(2.0)

    runs.fill(Cache(tmp_path), planned, rest, Budget())
    assert again == [2, 3]
    known = Cache(tmp_path).traces(planned[0])
    assert known == {0: trace(1.0, 0.5), 1: trace(1.0, 0.5), 2: trace(2.0), 3: trace(2.0)}


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path):
    cache, (first, second) = Cache(tmp_path), runs_of("a", "tpe+parallel=crowd", 2)
    cache.add(first, trace(1.0))
    file = cache.file(first)
    assert file
    with file.open("a") as out:
        out.write('{"seed": 1, "steps": [[')
    assert list(Cache(tmp_path).traces(second)) == [0]
    Cache(tmp_path).add(second, trace(3.0))
    assert Cache(tmp_path).traces(first) == {0: trace(1.0), 1: trace(3.0)}


def test_what_is_forgotten_is_run_again_and_other_sizes_stay(tmp_path: Path):
    small, large = Run("a", "s", 4, 4, 0), Run("a", "s", 4, 8, 0)
    cache = Cache(tmp_path)
    cache.add(small, trace(1.0))
    cache.add(large, trace(2.0))
    cache.forget([small])
    assert cache.traces(small) == {} == Cache(tmp_path).traces(small)
    assert Cache(tmp_path).traces(large) == {0: trace(2.0)}


def test_a_run_that_would_take_too_long_is_not_begun():
    now = [0.0]

    def execute(run: Run, deadline: float) -> Trace:
        now[0] += 50.0 if run.sampler == "slow" else 1.0
        return trace(1.0)

    groups = [Run("a", "slow", 4, 4, 0), Run("a", "fast", 4, 4, 0)]
    cache = Cache()
    planned = runs.interleaved(groups, range(5), set(), 0)
    missing = runs.fill(cache, planned, execute, Budget(90.0, clock=lambda: now[0]))
    assert list(cache.traces(groups[0])) == [0]
    assert list(cache.traces(groups[1])) == [0, 1, 2, 3, 4]
    assert missing.late == 4


def test_a_run_that_the_budget_cuts_off_is_not_kept():
    def execute(run: Run, deadline: float) -> Trace:
        raise OutOfTime

    cache, planned = Cache(), runs_of("a", "s", 2)
    assert runs.fill(cache, planned, execute, Budget(10.0)).late == 2
    assert cache.traces(planned[0]) == {}


def test_a_sampler_that_fails_is_told_once_and_the_others_run():
    def execute(run: Run, deadline: float) -> Trace:
        if run.sampler == "bad":
            raise ValueError("no\nmatrix")
        return trace(1.0)

    cache, groups = Cache(), [Run("a", "bad", 4, 4, 0), Run("a", "good", 4, 4, 0)]
    missing = runs.fill(cache, runs.interleaved(groups, range(3), set(), 0), execute, Budget())
    assert missing.failures == ("bad failed on a with 4 workers and seed 0: ValueError: no matrix",)
    assert len(cache.traces(groups[1])) == 3


def results() -> report.Results:
    """Two problems: ours wins the first on all seeds and loses the second; a third sampler has one problem only."""
    known = {"branin": problems.make("branin"), "camel": problems.make("camel")}
    low = {name: problem.optimum for name, problem in known.items()}
    traces = {}
    for name, gap in (("branin", 1.0), ("camel", -1.0)):
        traces[name, "ours"] = {seed: trace(low[name] + 9, low[name] + 2 + seed / 10) for seed in range(8)}
        traces[name, "peer"] = {seed: trace(low[name] + 9, low[name] + 2 + gap) for seed in range(8)}
    traces["branin", "half"] = {0: trace(low["branin"] + 1.0)}
    return report.Results(known, ["ours", "peer", "half", "absent"], traces, 4)


def test_the_report_says_first_what_is_lost():
    text = report.text(results(), "ours")
    lost = text.split("\n\n")[1].splitlines()
    assert text.startswith("**Lost by ours")
    assert "1 with p < 0.05" in text.splitlines()[0]
    assert [row.split("|")[1].strip() for row in lost[2:]] == ["camel", "branin"]  # the more certain first
    assert "0/0/8" in lost[2]
    assert "absent" not in text


def test_ranks_are_over_the_seeds_that_all_ranked_samplers_have():
    found = results()
    assert found.ranked == ["ours", "peer"]
    assert found.ranks("trials", 1.0).tolist() == [[1.0, 2.0], [2.0, 1.0]]
    assert found.ranks("trials", 0.25).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert found.ranks("seconds", 0.25).tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert found.ranks("cpu", 0.5).tolist() == [[1.0, 2.0], [2.0, 1.0]]
    text = report.text(found, "ours")
    assert "half is not ranked: it has no result on camel." in text
    assert "Mean rank among 2 samplers over 2 problems, 8 seeds" in text
    assert "1.00 / 1.00 (1)" in text  # of one seed only


def test_time_is_compared_up_to_the_end_of_the_first():
    problem = problems.make("camel")
    low = problem.optimum
    traces = {
        ("camel", "quick"): {0: trace(low + 3, low + 2, low + 1.5, low + 1, seconds=4.0)},
        ("camel", "late"): {0: trace(low + 2.5, low + 2, low, low, seconds=40.0)},
    }
    found = report.Results({"camel": problem}, ["quick", "late"], traces, 4)
    assert found.ranks("trials", 1.0).ravel().tolist() == [2.0, 1.0]
    assert found.ranks("seconds", 1.0).ravel().tolist() == [1.0, 2.0]  # the late one has nothing yet


def test_variants_of_a_sampler_are_a_table():
    problem = problems.make("camel")
    low = problem.optimum
    traces = {
        ("camel", "ours"): {seed: trace(low + 2) for seed in range(6)},
        ("camel", "ours+wide=0"): {seed: trace(low + 1) for seed in range(6)},
    }
    text = report.ablations(report.Results({"camel": problem}, ["ours", "ours+wide=0"], traces, 4), "ours")
    row = next(line for line in text.splitlines() if "wide=0" in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["wide=0", "1", "6", "0", "0", "0.031", "1"]


def test_quantiles_with_what_found_nothing():
    values = np.array([1.0, math.inf, *range(2, 10)])
    assert report.quantile(values, 0.9) == 9.0
    assert report.quantile(values, 0.95) == math.inf


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *arguments])
    command.main()


def test_one_command_prints_the_tables_and_runs_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    wanted = ["--seeds", "2", "--workers", "4", "--trials", "12", "--cache", str(tmp_path), "--against", "random"]
    wanted += ["--problems", "branin,gramacy,branin-currin", "--samplers", "random,nsgaii,nevergrad"]
    monkeypatch.setitem(sys.modules, "nevergrad", None)  # as if it were not installed
    called(monkeypatch, *wanted)
    first = capsys.readouterr().out
    for part in ("### One objective", "### Soft constraints", "### Several objectives", "Mean rank", "nsgaii"):
        assert part in first
    assert "nevergrad is left out: nevergrad is not installed" in first
    files = {file: file.read_text() for file in tmp_path.rglob("*.jsonl")}
    assert len(files) == 6
    called(monkeypatch, *wanted)
    assert capsys.readouterr().out == first
    assert {file: file.read_text() for file in tmp_path.rglob("*.jsonl")} == files


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--problems", "nothing"), "The problem nothing is unknown; known are"),
        (("--problems", "ackley10-moved"), "ackley10-moved is for confirming; add --confirm"),
        (("--problems", "branin", "--confirm"), "branin is for tuning; leave out --confirm"),
        (("--samplers", "tpee"), "Peers are random"),
        (("--seeds", "101", "--problems", "branin"), "there are 100 tuning seeds"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
):
    with pytest.raises(SystemExit, match=words):
        called(monkeypatch, *arguments)


def test_confirming_uses_other_seeds_than_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    wanted = ["--seeds", "1", "--workers", "2", "--trials", "4", "--cache", str(tmp_path), "--samplers", "random"]
    called(monkeypatch, *wanted, "--problems", "branin")
    called(monkeypatch, *wanted, "--problems", "branin", "--confirm", "seeds")
    called(monkeypatch, *wanted, "--problems", "camel", "--confirm")
    capsys.readouterr()
    cache = Cache(tmp_path)
    assert list(cache.traces(Run("branin", "random", 2, 4, 0))) == [0, 100]
    assert list(cache.traces(Run("camel", "random", 2, 4, 0))) == [100]


@pytest.mark.parametrize(("text", "found"), [("90", 90.0), ("45s", 45.0), ("1.5m", 90.0), ("2h", 7200.0)])
def test_budgets(text: str, found: float):
    assert command.seconds(text) == found
    with pytest.raises(Exception, match="is no duration"):
        command.seconds(f"{text}x")
