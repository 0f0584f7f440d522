"""The emulated OpenPBS really runs jobs; it kills, requeues and forgets them as the real one does."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterator

import pytest

from ..support.emulators.desk import Desk, until
from ..support.emulators.install import install
from ..support.emulators.processes import started

pytestmark = pytest.mark.exhaustive  # what it prints and does is met by every test of a scheduler, too

QUICK = {"starting": 0.0, "late": 0.5, "kill_delay": 1.0, "exiting": 0.2, "tick": 0.05, "node_fail_requeue": 0.5}

ROOT = os.geteuid() == 0


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    folder = tmp_path / "user"
    folder.mkdir()
    with install(tmp_path / "machine", "pbs", history=True, gpus=2, **QUICK) as emulated:
        yield Desk(emulated, folder)
    assert emulated.processes() == []


def attributes(desk: Desk, *identifiers: str) -> dict:
    """What ``qstat`` says about jobs, finished ones too."""
    return json.loads(desk.good("qstat", "-x", "-f", "-F", "json", *identifiers))["Jobs"]


def submit(desk: Desk, body: str, *options: str, directives: str = "") -> str:
    script = desk.script("job.sh", f"#!/bin/bash\n{directives}\n{body}\n")
    return desk.good("qsub", *options, script).strip()


def test_a_job_runs_and_its_end_is_remembered(desk):
    job = submit(desk, "echo out; echo err >&2; exit 3", "-N", "try")
    assert job == "1.pbshead"
    desk.wait_for(1, "ended")
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["substate"], seen["Exit_status"], seen["run_count"]) == ("F", 93, 3, 1)
    assert seen["comment"].startswith("Job run at ")
    assert seen["comment"].endswith(" on (node1:ncpus=1) and failed")
    assert (desk.text("try.o1"), desk.text("try.e1")) == ("out\n", "err\n")
    assert stat.S_IMODE((desk.folder / "try.o1").stat().st_mode) == 0o600


def test_output_is_spooled_until_the_job_ends(desk):
    submit(desk, f"echo early; touch {desk.folder}/written; sleep 1000", "-o", "out")
    until((desk.folder / "written").exists, "the job has written something")
    assert not (desk.folder / "out").exists()
    desk.good("qdel", "1")
    desk.wait_for(1, "ended")
    assert desk.text("out") == "early\n"


def test_a_job_starts_in_the_home_folder_with_the_script_as_it_was_submitted(desk):
    submit(desk, "pwd; echo old", "-o", "out", "-h")
    desk.script("job.sh", "#!/bin/bash\necho new\n")
    desk.good("qrls", "1")
    desk.wait_for(1, "ended")
    assert desk.text("out") == f"{pwd.getpwuid(os.getuid()).pw_dir}\nold\n"


def test_the_parts_of_a_job_are_on_nodes_of_their_own(desk):
    body = """
