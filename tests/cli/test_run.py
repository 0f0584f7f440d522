"""The commands ``init``, ``check``, ``run`` and ``resume``. Campaigns are replaced; none runs here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import yaml

from pilotune.errors import PilotuneError, RecordStarting, SiteError, StudyMismatch
from pilotune.pipeline.cli.commands import run as cli_run
from pilotune.pipeline.driver import open_record
from pilotune.pipeline.driver import run as campaign_run
from pilotune.pipeline.driver.status import Status
from pilotune.pipeline.record import RecordStorage, RunDirectory, known_studies

from ..support.cli import Pilotune, Result, alone, of_pilotune, pilotune_  # noqa: F401


@pytest.fixture
def study(pilotune: Pilotune) -> Path:
    """The study that ``pilotune init`` writes."""
    assert pilotune("init", "rings").code == 0
    return Path.cwd() / "rings" / "study.yaml"


class Campaigns:
    """Stands in for campaigns: keeps what they were asked to do, and leaves a study of six trials behind."""

    def __init__(self) -> None:
        self.asked: list[campaign_run.RunSettings] = []
        self.code = 0
        self.error: Exception | None = None

    def __call__(
        self,
        settings: campaign_run.RunSettings,
        listener: Callable[[Status], None],
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> Status:
        self.asked.append(settings)
        if self.error is not None:
            raise self.error
        path = Path(settings.storage_url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        name = settings.study_file.name
        if name not in (optuna.get_all_study_names(settings.storage_url) if path.exists() else []):
            of_pilotune(settings.storage_url, name)
        run = settings.runs / name / "20260101-120000-aaaaaa"
        known_studies.save(
            name=name,
            study_file=settings.study_file.path,
            storage=settings.storage_url,
            runs=settings.runs,
            site=settings.site.name,
            run_dir=run,
        )
        now = time.time()
        status = Status(name, run.name, "ended", "the budget is used up", self.code, started=now - 5, updated=now)
        status = Status(**{**vars(status), "storage": settings.storage_url, "run_dir": str(run), "best_number": 1})
        listener(status)
        return status


@pytest.fixture
def campaigns(monkeypatch: pytest.MonkeyPatch) -> Campaigns:
    stand_in = Campaigns()
    monkeypatch.setattr(campaign_run, "run_campaign", stand_in)
    return stand_in


def test_init_writes_a_study_of_the_folders_name_and_overwrites_nothing(pilotune: Pilotune, study: Path) -> None:
    assert yaml.safe_load(study.read_text())["name"] == "rings"
    study.write_text("mine")
    result = pilotune("init", "rings")
    assert (result.code, "is not overwritten" in result.err) == (2, True)
    assert study.read_text() == "mine"


@pytest.mark.parametrize("name", ["2nd.try", "on", "1e3", "true"])
def test_init_takes_names_that_yaml_would_take_for_something_else(pilotune: Pilotune, name: str) -> None:
    pilotune("init", name)
    result = pilotune("check", name)
    assert (result.code, result.out.split()[:2]) == (0, ["study", name])


def test_check_prints_the_plan_with_brackets_blocks_and_storage(pilotune: Pilotune, study: Path) -> None:
    result = pilotune("check", study, "--set", "budget.trials=7", "--set", "pools.local.workers_per_node=3")
    assert (result.code, result.err) == (0, "")
    for words in ("bracket", "7 trials", "x 3 workers", "storage    sqlite:///"):
        assert words in result.out
    assert not (study.parent / "pilotune-runs").exists()


def test_check_as_json(pilotune: Pilotune, study: Path) -> None:
    data = json.loads(pilotune("check", study.parent, "--json").out)
    assert set(data) == {"study", "site", "pools", "placement", "cost", "storage", "runs", "notes"}
    plan = pilotune("check", study).out
    rungs = ", ".join(map(str, data["study"]["brackets"][0]["rungs"]))
    assert rungs
    assert rungs in plan


def test_a_wrong_study_file_is_a_sentence_with_file_line_and_key(pilotune: Pilotune, study: Path) -> None:
    study.write_text(study.read_text().replace("direction:", "directoin:"))
    for command in ("check", "run"):
        result = pilotune(command, study)
        assert result.code == 2
        assert "study.yaml:" in result.err
        assert "directoin" in result.err
        assert all(line.startswith("error: ") for line in result.err.splitlines())


def test_run_prints_the_summary_and_how_to_continue(pilotune: Pilotune, study: Path, campaigns: Campaigns) -> None:
    result = pilotune("run", study)
    assert result.code == 0
    for words in (
        "2 complete, 1 pruned, 1 failed",
        "1 at step 3",
        "1 killed by a signal",
        "value 0.9 (trial 1)",
        "pilotune resume rings",
    ):
        assert words in result.out
    assert "0/0" not in result.err
    assert result.err != ""


def test_run_keeps_quiet_when_asked_to(pilotune: Pilotune, study: Path, campaigns: Campaigns) -> None:
    assert pilotune("run", study, "--quiet").err == ""


def test_run_as_json(pilotune: Pilotune, study: Path, campaigns: Campaigns) -> None:
    data = json.loads(pilotune("run", study, "--json").out)
    assert data["summary"]["rungs"] == {"3": 1}
    assert data["campaign"]["state"] == "ended"


def test_run_passes_its_options_on(pilotune: Pilotune, study: Path, campaigns: Campaigns, tmp_path: Path) -> None:
    pilotune(
        "run", study, "--trials", "9", "--set", "budget.failures=3", "--set", "pools.local.workers_per_node=5",
        "--new-name", "other", "--storage", "sqlite:///o.db", "--runs", tmp_path / "elsewhere",
    )  # fmt: skip
    (asked,) = campaigns.asked
    assert (asked.study_file.name, asked.study_file.budget.trials, asked.study_file.budget.failures) == ("other", 9, 3)
    assert asked.site.pools[0].workers_per_node == 5
    assert asked.storage_url == f"sqlite:///{Path.cwd()}/o.db"
    assert asked.runs == asked.site.runs == tmp_path / "elsewhere"


def test_run_directories_are_beside_the_study_or_where_the_environment_says(
    pilotune: Pilotune, study: Path, campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pilotune("run", study)
    monkeypatch.setenv("PILOTUNE_RUNS", str(tmp_path / "runs"))
    pilotune("run", study)
    folders = [study.parent / "pilotune-runs", tmp_path / "runs"]
    assert [asked.runs for asked in campaigns.asked] == folders
    assert [asked.storage_url for asked in campaigns.asked] == [f"sqlite:///{f}/rings/study.db" for f in folders]


def test_a_storage_in_the_study_file_is_relative_to_it(pilotune: Pilotune, study: Path, campaigns: Campaigns) -> None:
    study.write_text(study.read_text() + "\nstorage: sqlite:///mine.db\n")
    pilotune("run", study)
    assert campaigns.asked[0].storage_url == f"sqlite:///{study.parent}/mine.db"


@pytest.mark.parametrize("code", [0, 1, 130])
def test_the_exit_code_is_the_campaigns(pilotune: Pilotune, study: Path, campaigns: Campaigns, code: int) -> None:
    campaigns.code = code
    assert pilotune("run", study).code == code


@pytest.mark.parametrize(
    ("error", "code"),
    [(SiteError("no workers"), 3), (StudyMismatch("other space; --new-name"), 2), (PilotuneError("x"), 1)],
)
def test_an_error_that_ends_a_campaign_is_printed_as_one_sentence(
    pilotune: Pilotune, study: Path, campaigns: Campaigns, error: Exception, code: int
) -> None:
    campaigns.error = error
    result = pilotune("run", study)
    assert (result.code, result.out, result.err) == (code, "", f"error: {error}\n")


def test_resume_works_from_any_folder(
    pilotune: Pilotune, study: Path, campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pilotune("run", study, "--new-name", "other", "--storage", "sqlite:///o.db")
    monkeypatch.chdir(tmp_path)
    assert pilotune("resume", "other", "--trials", "77").code == 0
    first, second = campaigns.asked
    assert (second.storage_url, second.runs, second.study_file.name) == (first.storage_url, first.runs, "other")
    assert second.study_file.budget.trials == 77


def test_resume_keeps_the_options_of_the_last_run_and_changes_those_given(
    pilotune: Pilotune, study: Path, campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (Path.cwd() / "box.yaml").write_text("scheduler: local\npools: {cpu: {workers_per_node: 3}}\n")
    options = ["--set", "budget.failures=3", "--set", "budget.time=1h", "--trials", "9", "--site", "box.yaml"]
    pilotune("run", study, *options)
    monkeypatch.chdir(tmp_path)
    assert pilotune("resume", "rings", "--set", "budget.time=2h").code == 0
    asked = campaigns.asked[1]
    assert (asked.study_file.budget.failures, asked.study_file.budget.time, asked.study_file.budget.trials) == (
        3,
        7200,
        9,
    )
    assert asked.site.pools[0].workers_per_node == 3
    pilotune("run", study)
    pilotune("resume", "rings")
    assert campaigns.asked[3].study_file.budget.failures != 3


def test_resume_at_another_site_leaves_the_settings_of_the_last_ones_pools_out(
    pilotune: Pilotune, study: Path, campaigns: Campaigns
) -> None:
    pilotune("run", study, "--set", "pools.local.workers_per_node=3", "--set", "budget.failures=4")
    Path("two.yaml").write_text("scheduler: local\npools: {small: {}}\n")
    assert pilotune("resume", "rings", "--site", "two.yaml").code == 0
    asked = campaigns.asked[-1]
    assert ([pool.name for pool in asked.site.pools], asked.study_file.budget.failures) == (["small"], 4)
    pilotune("run", study, "--site", "two.yaml", "--set", "pools.small.workers_per_node=5")
    pilotune("resume", "rings", "--site", "two.yaml")
    assert campaigns.asked[-1].site.pools[0].workers_per_node == 5


SITES = {
    "one.yaml": "scheduler: slurm\npools: {cpu: {walltime: 1h}, gpu: {walltime: 1h}}\n",
    "two.yaml": "scheduler: pbs\npools: {cpu: {walltime: 1h}}\n",
}
BOTH = ["--site", "one", "--site", "./two.yaml"]


@pytest.fixture
def sites(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the study, with two site files."""
    monkeypatch.chdir(study.parent)
    for name, text in SITES.items():
        (study.parent / name).write_text(text)
    return study.parent


