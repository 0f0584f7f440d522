"""Opening a study by its study file, refusing a different one with its name, and copying trials of other studies."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from pilotune import __version__
from pilotune.errors import StudyMismatch, UserError
from pilotune.pipeline.attributes import DEFINITION, VERSION
from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.record import learn_from, open_storage, open_study
from pilotune.pipeline.space import Parameter, Space

LR = Parameter("lr", FloatDistribution(1e-5, 0.1, log=True))
KIND = Parameter("kind", CategoricalDistribution(("sgd", "adam")))
MOMENTUM = Parameter("momentum", FloatDistribution(0.0, 0.9), {"kind": ("sgd",)})
SPACE = Space((LR, KIND, MOMENTUM), {"epochs": 27}, (Constraint("lr * epochs <= 2"),))


def study_file(name="digits", space=SPACE, directions=("maximize",), metrics=()):
    return SimpleNamespace(name=name, space=space, directions=directions, metrics=metrics, path=Path("study.yaml"))


def opened(storage, **changes):
    return open_study(storage, study_file(**changes), sampler=optuna.samplers.RandomSampler(0), pruner=None)


def definition_of(study):
    """The definition that Pilotune keeps with the study."""
    return study._storage.get_study_system_attrs(study._study_id)[DEFINITION]


def complete(study, params, values=(0.5,)):
    """Add a complete trial with these parameters."""
    study.enqueue_trial(params)
    trial = study.ask()
    study_space = Space((LR, KIND, MOMENTUM))
    study_space.suggest(trial)
    study.tell(trial, list(values))


@pytest.fixture
def storage(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    yield storage
    storage.close()


def test_a_new_study_is_created_and_the_same_file_opens_it_again(storage):
    made = opened(storage, directions=("minimize", "maximize"), metrics=("loss", "accuracy"))
    again = opened(open_storage(storage.url), directions=("minimize", "maximize"), metrics=("loss", "accuracy"))
    assert again._study_id == made._study_id
    assert again.metric_names == ["loss", "accuracy"]
    assert [direction.name for direction in again.directions] == ["MINIMIZE", "MAXIMIZE"]


def test_the_only_attribute_that_dashboards_show_is_short(storage):
    study = opened(storage)
    assert study.user_attrs == {VERSION: __version__}
    seen = optuna.load_study(study_name="digits", storage=storage.url)
    assert seen.user_attrs == {VERSION: __version__}
    assert set(definition_of(seen)["space"]["parameters"]) == {"lr", "kind", "momentum"}


def test_the_definition_of_an_earlier_version_is_compared_and_moved(storage):
    """That version kept the definition in a user attribute, and none of it elsewhere."""
    definition = definition_of(opened(storage))
    for other in ("old", "changed"):
        plain = optuna.create_study(study_name=other, storage=storage.url, direction="maximize")
        plain.set_user_attr(DEFINITION, definition)
    changed = Space((LR, KIND, MOMENTUM), {"epochs": 9})
    with pytest.raises(StudyMismatch, match="epochs: constant 27 in the database, constant 9 in the study file"):
        opened(open_storage(storage.url), name="changed", space=changed)
    assert optuna.load_study(study_name="changed", storage=storage.url).user_attrs == {DEFINITION: definition}
    for _ in range(2):
        study = opened(open_storage(storage.url), name="old")
        assert (study.user_attrs, definition_of(study)) == ({}, definition)
        seen = optuna.load_study(study_name="old", storage=storage.url)
        assert (seen.user_attrs, definition_of(seen)) == ({}, definition)


def test_a_driver_of_an_earlier_version_may_come_in_between(storage):
    """It finds no definition in a user attribute, so it writes its own; the study keeps what it was created with."""
    definition = definition_of(opened(storage))
    optuna.load_study(study_name="digits", storage=storage.url).set_user_attr(DEFINITION, {"space": None})
    study = opened(open_storage(storage.url))
    assert (study.user_attrs, definition_of(study)) == ({VERSION: __version__}, definition)


def test_the_definition_is_moved_while_the_old_driver_works(storage):
    """The old driver holds a lease, and writes the study's attributes from its own memory."""
    definition = definition_of(opened(storage))
    storage.set_study_user_attr(storage.get_study_id_from_name("digits"), DEFINITION, definition)
    storage.commit()
    new = open_storage(storage.url)
    opened(new)
    study_id = storage.get_study_id_from_name("digits")
    storage.set_study_system_attr(study_id, "pilotune:campaign:old", {"state": "running"})
    storage.commit()
    new.sync()
    assert DEFINITION not in new.get_study_user_attrs(study_id)
    assert DEFINITION not in optuna.load_study(study_name="digits", storage=storage.url).user_attrs