name() { python3 -c 'import os, socket; print(os.environ["EMULATED_NODE"], socket.gethostname())'; }
cat $PBS_NODEFILE; echo --; name; echo --
export MINE=1
pbsdsh -- /bin/sh -c 'echo $EMULATED_NODE ${MINE:-unset} $PATH $PBS_JOBID' | sort; echo --
mpiexec -n 2 --ppn 1 /bin/sh -c 'echo $EMULATED_NODE $(hostname) $PALS_RANKID $MINE' | sort; echo --
mpiexec -n 2 -ppn 1 -hosts node2,node1 /bin/sh -c 'echo $PALS_RANKID $EMULATED_NODE' | sort
"""
    submit(desk, body, "-l", "select=2:ncpus=2", "-j", "oe", "-o", "out")
    desk.wait_for(1, "ended")
    nodefile, first, dsh, everywhere, chosen = desk.text("out").split("--\n")
    assert nodefile == "node1\nnode2\n"
    assert dsh == "node1 unset /bin:/usr/bin 1.pbshead\nnode2 unset /bin:/usr/bin 1.pbshead\n"
    assert chosen == "0 node2\n1 node1\n"
    hosts = [line.split()[1] for line in (first + everywhere).splitlines()]
    own = os.uname().nodename
    assert hosts == (["node1", "node1", "node2"] if desk.emulated.host_names else [own] * 3)
    assert [line.split()[0::2] for line in everywhere.splitlines()] == [["node1", "0"], ["node2", "1"]]
    assert all(line.endswith(" 1") for line in everywhere.splitlines())
    assert os.uname().nodename == own


def test_nodes_know_each_other_by_name_where_they_have_names(desk):
    submit(desk, "getent hosts node4 > /dev/null && echo known", "-o", "out")
    desk.wait_for(1, "ended")
    assert desk.text("out") == ("known\n" if desk.emulated.host_names else "")


def test_the_job_has_the_moms_environment_and_what_v_sends(desk):
    script = desk.script("job.sh", "#!/bin/bash\nenv\n")
    desk.good(
        "qsub", "-l", "select=1:ncpus=2:ngpus=1", "-v", "SENT=a b,TOO", "-V", "-o", "out", script, TOO="yes", NOT="no"
    )
    desk.wait_for(1, "ended")
    found = dict(line.partition("=")[::2] for line in desk.text("out").splitlines())
    assert found["PBS_JOBID"] == "1.pbshead"
    assert found["PBS_O_WORKDIR"] == str(desk.folder)
    assert (found["SENT"], found["TOO"]) == ("a b", "yes")
    assert (found["NCPUS"], found["OMP_NUM_THREADS"], found["PBS_ENVIRONMENT"]) == ("2", "2", "PBS_BATCH")
    # On real systems -V was seen to omit newly exported variables, and PATH is never the submitter's.
    assert "NOT" not in found
    assert found["PATH"] == f"{desk.emulated.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    assert found["PBS_O_PATH"].startswith(str(desk.emulated.folder / "bin"))
    assert "CUDA_VISIBLE_DEVICES" not in found


def test_gpus_are_told_only_where_the_site_does_so(desk):
    desk.emulated.set(gpu_variables=True)
    for number in (1, 2):
        submit(
            desk,
            "echo $CUDA_VISIBLE_DEVICES; while [ ! -e $HOLD ]; do sleep 0.05; done",
            "-l",
            "select=1:ncpus=1:ngpus=1",
            "-o",
            f"out{number}",
            "-v",
            f"HOLD={desk.folder}/go",
        )
        desk.wait_for(number, "started")
    (desk.folder / "go").touch()
    for number in (1, 2):
        desk.wait_for(number, "ended")
    assert (desk.text("out1"), desk.text("out2")) == ("0\n", "1\n")


def test_qdel_asks_first_and_looks_again_at_the_kill_delay(desk):
    job = submit(
        desk, "trap 'echo asked; exit 7' TERM; echo ready; while true; do sleep 0.05; done", "-k", "doe", "-o", "out"
    )
    until(lambda: (desk.folder / "out").exists() and "ready" in desk.text("out"), "the job runs")
    desk.emulated.set(kill_delay=1.5)
    assert desk.good("qdel", job) == ""
    until(lambda: "asked" in desk.text("out"), "the job has heard it")
    assert attributes(desk, job)[job]["job_state"] == "R"
    assert desk.wait_for(1, "ended")["time"] - desk.emulated.commands("qdel")[0]["time"] >= 1.5
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["substate"], seen["Exit_status"]) == ("F", 91, 271)
    assert seen["comment"].endswith(f" and terminated by {pwd.getpwuid(os.getuid()).pw_name}@pbshead")


@pytest.mark.parametrize("own", [False, True], ids=["the job's session", "its own session"])
def test_what_does_not_listen_is_killed_in_the_job_s_session_only(desk, own):
    mark = desk.folder / "child"
    desk.script("child.sh", f"#!/bin/bash\ntrap '' TERM\necho $$ > {mark}\nsleep 1000\n")
    job = submit(desk, f"trap '' TERM; ({'setsid ' * own}{desk.folder}/child.sh &); sleep 1000")
    until(lambda: mark.exists() and mark.read_text(), "the job has a child")
    child = int(mark.read_text())
    assert started(child)
    desk.good("qdel", job)
    desk.wait_for(1, "ended")
    assert bool(started(child)) == own
    assert attributes(desk, job)[job]["Exit_status"] in (265, 271)


def test_a_job_on_a_lost_node_is_deleted_by_force_only(desk):
    job = submit(desk, "sleep 1000", "-r", "n")
    desk.wait_for(1, "started")
    desk.emulated.set(node_fail_requeue=1000.0)
    desk.emulated.node_down("node1")
    done = desk.run("qdel", job)
    assert (done.returncode, done.stderr) == (222, f"qdel: Server could not connect to MOM {job}\n")
    desk.good("qdel", "-W", "force", job)
    assert attributes(desk, job)[job]["job_state"] == "F"


def test_a_qdel_that_falls_into_a_rerun_is_lost(desk):
    desk.emulated.set(exiting=1.0)
    job = submit(desk, "sleep 1000")
    desk.wait_for(1, "started")
    desk.emulated.rerun(job)
    desk.good("qdel", job)
    desk.wait_for(1, "started", times=2)
    desk.good("qdel", job)
    desk.wait_for(1, "ended")


def test_the_walltime_ends_a_job(desk):
    job = submit(desk, "sleep 1000", directives="#PBS -l walltime=00:00:01\n#PBS -N long")
    desk.wait_for(1, "ended")
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["substate"], seen["Exit_status"]) == ("F", 93, -29)
    assert seen["comment"].endswith(" and exceeded resource walltime")
    first = desk.text("long.e1").splitlines()[0]
    assert first.startswith("=>> PBS: job killed: walltime ")
    assert first.endswith(" exceeded limit 1")


def test_qrerun_starts_the_same_job_again(desk):
    job = submit(desk, f"echo run >> {desk.folder}/runs; while [ ! -e {desk.folder}/go ]; do sleep 0.05; done")
    desk.wait_for(1, "started")
    if ROOT:
        desk.good("qrerun", job)
    else:
        done = desk.run("qrerun", job)
        assert (done.returncode, done.stderr) == (159, f"qrerun: Unauthorized Request  {job}\n")
        desk.emulated.rerun(job)
    assert desk.wait_for(1, "requeued")["status"] == -11
    desk.wait_for(1, "started", times=2)
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["run_count"]) == ("R", 2)
    (desk.folder / "go").touch()
    desk.wait_for(1, "ended")
    assert desk.text("runs") == "run\nrun\n"
    assert attributes(desk, job)[job]["Exit_status"] == 0


def test_a_job_that_lost_its_first_node_is_requeued_elsewhere(desk):
    job = submit(
        desk, f"echo $EMULATED_NODE >> {desk.folder}/nodes; while [ ! -e {desk.folder}/go ]; do sleep 0.05; done"
    )
    until(lambda: (desk.folder / "nodes").exists(), "the job runs")
    desk.emulated.node_down("node1")
    desk.wait_for(1, "started", times=2)
    (desk.folder / "go").touch()
    desk.wait_for(1, "ended")
    assert desk.text("nodes") == "node1\nnode2\n"
    assert attributes(desk, job)[job]["run_count"] == 2


def test_a_job_that_may_not_rerun_fails_with_its_node(desk):
    job = submit(desk, "sleep 1000", "-r", "n")
    desk.wait_for(1, "started")
    desk.emulated.node_down("node1")
    desk.wait_for(1, "ended")
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["substate"], seen["Exit_status"]) == ("F", 93, -20)
    assert seen["comment"].endswith(" on (node1:ncpus=1)")


def test_a_job_that_lost_another_node_is_requeued_as_well(desk):
    desk.emulated.set(sister_timeout=0.5)
    submit(desk, "sleep 1000", "-l", "select=2:ncpus=2")
    desk.wait_for(1, "started")
    desk.emulated.node_down("node2")
    assert desk.wait_for(1, "requeued")["status"] == -14
    assert desk.wait_for(1, "started", times=2)["nodes"] == ["node1", "node3"]


def test_pbsdsh_passes_a_signal_on_and_leaves(desk):
    desk.emulated.set(kill_delay=60.0)
    task = desk.script(
        "task.sh",
        f"""#!/bin/bash
