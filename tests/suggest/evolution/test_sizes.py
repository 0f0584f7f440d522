"""Sizes and probabilities: those that the budget calls for, which ``check`` prints, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file, plan, render_plan
from pilotune.pipeline.suggest.evolution import EvolutionSampler

STUDY = """\
name: aged
objective: branin
direction: minimize
space: {x: {float: [-5, 10]}, y: {float: [0, 15]}}
"""


def sampler_line(folder, sampler: str, budget: str) -> str:
    (folder / "study.yaml").write_text(f"{STUDY}sampler: {sampler}\nbudget: {budget}\n")
    lines = render_plan(plan(load_study_file(folder / "study.yaml"))).splitlines()
    return next(line for line in lines if line.startswith("sampler"))


@pytest.mark.parametrize(
    ("sampler", "budget", "args"),
    [
        ("ageing", "{trials: 10}", "population=16, sample=4"),
        ("ageing", "{trials: 200}", "population=40, sample=10"),
        ("ageing", "{trials: 5000}", "population=100, sample=10"),
        ("ageing", "{time: 1h}", "population=100, sample=10"),
        ("{name: ageing, population: 300}", "{trials: 5000}", "population=300, sample=30"),
        ("{name: regularized_evolution, sample: 2}", "{trials: 100}", "sample=2, population=20"),
    ],
)
def test_check_prints_the_sizes_that_the_budget_calls_for(tmp_path, sampler: str, budget: str, args: str) -> None:
    assert sampler_line(tmp_path, sampler, budget) == f"sampler    ageing ({args})"


def test_a_sample_that_is_larger_than_the_population_of_the_budget_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"sampler\.sample: must be at most the population, which is 16, but is 20"):
        sampler_line(tmp_path, "{name: ageing, sample: 20}", "{trials: 50}")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"population": 1}, "population must be at least 2, but is 1"),
        ({"sample": 0}, "sample must be at least 1, but is 0"),
        ({"offspring": 0, "barrier": True}, "offspring must be at least 1, but is 0"),
        ({"mutate": -0.5}, "mutate must be from 0 to 1, but is -0.5"),
        ({"mutate_child": 1.5}, "mutate_child must be from 0 to 1, but is 1.5"),
        ({"crossover": float("nan")}, "crossover must be from 0 to 1, but is nan"),
        ({"step": 0.0}, "step must be above 0, but is 0.0"),
        ({"population": 4, "sample": 5}, "sample must be at most the population, which is 4, but is 5"),
    ],
)
def test_what_makes_no_sense_is_refused_in_code_too(args: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionSampler(**args)
