"""Put an emulated machine into a folder: ``install(folder, "pbs", nodes=4)``, or this module as a program."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import processes
from .mom import MARK
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

sys.path.append({folder!r})
from emulators.{module} import {function}

{function}(sys.argv[1:])
"""


class Emulated:
    """A machine under test; use it as a context manager, or call ``kill_all`` at the end."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.machine = Machine(Path(folder).absolute())
        self.folder = self.machine.folder

    def __enter__(self) -> Emulated:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    @property
    def env(self) -> dict[str, str]:
        """Variables for whoever is to use the machine: ``PATH`` with its commands first, and its folder."""
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", ENVIRONMENT: str(self.folder)}

    @property
    def host_names(self) -> bool:
        """Whether jobs see their node's host name; else the variable EMULATED_NODE alone tells the node."""
        return os.geteuid() == 0 and bool(self.machine.read().config["node_names"])

    def set(self, **settings: Any) -> None:
        """Change settings; ``queues`` and ``nodes`` are merged into what is there."""
        with self.machine.change() as state:
            for name, rules in settings.pop("queues", {}).items():
                state.queues.setdefault(name, {}).update(rules)
            for name, rules in settings.pop("nodes", {}).items():
                state.nodes.setdefault(name, {"cores": 1, "gpus": 0, "state": "free"}).update(rules)
            unknown = settings.keys() - state.config.keys()
            assert not unknown, f"no such setting: {', '.join(sorted(unknown))}"
            state.config.update(settings)

    def jobs(self) -> list[Job]:
        """All jobs that the machine knows, oldest first; those that ended only as long as their scheduler remembers."""
        return [job for _, job in sorted(self.machine.read().jobs.items())]

    def job(self, identifier: str | int) -> Job:
        return self.machine.read().jobs[int(str(identifier).partition(".")[0])]

    def node_down(self, name: str) -> None:
        """The node crashes: all its processes are gone at once; the scheduler finds out in its own time."""
        with self.machine.change() as state:
            state.nodes[name].update(state="down", since=time.time())

    def node_up(self, name: str) -> None:
        with self.machine.change() as state:
            state.nodes[name].update(state="free", since=0.0)

    def processes(self) -> list[int]:
        """Every living process of every job, moms included."""
        folder = str(self.folder)
        moms = [process for process in processes.table() if processes.variable(process, MARK) == folder]
        strays = [
            process
            for process in processes.table()
            if processes.variable(process, processes.NODE) and processes.variable(process, ENVIRONMENT) == folder
        ]
        found = {*moms, *strays, *(process for mom in moms for process in processes.below(mom))}
        return sorted(process for process in found if processes.started(process))

    def kill_all(self) -> None:
        """End every job and every process of the machine; commands find no server afterwards."""
        with self.machine.change() as state:
            state.closed = state.config["server_down"] = True
        deadline = time.monotonic() + 20
        while left := self.processes():
            if time.monotonic() > deadline - 15:
                processes.kill(left)
            assert time.monotonic() < deadline, f"processes {left} do not end"
            time.sleep(0.05)


def install(
    folder: str | os.PathLike[str],
    scheduler: str,
    *,
    nodes: int | list[str] = 4,
    cores: int = 2,
    gpus: int = 0,
    queues: dict[str, dict[str, Any]] | None = None,
    **config: Any,
) -> Emulated:
    """Make a machine in ``folder``; everything on it ends with this process, unless ``owner=0``.

    ``config``: see ``COMMON`` in state.py and ``DEFAULTS`` in pbs/common.py and cobalt/common.py.
    """
    if scheduler == "pbs":
        from .pbs.common import DEFAULTS

        prefix, standard = "node", "workq"
    else:
        from .cobalt.common import DEFAULTS

        prefix, standard = "nid0000" if config.get("system", DEFAULTS["system"]) == "cray" else "node", "default"
    names = nodes if isinstance(nodes, list) else [f"{prefix}{number}" for number in range(1, nodes + 1)]
    settings = {
        **COMMON,
        "owner": os.getpid(),
        "installed_environment": dict(os.environ),
        "default_queue": standard,
        **DEFAULTS,
    }
    unknown = config.keys() - settings.keys()
    assert not unknown, f"no such setting: {', '.join(sorted(unknown))}"
    emulated = Emulated(folder)
    (emulated.folder / "bin").mkdir(parents=True)
    emulated.machine.write(
        State(
            scheduler=scheduler,
            config={**settings, **config},
            nodes={name: {"cores": cores, "gpus": gpus, "state": "free", "since": 0.0} for name in names},
            queues=queues or {standard: {}},
        )
    )
    for command, target in COMMANDS[scheduler].items():
        module, _, function = target.partition(":")
        script = emulated.folder / "bin" / command
        script.write_text(
            SCRIPT.format(
                python=sys.executable,
                folder=str(Path(__file__).resolve().parent.parent),
                module=module,
                function=function,
            )
        )
        script.chmod(0o755)
    return emulated


def main() -> None:
    parser = argparse.ArgumentParser(description="An emulated machine; put FOLDER/bin first in PATH to use it.")
    parser.add_argument("folder")
    parser.add_argument("--scheduler", choices=COMMANDS, required=True)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a setting")
    parser.add_argument("--stop", action="store_true", help="end everything on the machine in FOLDER instead")
    given = parser.parse_args()
    if given.stop:
        Emulated(given.folder).kill_all()
        return
    import json

    settings = {name: json.loads(value) for name, _, value in (item.partition("=") for item in given.set)}
    emulated = install(
        given.folder, given.scheduler, nodes=given.nodes, cores=given.cores, gpus=given.gpus, owner=0, **settings
    )
    for name, value in emulated.env.items():
        print(f"export {name}={value if name != 'PATH' else str(emulated.folder / 'bin') + ':$PATH'}")


if __name__ == "__main__":
    main()
