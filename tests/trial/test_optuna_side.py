"""What code for Optuna's Trial finds in an objective's trial: study, storage, attributes, constraints, copies."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import optuna.terminator
import pytest

import pilotune
from pilotune.pipeline.campaign.campaign_study import CampaignStudy
from pilotune.pipeline.campaign.study_queries import answer_query
from pilotune.pipeline.record import RecordStorage
from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial
from pilotune.pipeline.trial.optuna_side import _unpickled
from pilotune.pipeline.trial.protocol import MESSAGE_LIMIT, Query
from pilotune.pipeline.trial.study import REFUSED, TrialStorage, TrialStudy


class Answers(OfflineConnection):
    """Answers from a real study, as a campaign does, through JSON."""

    bound_to_process = True
    alone = False

    def __init__(self, study: optuna.Study, storage: RecordStorage, own: int):
        super().__init__()
        self.study = CampaignStudy(study, storage, None, "c")
        self.trial = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, own)
        self.asked: list[str] = []

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        self.asked.append(what)
        query = Query.from_json(json.dumps(Query("0.1.c", 1, what, arguments).to_dict()))
        return json.loads(json.dumps(answer_query(self.study, query)))

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        setter = self.study.storage.set_trial_system_attr if system else self.study.storage.set_trial_user_attr
        setter(self.trial, key, value)


def running_in(study: optuna.Study) -> tuple[pilotune.Trial, Answers]:
    """A trial of ``study`` that runs, as its objective sees it, and its connection."""
    number = study.ask().number
    connection = Answers(study, study._storage, number)
    words = [direction.name.lower() for direction in study.directions]
    spec = {"study": study.study_name, "number": number, "directions": words, "n_values": len(words)}
    return offline_trial({"x": 0.5}, connection=connection, **spec), connection


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    made = optuna.create_study(storage=storage, study_name="s", sampler=optuna.samplers.RandomSampler(seed=0))
    made.optimize(objective, n_trials=7, catch=ValueError)
    made.set_user_attr("team", "a")
    made.set_user_attr("pilotune:study", {"space": {}})
    return made


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    trial.suggest_categorical("kind", [1, 1.5, "one", None, True])
    trial.set_user_attr("note", [x])
    trial.set_user_attr("pilotune:host", "node1")
    trial.storage.set_trial_system_attr(trial._trial_id, "code", 7)
    trial.set_constraint("c", -1.0 if trial.number != 2 else 1.0)
    for step in range(trial.number % 3):
        trial.report(float("nan") if step else x, step)
    if trial.number == 4:
        raise optuna.TrialPruned
    if trial.number == 5:
        raise ValueError
    return -100.0 if trial.number == 2 else x


# -- the study and its storage ----------------------------------------------------------------------------------------


def test_the_studys_trials_are_optunas_own_but_for_pilotunes_attributes(study) -> None:
    trial, _ = running_in(study)
    theirs = study.trials
    for ours, real in zip(trial.study.trials, theirs, strict=True):
        assert isinstance(ours, optuna.trial.FrozenTrial)
        assert (ours.number, ours.state, ours.values) == (real.number, real.state, real.values)
        assert (ours.params, ours.distributions) == (real.params, real.distributions)
        assert [type(value) for value in ours.params.values()] == [type(value) for value in real.params.values()]
        assert repr(ours.intermediate_values) == repr(real.intermediate_values)
        assert (ours.datetime_start, ours.datetime_complete) == (real.datetime_start, real.datetime_complete)
        assert ours.user_attrs == {k: v for k, v in real.user_attrs.items() if k != "pilotune:host"}
        assert (ours.system_attrs, ours.constraints) == (real.system_attrs, real.constraints)
    complete = trial.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    assert [each.number for each in complete] == [0, 1, 2, 3, 6]


def test_the_best_trial_breaks_no_constraint(study) -> None:
    trial, connection = running_in(study)
    assert trial.study.best_trial.number == study.best_trial.number != 2
    assert (trial.study.best_value, trial.study.best_params) == (study.best_value, study.best_params)
    assert [each.number for each in trial.study.best_trials] == [study.best_trial.number]
    assert set(connection.asked) == {"best_trials"}


def test_a_study_of_several_directions_has_a_front_and_no_single_best(tmp_path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=storage, study_name="m", directions=["minimize", "maximize"])
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=12)
    trial, _ = running_in(study)
    assert trial.study.directions == study.directions
    assert trial.study._is_multi_objective()
    assert [t.number for t in trial.study.best_trials] == sorted(t.number for t in study.best_trials)
    for name in ("direction", "best_trial", "best_value", "best_params"):
        with pytest.raises(RuntimeError, match="several directions"):
            getattr(trial.study, name)


def test_without_a_complete_trial_there_is_no_best_value(tmp_path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db")
    trial, _ = running_in(optuna.create_study(storage=storage, study_name="s"))
    with pytest.raises(ValueError, match="no trial is complete yet"):
        trial.study.best_value  # noqa: B018
    assert (trial.study.best_trials, [each.state.name for each in trial.study.trials]) == ([], ["RUNNING"])


def test_a_large_study_is_read_in_pages(study, monkeypatch) -> None:
    monkeypatch.setattr("pilotune.pipeline.campaign.study_queries.PAGE_TRIALS", 3)
    trial, connection = running_in(study)
    assert [each.number for each in trial.study.trials] == list(range(8))
    assert connection.asked == ["trials"] * 3
    monkeypatch.setattr("pilotune.pipeline.campaign.study_queries.PAGE_SIZE", 10)
    assert len(trial.study.trials) == 8
    assert connection.asked == ["trials"] * (3 + 8)


def test_very_large_attributes_are_left_out_of_answers(study) -> None:
    study.enqueue_trial({}, user_attrs={"huge": "x" * 200_000, "small": 1, "list": [1] * 60_000})
    trial, _ = running_in(study)
    assert trial.study.trials[7].user_attrs == {"small": 1}


def test_attributes_of_the_study_are_read_and_written(study) -> None:
    trial, _ = running_in(study)
    assert trial.study.user_attrs == {"team": "a"}
    trial.study.set_user_attr("rows", np.int64(150))
    trial.study.set_system_attr("seen", {"by": [trial.number]})
    assert trial.study.user_attrs == {"team": "a", "rows": 150}
    assert (study.user_attrs["rows"], trial.study.system_attrs) == (150, {"seen": {"by": [7]}})
    with pytest.raises(ValueError, match="Pilotune's own"):
        trial.study.set_user_attr("pilotune:study", {})
    with pytest.raises(ValueError, match="characters are too many"):
        trial.study.set_user_attr("large", "x" * MESSAGE_LIMIT)


def test_a_configuration_is_enqueued_with_its_attributes(study) -> None:
    trial, _ = running_in(study)
    trial.study.enqueue_trial({"x": 0.25}, user_attrs={"memo": "good", "pilotune:exit": "no"})
    trial.study.enqueue_trial({"x": 0.25}, skip_if_exists=True)
    trial.study.enqueue_trial({"x": 0.250001}, skip_if_exists=True)
    waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert [(each.system_attrs["fixed_params"], each.user_attrs) for each in waiting] == [
        ({"x": 0.25}, {"memo": "good"}),
        ({"x": 0.250001}, {}),
    ]
    with pytest.raises(TypeError, match="JSON"):
        trial.study.enqueue_trial({"x": object()})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_only_the_driver_can_do_is_refused_in_a_sentence(study, name) -> None:
    trial, _ = running_in(study)
    with pytest.raises(AttributeError, match=f"`{name}`.*{REFUSED[name][:20]}"):
        getattr(trial.study, name)
    with pytest.raises(AttributeError, match="only the driver creates and ends trials"):
        trial.storage.create_new_trial(0)


def test_the_storage_reads_the_study_and_changes_its_own_trial(study) -> None:
    trial, connection = running_in(study)
    storage, number, study_id = trial.storage, trial._trial_id, trial.study._study_id
    storage.set_trial_user_attr(number, "a", 1)
    storage.set_trial_system_attr(number, "b", np.array([0.5, 1.5]))
    storage.set_trial_intermediate_value(number, 0, 0.25)
    assert connection.reports == [(0, 0.25)]
    assert (trial.user_attrs, trial.system_attrs) == ({"a": 1}, {"b": [0.5, 1.5]})
    assert storage.get_trial_user_attrs(number) == {"a": 1}
    assert storage.get_trial_system_attrs(number) == {"b": [0.5, 1.5]}
    assert (storage.get_trial_system_attrs(0)["code"], storage.get_trial_params(0)) == (7, study.trials[0].params)
    assert storage.get_trial(number).user_attrs == {"a": 1}
    assert (storage.get_n_trials(study_id), len(storage.get_all_trials(study_id))) == (8, 8)
    assert storage.get_n_trials(study_id, optuna.trial.TrialState.COMPLETE) == 5
    assert storage.get_study_directions(study_id) == study.directions
    assert storage.get_study_id_from_name(storage.get_study_name_from_id(study_id)) == study_id
    assert storage.get_study_user_attrs(study_id) == {"team": "a"}
    with pytest.raises(KeyError):
        storage.get_trial(99)
    with pytest.raises(KeyError):
        storage.get_study_id_from_name("other")
    with pytest.raises(RuntimeError, match="its own trial only"):
        storage.set_trial_user_attr(0, "a", 1)


# -- Optuna's own functions -------------------------------------------------------------------------------------------


def test_optuna_takes_the_trial_the_study_and_the_storage_for_its_own(study) -> None:
    trial, _ = running_in(study)
    assert isinstance(trial, optuna.trial.BaseTrial)
    assert isinstance(trial, optuna.trial.Trial)
    assert isinstance(trial, pilotune.Trial)
    assert not isinstance(trial, optuna.trial.FrozenTrial)
    assert isinstance(trial.study, optuna.Study)
    assert isinstance(trial.study, TrialStudy)
    assert isinstance(trial.storage, optuna.storages.BaseStorage)
    assert isinstance(trial.storage, TrialStorage)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_cross_validation_scores_of_any_type_reach_the_terminators_attribute(study) -> None:
    trial, _ = running_in(study)
    optuna.terminator.report_cross_validation_scores(trial, np.array([0.5, 0.75]))  # type: ignore[arg-type]
    evaluator = optuna.terminator.CrossValidationErrorEvaluator()
    study.tell(study.trials[7].number, -50.0)
    assert evaluator.evaluate(study.trials[7:], study.direction) == pytest.approx(0.125 * (1 / 2 + 1) ** 0.5)


def test_artifacts_of_trials_and_of_the_study_are_uploaded_and_listed(study, tmp_path) -> None:
    trial, _ = running_in(study)
    store = optuna.artifacts.FileSystemArtifactStore(base_path=tmp_path)
    model = tmp_path / "model.txt"
    model.write_text("weights")
    of_trial = optuna.artifacts.upload_artifact(artifact_store=store, file_path=str(model), study_or_trial=trial)  # type: ignore[arg-type]
    of_study = optuna.artifacts.upload_artifact(artifact_store=store, file_path=str(model), study_or_trial=trial.study)  # type: ignore[arg-type]
    for owner, real, artifact in ((trial, study.trials[7], of_trial), (trial.study, study, of_study)):
        assert [meta.artifact_id for meta in optuna.artifacts.get_all_artifact_meta(owner)] == [artifact]  # type: ignore[arg-type]
        found = optuna.artifacts.get_all_artifact_meta(real, storage=study._storage)
        assert [(meta.artifact_id, meta.filename) for meta in found] == [(artifact, "model.txt")]


def test_functions_of_optuna_that_read_a_study_read_this_one(study) -> None:
    trial, _ = running_in(study)
    frame = trial.study.trials_dataframe()
    assert list(frame["number"]) == list(range(8))
    importance = optuna.importance.get_param_importances(trial.study)  # type: ignore[arg-type]
    assert set(importance) == {"x", "kind"}


def test_libraries_suggest_by_distribution_objects() -> None:
    space = {"x": optuna.distributions.FloatDistribution(0, 1), "c": optuna.distributions.CategoricalDistribution("ab")}
    trial = offline_trial(connection=OfflineConnection(values={"x": 0.5, "c": "b"}))
    assert {name: trial._suggest(name, each) for name, each in space.items()} == {"x": 0.5, "c": "b"} == trial.params
    assert trial.distributions == space
    with pytest.raises(TypeError, match="but this is of the type int"):
        trial._suggest("y", 3)


def test_choices_that_are_lists_are_lists_in_other_trials_too(tmp_path) -> None:
    storage = RecordStorage(f"sqlite:///{tmp_path}/study.db", autocommit=False)
    study = optuna.create_study(storage=storage, study_name="s")
    first = study.ask({"sizes": optuna.distributions.CategoricalDistribution(["[16, 8]", "[2, 2, 2]"])})
    study.tell(first, 1.0)
    number = study.ask().number
    connection = Answers(study, storage, number)
    connection.suggest = lambda name, form: "[2, 2, 2]"  # type: ignore[method-assign]
    trial = offline_trial({}, connection=connection, number=number, study="s", defines_space=True)
    sizes = [[16, 8], [2, 2, 2]]
    assert trial.suggest_categorical("sizes", sizes) is sizes[1]
    trial.study.enqueue_trial({"sizes": [16, 8]}, user_attrs={"rows": np.int64(3)})
    waiting = study.get_trials(states=(optuna.trial.TrialState.WAITING,))[0]
    assert (waiting.system_attrs["fixed_params"], waiting.user_attrs) == ({"sizes": "[16, 8]"}, {"rows": 3})
    assert trial.study.best_params == trial.study.trials[0].params == {"sizes": json.loads(first.params["sizes"])}


# -- constraints ------------------------------------------------------------------------------------------------------


def test_constraints_are_optunas_attributes(study) -> None:
    trial, _ = running_in(study)
    trial.set_constraint("memory", np.float32(0.5))
    with pytest.warns(UserWarning, match="was set before"):
        trial.set_constraint("memory", -1.0)
    assert trial.constraints == study.trials[7].constraints == {"memory": 0.5}
    with pytest.raises(TypeError, match="needs a number"):
        trial.set_constraint("other", "much")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NaN"):
        trial.set_constraint("other", float("nan"))


@pytest.mark.parametrize("key", ["fixed_params", "pilotune:attempt", "tpe:relative_params:0", "completed_rung_0"])
def test_what_campaigns_and_samplers_steer_by_is_not_an_objectives_to_set(study, key) -> None:
    trial, _ = running_in(study)
    with pytest.warns(UserWarning, match=f"'{key}' is not kept"):
        trial.storage.set_trial_system_attr(trial._trial_id, key, {"x": 0.5})
    assert trial.system_attrs == {}
    assert key not in study.trials[7].system_attrs


# -- attributes of earlier attempts -----------------------------------------------------------------------------------


def test_attributes_of_earlier_attempts_are_asked_for_when_they_are_read(study) -> None:
    number = study.ask().number
    connection = Answers(study, study._storage, number)
    study._storage.set_trial_user_attr(connection.trial, "epochs", 3)
    trial = offline_trial({}, connection=connection, number=number, attempt=2, has_attrs=True)
    trial.set_user_attr("more", 1)
    assert connection.asked == []
    assert (trial.user_attrs, trial.user_attrs) == ({"epochs": 3, "more": 1},) * 2
    assert connection.asked == ["trial"]


# -- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_is_the_trial_itself(study) -> None:
    trial, _ = running_in(study)
    for each in (trial, trial.study, trial.storage):
        assert copy.copy(each) is copy.deepcopy(each) is pickle.loads(pickle.dumps(each)) is each
    assert copy.deepcopy({"callback": [trial]})["callback"][0] is trial


def read_elsewhere(trial: pilotune.Trial) -> tuple[Any, ...]:
    refusals = []
    for refused in (
        lambda: trial.report(0.5, 1),
        lambda: trial.set_user_attr("a", 2),
        lambda: trial.study.trials,
        lambda: trial.storage.get_n_trials(0),
    ):
        try:
            refused()
        except RuntimeError as error:
            refusals.append(str(error))
    return trial.number, trial.params, trial.user_attrs, trial.study.direction.name, refusals


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_copy_in_another_process_keeps_what_is_known_and_refuses_the_rest(study, method) -> None:
    trial, _ = running_in(study)
    trial.set_user_attr("a", 1)
    context = get_context(method)
    with context.Pool(1) as pool:
        *known, refusals = pool.apply(read_elsewhere, (trial,))
    assert known == [7, {"x": 0.5}, {"a": 1}, "MINIMIZE"]
    assert len(refusals) == 4
    assert all("trial 7 is in another process and cannot" in each for each in refusals)


def test_a_process_that_has_the_same_number_of_an_object_does_not_take_it_for_the_trial(study) -> None:
    trial, _ = running_in(study)
    restore, (kind, process, identity, known) = trial.__reduce__()
    assert restore is _unpickled
    assert restore(kind, process, identity, known) is trial
    assert restore(kind, process + 1, identity, known) is not trial


def used_elsewhere(trial: pilotune.FixedTrial) -> tuple[Any, ...]:
    trial.report(trial.suggest_float("lr", 0, 1), 1)
    trial.set_user_attr("a", 2)
    study = trial.study
    numbers = [each.number for each in study.trials]
    return trial.reports, trial.user_attrs, study.direction.name, numbers, trial.checkpoint_dir.exists()


def test_a_fixed_trial_works_in_another_process_too() -> None:
    trial = pilotune.FixedTrial({"lr": 0.5}, directions=["maximize"])
    assert trial.checkpoint_dir.exists()
    with get_context("spawn").Pool(1) as pool:
        found = pool.apply(used_elsewhere, (trial,))
    assert found == ([(1, 0.5)], {"a": 2}, "MAXIMIZE", [0], True)
    with pytest.raises(ValueError, match="no trial is complete yet"):
        trial.study.best_value  # noqa: B018


def test_a_trial_without_a_study_finds_itself_in_it() -> None:
    trial = pilotune.FixedTrial({"lr": 0.5, "sizes": [16, 8], "epochs": 3}, number=4)
    trial.suggest_float("lr", 0, 1)
    trial.suggest_categorical("sizes", [[2, 2], [16, 8]])
    trial.report(0.25, 1)
    trial.set_user_attr("a", 1)
    trial.set_constraint("c", 1.0)
    for found in (*trial.study.trials, trial.storage.get_trial(4)):
        assert (found.number, found.state.name, found.params) == (4, "RUNNING", {"lr": 0.5, "sizes": [16, 8]})
        assert (found.intermediate_values, found.user_attrs, found.constraints) == ({1: 0.25}, {"a": 1}, {"c": 1.0})
        assert found.distributions["lr"] == optuna.distributions.FloatDistribution(0, 1)
    complete = (optuna.trial.TrialState.COMPLETE,)
    assert (trial.study.get_trials(states=complete), trial.storage.get_n_trials(0)) == ([], 1)
    assert trial.storage.get_n_trials(0, complete[0]) == 0
    with pytest.raises(KeyError):
        trial.storage.get_trial(0)


# -- without Optuna ---------------------------------------------------------------------------------------------------

PLAIN = """
import sys
from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial

