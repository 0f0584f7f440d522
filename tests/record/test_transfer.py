"""What a study learns from earlier ones is kept in the study: once, and for every later driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from pilotune.errors import UserError
from pilotune.pipeline.attributes import EARLIER, LEARNED
from pilotune.pipeline.distributions import contains
from pilotune.pipeline.record import (
    RecordStorage,
    earlier_studies,
    in_its_space,
    keep_learned,
    learned,
    open_storage,
    open_study,
)
from pilotune.pipeline.space import Parameter, Space
from pilotune.pipeline.studyfile import StudyFile

KINDS: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 0.1, log=True),
    "kind": CategoricalDistribution(("sgd", "adam")),
}
SPACE = Space(tuple(Parameter(name, kind) for name, kind in KINDS.items()))


def file_of(
    name: str = "new", sampler: str = "gp", narrow: bool = False, studies: Any = ("old",), **changes: Any
) -> Any:
    """What of a study file decides on what is learned."""
    given: dict[str, Any] = {"space": SPACE, "directions": ("maximize",), **changes}
    start = SimpleNamespace(studies=studies, narrow=narrow, enqueue=())
    return SimpleNamespace(
        name=name, sampler=SimpleNamespace(name=sampler), start_from=start, metrics=(), path=Path("study.yaml"), **given
    )


def opened(storage: RecordStorage, file: Any) -> optuna.Study:
    return open_study(storage, file, sampler=optuna.samplers.RandomSampler(0), pruner=None)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[RecordStorage]:
    with_old = open_storage(f"sqlite:///{tmp_path}/s.db")
    old = opened(with_old, file_of("old"))
    for i in range(30):
        params = {"lr": 10 ** (-3 + (i / 15) * (-1) ** i), "kind": "sgd" if i % 2 else "adam"}
        old.add_trial(optuna.create_trial(params=params, distributions=KINDS, value=1000.0 - i))
    with_old.commit()
    yield with_old
    with_old.close()


def waiting(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.system_attrs["fixed_params"] for trial in study.trials]


def test_what_is_learned_is_kept_once_and_the_good_points_wait_first(storage: RecordStorage) -> None:
    study = opened(storage, file_of())
    assert keep_learned(storage, study, file_of()) == [
        "gp learns from 30 trials of 'old'; 4 points of 'old' will be tried first"
    ]
    (kept,) = earlier_studies(study)
    assert (kept.name, len(kept.params)) == ("old", 30)
    assert kept.params[0] == {"lr": pytest.approx(1e-3), "kind": "adam"}
    points = waiting(study)
    assert len(points) == 4
    assert keep_learned(storage, study, file_of()) == []
    assert waiting(study) == points


def test_a_resumed_study_needs_the_earlier_one_no_more(storage: RecordStorage) -> None:
    study = opened(storage, file_of(narrow=True))
    keep_learned(storage, study, file_of(narrow=True))
    before, searched = earlier_studies(study), in_its_space(file_like(), study)
    optuna.delete_study(study_name="old", storage=storage.url)
    with open_again(storage) as again:
        study = opened(again, file_of(narrow=True))
        assert keep_learned(again, study, file_of(narrow=True)) == []
        assert earlier_studies(study) == before
        assert in_its_space(file_like(), study) == searched


class open_again:
    """Another driver's view of the database."""

    def __init__(self, storage: RecordStorage) -> None:
        self._storage = open_storage(storage.url)

    def __enter__(self) -> RecordStorage:
        return self._storage

    def __exit__(self, *args: object) -> None:
        self._storage.close()


def file_like(tmp: Path = Path("study.yaml")) -> StudyFile:
    """A study file of which only the space counts."""
    fields = dict.fromkeys(StudyFile.__dataclass_fields__)
    return StudyFile(**{**fields, "space": SPACE, "path": tmp})  # type: ignore[arg-type]


def test_a_narrowed_space_is_said_and_is_smaller(storage: RecordStorage) -> None:
    study = opened(storage, file_of(narrow=True))
    study.enqueue_trial({"lr": 0.001})
    notes = keep_learned(storage, study, file_of(narrow=True))
    assert notes[-1].startswith("the space is narrowed to what was good before: lr is float [0.000")
    searched = in_its_space(file_like(), study).space
    assert searched is not None
    lr = searched.distributions["lr"]
    assert isinstance(lr, FloatDistribution)
    assert 1e-5 < lr.low < 1e-3 < lr.high < 0.1
    assert searched.distributions["kind"] == KINDS["kind"]
    # the definition is that of the study file, so that the file can still open the study
    opened(storage, file_of(narrow=True))


