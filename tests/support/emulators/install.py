"""Installs an emulated machine in a folder: ``install(folder, "pbs", nodes=4)``, or this module as a program."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import processes
from .cobalt.common import DEFAULTS as COBALT
from .pbs.common import DEFAULTS as PBS
from .state import COMMON, ENVIRONMENT, Job, Machine, State

COMMANDS = {
    "pbs": {
        "qsub": "pbs.qsub:main",
        "qstat": "pbs.qstat:main",
        "qdel": "pbs.commands:qdel",
        "qrerun": "pbs.commands:qrerun",
        "qhold": "pbs.commands:qhold",
        "qrls": "pbs.commands:qrls",
        "qsig": "pbs.commands:qsig",
        "pbsnodes": "pbs.commands:pbsnodes",
        "pbsdsh": "launchers:pbsdsh",
        "mpiexec": "launchers:mpiexec",
    },
    "cobalt": {
        "qsub": "cobalt.qsub:main",
        "qstat": "cobalt.qstat:main",
        "qdel": "cobalt.qdel:main",
        "aprun": "launchers:aprun",
        "mpiexec": "launchers:mpiexec",
    },
}

SCRIPT = """\
#!{python} -IS
import sys

sys.path.append({package!r})
from emulators.calls import call

call({folder!r}, {target!r})
"""


class Emulated:
    """An emulated machine; use it as a context manager, or call ``kill_all`` at the end."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.machine = Machine(Path(folder).absolute())
        self.folder = self.machine.folder

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    @property
    def env(self) -> dict[str, str]:
        """Variables for using the machine: ``PATH`` with its commands first, and its folder."""
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", ENVIRONMENT: str(self.folder)}

    @property
    def host_names(self) -> bool:
        """Whether jobs see the host name of their node; otherwise only the variable EMULATED_NODE names it."""
        return self.machine.read().names()

    def set(self, **settings: Any) -> None:
        """Change settings; ``queues`` and ``nodes`` are merged into what is there."""
        with self.machine.change() as state:
            for name, rules in settings.pop("queues", {}).items():
                state.queues.setdefault(name, {}).update(rules)
            for name, rules in settings.pop("nodes", {}).items():
                state.nodes[name].update(rules)
            known(settings, state.config)
            state.config.update(settings)

    def jobs(self) -> list[Job]:
        """All jobs that the scheduler knows, oldest first; ended ones only as long as it remembers them."""
        return [job for _, job in sorted(self.machine.read().jobs.items())]

    def job(self, identifier: str | int) -> Job:
        return self.machine.read().jobs[int(str(identifier).partition(".")[0])]

    def accounting(self) -> list[dict[str, Any]]:
        """Events of all jobs, with ``event`` (submitted, started, requeued, ended), ``job`` and ``time``."""
        return self.machine.book("accounting")

    def commands(self, name: str | None = None) -> list[dict[str, Any]]:
        """All calls of commands, with ``command``, ``words``, ``code``, ``seconds`` and the ``time`` of the end."""
        return [call for call in self.machine.book("commands") if name in (None, call["command"])]

    def hold(self, identifier: str | int, who: str = "user") -> None:
        """Hold a queued job; with ``who=""``, release it."""
        with self.machine.change() as state:
            state.jobs[int(str(identifier).partition(".")[0])].held = who

    def rerun(self, identifier: str | int) -> None:
        """Do what an administrator's ``qrerun`` does to a running job of PBS."""
        with self.machine.change() as state:
            job = state.jobs[int(str(identifier).partition(".")[0])]
            job.order = {"why": "rerun", "by": "administrator", "force": True}

    def node_down(self, name: str) -> None:
        """Crash a node: its processes end at once, and the scheduler notices later."""
        with self.machine.change() as state:
            state.nodes[name].update(state="down", since=time.time())

    def node_up(self, name: str) -> None:
        with self.machine.change() as state:
            state.nodes[name].update(state="free", since=0.0)

    def processes(self) -> list[int]:
        """All living processes of all jobs, including moms."""
        folder, found = str(self.folder), set()
        for process in processes.table():
            if processes.variable(process, processes.MOM) == folder:
                found |= {process, *processes.below(process)}
            elif processes.variable(process, processes.NODE) and processes.variable(process, ENVIRONMENT) == folder:
                found.add(process)
        return sorted(process for process in found if processes.started(process))

    def kill_all(self, patience: float = 10.0) -> None:
        """End every job and every process of the machine; commands find no server afterwards."""
        with self.machine.change() as state:
            state.closed = state.config["server_down"] = True
        deadline = time.monotonic() + patience
        while left := self.processes():
            if time.monotonic() > deadline:
                processes.kill(left)
            assert time.monotonic() < deadline + patience, f"processes {left} do not end"
            time.sleep(0.05)
        trouble = (self.folder / "moms.log").read_text() if (self.folder / "moms.log").exists() else ""
        assert not trouble, f"the emulator itself is broken:\n{trouble}"


