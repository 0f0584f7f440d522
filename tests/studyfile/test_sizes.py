"""What a trial takes may be an expression of its parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import SizeProblem, StudyFile, load_study_file, plan, render_plan

SPACE = """{
  n: {int: [1, 4]}, wide: {choice: [true, false]}, m: {int: [1, 3], when: {wide: true}}, lr: {float: [0.1, 1]},
  kind: {choice: [a, b]}}"""


def load(folder: Path, trial: str, more: str = "", space: str = f"space: {SPACE}") -> StudyFile:
    (folder / "o.py").write_text("def f(trial):\n    return 1.0\n")
    head = "name: s\nobjective: o.py:f\ndirection: minimize\nbudget: {trials: 3}"
    (folder / "study.yaml").write_text(f"{head}\ntrial: {trial}\n{space}\n{more}\n")
    return load_study_file(folder / "study.yaml")


def test_each_trial_has_its_own_options(tmp_path: Path) -> None:
    file = load(tmp_path, '{gpus: n, cores: "4 * n", memory: "1GB * n + 500 MB", timeout: 1h}')
    options = file.options_for({"n": 3, "wide": False})
    assert (options.gpus, options.cores, options.memory, options.timeout) == (3, 12, 3_500_000_000, 3600.0)
    assert options.limits.memory == 3_500_000_000
    assert "trial      4 to 16 cores, 1 to 4 GPUs" in render_plan(plan(file))
    assert "at most 1.5 GB to 4.5 GB" in render_plan(plan(file))
    assert "cores: 4 * n" in file.resolved()


def test_plain_values_stay_as_they_are(tmp_path: Path) -> None:
    file = load(tmp_path, "{gpus: 0.5, memory: 16GB}")
    assert file.sizes is None
    assert file.options_for({"n": 1}) is file.trial
    assert (file.trial.gpus, file.trial.memory) == (0.5, 16_000_000_000)
    assert "0.5 GPU" in render_plan(plan(file))
    whole = load(tmp_path, "{gpus: 2.0}").trial.gpus
    assert (whole, type(whole)) == (2, int)


def test_what_is_inactive_may_stand_in_a_branch_that_is_not_taken(tmp_path: Path) -> None:
    file = load(tmp_path, '{cores: "m if wide else 1"}')
    assert file.options_for({"wide": True, "m": 3}).cores == 3
    assert file.options_for({"wide": False}).cores == 1


def test_a_trial_with_a_fraction_has_no_size(tmp_path: Path) -> None:
    file = load(tmp_path, '{cores: "n / 2"}')
    assert file.options_for({"n": 4}).cores == 2
    with pytest.raises(SizeProblem) as caught:
        file.options_for({"n": 3})
    assert str(caught.value) == "trial.cores: 'n / 2' must be a whole number of at least 1, but is 1.5"


GRAPH = """space:
  net:
    graph: {inputs: {x: [1, 4, 4]}, cells: 3, choice: [identity, conv(8), maxpool(2)], output: [flatten, dense(2)]}"""


def test_the_weights_of_a_network_are_a_size(tmp_path: Path) -> None:
    trial = '{memory: "1GB + 16 * net_parameters", cores: "2 if net_parameters > 300 else 1"}'
    file = load(tmp_path, trial, space=GRAPH)
    small, large = ({f"net.cell{n}": operation for n in (1, 2, 3)} for operation in ("identity", "conv(8)"))
    assert file.options_for(small).memory == 10**9 + 16 * (16 * 2 + 2)
    assert (file.options_for(small).cores, file.options_for(large).cores) == (1, 2)
    assert "trial      1 to 2 cores" in render_plan(plan(file))
    with pytest.raises(SizeProblem) as caught:  # it has no shape, so no weights; constraints leave it out
        file.options_for(dict.fromkeys(small, "maxpool(2)"))
    assert str(caught.value) == "trial.memory: '1GB + 16 * net_parameters' is inf, which is no finite number"


def test_rounding_errors_are_none(tmp_path: Path) -> None:
    assert load(tmp_path, '{cores: "0.1 * 30 * n"}').options_for({"n": 1}).cores == 3


def test_constraints_leave_sizes_out(tmp_path: Path) -> None:
    file = load(tmp_path, "{gpus: n}", 'constraints: ["n <= 2"]')
    assert file.sizes is not None
    assert sorted(case.params["n"] for case in file.sizes.cases()) == [1, 2]


def test_a_command_has_a_core_for_each_rank(tmp_path: Path) -> None:
    head = "name: s\ncommand: 'x {n}'\ndirection: minimize\nbudget: {trials: 3}"
    (tmp_path / "c.yaml").write_text(f"{head}\ntrial: {{ranks: n}}\nspace: {SPACE}\n")
    options = load_study_file(tmp_path / "c.yaml").options_for({"n": 3})
    assert (options.ranks, options.cores) == (3, 3)


def test_a_large_space_is_looked_at_at_its_ends_and_at_random(tmp_path: Path) -> None:
    many = ", ".join(f"p{i}: {{int: [1, 9]}}" for i in range(6))
    file = load(tmp_path, '{cores: "' + " + ".join(f"p{i}" for i in range(6)) + '"}', space=f"space: {{{many}}}")
    assert "6 to 54 cores" in render_plan(plan(file))


WRONG = [
    ("{gpus: m}", "trial.gpus: 'm' needs 'm', which is inactive where wide is false: it is active only when wide is "
     "true; say what holds otherwise, as in 'a if b else c'"),
    ("{cores: n + 0.5}", "trial.cores: 'n + 0.5' must be a whole number of at least 1, but is 1.5 where n is 1"),
    ("{cores: n2}", "trial.cores: 'n2' uses 'n2', which is not in the space; did you mean 'n'?"),
    ("{cores: n * gpus}", "trial.cores: 'n * gpus' uses 'gpus', which is not in the space; known are "
     "n, wide, m, lr, kind"),
    ("{gpus: 1.5}", "trial.gpus: must be a whole number of at least 0, or a fraction below 1, but is 1.5"),
    ("{gpus: -1}", "trial.gpus: must be a whole number of at least 0, or a fraction below 1, but is -1"),
    ("{cores: kind}", "trial.cores: 'kind' is 'a', which is no number where kind is a"),
    ("{cores: n == 2}", "trial.cores: 'n == 2' is false, which is no number where n is 1"),
    ("{cores: n +}", "trial.cores: 'n +' is not an expression: invalid syntax"),
    ("{cores: open(n)}", "trial.cores: 'open(n)' may not call 'open'; only min, max, abs, round, len, log, log2, "
     "log10, exp, sqrt"),
    ("{memory: n}", "trial.memory: 'n' must be at least 1MB, but is 1; a number without a unit counts bytes where n "
     "is 1"),
    ("{memory: lots}", "trial.memory: must be a size, as in 512MB, 2GB or 2GiB, but is 'lots'"),
    ('{memory: "1GB * n", isolate: false}', "trial.memory: needs isolate: true; an objective in the worker's own "
     "process cannot be limited"),
]  # fmt: skip


@pytest.mark.parametrize(("trial", "words"), WRONG)
def test_a_mistake_is_said_with_its_line_and_key(trial: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, trial)
    assert str(caught.value) == f"{tmp_path}/study.yaml:5: {words}"


def test_an_expression_needs_a_space(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study.yaml:5: trial.gpus: is an expression of parameters, which needs a"):
        load(tmp_path, '{gpus: "2 * n"}', space="")
