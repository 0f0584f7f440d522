"""The agent on each node starts a worker pool, lets its busy workers yield, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from pilotune.pipeline.worker.node.posix import process_state
from pilotune.providers.node.agent import Launch, LaunchError, bind, command_line, read_launch, worker_gpus
from pilotune.providers.node.shm_cleanup import SharedFiles

from ...support.local import until

WORKER = """
import os, pathlib, signal, subprocess, sys, time
here, node, name, busy = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
trial = subprocess.Popen(["sleep", "600"], start_new_session=True)
(here / f"{name}.trial").write_text(str(trial.pid))
told = []
if busy:
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    (node / str(os.getpid())).touch()
(here / f"{name}.pid").write_text(str(os.getpid()))
while not told:
    time.sleep(0.01)
(here / f"{name}.yielded").touch()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(node / str(os.getpid())).unlink()
time.sleep(600)
"""
"""A worker like Parsl's: in the pool's process group, with a trial below it in a session of its own."""

POOL = f"""
import os, pathlib, signal, subprocess, sys, time
here, node = pathlib.Path(sys.argv[1]), pathlib.Path(os.environ["PILOTUNE_NODE_DIR"])

def worker(name, busy):
    subprocess.Popen([sys.executable, "-c", {WORKER!r}, str(here), str(node), name, str(int(busy))])

