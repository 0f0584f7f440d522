"""Slurm's provider: its scripts and submissions, its queries, and how it reads answers in Slurm's format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilotune.errors import SiteError
from pilotune.providers.schedulers import slurm
from pilotune.providers.schedulers.commands import TIMED_OUT, Answer, run
from pilotune.providers.schedulers.jobs import End, Job, Phase, SchedulerUnreachable, SubmitRefused
from pilotune.providers.schedulers.slurm import SlurmBlocks, meaning_of, read_exit, read_job, read_time
from pilotune.providers.site import PoolSpec, Site

from ...support.scheduler_commands import Commands

UNKNOWN = Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
AWAY = Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
FAILED = "sbatch: error: Batch job submission failed: "
NO_ACCOUNTS = Answer(1, "", "Slurm accounting storage is disabled\n")


def blocks(folder: Path, account: str = "", **pool: Any) -> SlurmBlocks:
    spec = PoolSpec("gpu", **{"walltime": 5400.0, **pool})
    provider = SlurmBlocks.for_pool(Site("lab", "slurm", (spec,), folder, account=account), spec, "")
    provider.place(folder, "digits")
    return provider


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch, "slurm")


def listed(*lines: str) -> Answer:
    return Answer(0, "".join(f"{each}\n" for each in lines), "")


# -- submission -------------------------------------------------------------------------------------------------------


def directives(provider: SlurmBlocks) -> list[str]:
    script = provider.render("3", "program", "")
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_directives_come_first_and_the_site_files_own_last(tmp_path: Path) -> None:
    provider = blocks(
        tmp_path,
        account="proj",
        queue="batch",
        nodes_per_block=2,
        cores_per_node=64,
        gpus_per_node=4,
        memory_per_node=512 * 2**30,
        launcher="srun",
        options=("#SBATCH --constraint=gpu",),
    )
    at = tmp_path / "gpu-3"
    assert provider.script(provider.files("3"), "program\nand more") == (
        "#!/bin/bash\n"
        "\n"
        "#SBATCH --job-name=digits-gpu-3\n"
        f"#SBATCH --output={at}.out\n"
        f"#SBATCH --error={at}.err\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --time=90\n"
        "#SBATCH --ntasks-per-node=1\n"
        "#SBATCH --no-requeue\n"
        "#SBATCH --partition=batch\n"
        "#SBATCH --account=proj\n"
        "#SBATCH --exclusive\n"
        "#SBATCH --cpus-per-task=64\n"
        "#SBATCH --mem=524288M\n"
        "#SBATCH --gpus-per-node=4\n"
        "#SBATCH --constraint=gpu\n"
        "\n"
        "\n"
        "\n"
        'export JOBNAME="digits-gpu-3"\n'
        "\n"
        "program\nand more\n"
    )


def test_no_scheduler_is_needed_to_render_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "exec program" in blocks(tmp_path).render("0", "program", "")


def test_what_the_site_file_does_not_say_is_left_to_slurm(tmp_path: Path) -> None:
    said = " ".join(directives(blocks(tmp_path, exclusive=False)))
    assert not any(word in said for word in ("partition", "account", "exclusive", "cpus", "mem", "gpus"))


@pytest.mark.parametrize(
    ("own", "left_out"),
    [
        ("--requeue", "--no-requeue"),
        ("-p other", "--partition"),
        ("--partition=other", "--partition"),
        ("-A other", "--account"),
        ("--oversubscribe", "--exclusive"),
        ("--exclusive=user", "--exclusive"),
        ("-N 4 -c 3", "--cpus-per-task"),
        ("--mem 64G", "--mem"),
        ("--mem-per-cpu=2G", "--mem"),
        ("--cpus-per-gpu=8", "--cpus-per-task"),
        ("--gres=gpu:a100:4", "--gpus-per-node"),
        ("--gres nvme:1,gpu:4", "--gpus-per-node"),
        ("-G 4", "--gpus-per-node"),
    ],
)
def test_what_the_site_file_gives_itself_is_not_given_twice(tmp_path: Path, own: str, left_out: str) -> None:
    pool: dict[str, Any] = {"queue": "q", "cores_per_node": 8, "gpus_per_node": 4, "memory_per_node": 2**30}
    usual = directives(blocks(tmp_path, account="a", **pool))
    with_own = directives(blocks(tmp_path, account="a", options=(f"#SBATCH {own}",), **pool))
    assert with_own[-1] == own
    assert {each.partition("=")[0] for each in usual} - {each.partition("=")[0] for each in with_own[:-1]} == {left_out}


@pytest.mark.parametrize("own", ["--gres=nvme:1", "--mem-bind=local", "-C gpu", "--gpu-bind=none", "--profile=all"])
def test_other_options_of_the_site_file_stand_beside_ours(tmp_path: Path, own: str) -> None:
    pool: dict[str, Any] = {"queue": "q", "cores_per_node": 8, "gpus_per_node": 4, "memory_per_node": 2**30}
    assert directives(blocks(tmp_path, options=(f"#SBATCH {own}",), **pool)) == [
        *directives(blocks(tmp_path, **pool)),
        own,
    ]


@pytest.mark.parametrize(("seconds", "minutes"), [(60.0, 1), (61.0, 2), (5400.0, 90), (200 * 3600.0, 12_000)])
def test_walltimes_are_whole_minutes_and_never_shorter_than_asked_for(
    tmp_path: Path, seconds: float, minutes: int
) -> None:
    provider = blocks(tmp_path, walltime=seconds)
    assert f"--time={minutes}" in directives(provider)
    assert f"export PILOTUNE_WALLTIME={60 * minutes}\n" in provider.render("0", "program", "")


def test_paths_are_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "my runs" / "100%j"
    given = directives(blocks(folder))
    assert f'--output="{tmp_path}/my runs/100%%j/gpu-3.out"' in given


def test_submission_hands_the_script_over_and_reads_the_id(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(0, "This system is for authorised users.\n1234\n", "sbatch: charged to proj\n")]
    assert blocks(tmp_path).submit("program", 1, "0") == "1234"
    assert commands.ran == [["sbatch", "--parsable", str(tmp_path / "gpu-0.sh")]]


@pytest.mark.parametrize(
    ("said", "job"),
    [("1234\n", "1234"), ("1234;perlmutter\n", "1234"), ("Submitted batch job 1234\n", "1234"), ("welcome 7\n", None)],
)
def test_ids_are_found_in_what_sbatch_says(tmp_path: Path, said: str, job: str | None) -> None:
    assert blocks(tmp_path).read_job_id(Answer(0, said, "")) == job


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        (f"{FAILED}Invalid partition name specified", False),
        (f"{FAILED}Invalid account or account/partition combination specified", False),
        (f"{FAILED}Requested node configuration is not available", False),
        (f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)", False),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}Job violates accounting/QOS policy", True),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", True),
        (f"{FAILED}Unable to contact slurm controller (connect failure)", True),
        (f"{FAILED}Socket timed out on send/recv operation", True),
        (f"{FAILED}Slurm backup controller in standby mode", True),
        (f"{FAILED}Protocol authentication error", True),
        ("sbatch: fatal: Could not establish a configuration source", True),
        ("sbatch: fatal: Unable to process configuration file", False),
        (f"{FAILED}Required partition not available (inactive or drain)", True),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", True),
    ],
)
def test_refusals_keep_sbatchs_words_and_say_whether_they_may_pass(
    tmp_path: Path, commands: Commands, words: str, transient: bool
) -> None:
    commands.answers = [Answer(1, "", f"{words}\n")]
    with pytest.raises(SubmitRefused) as refused:
        blocks(tmp_path).submit("program", 1, "0")
    assert refused.value.words == words.replace("\n", " | ")
    assert refused.value.transient is transient
    assert refused.value.away is (transient and "Limit" not in words and "not available" not in words)


def test_a_drivers_own_job_does_not_reach_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SLURM_JOB_ID",
        "SLURM_MEM_PER_CPU",
        "SLURM_CONF",
        "SBATCH_TIMELIMIT",
        "SBATCH_ACCOUNT",
        "SQUEUE_USERS",
    ):
        monkeypatch.setenv(name, "x")

    def inherited(provider: SlurmBlocks) -> set[str]:
        said = run(["env"], without=provider.not_inherited).out.splitlines()
        return {line.partition("=")[0] for line in said if line.startswith(("SLURM", "SBATCH", "SQUEUE"))}

    assert inherited(blocks(tmp_path)) == {"SLURM_CONF", "SBATCH_ACCOUNT"}
    assert inherited(blocks(tmp_path, account="proj")) == {"SLURM_CONF"}
    assert "PATH" in os.environ


# -- queries ----------------------------------------------------------------------------------------------------------


def test_all_jobs_are_in_one_query(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [listed("8|PENDING|0|Priority|", "7|RUNNING|0|None|", "9|RUNNING|0|None|")]
    found = blocks(tmp_path).query(["7", "8"])
    assert found == {
        "7": Job("7", Phase.RUNNING),
        "8": Job("8", Phase.QUEUED, reason="Priority: other jobs come first"),
    }
    (command,) = commands.ran
    assert command[0] == "squeue"
    assert "--jobs=7,8" in command


def test_no_query_is_made_for_no_jobs(tmp_path: Path, commands: Commands) -> None:
    assert blocks(tmp_path).query([]) == {}
    assert commands.ran == []


def test_only_jobs_that_the_controller_has_forgotten_are_looked_up_in_the_accounts(
    tmp_path: Path, commands: Commands
) -> None:
    commands.answers = [listed("7|RUNNING|0|None|"), listed("8|TIMEOUT|0:0|None")]
    found = blocks(tmp_path).query(["7", "8"])
    assert found["8"] == Job("8", Phase.ENDED, End.WALLTIME, "TIMEOUT")
    assert "--jobs=8" in commands.ran[1]


def test_the_last_job_forgotten_is_no_failure_of_the_query(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [UNKNOWN, listed("7|CANCELLED by 1000|0:15|None")]
    assert blocks(tmp_path).query(["7"]) == {"7": Job("7", Phase.ENDED, End.CANCELLED, "CANCELLED by 1000")}


def test_a_job_that_lives_on_in_the_accounts_only_is_gone(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [UNKNOWN, listed("7|RUNNING|0:0|None")]
    assert blocks(tmp_path).query(["7"]) == {}


def test_a_site_without_accounts_is_asked_for_them_once(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [UNKNOWN, NO_ACCOUNTS, UNKNOWN]
    provider = blocks(tmp_path)
    assert provider.query(["7"]) == provider.query(["7"]) == {}
    assert [each[0] for each in commands.ran] == ["squeue", "sacct", "squeue"]


def test_accounts_that_do_not_answer_are_asked_again(tmp_path: Path, commands: Commands) -> None:
    away = Answer(1, "", "sacct: error: slurmdbd: Sending PersistInit msg: Connection refused\n")
    commands.answers = [UNKNOWN, away, UNKNOWN, listed("7|COMPLETED|0:0|None")]
    provider = blocks(tmp_path)
    assert provider.query(["7"]) == {}
    assert provider.query(["7"]) == {"7": Job("7", Phase.ENDED, End.FINISHED, "COMPLETED", 0)}


def test_a_machine_without_sacct_has_no_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(argv: list[str], without: str = "") -> Answer:
        if argv[0] == "sacct":
            raise SiteError("sacct is not on PATH")
        return UNKNOWN

    monkeypatch.setattr(slurm, "run", answer)
    assert blocks(tmp_path).query(["7"]) == {}


@pytest.mark.parametrize("answer", [AWAY, Answer(TIMED_OUT, "", "squeue did not answer within 60 s.")])
def test_a_controller_that_does_not_answer_says_nothing_about_any_job(
    tmp_path: Path, commands: Commands, answer: Answer
) -> None:
    commands.answers = [answer]
    with pytest.raises(SchedulerUnreachable):
        blocks(tmp_path).query(["7"])


# -- parsing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "phase", "end"),
    [
        ("PENDING", Phase.QUEUED, None),
        ("CONFIGURING", Phase.QUEUED, None),
        ("SUSPENDED", Phase.SUSPENDED, None),
        ("REQUEUE_HOLD", Phase.QUEUED, None),
        ("SPECIAL_EXIT", Phase.QUEUED, None),
        ("RUNNING", Phase.RUNNING, None),
        ("RESIZING", Phase.RUNNING, None),
        ("COMPLETING", Phase.ENDING, None),
        ("COMPLETED", Phase.ENDED, End.FINISHED),
        ("TIMEOUT", Phase.ENDED, End.WALLTIME),
        ("DEADLINE", Phase.ENDED, End.WALLTIME),
        ("PREEMPTED", Phase.ENDED, End.PREEMPTED),
        ("NODE_FAIL", Phase.ENDED, End.NODE_FAILURE),
        ("BOOT_FAIL", Phase.ENDED, End.NODE_FAILURE),
        ("CANCELLED", Phase.ENDED, End.CANCELLED),
        ("CANCELLED by 0", Phase.ENDED, End.CANCELLED),
        ("CANCELLED+", Phase.ENDED, End.CANCELLED),
        ("REVOKED", Phase.ENDED, End.CANCELLED),
        ("OUT_OF_MEMORY", Phase.ENDED, End.OUT_OF_MEMORY),
        ("FAILED", Phase.ENDED, End.FAILED),
        ("INVENTED_LATER", Phase.QUEUED, None),
    ],
)
def test_states(state: str, phase: Phase, end: End | None) -> None:
    job = read_job("7", state, "0:0", "None")
    assert (job.phase, job.end) == (phase, end)


def test_a_failed_job_says_with_what(tmp_path: Path) -> None:
    assert read_job("7", "FAILED", "32512", "NonZeroExitCode") == Job(
        "7", Phase.ENDED, End.FAILED, "FAILED: NonZeroExitCode: exit code 127", 127
    )


def test_a_job_that_could_never_begin_was_refused() -> None:
    job = read_job("7", "FAILED", "1", "BadConstraints")
    assert (job.end, job.exit_code) == (End.REFUSED, None)
    assert job.reason.startswith("FAILED: BadConstraints: it will never start")


@pytest.mark.parametrize(
    ("text", "code"), [("0", 0), ("768", 3), ("9", 137), ("3:0", 3), ("0:15", 143), ("0:0:0", 0), ("", None)]
)
def test_exit_codes_are_as_a_shell_gives_them(text: str, code: int | None) -> None:
    assert read_exit(text) == code


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("PartitionTimeLimit", "the walltime is longer than the partition allows"),
        ("PartitionNodeLimit", "nodes_per_block"),
        ("BadConstraints", "never start"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-4]", "down, drained or reserved"),
        ("ReqNodeNotAvail, Reserved for maintenance", "maintenance"),
        ("AssocGrpCPUMinutesLimit", "allocation"),
        ("AssocGrpBillingMinutes", "allocation"),
        ("AssocMaxCpuMinutesPerJobLimit", "allocation"),
        ("QOSMaxWallDurationPerJobLimit", "walltime"),
        ("QOSMaxJobsPerUserLimit", "starts when one of them ends"),
        ("AssocMaxJobsLimit", "starts when one of them ends"),
        ("QOSMaxNodePerJobLimit", "larger than"),
        ("QOSMaxNodePerUserLimit", "starts when one of them ends"),
        ("AssocGrpNodeLimit", "starts when one of them ends"),
        ("QOSMinGRES", "smaller than"),
        ("JobHeldUser", "scontrol release"),
        ("DependencyNeverSatisfied", "never start"),
        ("InvalidQOS", "never start"),
    ],
)
def test_reasons_are_explained_in_plain_words_beside_slurms_own(reason: str, part: str) -> None:
    assert part in meaning_of(reason)
    assert read_job("7", "PENDING", "0", reason).reason == f"{reason}: {meaning_of(reason)}"


def test_an_unknown_reason_is_passed_on() -> None:
    assert read_job("7", "PENDING", "0", "WeirdNewReason").reason == "WeirdNewReason"


# -- ending jobs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "ended"),
    [
        (Answer(0, "", ""), True),
        (Answer(1, "", "scancel: error: Kill job error on job id 7: Invalid job id specified"), True),
        (Answer(1, "", "scancel: error: Kill job error on job id 7: Job/step already completing or completed"), True),
        (Answer(1, "", "scancel: error: Kill job error on job id 7: Access/permission denied"), False),
    ],
)
def test_a_job_that_is_gone_counts_as_ended(tmp_path: Path, commands: Commands, answer: Answer, ended: bool) -> None:
    commands.answers = [answer]
    assert blocks(tmp_path).cancel_one("7") is ended


def test_a_job_cannot_be_ended_while_the_controller_does_not_answer(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [Answer(1, "", "scancel: error: Unable to contact slurm controller (connect failure)")]
    with pytest.raises(SchedulerUnreachable):
        blocks(tmp_path).cancel_one("7")


def test_slurm_says_when_a_job_would_begin_that_is_not_submitted(tmp_path: Path, commands: Commands) -> None:
    provider = blocks(tmp_path, nodes_per_block=2, walltime=3600.0)
    said = "sbatch: Job 17 to start at 2026-11-30T12:00:00 using 8 processors on nodes n[1-2] in partition batch\n"
    commands.answers = [Answer(0, "", said), Answer(1, "", "allocation failure"), Answer(0, "", "sbatch: fine\n")]
    assert provider.starts("program", "3") == read_time("2026-11-30T12:00:00")
    assert commands.ran == [["sbatch", "--test-only", str(tmp_path / "gpu-3.sh")]]
    assert "--nodes=2\n" in (tmp_path / "gpu-3.sh").read_text()
    assert (provider.starts("program", "3"), provider.starts("program", "3")) == (None, None)


def test_slurm_says_when_a_waiting_job_would_begin(tmp_path: Path, commands: Commands) -> None:
    commands.answers = [listed("7|PENDING|0|Resources|2026-11-30T12:00:00|N/A|", "8|PENDING|0|Priority|N/A|N/A|")]
    jobs = blocks(tmp_path).query(["7", "8"])
    assert [jobs[job].starts for job in ("7", "8")] == [read_time("2026-11-30T12:00:00"), None]
    assert jobs["7"].began is None
