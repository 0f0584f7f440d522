"""Damaged files of a run: what is intact is read, the rest is ignored, and no command fails because of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from pilotune.pipeline.cli.main import main
from pilotune.pipeline.driver.job_chain import JobChain, chains_in, read_chain
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import known_studies
from pilotune.pipeline.studies.request import FILE, load_options
from pilotune.pipeline.trial.protocol import Outcome
from pilotune.providers.blocks.job_log import JobLog, RecordedJob, read_job_log
from pilotune.providers.node.agent import LaunchError, read_launch

from ...support.cli import new_study
from ...support.fuzzing import clear, deep, fuzzed, mutated, rubbish, scribbled, texts


def said(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def spoilt(data: Any) -> st.SearchStrategy[bytes]:
    """A JSON file with wrong values or editing errors, cut off, or with other content."""
    return st.one_of(
        mutated(data).map(said),
        mutated(data, most=1).map(said),
        scribbled(json.dumps(data)).map(lambda text: text.encode("utf-8", "surrogatepass")),
        rubbish().map(said),
        st.binary(max_size=50),
        st.sampled_from((b"", b"[" * 100_000, b'{"a":' * 100_000, b"\0" * 4096, said(deep(900)), b'{"pid": 1e999}')),
    )


OUTCOME = dataclasses.asdict(
    Outcome("0.1.c", 0, 1, "complete", [0.5], user_attrs={"a": [1]}, reports=[[0, 0.25]], host="h")
)
STATUS = dataclasses.asdict(
    Status(
        "digits",
        "c1",
        "running",
        host="elsewhere",
        pid=2**22 + 1,
        started=1e9,
        updated=1e9 + 60,
        workers=2,
        running=1,
        complete=3,
        failed=1,
        total=5,
        budget=10,
        best_number=1,
        best_values=[0.5],
        best_params={"lr": 0.1, "f": None},
        rate=3.5,
        utilization=0.5,
        time_left=60.0,
        storage="sqlite:////x.db",
        run_dir="/x",
        rungs={"3": 1},
        message="well",
        waiting="for blocks",
        running_trials=[{"number": 4, "attempt": 1, "host": "n1", "seconds": 2.5}],
        blocks=[
            {
                "pool": "cpu",
                "block": "0",
                "job": "7",
                "state": "running",
                "reason": "",
                "workers": 2,
                "ends": 1e9 + 900,
                "since": 1e9,
            }
        ],
    )
)
RELAY = {
    **dataclasses.asdict(
        JobChain(Path("/x"), "digits", "sqlite:////x.db", "nowhere", "lab", "l", ("run", "x"), {"A": "b"})
    ),
    "folder": "/x",
    "job": "7",
}
COMMAND = {"site": "lab", "trials": 5, "overrides": ["budget.time=1h"]}
LAUNCH = {
    "command": "exec process_worker_pool.py -d",
    "accelerators": ["0", "1"],
    "gpu_type": "amd",
    "environment": {"A": "b"},
}
RECORDED = dataclasses.asdict(RecordedJob("p-1", "slurm", "cpu", "0", "7", "", 1e9))


def at(base: Path, name: str, data: bytes) -> Path:
    path = base / name
    path.write_bytes(data)
    return path


@given(spoilt(OUTCOME))
@fuzzed(80)
def test_any_outcome_file(data) -> None:
    try:
        outcome = Outcome.from_json(data)
    except ValueError:
        return
    assert outcome.kind in ("complete", "pruned", "failed", "yielded", "stopped", "declined")
    assert all(0 <= step < 2**31 and float(value) is not None for step, value in outcome.reports)
    assert outcome.finished - outcome.started < float("inf")


@given(spoilt(RELAY))
@fuzzed(50)
def test_any_file_of_a_job_chain(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.getbasetemp() / "in-job-1"
    folder.mkdir(exist_ok=True)
    at(folder, "relay.json", data)
    chain = read_chain(folder)
    assert len(chains_in(folder.parent)) == (chain is not None)
    assert chain is None or (chain.folder == folder and all(type(word) is str for word in chain.words))


@given(spoilt(COMMAND))
@fuzzed(40)
def test_any_remembered_command(tmp_path_factory, data) -> None:
    known = load_options(at(tmp_path_factory.getbasetemp(), FILE, data).parent)
    assert known.site is None or type(known.site) is str
    assert known.trials is None or type(known.trials) is int
    assert all(type(word) is str for word in known.overrides)


@given(spoilt(LAUNCH))
@fuzzed(50)
def test_any_launch_file(tmp_path_factory, data) -> None:
    path = at(tmp_path_factory.getbasetemp(), "cpu.json", data)
    try:
        launch = read_launch(path)
    except LaunchError as problem:
        clear(problem, "the launch file")
        return
    assert all(type(word) is str for word in (*launch.command, *launch.accelerators, *launch.environment.values()))


@given(st.lists(spoilt(RECORDED), max_size=4), st.booleans())
@fuzzed(50)
def test_any_record_of_jobs_keeps_what_is_whole(tmp_path_factory, lines, cut) -> None:
    path = tmp_path_factory.getbasetemp() / "jobs.jsonl"
    path.unlink(missing_ok=True)
    book = JobLog(path, "slurm", 1.0)
    book.submitting("mine", "cpu", "0")
    path.write_bytes(path.read_bytes() + b"\n".join(line.replace(b"\n", b" ") for line in lines) + b"\n" * (not cut))
    path.write_bytes(path.read_bytes() + b"\n" * cut)
    book.submitted("mine", "cpu", "0", "7", 1.0)
    jobs = read_job_log(path)
    assert next(job.job for job in jobs if job.name == "mine") == "7"
    for job in jobs:
        assert {type(getattr(job, name)) for name in ("name", "scheduler", "pool", "block", "job", "ended")} == {str}


# -- the commands that read them --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Account:
    """A user's files: a study that was run once, and everything about it."""

    folder: Path
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/study.db"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "digits" / "c1"

    @property
    def note(self) -> Path:
        return self.folder / "state" / "pilotune" / "studies" / "digits.json"

    def call(self, *words: str) -> tuple[int, str]:
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        err = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
            for stream in (sys_out := out, err):
                stream.flush()
        said = err.buffer.getvalue().decode()
        assert code in (0, 1, 2), (words, code, said)
        assert "Traceback" not in said
        assert "unexpectedly" not in said
        return code, sys_out.buffer.getvalue().decode()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("account")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.delenv("PILOTUNE_DEBUG", raising=False)
        patch.chdir(folder)
        account = Account(folder)
        account.run.mkdir(parents=True)
        new_study(account.url).add_trial(create_trial(state=TrialState.COMPLETE, value=0.5))
        known_studies.save(
            name="digits",
            study_file=folder / "s.yaml",
            storage=account.url,
            runs=folder / "runs",
            site="local",
            run_dir=account.run,
        )
        (account.run / "status.json").write_text(json.dumps(STATUS))
        yield account