record = {"number": 0, "state": "COMPLETE", "values": [0.5], "params": {"x": 1}, "forms": {"x": 0},
          "reports": [[3, 0.25]],
          "user_attrs": {"a": 1}, "system_attrs": {}, "start": "2026-01-01T00:00:00", "end": "2026-01-01T00:01:00"}
class Connection(OfflineConnection):
    alone = False
    def ask(self, what, arguments):
        return {"trials": [record], "forms": ["{}"], "more": False}

trial = offline_trial({"x": 1}, connection=Connection())
(found,) = trial.study.trials
assert (found.value, found.params, found.user_attrs, found.state.name) == (0.5, {"x": 1}, {"a": 1}, "COMPLETE")
assert (found.state.is_finished(), found.last_step, found.duration.total_seconds()) == (True, 3, 60.0)
assert (trial.study.direction.name, trial.study.best_value) == ("MINIMIZE", 0.5)
trial.set_constraint("c", 1)
assert isinstance(trial, object) and trial.__class__.__name__ == "Trial"
try:
    trial.study.trials_dataframe()
except RuntimeError as error:
    assert "import optuna" in str(error)
assert not {"optuna", "numpy"} & set(sys.modules)
"""


def test_an_objective_without_optuna_has_the_same_in_plain_classes() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
