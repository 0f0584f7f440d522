"""Objectives of several ranks that do or do not what they should, and what their trials then say."""

from __future__ import annotations

import socket

from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.worker.node.posix import process_start

HOST = socket.gethostname()
STEPS = "every rank calls trial.report with the same steps"

OBJECTIVE = """
    import os, signal, sys, time

    VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS")

    def tells(trial, what):
        (trial.checkpoint_dir / f"{trial.rank}").write_text(str(what))

    def looks(trial):
        seen = [os.environ[name] for name in VARIABLES]
        tells(trial, [trial.rank, trial.world_size, *seen, int(os.environ["MASTER_PORT"]) > 0, trial.params])
        print(f"out of {trial.rank}")
        print(f"err of {trial.rank}", file=sys.stderr)
        trial.set_user_attr("by", trial.rank)
        return {"value": 1.0 + trial.rank, "more": trial.rank}

    def bound(trial):
        names = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_NUM_THREADS")
        tells(trial, [sorted(os.sched_getaffinity(0)), *map(os.environ.get, names)])
        return 1.0

    def has_daemon(trial):
        made = trial.checkpoint_dir / "made"
        while trial.rank == 1:
            if made.exists():
                return
            time.sleep(0.01)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
        os.wait()
        made.touch()
        others = [0, 0]
        while len(others) > 1:  # until rank 1 has ended
            time.sleep(0.05)
            children = open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split()
            others = [pid for pid in children if int(pid) != os.getpid()]
        tells(trial, others[0])
        return 1.0

    def other_values(trial):
        return 2.5 if trial.rank == 0 else "nothing that a study could keep"

    def trains(trial):
        return reports(trial, 5)

    def reports(trial, steps):
        for step in range(1, steps + 1):
            try:
                trial.report(step + 100 * trial.rank, step)
            except BaseException as error:
                tells(trial, f"{type(error).__name__} at {step}")
                raise
        return 0.0

    def alone(trial):
        for step in range(1, 6):
            if trial.rank == 0:
                trial.report(step, step)
        while trial.rank and step:
            time.sleep(0.01)

    def suggests(trial):
        lr = trial.suggest_float("lr", 0.25, 1.0)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        trial.report(lr, 1)
        tells(trial, [lr, kind, trial.should_prune(), trial.study.study_name, trial.should_yield()])
        return lr

    def raises(trial):
        if trial.rank == 1:
            raise ValueError("no data")
        time.sleep(60)

    def exits(trial):
        if trial.rank == 1:
            sys.exit(3)
        time.sleep(60)

    def vanishes(trial):
        if trial.rank == 1:
            os._exit(0)
        time.sleep(60)

    def dies(trial):
        if trial.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def first_dies(trial):
        if trial.rank == 0:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)

    def eats(trial):
        kept = [bytearray(10_000_000) for _ in range(100)] if trial.rank == 1 else 0
        time.sleep(60)

    def prints(trial):
        if trial.rank == 1:
            print("x" * 1_000_000, flush=True)
        time.sleep(60)

    def hangs(trial):
        time.sleep(600)

    def one_goes_on(trial):
        if trial.rank == 1:
            time.sleep(600)
        return 1.0

    def one_reports(trial):
        if trial.rank == 1:
            trial.report(0.5, 5)
        return 1.0

    def one_reports_and_all_wait(trial):
        if trial.rank == 1:
            trial.report(0.5, 5)
        time.sleep(600)

    def reports_and_waits(trial):
        trial.report(0.5, 1)
        time.sleep(600)

    def other_steps(trial):
        trial.report(0.5, 6 - trial.rank)
        return 1.0

    def other_names(trial):
        return trial.suggest_float("lr" if trial.rank else "units", 0.25, 1.0)

    def all_raise(trial):
        raise RuntimeError("the same")

    def signals(trial):
        if trial.rank == 1 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return reports(trial, 100_000)  # the others do not wait for the one that was signalled

    def resumes(trial):
        saved = trial.checkpoint_dir / f"shard-{trial.rank}"
        if trial.attempt > 1:
            return float(saved.read_text()) + trial.attempt
        saved.write_text(str(trial.rank))
        (trial.checkpoint_dir / f"begun-{trial.rank}").touch()
        time.sleep(60)
"""

FAILURES = [
    ("raises", "exception", "rank 1 on node {host}: ValueError: no data"),
    ("exits", "exit", "rank 1 on node {host}: the objective called sys.exit(3)"),
    ("vanishes", "exit", "rank 1 on node {host}: the process exited with 0 before it returned a value"),
    ("dies", "signal", "rank 1 on node {host}: killed by SIGKILL (signal 9), perhaps by the system because memory was "
     "short"),
    ("first_dies", "signal", "rank 0 on node {host}: killed by SIGSEGV (signal 11)"),
    ("other_steps", "exception", "rank 1 on node {host} reported step 5, but rank 0 reported step 6; {steps}"),
    ("one_reports", "exception", "rank 1 on node {host} reported step 5, but rank 0 has ended without that; {steps}"),
    ("no_such_function", "setup", "{host}: "),
]  # fmt: skip
"""Function, kind of failure, and what its reason contains: of a trial with two ranks."""


def told(files: TrialFiles) -> dict[str, str]:
    """What each rank has told."""
    return {path.name: path.read_text() for path in files.checkpoint_of(1).iterdir()}


def living(files: TrialFiles, attempt: int = 1) -> list[int]:
    """The processes of an attempt that run, from their notes."""
    found = []
    for number, path in files.processes():
        noted = path.read_text().split()[-2:]
        if not noted:  # it was killed before it had written its note
            continue
        pid, start = map(int, noted)
        if number == attempt and process_start(pid) == start:
            found.append(pid)
    return found


def begun(files: TrialFiles, ranks: int) -> bool:
    return len(list(files.directory.glob("checkpoint-1/begun-*"))) == ranks
