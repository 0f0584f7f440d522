"""Starts and stops the Slurm of the tests: munge, four slurmd, slurmctld, and slurmdbd with a MariaDB for accounts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..environment import variables
from ..watcher import unwatch, watch
from . import config
from .network import Network
from .places import Place

NODES, GPUS, ACCOUNTS = ("n1", "n2", "n3", "n4"), 2, ("proj1", "proj2")
PATIENCE = 120.0
PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db", "ip", "nsenter", "unshare")
SETUP = Path(__file__).resolve().parent.parent / "setup.sh"


class Unavailable(Exception):
    """No Slurm can run here; the message says why."""


class Lab:
    """One Slurm; it runs when the constructor returns.

    Attributes:
        folder: Holds all its files; logs are in ``log``.
        head: The address at which the nodes reach this machine.
        cgroups: Whether jobs run in cgroups, which takes version 1; otherwise nothing limits their memory.
        environment: Variables that make Slurm's commands talk to this Slurm.
    """

    def __init__(self, *, keep: bool = False):
        """``keep``: it continues when this process has ended."""
        _require()
        self.place = Place.claim(keep)
        self.folder = self.place.folder
        self.network = Network(self.place.index, NODES)
        self.head = self.network.head
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        program = "import sys; from pilotune.tests.support.slurm.places import Place; Place.end_left(int(sys.argv[1]))"
        self.watcher = None if keep else watch([sys.executable, "-c", program, self.place.index])
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    # -- commands ---------------------------------------------------------------------------------------------------

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm, with this machine as the login node."""
        environment = {**variables(), **self.environment, "LC_ALL": "C"}
        command = [str(word) for word in words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done

    def states(self) -> dict[str, str]:
        """The state of each node, as ``sinfo`` shows it (``idle``, ``allocated``, ``down``, ``idle*``)."""
        lines = self.run("sinfo", "-h", "-N", "-p", "batch", "-o", "%N %T", check=False).stdout.splitlines()
        return dict(line.split() for line in lines)

    def set_down(self, node: str) -> None:
        self.run("scontrol", "update", f"NodeName={node}", "State=down", "Reason=test")

    def set_up(self, node: str) -> None:
        self.run("scontrol", "update", f"NodeName={node}", "State=resume")
        _until(lambda: self.states()[node].startswith(("idle", "alloc", "mix")), f"{node} is back", self._logs)

    @contextmanager
    def controller_away(self) -> Iterator[None]:
        """Within the block slurmctld does not run, as in a maintenance; jobs continue."""
        self.place.end_daemon("slurmctld")
        try:
            yield
        finally:
            self._start_controller()
            _until(lambda: self.run("sinfo", check=False).returncode == 0, "slurmctld is back", self._logs)

    def job(self, number: object) -> dict[str, str]:
        """The fields of ``scontrol show job``."""
        words = self.run("scontrol", "-o", "show", "job", number).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    # -- start ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        for name in ("log", "munge", "state", "spool", "devices"):
            (self.folder / name).mkdir(parents=True)
        self._write_config()
        self.network.create()
        self._start_munge()
        self._start_accounting()
        self._start_controller()
        for node in NODES:
            (self.folder / "spool" / node).mkdir()
            self._daemon(f"slurmd.{node}", [*self.network.enter(node), "slurmd", "-D", "-N", node])

        def all_idle() -> bool:
            return list(self.states().values()) == ["idle"] * len(NODES)

        _until(all_idle, "all nodes are idle", self._logs)

    def _start_controller(self) -> None:
        self._daemon("slurmctld", ["slurmctld", "-D"])

    def _write_config(self) -> None:
        devices = [self.folder / "devices" / f"gpu{number}" for number in range(GPUS)]
        for number, device in enumerate(devices):
            # A device number of no driver: opening it says which of "no such device" and "not permitted" it is.
            os.mknod(device, 0o666 | 0o020000, os.makedev(240, number))
        parts = ("freezer", "memory", "devices")
        self.cgroups = all(os.access(f"/sys/fs/cgroup/{part}", os.W_OK) for part in parts)
        host, port = platform.node().partition(".")[0], 16_800 + 10 * self.place.index
        files = {
            "slurm.conf": config.slurm_conf(
                self.folder, host=host, head=self.head, nodes=self.network.addresses, gpus=GPUS, port=port,
                first_job=1 + 10_000 * self.place.index, cgroups=self.cgroups, accounting=True,
            ),
            "gres.conf": config.gres_conf(NODES, devices),
            "cgroup.conf": config.cgroup_conf(self.cgroups),
            "slurmdbd.conf": config.slurmdbd_conf(self.folder, host=host, head=self.head, port=port),
        }  # fmt: skip
        for name, text in files.items():
            (self.folder / name).write_text(text)
        (self.folder / "slurmdbd.conf").chmod(0o600)  # or slurmdbd refuses it

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(os.urandom(1024))
        (folder / "key").chmod(0o400)
        options = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        words = [f"--{name}={folder / file}" for name, file in options.items()]
        self._daemon("munged", ["munged", "-F", "--num-threads=2", *words])
        _until((folder / "socket").exists, "munged listens", self._logs)

    def _start_accounting(self) -> None:
        folder, socket = self.folder / "mariadb", self.folder / "mariadb" / "socket"
        folder.mkdir()
        shutil.chown(folder, "mysql", "mysql")
        install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={folder}/data", "--skip-test-db",
                   "--auth-root-authentication-method=normal", "--skip-name-resolve"]  # fmt: skip
        self.run(*install)
        options = {"datadir": folder / "data", "socket": socket, "pid-file": folder / "pid",
                   "innodb-buffer-pool-size": "32M", "innodb-flush-log-at-trx-commit": 0}  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()]
        self._daemon("mariadbd", ["mariadbd", "--no-defaults", "--user=mysql", "--skip-networking", *words])
        _until(socket.exists, "mariadbd listens", self._logs)
        self._daemon("slurmdbd", ["slurmdbd", "-D"], MYSQL_UNIX_PORT=str(socket))
        _until(
            lambda: self.run("sacctmgr", "-n", "show", "cluster", check=False).returncode == 0,
            "slurmdbd answers",
            self._logs,
        )
        manage = ("sacctmgr", "-i", "-Q")
        self.run(*manage, "add", "cluster", config.CLUSTER)
        self.run(*manage, "add", "account", ",".join(ACCOUNTS), f"cluster={config.CLUSTER}")
        self.run(*manage, "add", "qos", "two", "MaxSubmitJobsPerUser=2")
        self.run(*manage, "add", "user", "root", f"account={','.join(ACCOUNTS)}", "defaultaccount=proj1")
        self.run(*manage, "modify", "user", "root", "set", "qos=normal,two")

    def _daemon(self, name: str, command: Sequence[str], **environment: str) -> None:
        with open(self.folder / "log" / f"{name}.output", "ab") as output:
            process = subprocess.Popen(
                command,
                cwd="/",
                env={**variables(), **self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.place.note(name, process.pid)

    def _logs(self) -> str:
        """The last 2,000 characters of each log."""
        files = sorted((self.folder / "log").iterdir())
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-2000:]}" for file in files)

    def stop(self) -> None:
        """End all jobs and daemons, by their process ids, and delete the folder."""
        if self.watcher is not None:
            unwatch(self.watcher)
        self.place.end()


def _require() -> None:
    if os.geteuid() != 0:
        raise Unavailable("the tests' Slurm takes root: its nodes have networks and host names of their own")
    if _missing():
        subprocess.run(["sh", str(SETUP)], check=False, stdout=subprocess.DEVNULL)
    if missing := _missing():
        raise Unavailable(
            f"the tests' Slurm needs {', '.join(missing)}, which tests/support/setup.sh could not install"
        )


def _missing() -> list[str]:
    return [program for program in PROGRAMS if not shutil.which(program)]


def _until(condition: Callable[[], bool], what: str, logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {PATIENCE:.0f} s in vain until {what}\n{logs()}")
        time.sleep(0.1)
