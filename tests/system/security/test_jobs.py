"""Batch jobs on a real Slurm, from a folder whose name contains what shells evaluate."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ...support.campaigns import write_site
from ...support.local import Here, end_of, ended, until
from ...support.slurm import ACCOUNTS, Lab
from .test_files import ODD

pytestmark = [pytest.mark.real, pytest.mark.heavy]

SECRET = "Tr0ub4dor-and-3"

OBJECTIVE = """
import json, os, time
from pathlib import Path

def objective(trial):
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    while not (Path(__file__).parent / "go").exists():
        trial.report(1, step=int(time.time()))
        time.sleep(0.2)
    return trial.params["x"]
"""

STUDY = "direction: minimize\nspace: {x: {float: [0.0, 1.0]}}\nsampler: random\nbudget: {trials: 4}\n"


@dataclass
class Seen:
    """A campaign of one block, while its trials ran and afterwards.

    Attributes:
        shown: Environment and command line of processes that know the campaign's folder, the driver left out.
        state: What Slurm's daemons keep of jobs on disk, and say of them.
    """

    here: Here
    shown: list[str] = field(default_factory=list)
    state: str = ""
    summary: str = ""


@pytest.fixture(scope="module")
def seen(slurm_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("jobs") / ODD
    found = Seen(Here(folder, **slurm_lab.environment, PGPASSWORD=SECRET))
    options = {"blocks": {"init": 1, "max": 1}, "exclusive": False, "cores_per_node": 1}
    write_site(found.here, "slurm", options, account=ACCOUNTS[0], runs="runs")  # a path would be filled in
    found.here.study("jobs", OBJECTIVE, STUDY)
    with ended(found.here.start("run", "jobs.yaml", "--site", "lab.yaml")) as process:
        found.here.await_status("jobs", lambda status: status["running"] == 1, "a trial runs")
        found.shown = _processes(process.pid, "PILOTUNE_POOL", str(folder))
        found.state = slurm_lab.run("scontrol", "-d", "show", "jobs").stdout + _texts(slurm_lab.folder)
        found.here.write("go", "")
        found.summary = end_of(process).stdout
    yield found
    until(lambda: not slurm_lab.run("squeue", "-h", "-o", "%i").stdout.split(), "no job is left")


def _processes(driver: int, *signs: str) -> list[str]:
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            text = (proc / "environ").read_text(errors="replace") + (proc / "cmdline").read_text(errors="replace")
            if int(proc.name) not in (driver, os.getpid()) and any(sign in text for sign in signs):
                found.append(text)
    return found


def _texts(folder: Path) -> str:
    """All readable files below a folder."""
    texts = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                texts.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(texts)


def test_a_campaign_runs_from_such_a_folder_and_its_files_are_there(seen: Seen) -> None:
    assert "4: 4 complete" in seen.summary
    [run] = (seen.here.runs / "jobs").glob("2*")
    names = {path.name for path in (run / "blocks").iterdir()}
    assert names >= {f"cpu-0.{kind}" for kind in ("sh", "out", "err", "end")}
    assert not list(seen.here.folder.parent.rglob("MARK"))
    assert [path.name for path in seen.here.folder.parent.iterdir()] == [ODD]


def test_no_other_folder_got_a_file(seen: Seen) -> None:
    """A blank does not end a path."""
    for folder in (Path.cwd(), Path.home(), Path("/tmp"), *seen.here.folder.parents):
        assert not [path for path in folder.iterdir() if path.name in ("it", "its", "it's")]


def test_the_password_reaches_no_job_no_script_and_no_file(seen: Seen) -> None:
    assert len(seen.shown) >= 4, "the block's script, pool, worker and fork server"
    assert not [text for text in seen.shown if SECRET in text]
    assert "JobId=" in seen.state
    assert "PILOTUNE_POOL" in seen.state, "the batch scripts as Slurm keeps them"
    assert SECRET not in seen.state
    environments = list(seen.here.runs.rglob("environment.json"))
    assert len(environments) == 4
    assert all("PGPASSWORD" not in json.loads(path.read_text()) for path in environments)
    assert SECRET not in _texts(seen.here.folder)


def test_what_jobs_make_is_their_user_s_alone(seen: Seen) -> None:
    made = [path for path in seen.here.runs.rglob("*") if not path.is_symlink()]
    assert len(made) > 50
    assert [path for path in made if path.lstat().st_mode & 0o077] == []
