"""Hyperband's brackets, and pruners by name: their arguments and errors."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from pilotune.errors import UserError
from pilotune.pipeline.fidelity import (
    ExtrapolationPruner,
    bracket_of,
    hyperband_brackets,
    make_pruner,
    pruner_arguments,
    pruner_name,
    pruner_names,
    render_brackets,
    rung_of,
)
from pilotune.pipeline.registry_args import Named


def study_file(name, **args):
    def error(message, key=""):
        return UserError(message, key=key)

    return SimpleNamespace(pruner=Named(name, args), folder=Path(), error=error)


SETTINGS = [(1, 27, 3), (1, 81, 3), (1, 243, 3), (2, 100, 4), (1, 1, 3), (5, 17, 2), (3, 1000, 5), (1, 16, 2)]


@pytest.mark.parametrize(("low", "high", "factor"), SETTINGS)
def test_brackets_are_those_of_optunas_pruner(low, high, factor):
    args = {"min_resource": low, "max_resource": high, "reduction_factor": factor}
    brackets = hyperband_brackets(args)
    study = optuna.create_study(study_name="s")
    pruner = optuna.pruners.HyperbandPruner(**args)
    pruner._try_initialization(study)
    assert len(brackets) == pruner._n_brackets
    assert [b.allocation for b in brackets] == pruner._trial_allocation_budgets
    assert sum(b.share for b in brackets) == pytest.approx(1)
    numbers = range(3000)
    ours = [bracket_of("s", n, brackets) for n in numbers]
    assert ours == [pruner._get_bracket_id(study, SimpleNamespace(number=n)) for n in numbers]
    for b in brackets:
        assert ours.count(b.id) / len(numbers) == pytest.approx(b.share, abs=0.04)


@pytest.mark.parametrize(("low", "high", "factor"), [(1, 27, 3), (2, 40, 4)])
def test_rungs_are_the_steps_below_the_last_at_which_optunas_pruner_prunes(low, high, factor):
    args = {"min_resource": low, "max_resource": high, "reduction_factor": factor}
    brackets = hyperband_brackets(args)
    study = optuna.create_study(study_name="rungs", pruner=optuna.pruners.HyperbandPruner(**args))
    attributes = study._storage.get_trial_system_attrs
    seen = set()
    for _ in range(40):
        trial = study.ask()
        bracket = brackets[bracket_of("rungs", trial.number, brackets)]
        judged = []
        for step in range(1, high + 1):
            known = len(attributes(trial._trial_id))
            trial.report(-trial.number, step)  # each is better than all before, so none is pruned
            assert not trial.should_prune()
            if len(attributes(trial._trial_id)) > known:
                judged.append(step)
                assert step == high or rung_of(step, bracket) == len(judged) - 1
        assert tuple(step for step in judged if step < high) == bracket.rungs
        study.tell(trial, -trial.number)
        seen.add(bracket.id)
    assert seen == {b.id for b in brackets}


def test_shares_of_1_to_81_by_3():
    brackets = hyperband_brackets({"max_resource": 81})
    assert [round(100 * b.share, 1) for b in brackets] == [56.6, 23.8, 10.5, 5.6, 3.5]
    assert brackets[-1].trials_until(10) == 286
    assert rung_of(0, brackets[0]) is None


def test_no_brackets_before_the_steps_are_known():
    assert hyperband_brackets({"max_resource": "auto"}) == []
    assert bracket_of("s", 7, []) == 0


def test_the_table_shows_shares_and_rungs():
    assert render_brackets(hyperband_brackets({"max_resource": 9}), trials=100).splitlines() == [
        "bracket  share of trials    can prune at steps  has 10 trials after about (total)",
        "0        52.9 % (about 53)  1, 3                19",
        "1        29.4 % (about 29)  3                   34",
        "2        17.6 % (about 18)  never               57",
    ]


@pytest.mark.parametrize(
    ("name", "args", "cls"),
    [
        ("hyperband", {"max_resource": 27}, optuna.pruners.HyperbandPruner),
        ("hyperband", {"max_resource": "auto"}, optuna.pruners.HyperbandPruner),
        ("median", {"n_warmup_steps": 3}, optuna.pruners.MedianPruner),
        ("percentile", {"percentile": 25}, optuna.pruners.PercentilePruner),
        ("successive_halving", {"min_resource": "auto"}, optuna.pruners.SuccessiveHalvingPruner),
        ("threshold", {"upper": 2.0}, optuna.pruners.ThresholdPruner),
        ("patient", {"patience": 3, "wrapped_pruner": {"name": "median"}}, optuna.pruners.PatientPruner),
        ("patient", {"patience": 3}, optuna.pruners.PatientPruner),
        ("wilcoxon", {"p_threshold": 0.05}, optuna.pruners.WilcoxonPruner),
        ("none", {}, optuna.pruners.NopPruner),
        ("extrapolation", {"max_resource": 27}, ExtrapolationPruner),
    ],
)
def test_every_pruner_can_be_named_without_a_warning(name, args, cls):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(make_pruner(study_file(name, **args)), cls)


def test_every_pruner_of_optuna_has_a_name():
    classes = {n for n in optuna.pruners.__all__ if n.endswith("Pruner") and n != "BasePruner"}
    assert {pruner_name(n) for n in classes} == set(pruner_names()) - {"extrapolation"}
    assert pruner_name("ASHA") == "successive_halving"
    assert "max_resource" in pruner_arguments("hyperband")


def test_without_a_pruner_nothing_is_pruned():
    assert isinstance(make_pruner(SimpleNamespace(pruner=None)), optuna.pruners.NopPruner)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("hyperband", {}, "pruner.max_resource: hyperband needs max_resource"),
        ("hyperband", {"max_resource": "all"}, "pruner.max_resource: must be a whole number or auto, but is 'all'"),
        ("hyperband", {"max_resource": 9, "max_resorce": 3}, "did you mean 'max_resource'"),
        ("hyperband", {"max_resource": "auto", "bootstrap_count": 2}, "cannot be given with max_resource: auto"),
        ("median", {"interval_steps": 0}, "pruner.interval_steps: must be at least 1, but is 0"),
        ("threshold", {"lower": float("nan")}, "pruner.lower: must be a finite number, but is nan"),
        ("threshold", {"upper": float("inf")}, "pruner.upper: must be a finite number, but is inf"),
        ("percentile", {"percentile": 101.0}, "pruner.percentile: must be from 0 to 100, but is 101.0"),
        ("patient", {"patience": 1, "min_delta": -0.1}, "pruner.min_delta: must be at least 0, but is -0.1"),
        ("wilcoxon", {"p_threshold": 7}, "pruner.p_threshold: must be from 0 to 1, but is 7"),
        (
            "patient",
            {"patience": 1, "wrapped_pruner": {"name": "threshold", "lower": float("inf")}},
            "pruner.wrapped_pruner.lower: must be a finite number, but is inf",
        ),
        ("median", {"n_warmup_steps": 1.5}, "pruner.n_warmup_steps: must be a whole number, but is 1.5"),
        ("extrapolation", {}, "pruner.max_resource: the pruner extrapolation needs this argument"),
        ("extrapolation", {"max_resource": 9, "threshold": 1}, "must be between 0 and 1, but is 1"),
        ("threshold", {}, "pruner: the pruner threshold needs lower, upper or both"),
        ("patient", {"patience": 1, "wrapped_pruner": "medan"}, "there is no pruner 'medan'; did you mean 'median'?"),
        ("patient", {"patience": 1, "wrapped_pruner": {"x": 1}}, "pruner.wrapped_pruner: must name a pruner"),
    ],
)
def test_a_bad_argument_is_a_sentence(name, args, message):
    with pytest.raises(UserError) as caught:
        make_pruner(study_file(name, **args))
    assert message in str(caught.value)


def test_a_package_adds_a_pruner_by_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "acme_pruning.py").write_text(
        "import optuna\n\n\n"
        "class AcmePruner(optuna.pruners.NopPruner):\n"
        "    def __init__(self, margin: float = 0.5) -> None:\n"
        "        self.margin = margin\n"
    )
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[pilotune.pruners]\nacme = acme_pruning:AcmePruner\nbroken = acme_pruning:Missing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pruner_name("AcmePruner") == "acme"
    assert pruner_arguments("acme") == ["margin"]
    assert make_pruner(study_file("acme", margin=0.25)).margin == 0.25
    with pytest.raises(UserError, match=r"pruner\.name: the pruner broken of the package acme 1\.0 cannot be imported"):
        make_pruner(study_file("broken"))
