"""Which sampler a study gets where its file leaves that to Pilotune."""

from __future__ import annotations

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.studyfile import load_study_file, plan, render_plan
from pilotune.pipeline.studyfile.keys import study_keys
from pilotune.pipeline.suggest.auto import MANY_PARAMETERS, MANY_TRIALS, RULES, Situation, choose_sampler
from pilotune.pipeline.suggest.registry import sampler_arguments, sampler_names

ONE, TWO = ("minimize",), ("minimize", "maximize")


@pytest.mark.parametrize(
    ("situation", "name"),
    [
        (Situation(3, ONE), "gp"),
        (Situation(3, ONE, MANY_TRIALS), "gp"),
        (Situation(3, ONE, MANY_TRIALS + 1), "tpe"),
        (Situation(MANY_PARAMETERS, ONE), "gp"),
        (Situation(MANY_PARAMETERS + 1, ONE), "tpe"),
        (Situation(3, TWO), "gp"),
        (Situation(3, (*TWO, *TWO)), "tpe"),
        (Situation(3, (*TWO, "minimize")), "gp"),
        (Situation(None, ONE), "gp"),
        (Situation(3, ONE, None, ("seed", "n_startup_trials")), "gp"),
        (Situation(3, ONE, None, ("seed", "parallel")), "tpe"),
        (Situation(3, ONE, None, ("seed", "unknown")), "gp"),
    ],
)
def test_the_first_rule_that_holds_decides(situation: Situation, name: str) -> None:
    assert choose_sampler(situation).name == name


def test_every_rule_names_a_sampler_and_the_last_holds_always() -> None:
    assert {choice.name for _, choice in RULES} <= set(sampler_names())
    assert all(choice.why for _, choice in RULES)
    assert RULES[-1][0](Situation(None, ()))


STUDY = """\
name: chosen
objective: branin
direction: minimize
space: {x: {float: [-5, 10]}, y: {float: [0, 15]}}
budget: {trials: 10}
"""


@pytest.mark.parametrize("line", ["", "sampler: auto\n", "sampler: Auto\n", "sampler: {}\n", "sampler: {name: auto}\n"])
def test_check_says_which_and_why(tmp_path, line: str) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + line)
    assert "sampler    gp, chosen for one direction" in render_plan(plan(load_study_file(tmp_path / "study.yaml")))


def test_the_arguments_are_those_of_the_sampler_that_is_chosen(tmp_path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + "sampler: {seed: 3, n_ei_candidates: 5}\n")
    study = load_study_file(tmp_path / "study.yaml")
    assert (study.sampler.name, dict(study.sampler.args)) == ("tpe", {"seed": 3, "n_ei_candidates": 5})
    (tmp_path / "study.yaml").write_text(STUDY + "sampler: {sed: 3}\n")
    with pytest.raises(UserError, match="gp has no argument 'sed'; did you mean 'seed'"):
        load_study_file(tmp_path / "study.yaml")


def test_a_named_sampler_is_not_explained(tmp_path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + "sampler: tpe\n")
    assert "sampler    tpe" in render_plan(plan(load_study_file(tmp_path / "study.yaml"))).splitlines()


def test_parameters_of_one_value_do_not_count(tmp_path) -> None:
    ranges = "".join(f"  x{i}: {{float: [0, 1]}}\n" for i in range(MANY_PARAMETERS))
    for more, name in (("  fixed: {float: [1, 1]}\n  constant: 3\n", "gp"), ("  y: {float: [0, 1]}\n", "tpe")):
        (tmp_path / "study.yaml").write_text(
            f"name: wide\nobjective: sphere\ndirection: minimize\nspace:\n{ranges}{more}budget: {{trials: 10}}\n"
        )
        assert load_study_file(tmp_path / "study.yaml").sampler.name == name


@pytest.mark.parametrize(
    ("study", "name"),
    [
        ({"space": {"x": {"float": [0, 1]}}}, "gp"),
        ({"sampler": "auto", "budget": {"trials": MANY_TRIALS + 1}}, "tpe"),
        ({"sampler": {"seed": 1, "n_ei_candidates": 3}}, "tpe"),
        ({"directions": ["minimize"] * 4, "budget": "none"}, "tpe"),
        ({"sampler": "random", "budget": {"trials": MANY_TRIALS + 1}}, "random"),
    ],
)
def test_completion_offers_the_arguments_of_the_sampler_that_the_study_gets(study: dict, name: str) -> None:
    offered = {key.removeprefix("sampler.") for key in study_keys(study) if key.startswith("sampler.")}
    assert offered == {"name", *sampler_arguments(name)}
