"""Cobalt's provider: its scripts and submissions, its queries, and how it reads answers of Cobalt 1.0.33."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest
from parsl.jobs.states import JobState

from pilotune.providers.schedulers.cobalt import CobaltBlocks, read_table
from pilotune.providers.schedulers.commands import TIMED_OUT, Answer
from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.site import PoolSpec, Site

from ...support.scheduler_commands import Commands


def blocks(folder: Path, account: str = "", **pool: Any) -> CobaltBlocks:
    spec = PoolSpec("knl", **{"walltime": 5400.0, **pool})
    provider = CobaltBlocks.for_pool(Site("lab", "cobalt", (spec,), folder, account=account), spec, "")
    provider.place(folder, "digits")
    return provider


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch, "cobalt")


def table(*rows: tuple[str, str]) -> Answer:
    """A table in qstat's layout: columns as wide as their widest cell, each followed by two blanks."""
    cells = [("JobID", "State"), *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(2)]
    ids = max((len(row[0]) for row in rows), default=0)
    lines = ["".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=True))
             for row in [cells[0], *((row[0].rjust(ids), row[1]) for row in rows)]]  # fmt: skip
    return Answer(0, "\n".join([lines[0], "=" * (sum(widths) + 4), *lines[1:]]) + "\n", "")


# -- submission -------------------------------------------------------------------------------------------------------


def test_directives_stand_straight_after_the_first_line(tmp_path: Path) -> None:
    """Cobalt stops reading directives at any other line, even an empty one."""
    provider = blocks(
        tmp_path,
        account="proj",
        queue="default",
        nodes_per_block=128,
        launcher="aprun",
        options=("ulimit -s unlimited", "#COBALT --attrs mcdram=cache:numa=quad"),
    )
    assert provider.script(provider.files("3"), "program\nand more") == (
        "#!/bin/bash\n"
        "#COBALT -n 128\n"
        "#COBALT -t 90\n"
        "#COBALT --mode script\n"
        "#COBALT -q default\n"
        "#COBALT -A proj\n"
        "#COBALT --jobname digits-knl-3\n"
        "#COBALT --attrs mcdram=cache:numa=quad\n"
        "ulimit -s unlimited\n"
        "\n"
        "program\nand more\n"
    )


def test_what_the_site_file_says_itself_is_said_once(tmp_path: Path) -> None:
    own = ("#COBALT -q special --project other", "#COBALT --jobname mine")
    script = blocks(tmp_path, account="proj", queue="default", options=own).render("0", "program", "")
    assert [line for line in script.splitlines() if line.startswith("#COBALT")] == [
        "#COBALT -n 1",
        "#COBALT -t 90",
        "#COBALT --mode script",
        *own,
    ]


@pytest.mark.parametrize(("seconds", "minutes"), [(60.0, 1), (61.0, 2), (5400.0, 90), (30 * 3600.0, 1800)])
def test_walltimes_are_whole_minutes_and_never_less_than_asked_for(
    tmp_path: Path, seconds: float, minutes: int
) -> None:
    script = blocks(tmp_path, walltime=seconds).render("0", "program", "")
    assert f"#COBALT -t {minutes}\n" in script
    assert f"export PILOTUNE_WALLTIME={60 * minutes}\n" in script


def test_the_jobs_end_is_cobalts_own_where_it_tells(tmp_path: Path) -> None:
    script = blocks(tmp_path).render("0", "program", "")
    assert "export PILOTUNE_BLOCK_END=${COBALT_ENDTIME:-$(( $(date +%s) + 5400 ))}\n" in script