def test_a_study_runs_on_several_sites_and_resumes_on_all_of_them(
    pilotune: Pilotune, sites: Path, campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pilotune("run", "study.yaml", *BOTH, "--set", "two.account=proj", "--trials", 9).code == 0
    monkeypatch.setenv("PILOTUNE_SITES", str(sites))
    monkeypatch.chdir("/")
    assert pilotune("resume", "rings").code == 0
    for settings in campaigns.asked:
        assert [part.name for part in settings.site.parts] == ["one", "two"]
        assert [pool.name for pool in settings.site.pools] == ["one.cpu", "gpu", "two.cpu"]
        assert settings.site.home("two.cpu").account == "proj"
        assert {part.runs for part in settings.site.each} == {sites / "pilotune-runs"}
    pilotune("resume", "rings", "--site", "local")
    assert not campaigns.asked[-1].site.parts
    assert campaigns.asked[-1].study_file.budget.trials == 9


def test_check_and_a_dry_run_show_all_sites(pilotune: Pilotune, sites: Path) -> None:
    text = pilotune("check", "study.yaml", *BOTH).out
    for words in ("site       one (slurm)", "site       two (pbs)", "pool       two.cpu: ", "must see"):
        assert words in text
    data = json.loads(pilotune("check", "study.yaml", *BOTH, "--json").out)
    assert [site["name"] for site in data["sites"]] == ["one", "two"]
    assert "site" not in data
    scripts = pilotune("run", "study.yaml", *BOTH, "--dry-run").out
    assert ("#SBATCH" in scripts, "#PBS" in scripts) == (True, True)
    assert "PILOTUNE_POOL=two.cpu" in scripts
    mixed = pilotune("check", "study.yaml", "--site", "local", "--site", "one")
    assert "a part of the trials runs on this host" in mixed.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--site", "one", "--site", "one"], "--site: site one is given twice; a campaign uses each site once"),
        (["--site", "one", "--site", "tow"], "--site: there is no site 'tow'; did you mean 'two'?"),
        ([*BOTH, "--set", "poll=1m"], "--set poll: it could be of each of the sites; write one.poll or two.poll"),
        ([*BOTH, "--set", "tow.poll=1m"], "--set tow.poll: neither study files nor site files have this key"),
        (
            [*BOTH, "--set", "trial.pools=cpu"],
            "--set trial.pools: the sites one and two have several pools 'cpu'; write one.cpu or two.cpu",
        ),
        (
            [*BOTH, "--set", "budget.node_hours={cpu: 3}"],
            "--set budget.node_hours: budget.node_hours.cpu: the sites one and two have several pools 'cpu'; write "
            "one.cpu or two.cpu",
        ),
        ([*BOTH, "--set", "trial.pools=kln"], "--set trial.pools: the sites one and two have no pool 'kln'"),
        ([*BOTH, "--in-job"], "--in-job runs the driver in a job of one site, from which the scheduler of another"),
    ],
)
def test_what_several_sites_leave_unclear_is_one_sentence(
    pilotune: Pilotune, sites: Path, options: list[str], message: str
) -> None:
    result = pilotune("run", "study.yaml", "--dry-run", *options)
    assert result.code == 2
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1


