"""Emulates the programs that start a command on the nodes of a job: ``pbsdsh``, ``mpiexec`` (PALS) and ``aprun``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import NoReturn

from . import processes
from .state import Job, Machine

SESSIONS = "sessions"
"""A file in a job's folder: the sessions that its moms started for pbsdsh, with their nodes, one a line."""

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def fail(text: str, code: int = 1) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)


def this_job(machine: Machine) -> Job | None:
    """The job that this process belongs to, by its environment."""
    number = (os.environ.get("PBS_JOBID") or os.environ.get("COBALT_JOBID") or "").partition(".")[0]
    return machine.read().jobs.get(int(number)) if number.isdigit() else None


@dataclass
class Task:
    """A process to start: its node and its environment."""

    node: str
    environment: dict[str, str]


class Crew:
    """The processes of one launch, each in its own session, as if on its own machine."""

    def __init__(self, machine: Machine, command: list[str], tasks: list[Task], *, tied: bool = False):
        """``tied``: the processes themselves die with the launcher, as those that PALS and ALPS start."""
        self.running: list[subprocess.Popen[bytes]] = []
        names = machine.read().names()
        try:
            for task in tasks:
                process = subprocess.Popen(
                    command,
                    env={**task.environment, processes.NODE: task.node},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=processes.entering(task.node, names, machine.folder, tied=tied),
                )
                self.running.append(process)
        except OSError as error:
            self.kill()
            fail(f"{command[0]}: {error.strerror}", 127)

    def forward(self, number: int, _: object) -> None:
        processes.send([task.pid for task in self.running if task.poll() is None], number)

    def kill(self) -> None:
        processes.kill([task.pid for task in self.running if task.poll() is None])

    def wait(self, *, first_failure_ends: bool) -> list[int]:
        """Exit codes of all processes, as in a shell: 128 plus the signal."""
        while None in (codes := [task.poll() for task in self.running]):
            if first_failure_ends and any(codes):
                self.kill()
            time.sleep(0.05)
        return [code if code >= 0 else 128 - code for code in codes if code is not None]


def pbsdsh(words: list[str]) -> None:
    """Once on each of the job's places, with the environment the job's script had at its start, but the mom's PATH."""
    machine, usage = Machine.here(), "Usage: pbsdsh [-c copies][-s][-v][-o] -- program [args...]"
    job = this_job(machine)
    if job is None:
        fail("pbsdsh: not executing under PBS")
    indices = list(range(len(job.places)))
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option in ("-c", "-n") and words and words[0].isdigit():
            number = int(words.pop(0))
            indices = list(range(number)) if option == "-c" else [number]
        elif option == "-h" and words and words[0] in job.nodes:
            indices = [job.nodes.index(words.pop(0))]
        elif option not in ("-s", "-v", "-o"):
            fail(usage)
    if not words:
        fail(usage)
    base = json.loads((machine.job_folder(job.number) / "environment.json").read_text())
    base["PATH"] = machine.read().config["mom_path"]
    tasks = []
    for order, index in enumerate(indices):
        node = job.places[index % len(job.places)][0]
        own = {"PBS_NODENUM": str(job.nodes.index(node)), "PBS_TASKNUM": str(order + 2), "PBS_VNODENUM": str(index)}
        tasks.append(Task(node, {**base, **own}))
    crew = Crew(machine, words, tasks)
    with open(machine.job_folder(job.number) / SESSIONS, "a") as file:
        file.writelines(f"{process.pid} {task.node}\n" for process, task in zip(crew.running, tasks, strict=True))

    def bail_out(number: int, _: object) -> None:
        """Pass the signal on to all processes of all tasks, and do not wait for them."""
        for index, task in enumerate(crew.running):
            if task.poll() is None:
                print(f"pbsdsh: killing task 0x{index:08X} signal {number}")
                everyone = processes.table().items()
                processes.send([process for process, (_, session, _) in everyone if session == task.pid], number)
        sys.stdout.flush()
        os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, bail_out)
    for index, code in enumerate(crew.wait(first_failure_ends=False)):
        if code:
            print(f"pbsdsh: task 0x{index:08X} exit status {code}")


