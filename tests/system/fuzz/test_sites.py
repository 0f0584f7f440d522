"""Site files with any error, and schedulers that print anything."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pilotune.errors import SiteError, UserError
from pilotune.pipeline.cli.main import main
from pilotune.providers.schedulers import cobalt, pbs, slurm
from pilotune.providers.schedulers.commands import Answer
from pilotune.providers.schedulers.jobs import Job, Phase, SchedulerUnreachable
from pilotune.providers.site import Site, load_site
from pilotune.providers.site.spec import render_site, site_json

from ...support.fuzzing import as_yaml, fuzzed, mutated, placed, readable, rubbish, scribbled, texts

SITES: dict[str, dict[str, Any]] = {
    "slurm": {
        "name": "lab",
        "scheduler": "slurm",
        "account": "${PROJECT:-proj1}",
        "modules": ["use /soft/modulefiles", "conda"],
        "setup": "conda activate base\nexport X=${HOME}\n",
        "network": {"interface": ["ib0", "eth0"]},
        "runs": "/scratch/pilotune",
        "poll": "30s",
        "driver": {"queue": "long", "walltime": "1d", "cores": 2, "memory": "4GB"},
        "pools": {
            "cpu": {
                "queue": "normal",
                "walltime": "1h",
                "blocks": {"init": 1, "min": 0, "max": 4, "idle": "2m"},
                "nodes_per_block": 2,
                "workers_per_node": 4,
                "cores_per_node": 64,
                "memory_per_node": "192GB",
                "launcher": {"name": "srun", "options": "--exclusive"},
                "options": ["#SBATCH --constraint=knl"],
            },
            "gpu": {
                "walltime": "00:30:00",
                "gpus_per_node": 4,
                "gpu_type": "amd",
                "affinity": "list:0-3:4-7:8-11:12-15",
            },
        },
    },
    "pbs": {"scheduler": "pbs", "network": {"address": "10.0.0.1"}, "pools": {"p": {"walltime": 600, "queue": "q"}}},
    "cobalt": {"scheduler": "cobalt", "pools": {"p": {"walltime": "45m", "nodes_per_block": 8, "launcher": "aprun"}}},
    "local": {"scheduler": "local", "pools": {"local": {"workers_per_node": 2, "blocks": {"max": 1}}}},
}
LIKELY = st.sampled_from(
    (
        "local",
        "slurm",
        "single",
        "mpiexec",
        "block",
        "list:0:1",
        "list:",
        "0",
        "10",
        "1m",
        "59s",
        "1GB",
        "${HOME}",
        "${NOT_SET_AT_ALL}",
        "${",
        "use",
        0,
        1,
        2,
        10**6,
        -1,
        0.5,
        {},
        [],
        ["a"],
        {"max": 0},
        {"init": 5, "min": 3, "max": 4},
        "#PBS -l select=1\nrm -rf /",
        "eth0",
    )
)
KEYS = (
    "pools.cpu.walltime",
    "pools.cpu.blocks.max",
    "pools.cpu",
    "pools",
    "scheduler",
    "runs",
    "modules.0",
    "driver.cores",
    "pools.cpu.launcher",
    "pools.cpu.launcher.name",
    "network.interface",
    "x",
    "pools.new.walltime",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sites")


def written(folder: Path, data: Any) -> Path:
    path = folder / "lab.yaml"
    if not isinstance(data, str):
        try:
            data = as_yaml(data)
        except (yaml.YAMLError, RecursionError):
            data = "name: x\n"
    path.write_bytes(data.encode("utf-8", "surrogatepass"))
    return path


def loaded(path: Path, settings: tuple[str, ...] = ()) -> Site | None:
    """The site, which can be shown and written; None after an error with its place."""
    try:
        site = load_site(path, settings)
    except UserError as error:
        placed(error, path)
        return None
    assert render_site(site)
    assert site_json(site)["pools"]
    again = path.with_name("again.yaml")
    again.write_text(site.resolved(), encoding="utf-8")
    twin = load_site(again)
    for name in ("scheduler", "account", "modules", "setup", "runs", "poll", "pools", "network"):
        if "${" not in str(getattr(site, name)):
            assert getattr(twin, name) == getattr(site, name), name
    return site


@pytest.mark.parametrize("kind", SITES)
def test_the_unchanged_sites_are_valid(folder, kind) -> None:
    assert loaded(written(folder, SITES[kind])) is not None


@example({**SITES["pbs"], "\ud800": 1})
@example({**SITES["pbs"], "runs": "/a\0b"})
@given(st.sampled_from(list(SITES.values())).flatmap(lambda data: mutated(data, LIKELY)))
@fuzzed(80)
def test_changed_site_files(folder, data) -> None:
    loaded(written(folder, data))


@given(st.sampled_from([as_yaml(data) for data in SITES.values()]).flatmap(scribbled))
@fuzzed(50)
def test_site_files_with_editing_errors(folder, text) -> None:
    loaded(written(folder, text))


@given(st.one_of(rubbish(), st.dictionaries(st.sampled_from([*SITES["slurm"], "pool"]), rubbish(), max_size=5)))
@fuzzed(40)
def test_rubbish_as_a_site_file(folder, data) -> None:
    loaded(written(folder, data))


def test_an_environment_variable_that_is_no_text_is_refused(folder, monkeypatch) -> None:
    monkeypatch.setenv("PROJECT", "caf\udce9")
    assert loaded(written(folder, SITES["slurm"])) is None


@given(st.lists(st.builds("{}={}".format, st.sampled_from(KEYS), st.one_of(LIKELY.map(str), texts())), max_size=3))
@fuzzed(40)
def test_any_setting_of_a_site(folder, settings) -> None:
    loaded(written(folder, SITES["slurm"]), tuple(settings))


@given(st.sampled_from(list(SITES.values())).flatmap(lambda data: mutated(data, LIKELY, most=1)))
@fuzzed(30)
def test_the_command_line_shows_any_site_or_ends_with_2_and_a_sentence(folder, data) -> None:
    path = written(folder, data)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["site", "show", str(path)])
    err.flush()
    said = err.buffer.getvalue().decode()
    assert code in (0, 2), said
    assert (code == 0) == (not said)
    assert said == "" or said.startswith(f"error: {path}")


# -- what schedulers print --------------------------------------------------------------------------------------------

SQUEUE = (
    "7             |PENDING       |0            |Resources     |\n"
    "8             |CANCELLED+    |0:15         |None          |\n9|FAILED|1:0|NonZeroExitCode|\n"
)
DSV = (
    "Job Id: 7.head|Job_Name=p|job_state=R|substate=42|comment=Job run at Sat\\|x|Exit_status=0\n"
    "Job Id: 8.head|job_state=F|Exit_status=-29|comment=and exceeded resource walltime\n"
)
QSTAT = "JobID  State    \n=================\n7      running  \n8      user_hold\n"
COBALTLOG = (
    "Info: maximum execution time exceeded; initiating job termination\n"
    "Info: task completed normally with an exit code of 3; initiating job cleanup\n"
)
IDS = ["7", "8", "9"]
ODD_LINES = st.one_of(
    texts(),
    st.sampled_from(
        (
            "slurm_load_jobs error: Unable to contact slurm controller",
            "7|",
            "|7",
            "7||||",
            "7|" * 50,
            "7 7 7",
            "Job Id:",
            "7 " + "9" * 5000,
            "7|X|" + "9" * 5000 + "|",
            "7|FAILED|" + "9" * 5000 + ":0|x|",
            "Job Id: 7|job_state=F|Exit_status=" + "9" * 5000,
            "an exit code of " + "9" * 5000,
        )
    ),
)


def printed(text: str) -> st.SearchStrategy[str]:
    """Output of a scheduler: real, changed, mixed with other words, or unrelated."""
    lines = st.lists(st.one_of(st.sampled_from(text.splitlines()), ODD_LINES, scribbled(text)), max_size=5)
    return st.one_of(scribbled(text), lines.map("\n".join), texts())


def sound(jobs: dict[str, Job]) -> None:
    for name, job in jobs.items():
        assert name in IDS
        assert job.id == name
        assert isinstance(job.phase, Phase)
        assert (job.phase == Phase.ENDED) or job.end is None
        assert isinstance(job.reason, str)


@example("7|FAILED|" + "9" * 5000 + ":0|x|")
@example("7|FAILED|²|x|")
@given(printed(SQUEUE))
@fuzzed(60)
def test_anything_from_squeue_and_sacct(text) -> None:
    sound(slurm.read_jobs(text, IDS))


@example("Job Id: 7|job_state=F|Exit_status=" + "9" * 5000)
@given(printed(DSV))
@fuzzed(60)
def test_anything_from_qstat_of_pbs(text) -> None:
    sound({job: pbs.read_job(job, record) for job, record in pbs.read_dsv(text) if job in IDS})


@example("", "task completed normally with an exit code of " + "9" * 5000)
@given(printed(QSTAT), printed(COBALTLOG))
@fuzzed(60)
def test_anything_from_qstat_and_a_log_of_cobalt(table, log) -> None:
    sound({job: cobalt.job_in(job, state) for job, state in cobalt.read_table(table).items() if job in IDS})
    ended = cobalt.read_log("7", log)
    sound({} if ended is None else {"7": ended})


@given(texts(), texts())
@fuzzed(40)
def test_anything_in_the_place_of_an_exit_code(state, code) -> None:
    job = slurm.read_job("7", state, code, "None")
    assert job.exit_code is None or isinstance(job.exit_code, int)


PROVIDERS = {"slurm": (slurm, SQUEUE), "pbs": (pbs, DSV), "cobalt": (cobalt, QSTAT)}


@given(
    st.sampled_from(sorted(PROVIDERS)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.lists(
                st.builds(Answer, st.sampled_from((0, 1, 35, 124, 153, 255, -9)), printed(PROVIDERS[name][1]), texts()),
                min_size=1,
                max_size=4,
            ),
        )
    )
)
@fuzzed(60)
def test_any_answer_is_a_state_a_refusal_or_a_scheduler_that_is_away(folder, case) -> None:
    """A whole query and a submission, with commands that print these answers one after the other."""
    name, answers = case
    site = load_site(written(folder, {"scheduler": name, "pools": {"p": {"walltime": "1h"}}}))
    module = PROVIDERS[name][0]
    given_answers = iter(answers * 50)

    def answer(argv: Sequence[str], *_: Any, **__: Any) -> Answer:
        return next(given_answers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run", answer)
        provider = {"slurm": slurm.SlurmBlocks, "pbs": pbs.PBSBlocks, "cobalt": cobalt.CobaltBlocks}[name].for_pool(
            site, site.pools[0], ""
        )
        provider.place(folder, "label")
        for ask in (lambda: sound(provider.query(IDS)), lambda: provider.names(IDS), lambda: provider.cancel_one("7")):
            with contextlib.suppress(SchedulerUnreachable, SiteError):
                ask()
        for each in answers:
            job = provider.read_job_id(each)
            assert job is None or (readable(job) and not job.isspace())