def test_resume_without_the_study_file_says_so(pilotune: Pilotune, study: Path, campaigns: Campaigns) -> None:
    pilotune("run", study)
    study.unlink()
    result = pilotune("resume", "rings")
    assert (result.code, "the study file of 'rings' is gone" in result.err) == (2, True)


def test_a_second_driver_on_a_file_is_refused_before_it_starts(
    pilotune: Pilotune, study: Path, campaigns: Campaigns
) -> None:
    runs = study.parent / "pilotune-runs"
    run = RunDirectory(runs / "rings" / "20260101-120000-aaaaaa")
    run.create()
    storage = f"sqlite:///{runs}/rings/study.db"
    now = time.time()
    status = Status("rings", run.path.name, "running", host=os.uname().nodename, pid=os.getpid(), storage=storage)
    run.status.write_text(Status(**{**vars(status), "started": now, "updated": now}).to_json())
    result = pilotune("run", study)
    assert result.code == 2
    assert "pilotune watch rings" in result.err
    assert campaigns.asked == []


def test_a_dry_run_starts_nothing(
    pilotune: Pilotune, study: Path, campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_run, "batch_scripts", lambda prepared: [("pool local", "process_worker_pool.py --debug\n")])
    result = pilotune("run", study, "--dry-run")
    assert result.code == 0
    assert "--- pool local ---\nprocess_worker_pool.py" in result.out
    assert json.loads(pilotune("run", study, "--dry-run", "--json").out)["scripts"][0]["name"] == "pool local"
    assert campaigns.asked == []
    assert not (study.parent / "pilotune-runs").exists()


