"""The commands ``best``, ``trials``, ``export`` and ``importance``, and how they find the study."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pilotune.pipeline.cli.results import trials_table
from pilotune.pipeline.record import known_studies

from ..support.cli import Pilotune, alone, new_study, of_pilotune, pilotune_, random_study  # noqa: F401


@pytest.fixture
def url(tmp_path: Path) -> str:
    of_pilotune(f"sqlite:///{tmp_path}/study.db")
    return f"sqlite:///{tmp_path}/study.db"


def test_best_shows_the_value_and_all_parameters(pilotune: Pilotune, url: str) -> None:
    result = pilotune("best", "digits", "--storage", url)
    assert result.code == 0
    lines = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert (lines["trial"], lines["value"], lines["lr"], lines["epochs"]) == ("1", "0.9", "0.01", "27")
    assert lines["files"] == "/runs/1"


def test_best_as_json(pilotune: Pilotune, url: str) -> None:
    data = json.loads(pilotune("best", "digits", "--storage", url, "--json").out)
    assert data["study"] == "digits"
    assert data["directions"] == ["maximize"]
    assert data["best"][0]["values"] == {"value": 0.9}


def test_a_study_without_a_complete_trial_has_no_best_and_exit_code_1(pilotune: Pilotune, url: str) -> None:
    new_study(url, "empty")
    result = pilotune("best", "empty", "--storage", url)
    assert (result.code, result.out) == (1, "")
    assert "no complete trial yet" in result.err


def test_best_of_several_objectives_is_a_table(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    random_study(url, 12, direction=None, directions=["minimize", "maximize"])
    result = pilotune("best", "--storage", url)
    assert "trials on the Pareto front" in result.out.splitlines()[0]
    assert result.out.splitlines()[1].split()[:4] == ["trial", "state", "value_0", "value_1"]


def test_trials_lists_each_with_the_reason_of_failure(pilotune: Pilotune, url: str) -> None:
    result = pilotune("trials", "digits", "--storage", url)
    assert len(result.out.splitlines()) == 7
    assert "killed by SIGSEGV" in result.out
    assert "pruned at 3" in result.out
    assert result.err == "interrupted trials wait for pilotune resume digits\n"
    assert "\x1b" not in result.out


def test_trials_filters_sorts_and_limits(pilotune: Pilotune, url: str) -> None:
    arguments = ["--state", "complete", "--sort", "value", "--limit", "1", "--json"]
    (only,) = json.loads(pilotune("trials", "digits", "--storage", url, *arguments).out)
    assert only["number"] == 1
    assert set(only) == {
        "number", "state", "values", "params", "start", "end", "seconds", "seconds_waiting", "host", "pool", "attempts",
        "exit", "reason", "rung", "step", "directory", "user_attrs", "constraints",
        "repetitions", "spread",
        "parent", "start_step", "artifacts", "node_hours", "gpu_hours", "peak_memory",
    }  # fmt: skip


def test_an_empty_list_of_trials_is_explained_on_stderr(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/plain.db"
    random_study(url, 2)
    result = pilotune("trials", "--storage", url, "--state", "failed")
    assert (result.code, result.out, result.err) == (0, "", "no trials in state failed\n")


def test_a_wide_table_puts_parameters_into_one_column_on_a_narrow_terminal(url: str) -> None:
    from pilotune.pipeline.analysis import read_study, rows

    data = read_study(url, "digits")
    lines = trials_table(data.metrics, rows(data), 75).splitlines()
    assert lines[0].split()[-1] == "parameters"
    assert max(map(len, lines)) <= 75


def test_export_writes_csv_json_and_parquet_that_agree(pilotune: Pilotune, url: str, tmp_path: Path) -> None:
    for form in ("csv", "json", "parquet"):
        result = pilotune("export", "digits", "--storage", url, "--out", tmp_path / f"trials.{form}")
        assert (result.code, result.out) == (0, "")
        assert "wrote 6 trials of digits" in result.err
    csv = pd.read_csv(tmp_path / "trials.csv")
    parquet = pd.read_parquet(tmp_path / "trials.parquet")
    data = json.loads((tmp_path / "trials.json").read_text())
    assert list(csv.columns) == list(parquet.columns)
    assert list(csv["value"].dropna()) == list(parquet["value"].dropna())
    assert [trial["number"] for trial in data["trials"]] == list(parquet["number"])


def test_export_goes_to_stdout_as_csv_by_default(pilotune: Pilotune, url: str) -> None:
    result = pilotune("export", "digits", "--storage", url)
    assert list(pd.read_csv(io.StringIO(result.out))["number"]) == [0, 1, 2, 3, 4, 5]


def test_parquet_takes_a_choice_between_words_and_numbers(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/mixed.db"
    study = new_study(url, "mixed")
    for value in ("auto", 3, None, 0.5):
        study.enqueue_trial({"c": value})
    study.optimize(lambda trial: len(str(trial.suggest_categorical("c", ["auto", 3, None, 0.5]))), n_trials=4)
    assert pilotune("export", "mixed", "--storage", url, "-o", tmp_path / "x.parquet").code == 0
    assert pd.read_parquet(tmp_path / "x.parquet")["params_c"].tolist()[:2] == ['"auto"', "3"]


@pytest.mark.parametrize(("form", "load"), [("yaml", yaml.safe_load), ("json", json.loads)])
def test_best_parameters_are_a_file_to_train_with(pilotune: Pilotune, url: str, form: str, load) -> None:  # type: ignore[no-untyped-def]
    result = pilotune("export", "digits", "--storage", url, "--best", "--format", form)
    assert load(result.out) == {"epochs": 27, "lr": 0.01, "units": 32, "optimizer": "sgd"}


def test_parameters_of_a_chosen_trial(pilotune: Pilotune, url: str) -> None:
    assert "epochs" not in yaml.safe_load(pilotune("export", "digits", "--storage", url, "--trial", "0").out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x.xlsx"], "cannot tell a format from 'x.xlsx'"),
        (["--format", "yaml"], "or add --best"),
        (["--best", "--format", "csv"], "as yaml or json, not as csv"),
        (["--trial", "77"], "has no trial 77"),
    ],
)
def test_export_refuses_what_it_cannot_write(pilotune: Pilotune, url: str, arguments: list[str], words: str) -> None:
    result = pilotune("export", "digits", "--storage", url, *arguments)
    assert result.code == 2
    assert words in result.err


def test_parquet_without_pyarrow_names_the_package_to_install(
    pilotune: Pilotune, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    result = pilotune("export", "digits", "--storage", url, "--format", "parquet")
    assert result.code == 2
    assert "pilotune[parquet]" in result.err


def test_importance_as_table_and_json(pilotune: Pilotune, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/plain.db"
    random_study(url, 30)
    assert pilotune("importance", "--storage", url).out.splitlines()[1].split()[0] == "x"
    data = json.loads(pilotune("importance", "--storage", url, "--json").out)
    assert sum(data["importance"].values()) == pytest.approx(1)
    result = pilotune("importance", "--storage", url, "--metric", "loss")
    assert (result.code, "has no metric 'loss'" in result.err) == (2, True)


def register(name: str, url: str) -> None:
    here = Path.cwd()
    known_studies.save(name=name, study_file=here / "s.yaml", storage=url, runs=here, site="local", run_dir=here)


def test_a_known_name_is_enough_and_the_only_study_needs_none(pilotune: Pilotune, url: str) -> None:
    register("digits", url)
    assert pilotune("best", "digits").out == pilotune("best").out != ""


def test_an_unknown_name_gets_the_nearest_known(pilotune: Pilotune, url: str) -> None:
    register("digits", url)
    register("svm", url)
    assert "did you mean 'digits'?" in pilotune("best", "digit").err
    assert pilotune("best").err == "error: which study? give its NAME, one of digits, svm\n"


def test_several_studies_in_a_database_are_named(pilotune: Pilotune, url: str) -> None:
    new_study(url, "other")
    result = pilotune("best", "--storage", url)
    assert (result.code, "give a NAME, one of digits, other" in result.err) == (2, True)


def test_a_study_file_names_its_study(pilotune: Pilotune, tmp_path: Path) -> None:
    pilotune("init", "rings")
    folder = Path.cwd() / "rings" / "pilotune-runs" / "rings"
    folder.mkdir(parents=True)
    of_pilotune(f"sqlite:///{folder}/study.db", "rings")
    assert pilotune("best", "rings/study.yaml").out.split()[:2] == ["trial", "1"]
