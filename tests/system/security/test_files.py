"""Study files and site files are data: reading them runs and creates nothing, and names are checked."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from pilotune.errors import UserError
from pilotune.pipeline.record import known_studies
from pilotune.providers.blocks.batch_scripts import batch_scripts
from pilotune.providers.blocks.resources import TrialResources
from pilotune.providers.site import load_site
from pilotune.yamlfile import parse_value, parse_yaml

from ...support.cli import Pilotune, alone, pilotune_  # noqa: F401

STUDY = "name: s\ndirection: minimize\nobjective: f.py:f\nspace: {x: {int: [0, 9]}}\nbudget: {trials: 1}\n"

TAGS = (
    "!!python/object/apply:os.system ['touch MARK']",
    "!!python/object/new:subprocess.Popen [['touch', 'MARK']]",
    "!!python/object:pathlib.Path {}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!binary aGk=",
    "!!set {a}",
    "!!timestamp 2026-01-01",
    "!include /etc/passwd",
    "!ENV $HOME",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch MARK']",
)


@pytest.mark.parametrize("tag", TAGS)
def test_yaml_with_tags_that_make_objects_is_refused(tag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (f"x: {tag}", f"x:\n- 1\n- y: {tag}", f"x: &a {tag}\ny: *a"):
        with pytest.raises(UserError, match=r"study.yaml:[13]: x.*: the tag \S+ is not allowed here"):
            parse_yaml(text, Path("study.yaml"))
    with pytest.raises(UserError, match="the tag"):
        parse_value(tag)  # as for --set
    with suppress(UserError):
        data = parse_yaml(f"? {tag}\n: 1\n<<: {{a: 1}}", Path("study.yaml")).data
        assert all(type(name) is str for name in data)
    assert not (tmp_path / "MARK").exists()


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(UserError, match="more than 200,000 values"):
        parse_yaml("\n".join(lines), Path("study.yaml"))
    lines = ["a0: &a0 {k: x}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    with pytest.raises(UserError, match="more than 200,000 values"):
        parse_yaml("\n".join(lines), Path("study.yaml"))
    with pytest.raises(UserError, match="must not be inside the value that it refers to"):
        parse_yaml("a: &a [*a]", Path("study.yaml"))


NAMES = (
    "../evil",
    "..",
    ".",
    "a/b",
    "/etc/passwd",
    "-rf",
    "--help",
    "a b",
    "a\nb",
    "a\n#SBATCH --uid=0",
    "a\0b",
    "a'b",
    'a"b',
    "$(touch MARK)",
    "`touch MARK`",
    "a;touch MARK",
    "a|b",
    "a&b",
    "a>b",
    "*",
    "~root",
    "%j",
    "a\\b",
    "{x}",
    "ünï",
    "名前",
    "a\u202eb",
    "x" * 300,
    "",
    " ",
)
"""Names that no study may have, since folders and jobs are named after it."""


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_is_more_than_a_name_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pilotune: Pilotune
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "f.py").write_text("def f(x): return x\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    before = {path.name for path in tmp_path.iterdir()}
    for words in (["--new-name", name], ["--set", f"name={name!r}"]):
        result = pilotune("run", "study.yaml", *words)
        assert result.code == 2, (name, result)
        assert "Traceback" not in result.err
    with pytest.raises(UserError):
        known_studies.find(name)
    assert {path.name for path in tmp_path.iterdir()} - before <= {"state"}


SITE = "name: lab\nscheduler: {scheduler}\nruns: {runs}\npools: {{cpu: {{walltime: 1h, queue: q}}}}\n"


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "cobalt"])
@pytest.mark.parametrize("key", ["account", "pools.cpu.queue", "driver.queue"])
@pytest.mark.parametrize("value", ["q\ntouch MARK", "q\r\ntouch MARK", "a b", "q\x1b[0m", "q\u2028x"])
def test_a_queue_or_an_account_is_one_word(scheduler: str, key: str, value: str, tmp_path: Path) -> None:
    """Otherwise its rest would be a line of the batch script, which the shell runs."""
    path = tmp_path / "lab.yaml"
    path.write_text(SITE.format(scheduler=scheduler, runs=tmp_path))
    escaped = value.encode("unicode_escape").decode()
    with pytest.raises(UserError, match=f"{key}: must be one word"):
        load_site(str(path), [f'{key}="{escaped}"'])


ODD = """it's "a" $(touch MARK) `touch MARK` ${IFS} %j %% #b ;touch MARK& <x> {b,c} ~ ! ü -x"""
"""A name of a folder in which shells and schedulers find commands, variables and options."""


@pytest.mark.parametrize("scheduler", ["local", "slurm", "pbs", "cobalt"])
def test_no_shell_evaluates_a_path_in_a_batch_script(scheduler: str, tmp_path: Path) -> None:
    """The script is run by bash, with stand-ins for what it starts. It creates files in that folder only."""
    folder = tmp_path / ODD / "blocks"
    folder.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("srun", "mpiexec", "aprun", "pbsdsh"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "bin" / name).chmod(0o755)
    path = tmp_path / "lab.yaml"
    path.write_text(SITE.format(scheduler=scheduler, runs="runs") if scheduler != "local" else LOCAL)
    [(_, text)] = batch_scripts(load_site(str(path)), TrialResources(), folder, "s-abcdef")
    (tmp_path / "script.sh").write_text(text)
    (tmp_path / "work").mkdir()
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PBS_O_WORKDIR": ".", "COBALT_NODEFILE": "/dev/null"}
    done = subprocess.run(
        ["/bin/bash", tmp_path / "script.sh"],
        cwd=tmp_path / "work",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not list(tmp_path.rglob("MARK"))
    assert not list((tmp_path / "work").iterdir())
    assert "syntax error" not in done.stderr
    assert f"{folder}/cpu.json cannot be read" in done.stderr or scheduler != "local", done.stderr
    assert (folder / "cpu-0.end").read_text().strip().isdigit()


LOCAL = "name: lab\nscheduler: local\npools: {cpu: {walltime: 1h}}\n"
