"""Makes studies with `n` finished and `r` running trials of ten mixed parameters, the same in every storage."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pilotune.pipeline.fidelity import bracket_of, hyperband_brackets
from pilotune.pipeline.record import RecordStorage, normalize_url

NAME = "bench"
SPACE = """
  x0: {float: [-1.0, 1.0]}
  x1: {float: [-1.0, 1.0]}
  x2: {float: [-1.0, 1.0]}
  x3: {float: [-1.0, 1.0]}
  x4: {float: [-1.0, 1.0]}
  x5: {float: [-1.0, 1.0]}
  n0: {int: [1, 16]}
  n1: {int: [1, 16]}
  l0: {float: [1.0e-4, 1.0], log: true}
  c0: {choice: [a, b, c]}
"""
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    **{f"x{i}": FloatDistribution(-1.0, 1.0) for i in range(6)},
    "n0": IntDistribution(1, 16),
    "n1": IntDistribution(1, 16),
    "l0": FloatDistribution(1e-4, 1.0, log=True),
    "c0": CategoricalDistribution(("a", "b", "c")),
}
HYPERBAND = {"min_resource": 1, "max_resource": 81, "reduction_factor": 3}


def study_text(objective: str, *, sampler: str = "tpe", pruner: str = "", trial: str = "", trials: int = 10**7) -> str:
    """A study file for Pilotune; `pruner` and `trial` are YAML mappings as text."""
    lines = [f"name: {NAME}", f"objective: {objective}", "direction: minimize", f"space:{SPACE.rstrip()}"]
    lines += [f"sampler: {{name: {sampler}, seed: 0}}", f"budget: {{trials: {trials}}}"]
    lines += [f"{key}: {text}" for key, text in (("pruner", pruner), ("trial", trial)) if text]
    return "\n".join(lines) + "\n"


def value_of(params: dict[str, Any]) -> float:
    """The objective: a sphere in the floats plus linear terms."""
    return sum(params[f"x{i}"] ** 2 for i in range(6)) + params["n0"] / 16 + (params["c0"] == "a")


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Suggest the ten parameters with an Optuna trial."""
    return {name: trial._suggest(name, distribution) for name, distribution in DISTRIBUTIONS.items()}


def templates(n: int, r: int, *, reports: str = "", seed: int = 0) -> Iterator[FrozenTrial]:
    """Make `n` finished trials, then `r` running ones with parameters.

    Args:
        n: Finished trials.
        r: Running trials.
        reports: "pruned": all have reports and Optuna's rung attributes, as Hyperband with `HYPERBAND` would leave
            them: a third of the trials at a rung goes on, the others are pruned. "whole": finished ones are complete
            and have reports at all of Hyperband's rungs.
        seed: Of their parameters.
    """
    random = np.random.default_rng(seed)
    floats = random.uniform(-1.0, 1.0, (n + r, 6))
    ints = random.integers(1, 17, (n + r, 2))
    logs = 10.0 ** random.uniform(-4.0, 0.0, n + r)
    choices = random.integers(0, 3, n + r)
    depths = random.geometric(2 / 3, n + r) - 1
    now = datetime.datetime.now()
    brackets = hyperband_brackets(HYPERBAND)
    for i in range(n + r):
        params = {
            **{f"x{k}": float(floats[i, k]) for k in range(6)},
            "n0": int(ints[i, 0]),
            "n1": int(ints[i, 1]),
            "l0": float(logs[i]),
            "c0": "abc"[choices[i]],
        }
        value, finished = value_of(params), i < n
        said, marks, state = {}, {}, TrialState.COMPLETE
        if reports:
            steps = brackets[bracket_of(NAME, i, brackets)].rungs[: int(depths[i]) + finished]
            if reports == "whole" and finished:
                steps = brackets[0].rungs
            said = {step: value + 1.0 / step for step in steps}
        if reports == "pruned":
            marks = {f"completed_rung_{k}": said[step] for k, step in enumerate(steps)}
            state = TrialState.COMPLETE if steps and steps[-1] == HYPERBAND["max_resource"] else TrialState.PRUNED
        yield FrozenTrial(
            number=i,
            state=state if finished else TrialState.RUNNING,
            value=value if finished else None,
            datetime_start=now,
            datetime_complete=now if finished else None,
            params=params,
            distributions=DISTRIBUTIONS,
            user_attrs={},
            system_attrs=marks,
            intermediate_values=said,
            trial_id=-1,
        )


def add(storage: optuna.storages.BaseStorage, trials: Iterator[FrozenTrial]) -> None:
    """Add `trials` to the study, made where there is none. RecordStorage writes them in one transaction."""
    try:
        study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], NAME)
    except optuna.exceptions.DuplicatedStudyError:
        study_id = storage.get_study_id_from_name(NAME)
    for trial in trials:
        storage.create_new_trial(study_id, template_trial=trial)
    if isinstance(storage, RecordStorage):
        storage.commit()


def fill_database(url: str, trials: Iterator[FrozenTrial]) -> None:
    """Write trials in bulk with RecordStorage, in Optuna's schema: Optuna's own storage takes 9 ms for each."""
    with contextlib.closing(RecordStorage(url, autocommit=False)) as storage:
        add(storage, trials)


class _Memory(BaseJournalBackend):
    """A journal backend that is a list."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))


def fill_journal(path: Path, trials: Iterator[FrozenTrial]) -> None:
    """Write a journal file at once."""
    memory = _Memory()
    add(optuna.storages.JournalStorage(memory), trials)
    JournalFileBackend(str(path)).append_logs(memory.logs)


@contextlib.contextmanager
def peer_storage(kind: str, fill: Callable[[], Iterator[FrozenTrial]], url: str = "") -> Iterator[Any]:
    """One of Optuna's storages with the trials of `fill`.

    Args:
        kind: "memory", "SQLite", "journal" or "PostgreSQL" (at `url`; a study of that name there is deleted first).
        fill: Makes the trials.
        url: Of the PostgreSQL database.
    """
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        if kind == "memory":
            storage: Any = optuna.storages.InMemoryStorage()
            add(storage, fill())
        elif kind == "journal":
            fill_journal(Path(folder) / "journal", fill())
            storage = optuna.storages.JournalStorage(JournalFileBackend(f"{folder}/journal"))
        else:
            url = url or f"sqlite:///{folder}/study.db"
            forget(url)
            fill_database(url, fill())
            storage = optuna.storages.RDBStorage(url)
        try:
            yield storage
        finally:
            if isinstance(storage, optuna.storages.RDBStorage):
                storage.remove_session()
                storage.engine.dispose()


def forget(url: str) -> None:
    """Delete the study of an earlier measurement."""
    with contextlib.closing(RecordStorage(url, autocommit=False)) as storage, contextlib.suppress(KeyError):
        storage.delete_study(storage.get_study_id_from_name(NAME))


@contextlib.contextmanager
def postgres_at(given: str) -> Iterator[str]:
    """The URL of PostgreSQL: `given`; for "start", that of a server started as for the tests, but with fsync."""
    if given != "start":
        yield normalize_url(given) if given else ""
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.support import postgres

    postgres.SETTINGS.update(fsync="on", full_page_writes="on")
    server = postgres.Server()
    try:
        yield normalize_url(server.new_database())
    finally:
        server.stop()
