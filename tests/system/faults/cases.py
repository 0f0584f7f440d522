"""Faults that need neither Slurm nor small disks: each case runs a study, injects a fault and waits for the end."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ...support.campaigns import write_site
from ...support.local import processes, until
from ...support.postgres import Server
from ...support.slurm import ACCOUNTS, Lab
from .experiment import NAME, PATIENCE, Experiment, Result
from .fault_targets import below, interchange, manager, running, send, target_of, trial, worker

SQLITE, POSTGRES, SLURM = "sqlite", "postgres", "slurm"
"""Where a study runs: on local workers with its database in SQLite or PostgreSQL, or in jobs of a Slurm on SQLite."""

Act = Callable[[Experiment, int], None]


@dataclass(frozen=True)
class Case:
    """A fault, and how to run a study under it.

    Attributes:
        act: Starts the driver, injects the fault so many times, and waits for the study's end.
        times: How often the fault is injected by default.
        where: Where ``python -m tests.system.faults`` injects it.
        needed: Trials for each injection, so that the study does not end too early.
        lasts: Seconds that a temporary fault lasts; 0 for one that happens at once.
        study: More arguments of Experiment.
    """

    fault: str
    act: Act
    times: int
    where: tuple[str, ...]
    needed: int
    lasts: float
    study: Mapping[str, Any]


CASES: dict[str, Case] = {}


def case(
    fault: str, times: int, *where: str, needed: int = 6, lasts: float = 0.0, study: Mapping[str, Any] | None = None
) -> Callable[[Act], Act]:
    """Registers the decorated function as the ``act`` of a case."""

    def register(act: Act) -> Act:
        CASES[fault] = Case(fault, act, times, where, needed, lasts, study or {})
        return act

    return register


def run(
    fault: str, folder: Path, times: int = 1, *, server: Server | None = None, lab: Lab | None = None, **study: Any
) -> Result:
    """Run a study in ``folder`` and inject ``fault`` into it.

    Args:
        fault: The name of a case.
        folder: A new folder.
        times: How often.
        server: The PostgreSQL server of the study's database; None: SQLite.
        lab: The Slurm whose jobs run the trials; None: local workers.
        study: More arguments of Experiment.
    """
    chosen = CASES[fault]
    url = server.new_database(tables=True) if server else ""
    options = {"trials": 6 + chosen.needed * times, "lasts": chosen.lasts, **chosen.study, **study}
    if lab:
        options |= {"words": ("--site", "lab"), "environment": lab.environment, "seconds": 0.2}
    try:
        with Experiment(folder, url=url, server=server, lab=lab, **options) as experiment:
            if lab:
                blocks = {"blocks": {"init": 2, "max": 2}, "exclusive": False, "cores_per_node": 1}
                exclude = f"#SBATCH --exclude={'n1,n2' if 'node' in fault else 'n3,n4'}"
                write_site(experiment.here, "slurm", {**blocks, "options": [exclude]}, account=ACCOUNTS[0])
            chosen.act(experiment, times)
            return experiment.result()
    finally:
        if server and url:
            server.drop_database(url)


# -- the driver -------------------------------------------------------------------------------------------------------


@case("driver killed", 20, SQLITE, POSTGRES, SLURM)
def driver_killed(experiment: Experiment, times: int) -> None:
    """At random times: at the start, and while trials run. The next driver is started at once."""
    chance = random.Random(times)
    for turn in range(times):
        driver = experiment.start()
        if turn % 2:
            experiment.progress()
        time.sleep(chance.uniform(0.0, 2.0 if turn % 2 else 6.0))
        if driver.poll() is not None:
            break
        experiment.inject("driver killed", driver.kill)
        driver.wait()
    experiment.start()
    experiment.end()


@case("everything killed", 3, SQLITE, POSTGRES)
def everything_killed(experiment: Experiment, times: int) -> None:
    """Every process at once, as in a power failure."""
    for _ in range(times):
        experiment.start()
        running(experiment)
        experiment.inject("everything killed", lambda: send(signal.SIGKILL, processes(experiment.here)))
        experiment.nothing_is_left()
    experiment.start()
    experiment.end()


KINDS = (*4 * ["driver"], *2 * ["everything but the driver"], "SIGTERM", "interchange", "manager", "worker", "trial")
"""Whom :func:`one_kill_after_the_other` kills, by how often it is drawn. Whatever dies, the driver dies soon after."""


@case("one kill after the other", 20, SQLITE, POSTGRES, needed=1, study={"steps": 16, "seconds": 0.3, "saving": 12.0})
def one_kill_after_the_other(experiment: Experiment, times: int) -> None:
    """Processes of all kinds, at random times, and soon after each the driver; the next driver is started at once.

    On PostgreSQL half of the servers' kills are immediate restarts of the server as well. Trials are longer than most
    drivers live, so that they go on in many attempts, and end slowly when their driver is gone, so that the next driver
    takes them over before they have said how they ended.
    """
    chance = random.Random(times)
    for _ in range(times):
        driver, begun = experiment.start(), len(experiment.record().starts)
        if chance.random() < 0.8:
            until(lambda: len(experiment.record().starts) > begun or driver.poll() is not None, "a trial runs")  # noqa: B023
        time.sleep(chance.uniform(0.0, 4.0))
        if driver.poll() is not None:
            break
        if experiment.server is not None and chance.random() < 0.5:
            experiment.inject("server restarted", lambda: _restart(experiment.server))
        kind = chance.choice(KINDS)
        with suppress(AssertionError, LookupError):  # there is no such process at this moment
            experiment.inject(kind, lambda kind=kind, driver=driver: _kill(experiment, kind, driver))  # type: ignore[misc]
        time.sleep(chance.choice([0.0, 0.3, 2.0]))
        driver.kill()
        driver.wait()
    experiment.start()
    experiment.end()


def _restart(server: Server | None) -> None:
    """At once, as after a crash of its host."""
    assert server is not None
    server.shut_down()
    server.start()


def _kill(experiment: Experiment, kind: str, driver: subprocess.Popen[bytes]) -> None:
    ends = {"manager": manager, "worker": worker, "trial": trial}
    if kind == "driver":
        driver.kill()
    elif kind == "SIGTERM":
        driver.terminate()
    elif kind == "interchange":
        send(signal.SIGKILL, [interchange(experiment.here, driver)])
    elif kind in ends:
        send(signal.SIGKILL, [ends[kind](_some_trial(experiment))])
    else:
        send(signal.SIGKILL, set(processes(experiment.here)) - {driver.pid})


def _some_trial(experiment: Experiment) -> int:
    """The process of an attempt that runs. Raises LookupError where there is none."""
    for start in experiment.record().running():
        if Path(f"/proc/{start.pid}").exists():
            return start.pid
    raise LookupError


@case("driver stopped", 1, SQLITE, POSTGRES, lasts=60.0)
def driver_stopped(experiment: Experiment, times: int) -> None:
    """For longer than its workers wait for it; then it continues."""
    driver = experiment.start()
    for _ in range(times):
        running(experiment)
        driver.send_signal(signal.SIGSTOP)
        time.sleep(experiment.lasts)
        experiment.inject("driver stopped", lambda: driver.send_signal(signal.SIGCONT))
        experiment.progress()
    experiment.end()


@case("driver stopped, and taken for dead", 1, POSTGRES, needed=30)
def driver_taken_for_dead(experiment: Experiment, times: int) -> None:
    """A driver on another host takes over, since the first one's lease is old; then the first one continues.

    It has to find that its trials are no longer its own. Here the lease is made to look old, and the other host is
    another namespace of processes.
    """
    first = experiment.start()
    experiment.progress(2)
    running(experiment)
    stop_between_commits(experiment, first)
    make_leases_old(experiment.url)
    experiment.start(before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    experiment.progress()
    experiment.inject("driver stopped, and taken for dead", lambda: first.send_signal(signal.SIGCONT))
    experiment.end()
    assert first.wait(PATIENCE) != 0, "it went on with trials that were no longer its own"
    assert "another driver declared this campaign dead" in experiment.printed(first), experiment.printed(first)


def stop_between_commits(experiment: Experiment, driver: subprocess.Popen[bytes]) -> None:
    """Within a commit it would hold the study's lock, until the server ends its connection two minutes later."""
    assert experiment.server is not None
    name = experiment.url.rpartition("/")[2]
    writing = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND state LIKE 'idle in transaction%'"

    def stopped() -> bool:
        driver.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        if not experiment.server.execute(writing):
            return True
        driver.send_signal(signal.SIGCONT)
        return False

    until(stopped, "the driver is stopped between two commits")