@pytest.mark.parametrize(
    ("partition", "nodes"),
    [("3827-3830,3835", [3827, 3828, 3829, 3830, 3835]), ("7,11", [7, 11]), ("1,4-5", [1, 4, 5])],
)
def test_a_block_that_trials_share_out_lists_its_nodes(tmp_path: Path, partition: str, nodes: list[int]) -> None:
    """On a Cray only a variable has them."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    provider = blocks(folder, nodes_per_block=len(nodes), launcher="single")
    script = provider.script(provider.files("0"), 'cat "$PBS_NODEFILE"')
    said = subprocess.run(["bash", "-c", script], env={"COBALT_PARTNAME": partition}, capture_output=True, text=True)
    assert (said.stderr, said.stdout.split()) == ("", [str(node) for node in nodes])


def test_a_block_that_trials_share_out_takes_cobalts_list_where_there_is_one(tmp_path: Path) -> None:
    given = tmp_path / "cobalt.7"
    given.write_text("node1\nnode2\n")
    provider = blocks(tmp_path, nodes_per_block=2, launcher="single")
    script = provider.script(provider.files("0"), 'echo "$PBS_NODEFILE"')
    said = subprocess.run(["bash", "-c", script], env={"COBALT_NODEFILE": str(given)}, capture_output=True, text=True)
    assert said.stdout.strip() == str(given)


def test_paths_are_on_the_command_line_where_blanks_do_no_harm(tmp_path: Path, commands: Commands) -> None:
    folder = tmp_path / "my runs"
    folder.mkdir()
    commands.answers = [Answer(0, "10076391\n", "")]
    assert blocks(folder).submit("program", 1, "0") == "10076391"
    at = f"{folder}/knl-0"
    assert commands.ran == [
        ["qsub", "--cwd", str(folder), "-o", f"{at}.out", "-e", f"{at}.err",
         "--debuglog", f"{folder}/$jobid.cobaltlog", "knl-0.sh"]
    ]  # fmt: skip
    assert (folder / "knl-0.sh").stat().st_mode & 0o777 == 0o700, "Cobalt runs the script, so it has to be executable"


@pytest.mark.parametrize("out", ["7\n", 'Job routed to queue "debug-flat-quad".\n7\n', "7 the queue is slow today\n"])
def test_the_id_is_found_among_other_words(tmp_path: Path, commands: Commands, out: str) -> None:
    commands.answers = [Answer(0, out, "")]
    assert blocks(tmp_path).submit("program", 1, "0") == "7"


def test_what_a_sites_filters_say_is_kept(tmp_path: Path, commands: Commands, caplog: pytest.LogCaptureFixture) -> None:
    filters = 'Job routed to queue "debug-flat-quad".\nMemory mode set to flat quad for queue debug-flat-quad\n'
    commands.answers = [Answer(0, "7\n", filters)]
    with caplog.at_level(logging.INFO, "pilotune"):
        assert blocks(tmp_path).submit("program", 1, "0") == "7"
    assert 'job 7: Cobalt says: Job routed to queue "debug-flat-quad". | Memory mode set' in caplog.text


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        ("<Fault 1001: \"trying to add job to non-existent queue 'x'\">", False),
        ("<Fault 1001: \"The 'q' queue is dead\">", False),
        ("<Fault 1001: \"Walltime greater than the 'q' queue max walltime of 01:00:00\">", False),
        ("<Fault 1001: \"You are not allowed to submit to the 'q' queue\">", False),
        ("component error: XMLRPC failure <Fault 1004: 'Walltime less than minimum'> in system.validate_job", False),
        ("node count out of realistic range", False),
        ("<Fault 1001: \"The limit of 20 jobs per user in the 'q' queue has been reached\">", True),
        ("component error: Failed to connect to http://localhost:8256", True),
        ("qsub did not answer within 60 s.", True),
        ("Could not connect to component queue-manager.", True),
        ("failed to connect to queue-manager", True),
    ],
)
def test_a_refusal_keeps_cobalts_words(tmp_path: Path, commands: Commands, words: str, transient: bool) -> None:
    commands.answers = [Answer(1, "", f"{words}\n")]
    with pytest.raises(SubmitRefused) as refused:
        blocks(tmp_path).submit("program", 1, "0")
    assert (refused.value.words, refused.value.transient) == (words, transient)
    assert refused.value.away is ("connect" in words or "answer" in words)


# -- queries ----------------------------------------------------------------------------------------------------------


def test_all_jobs_are_in_one_query_with_columns_of_our_own(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CQSTAT_HEADER", "User:JobID:Command:State")
    commands.answers = [table(("9", "running"), ("10", "queued"))]
    assert blocks(tmp_path).query(["9", "10"]) == {"9": Job("9", Phase.RUNNING), "10": Job("10", Phase.QUEUED)}
    assert commands.ran == [["qstat", "--header", "JobID:State", "9", "10"]]


def test_no_query_is_made_for_no_jobs(tmp_path: Path, commands: Commands) -> None:
    assert blocks(tmp_path).query([]) == {}
    assert commands.ran == []


@pytest.mark.parametrize(
    ("state", "phase", "reason"),
    [
        ("queued", Phase.QUEUED, ""),
        ("user_hold", Phase.QUEUED, "user_hold: held by its owner; qrls releases it"),
        ("admin_hold", Phase.QUEUED, "admin_hold: held by an administrator"),
        ("dep_hold", Phase.QUEUED, "dep_hold: waits for another job that it depends on"),
        ("dep_fail", Phase.QUEUED, "dep_fail: it will never start: a job that it depends on has failed"),
        ("maxrun_hold", Phase.QUEUED, "maxrun_hold: waits until fewer jobs of this user run in the queue"),
        ("starting", Phase.QUEUED, "starting: its nodes are being prepared"),
        ("preempted", Phase.QUEUED, "preempted: preempted by another job"),
        ("running", Phase.RUNNING, ""),
        ("killing", Phase.ENDING, "killing: is being ended"),
        ("preempting", Phase.ENDING, "preempting: is being preempted by another job"),
        ("exiting", Phase.ENDING, "exiting: its nodes are being cleaned up"),
        ("done", Phase.ENDING, "done"),
        ("hibernating", Phase.QUEUED, "hibernating"),
    ],
)
def test_every_state_has_its_phase_and_says_what_it_means(
    tmp_path: Path, commands: Commands, state: str, phase: Phase, reason: str
) -> None:
    commands.answers = [table(("7", state))]
    assert blocks(tmp_path).query(["7"]) == {"7": Job("7", phase, reason=reason)}


LOG = """\
Jobid: 7
qsub --cwd /runs --debuglog /runs/7.cobaltlog /runs/knl-0.sh

