"""The emulated Cobalt prints the real one's texts, exits with its codes, and really runs jobs."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator

import pytest

from ..support.emulators.desk import Desk, until
from ..support.emulators.install import install
from ..support.emulators.processes import started

pytestmark = pytest.mark.exhaustive  # what it prints and does is met by every test of a scheduler, too

ME = getpass.getuser()
MOMENT = r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4} [+-]\d{4} \(\w+\)"
FULL = (
    *("JobID", "JobName", "User", "WallTime", "QueuedTime", "RunTime", "TimeRemaining", "Nodes", "State", "Location"),
    *("Mode", "Procs", "Preemptable", "Queue", "StartTime", "Index"),
)
QUICK = {"starting": 0.0, "exiting": 0.2, "late": 0.0, "force_kill_delay": 1.0, "qdel_sleep": 0.0, "tick": 0.05}


def at_a_desk(tmp_path, **settings) -> Iterator[Desk]:
    folder = tmp_path / "user"
    folder.mkdir()
    with install(tmp_path / "machine", "cobalt", **{**QUICK, **settings}) as emulated:
        desk = Desk(emulated, folder)
        desk.script("job.sh", "#!/bin/sh\ntrue\n")
        yield desk
    assert emulated.processes() == []


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    yield from at_a_desk(tmp_path)


@pytest.fixture
def cluster(tmp_path) -> Iterator[Desk]:
    yield from at_a_desk(tmp_path, system="cluster", minute=0.2)


def answer(desk: Desk, *words: str) -> tuple[int, str, str]:
    done = desk.run(*words)
    return done.returncode, done.stdout, done.stderr


def submit(desk: Desk, body: str, *options: str) -> int:
    desk.script("run.sh", f"#!/bin/bash\n{body}\n")
    return int(desk.good("qsub", "-t", "5", "-n", "1", *options, "run.sh"))


def hold(desk: Desk, *options: str) -> int:
    return int(desk.good("qsub", "-h", "-t", "5", "-n", "1", *options, "job.sh"))


def test_the_table_of_jobs(desk):
    hold(desk)
    submit(desk, "sleep 1000", "-n", "2")
    until(lambda: desk.emulated.job(2).phase == "running", "it runs")
    first, rule, *rows = desk.good("qstat").splitlines()
    width = max(len("User"), len(ME))
    assert first == f"JobID  {'User':<{width}}  WallTime  Nodes  State      Location  "
    assert rule == "=" * (5 + width + 8 + 5 + 9 + 8 + 12)
    assert rows == [
        f"1      {ME:<{width}}  00:05:00  1      user_hold  None      ",
        f"2      {ME:<{width}}  00:05:00  2      running    1-2       ",
    ]


def test_columns_are_chosen_by_site_environment_and_command_line(desk):
    hold(desk)
    with desk.emulated.machine.change() as state:
        state.next = 10
    hold(desk)
    desk.emulated.set(qstat_header="State:JobID")
    assert desk.good("qstat", "1", "10") == (
        "State      JobID  \n==================\nuser_hold   1     \nuser_hold  10     \n"
    )
    assert desk.good("qstat", "1", QSTAT_HEADER="jobid:Queue").startswith("jobid  Queue    \n")
    assert desk.good("qstat", "1", "--header", "JobID:short_state:Bogus", QSTAT_HEADER="jobid") == (
        "JobID  S  Bogus  \n=================\n1      H  -      \n"
    )


def test_full_and_long_listings(desk):
    number = hold(desk, "--env", "A=1:B=x\\:y", "--jobname", "run$jobid")
    full = desk.good("qstat", "-f", "--header", "JobID")
    assert full.splitlines()[0].split() == list(FULL)
    lines = desk.good("qstat", "-f", "-l", str(number)).splitlines()
    assert lines[:2] == ["JobID: 1", "    JobName           : run1"]
    assert lines[-1] == ""
    assert "    Envs              : A=1 B=x:y" in lines
    assert "    S                 : H" in lines
    submitted = next(line for line in lines if line.startswith("    SubmitTime "))
    assert re.fullmatch(rf"    SubmitTime        : {MOMENT}", submitted)


def test_unknown_jobs_and_users(desk):
    assert answer(desk, "qstat", "77") == (1, "", "")
    hold(desk)
    assert answer(desk, "qstat", "77", "1", "--header", "JobID") == (0, "JobID  \n=======\n1      \n", "")
    assert answer(desk, "qstat", "-u", "somebodyelse", "--header", "JobID:State") == (
        0,
        "JobID  State  \n==============\n",
        "",
    )
    assert answer(desk, "qstat", "odd") == (1, "", "odd is not a valid jobid or queue name\n")
    assert desk.good("qstat", "default", "--header", "JobID").endswith("1      \n")


def test_components_that_are_away(desk):
    hold(desk)
    desk.emulated.set(server_down=True)
    words = "component error: Failed to connect to {}\n\n"
    assert answer(desk, "qstat", "1") == (1, "", words.format("queue-manager"))
    assert answer(desk, "qdel", "1") == (1, "", words.format("queue-manager"))
    assert answer(desk, "qsub", "-t", "1", "-n", "1", "job.sh") == (1, "", words.format("system"))


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-n", "1", "job.sh"), 1, "'time' not provided\n"),
        (("-t", "1", "job.sh"), 1, "'nodecount' not provided\n"),
        (("-t", "1", "-n", "2000", "job.sh"), 1, "node count out of realistic range\n"),
        (("-t", "soon", "-n", "1", "job.sh"), 1, "invalid time specification: soon\n"),
        (("-t", "1", "-n", "1", "/bin/nothing"), 1, "command /bin/nothing not found, or is not a file\n"),
        (("-t", "1", "-n", "1", "/etc/passwd"), 1, "command /etc/passwd is not executable\n"),
        (("-t", "1", "-n", "1", "-o", "/no/where", "job.sh"), 1, "directory /no/where does not exist\n"),
        (("-q", "x"), 1, "<Fault 1001: \"trying to add job to non-existent queue 'x'\">\n"),
        (("-q", "full"), 1, "<Fault 1001: \"The limit of 0 jobs per user in the 'full' queue has been reached\">\n"),
        (("-q", "shut"), 1, "<Fault 1001: \"The 'shut' queue is draining\">\n"),
        (("-q", "short"), 1, "<Fault 1001: \"Walltime greater than the 'short' queue max walltime of 00:01:00\">\n"),
        (("-q", "long"), 1, "<Fault 1001: \"Walltime less than the 'long' queue min walltime of 02:00:00\">\n"),
        (("-q", "theirs"), 1, "<Fault 1001: \"You are not allowed to submit to the 'theirs' queue\">\n"),
    ],
)
def test_what_qsub_refuses(desk, words, code, text):
    rules = {
        "full": {"max_user": 0},
        "shut": {"state": "draining"},
        "short": {"max_time": 1},
        "long": {"min_time": 120},
        "theirs": {"users": ["them"]},
    }
    desk.emulated.set(queues=rules)
    if words[0] == "-q":
        words = ("-t", "5", "-n", "1", *words, "job.sh")
    assert answer(desk, "qsub", *words) == (code, "", text)
    assert desk.emulated.jobs() == []


def test_usage(desk):
    usage = (
        "Usage: qsub --help\nUsage: qsub [options] <executable> [<excutable options>]\n\n"
        "Refer to man pages for JOBID EXPANSION and SCRIPT JOB DIRECTIVES.\n"
    )
    code, out, err = answer(desk, "qsub", "-n", "1", "-t", "5")
    assert (code, out.strip(), err) == (1, usage.strip(), "No executable or script specified\n\n")
    code, out, err = answer(desk, "qsub", "job.sh")
    assert (code, out.strip(), err) == (1, usage.strip(), "No required options provided\n\n")
    code, out, err = answer(desk, "qsub", "-z", "job.sh")
    assert (code, out) == (2, "")
    assert err.startswith(usage)
    assert err.endswith("\nqsub: error: no such option: -z\n")
    code, out, err = answer(desk, "qsub", "-n", "many", "job.sh")
    assert (code, err.splitlines()[-1]) == (2, "qsub: error: option -n: invalid integer value: 'many'")


def test_what_the_site_s_filter_says_comes_on_stderr(desk):
    desk.emulated.set(
        routes={"default": "debug-flat-quad"}, filter_lines=["WARNING: be quick"], queues={"debug-flat-quad": {}}
    )
    done = desk.run("qsub", "-t", "5", "-n", "1", "-h", "job.sh")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == 'WARNING: be quick\nJob routed to queue "debug-flat-quad".\n'
    desk.emulated.set(id_message="is watched")
    assert desk.run("qsub", "-t", "5", "-n", "1", "-h", "job.sh").stdout == "2 is watched\n"


def test_directives_stand_right_below_the_first_line(desk):
    desk.script("one.sh", "#!/bin/sh\n#COBALT -n 2 -t 00:10:00\n#COBALT --env A=1\n\n#COBALT -q nowhere\n")
    desk.good("qsub", "-h", "-t", "20", "--env", "B=2", "one.sh")
    job = desk.emulated.job(1)
    assert (len(job.chunks), job.details["minutes"], job.environment) == (2, 20, {"A": "1", "B": "2"})
    desk.script("two.sh", "#!/bin/sh\n\n#COBALT -n 2 -t 10\n")
    assert answer(desk, "qsub", "two.sh")[2] == "No required options provided\n\n"


def test_times_are_whole_minutes(desk):
    for given in ("7", "00:07", "00:07:30", "00:00:07:00"):
        desk.good("qsub", "-h", "-n", "1", "-t", given, "job.sh")
    assert [job.details["minutes"] for job in desk.emulated.jobs()] == [7, 7, 7, 7]
    code, _, err = answer(desk, "qsub", "-n", "1", "-t", "0", "job.sh")
    assert (code, err[:13]) == (1, "<Fault 1001: ")
    desk.emulated.set(queues={"default": {"max_time": 60}})
    desk.good("qsub", "-h", "-n", "1", "-t", "0", "job.sh")
    assert desk.emulated.jobs()[-1].details["minutes"] == 60


def test_a_job_on_a_cray_starts_its_work_with_aprun(desk):
    body = """