def test_a_study_that_has_trials_is_not_narrowed(storage: RecordStorage) -> None:
    study = opened(storage, file_of(narrow=True))
    study.add_trial(optuna.create_trial(params={"lr": 0.1, "kind": "sgd"}, distributions=KINDS, value=0.0))
    storage.commit()
    notes = keep_learned(storage, study, file_of(narrow=True))
    assert notes[-1] == "the study had trials before start_from.narrow was set, so its space stays as it is"
    assert in_its_space(file_like(), study).space == SPACE


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        (True, "no earlier trial fits"),
        (False, "the best earlier trials are spread over all of the space"),
    ],
)
def test_a_space_that_cannot_be_narrowed_is_said(storage: RecordStorage, failed: bool, why: str) -> None:
    earlier = opened(storage, file_of("earlier"))
    state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
    for lr, kind in ((1e-5, "sgd"), (0.1, "adam")) * 10:
        params = {"lr": lr, "kind": kind}
        value = None if failed else 1.0
        earlier.add_trial(optuna.create_trial(state=state, params=params, distributions=KINDS, value=value))
    storage.commit()
    file = file_of(narrow=True, studies=("earlier",))
    study = opened(storage, file)
    assert keep_learned(storage, study, file)[-1] == f"start_from.narrow leaves the space as it is: {why}"


@pytest.mark.parametrize(("sampler", "said"), [
    ("random", "random does not learn from other studies; 4 points of 'old' will be tried first"),
    ("grid", "grid does not learn from other studies"),
])  # fmt: skip
def test_samplers_without_a_model_try_the_good_points_or_none(storage: RecordStorage, sampler: str, said: str) -> None:
    study = opened(storage, file_of(sampler=sampler))
    assert keep_learned(storage, study, file_of(sampler=sampler)) == [said]
    assert len(waiting(study)) == (4 if "4" in said else 0)


def test_misfits_are_said_and_a_study_that_does_not_fit_teaches_nothing(storage: RecordStorage) -> None:
    other = Space((Parameter("width", FloatDistribution(0.0, 1.0)),))
    study = opened(storage, file_of(space=other))
    assert keep_learned(storage, study, file_of(space=other)) == [
        "'old' has no parameter 'width', so it says nothing about it",
        "the parameter 'lr' of 'old' is none of this study's, so it is passed over",
        "the parameter 'kind' of 'old' is none of this study's, so it is passed over",
        "'old' has 0 complete trials that this space can use, and it takes 4, so it is passed over",
    ]
    assert earlier_studies(study) == ()


def test_a_study_whose_objective_defines_its_space_learns_by_the_names_of_the_trials(storage: RecordStorage) -> None:
    found = learned(file_of(space=None), lambda name: optuna.load_study(study_name=name, storage=storage).trials)
    assert [len(each.params) for each in found.studies] == [30]
    assert all(point.keys() == KINDS.keys() for point in found.points)


def test_a_study_with_trials_that_an_earlier_version_copied_stays_as_it_is(storage: RecordStorage) -> None:
    study = opened(storage, file_of())
    study.add_trial(
        optuna.create_trial(
            params={"lr": 0.01, "kind": "sgd"}, distributions=KINDS, value=0.0, user_attrs={LEARNED: "old#3"}
        )
    )
    storage.commit()
    assert keep_learned(storage, study, file_of()) == []
    assert EARLIER not in storage.get_study_system_attrs(study._study_id)


@pytest.mark.parametrize(("studies", "words"), [
    (("odl",), "no study 'odl' in the database; it has: new, old"),
    (("new",), "the study 'new' cannot learn from itself"),
])  # fmt: skip
def test_wrong_names_are_refused(storage: RecordStorage, studies: tuple[str, ...], words: str) -> None:
    study = opened(storage, file_of(studies=studies))
    with pytest.raises(UserError, match=words):
        keep_learned(storage, study, file_of(studies=studies))


def test_the_first_points_of_a_narrowed_space_are_in_it(storage: RecordStorage) -> None:
    study = opened(storage, file_of(narrow=True))
    keep_learned(storage, study, file_of(narrow=True))
    searched = in_its_space(file_like(), study).space
    assert searched is not None
    points = waiting(study)
    assert points
    assert all(contains(searched.distributions[name], value) for point in points for name, value in point.items())
