"""Studies made by plain Optuna, trials as Pilotune leaves them, and the command line within this process."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import make_url

from pilotune.pipeline.attributes import DETAIL_KEYS, DETAILS, OWNER, TRACEBACK
from pilotune.pipeline.cli.main import main

DISTRIBUTIONS = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "units": IntDistribution(16, 256),
    "optimizer": CategoricalDistribution(("sgd", "adamw")),
}


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Pilotune = Callable[..., Result]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who has never run anything, in an empty folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("PILOTUNE_RUNS", "PILOTUNE_SITES", "PILOTUNE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(name="pilotune")
def pilotune_(capsys: pytest.CaptureFixture[str]) -> Pilotune:
    """Runs a command line in this process."""

    def call(*arguments: object) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def trial(
    state: TrialState, value: float | None = None, *, steps: int = 0, seconds: float = 2.0, **attrs: Any
) -> FrozenTrial:
    """A trial with three parameters. ``attrs`` are Pilotune's attributes and details, without their prefix."""
    details = {key: attrs.pop(key) for key in DETAIL_KEYS if key in attrs}
    owned = {} if state == TrialState.WAITING else {OWNER: "a campaign that has ended"}
    system = {TRACEBACK: attrs.pop("traceback")} if "traceback" in attrs else {}
    made = create_trial(
        state=state,
        value=value,
        params={"lr": 0.01, "units": 32, "optimizer": "sgd"} if state != TrialState.WAITING else {},
        distributions=DISTRIBUTIONS if state != TrialState.WAITING else {},
        intermediate_values={step: step / 10 for step in range(1, steps + 1)},
        user_attrs={f"pilotune:{key}": item for key, item in attrs.items()},
        system_attrs={**owned, **system, **({DETAILS: details} if details else {})},
    )
    if state.is_finished():
        made.datetime_start = datetime(2026, 1, 1)
        made.datetime_complete = made.datetime_start + timedelta(seconds=seconds)
    return made


class UnsyncedConnection(sqlite3.Connection):
    """A connection that does not wait for the disk, which would take most of a test's time."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=OFF")


@functools.cache
def prepared(make: Callable[[str], object]) -> bytes:
    """The SQLite database that ``make`` fills, given its URL: copying it takes a small part of that time."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "study.db"
        make(f"sqlite:///{file}")
        return file.read_bytes()


def copied(url: str, make: Callable[[str], object]) -> bool:
    """Whether the database is a copy of the :func:`prepared` one now: on SQLite, and if there was none."""
    file = Path(make_url(url).database or "")
    if not url.startswith("sqlite") or file.exists():
        return False
    file.write_bytes(prepared(make))
    return True


def storage_of(url: str) -> optuna.storages.RDBStorage:
    unsynced = {"connect_args": {"factory": UnsyncedConnection}} if url.startswith("sqlite") else {}
    return optuna.storages.RDBStorage(url, engine_kwargs=unsynced)


def new_study(url: str, name: str = "digits", **options: Any) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    copied(url, storage_of)
    return optuna.create_study(storage=storage_of(url), study_name=name, **({"direction": "maximize"} | options))


def of_pilotune(url: str, name: str = "digits") -> optuna.Study:
    """Six trials: two complete (the second is best), one pruned at step 3, one failed, one interrupted, one waiting."""
    if name == "digits" and copied(url, with_six_trials):
        return optuna.load_study(storage=storage_of(url), study_name=name)
    return with_six_trials(url, name)


def with_six_trials(url: str, name: str = "digits") -> optuna.Study:
    study = new_study(url, name)
    study.add_trials(
        [
            trial(TrialState.COMPLETE, 0.5, exit="complete", attempts=1, host="n1", seconds_running=4.5),
            trial(TrialState.COMPLETE, 0.9, exit="complete", attempts=2, host="n2", seconds_running=1.5,
                  constants={"epochs": 27}, directory="/runs/1"),
            trial(TrialState.PRUNED, None, steps=3, exit="pruned", rung=3),
            trial(TrialState.FAIL, exit="signal", reason="killed by SIGSEGV"),
            trial(TrialState.RUNNING),
            trial(TrialState.WAITING),
        ]
    )  # fmt: skip
    return study


def random_study(url: str, trials: int, name: str = "digits", **options: Any) -> optuna.Study:
    """A study by plain Optuna in which ``x`` matters and ``noise`` does not.

    It is run in memory and added to the database then: whole trials need a fraction of the statements.
    """
    study = new_study(url, name, **options)
    drawn = optuna.create_study(directions=study.directions, sampler=optuna.samplers.RandomSampler(seed=1))

    def objective(trial: optuna.Trial) -> Any:
        x, noise = trial.suggest_float("x", 0, 1), trial.suggest_float("noise", 0, 1)
        return x + noise / 100 if len(study.directions) == 1 else (x, noise)

    drawn.optimize(objective, n_trials=trials)
    study.add_trials(drawn.trials)
    return study
