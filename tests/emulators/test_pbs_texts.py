"""The output and exit codes of the emulated commands of OpenPBS, word for word."""

from __future__ import annotations

import getpass
import json
import re
import time
from collections.abc import Iterator

import pytest

from ..support.emulators.desk import Desk
from ..support.emulators.install import install

pytestmark = pytest.mark.exhaustive  # what it prints and does is met by every test of a scheduler, too

ME = getpass.getuser()
HELD = ("-h", "-N", "waits", "-l", "select=2:ncpus=2", "-l", "walltime=01:00:00")


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    folder = tmp_path / "user"
    folder.mkdir()
    with install(tmp_path / "machine", "pbs", exiting=0.1, starting=0.0, tick=0.05) as emulated:
        (folder / "job.sh").write_text("true\n")
        yield Desk(emulated, folder)


def finished(desk: Desk) -> str:
    """A job that has ended and is still known."""
    desk.emulated.set(history=True)
    job = desk.good("qsub", "job.sh").strip()
    desk.wait_for(int(job.partition(".")[0]), "ended")
    return job


def answer(desk: Desk, *words: str, **more: str) -> tuple[int, str, str]:
    done = desk.run(*words, **more)
    return done.returncode, done.stdout, done.stderr


def test_the_table_of_jobs(desk):
    desk.good("qsub", *HELD, "job.sh")
    desk.good("qsub", "-h", "-N", "a_name_that_is_too_long", "job.sh")
    assert desk.good("qstat") == (
        "Job id            Name             User              Time Use S Queue\n"
        "----------------  ---------------- ----------------  -------- - -----\n"
        f"1.pbshead         waits            {ME:<16}         0 H workq           \n"
        f"2.pbshead         a_name_that_is_* {ME:<16}         0 H workq           \n"
    )


def test_no_jobs_no_output(desk):
    assert answer(desk, "qstat") == (0, "", "")


def test_the_long_listing(desk):
    desk.good("qsub", *HELD, "job.sh", PATH=f"{desk.environment['PATH']}:{'/long' * 30}")
    text = desk.good("qstat", "-f", "1")
    assert text.startswith(
        f"Job Id: 1.pbshead\n    Job_Name = waits\n    Job_Owner = {ME}@pbshead\n    job_state = H\n"
    )
    assert "\n    Resource_List.select = 2:ncpus=2\n    Resource_List.walltime = 01:00:00\n" in text
    assert text.endswith("\n    project = _pbs_project_default\n    Submit_Host = pbshead\n\n")
    assert all(len(line.expandtabs()) <= 80 for line in text.splitlines())
    unwrapped = text.replace("\n\t", "")
    wide = desk.good("qstat", "-f", "-w", "1")
    assert sorted(unwrapped.splitlines()) == sorted(wide.splitlines())


def test_json_has_numbers_for_whatever_looks_like_one(desk):
    desk.good("qsub", "-h", "-N", "123", "job.sh")
    desk.good("qsub", "-h", "-N", "1e5", "job.sh")
    text = desk.good("qstat", "-f", "-F", "json")
    seen = json.loads(text)
    assert list(seen) == ["timestamp", "pbs_version", "pbs_server", "Jobs"]
    assert (seen["pbs_version"], seen["pbs_server"]) == ("23.06.06", "pbshead")
    assert abs(seen["timestamp"] - time.time()) < 600
    assert seen["Jobs"]["1.pbshead"]["Job_Name"] == 123
    assert '\n            "Job_Name":1e5,\n' in text
    assert seen["Jobs"]["1.pbshead"]["Variable_List"]["PBS_O_HOST"] == "pbshead"


def test_json_without_jobs_has_no_jobs(desk):
    seen = json.loads(desk.good("qstat", "-f", "-F", "json"))
    assert list(seen) == ["timestamp", "pbs_version", "pbs_server"]


def test_separated_values_are_one_line_a_job(desk):
    for _ in range(2):
        desk.good("qsub", "-v", "ODD=a|b", *HELD, "job.sh")
    first, second = desk.good("qstat", "-f", "-F", "dsv", "1", "2").splitlines()
    assert first.startswith(f"Job Id: 1.pbshead|Job_Name=waits|Job_Owner={ME}@pbshead|job_state=H|queue=workq|")
    assert second.startswith("Job Id: 2.pbshead|")
    assert "|Resource_List.select=2:ncpus=2|" in first
    assert "ODD=a\\|b" in first


