"""Stand-ins for programs that start a command on the nodes of a job: ``pbsdsh``, ``mpiexec`` (PALS) and ``aprun``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from . import processes
from .state import Job, Machine


def complain(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass
class Task:
    """One process to start: its node and what its environment has of its own."""

    node: str
    environment: dict[str, str]


def this_job(machine: Machine) -> Job | None:
    """The job that this process belongs to, by its environment."""
    number = (os.environ.get("PBS_JOBID") or os.environ.get("COBALT_JOBID") or "").partition(".")[0]
    return machine.read().jobs.get(int(number)) if number.isdigit() else None


def run(machine: Machine, command: list[str], tasks: list[Task], *, first_failure_ends: bool) -> list[int]:
    """Start all tasks, forward signals to them, wait; returns their exit codes (negative: a signal)."""
    named = machine.read().config["node_names"]
    running: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: object) -> None:
        processes.send([task.pid for task in running if task.poll() is None], number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    for task in tasks:
        try:
            running.append(
                subprocess.Popen(
                    command,
                    env={**task.environment, processes.NODE: task.node},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    preexec_fn=processes.entering(task.node, named),
                )
            )
        except OSError as error:
            complain(f"{command[0]}: {error.strerror}")
            processes.kill([task.pid for task in running])
            return [127]
    ended = False
    while any(task.poll() is None for task in running):
        failed = any(task.returncode not in (None, 0) for task in running)
        if failed and first_failure_ends and not ended:
            processes.kill([task.pid for task in running if task.returncode is None])
            ended = True
        time.sleep(0.05)
    return [task.returncode for task in running]


def worst(codes: list[int]) -> int:
    """The exit code of the whole: 128 and the signal, as a shell has it."""
    return next((code if code > 0 else 128 - code for code in codes if code), 0)


def pbsdsh(words: list[str]) -> None:
    """Once on each of the job's places, with the environment that the job's script had at its start, but the mom's PATH."""
    machine = Machine.here()
    job = this_job(machine)
    if job is None:
        complain("pbsdsh: not executing under PBS")
        sys.exit(1)
    copies, places = None, None
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option in ("-c", "-n") and words:
            value = int(words.pop(0))
            copies, places = (value, places) if option == "-c" else (copies, [value])
        elif option not in ("-s", "-v", "-o"):
            complain("Usage: pbsdsh [-c copies][-s][-v][-o] -- program [args...]]")
            sys.exit(2)
    if not words:
        complain("Usage: pbsdsh [-c copies][-s][-v][-o] -- program [args...]]")
        sys.exit(2)
    base = json.loads((machine.job_folder(job.number) / "environment.json").read_text())
    base["PATH"] = machine.read().config["mom_path"]
    indices = places or list(range(copies if copies is not None else len(job.places)))
    tasks = []
    for order, index in enumerate(indices):
        node = job.places[index % len(job.places)][0]
        own = {"PBS_NODENUM": str(job.nodes.index(node)), "PBS_TASKNUM": str(order + 2), "PBS_VNODENUM": str(index)}
        tasks.append(Task(node, {**base, **own}))
    codes = run(machine, words, tasks, first_failure_ends=False)
    sys.exit(max((code if code > 0 else 128 - code for code in codes if code), default=0))


