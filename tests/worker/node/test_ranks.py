"""Trials on several nodes: each attempt has a launcher of its own, whose ranks yield and end with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pilotune.pipeline.trial.protocol import AttemptSpec, ObjectiveSpec, Started
from pilotune.pipeline.worker.node.block import launcher
from pilotune.pipeline.worker.node.ranks import RANK, end_ranks, members
from pilotune.pipeline.worker.run_attempt import run_attempt

from ...support.local import until
from ...support.trial_driver import Driver, go_on, make_spec, stop_at_start

RANKS = f"/bin/sh {RANK}"

SEEN = ("PILOTUNE_LAUNCHER", "PILOTUNE_NODELIST", "PILOTUNE_NODES", "PILOTUNE_RANKS_PER_NODE")
SEEN += ("SRUN_CPUS_PER_TASK", "OMP_NUM_THREADS")

OBJECTIVE = f"""
    import os

    def look(trial):
        resources = trial.resources
        seen = {{name: os.environ.get(name) for name in {SEEN!r}}}
        return {{"value": 1.0, "resources": [resources.cores, resources.nodes, resources.launcher], **seen}}
"""

LAUNCHER = """
    import os, signal, subprocess, sys
    options, program = sys.argv[1:3], sys.argv[3:]
    children = []
    def hand_on(*_):
        for child in children:
            child.send_signal(signal.SIGUSR1)
    def end(*_):
        for child in children:
            os.killpg(child.pid, signal.SIGKILL)
        sys.exit(1)
    signal.signal(signal.SIGUSR1, hand_on)
    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
    for rank in range(2):
        environment = {**os.environ, "RANK": str(rank)}
        at_start = lambda: signal.pthread_sigmask(signal.SIG_SETMASK, ())
        children.append(subprocess.Popen(program, env=environment, start_new_session=True, preexec_fn=at_start))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sys.exit(max(child.wait() for child in children))
"""
"""Like srun: passes SIGUSR1 on, kills its ranks on SIGTERM, and leaves them running when it is killed."""

PROGRAM = """
    import os, pathlib, signal, sys, time
    folder = pathlib.Path(os.environ["PILOTUNE_CHECKPOINT_DIR"])
    def save(*_):
        (folder / f"saved-{os.environ['RANK']}").touch()
        sys.exit(0)
    if sys.argv[1:] != ["deaf"]:
        signal.signal(signal.SIGTERM, save)
    (folder / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in SEEN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mpi(monkeypatch):
    """What Parsl's MPI executor sets for a task on these nodes."""

    def place(*nodes, program="srun"):
        monkeypatch.setenv("PARSL_MPI_PREFIX", f"{program} --ntasks {2 * len(nodes)} ")
        monkeypatch.setenv("PARSL_MPI_NODELIST", ",".join(nodes))

    return place


@pytest.fixture
def folder(tmp_path, mpi):
    """A folder with a launcher and a program for it; ranks that are left are killed."""
    for name, text in (("srun", LAUNCHER), ("program", PROGRAM)):
        (tmp_path / name).write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}")
        (tmp_path / name).chmod(0o700)
    mpi("n1", "n2", program=tmp_path / "srun")
    yield tmp_path
    for pid in running(tmp_path):
        os.kill(pid, signal.SIGKILL)


def ranks(folder):
    return [int(path.read_text()) for path in folder.glob("trials/7/checkpoint/pid-*") if path.read_text()]