Sat Nov 21 15:02:11 2026 +0000 (UTC) submitted with cwd set to: /runs
Sat Nov 21 15:02:13 2026 +0000 (UTC) Command: /runs/knl-0.sh
Sat Nov 21 15:02:13 2026 +0000 (UTC) Environment:
COBALT_JOBID=7
NOTE=maximum execution time exceeded
Sat Nov 21 15:02:13 2026 +0000 (UTC) Info: stdin received from /dev/null
"""
STAMP = "Sat Nov 21 15:04:13 2026 +0000 (UTC) Info: "
NORMAL = "task completed normally with an exit code of {}; initiating job cleanup and removal"
WALLTIME = "maximum execution time exceeded; initiating job termination"
DELETED = "user delete requested with signal SIGTERM by user hpo"


@pytest.mark.parametrize(
    ("last", "end", "exit_code", "reason"),
    [
        (NORMAL.format(0), End.FINISHED, 0, ""),
        (NORMAL.format(3), End.FAILED, 3, "exit code 3"),
        (NORMAL.format(137), End.FAILED, 137, "exit code 137"),
        (NORMAL.format(None), End.FAILED, None, "exit code None"),
        (WALLTIME, End.WALLTIME, None, WALLTIME),
        (DELETED, End.CANCELLED, None, DELETED),
        ("user delete requested; removing job from the queue", End.CANCELLED, None,
         "user delete requested; removing job from the queue"),
        ("job preempted", End.PREEMPTED, None, "job preempted"),
    ],
)  # fmt: skip
def test_how_a_job_ended_is_told_by_its_log(
    tmp_path: Path, commands: Commands, last: str, end: End, exit_code: int | None, reason: str
) -> None:
    (tmp_path / "7.cobaltlog").write_text(f"{LOG}{STAMP}{last}\n")
    commands.answers = [Answer(1, "", "")]
    assert blocks(tmp_path).query(["7"]) == {"7": Job("7", Phase.ENDED, end, reason, exit_code)}


def test_a_job_that_is_gone_without_a_word_in_its_log_is_just_gone(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "7.cobaltlog").write_text(LOG)
    commands.answers = [table(("9", "running"))]
    assert set(blocks(tmp_path).query(["7", "8", "9"])) == {"9"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(1, "", "component error: Failed to connect to http://localhost:8256\n"),
        Answer(1, "", "component error: XMLRPC failure <Fault 1: 'busy'> in queue-manager.get_jobs\n"),
        Answer(TIMED_OUT, "", "qstat did not answer within 60 s."),
        Answer(-9, "", ""),
    ],
)
def test_a_server_that_does_not_answer_does_not_make_jobs_gone(
    tmp_path: Path, commands: Commands, answer: Answer
) -> None:
    """Both end with 1; a server that knows none of the jobs says nothing at all."""
    commands.answers = [answer]
    with pytest.raises(SchedulerUnreachable):
        blocks(tmp_path).query(["7"])


def test_a_table_without_jobs_is_read_as_one() -> None:
    assert read_table(table().out) == {}
    assert read_table("") == {}


def test_parsl_gets_its_own_words_for_states(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "1.cobaltlog").write_text(f"{STAMP}{NORMAL.format(0)}\n")
    commands.answers = [table(("2", "queued"), ("3", "running"), ("4", "killing"))]
    states = [status.state for status in blocks(tmp_path).status(["1", "2", "3", "4"])]
    assert states == [JobState.COMPLETED, JobState.PENDING, JobState.RUNNING, JobState.RUNNING]


# -- ending jobs ------------------------------------------------------------------------------------------------------


def test_jobs_are_ended_one_by_one_and_gone_ones_count_as_ended(tmp_path: Path, commands: Commands) -> None:
    deleted = "      Deleted Jobs\nJobID  User  \n=============\n7      hpo   \n"
    commands.answers = [Answer(0, deleted, ""), Answer(0, "", ""), Answer(1, "", "component error: no way\n")]
    assert blocks(tmp_path).cancel(["7", "8", "9"]) == [True, True, False]
    assert commands.ran == [["qdel", "7"], ["qdel", "8"], ["qdel", "9"]]


def test_a_server_that_does_not_answer_ends_nothing(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(1, "", "component error: Failed to connect to http://localhost:8256\n")]
    with pytest.raises(SchedulerUnreachable, match="Failed to connect"):
        blocks(tmp_path).cancel_one("7")