"""


@pytest.fixture
def node(tmp_path):
    """Start the agent with a worker pool that runs this Python code."""
    started = []
    temporary = Path(tempfile.mkdtemp(prefix="node-"))  # a short path

    def start(code, *, changes=None, environment=None, ignore=()):
        script = tmp_path / "pool.py"
        script.write_text(POOL + textwrap.dedent(code))
        launch = {"command": f"exec {sys.executable} {script} {tmp_path} {{block_id}}", **(changes or {})}
        (tmp_path / "launch.json").write_text(json.dumps(launch))
        process = subprocess.Popen(
            [sys.executable, "-m", "pilotune.providers.node.agent", str(tmp_path / "launch.json"), "5"],
            stdout=(tmp_path / "out").open("w"),
            stderr=(tmp_path / "err").open("w"),
            env={**os.environ, "TMPDIR": str(temporary), **(environment or {})},
            preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignore],
            start_new_session=True,
        )
        started.append(process)
        return process

    start.temporary = temporary
    yield start
    for process in started:
        process.kill()
        process.wait()
    until(lambda: not list(temporary.iterdir()), "the guardians have ended")
    shutil.rmtree(temporary)
    for path in [*tmp_path.glob("*.pid"), *tmp_path.glob("*.trial")]:  # of a test that has failed
        if alive(path.read_text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)


def written(path: Path) -> str:
    return until(lambda: path.exists() and path.read_text(), f"{path.name} is there")


def alive(pid: str | int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: str | int) -> None:
    until(lambda: not alive(pid), f"process {pid} has ended")


@pytest.fixture
def finish(tmp_path):
    """Wait for the agent. Returns its exit status, and what it and its pool have printed."""

    def wait(process):
        process.wait(60)
        return process.returncode, (tmp_path / "out").read_text(), (tmp_path / "err").read_text()

    return wait


# -- exit -------------------------------------------------------------------------------------------------------------


def test_the_pool_runs_with_its_block_environment_and_a_folder_of_the_node(node, tmp_path, finish):
    code = """
        print(sys.argv[2], os.environ["GREETING"], node.is_dir(), oct(node.stat().st_mode & 0o777))
        print(os.getpgrp() == os.getpid(), os.getsid(0), sys.stdin.read() == "")
    """
    process = node(code, changes={"environment": {"GREETING": "hello"}})
    code, out, err = finish(process)
    first, second = out.splitlines()
    assert (code, first, err) == (0, "5 hello True 0o700", "")
    assert second == f"True {process.pid} True", "it leads a process group in the job's session"
    assert list(node.temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("sys.exit(3)", 3, "the worker pool of block 5 exited with 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "the worker pool of block 5 was killed by SIGKILL"),
    ],
)
def test_the_exit_status_of_the_pool_is_passed_on_with_a_sentence(node, code, status, sentence, finish):
    returned, _, err = finish(node(code))
    assert returned == status
    assert err.endswith(f": {sentence}\n")


def test_a_launcher_that_ignores_the_end_of_children_changes_nothing(node, finish):
    assert finish(node("sys.exit(4)", ignore=[signal.SIGCHLD, signal.SIGHUP]))[0] == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not one of Pilotune's (JSONDecodeError"),
        ("[]", "is not one of Pilotune's (TypeError"),
        ('{"accelerators": []}', "is not one of Pilotune's (KeyError: 'command')"),
        ('{"command": ""}', "has an empty command"),
        ('{"command": "x", "gpu_type": "abacus"}', "has gpu_type 'abacus'; known are nvidia, amd, intel"),
        ('{"command": "/nowhere/pool"}', "the worker pool /nowhere/pool cannot be started: No such file or directory"),
    ],
)
def test_what_cannot_be_started_is_reported_in_a_sentence(tmp_path, text, sentence):
    launch = tmp_path / "launch.json"
    if text is not None:
        launch.write_text(text)
    command = [sys.executable, "-m", "pilotune.providers.node.agent", str(launch), "5"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 70
    assert sentence in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


# -- the end of a block -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_busy_workers_yield_before_the_pool_ends_and_idle_ones_are_not_asked(node, tmp_path, number, finish):
    code = """
        worker("busy", True)
        worker("idle", False)
        while len(list(here.glob("*.pid"))) < 2:
            time.sleep(0.01)
        (here / "pool.pid").write_text(str(os.getpid()))
        while not (here / "busy.yielded").exists():
            time.sleep(0.01)
        (here / "after").write_text(" ".join(path.name for path in node.iterdir()))
        time.sleep(600)
    """
    process = node(code)
    pids = [written(tmp_path / f"{name}.pid") for name in ("pool", "busy", "idle")]
    trials = [written(tmp_path / f"{name}.trial") for name in ("busy", "idle")]
    process.send_signal(number)
    status, _, err = finish(process)
    assert status == 128 + number
    assert f"block 5 was ended by {number.name}" in err
    assert (tmp_path / "busy.yielded").exists()
    assert not (tmp_path / "idle.yielded").exists()
    assert "ending" in (tmp_path / "after").read_text()  # and the pool was there to carry the outcome
    assert not any(alive(pid) for pid in [*pids, *trials])
    assert list(node.temporary.iterdir()) == []


def test_a_signal_to_all_of_the_block_does_not_end_the_pool_before_its_workers(node, tmp_path, finish):
    process = node("worker('busy', True)\ntime.sleep(600)")
    pid = int(written(tmp_path / "busy.pid"))
    os.killpg(os.getpgid(pid), signal.SIGTERM)
    written_file = tmp_path / "busy.yielded"
    until(written_file.exists, "the busy worker has yielded")
    assert process.poll() is None
    process.terminate()
    assert finish(process)[0] == 143


def test_a_worker_that_does_not_yield_is_ended_when_the_time_is_over(tmp_path, monkeypatch):
    from pilotune.providers.node import agent as node_module

    monkeypatch.setenv("PILOTUNE_YIELD_LIMIT", "0.3")
    folder = tmp_path / "node"
    folder.mkdir()
    deaf = subprocess.Popen(["sleep", "600"], start_new_session=True, preexec_fn=lambda: signal.signal(15, 1))
    try:
        (folder / str(deaf.pid)).touch()
        (folder / "1").touch()  # somebody else's process
        asked = []
        monkeypatch.setattr(node_module, "reap", asked.append)
        monkeypatch.setattr(node_module, "end_children", lambda spared: None)
        node_module.end(deaf, folder, 0.0, SharedFiles(deaf.pid))
        assert asked
        assert (folder / "ending").exists()
        assert deaf.returncode == -signal.SIGKILL
    finally:
        deaf.kill()
        deaf.wait()


def test_what_a_killed_pool_leaves_is_ended_after_its_trials_have_yielded(node, tmp_path, finish):
    process = node("worker('busy', True)\n(here / 'pool.pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    worker, trial = written(tmp_path / "busy.pid"), written(tmp_path / "busy.trial")
    os.kill(int(written(tmp_path / "pool.pid")), signal.SIGKILL)
    status, _, err = finish(process)
    assert status == 137
    assert "was killed by SIGKILL" in err
    assert (tmp_path / "busy.yielded").exists()
    assert not alive(worker)
    assert not alive(trial)


WITH_HELPER = """
    helper = subprocess.Popen(["sleep", "600"])  # such as multiprocessing's resource tracker
    (here / "helper.pid").write_text(str(helper.pid))
    (here / "pool.pid").write_text(str(os.getpid()))
    worker("busy", True)
    time.sleep(600)