def known(settings: dict[str, Any], config: dict[str, Any]) -> None:
    unknown = settings.keys() - config.keys()
    assert not unknown, f"no such setting: {', '.join(sorted(unknown))}"


def write_commands(folder: Path, scheduler: str) -> None:
    package = str(Path(__file__).resolve().parent.parent)
    for command, target in COMMANDS[scheduler].items():
        script = folder / "bin" / command
        script.write_text(SCRIPT.format(python=sys.executable, package=package, folder=str(folder), target=target))
        script.chmod(0o755)


def install(
    folder: str | os.PathLike[str],
    scheduler: str,
    *,
    nodes: int | list[str] = 4,
    cores: int = 2,
    gpus: int = 0,
    queues: dict[str, dict[str, Any]] | None = None,
    **settings: Any,
) -> Emulated:
    """Make a machine in ``folder``; everything on it ends with this process, unless ``owner=0``.

    ``nodes``: how many, or their names. ``settings``: see ``COMMON`` in state.py and ``DEFAULTS`` in pbs/common.py and
    cobalt/common.py. ``queues`` by name; PBS: ``enabled``, ``started``, ``max_walltime``, ``min_walltime`` and
    ``default_walltime`` (s), ``max_nodes`` (chunks), ``max_user``, ``max_user_queued``, ``max_user_run``; Cobalt:
    ``state`` (running, draining, dead), ``started``, ``max_time`` and ``min_time`` (minutes), ``users``, ``max_user``,
    ``max_user_run``.
    """
    config = {**COMMON, **(PBS if scheduler == "pbs" else COBALT), "owner": os.getpid()}
    config["default_queue"] = "workq" if scheduler == "pbs" else "default"
    known(settings, config)
    config.update(settings)
    config["node_names"] = config["node_names"] and processes.can_enter()
    cray = config.get("system") == "cray"
    names = nodes if isinstance(nodes, list) else [f"nid{n:05}" if cray else f"node{n}" for n in range(1, nodes + 1)]
    emulated = Emulated(folder)
    (emulated.folder / "bin").mkdir(parents=True)
    others = [config[name] for name in ("server", "mom_node") if name in config]
    hosts = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
    (emulated.folder / processes.HOSTS).write_text(f"{hosts}\n127.0.0.1 {' '.join([*names, *others])}\n")
    machines = {name: {"cores": cores, "gpus": gpus, "state": "free", "since": 0.0} for name in names}
    emulated.machine.write(State(scheduler, config, machines, queues or {config["default_queue"]: {}}))
    write_commands(emulated.folder, scheduler)
    return emulated


def main() -> None:
    parser = argparse.ArgumentParser(description="An emulated machine; put FOLDER/bin first in PATH to use it.")
    parser.add_argument("folder")
    parser.add_argument("--scheduler", choices=COMMANDS, default="pbs")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting")
    parser.add_argument("--stop", action="store_true", help="end everything on the machine in FOLDER instead")
    given = parser.parse_args()
    if given.stop:
        Emulated(given.folder).kill_all()
        return
    settings = {name: json.loads(value) for name, _, value in (item.partition("=") for item in given.set)}
    emulated = install(
        given.folder, given.scheduler, nodes=given.nodes, cores=given.cores, gpus=given.gpus, owner=0, **settings
    )
    print(f"export PATH={emulated.folder / 'bin'}:$PATH")


if __name__ == "__main__":
    main()