trap 'echo asked > {desk.folder}/$EMULATED_NODE; until test -e {desk.folder}/leave; do sleep 0.05; done; exit' TERM
touch {desk.folder}/ready.$EMULATED_NODE
while true; do sleep 0.05; done
""",
    )
    submit(
        desk,
        f"trap : TERM\npbsdsh -- {task}\necho $?; while true; do sleep 0.05; done",
        "-l",
        "select=2:ncpus=2",
        "-j",
        "oe",
        "-o",
        "out",
        "-k",
        "oed",
    )
    until(lambda: len(list(desk.folder.glob("ready.*"))) == 2, "both tasks run")
    desk.good("qdel", "1")
    until(lambda: (desk.folder / "node1").exists() and (desk.folder / "node2").exists(), "both tasks are asked to end")
    until(lambda: desk.text("out").count(" signal 15\n") == 2, "pbsdsh says so for both")
    assert "pbsdsh: killing task 0x00000000 signal 15\n" in desk.text("out")
    (desk.folder / "leave").touch()
    until(lambda: "\n1\n" in desk.text("out"), "the script goes on")
    assert desk.emulated.job(1).phase == "killing"


def test_nothing_is_waited_for_beyond_the_script_s_own_session(desk):
    task = desk.script("task.sh", f"#!/bin/bash\ntrap '' TERM\ntouch {desk.folder}/ready\nsleep 1000\n")
    submit(desk, f"pbsdsh -- {task}")
    until((desk.folder / "ready").exists, "the task runs")
    desk.good("qdel", "1")
    assert desk.wait_for(1, "ended")["why"] == "deleted"


def test_an_offline_node_takes_no_new_job(desk):
    job = submit(desk, f"while [ ! -e {desk.folder}/go ]; do sleep 0.05; done")
    desk.wait_for(1, "started")
    desk.good("pbsnodes", "-o", "node1", "node2", "node3")
    submit(desk, "true", "-l", "select=1:ncpus=2")
    assert desk.wait_for(2, "started")["nodes"] == ["node4"]
    assert attributes(desk, job)[job]["job_state"] == "R"
    (desk.folder / "go").touch()
    assert "state = offline" in desk.good("pbsnodes", "node1")
    desk.good("pbsnodes", "-r", "node1")
    assert "state = free" in desk.good("pbsnodes", "node1")


def stands_still(path) -> bool:
    before = path.stat().st_size
    time.sleep(0.5)
    return path.stat().st_size == before


def test_a_held_or_suspended_job_waits(desk):
    tick = f"while [ ! -e {desk.folder}/go ]; do echo >> {desk.folder}/$NAME; sleep 0.05; done"
    alone = desk.script("alone.sh", f"#!/bin/bash\nNAME=alone\n{tick}\n")
    job = submit(desk, f"setsid {alone} & NAME=own; {tick}; wait", "-h")
    seen = attributes(desk, job)[job]
    assert (seen["job_state"], seen["substate"], seen["Hold_Types"]) == ("H", 20, "u")
    desk.good("qrls", job)
    desk.wait_for(1, "started")
    until(lambda: desk.emulated.job(1).phase == "running", "it runs")
    desk.good("qsig", "-s", "suspend", job)
    assert attributes(desk, job)[job]["job_state"] == "S"
    until(lambda: desk.emulated.job(1).suspended, "it is suspended")
    until(lambda: stands_still(desk.folder / "own"), "its session is stopped")
    assert not stands_still(desk.folder / "alone"), "another session is not"
    (desk.folder / "go").touch()
    desk.good("qsig", "-s", "resume", job)
    assert desk.wait_for(1, "ended")["status"] == 0


def test_jobs_wait_for_jobs(desk):
    first = submit(desk, f"while [ ! -e {desk.folder}/go ]; do sleep 0.05; done; exit 1")
    submit(desk, "true", "-W", f"depend=afterany:{first}")
    submit(desk, "true", "-W", f"depend=afterok:{first}")
    assert attributes(desk, "2")["2.pbshead"]["job_state"] == "H"
    (desk.folder / "go").touch()
    desk.wait_for(2, "ended")
    assert desk.emulated.job(3).phase == "queued"


def test_jobs_that_fit_start_past_one_that_does_not(desk):
    submit(desk, "sleep 1000", "-l", "select=2:ncpus=2")
    desk.wait_for(1, "started")
    submit(desk, "sleep 1000", "-l", "select=4:ncpus=2")
    submit(desk, "sleep 1000", "-l", "select=2:ncpus=1", "-l", "place=scatter")
    assert desk.wait_for(3, "started")["nodes"] == ["node3", "node4"]
    assert desk.emulated.job(2).phase == "queued"


def test_without_a_history_a_job_is_gone_when_it_is_over(desk):
    desk.emulated.set(history=False)
    job = submit(desk, "true")
    desk.wait_for(1, "ended")
    done = desk.run("qstat", job)
    assert (done.returncode, done.stdout, done.stderr) == (153, "", f"qstat: Unknown Job Id {job}\n")
    assert desk.emulated.jobs() == []


def test_everything_ends_with_its_owner(tmp_path):
    owner = subprocess.Popen(["sleep", "1000"])
    folder = tmp_path / "user"
    folder.mkdir()
    emulated = install(tmp_path / "machine", "pbs", owner=owner.pid, **QUICK)
    desk = Desk(emulated, folder)
    submit(desk, "sleep 1000")
    desk.wait_for(1, "started")
    owner.kill()
    owner.wait()
    until(lambda: emulated.processes() == [], "all processes have ended")


def test_a_server_that_estimates_says_when_a_queued_job_would_begin(tmp_path):
    with install(tmp_path / "machine", "pbs", estimates=True, history=True, **QUICK) as emulated:
        desk = Desk(emulated, tmp_path)
        for _ in range(2):
            submit(desk, "sleep 1000", "-l", "select=4:ncpus=2", "-l", "walltime=01:00:00", "-o", "/dev/null")
        desk.wait_for(1, "started")
        seen = attributes(desk, "1.pbshead", "2.pbshead")
        until_then = time.mktime(time.strptime(seen["2.pbshead"]["estimated"]["start_time"])) - time.time()
        assert 3000.0 < until_then <= 3601.0
        assert "estimated" not in seen["1.pbshead"]
        desk.good("qdel", "1", "2")