class Layout:
    """Ranks over nodes, from ``-n``, ranks a node, and a list of nodes."""

    def __init__(self) -> None:
        self.ranks: int | None = None
        self.per_node: int | None = None
        self.nodes: list[str] | None = None
        self.variables: dict[str, str] = {}
        self.quiet = False

    def places(self, available: list[str]) -> list[tuple[str, int]]:
        """Node and rank on that node, rank by rank. Raises ValueError."""
        nodes = available if self.nodes is None else self.nodes
        ranks = self.ranks or (self.per_node or 1) * len(nodes)
        per_node = self.per_node or -(-ranks // len(nodes))
        if ranks > per_node * len(nodes) or any(node not in available for node in nodes):
            raise ValueError
        return [(nodes[rank // per_node], rank % per_node) for rank in range(ranks)]


def variables(text: str) -> dict[str, str]:
    name, _, value = text.partition("=")
    return {name: value}


def mpiexec(words: list[str]) -> None:
    """As PALS's: the caller's environment goes along; a rank that fails ends the others."""
    machine, layout = Machine.here(), Layout()
    job = this_job(machine)
    ignored = {
        "--cpu-bind",
        "--mem-bind",
        "--gpu-bind",
        "-d",
        "--depth",
        "-depth",
        "--rankfile",
        "--cpu-bind-to",
        "-bind-to",
        "--network",
    }
    while words and words[0].startswith("-"):
        option, value = words.pop(0), ""
        if option == "--":
            break
        if option.startswith("--") and "=" in option:
            option, _, value = option.partition("=")
            words.insert(0, value)
        if option in ("-n", "-np", "--np"):
            layout.ranks = int(words.pop(0))
        elif option in ("--ppn", "-ppn", "-N", "-perhost"):
            layout.per_node = int(words.pop(0))
        elif option in ("--hosts", "-hosts", "--host", "-host", "-H"):
            layout.nodes = words.pop(0).split(",")
        elif option in ("-env", "-genv") and "=" not in words[0]:
            layout.variables[words.pop(0)] = words.pop(0)
        elif option in ("--env", "-env", "--genv", "-e"):
            layout.variables.update(variables(words.pop(0)))
        elif option in ("--hostfile", "-hostfile", "-f"):
            with open(words.pop(0)) as file:
                layout.nodes = list(dict.fromkeys(file.read().split()))
        elif option in ignored:
            words.pop(0)
        elif option not in (
            "--envall",
            "-envall",
            "-genvall",
            "--line-buffer",
            "-l",
            "--label",
            "--no-vni",
            "--no-abort-on-failure",
        ):
            complain(f"mpiexec: unrecognized option '{option}'")
            sys.exit(1)
    if not words:
        complain("mpiexec: no executable given")
        sys.exit(1)
    # Outside of a job, ranks run where they are started.
    here = [os.environ.get(processes.NODE) or os.uname().nodename]
    try:
        places = layout.places(job.nodes if job else here)
    except ValueError:
        complain("mpiexec: not enough nodes in the job, or a host that is not in it")
        sys.exit(1)
    tasks = []
    for rank, (node, local) in enumerate(places):
        own = {
            "PALS_RANKID": str(rank),
            "PALS_LOCAL_RANKID": str(local),
            "PMI_RANK": str(rank),
            "PMI_SIZE": str(len(places)),
            "PMI_LOCAL_RANK": str(local),
        }
        tasks.append(Task(node, {**os.environ, **layout.variables, **own}))
    sys.exit(worst(run(machine, words, tasks, first_failure_ends=True)))


def node_numbers(text: str, available: list[str]) -> list[str]:
    """Nodes of aprun's ``-L``: names, or numbers and ranges of numbers (``3-5,9``)."""
    found = []
    for item in text.split(","):
        if item in available:
            found.append(item)
            continue
        first, _, last = item.partition("-")
        for number in range(int(first), int(last or first) + 1):
            found.append(next(node for node in available if node.lstrip("nid") and int(node.lstrip("nid")) == number))
    return found


def aprun(words: list[str]) -> None:
    """As ALPS's: the caller's environment goes along; only in a job that has compute nodes."""
    machine, layout = Machine.here(), Layout()
    job = this_job(machine)
    if job is None:
        complain("aprun: Apid 0: no reservation to claim; aprun runs within a batch job only")
        sys.exit(1)
    takes = {
        "-d",
        "-j",
        "-cc",
        "-S",
        "-ss",
        "-r",
        "-p",
        "-m",
        "-F",
        "-D",
        "--depth",
        "--cpu-binding",
        "--cc",
        "--cpus-per-pe",
    }
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option == "--":
            break
        if option.startswith("--") and "=" in option:
            option, _, value = option.partition("=")
            words.insert(0, value)
        if option in ("-n", "--pes"):
            layout.ranks = int(words.pop(0))
        elif option in ("-N", "--pes-per-node"):
            layout.per_node = int(words.pop(0))
        elif option in ("-L", "--node-list", "-node-list"):
            try:
                layout.nodes = node_numbers(words.pop(0), job.nodes)
            except (ValueError, StopIteration):
                complain("aprun: -L node list contains node(s) that are not in the reservation")
                sys.exit(1)
        elif option in ("-e", "--environment-override"):
            layout.variables.update(variables(words.pop(0)))
        elif option in takes:
            words.pop(0)
        elif option in ("-q", "--quiet"):
            layout.quiet = True
        elif option not in ("-b", "-B", "-T", "-z", "-C", "--bypass-app-transfer"):
            complain(f"aprun: unrecognized option '{option}'")
            sys.exit(1)
    if not words:
        complain("aprun: no command specified")
        sys.exit(1)
    layout.ranks = layout.ranks or 1
    layout.per_node = (
        layout.per_node or layout.ranks if layout.nodes is None and layout.per_node is None else layout.per_node
    )
    try:
        places = layout.places(job.nodes)
    except ValueError:
        complain("apsched: claim exceeds reservation's node-count")
        sys.exit(1)
    tasks = []
    for rank, (node, _) in enumerate(places):
        own = {"ALPS_APP_PE": str(rank), "ALPS_APP_ID": str(os.getpid()), "PMI_FORK_RANK": str(rank)}
        tasks.append(Task(node, {**os.environ, **layout.variables, **own}))
    codes = run(machine, words, tasks, first_failure_ends=True)
    if not layout.quiet:
        print(f"Application {os.getpid()} resources: utime ~0s, stime ~0s, Rss ~4000, inblocks ~0, outblocks ~0")
    sys.exit(worst(codes))