"""
PARTS = ("pool.pid", "helper.pid", "busy.pid", "busy.trial")


def kill_session(session):
    """Do what PBS does at its kill delay: SIGKILL to all processes of the job's session, and to no other."""
    reached = [int(name) for name in os.listdir("/proc") if name.isdigit() and session_of(int(name)) == session]
    for pid in reached:
        with contextlib.suppress(ProcessLookupError):  # one that has ended because another was killed
            os.kill(pid, signal.SIGKILL)
    return reached


def session_of(pid):
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def guardian_of(process):
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


def test_nothing_is_left_when_the_job_s_session_is_killed(node, tmp_path):
    process = node(WITH_HELPER)
    pids = [int(written(tmp_path / name)) for name in PARTS]
    guardian = guardian_of(process)
    until(lambda: session_of(guardian) == guardian, "the guardian has left the session")
    reached = kill_session(process.pid)
    assert set(pids) - {pids[-1]} <= set(reached), "all but the trial in a session of its own"
    for pid in [*pids, guardian]:
        gone(pid)
    assert list(node.temporary.iterdir()) == []


@pytest.mark.parametrize("part", ["front", "guardian", "pool"])
def test_nothing_is_left_when_a_process_of_the_block_is_killed(node, tmp_path, part):
    process = node(WITH_HELPER)
    pids = [int(written(tmp_path / name)) for name in PARTS]
    guardian = guardian_of(process)
    until(lambda: session_of(guardian) == guardian, "the guardian has left the session")
    if part == "guardian":  # it dies with its pool, whose workers the kernel then sends SIGTERM
        os.kill(pids[2], signal.SIGTERM)
    os.kill({"front": process.pid, "guardian": guardian, "pool": pids[0]}[part], signal.SIGKILL)
    for pid in [*pids, guardian]:
        gone(pid)
    assert (tmp_path / "busy.yielded").exists()
    assert process.wait(60) == (-signal.SIGKILL if part == "front" else 128 + signal.SIGKILL)
    assert list(node.temporary.iterdir()) == []


def test_what_has_left_the_job_s_session_stops_and_goes_on_with_the_job(node, tmp_path):
    process = node("worker('busy', True)\ntime.sleep(600)")
    trial = written(tmp_path / "busy.trial")
    guardian = guardian_of(process)
    until(lambda: session_of(guardian) == guardian, "the guardian has left the session")
    process.send_signal(signal.SIGSTOP)
    until(lambda: process_state(int(trial)) == "T", "the trial is stopped")
    process.send_signal(signal.SIGCONT)
    until(lambda: process_state(int(trial)) == "S", "the trial goes on")


# -- GPUs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "accelerators", "names"),
    [
        (None, ("0", "1"), ["0", "1"]),
        ("0,1", ("0", "1"), ["0", "1"]),
        ("1", ("0",), ["1"]),
        ("2,3,6,7", ("0,1", "2,3"), ["2,3", "6,7"]),
        ("GPU-aa, GPU-bb", ("0", "1"), ["GPU-aa", "GPU-bb"]),
        ("2,3", ("GPU-aa",), ["GPU-aa"]),
        ("2,3", (), []),
    ],
)
def test_gpus_are_counted_among_those_of_the_job(given, accelerators, names):
    environment = {"ROCR_VISIBLE_DEVICES": "7", **({} if given is None else {"CUDA_VISIBLE_DEVICES": given})}
    assert worker_gpus(Launch(("pool",), accelerators), environment) == names


@pytest.mark.parametrize(
    ("make", "variable"),
    [("nvidia", "CUDA_VISIBLE_DEVICES"), ("amd", "ROCR_VISIBLE_DEVICES"), ("intel", "ZE_AFFINITY_MASK")],
)
def test_gpus_of_each_make_are_found_in_its_own_variable(make, variable):
    assert worker_gpus(Launch(("pool",), ("0",), make), {variable: "5"}) == ["5"]


