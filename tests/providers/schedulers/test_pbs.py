"""PBS's provider: its scripts and submissions, its queries, and how it reads answers of OpenPBS 23.06."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilotune.errors import SiteError
from pilotune.providers.schedulers import pbs
from pilotune.providers.schedulers.commands import TIMED_OUT, Answer
from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.schedulers.pbs import PBSBlocks, clock, read_dsv, read_time
from pilotune.providers.site import PoolSpec, Site

from ...support.scheduler_commands import Commands


def blocks(folder: Path, account: str = "", worker_init: str = "", **pool: Any) -> PBSBlocks:
    spec = PoolSpec("gpu", **{"walltime": 5400.0, **pool})
    provider = PBSBlocks.for_pool(Site("lab", "pbs", (spec,), folder, account=account), spec, worker_init)
    provider.place(folder, "digits")
    return provider


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch, "pbs")


def line(job: str, **attributes: object) -> str:
    """A job as ``-F dsv`` prints it."""
    fields = {"Job_Name": "digits-gpu-0", "Job_Owner": "hpo@pbshead", **attributes, "project": "_pbs_project_default"}
    return "|".join([f"Job Id: {job}", *(f"{name}={value}" for name, value in fields.items())])


def listed(*lines: str, code: int = 0, err: str = "") -> Answer:
    return Answer(code, "".join(f"{each}\n" for each in lines), err)


# -- submission -------------------------------------------------------------------------------------------------------


def test_directives_come_first_and_the_site_files_own_last(tmp_path: Path) -> None:
    provider = blocks(
        tmp_path,
        account="proj",
        queue="prod",
        nodes_per_block=2,
        cores_per_node=64,
        gpus_per_node=4,
        memory_per_node=512 * 2**30,
        launcher="mpiexec",
        options=("#PBS -l filesystems=home:eagle",),
    )
    at = tmp_path / "gpu-3"
    assert provider.script(provider.files("3"), "program\nand more") == (
        "#!/bin/bash\n"
        "\n"
        "#PBS -S /bin/bash\n"
        "#PBS -N digits-gpu-3\n"
        "#PBS -m n\n"
        "#PBS -l walltime=01:30:00\n"
        "#PBS -l select=2:ncpus=64:ngpus=4:mem=524288mb\n"
        f"#PBS -o {at}.out\n"
        f"#PBS -e {at}.err\n"
        "#PBS -r n\n"
        "#PBS -q prod\n"
        "#PBS -A proj\n"
        "#PBS -l place=scatter\n"
        "#PBS -l filesystems=home:eagle\n"
        "\n"
        'cd "$PBS_O_WORKDIR"\n'
        "\n"
        'export JOBNAME="digits-gpu-3"\n'
        "\n"
        "program\nand more\n"
        "\n"
    )


def test_what_the_site_file_does_not_say_is_left_to_the_scheduler(tmp_path: Path) -> None:
    script = blocks(tmp_path).render("0", "program", "")
    assert "#PBS -l select=1:ncpus=1\n" in script
    assert not {"-q", "-A", "place=scatter"} & set(script.split())


def test_a_block_that_selects_its_nodes_itself_is_given_no_other_selection(tmp_path: Path) -> None:
    own = ("#PBS -l select=1:ncpus=8+1:ncpus=4", "#PBS -q special", "#PBS -A other -r y")
    script = blocks(tmp_path, account="proj", queue="prod", nodes_per_block=2, cores_per_node=8, options=own).render(
        "0", "program", ""
    )
    directives = [line for line in script.splitlines() if line.startswith("#PBS")]
    assert directives[-3:] == list(own)
    said = " ".join(directives[:-3])
    assert not any(word in said for word in (" select=", " place=", " -q", " -A", " -r"))


def test_intels_tiles_are_not_what_pbs_counts(tmp_path: Path) -> None:
    assert "ngpus" not in blocks(tmp_path, gpus_per_node=12, gpu_type="intel").render("0", "program", "")


def test_a_place_of_the_site_files_own_stands_alone(tmp_path: Path) -> None:
    script = blocks(tmp_path, nodes_per_block=2, options=("#PBS -l place=scatter:excl",)).render("0", "program", "")
    assert script.count("place=") == 1


def test_folders_with_blanks_are_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    script = blocks(folder).render("0", "program", "")
    assert f"#PBS -o '{folder}/gpu-0.out'\n" in script
    assert f"> '{folder}/gpu-0.end'\n" in script


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "00:01:00"), (5400, "01:30:00"), (86_400, "24:00:00"), (200 * 3600 + 61, "200:01:01")]
)
def test_walltimes_are_hours_however_many(seconds: int, text: str) -> None:
    assert clock(seconds) == text


def test_a_fraction_of_a_second_is_rounded_up(tmp_path: Path) -> None:
    assert "walltime=00:01:31\n" in blocks(tmp_path, walltime=90.5).render("0", "program", "")


def test_submission_hands_the_script_over_and_reads_the_id(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(0, "This system is for authorised users.\n1234.pbshead\n", "")]
    assert blocks(tmp_path).submit("program", 1, "0") == "1234.pbshead"
    assert commands.ran == [["qsub", str(tmp_path / "gpu-0.sh")]]
    assert (tmp_path / "gpu-0.sh").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("code", "words", "transient"),
    [
        (170, "qsub: Unknown queue", False),
        (166, "qsub: Illegal attribute or resource value Resource_List.walltime", False),
        (187, "qsub: Unknown resource Resource_List.foo", False),
        (188, "qsub: Job violates queue and/or server resource limits", False),
        (173, "qsub: Queue is not enabled", False),
        (1, "qsub: Invalid Account", False),
        (38, "qsub: would exceed queue workq's per-user limit", True),
        (38, "qsub: Maximum number of jobs already in queue workq", True),
        (162, "qsub: cannot connect to server pbshead (errno=15010)", True),
        (TIMED_OUT, "qsub did not answer within 60 s.", True),
        (1, "qsub: could not connect to trqauthd", True),
        (1, "No default server name | qsub: cannot connect to server  (errno=15034)", True),
        (1, "qsub: Unknown Host.", False),
    ],
)
def test_a_refusal_keeps_the_schedulers_words(
    tmp_path: Path, commands: Commands, code: int, words: str, transient: bool
) -> None:
    commands.answers = [Answer(code, "", f"{words}\n")]
    with pytest.raises(SubmitRefused) as refused:
        blocks(tmp_path).submit("program", 1, "0")
    assert refused.value.words == words
    assert refused.value.transient is transient
    assert refused.value.away is ("connect" in words or "answer" in words)
    assert isinstance(refused.value, SiteError)


def test_a_submission_without_an_id_is_no_submission(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(0, "", "")]
    with pytest.raises(SubmitRefused, match="its command printed nothing"):
        blocks(tmp_path).submit("program", 1, "0")


# -- queries ----------------------------------------------------------------------------------------------------------


def test_all_jobs_are_in_one_query(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [listed(line("1.pbshead", job_state="R"), line("2.pbshead", job_state="Q", comment="later"))]
    assert blocks(tmp_path).query(["1.pbshead", "2.pbshead"]) == {
        "1.pbshead": Job("1.pbshead", Phase.RUNNING),
        "2.pbshead": Job("2.pbshead", Phase.QUEUED, reason="later"),
    }
    assert commands.ran == [["qstat", "-x", "-f", "-F", "dsv", "1.pbshead", "2.pbshead"]]


def test_no_query_is_made_for_no_jobs(tmp_path: Path, commands: Commands) -> None:
    assert blocks(tmp_path).query([]) == {}
    assert commands.ran == []


@pytest.mark.parametrize(
    ("letter", "phase"),
    [
        *((letter, Phase.QUEUED) for letter in "QHWTM?"),
        *((letter, Phase.SUSPENDED) for letter in "SU"),
        ("R", Phase.RUNNING),
        ("B", Phase.RUNNING),
        ("E", Phase.ENDING),
    ],
)
def test_every_state_of_a_living_job_has_its_phase(
    tmp_path: Path, commands: Commands, letter: str, phase: Phase
) -> None:
    commands.answers = [listed(line("1.pbshead", job_state=letter))]
    assert blocks(tmp_path).query(["1.pbshead"])["1.pbshead"].phase == phase


@pytest.mark.parametrize(
    ("letter", "comment", "reason"),
    [
        ("H", "", "held"),
        ("H", "Job held by hpo on Sat Nov 21", "held: Job held by hpo on Sat Nov 21"),
        ("S", "Job run at Sat Nov 21 on (n1:ncpus=2)", "suspended: Job run at Sat Nov 21 on (n1:ncpus=2)"),
        ("Q", "Not Running: Queue not started.", "Not Running: Queue not started."),
        ("R", "Job run at Sat Nov 21 on (n1:ncpus=2)", ""),
        ("Z", "", "in the state Z"),
    ],
)
def test_a_waiting_job_says_why(tmp_path: Path, commands: Commands, letter: str, comment: str, reason: str) -> None:
    commands.answers = [listed(line("1.pbshead", job_state=letter, comment=comment))]
    assert blocks(tmp_path).query(["1.pbshead"])["1.pbshead"].reason == reason


def test_a_job_that_can_never_run_says_what_to_look_at(tmp_path: Path, commands: Commands) -> None:
    comment = "Can Never Run: Insufficient amount of resource: ncpus (R: 18 A: 12 T: 12)"
    commands.answers = [listed(line("1.pbshead", job_state="Q", comment=comment))]
    reason = blocks(tmp_path).query(["1.pbshead"])["1.pbshead"].reason
    assert reason.startswith(f"{comment}: it will never start")
    assert "nodes_per_block" in reason


def test_a_job_that_is_larger_than_any_node_says_what_to_look_at(tmp_path: Path, commands: Commands) -> None:
    """Its comment has no numbers, but a blank at its end."""
    comments = ("Not Running: Insufficient amount of resource: ncpus ", "Not Running: Not enough free nodes available",
                "Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0 T: 8)")  # fmt: skip
    reasons = []
    for comment in comments:
        commands.answers = [listed(line("1.pbshead", job_state="Q", comment=comment))]
        reasons.append(blocks(tmp_path).query(["1.pbshead"])["1.pbshead"].reason)
    assert "it will never start on the nodes that are up: none is large enough" in reasons[0]
    assert "cores_per_node" in reasons[0]
    assert reasons[1:] == [comments[1], comments[2]], "these wait for other jobs"


RAN = "Job run at Sat Nov 21 at 15:02 on (node1:ncpus=2)"


@pytest.mark.parametrize(
    ("attributes", "end", "exit_code", "reason"),
    [
        ({"Exit_status": 0, "comment": f"{RAN} and finished", "substate": 92}, End.FINISHED, 0, f"{RAN} and finished"),
        ({"Exit_status": 3, "comment": f"{RAN} and failed"}, End.FAILED, 3, f"{RAN} and failed, Exit_status 3"),
        (
            {"Exit_status": -29, "comment": f"{RAN} and exceeded resource walltime", "substate": 93},
            End.WALLTIME,
            None,
            f"{RAN} and exceeded resource walltime, Exit_status -29",
        ),
        ({"Exit_status": -29}, End.WALLTIME, None, "Exit_status -29"),
        ({"Exit_status": 271, "substate": 91}, End.CANCELLED, None, "Exit_status 271"),
        ({"Exit_status": 0, "comment": f"{RAN} and terminated"}, End.CANCELLED, 0, f"{RAN} and terminated"),
        ({"Exit_status": 143, "substate": 91}, End.CANCELLED, 143, "Exit_status 143"),
        ({"substate": 91, "comment": "Not Running: Job deleted"}, End.CANCELLED, None, "Not Running: Job deleted"),
        ({"Exit_status": 265}, End.FAILED, None, "Exit_status 265"),
        ({"Exit_status": -11}, End.PREEMPTED, None, "Exit_status -11"),
        ({"Exit_status": -14}, End.NODE_FAILURE, None, "Exit_status -14"),
        ({"Exit_status": -20}, End.NODE_FAILURE, None, "Exit_status -20"),
        ({"Exit_status": -27}, End.OUT_OF_MEMORY, None, "Exit_status -27"),
        (
            {"Exit_status": 271, "comment": f"{RAN} and exceeded resource mem"},
            End.OUT_OF_MEMORY,
            None,
            f"{RAN} and exceeded resource mem, Exit_status 271",
        ),
        ({"Exit_status": -1}, End.FAILED, None, "Exit_status -1"),
        ({}, End.FINISHED, None, ""),
    ],
)
def test_how_a_job_ended_is_read_from_its_exit_status_and_comment(
    tmp_path: Path, commands: Commands, attributes: dict[str, object], end: End, exit_code: int | None, reason: str
) -> None:
    commands.answers = [listed(line("1.pbshead", job_state="F", **attributes))]
    job = blocks(tmp_path).query(["1.pbshead"])["1.pbshead"]
    assert job == Job("1.pbshead", Phase.ENDED, end, reason, exit_code)


def test_without_a_history_living_jobs_live_on(tmp_path: Path, commands: Commands) -> None:
    """The default of PBS: when asked for finished jobs as well, it lists no job at all and exits with 0."""
    refusal = "".join(f"qstat: PBS is not configured to maintain job history {job}.pbshead\n" for job in (1, 2, 3))
    commands.answers = [
        Answer(0, "", refusal),
        listed(
            line("1.pbshead", job_state="R"),
            code=153,
            err="qstat: 2.pbshead Job has finished, use -x or -H to obtain historical job information\n"
            "qstat: Unknown Job Id 3.pbshead\n",
        ),
        listed(line("1.pbshead", job_state="R")),
    ]
    provider = blocks(tmp_path)
    jobs = provider.query(["1.pbshead", "2.pbshead", "3.pbshead"])
    assert [state.phase for state in jobs.values()] == [Phase.RUNNING, Phase.ENDED, Phase.ENDED]
    assert {jobs[job].end for job in ("2.pbshead", "3.pbshead")} == {None}
    provider.query(["1.pbshead"])
    assert ["-x" in ran for ran in commands.ran] == [True, False, False], "once it is known, it is not asked again"


def test_an_unknown_job_hides_no_other(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [
        listed(line("2.pbshead", job_state="R"), code=153, err="qstat: Unknown Job Id 12.pbshead\n"),
    ]
    jobs = blocks(tmp_path).query(["12.pbshead", "2.pbshead"])
    assert jobs == {
        "2.pbshead": Job("2.pbshead", Phase.RUNNING),
        "12.pbshead": Job("12.pbshead", Phase.ENDED, reason="PBS no longer knows it"),
    }


def test_a_job_that_is_left_out_is_asked_for_alone(tmp_path: Path, commands: Commands) -> None:
    """Some versions list the first job only."""
    commands.answers = [
        listed(line("1.pbshead", job_state="R")),
        listed(line("2.pbshead", job_state="F", Exit_status=0)),
        listed(code=153, err="qstat: Unknown Job Id 3.pbshead\n"),
    ]
    jobs = blocks(tmp_path).query(["1.pbshead", "2.pbshead", "3.pbshead"])
    assert [state.phase for state in jobs.values()] == [Phase.RUNNING, Phase.ENDED, Phase.ENDED]
    assert [ran[5:] for ran in commands.ran[1:]] == [["2.pbshead"], ["3.pbshead"]]


def test_a_job_that_is_never_listed_keeps_its_state(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [listed(line("1.pbshead", job_state="R")), *[listed()] * 4]
    provider = blocks(tmp_path)
    running = provider.query(["1.pbshead"])
    assert provider.query(["1.pbshead"]) == running
    assert provider.query(["9.pbshead"])["9.pbshead"].phase == Phase.QUEUED


@pytest.mark.parametrize("asked", ["7.pbshead", "7.pbshead.cluster.example.org", "7"])
def test_the_servers_name_may_be_written_otherwise(tmp_path: Path, commands: Commands, asked: str) -> None:
    commands.answers = [listed(line("7.pbshead.cluster", job_state="R"))]
    assert blocks(tmp_path).query([asked]) == {asked: Job(asked, Phase.RUNNING)}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(255, "", "Connection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"),
        Answer(TIMED_OUT, "", "qstat did not answer within 60 s."),
        Answer(1, "", ""),
        # The server failed between two answers: jobs that are missing from its output are not gone.
        listed(line("2.pbshead", job_state="R"), code=255, err="qstat: End of File\n"),
    ],
)
def test_a_server_that_does_not_answer_says_nothing_about_jobs(
    tmp_path: Path, commands: Commands, answer: Answer
) -> None:
    commands.answers = [answer]
    with pytest.raises(SchedulerUnreachable):
        blocks(tmp_path).query(["15010.pbshead"])


def test_bars_quotes_and_digits_in_a_job_confuse_nothing() -> None:
    text = line("1.pbshead", Job_Name="0123", Variable_List=r'A="x\|job_state=F\|",B=\\n', job_state="R") + "\n"
    assert dict(read_dsv(f"\n{text}Job\n"))["1"]["job_state"] == "R"


# -- ending jobs ------------------------------------------------------------------------------------------------------


def test_jobs_are_ended_one_by_one(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [
        Answer(0, "", ""),
        Answer(35, "", "qdel: Job has finished 2.pbshead\n"),
        Answer(153, "", "qdel: Unknown Job Id 3.pbshead\n"),
        Answer(168, "", "qdel: Request invalid for state of job 4.pbshead\n"),
        Answer(159, "", "qdel: Unauthorized Request  5.pbshead\n"),
        Answer(162, "", "qdel: cannot connect to server pbshead (errno=15010)\n"),
    ]
    ids = [f"{number}.pbshead" for number in range(1, 7)]
    assert blocks(tmp_path).cancel(ids) == [True, True, True, True, False, False]
    assert commands.ran == [["qdel", job] for job in ids]


@pytest.mark.parametrize(("code", "ended"), [(0, True), (159, False)])
def test_a_job_on_a_lost_node_is_ended_by_force(tmp_path: Path, commands: Commands, code: int, ended: bool) -> None:
    commands.answers = [
        Answer(222, "", "qdel: Server could not connect to MOM 1.pbshead\n"),
        Answer(code, "", "" if ended else "qdel: Unauthorized Request  1.pbshead\n"),
    ]
    assert blocks(tmp_path).cancel(["1.pbshead"]) == [ended]
    assert commands.ran == [["qdel", "1.pbshead"], ["qdel", "-W", "force", "1.pbshead"]]


def test_a_server_that_does_not_answer_ends_nothing(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(15010 & 255, "", "Connection refused\nCouldn't connect to cluster: pbshead\n")]
    with pytest.raises(SchedulerUnreachable, match="pbshead"):
        blocks(tmp_path).cancel_one("1.pbshead")


def test_every_letter_of_the_table_is_one_letter() -> None:
    assert all(len(letter) == 1 for letter in pbs.STATES)


def test_when_a_waiting_job_is_expected_to_begin_is_what_the_server_estimates(tmp_path, commands):
    commands.answers = [
        listed(
            line("1.pbs", job_state="Q", **{"estimated.start_time": "Tue Feb 14 02:10:01 2023"}),
            line("2.pbs", job_state="Q"),
            line("3.pbs", job_state="R", **{"estimated.start_time": "Tue Feb 14 02:10:01 2023"}),
        )
    ]
    jobs = blocks(tmp_path).query(["1.pbs", "2.pbs", "3.pbs"])
    assert [jobs[f"{n}.pbs"].starts for n in (1, 2, 3)] == [read_time("Tue Feb 14 02:10:01 2023"), None, None]