echo $EMULATED_NODE $(hostname) $COBALT_PARTNAME $COBALT_JOBID $COBALT_PARTSIZE ${COBALT_NODEFILE:-none}
aprun -q -n 2 -N 1 -cc none /bin/sh -c 'echo $EMULATED_NODE $(hostname) $ALPS_APP_PE $A' | sort
aprun -n 1 -L 2 /bin/sh -c 'echo $EMULATED_NODE'
aprun -n 9 -N 1 true; echo $?"""
    submit(desk, body, "-n", "2", "--env", "A=mine", "-O", "run.$jobid")
    desk.wait_for(1, "ended")
    lines = desk.text("run.1.output").splitlines()
    names = ["mom1", "nid00001", "nid00002"] if desk.emulated.host_names else [os.uname().nodename] * 3
    assert lines[0] == f"mom1 {names[0]} 1-2 1 2 none"
    assert lines[1:4] == [f"nid00001 {names[1]} 0 mine", f"nid00002 {names[2]} 1 mine", "nid00002"]
    assert re.fullmatch(r"Application \d+ resources: utime ~0s, .*", lines[4])
    assert lines[5] == "1"
    assert desk.text("run.1.error") == "apsched: claim exceeds reservation's node-count\n"


def test_a_job_on_a_cluster_runs_on_its_first_node(cluster):
    submit(cluster, "echo $EMULATED_NODE $COBALT_PARTNAME; cat $COBALT_NODEFILE; cat", "-n", "2")
    cluster.wait_for(1, "ended")
    assert cluster.text("1.output") == "node1 node[1-2]\nnode1\nnode2\n"
    code, _, err = answer(cluster, "qsub", "-n", "1", "-t", "4", "job.sh")
    assert code == 1
    assert (
        err == "component error: XMLRPC failure <Fault 1004: 'Walltime less than minimum'> in system.validate_job\n\n"
    )


def test_the_cobaltlog_alone_knows_the_exit_code(desk):
    submit(desk, "echo live; exit 4")
    desk.wait_for(1, "ended")
    assert answer(desk, "qstat", "1") == (1, "", "")
    lines = desk.text("1.cobaltlog").splitlines()
    assert lines[:2] == ["Jobid: 1", "qsub -t 5 -n 1 run.sh"]
    assert lines[2].endswith(f") submitted with cwd set to: {desk.folder}")
    assert lines[3].endswith(f") Command: '{desk.folder}/run.sh'")
    assert lines[4].endswith(") Environment:")
    assert "COBALT_JOBID=1" in lines
    assert f" Info: stdout sent to {desk.folder}/1.output" in lines[-3]
    code = "Info: task completed normally with an exit code of 4; initiating job cleanup and removal"
    assert re.fullmatch(f"{MOMENT} {code}", lines[-1])


def test_output_is_there_while_the_job_runs(desk):
    submit(desk, "echo live; sleep 1000")
    until(lambda: (desk.folder / "1.output").exists() and desk.text("1.output") == "live\n", "the output is there")
    until(lambda: desk.emulated.job(1).phase == "running", "the job is said to run")


def test_a_deleted_job_is_killing_for_long(desk):
    desk.emulated.set(force_kill_delay=60.0)
    submit(
        desk,
        f"trap 'echo asked; while [ ! -e {desk.folder}/go ]; do sleep 0.05; done; exit 5' TERM\necho ready\n"
        "while true; do sleep 0.05; done",
    )
    until(lambda: (desk.folder / "1.output").exists() and "ready" in desk.text("1.output"), "it runs")
    width = max(4, len(ME))
    table = f"      Deleted Jobs\nJobID  {'User':<{width}}  \n{'=' * (5 + width + 4)}\n1      {ME:<{width}}  \n"
    assert desk.good("qdel", "1", "77") == table
    until(lambda: "asked" in desk.text("1.output"), "it is asked to end")
    assert desk.good("qstat", "1", "--header", "State:short_state").splitlines()[2] == "killing  K  "
    (desk.folder / "go").touch()
    assert desk.wait_for(1, "ended")["why"] == "deleted"
    log = desk.text("1.cobaltlog")
    assert f"Info: user delete requested with signal SIGTERM by user {ME}\n" in log
    assert "task completed normally" not in log


def test_a_job_that_does_not_listen_is_killed_with_all_its_offspring(desk):
    mark = desk.folder / "child"
    desk.script("child.sh", f"#!/bin/bash\ntrap '' TERM\necho $$ > {mark}\nsleep 1000\n")
    submit(desk, f"trap '' TERM; (setsid {desk.folder}/child.sh &); sleep 1000")
    until(lambda: mark.exists() and mark.read_text(), "the job has a child in a session of its own")
    child = int(mark.read_text())
    desk.good("qdel", "1")
    desk.wait_for(1, "ended")
    assert not started(child)


def test_qdel_of_what_waits_or_is_not_there(desk):
    hold(desk)
    assert desk.good("qdel", "1")
    assert desk.emulated.jobs() == []
    assert desk.text("1.cobaltlog").endswith(" Info: user delete requested; removing job from the queue\n")
    assert answer(desk, "qdel", "1") == (0, "", "")
    assert answer(desk, "qdel", "x") == (1, "", "jobid must be an integer: x\n")
    code, out, err = answer(desk, "qdel")
    assert (code, out[:12], err) == (1, "Usage: qdel ", "No Jobid(s) given\n\n")


def test_the_walltime_ends_a_job(cluster):
    submit(cluster, "trap 'echo asked; exit 9' TERM; while true; do sleep 0.05; done")
    assert cluster.wait_for(1, "ended")["why"] == "walltime"
    assert "Info: maximum execution time exceeded; initiating job termination\n" in cluster.text("1.cobaltlog")
    assert "task completed normally" not in cluster.text("1.cobaltlog")
    assert cluster.text("1.output") == "asked\n"


def test_a_launcher_fails_when_a_node_of_it_is_lost(desk):
    submit(desk, "aprun -q -n 2 -N 1 sleep 1000; echo $?", "-n", "2")
    until(lambda: len(desk.emulated.processes()) >= 5, "both nodes work")
    desk.emulated.node_down("nid00002")
    assert desk.wait_for(1, "ended")["status"] == 0
    assert desk.text("1.output") == "137\n"
    submit(desk, "true", "-n", "4")
    assert desk.good("qstat", "2", "--header", "State").splitlines()[2] == "queued  "


def test_a_cluster_s_job_ends_with_its_first_node(cluster):
    submit(cluster, f"touch {cluster.folder}/here; sleep 1000")
    until((cluster.folder / "here").exists, "it runs")
    cluster.emulated.node_down("node1")
    cluster.wait_for(1, "ended")
    assert "exit code of 137;" in cluster.text("1.cobaltlog")


def test_jobs_wait_for_jobs(desk):
    submit(desk, "exit 0", "-h")
    hold(desk)
    submit(desk, "true", "--dependencies", "1")
    assert desk.good("qstat", "3", "--header", "State:short_state").splitlines()[2] == "dep_hold  H  "
    desk.emulated.hold(1, "")
    desk.wait_for(3, "ended")
    assert desk.emulated.job(2).held == "user"


def test_a_user_s_limit_of_running_jobs_holds_the_next(desk):
    desk.emulated.set(queues={"default": {"max_user_run": 1}})
    submit(desk, "sleep 1000")
    desk.wait_for(1, "started")
    submit(desk, "true")
    assert desk.good("qstat", "2", "--header", "State:short_state").splitlines()[2] == "maxrun_hold  H  "
    desk.good("qdel", "1")
    desk.wait_for(2, "ended")


def test_queues_are_listed(desk):
    desk.emulated.set(queues={"debug": {"max_time": 60, "state": "draining"}})
    first, _, *rows = desk.good("qstat", "-Q").splitlines()
    assert first.split()[::4] == ["Name", "MaxTime", "MaxNodeHours"]
    assert [row.split()[0] for row in rows] == ["debug", "default"]
    assert rows[0].split()[-1] == "draining"