@pytest.mark.parametrize("given", ["1", "NoDevFiles", ""])
def test_a_job_with_fewer_gpus_than_its_workers_need_is_reported(given):
    with pytest.raises(LaunchError, match=r"its workers need 2; request them in the site file's `options`"):
        worker_gpus(Launch(("pool",), ("0", "1")), {"CUDA_VISIBLE_DEVICES": given})


def test_the_pool_is_told_the_names_of_its_workers_gpus(node, finish):
    code = "print(sys.argv[3:], os.environ['PILOTUNE_NODE_GPUS'], os.environ['PILOTUNE_GPU_TYPE'])"
    changes = {"accelerators": ["0", "1"], "gpu_type": "amd"}
    _, out, _ = finish(node(code, changes=changes, environment={"ROCR_VISIBLE_DEVICES": "4,6"}))
    described = '{"workers": ["4", "6"], "before": {"ROCR_VISIBLE_DEVICES": "4,6"}}'
    assert out == f"['--available-accelerators', '4', '6'] {described} amd\n"


def test_a_block_says_how_many_trials_on_several_nodes_it_runs(monkeypatch):
    launch = Launch(("pool", "--max_workers_per_node=4", "--block_id={block_id}"))
    assert command_line(launch, "3", "n1-a", [])[1] == "--max_workers_per_node=4"
    monkeypatch.setenv("PILOTUNE_BLOCK_TRIALS", "2")
    assert command_line(launch, "3", "n1-a", [])[1] == "--max_workers_per_node=2"


def test_the_pools_own_list_of_gpus_is_replaced():
    launch = Launch(("pool", "--available-accelerators", "0", "1", "--block_id={block_id}"))
    assert command_line(launch, "3", "n1-a", ["5"]) == ["pool", "--block_id=3", "--available-accelerators", "5"]
    assert command_line(launch, "3", "n1-a", []) == ["pool", "--available-accelerators", "0", "1", "--block_id=3"]


@pytest.mark.parametrize(
    ("affinity", "workers", "kept"),
    [
        ("block", 2, True),
        ("block", 4, True),
        ("block", 5, False),
        ("alternating", 5, False),
        ("list:2-3:4,6", 2, True),
        ("list:0-1:2-3", 2, False),
        ("none", 9, True),
    ],
)
def test_workers_are_bound_only_to_cores_that_the_job_has(monkeypatch, capsys, affinity, workers, kept):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 3, 4, 6})
    words = ["pool", f"--max_workers_per_node={workers}", "--cpu-affinity", affinity]
    assert bind(words) == (words if kept else [*words[:-1], "none"])
    said = capsys.readouterr().err
    assert not said if kept else f"{workers} workers cannot be bound ({affinity})" in said


def test_a_command_may_be_a_list_of_words(tmp_path):
    launch = tmp_path / "launch.json"
    launch.write_text(json.dumps({"command": ["pool", "a b"], "accelerators": [0]}))
    assert read_launch(launch) == Launch(("pool", "a b"), ("0",), "nvidia", {})


@pytest.mark.parametrize(("threads", "seen"), [("64", "None"), ("8", "8")])
def test_threads_that_pbs_sets_for_all_of_a_node_are_not_those_of_each_worker(node, threads, seen, finish):
    environment = {"PBS_JOBID": "1.pbs", "NCPUS": "64", "OMP_NUM_THREADS": threads}
    assert finish(node("print(os.environ.get('OMP_NUM_THREADS'))", environment=environment))[1] == f"{seen}\n"


def test_the_driver_is_told_as_soon_as_a_suspension_is_announced(node, tmp_path):
    """Slurm sends SIGTSTP two seconds before it stops the guardian, too; it may send it to the front only."""
    process = node("(here / 'pool.pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    written(tmp_path / "pool.pid")
    guardian = guardian_of(process)
    until(lambda: session_of(guardian) == guardian, "the guardian has left the session")
    process.send_signal(signal.SIGTSTP)
    until(lambda: list(tmp_path.glob("*.suspended")), "the file for the driver is there")
    assert process_state(process.pid) != "T", "the front goes on until it is stopped"
    until(lambda: not list(tmp_path.glob("*.suspended")), "it was not suspended after all")