def make_leases_old(url: str, seconds: float = 600.0) -> None:
    """Set back the last heartbeat of every lease by ``seconds``."""
    leases = "FROM study_system_attributes WHERE key LIKE 'pilotune:campaign:%'"
    with psycopg.connect(url) as connection:
        for number, text in connection.execute(f"SELECT study_system_attribute_id, value_json {leases}").fetchall():
            lease = json.loads(text)
            lease["heartbeat"] -= seconds
            change = "UPDATE study_system_attributes SET value_json = %s WHERE study_system_attribute_id = %s"
            connection.execute(change, (json.dumps(lease), number))


# -- its child processes -----------------------------------------------------------------------------------------------


def again_and_again(experiment: Experiment, times: int, fault: str, act: Callable[[Experiment], None]) -> None:
    """Do ``act`` to one campaign several times, each time while a trial runs."""
    experiment.start()
    for _ in range(times):
        experiment.progress()
        running(experiment)
        experiment.inject(fault, lambda: act(experiment))
        experiment.progress()
    experiment.end()


@case("interchange killed", 3, SQLITE)
def interchange_killed(experiment: Experiment, times: int) -> None:
    def kill(experiment: Experiment) -> None:
        assert experiment.driver is not None
        send(signal.SIGKILL, [interchange(experiment.here, experiment.driver)])

    again_and_again(experiment, times, "interchange killed", kill)


