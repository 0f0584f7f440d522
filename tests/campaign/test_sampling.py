"""The campaign asks and tells in fewer steps than Optuna does, with identical results."""

from __future__ import annotations

import contextlib
import random
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.incumbent import Incumbent
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.space import Parameter, Space

SPACE = Space(
    parameters=(
        Parameter("lr", FloatDistribution(1e-5, 1e-1, log=True)),
        Parameter("drop", FloatDistribution(0.0, 0.75, step=0.25)),
        Parameter("units", IntDistribution(16, 512, step=16)),
        Parameter("batch", IntDistribution(1, 64, log=True)),
        Parameter("kind", CategoricalDistribution(("a", "b", None, 2, True))),
        Parameter("only", IntDistribution(3, 3)),
        Parameter("of_b", FloatDistribution(-1.0, 1.0), {"kind": ("b", None)}),
    ),
    constants={"epochs": 9},
)
GRID = {
    "lr": [1e-4, 1e-2], "drop": [0.0, 0.5], "units": [32], "batch": [2], "kind": ["a", "b"], "only": [3], "of_b": [0.5],
}  # fmt: skip
POINTS = ({"lr": 1e-3, "units": 32.0}, {"kind": "b", "of_b": 0.25}, {"kind": True, "drop": 0.5, "batch": 7})

SAMPLERS = {
    "random": lambda: optuna.samplers.RandomSampler(seed=1),
    "tpe": lambda: optuna.samplers.TPESampler(seed=1, n_startup_trials=4),
    "grouped tpe": lambda: optuna.samplers.TPESampler(seed=1, n_startup_trials=4, multivariate=True, group=True),
    "independent tpe": lambda: optuna.samplers.TPESampler(seed=1, n_startup_trials=4, multivariate=False),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=1, warn_independent_sampling=False),
    "nsgaii": lambda: optuna.samplers.NSGAIISampler(seed=1, population_size=4),
    "grid": lambda: optuna.samplers.GridSampler(GRID, seed=1),
    "partly fixed": lambda: optuna.samplers.PartialFixedSampler({"units": 64}, optuna.samplers.RandomSampler(seed=1)),
}
PRUNERS = {
    "none": optuna.pruners.NopPruner,
    "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3),
}
ENDS = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def history(study: optuna.Study) -> list[tuple]:
    return [
        (t.number, t.state, t.values, t.params, [type(v) for v in t.params.values()], t.distributions, t.system_attrs)
        for t in study.get_trials(deepcopy=False)
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trials_are_the_ones_that_optuna_itself_draws(tmp_path: Path, sampler: str, pruner: str) -> None:
    studies = []
    for name in ("ours", "theirs"):
        storage = RecordStorage(f"sqlite:///{tmp_path}/{name}.db", autocommit=False)
        options = {"sampler": SAMPLERS[sampler](), "pruner": PRUNERS[pruner]()}
        studies.append(optuna.create_study(storage=storage, study_name="s", **options))
        for point in POINTS if sampler != "grid" else ():
            studies[-1].enqueue_trial(point)
    ours, theirs = studies
    campaign_study = CampaignStudy(ours, ours._storage, SPACE, "c")
    running, rng = [], random.Random(2)
    for _ in range(24):
        asked = theirs.ask()
        theirs._storage.set_trial_system_attr(asked._trial_id, "pilotune:campaign", "c")
        drawn = SPACE.suggest(asked)
        mine, params = campaign_study.ask()
        assert params == drawn
        assert [type(value) for value in params.values()] == [type(value) for value in drawn.values()]
        running.append((mine, asked))
        if len(running) > 3:
            one, other = running.pop(rng.randrange(len(running)))
            state, value = rng.choice(ENDS), rng.random()
            for trial, study in ((one, ours), (other, theirs)):
                study._storage.set_trial_intermediate_value(trial._trial_id, 1, value)
            values = [value] if state == TrialState.COMPLETE else None
            campaign_study.tell(one, state, values)
            with contextlib.suppress(RuntimeError):  # raised at the end of a grid
                theirs.tell(other, values, state=state)
            if campaign_study.exhausted:
                break
    assert history(ours) == history(theirs)
    for state in (TrialState.RUNNING, *ENDS):
        assert campaign_study.counts[state] == ours._storage.get_n_trials(ours._study_id, state)


def test_an_enqueued_value_out_of_range_is_kept_with_a_warning(tmp_path: Path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(seed=1))
    study.enqueue_trial({"lr": 5.0})
    with pytest.warns(UserWarning, match="Fixed parameter lr with value 5.0 is out of range"):
        _, params = CampaignStudy(study, storage, SPACE, "c").ask()
    assert params["lr"] == 5.0


def test_attributes_that_no_database_can_hold_are_left_out_and_the_others_are_kept(tmp_path: Path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    campaign_study = CampaignStudy(optuna.create_study(storage=storage, study_name="s"), storage, SPACE, "c")
    trial, _ = campaign_study.ask()
    campaign_study.attributes.annotate(trial, {"good": 1, "n" * 5000: 2, "odd": object(), "text": "t"})
    assert storage.get_trial(trial._trial_id).user_attrs == {"good": 1, "text": "t"}


def best_of(study: optuna.Study) -> FrozenTrial | None:
    trials = study.best_trials
    return trials[0] if trials else None


@pytest.mark.parametrize("directions", [["minimize"], ["maximize"], ["minimize", "maximize"], ["minimize"] * 3])
@pytest.mark.parametrize("constrained", [False, True])
def test_the_incumbent_is_optunas_best_trial_after_every_trial(
    tmp_path: Path, directions: list[str], constrained: bool
) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=storage, study_name="s", directions=directions)
    best, rng = Incumbent(), random.Random(len(directions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            state = rng.choice(ENDS)
            values = [float(rng.randrange(6)) for _ in directions] if state == TrialState.COMPLETE else None
            limits = {"constraints": [rng.choice([-1.0, 0.0, 1.0])]} if constrained else {}
            trial = create_trial(state=state, values=values, system_attrs=limits)
            storage.create_new_trial(study._study_id, trial)
            if rng.random() < 0.7:
                found, expected = best.refresh(study), best_of(study)
                assert (found and found.number) == (expected and expected.number)