def test_the_undamaged_files_are_valid(account) -> None:
    assert "3 complete" in account.call("status", "digits")[1]
    assert json.loads(account.call("status", "--json")[1])[0]["campaigns"][0]["blocks"][0]["job"] == "7"


@given(spoilt(STATUS), st.sampled_from((("status", "digits"), ("status",), ("status", "--json"))), st.booleans())
@fuzzed(50)
def test_any_status_file(account, data, words, lives) -> None:
    path = account.run / "status.json"
    path.write_bytes(data.replace(b'"elsewhere"', json.dumps(os.uname().nodename).encode()) if lives else data)
    with contextlib.suppress(ValueError):
        status = Status.from_json(path.read_bytes())
        assert Status.from_json(status.to_json()) == status or "NaN" in status.to_json()
    code, out = account.call(*words)
    assert code == 0
    assert "digits" in out
    if "--json" in words:
        json.loads(out, parse_constant=lambda word: pytest.fail(word))
    path.write_text(json.dumps(STATUS))


@given(
    spoilt(
        json.loads(
            json.dumps(
                {
                    **dict.fromkeys(("study_file", "runs", "run_dir"), "/x"),
                    "name": "digits",
                    "site": "s",
                    "storage": "sqlite:////x.db",
                    "updated": 1e9,
                }
            )
        )
    ),
    st.sampled_from(
        (
            ("status",),
            ("status", "digits"),
            ("best", "digits"),
            ("trials", "digits"),
            ("stop", "digits"),
            ("watch", "digits"),
            ("resume", "digits"),
            ("clean", "digits"),
            ("status", "--json"),
        )
    ),
)
@fuzzed(40)
def test_any_note_of_where_a_study_runs(account, data, words) -> None:
    kept = account.note.read_bytes()
    account.note.write_bytes(data)
    try:
        account.call(*words)
    finally:
        account.note.write_bytes(kept)


# -- what is in the database ------------------------------------------------------------------------------------------

ATTRIBUTES = st.dictionaries(
    st.one_of(
        st.sampled_from(
            (
                "pilotune:exit",
                "pilotune:reason",
                "pilotune:seconds_running",
                "pilotune:peak_memory",
                "pilotune:attempts",
                "note",
                "pilotune:traceback",
                "pilotune:details",
                "pilotune:rung",
                "pilotune:host",
                "pilotune:directory",
                "pilotune:constants",
                "pilotune:from",
                "values",
                "number",
                "state",
                "params_x",
            )
        ),
        texts().filter(lambda key: key.isprintable() and len(key) < 500),
    ),
    rubbish(),
    max_size=4,
)
SHOWN = tuple(
    tuple(line.split())
    for line in (
        "trials",
        "trials --json",
        "best",
        "best --json",
        "export --format csv",
        "export --format json",
        "export --best",
        "export --out t.parquet",
        "status",
        "verify",
    )
)


@given(
    st.lists(
        st.tuples(
            ATTRIBUTES,
            st.sampled_from((TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)),
            st.one_of(st.floats(allow_nan=False), st.just(1e308)),
            st.dictionaries(st.integers(0, 2**31 - 1), st.floats(), max_size=2),
        ),
        min_size=1,
        max_size=3,
    )
)
@fuzzed(8)
def test_any_attribute_can_be_shown_and_exported(account, rows) -> None:
    trials = [
        create_trial(
            state=state,
            value=value if state == TrialState.COMPLETE else None,
            user_attrs=attributes,
            system_attrs=attributes,
            intermediate_values=steps,
            params={"x": 0.5},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        )
        for attributes, state, value, steps in rows
    ]
    name = f"s{next(account.numbers)}"
    new_study(account.url, name).add_trials(trials)
    for words in SHOWN:
        account.call(words[0], name, *words[1:], "--storage", account.url)


def test_names_of_files_in_another_encoding_can_be_shown_and_exported(account) -> None:
    name = f"s{next(account.numbers)}"
    attributes = {"note": "caf\udce9", "pilotune:reason": "OSError: caf\udce9\0", "pilotune:host": "\ud800"}
    states = (TrialState.FAIL, TrialState.PRUNED)
    new_study(account.url, name).add_trials([create_trial(state=state, user_attrs=attributes) for state in states])
    for words in SHOWN:
        account.call(words[0], name, *words[1:], "--storage", account.url)
