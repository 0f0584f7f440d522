"""Reading a study, its rows, the best trials, the summary and importances."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pyarrow.parquet
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL

from pilotune.errors import PilotuneError, UserError
from pilotune.pipeline.analysis import (
    EVALUATORS,
    best_params,
    best_trials,
    dataframe,
    export,
    export_reports,
    importances,
    interactions,
    measure,
    read_study,
    rows,
    study_names,
    summarize,
)
from pilotune.pipeline.analysis.reading import readable, reading, study_of
from pilotune.pipeline.analysis.tables import reports_frame
from pilotune.pipeline.attributes import ARTIFACTS, OWNER, traceback_of
from pilotune.pipeline.record import Lease

from ..support.cli import new_study, of_pilotune, random_study, trial
from ..support.sizes import at_size

FORESTS = ("fanova", "mean-decrease-impurity")
SLOWEST_LATER = [pytest.param(name, marks=pytest.mark.exhaustive) if name == "fanova" else name for name in EVALUATORS]
FORESTS_LATER = [pytest.param(name, marks=pytest.mark.exhaustive) if name in FORESTS else name for name in EVALUATORS]
"""Its forest of trees is slow, and grown anew for each shuffle of the values."""


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interactions, which ``test_interactions`` is about, take most of the time of an importance."""
    monkeypatch.setattr(interactions, "ROUNDS", at_size(2, interactions.ROUNDS))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def test_rows_say_how_each_trial_ended(url: str) -> None:
    of_pilotune(url)
    found = rows(read_study(url, "digits"))
    assert [row.state for row in found] == ["complete", "complete", "pruned", "failed", "interrupted", "waiting"]
    assert found[1].values == {"value": 0.9}
    assert found[1].params == {"epochs": 27, "lr": 0.01, "units": 32, "optimizer": "sgd"}
    assert (found[1].seconds, found[1].attempts, found[1].host) == (1.5, 2, "n2")
    assert (found[2].rung, found[2].values) == (3, {"value": pytest.approx(0.3)})
    assert (found[3].exit, found[3].reason, found[3].values) == ("signal", "killed by SIGSEGV", {"value": None})
    assert (found[4].seconds, found[5].attempts) == (None, 0)


@pytest.mark.parametrize(("silence", "state"), [(5.0, "running"), (600.0, "interrupted")])
def test_a_trial_runs_while_its_driver_on_another_host_is_alive(database_url: str, silence: float, state: str) -> None:
    study = optuna.create_study(storage=database_url, study_name="s")
    lease = Lease("c1", "login7", "another host", 1, 1, "/runs/c1", heartbeat=time.time() - silence)
    study._storage.set_study_system_attr(study._study_id, lease.key, lease.to_json())
    reports = {0: 1.0, 7: 0.5}
    for owner in ({OWNER: "c1"}, {OWNER: "c0"}, {}):
        study.add_trial(create_trial(state=TrialState.RUNNING, system_attrs=owner, intermediate_values=reports))
    found = rows(read_study(database_url, "s"))
    assert [(row.state, row.step, row.values["value"]) for row in found] == [
        (state, 7, 0.5),
        ("interrupted", 7, 0.5),
        ("running", 7, 0.5),
    ], "a trial of plain Optuna has no driver"


def test_a_study_of_plain_optuna_has_rows_too(url: str) -> None:
    study = new_study(url)
    study.add_trial(trial(optuna.trial.TrialState.COMPLETE, 0.5, seconds=3.0))
    (row,) = rows(read_study(url, "digits"))
    assert (row.seconds, row.attempts, row.exit, row.reason, row.host) == (3.0, 1, "complete", "", "")