@dataclass
class Layout:
    """Ranks over nodes."""

    ranks: int | None = None
    per_node: int | None = None
    nodes: list[str] | None = None
    variables: dict[str, str] = field(default_factory=dict)
    quiet: bool = False

    def places(self, available: list[str]) -> list[tuple[str, int]]:
        """Node and rank on that node, rank by rank. Raises ValueError when there are not enough nodes."""
        nodes = available if self.nodes is None else self.nodes
        ranks = self.ranks or (self.per_node or 1) * len(nodes)
        per_node = self.per_node or -(-ranks // len(nodes))
        if ranks > per_node * len(nodes) or any(node not in available for node in nodes):
            raise ValueError
        return [(nodes[rank // per_node], rank % per_node) for rank in range(ranks)]


def read_options(words: list[str], table: dict[str, str], program: str) -> tuple[Layout, list[str]]:
    """Parse a launcher's options, up to the first word that is none; ``table``: what each option sets."""
    layout, words = Layout(), list(words)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option.startswith("--") and "=" in option:
            option, _, value = option.partition("=")
            words.insert(0, value)
        meaning = table.get(option)
        if meaning is None or (meaning not in ("quiet", "flag") and not words):
            fail(
                f"{program}: unrecognized option '{option}'"
                if meaning is None
                else f"{program}: {option} needs a value"
            )
        if meaning == "quiet":
            layout.quiet = True
        elif meaning in ("ranks", "per_node"):
            setattr(layout, meaning, int(words.pop(0)))
        elif meaning == "nodes":
            layout.nodes = words.pop(0).split(",")
        elif meaning == "file":
            with open(words.pop(0)) as file:
                layout.nodes = list(dict.fromkeys(file.read().split()))
        elif meaning == "variable":
            name, equals, value = words.pop(0).partition("=")
            layout.variables[name] = value if equals else words.pop(0)
        elif meaning == "value":
            words.pop(0)
    if not words:
        fail(f"{program}: no command is given")
    return layout, words


MPIEXEC = {
    **dict.fromkeys(("-n", "-np", "--np"), "ranks"),
    **dict.fromkeys(("--ppn", "-ppn", "-N", "-perhost"), "per_node"),
    **dict.fromkeys(("--hosts", "-hosts", "--host", "-host", "-H"), "nodes"),
    **dict.fromkeys(("--hostfile", "-hostfile", "-f"), "file"),
    **dict.fromkeys(("--env", "-env", "--genv", "-genv", "-e"), "variable"),
    **dict.fromkeys(("--cpu-bind", "--mem-bind", "--gpu-bind", "-d", "--depth", "-depth", "-bind-to"), "value"),
    **dict.fromkeys(("--envall", "-envall", "--genvall", "-genvall", "--line-buffer", "-l", "--label"), "flag"),
    **dict.fromkeys(("--no-vni", "--no-abort-on-failure"), "flag"),
}

APRUN = {
    **dict.fromkeys(("-n", "--pes"), "ranks"),
    **dict.fromkeys(("-N", "--pes-per-node"), "per_node"),
    **dict.fromkeys(("-L", "--node-list", "-node-list"), "nodes"),
    **dict.fromkeys(("-e", "--environment-override"), "variable"),
    **dict.fromkeys(
        ("-d", "--depth", "-j", "--cpus-per-cu", "-cc", "--cc", "--cpu-binding", "-S", "-r", "-p"), "value"
    ),
    **dict.fromkeys(("-m", "--memory-per-pe", "-F", "--access-mode"), "value"),
    **dict.fromkeys(("-q", "--quiet"), "quiet"),
    **dict.fromkeys(("-b", "--bypass-app-transfer", "-B", "-T", "--sync-output", "-ss", "-z", "-C"), "flag"),
}


def launch(machine: Machine, command: list[str], layout: Layout, places: list[tuple[str, int]], rank: str) -> list[int]:
    """Start all ranks with the caller's environment and wait for them; one that fails ends the others."""
    tasks = []
    for number, (node, local) in enumerate(places):
        own = {rank: str(number), "PMI_RANK": str(number), "PMI_SIZE": str(len(places)), "PMI_LOCAL_RANK": str(local)}
        tasks.append(Task(node, {**os.environ, **layout.variables, **own}))
    crew = Crew(machine, command, tasks, tied=True)
    for signal_number in FORWARDED:
        signal.signal(signal_number, crew.forward)
    return crew.wait(first_failure_ends=True)


def mpiexec(words: list[str]) -> None:
    """``mpiexec`` of PALS; outside a job, ranks run where they are started."""
    machine = Machine.here()
    job = this_job(machine)
    layout, command = read_options(words, MPIEXEC, "mpiexec")
    try:
        places = layout.places(job.nodes if job else [os.environ.get(processes.NODE) or os.uname().nodename])
    except ValueError:
        fail("mpiexec: not enough nodes in the job, or a host that is not one of the job's")
    sys.exit(next(filter(None, launch(machine, command, layout, places, "PALS_RANKID")), 0))


def named(words: list[str], available: list[str]) -> list[str]:
    """Nodes of aprun's option ``-L``: names, or numbers and ranges of them (``3-5,9``). Raises ValueError."""
    numbered = {int("".join(letter for letter in node if letter.isdigit()) or -1): node for node in available}
    found: list[str] = []
    for word in words:
        first, _, last = word.partition("-")
        if word in available:
            found.append(word)
        elif set(range(int(first), int(last or first) + 1)) <= numbered.keys():
            found += [numbered[number] for number in range(int(first), int(last or first) + 1)]
        else:
            raise ValueError
    return found


def aprun(words: list[str]) -> None:
    """``aprun`` of ALPS: within a job only; without ``-n`` it starts one process."""
    machine = Machine.here()
    job = this_job(machine)
    layout, command = read_options(words, APRUN, "aprun")
    if job is None:
        fail("apsched: no reservation is claimable by this user outside of a batch job")
    layout.ranks = layout.ranks or 1
    try:
        layout.nodes = None if layout.nodes is None else named(layout.nodes, job.nodes)
        if layout.per_node is None and layout.nodes is None:
            layout.per_node = max(1, min(layout.ranks, job.places[0][1]))
        places = layout.places(job.nodes)
    except ValueError:
        fail("apsched: claim exceeds reservation's node-count")
    codes = launch(machine, command, layout, places, "ALPS_APP_PE")
    if not layout.quiet:
        print(f"Application {os.getpid()} resources: utime ~0s, stime ~0s, Rss ~4000, inblocks ~0, outblocks ~0")
    sys.exit(next(filter(None, codes), 0))
