"""``pilotune check`` and what ``run`` refuses as well: pools, imports, and where the database is."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from pilotune.pipeline.record import known_studies, open_storage, open_study
from pilotune.pipeline.studyfile import load_study_file

from ..support.cli import Pilotune, alone, of_pilotune, pilotune_  # noqa: F401

LAB = """
scheduler: slurm
%s
pools:
  gpu: {walltime: 1h, cores_per_node: 64, gpus_per_node: 4}
  cpu: {walltime: 1h, cores_per_node: 64, workers_per_node: 8%s}
"""


@pytest.fixture
def study(pilotune: Pilotune) -> Path:
    """The study that ``pilotune init`` writes."""
    assert pilotune("init", "rings").code == 0
    return Path.cwd() / "rings" / "study.yaml"


def test_check_and_run_refuse_what_no_pool_can_run_at_the_line_of_the_study_file(
    pilotune: Pilotune, study: Path
) -> None:
    cores = len(os.sched_getaffinity(0))
    offered = f"{cores} core{'s' if cores > 1 else ''}"
    study.write_text(study.read_text().replace("trial:", "trial:\n  gpus: 2\n  cores: 1\n#", 1))
    for command in ("check", "run", "try"):
        result = pilotune(command, study, *(["--set", "pools.local.gpus_per_node=0"] if command != "try" else []))
        if command == "try":
            assert "trial needs" not in result.err
            continue
        assert (result.code, result.out) == (2, "")
        assert "study.yaml:" in result.err
        assert f"trial.gpus: a trial needs 1 core and 2 GPUs; this machine offers {offered} and no GPU" in result.err
    huge = pilotune("check", study, "--set", "trial.gpus=0", "--set", f"trial.cores={cores + 1}")
    assert f"--set trial.cores: a trial needs {cores + 1} cores; this machine offers {offered}" in huge.err


def test_check_shows_which_pools_would_be_used_and_notes_what_may_not_be_meant(pilotune: Pilotune, study: Path) -> None:
    Path("lab.yaml").write_text(LAB % ("network: {interface: hsn99}\nname: slurm", ""))
    result = pilotune("check", study, "--site", "lab.yaml")
    assert result.code == 0
    for words in (
        "pool       gpu: 0 to 1 block of 1 node x 4 workers",
        "not used: left to trials that need GPUs; pool cpu has none, and runs these",
        "used: 8 trials at a time in a block",
        "note: this host has no network interface hsn99 ",
        "note: the site file lab.yaml says `name: slurm`",
        "\nNo problems found.",
    ):
        assert words in result.out
    data = json.loads(pilotune("check", study, "--site", "lab.yaml", "--json").out)
    assert [(pool["name"], pool["used"], pool["trials"]) for pool in data["pools"]] == [
        ("gpu", False, 0),
        ("cpu", True, 8),
    ]
    assert len(data["notes"]) == 2
    assert "placement" not in result.out, "there is one pool"
    result = pilotune("check", study, "--site", "lab.yaml", "--set", "trial.pools=[cpu, gpu]")
    line = "placement  learned: each trial where it gains most, by costs that are learned; trial.pools: cpu, gpu"
    assert line in result.out.splitlines()
    Path("lab.yaml").write_text(LAB % ("", ", blocks: {max: 0}"))
    result = pilotune("check", study, "--site", "lab.yaml")
    assert "note: the trials use no GPU, but their pool gpu has GPUs" in result.out
    planned = json.loads(pilotune("run", study, "--site", "lab.yaml", "--dry-run", "--json").out)
    assert len(planned["scripts"]) == 1
    assert "pool gpu" in planned["scripts"][0]["name"]


def test_check_finds_an_import_that_fails_and_only_notes_it_where_the_site_loads_modules(
    pilotune: Pilotune, study: Path
) -> None:
    objective = study.with_name("objective.py")
    objective.write_text("import torchh\n" + objective.read_text())
    result = pilotune("check", study)
    assert result.code == 2
    assert "objective.py:1: imports 'torchh', which is neither installed in" in result.err
    Path("lab.yaml").write_text(LAB % ("modules: [pytorch]", ""))
    result = pilotune("check", study, "--site", "lab.yaml")
    assert result.code == 0
    assert "note: " in result.out
    assert "imports 'torchh'" in result.out
    assert "the site's modules and setup must provide it" in result.out


def test_check_imports_the_objective_only_when_asked_to(pilotune: Pilotune, study: Path) -> None:
    objective, text = study.with_name("objective.py"), study.with_name("objective.py").read_text()
    for line, words in (
        ("raise ValueError('no data')", "raises ValueError: no data"),
        ("raise SystemExit(3)", "raises SystemExit: 3"),
        ("open('/no/such/file')", "raises FileNotFoundError: "),
    ):
        objective.write_text(f"\n{line}\n{text}")
        result = pilotune("check", study, "--import")
        assert result.code == 2
        assert f"objective.py:2: importing the objective {words}" in result.err
    objective.write_text("print('imported')\n" + text)
    assert "imported" not in pilotune("check", study).out
    result = pilotune("check", study, "--import")
    assert result.code == 0
    assert "note: the objective was imported in " in result.out


def test_a_mistyped_folder_of_the_database_is_not_made_and_the_study_is_named_where_it_is(
    pilotune: Pilotune, study: Path
) -> None:
    known(study, f"sqlite:///{Path.cwd()}/results.db")
    for command in ("check", "run"):
        result = pilotune(command, study, "--storage", "sqlite:///resluts/study.db")
        assert result.code == 2
        folder = Path.cwd() / "resluts"
        assert f"--storage: there is no folder {folder} for the database; make it, or correct the path" in result.err
        assert f"; study 'rings' is in sqlite:///{Path.cwd()}/results.db" in result.err
        assert not folder.exists()
    study.write_text(study.read_text() + "storage: sqlite:///nowhere/study.db\n")
    result = pilotune("run", study)
    assert result.code == 2
    assert f"storage: there is no folder {study.parent}/nowhere for the database" in result.err
    assert not (study.parent / "nowhere").exists()


def test_a_mistyped_file_of_the_database_is_not_made_by_what_reads_or_resumes(pilotune: Pilotune, study: Path) -> None:
    known(study, f"sqlite:///{Path.cwd()}/results.db")
    wrong = ["--storage", "sqlite:///resluts.db"]
    for command in (
        ["best", "rings"],
        ["trials", "rings"],
        ["export", "rings"],
        ["resume", "rings"],
        ["status", "rings"],
    ):
        result = pilotune(*command, *(wrong if command[0] != "status" else []))
        if command[0] == "status":
            continue
        assert result.code == 2, command
        assert f"there is no database file {Path.cwd()}/resluts.db" in result.err
        assert f"; study 'rings' is in sqlite:///{Path.cwd()}/results.db" in result.err
    assert not Path("resluts.db").exists()
    result = pilotune("check", study, *wrong)
    assert (
        f"note: the database {Path.cwd()}/resluts.db does not exist yet; study 'rings' is in sqlite:///" in result.out
    )
    of_pilotune(f"sqlite:///{Path.cwd()}/other.db", "squares")
    result = pilotune("best", "rings", "--storage", "sqlite:///other.db")
    assert f"no study 'rings' in sqlite:///{Path.cwd()}/other.db; study 'rings' is in sqlite:///" in result.err


def known(study: Path, url: str) -> None:
    """The study ``rings`` has run, and is in the database at ``url``."""
    of_pilotune(url, "rings")
    known_studies.save(
        name="rings", study_file=study, storage=url, runs=study.parent, site="local", run_dir=study.parent / "x"
    )


URLS = [
    ("sqlite://db.sqlite3", "sqlite:///db.sqlite3\n"),
    ("sqlite://results/study.db", "sqlite:///results/study.db\n"),
    ("study.db", "a URL: sqlite:///study.db or postgresql://host/database\n"),
    ("results/my.sqlite3", "a URL: sqlite:///results/my.sqlite3 or"),
    ("/home/me/study.db", "a URL: sqlite:////home/me/study.db or"),
    ("sqlite:study.db", "a URL: sqlite:///study.db or"),
    ("sqlite:/home/me/study.db", "a URL: sqlite:////home/me/study.db or"),
]


@pytest.mark.parametrize(("url", "words"), URLS)
def test_a_mistyped_url_is_answered_with_the_right_one(pilotune: Pilotune, study: Path, url: str, words: str) -> None:
    result = pilotune("check", study, "--storage", url)
    assert result.code == 2
    assert words in result.err


def test_check_refuses_run_directories_and_databases_that_run_refuses(pilotune: Pilotune, study: Path) -> None:
    Path("file").write_text("not a database, and not a folder")
    Path("open").mkdir(mode=0o777)
    Path("open").chmod(0o777)
    refusals = {
        ("--runs", "a*b"): "must not contain \\, *, ?, [ or control characters",
        ("--runs", "file/runs"): "file: the run directory cannot be created: this is a file",
        ("--runs", "open"): "all users may write to ",
        ("--storage", "sqlite:///file"): "file: this file is no SQLite database; name another one",
        ("--storage", "sqlite:///open"): "open: this is a folder; name a file for the database in it",
        (
            "--set",
            "start_from.studies=[squares]",
        ): "start_from.studies: no study 'squares' in the database, which does not",
    }
    for options, words in refusals.items():
        result = pilotune("check", study, *options)
        assert (result.code, result.out) == (2, ""), options
        assert words in result.err
    of_pilotune(f"sqlite:///{Path.cwd()}/other.db", "squares")
    learn = ["--storage", "sqlite:///other.db", "--set"]
    result = pilotune("check", study, *learn, "start_from.studies=[squares]")
    assert result.code == 0
    assert (
        "note: 'squares' has 2 complete trials that this space can use, and it takes 4, so it is passed over"
        in result.out
    )
    result = pilotune("check", study, *learn, "start_from.studies=[sqares]")
    assert "start_from.studies: no study 'sqares' in the database; did you mean 'squares'?" in result.err
    result = pilotune("check", study, *learn, "start_from.studies=[rings]")
    assert "start_from.studies: the study 'rings' cannot learn from itself" in result.err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["file", "open", "other.db", "rings"]


def test_check_refuses_another_study_of_the_same_name_in_the_database_as_run_does(
    pilotune: Pilotune, study: Path
) -> None:
    url = f"sqlite:///{Path.cwd()}/s.db"
    read = load_study_file(study)
    with closing(open_storage(url)) as storage:
        open_study(storage, read, sampler=None, pruner=None)
    assert pilotune("check", study, "--storage", url).code == 0
    changed = pilotune("check", study, "--storage", url, "--set", "space.units={int: [2, 64]}")
    assert changed.code == 2
    assert (
        "the search space of 'rings' changed after it ran: units: int [2, 32] in the database, int [2, 64]"
        in changed.err
    )
    turned = pilotune("check", study, "--storage", url, "--set", "direction=minimize")
    assert "the directions of 'rings' changed after it ran" in turned.err
    of_pilotune(f"sqlite:///{Path.cwd()}/plain.db", "rings")  # of plain Optuna: lr, units and optimizer
    assert pilotune("check", study, "--storage", "sqlite:///plain.db").code == 0
    plain = pilotune("check", study, "--storage", "sqlite:///plain.db", "--set", "space.optimizer={int: [1, 2]}")
    assert (plain.code, "'rings' changed after it ran" in plain.err) == (2, True)
    Path("empty.db").touch()
    assert pilotune("check", study, "--storage", "sqlite:///empty.db").code == 0
    assert Path("empty.db").stat().st_size == 0


def test_no_command_makes_the_folder_of_a_mistyped_database(pilotune: Pilotune, study: Path) -> None:
    known(study, f"sqlite:///{Path.cwd()}/results.db")
    for command in (
        ["copy", "rings", "rings2", "--to", "sqlite:///nowhere/s.db"],
        ["site", "check", "local", "--storage", "sqlite:///nowhere/s.db"],
        ["best", "rings", "--storage", "sqlite:///nowhere/s.db"],
        ["resume", "rings", "--storage", "sqlite:///nowhere/s.db"],
        ["verify", "rings", "--storage", "sqlite:///nowhere/s.db"],
        ["importance", "rings", "--storage", "sqlite:///nowhere/s.db"],
    ):
        result = pilotune(*command)
        assert result.code == 2, command
        assert f"{Path.cwd()}/nowhere" in result.err
        assert "Traceback" not in result.err
    assert not Path("nowhere").exists()