@case("manager killed", 5, SQLITE, SLURM)
def manager_killed(experiment: Experiment, times: int) -> None:
    again_and_again(experiment, times, "manager killed", killing(manager))


@case("worker killed", 10, SQLITE, SLURM)
def worker_killed(experiment: Experiment, times: int) -> None:
    again_and_again(experiment, times, "worker killed", killing(worker))


@case("trial killed", 10, SQLITE, POSTGRES)
def trial_killed(experiment: Experiment, times: int) -> None:
    again_and_again(experiment, times, "trial killed", killing(trial))


def killing(part: Callable[[int], int]) -> Callable[[Experiment], None]:
    """kill -9 of the process with this role for one of the running trials."""
    return lambda experiment: send(signal.SIGKILL, [target_of(experiment, part)])


@case("worker stopped", 2, SQLITE, needed=150, lasts=30.0)
def worker_stopped(experiment: Experiment, times: int) -> None:
    """Its trial's process continues, and waits for the answer to its next report."""
    stopped(experiment, times, "worker stopped", lambda: [target_of(experiment, worker)])


@case("manager stopped", 2, SQLITE, needed=20, lasts=30.0)
def manager_stopped(experiment: Experiment, times: int) -> None:
    """With all its workers and trials, as on a frozen node: it is taken for lost, and then continues."""
    stopped(experiment, times, "manager stopped", lambda: below(target_of(experiment, manager)))


def stopped(experiment: Experiment, times: int, fault: str, choose: Callable[[], list[int]]) -> None:
    experiment.start()
    for _ in range(times):
        experiment.progress()
        targets = choose()
        experiment.inject(fault, lambda targets=targets: send(signal.SIGSTOP, targets))  # type: ignore[misc]
        time.sleep(experiment.lasts)
        send(signal.SIGCONT, targets)
        experiment.progress()
    experiment.end()


# -- its database -----------------------------------------------------------------------------------------------------


@case("PostgreSQL stopped", 2, POSTGRES, needed=10, lasts=30.0)
def postgresql_stopped(experiment: Experiment, times: int) -> None:
    server = experiment.server
    assert server is not None
    experiment.start()
    for _ in range(times):
        experiment.progress(2)
        server.shut_down()
        try:
            experiment.here.await_status(NAME, lambda status: "unreachable" in status["message"], "it says so")
            time.sleep(experiment.lasts)
            assert "database unreachable" in experiment.here.run("status", NAME).stdout
        finally:
            server.start()
        experiment.inject("PostgreSQL stopped")
        experiment.progress()
    experiment.end()


@case("connections terminated", 20, POSTGRES, needed=3)
def connections_terminated(experiment: Experiment, times: int) -> None:
    """All connections of the driver, at random times."""
    server, chance = experiment.server, random.Random(times)
    assert server is not None
    name = experiment.url.rpartition("/")[2]
    terminate = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    experiment.start()
    for _ in range(times):
        experiment.progress()
        time.sleep(chance.uniform(0.0, 0.5))
        experiment.inject("connections terminated", lambda: server.execute(terminate))
    experiment.end()


@case("SQLite locked", 2, SQLITE, needed=10, lasts=20.0)
def sqlite_locked(experiment: Experiment, times: int) -> None:
    experiment.start()
    for _ in range(times):
        experiment.progress(2)
        with closing(sqlite3.connect(experiment.database, isolation_level=None, timeout=30.0)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = len(experiment.record().starts)
            time.sleep(experiment.lasts)
            more = len(experiment.record().starts) - before
            assert more <= 4, f"{more} trials were begun that the database does not know"
            other.execute("COMMIT")
        experiment.inject("SQLite locked")
        experiment.progress()
    experiment.end()