@pytest.mark.parametrize(
    ("sort", "numbers"),
    [
        ("number", [0, 1, 2, 3, 4, 5]),
        ("-number", [5, 4, 3, 2, 1, 0]),
        ("value", [1, 0, 2, 3, 4, 5]),
        ("-value", [2, 0, 1, 3, 4, 5]),
        ("seconds", [1, 2, 3, 0, 4, 5]),
        ("units", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_rows_sort_best_first_with_the_unknown_last(url: str, sort: str, numbers: list[int]) -> None:
    of_pilotune(url)
    assert [row.number for row in rows(read_study(url, "digits"), sort=sort)] == numbers


def test_rows_filter_by_state_and_stop_at_the_limit(url: str) -> None:
    of_pilotune(url)
    data = read_study(url, "digits")
    assert [row.number for row in rows(data, ["failed", "complete"])] == [0, 1, 3]
    assert [row.number for row in rows(data, ["complete"], sort="value", limit=1)] == [1]


def test_sorting_by_an_unknown_key_names_the_nearest(url: str) -> None:
    of_pilotune(url)
    with pytest.raises(UserError, match="did you mean 'units'"):
        rows(read_study(url, "digits"), sort="unit")


def test_a_dataframe_has_a_column_for_each_metric_and_parameter(url: str) -> None:
    of_pilotune(url)
    frame = dataframe(read_study(url, "digits"))
    assert list(frame.columns) == [
        "number", "state", "value", "params_lr", "params_units", "params_optimizer", "params_epochs", "start", "end",
        "seconds", "seconds_waiting", "host", "pool", "attempts", "exit", "reason", "rung", "directory",
    ]  # fmt: skip
    assert frame["value"].max() == 0.9
    assert list(frame["rung"].dropna()) == [3]


def test_constraints_are_columns_of_their_own(url: str) -> None:
    study = new_study(url)
    for attrs in (
        {"constraints:memory": 0.5},
        {"constraints": [-1.0]},
        {"constraints": 7},
        {"constraints:memory": "x"},
    ):
        study.add_trial(create_trial(value=0.0, system_attrs=attrs))
    data = read_study(url, "digits")
    assert [row.constraints for row in rows(data)] == [{"memory": 0.5}, {"0": -1.0}, {}, {}]
    buffer = io.BytesIO()
    export(data, "csv", buffer)
    found = [(each["constraints_memory"], each["constraints_0"])
             for each in csv.DictReader(io.StringIO(buffer.getvalue().decode()))]  # fmt: skip
    assert found == [("0.5", ""), ("", "-1.0"), ("", ""), ("", "")]


def test_the_sizes_of_kept_files_are_a_column_where_there_are_any(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="files")
    study.add_trials(
        [
            create_trial(value=1.0, system_attrs={ARTIFACTS: {"model.pt": 3000, "held.npz": 20}}),
            create_trial(value=2.0),
            create_trial(state=TrialState.FAIL, system_attrs={ARTIFACTS: {"model.pt": 1}}),
        ]
    )
    frame = dataframe(read_study(url, "files"))
    assert frame["artifact_bytes"].tolist()[0] == 3020
    assert frame["artifact_bytes"].isna().tolist() == [False, True, True]
    assert [row.as_dict()["artifacts"] for row in rows(read_study(url, "files"))] == [
        {"model.pt": 3000, "held.npz": 20}, {}, {},
    ]  # fmt: skip
    other = optuna.create_study(storage=url, study_name="none")
    other.add_trial(create_trial(value=1.0))
    assert "artifact_bytes" not in dataframe(read_study(url, "none"))


def test_whole_numbers_and_truth_values_stay_what_they_are_where_a_trial_has_none(url: str) -> None:
    study = new_study(url)
    kinds = {"layers": IntDistribution(1, 9), "fast": CategoricalDistribution((True, False)),
             "size": CategoricalDistribution((1, 0.5)), "big": CategoricalDistribution((2**70, 1))}  # fmt: skip
    study.add_trial(
        create_trial(value=0.0, params={"layers": 3, "fast": True, "size": 1, "big": 2**70}, distributions=kinds)
    )
    study.add_trial(create_trial(value=0.0, user_attrs={"count": 4}))
    study.add_trial(create_trial(value=0.0, params={"size": 0.5}, distributions={"size": kinds["size"]}))
    data = read_study(url, "digits")
    frame = dataframe(data)
    assert [str(frame[name].dtype) for name in ("params_layers", "params_fast", "user_attrs_count")] == [
        "Int64", "boolean", "Int64",
    ]  # fmt: skip
    buffer = io.BytesIO()
    export(data, "csv", buffer)
    first, second, third = csv.DictReader(io.StringIO(buffer.getvalue().decode()))
    assert [first[f"params_{name}"] for name in kinds] == ["3", "True", "1", str(2**70)]
    assert [second[f"params_{name}"] for name in kinds] == [""] * 4
    assert (second["user_attrs_count"], third["params_size"]) == ("4", "0.5")
    buffer = io.BytesIO()
    export(data, "json", buffer)
    trials = json.loads(buffer.getvalue())["trials"]
    assert trials[0]["params"] == {"layers": 3, "fast": True, "size": 1, "big": 2**70}
    assert type(trials[0]["params"]["layers"]) is int
    buffer = io.BytesIO()
    export(data, "parquet", buffer)
    table = pyarrow.parquet.read_table(io.BytesIO(buffer.getvalue()))
    assert table.column("params_layers").to_pylist() == [3, None, None]
    types = {name: str(table.schema.field(name).type) for name in ("params_layers", "params_fast", "params_size")}
    assert types == {"params_layers": "int64", "params_fast": "bool", "params_size": "double"}
    assert str(table.schema.field("start").type) == "timestamp[us, tz=UTC]"


def test_the_times_of_a_trial_are_in_utc(url: str) -> None:
    of_pilotune(url)
    data = read_study(url, "digits")
    row = rows(data)[0]
    assert row.start is not None
    assert row.end is not None
    assert row.start.utcoffset() == timedelta(0)
    assert row.start == datetime(2026, 1, 1).astimezone()  # Optuna's times are local and have no zone
    assert (row.end - row.start).total_seconds() == 2.0
    assert row.as_dict()["start"] == row.start.isoformat()
    assert rows(data)[5].end is None


def test_a_metric_with_the_name_of_a_column_has_its_own(url: str) -> None:
    study = random_study(url, 3, direction=None, directions=["maximize", "minimize"])
    study.set_metric_names(["accuracy", "seconds"])
    data = read_study(url, "digits")
    frame = dataframe(data)
    assert list(frame["values_seconds"]) == [trial.values[1] for trial in study.trials]
    assert frame["seconds"].max() < 60


def test_all_reports_in_long_form(url: str) -> None:
    study = of_pilotune(url)
    study.add_trial(
        create_trial(state=TrialState.PRUNED, intermediate_values={2: float("nan"), 1: float("inf"), 0: 0.5})
    )
    data = read_study(url, "digits")
    assert reports_frame(data)["step"].tolist() == [1, 2, 3, 0, 1, 2]
    buffer = io.BytesIO()
    assert export_reports(data, "csv", buffer) == 6
    assert buffer.getvalue().decode().splitlines() == [
        "number,step,value,state",
        *(f"2,{step},{step / 10},pruned" for step in (1, 2, 3)),
        "6,0,0.5,pruned", "6,1,inf,pruned", "6,2,nan,pruned",
    ]  # fmt: skip
    buffer = io.BytesIO()
    export_reports(data, "json", buffer)
    assert json.loads(buffer.getvalue())[-1] == {"number": 6, "step": 2, "value": "nan", "state": "pruned"}
    buffer = io.BytesIO()
    export_reports(data, "parquet", buffer)
    table = pyarrow.parquet.read_table(io.BytesIO(buffer.getvalue()))
    assert table.column("step").to_pylist() == [1, 2, 3, 0, 1, 2]
    buffer = io.BytesIO()
    export(data, "json", buffer)
    assert json.loads(buffer.getvalue())["trials"][2]["reports"] == [[1, 0.1], [2, 0.2], [3, 0.3]]


def test_reports_of_a_study_without_any_have_their_columns(url: str) -> None:
    new_study(url)
    for form, text in (("csv", b"number,step,value,state\n"), ("json", b"[]\n")):
        buffer = io.BytesIO()
        assert export_reports(read_study(url, "digits"), form, buffer) == 0
        assert buffer.getvalue() == text


def test_exports_have_the_constants_of_the_study_file(url: str) -> None:
    study = of_pilotune(url)
    definition = {"space": {"parameters": {}, "constants": {"epochs": 9, "depth": 2}}}
    study._storage.set_study_system_attr(study._study_id, "pilotune:study", definition)
    buffer = io.BytesIO()
    export(read_study(url, "digits"), "csv", buffer)
    lines = list(csv.DictReader(io.StringIO(buffer.getvalue().decode())))
    assert [line["params_depth"] for line in lines] == ["2"] * 6
    assert [line["params_epochs"] for line in lines] == ["9", "27", "9", "9", "9", "9"]


def test_notes_of_earlier_versions_are_read(url: str) -> None:
    """They were all user attributes."""
    study = new_study(url)
    old = {"rung": 3, "pool": "gpu", "seconds_waiting": 1.5, "exit": "pruned", "traceback": "Traceback ..."}
    study.add_trial(
        create_trial(state=TrialState.PRUNED, user_attrs={f"pilotune:{key}": value for key, value in old.items()})
    )
    (row,) = rows(read_study(url, "digits"))
    assert (row.rung, row.pool, row.waiting, row.exit, row.attrs) == (3, "gpu", 1.5, "pruned", {})
    assert traceback_of(read_study(url, "digits").trials[0]) == "Traceback ..."


def test_a_study_is_read_as_optuna_reads_it(url: str) -> None:
    study = of_pilotune(url)
    study.add_trial(trial(optuna.trial.TrialState.COMPLETE, float("inf"), steps=2))
    data = read_study(url, "digits")
    again = optuna.load_study(study_name="digits", storage=url)
    for ours, theirs in zip(data.trials, again.trials, strict=True):
        ours._trial_id = theirs._trial_id  # local to who reads
        assert ours == theirs
    assert data.directions == ("maximize",)


def test_the_best_trial_is_optunas(url: str) -> None:
    study = random_study(url, 12, direction="minimize")
    assert [row.number for row in best_trials(read_study(url, "digits"))] == [study.best_trial.number]


def test_the_pareto_front_is_optunas(url: str) -> None:
    study = random_study(url, 20, direction=None, directions=["minimize", "maximize"])
    found = [row.number for row in best_trials(read_study(url, "digits"))]
    assert found == sorted(trial.number for trial in study.best_trials)
    assert len(found) > 1
    with pytest.raises(UserError, match="choose with --trial N"):
        best_params(read_study(url, "digits"))


def test_best_parameters_include_the_constants(url: str) -> None:
    of_pilotune(url)
    data = read_study(url, "digits")
    assert best_params(data) == {"epochs": 27, "lr": 0.01, "units": 32, "optimizer": "sgd"}
    assert best_params(data, 0) == {"lr": 0.01, "units": 32, "optimizer": "sgd"}
    with pytest.raises(UserError, match="has no trial 99"):
        best_params(data, 99)


def test_best_parameters_include_the_constants_of_the_study_file(url: str) -> None:
    study = of_pilotune(url)
    study.set_user_attr("pilotune:study", {"space": {"parameters": {}, "constants": {"epochs": 9, "depth": 2}}})
    data = read_study(url, "digits")
    assert best_params(data, 0) == {"lr": 0.01, "units": 32, "optimizer": "sgd", "epochs": 9, "depth": 2}
    assert best_params(data)["epochs"] == 27
    assert "depth" not in rows(data)[0].params


def test_metrics_have_the_names_given_by_the_study(url: str) -> None:
    study = random_study(url, 3, direction=None, directions=["minimize", "maximize"])
    assert read_study(url, "digits").metrics == ("value_0", "value_1")
    study.set_metric_names(["loss", "speed"])
    data = read_study(url, "digits")
    assert data.metrics == ("loss", "speed")
    assert set(rows(data)[0].values) == {"loss", "speed"}


def test_a_summary_counts_states_rungs_and_failures(url: str) -> None:
    of_pilotune(url)
    summary = summarize(read_study(url, "digits"))
    assert (summary.total, summary.complete, summary.pruned, summary.failed) == (6, 2, 1, 1)
    assert (summary.running, summary.interrupted, summary.waiting) == (0, 1, 1)
    assert (summary.rungs, summary.failures) == ({3: 1}, {"signal": 1})
    assert [row.number for row in summary.best] == [1]


def test_importance_ranks_what_decides_first(url: str) -> None:
    random_study(url, 40)
    shares = importances(read_study(url, "digits"))
    assert next(iter(shares)) == "x"
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize("metric", ["value_0", "value_1"])
def test_importance_of_one_objective_of_several_has_its_own_direction(url: str, metric: str) -> None:
    random_study(url, 60, direction=None, directions=["minimize", "maximize"])
    shares = importances(read_study(url, "digits"), metric=metric)
    assert next(iter(shares)) == {"value_0": "x", "value_1": "noise"}[metric]


@pytest.mark.parametrize("evaluator", FORESTS)
def test_forest_evaluators_agree_and_need_a_metric_if_there_are_several(url: str, evaluator: str) -> None:
    random_study(url, 40)
    assert next(iter(importances(read_study(url, "digits"), evaluator))) == "x"
    random_study(url, 5, "two", direction=None, directions=["minimize", "maximize"])
    with pytest.raises(UserError, match=r"--metric value_0\|value_1"):
        importances(read_study(url, "two"), evaluator)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("value", [0.5, 1e308, -0.0])
def test_importance_of_equal_values_is_refused(url: str, evaluator: str, value: float) -> None:
    study = new_study(url)
    study.optimize(lambda trial: value + 0 * trial.suggest_float("x", 0, 1), n_trials=4)
    with pytest.raises(PilotuneError) as error:
        measure(read_study(url, "digits"), evaluator)
    assert str(error.value).startswith("all 4 complete trials of 'digits' have the same value (")
    assert error.value.exit_code == 1


@pytest.mark.parametrize("evaluator", SLOWEST_LATER)
def test_importance_counts_the_trials_that_it_used(url: str, evaluator: str) -> None:
    study = random_study(url, 30)
    study.add_trials([*study.trials[:2]])
    for state, value in ((TrialState.COMPLETE, float("inf")), (TrialState.FAIL, None), (TrialState.PRUNED, None)):
        study.add_trial(create_trial(state=state, value=value, params=study.trials[0].params,
                                     distributions=study.trials[0].distributions))  # fmt: skip
    found = measure(read_study(url, "digits"), evaluator)
    assert (found.used, found.complete, found.trials, found.evaluator) == (32, 33, 35, evaluator)
    assert next(iter(found.shares)) == "x"
    assert (found.active, found.left_out) == ({}, ())


@pytest.mark.parametrize("evaluator", FORESTS_LATER)
def test_a_parameter_that_the_objective_ignores_is_not_told_from_chance(url: str, evaluator: str) -> None:
    random_study(url, 60)
    found = measure(read_study(url, "digits"), evaluator)
    assert found.certain == {"x"}
    assert found.chance["x"] < found.shares["x"]
    assert found.chance["noise"] >= found.shares["noise"] - 0.02


def test_conditional_parameters_count_where_they_are_active(url: str) -> None:
    study = new_study(url, sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_float("momentum", 0, 1) if kind == "a" else 0.5

    study.optimize(objective, n_trials=40)
    number = sum("momentum" in trial.params for trial in study.trials)
    data = read_study(url, "digits")
    assert measure(data).active == {"momentum": number}
    found = measure(data, "mean-decrease-impurity")
    assert (list(found.shares), found.left_out) == (["kind"], ("momentum",))


def test_importance_of_one_possible_value_each_is_refused(url: str) -> None:
    study = new_study(url)
    study.optimize(lambda trial: trial.suggest_int("x", 1, 1) + trial.number, n_trials=4)
    with pytest.raises(PilotuneError, match="the parameter has only one possible value"):
        measure(read_study(url, "digits"))


def test_importance_of_trials_with_the_same_parameters_is_refused(url: str) -> None:
    choice = {"x": CategoricalDistribution(("a", "b"))}
    new_study(url).add_trials(create_trial(value=v, params={"x": "a"}, distributions=choice) for v in (1.0, 2.0))
    with pytest.raises(PilotuneError, match="all 2 complete trials of 'digits' have the same parameters"):
        measure(read_study(url, "digits"))


def test_an_evaluator_that_cannot_use_a_range_says_so(url: str) -> None:
    study = new_study(url)
    study.optimize(lambda trial: trial.suggest_float("x", -1e300, 1e300), n_trials=8)
    with pytest.raises(PilotuneError, match="cannot use the trials of 'digits'"):
        measure(read_study(url, "digits"), "fanova")


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("scale", [1e308, 1e-300])
def test_importance_of_values_whose_squares_are_no_floats(url: str, evaluator: str, scale: float) -> None:
    study = new_study(url, sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) * scale, n_trials=12)
    assert importances(read_study(url, "digits"), evaluator) == {"x": pytest.approx(1)}


def test_importance_of_one_trial_is_refused(url: str) -> None:
    random_study(url, 1)
    with pytest.raises(PilotuneError, match="has 1 complete trial; importance needs at least two"):
        importances(read_study(url, "digits"))


def test_importance_without_scikit_learn_says_what_to_do(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random_study(url, 5)

    def missing(*args: object, **options: object) -> None:
        raise ImportError("No module named 'sklearn'")

    monkeypatch.setattr(optuna.importance, "FanovaImportanceEvaluator", missing)
    with pytest.raises(UserError, match="--evaluator ped-anova"):
        importances(read_study(url, "digits"), "fanova")


def test_reading_changes_nothing_in_the_database(url: str, tmp_path: Path) -> None:
    of_pilotune(url)
    before = hashlib.sha256((tmp_path / "study.db").read_bytes()).hexdigest()
    read_study(url, "digits")
    assert study_names(url) == ["digits"]
    assert hashlib.sha256((tmp_path / "study.db").read_bytes()).hexdigest() == before


def test_reading_works_while_another_process_writes(url: str, tmp_path: Path) -> None:
    of_pilotune(url)
    writer = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE trials SET state = 'FAIL'")
    try:
        assert summarize(read_study(url, "digits")).complete == 2
    finally:
        writer.execute("ROLLBACK")
        writer.close()


@pytest.mark.postgres
def test_a_study_on_postgresql_is_read_and_cannot_be_written(postgres_url: str) -> None:
    of_pilotune(postgres_url.replace("://", "+psycopg://"))
    assert summarize(read_study(postgres_url, "digits")).rungs == {3: 1}
    with pytest.raises(UserError, match="read-only"), reading(postgres_url) as database:
        database.run("INSERT INTO studies (study_id, study_name) VALUES (77, 'other')")


def test_a_study_on_sqlite_cannot_be_written_by_reading_it(url: str) -> None:
    of_pilotune(url)
    with pytest.raises(PilotuneError, match="readonly database"), reading(url) as database:
        database.run("INSERT INTO studies (study_id, study_name) VALUES (77, 'other')")


def test_an_unreachable_server_is_one_sentence() -> None:
    with pytest.raises(PilotuneError, match="cannot be read") as caught:
        read_study("postgresql://somebody@127.0.0.1:9/none", "digits")
    assert len(str(caught.value).splitlines()) == 1


def test_a_database_in_a_folder_with_odd_characters_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} c%20?#é"
    folder.mkdir()
    of_pilotune(f"sqlite:///{tmp_path}/plain.db")
    (tmp_path / "plain.db").rename(folder / "study.db")
    url = URL.create("sqlite", database=str(folder / "study.db")).render_as_string()
    assert len(read_study(url, "digits").trials) == 6


def test_a_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no database file"):
        read_study(f"sqlite:///{tmp_path}/none.db", "digits")
    assert not (tmp_path / "none.db").exists()


def test_an_unknown_study_names_the_nearest(url: str) -> None:
    of_pilotune(url)
    with pytest.raises(UserError, match=r"no study 'digit' in .*did you mean 'digits'"):
        read_study(url, "digit")


@pytest.mark.parametrize(
    ("content", "words"), [(b"not a database at all" * 100, "not an SQLite database"), (b"", "no Optuna study")]
)
def test_a_file_that_is_not_a_study_database_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "other.db").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_study(f"sqlite:///{tmp_path}/other.db", "digits")


def test_a_readable_study_has_the_trials_of_one_that_is_made_anew(url: str) -> None:
    random_study(url, 20)
    data = read_study(url, "digits")
    data = dataclasses.replace(data, trials=(*data.trials, *data.trials[:5]))  # five were drawn twice
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    ours, theirs = readable(data), study_of(data)
    assert evaluator.evaluate(ours) == evaluator.evaluate(theirs)
    assert [trial.number for trial in ours.trials] == [trial.number for trial in theirs.trials]
    assert [trial.number for trial in data.trials[-5:]] == [0, 1, 2, 3, 4], "the study that was read is as it was"