def test_a_finished_job_is_shown_only_on_request(desk):
    job = finished(desk)
    words = f"qstat: {job} Job has finished, use -x or -H to obtain historical job information\n"
    assert answer(desk, "qstat", job) == (35, "", words)
    assert answer(desk, "qstat")[1] == ""
    assert re.search(r"^1\.pbshead +job\.sh +\S+ +00:00:00 F workq +$", desk.good("qstat", "-x", job), re.MULTILINE)


def test_without_history_x_says_so_and_succeeds(desk):
    desk.good("qsub", *HELD, "job.sh")
    code, out, err = answer(desk, "qstat", "-x", "-f", "-F", "json", "1.pbshead", "77")
    assert (code, "Jobs" in json.loads(out)) == (0, False)
    assert err == (
        "qstat: PBS is not configured to maintain job history 1.pbshead\n"
        "qstat: PBS is not configured to maintain job history 77.pbshead\n"
    )


def test_a_mixed_list_prints_the_good_and_exits_with_the_bad(desk):
    job = finished(desk)
    desk.good("qsub", *HELD, "job.sh")
    code, out, err = answer(desk, "qstat", "-f", "-F", "json", "99", "2", job)
    assert (code, list(json.loads(out)["Jobs"])) == (35, ["2.pbshead"])
    assert err.splitlines()[0] == "qstat: Unknown Job Id 99.pbshead"
    assert answer(desk, "qstat", "-f", "2", "99")[0] == 153


def test_the_bug_that_prints_the_first_of_several_jobs_only(desk):
    desk.emulated.set(json_first_only=True)
    for _ in range(2):
        desk.good("qsub", *HELD, "job.sh")
    assert list(json.loads(desk.good("qstat", "-f", "-F", "json", "1", "2"))["Jobs"]) == ["1.pbshead"]
    assert desk.good("qstat", "-f", "-F", "dsv", "1", "2").count("Job Id: ") == 2


def test_a_user_s_jobs_in_json_are_none(desk):
    desk.good("qsub", *HELD, "job.sh")
    out = desk.good("qstat", "-u", ME, "-f", "-F", "json")
    assert out.startswith("\npbshead: \n")
    assert "Jobs" not in json.loads(out[out.index("{") :])


def test_an_impossible_request_waits_for_ever_and_says_so(desk):
    desk.good("qsub", "-l", "select=9:ncpus=2", "job.sh")
    seen = json.loads(desk.good("qstat", "-f", "-F", "json", "1"))["Jobs"]["1.pbshead"]
    assert (seen["job_state"], seen["substate"]) == ("Q", 10)
    assert seen["comment"] == "Can Never Run: Insufficient amount of resource: ncpus (R: 18 A: 8 T: 8)"


@pytest.mark.parametrize(
    ("words", "comment"),
    [
        (("-l", "select=1:ncpus=3"), "Not Running: Insufficient amount of resource: ncpus "),
        (("-l", "select=1:ngpus=1"), "Not Running: Insufficient amount of resource: ngpus "),
        (("-l", "select=9:ncpus=1", "-l", "place=scatter"), "Can Never Run: Not enough total nodes available"),
    ],
)
def test_a_request_that_no_node_can_meet_waits_for_ever_and_hardly_says_so(desk, words, comment):
    desk.good("qsub", *words, "job.sh")
    seen = desk.good("qstat", "-f", "-F", "dsv", "1")
    assert f"|comment={comment}|" in seen