def test_set_without_a_value_is_refused(pilotune: Pilotune, study: Path) -> None:
    result: Result = pilotune("run", study, "--set", "budget.trials")
    assert (result.code, result.err) == (
        2,
        "error: --set budget.trials: give KEY=VALUE, as in --set budget.trials=10\n",
    )


def test_a_database_that_is_not_ready_in_time_is_no_mistake_and_resume_goes_on(
    pilotune: Pilotune, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starting(url: str) -> RecordStorage:
        raise RecordStarting("the database server is not ready (the database system is starting up)")

    Path("small.py").write_text("def objective(x):\n    return x\n")
    Path("small.yaml").write_text(
        "name: small\nobjective: small.py:objective\ndirection: minimize\nspace: {x: {float: [0.0, 1.0]}}\n"
        "sampler: random\nbudget: {trials: 1}\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(open_record, "PATIENCE", 0.0)
        patch.setattr(open_record, "INTERVAL", 0.0)
        patch.setattr(open_record.open_when_ready, "__defaults__", (lambda: False, starting, time.time, time.sleep))
        refused = pilotune("run", "small.yaml")
    assert refused.code == 3
    assert "waiting: the database server is not ready (the database system is starting up); it is waited" in refused.err
    assert "once it is, pilotune resume small goes on" in refused.err
    campaigns = Campaigns()
    monkeypatch.setattr(campaign_run, "run_campaign", campaigns)
    assert pilotune("resume", "small").code == 0
    assert [settings.study_file.name for settings in campaigns.asked] == ["small"]
