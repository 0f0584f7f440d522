"""The command ``pilotune site check``: what it sends, prints and returns. No block is sent in these tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click import unstyle

from pilotune import filesystems
from pilotune.pipeline.cli.commands import site_check as command
from pilotune.pipeline.cli.commands.site_check import check_database, render
from pilotune.providers.check import run as sitecheck
from pilotune.providers.check.facts import Finding, State
from pilotune.providers.check.run import scheduler, shrink
from pilotune.providers.check.watch import ProbeLimits
from pilotune.providers.htex.pool import PoolFiles
from pilotune.providers.site import PoolSpec, Site

from ..support.cli import Pilotune, alone, pilotune_  # noqa: F401

SITE = """\
scheduler: slurm
pools:
  cpu: {walltime: 1h}
  gpu: {walltime: 1h, nodes_per_block: 4}
  off: {walltime: 1h, blocks: {max: 0}}
"""
PASSED = [Finding("scheduler", State.OK, "slurm 1.2"), Finding("workers", State.OK, "2 of them", "cpu")]
ONE_FAILED = [*PASSED, Finding("GPUs", State.FAILED, "0 seen on n1", "cpu")]


class Checks:
    """Replaces the check itself: records its calls, and returns the findings in ``found``."""

    def __init__(self) -> None:
        self.found: Sequence[Finding] = PASSED
        self.calls: list[tuple[Site, Sequence[PoolSpec], PoolFiles, ProbeLimits]] = []

    def __call__(
        self,
        site: Site,
        pools: Sequence[PoolSpec],
        files: PoolFiles,
        label: str,
        limits: ProbeLimits,
        notify: Callable[..., Any],
    ) -> list[Finding]:
        self.calls.append((site, pools, files, limits))
        assert label.startswith("site-check-")
        notify("pool cpu: job 7 is queued")
        return list(self.found)

    @property
    def pools(self) -> list[str]:
        return [pool.name for pool in self.calls[-1][1]]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    checks = Checks()
    monkeypatch.setattr(sitecheck, "check_site", checks)
    return checks


@pytest.fixture
def site() -> Path:
    path = Path("lab.yaml").absolute()
    path.write_text(SITE)
    return path


def test_every_pool_that_is_on_is_checked_and_the_table_printed(pilotune: Pilotune, site: Path, checks: Checks) -> None:
    result = pilotune("site", "check", site)
    assert (result.code, checks.pools) == (0, ["cpu", "gpu"])
    assert checks.calls[-1][3] == ProbeLimits(600.0, 600.0)
    assert result.out.splitlines() == [
        f"site lab (slurm), {site}",
        "scheduler  ok       slurm 1.2",
        f"database   ok       SQLite in {Path.cwd()}/pilotune-runs on "
        f"{filesystems.filesystem_of(Path.cwd()).name} ({filesystems.filesystem_of(Path.cwd()).point}): "
        "a study was written, read and deleted",
        "",
        "pool cpu",
        "workers    ok       2 of them",
        "",
        "pool cpu: not checked, since no worker came: submission, queue, set-up, Python, packages, network, "
        "round trip, cores, GPUs, memory, clocks, run directory, in-job",
        "3 ok, 0 warnings, 0 failed",
    ]
    assert result.err == "pool cpu: job 7 is queued\n"


def test_one_pool_can_be_chosen_even_if_it_is_off(pilotune: Pilotune, site: Path, checks: Checks) -> None:
    assert pilotune("site", "check", site, "--pool", "off", "--walltime", "5m", "--wait", "2h").code == 0
    assert checks.pools == ["off"]
    assert checks.calls[-1][3] == ProbeLimits(300.0, 7200.0)


def test_a_failure_is_exit_code_3_and_keeps_the_run_directory(pilotune: Pilotune, site: Path, checks: Checks) -> None:
    checks.found = ONE_FAILED
    result = pilotune("site", "check", site)
    assert result.code == 3
    folder = checks.calls[-1][2].blocks.parent
    assert folder.parent.parent == Path.cwd() / "pilotune-runs"
    assert result.out.endswith(f"3 ok, 0 warnings, 1 failed\nJob scripts and output are kept in {folder}\n")
    assert folder.is_dir()


def test_warnings_are_not_a_failure_and_leave_no_files(pilotune: Pilotune, site: Path, checks: Checks) -> None:
    checks.found = [*PASSED, Finding("clocks", State.WARNING, "off", "cpu")]
    result = pilotune("site", "check", site)
    assert (result.code, Path("pilotune-runs").exists()) == (0, False)
    assert "3 ok, 1 warning, 0 failed" in result.out


def test_findings_as_json(pilotune: Pilotune, site: Path, checks: Checks) -> None:
    checks.found = ONE_FAILED
    result = pilotune("site", "check", site, "--json")
    said = json.loads(result.out)
    assert (result.code, said["site"], said["scheduler"], said["ok"]) == (3, "lab", "slurm", False)
    assert said["findings"][0] == {"name": "scheduler", "state": "ok", "text": "slurm 1.2", "pool": None}
    assert said["findings"][-1]["pool"] == "cpu"
    assert Path(said["run_dir"]).is_dir()


def test_where_run_directories_go(
    pilotune: Pilotune, site: Path, checks: Checks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(*words: object) -> Path:
        pilotune("site", "check", site, *words)
        return checks.calls[-1][2].blocks.parents[2]

    monkeypatch.setenv("PILOTUNE_RUNS", str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"
    assert folder("--set", f"runs={tmp_path}/sites") == tmp_path / "sites"
    assert folder("--set", f"runs={tmp_path}/sites", "--runs", tmp_path / "given") == tmp_path / "given"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pool", "cpus"], "there is no pool 'cpus'; did you mean 'cpu'?"),
        (["--set", "pools.cpu.walltime=1x"], "pools.cpu.walltime: must be a duration"),
        (["--walltime", "soon"], "must be a duration"),
        (["--storage", "postgresql://me:hunter2@db/x"], "the storage URL holds a password"),
    ],
)
def test_a_mistake_is_exit_code_2_and_nothing_is_sent(
    pilotune: Pilotune, site: Path, checks: Checks, words: list[str], sentence: str
) -> None:
    result = pilotune("site", "check", site, *words)
    assert (result.code, result.out, checks.calls) == (2, "", [])
    assert sentence in result.err
    assert "hunter2" not in result.err
    assert not Path("pilotune-runs").exists()


def test_long_findings_are_wrapped_on_a_terminal() -> None:
    text = " ".join(f"word{number}" for number in range(30))
    lines = [unstyle(line) for line in render("site lab", [Finding("GPUs", State.FAILED, text)], "", 70).splitlines()]
    wrapped = lines[1 : lines.index("")]
    assert len(wrapped) > 1
    assert [line[:15] for line in wrapped] == ["GPUs  failed   ", *[" " * 15] * (len(wrapped) - 1)]
    assert max(map(len, wrapped)) <= 70
    assert " ".join(line[15:] for line in wrapped) == text


# -- the database -----------------------------------------------------------------------------------------------------


def test_an_existing_database_is_left_unchanged(tmp_path: Path) -> None:
    from pilotune.pipeline.record import open_storage

    url = f"sqlite:///{tmp_path}/study.db"
    open_storage(url).close()
    found = check_database(url)
    assert (found.name, found.state) == ("database", State.OK)
    assert found.text.startswith(f"{url} on ")
    assert open_storage(url).get_all_studies() == []


def test_a_new_database_is_removed_again(tmp_path: Path) -> None:
    assert check_database(f"sqlite:///{tmp_path}/new.db").state == State.OK
    assert list(tmp_path.glob("new.db*")) == []


@pytest.mark.parametrize(("kind", "name"), [("nfs4", "NFS"), ("lustre", "Lustre"), ("gpfs", "GPFS"), ("cifs", "CIFS")])
def test_sqlite_on_a_shared_file_system_is_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    (tmp_path / "mounts").write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} {kind} rw 0 0\n")
    monkeypatch.setattr(filesystems, "MOUNTS", str(tmp_path / "mounts"))
    found = check_database(f"sqlite:///{tmp_path}/study.db")
    assert found.state == State.WARNING
    assert f"lies on {name} ({tmp_path.resolve()})" in found.text
    assert "postgresql://HOST/DATABASE, or a file on a local disk" in found.text


def test_an_unreachable_server_fails_without_showing_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    found = check_database("postgresql+psycopg://me@127.0.0.1:1/studies")
    assert found.state == State.FAILED
    assert "cannot be opened" in found.text
    assert "hunter2" not in found.text


@pytest.mark.postgres
def test_a_server_is_written_and_read(postgres_url: str) -> None:
    found = check_database(command_url := postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    assert found.state == State.OK
    assert found.text == f"{command_url}: a study was written, read and deleted"


# -- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pool", "nodes", "walltime"),
    [
        ("slurm", PoolSpec("a", walltime=3600.0), 1, 600.0),
        ("slurm", PoolSpec("a", walltime=120.0, nodes_per_block=2), 2, 120.0),
        ("cobalt", PoolSpec("a", walltime=3600.0, nodes_per_block=128), 2, 600.0),
        ("local", PoolSpec("a"), 1, 600.0),
        ("slurm", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#SBATCH --nodes=8",)), 8, 60.0),
        ("slurm", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#SBATCH -C gpu -N 8",)), 8, 60.0),
        ("slurm", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#SBATCH --nodelist=n1",)), 2, 60.0),
        ("pbs", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#PBS -l select=8:ngpus=4",)), 8, 60.0),
        ("pbs", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#PBS -l filesystems=home",)), 2, 60.0),
        ("cobalt", PoolSpec("a", walltime=60.0, nodes_per_block=8, options=("#COBALT -n 8",)), 8, 60.0),
    ],
)
def test_the_block_is_as_small_as_the_site_file_lets_it(name: str, pool: PoolSpec, nodes: int, walltime: float) -> None:
    sent = shrink(pool, name, 600.0)
    assert (sent.nodes_per_block, sent.walltime, sent.blocks.init, sent.blocks.max) == (nodes, walltime, 1, 1)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_schedulers_commands_and_version_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Site("lab", "slurm", (), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "sbatch", "echo slurm 22.05.8")
    found = scheduler(lab)
    assert (found.state, found.text.split(":")[0]) == (State.FAILED, "squeue, scancel")
    program(tmp_path, "squeue", "true")
    program(tmp_path, "scancel", "true")
    found = scheduler(lab)
    assert (found.state, found.text) == (State.OK, "slurm 22.05.8; sbatch, squeue, scancel are there")
    program(tmp_path, "sbatch", "echo no configuration >&2; exit 1")
    found = scheduler(lab)
    assert (found.state, found.text.partition("and ")[2]) == (
        State.WARNING,
        "`sbatch --version` says: no configuration",
    )


def test_without_the_schedulers_commands_nothing_is_sent(
    pilotune: Pilotune, site: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    result = pilotune("site", "check", site)
    assert result.code == 3
    assert "sbatch, squeue, scancel: not on PATH; jobs cannot be submitted from this host" in result.out
    assert "pool " not in result.out
    assert command.FOLDER in result.out