def test_a_job_that_depends_on_an_unknown_one_is_accepted_and_vanishes(desk):
    job = desk.good("qsub", "-W", "depend=afterok:77", "job.sh").strip()
    assert answer(desk, "qstat", job) == (153, "", f"qstat: Unknown Job Id {job}\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-q", "nowhere", "job.sh"), 170, "qsub: Unknown queue\n"),
        (("-q", "closed", "job.sh"), 173, "qsub: Queue is not enabled\n"),
        (
            ("-q", "short", "-l", "walltime=00:02:00", "job.sh"),
            188,
            "qsub: Job violates queue and/or server resource limits\n",
        ),
        (("-q", "few", "job.sh"), 38, "qsub: would exceed queue few's per-user limit\n"),
        (("-l", "walltime=soon", "job.sh"), 166, "qsub: Illegal attribute or resource value Resource_List.walltime\n"),
        (("-l", "wings=2", "job.sh"), 187, "qsub: Unknown resource Resource_List.wings\n"),
        (("-l", "select=1:wings=2", "job.sh"), 187, "qsub: Unknown resource: wings\n"),
        (("nothing.sh",), 1, "qsub: script file:: No such file or directory\n"),
        (
            ("-A", "poor", "job.sh"),
            32,
            "qsub: Request rejected.  Reason:  No active allocation found for project poor\n",
        ),
    ],
)
def test_what_qsub_refuses(desk, words, code, text):
    desk.emulated.set(
        queues={"closed": {"enabled": False}, "short": {"max_walltime": 60}, "few": {"max_user": 0}},
        accounts=["rich", ""],
    )
    assert answer(desk, "qsub", *words) == (code, "", text)
    assert desk.emulated.jobs() == []


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("-N", "a b", "job.sh"), "qsub: illegal -N value"),
        (("-N", "x" * 300, "job.sh"), "qsub: illegal -N value"),
        (("-l", "walltime", "job.sh"), "qsub: illegal -l value"),
        (("-Y", "job.sh"), "qsub: invalid option -- 'Y'"),
        (("job.sh", "extra"), "usage: qsub [-a date_time] [-A account_string] [-c interval]"),
    ],
)
def test_options_that_qsub_does_not_understand(desk, words, first):
    code, out, err = answer(desk, "qsub", *words)
    assert (code, out, err.splitlines()[0]) == (2, "", first)
    assert "usage: qsub" in err


def test_directives_give_way_to_the_command_line(desk):
    desk.script(
        "job.sh",
        "#!/bin/sh\n\n# a comment\n#PBS -N inside -h\n#PBS -l select=2:ncpus=1,walltime=60\ntrue\n#PBS -q late\n",
    )
    desk.good("qsub", "-N", "outside", "-l", "walltime=90", "job.sh")
    job = desk.emulated.job(1)
    assert (job.name, job.held, job.walltime, job.chunks, job.queue) == (
        "outside",
        "user",
        90,
        [[1, 0], [1, 0]],
        "workq",
    )
    desk.script("bad.sh", "#!/bin/sh\n#PBS -Y odd\n")
    assert answer(desk, "qsub", "bad.sh") == (1, "", "qsub: directive error: -Y odd \n")


def test_a_server_that_is_down(desk):
    desk.good("qsub", *HELD, "job.sh")
    desk.emulated.set(server_down=True)
    code, out, err = answer(desk, "qstat", "-f", "-F", "json", "1")
    assert (code, list(json.loads(out))) == (255, ["timestamp", "pbs_version", "pbs_server"])
    assert err == "Connection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"
    refused = (162, "", "Connection refused\nqsub: cannot connect to server pbshead (errno=15010)\n")
    assert answer(desk, "qsub", "job.sh") == refused
    assert answer(desk, "qdel", "1")[0] == 162
    desk.emulated.set(server_down=False)
    assert desk.good("qstat", "1")


def test_qdel_of_what_is_not_there(desk):
    job = finished(desk)
    desk.good("qsub", *HELD, "job.sh")
    assert answer(desk, "qdel", "99") == (153, "", "qdel: Unknown Job Id 99\n")
    assert answer(desk, "qdel", "99.pbshead") == (153, "", "qdel: Unknown Job Id 99.pbshead\n")
    # Of a list, jobs that live are deleted whatever happens to the others.
    assert answer(desk, "qdel", "2", job) == (35, "", f"qdel: Job has finished {job}\n")
    assert [job.phase for job in desk.emulated.jobs()] == ["ended", "ended"]
    assert desk.run("qdel").returncode == 2


def test_commands_are_written_down_and_can_be_made_to_fail(desk):
    desk.emulated.set(failures={"qstat": {"code": 9, "err": "out of order"}})
    assert answer(desk, "qstat", "-x") == (9, "", "out of order\n")
    call = desk.emulated.commands("qstat")[-1]
    assert (call["words"], call["code"]) == (["-x"], 9)