def test_another_space_under_the_name_is_refused_with_both_shown(storage):
    opened(storage)
    other = Space((Parameter("lr", FloatDistribution(1e-4, 0.1, log=True)), KIND, MOMENTUM), {"epochs": 9})
    with pytest.raises(StudyMismatch) as error:
        opened(storage, space=other)
    text = str(error.value)
    assert error.value.exit_code == 2
    assert "the search space of 'digits' changed after it ran: " in text
    for part in ("study.yaml", "lr", "1e-05", "0.0001", "epochs", "27", "9", "Undo the change", "--new-name"):
        assert part in text


def test_other_directions_under_the_name_are_refused_with_both_shown(storage):
    opened(storage)
    with pytest.raises(
        StudyMismatch, match=r"direction maximize in the database, directions .minimize, minimize. in the"
    ):
        opened(storage, directions=("minimize", "minimize"))


def test_a_study_without_space_is_not_opened_with_one(storage):
    opened(storage, space=None)
    with pytest.raises(StudyMismatch, match="defined by the objective as it runs in the database, given by `space`"):
        opened(storage)
    opened(storage, space=None)


def test_a_study_of_plain_optuna_is_opened_when_it_is_compatible(storage):
    study = optuna.create_study(storage=storage, study_name="digits", direction="maximize")
    complete(study, {"lr": 0.01, "kind": "adam"})
    assert len(opened(storage).trials) == 1
    clash = optuna.create_study(storage=storage, study_name="clash", direction="maximize")
    clash.tell(clash.ask({"kind": CategoricalDistribution(("a", "b"))}), 0.5)
    with pytest.raises(StudyMismatch, match=r"kind: .*a, b.* in the database"):
        opened(storage, name="clash")


def test_complete_trials_of_another_study_are_copied_once_outside_the_budget(storage):
    old = opened(storage, name="old")
    complete(old, {"lr": 0.01, "kind": "sgd", "momentum": 0.5}, [0.75])
    complete(old, {"lr": 0.02, "kind": "adam"}, [0.5])
    old.tell(old.ask(), state=optuna.trial.TrialState.FAIL)
    study = opened(storage, name="new")
    assert learn_from(storage, study, ["old"], SPACE) == 2
    assert learn_from(storage, study, ["old"], SPACE) == 0
    assert storage.counted(study._study_id) == 0
    assert [(t.value, t.params, t.user_attrs) for t in study.trials] == [
        (0.75, {"lr": 0.01, "kind": "sgd", "momentum": 0.5}, {"pilotune:from": "old#0"}),
        (0.5, {"lr": 0.02, "kind": "adam"}, {"pilotune:from": "old#1"}),
    ]
    trial = study.ask()
    assert storage.commit(limit=1).refused == ()
    assert trial.number == 2
    plain = optuna.load_study(study_name="new", storage=storage.url)
    assert [t.datetime_complete for t in plain.trials[:2]] == [t.datetime_complete for t in old.trials[:2]]


def test_trials_outside_the_space_are_not_copied(storage):
    old = optuna.create_study(storage=storage, study_name="old", direction="maximize")
    complete(old, {"lr": 0.01, "kind": "adam"})  # fits
    complete(old, {"lr": 0.09, "kind": "adam"})  # breaks the constraint
    extra = old.ask({"lr": LR.distribution, "kind": KIND.distribution, "width": FloatDistribution(0, 1)})
    old.tell(extra, 0.5)  # a parameter too many
    old.tell(old.ask({"kind": KIND.distribution}), 0.5)  # one too few
    study = opened(storage, name="new")
    assert learn_from(storage, study, ["old"], SPACE) == 1


def test_without_a_space_compatible_trials_are_copied(storage):
    old = optuna.create_study(storage=storage, study_name="old", direction="maximize")
    complete(old, {"lr": 0.01, "kind": "adam"})
    study = opened(storage, name="new", space=None)
    assert learn_from(storage, study, ["old"]) == 1


def test_unknown_or_incompatible_studies_to_learn_from_are_refused(storage):
    study = opened(storage)
    opened(storage, name="other", directions=("minimize",))
    with pytest.raises(UserError, match="no study 'old' in the database; it has: digits, other"):
        learn_from(storage, study, ["old"])
    with pytest.raises(UserError, match="other directions"):
        learn_from(storage, study, ["other"])
    with pytest.raises(UserError, match="itself"):
        learn_from(storage, study, ["digits"])