def running(folder):
    def alive(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return [pid for pid in ranks(folder) if alive(pid)]


def run(folder, answer, command, **fields):
    """An attempt on two nodes, whose driver answers like this once both ranks run."""
    checkpoint = folder / "trials/7/checkpoint"

    def when_they_run(message):
        if isinstance(message, Started):
            until(lambda: len(ranks(folder)) == 2, "both ranks run")
        return answer(message)

    driver = Driver(folder, when_they_run)
    try:
        spec = make_spec(folder, ObjectiveSpec(command=command, shell=True), nodes=2, channel=driver.address, **fields)
        outcome = run_attempt(spec)
    finally:
        driver.close()
    return outcome, sorted(path.name for path in checkpoint.glob("saved-*"))


# -- the launcher -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolate", [True, False], ids=["isolated", "inline"])
def test_each_attempt_has_the_launcher_of_its_own_nodes(tmp_path, mpi, isolate):
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))
    objective = ObjectiveSpec(file=str(tmp_path / "ours.py"), function="look")
    for number, nodes in enumerate((["n1", "n2"], ["n3", "n4", "n5"])):
        mpi(*nodes)
        spec = make_spec(
            tmp_path, objective, number=number, isolate=isolate, nodes=len(nodes), ranks_per_node=2, cores=8
        )
        launcher = f"srun --ntasks {2 * len(nodes)} {RANKS}"
        assert run_attempt(spec)["user_attrs"] == {
            "resources": [8, len(nodes), launcher],
            "PILOTUNE_LAUNCHER": launcher,
            "PILOTUNE_NODELIST": ",".join(nodes),
            "PILOTUNE_NODES": str(len(nodes)),
            "PILOTUNE_RANKS_PER_NODE": "2",
            "SRUN_CPUS_PER_TASK": "4",
            "OMP_NUM_THREADS": "4",
        }


def test_a_one_node_attempt_has_the_site_s_launcher_or_none(tmp_path, mpi, monkeypatch):
    mpi("n1", "n2")
    (tmp_path / "ours.py").write_text(textwrap.dedent(OBJECTIVE))
    spec = make_spec(tmp_path, ObjectiveSpec(file=str(tmp_path / "ours.py"), function="look"))
    seen = run_attempt(spec)["user_attrs"]
    assert (seen["PILOTUNE_LAUNCHER"], seen["PILOTUNE_NODELIST"], seen["SRUN_CPUS_PER_TASK"]) == (None, None, None)
    monkeypatch.setenv("PILOTUNE_LAUNCHER", "numactl -l")
    assert run_attempt(spec)["user_attrs"]["PILOTUNE_LAUNCHER"] == "numactl -l"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("srun", "srun --nodes 1 --ntasks 4 --nodelist n7"),
        ("mpiexec", "mpiexec -n 4"),
        ("aprun", "aprun -n 4 -N 4"),
        ("none", ""),
    ],
)
def test_on_one_node_a_launcher_of_the_study_file_starts_the_ranks(tmp_path, monkeypatch, name, words):
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    command = ObjectiveSpec(command="echo {ranks} {ranks_per_node} $OMP {launcher}", reports="(?P<value>4)")
    run_attempt(make_spec(tmp_path, command, ranks=4, ranks_per_node=4, launcher=name))
    started = f" {words} {RANKS}" if words else ""
    assert (tmp_path / "trials/7/stdout-1.txt").read_text() == f"4 4 $OMP{started}\n"


@pytest.mark.parametrize(
    ("name", "host", "nodes", "words"),
    [
        ("mpiexec", "n2.cluster", "n1.cluster n1.cluster n2.cluster", "mpiexec -n 4 -host n2.cluster"),
        ("mpiexec", "n2", "n2 n2", "mpiexec -n 4"),
        ("aprun", "nid00023", "22 23 230", "aprun -n 4 -N 4 -L 23"),
        ("aprun", "nid00023", "23", "aprun -n 4 -N 4"),
        ("srun", "n2", "n1 n2", "srun --nodes 1 --ntasks 4 --nodelist n2"),
    ],
)
def test_on_one_node_of_a_job_of_several_the_launcher_is_told_which(tmp_path, monkeypatch, name, host, nodes, words):
    (tmp_path / "nodes").write_text("\n".join(nodes.split()))
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    spec = AttemptSpec("7.1.c", "s", 7, 1, {}, False, "", 0, 1, ranks=4, ranks_per_node=4, launcher=name)
    assert launcher(spec, {"PBS_NODEFILE": str(tmp_path / "nodes")}) == f"{words} {RANKS}"


@pytest.mark.parametrize("shell", [False, True])
def test_the_launcher_stands_in_the_command_in_words_of_its_own(tmp_path, mpi, shell):
    (tmp_path / "launch").write_text('#!/bin/sh\nprintf \'{"value": 1, "words": "%s"}\' "$*" > "$PILOTUNE_REPORTS"\n')
    (tmp_path / "launch").chmod(0o700)
    mpi("n1", "n2", program=tmp_path / "launch")
    objective = ObjectiveSpec(command="{launcher} ./simulate --ranks {ranks_per_node}", shell=shell)
    outcome = run_attempt(make_spec(tmp_path, objective, nodes=2, ranks_per_node=3))
    assert outcome["user_attrs"] == {"words": f"--ntasks 4 {RANKS} ./simulate --ranks 3"}


def test_aprun_is_told_its_nodes_by_the_option_that_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("PARSL_MPI_PREFIX", "aprun -n 4 -N 2 -node-list 23,24 ")
    command = ObjectiveSpec(command="echo {launcher}", reports="(?P<value>4)")
    run_attempt(make_spec(tmp_path, command, nodes=2))
    assert (tmp_path / "trials/7/stdout-1.txt").read_text() == f"aprun -n 4 -N 2 -L 23,24 {RANKS}\n"


# -- yielding and ending ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["{launcher} X/program", "cd X; {launcher} ./program; exit $?"])
def test_the_ranks_save_when_their_attempt_is_to_yield(folder, command):
    outcome, saved = run(folder, stop_at_start("yield"), command.replace("X", str(folder)))
    assert (outcome["kind"], outcome["reason"]) == ("yielded", "the command was asked to yield")
    assert saved == ["saved-0", "saved-1"]
    assert running(folder) == []


def test_ranks_that_do_not_save_have_yielded_too(folder):
    outcome, saved = run(folder, stop_at_start("yield"), f"{{launcher}} {folder}/program deaf")
    assert (outcome["kind"], saved) == ("yielded", [])


def test_a_command_without_a_launcher_is_sent_sigterm_itself(folder, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    command = f"RANK=1 {folder}/program & exec {folder}/program"
    outcome, saved = run(folder, stop_at_start("yield"), command)
    assert (outcome["kind"], saved) == ("yielded", ["saved-0", "saved-1"])


def test_the_ranks_end_with_an_attempt_that_is_stopped(folder):
    outcome, saved = run(folder, stop_at_start("kill"), f"{{launcher}} {folder}/program; sleep 600")
    assert (outcome["kind"], saved, running(folder)) == ("stopped", [], [])


def test_a_launcher_that_outlives_the_command_ends_its_ranks(folder):
    command = f"{{launcher}} {folder}/program & while [ ! -e go ]; do sleep 0.05; done; echo 3"
    (folder / "trials/7/work-1").mkdir(parents=True)

    def let_it_go(message):
        (folder / "trials/7/work-1/go").touch()
        return go_on(message)

    outcome, _ = run(folder, let_it_go, command)
    assert outcome["kind"] == "failed"  # it has reported no value
    assert running(folder) == []


def test_a_group_that_does_not_listen_is_killed(monkeypatch):
    monkeypatch.setattr("pilotune.pipeline.worker.node.ranks.LAUNCHER_WAIT", 0.1)
    ignoring = "trap '' TERM; sleep 600 & wait"
    process = subprocess.Popen(["/bin/sh", "-c", ignoring], start_new_session=True)
    until(lambda: len(members(process.pid)) == 2, "the group is there")
    end_ranks(process.pid)
    assert process.wait() == -signal.SIGKILL
    until(lambda: members(process.pid) == [], "what it started has ended, too")


# -- one rank ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "status"),
    [("true", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("exec /nowhere/program", 127)],
)
def test_a_rank_ends_as_its_program_does(program, status):
    done = subprocess.run(["/bin/sh", str(RANK), "/bin/sh", "-c", program], stderr=subprocess.DEVNULL)
    assert done.returncode == status


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
@pytest.mark.parametrize("everybody", [False, True])
def test_a_rank_passes_on_what_its_launcher_sends_as_sigterm(tmp_path, number, everybody):
    # A program that everybody signals may be told twice: by its launcher, and by its own rank's script.
    save = "trap 'trap : TERM; echo saved; exit 5' TERM; touch up; while :; do sleep 0.05; done"
    rank = subprocess.Popen(
        ["/bin/sh", str(RANK), "/bin/sh", "-c", save],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until((tmp_path / "up").exists, "the program runs")
    (os.killpg if everybody else os.kill)(rank.pid, number)
    out, _ = rank.communicate(timeout=60)
    assert (rank.returncode, out) == (5, "saved\n")
