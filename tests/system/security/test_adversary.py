"""A stranger on the host of a running campaign: nothing can be read, nothing changes, and the campaign goes on."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import zmq
from optuna.trial import TrialState

from ...support import local
from ...support.adversary import Stranger, greeting
from ...support.local import Here, end_of, ended, until

SECRET = "correct-horse-7Xq"
TRIALS = 120

OBJECTIVE = """
import json, os, time
from pathlib import Path

def objective(trial):
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    (trial.checkpoint_dir / "saved").write_text("state")
    print("hello")
    for step in range(3):
        if not (Path(__file__).parent / "go").exists():
            time.sleep(0.1)
        trial.report(trial.params["x"] + step, step=step)
    return trial.params["x"]
"""

STUDY = f"direction: minimize\nspace: {{x: {{float: [0.0, 1.0]}}}}\nsampler: random\nbudget: {{trials: {TRIALS}}}\n"


@dataclass
class Siege:
    """A campaign while strangers were at it, and what they came to.

    Attributes:
        ports: All that its processes listen on.
        sockets: Its Unix sockets that listen; abstract ones begin with ``@``.
        shown: What its processes show of themselves, by process id: command line and environment.
        modes: Of all that it made, while it ran.
        semaphores: Files in shared memory that it had.
        left: What is in its temporary folder at the end.
    """

    here: Here
    driver: int = 0
    ports: list[tuple[str, int]] = field(default_factory=list)
    sockets: list[str] = field(default_factory=list)
    shown: dict[int, tuple[str, str]] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    semaphores: set[str] = field(default_factory=set)
    heard: dict[str, str] = field(default_factory=dict)
    received: dict[str, list[str]] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    flood: dict[str, int] = field(default_factory=dict)
    progress: int = 0
    seen: list[str] = field(default_factory=list)
    knocked: dict[str, str] = field(default_factory=dict)
    meddled: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    summary: str = ""

    @property
    def bait(self) -> Path:
        """Made by whoever loads one of the stranger's pickles."""
        return self.here.folder / "loaded"

    def look(self) -> None:
        """At everything that the campaign has now."""
        listening = _unix_listeners()
        shared = {path.stat().st_ino: str(path) for path in Path("/dev/shm").glob("sem.*")}
        for process in [psutil.Process(self.driver), *psutil.Process(self.driver).children(recursive=True)]:
            with suppress(psutil.Error, OSError):
                proc = Path(f"/proc/{process.pid}")
                found = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
                self.ports += [(each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in found]
                links = {os.readlink(each) for each in (proc / "fd").iterdir()}
                self.sockets += [listening[link] for link in links & listening.keys()]
                inodes = re.findall(r"^\S+ \S+ \S+ \S+ (\d+) +/dev/shm/", (proc / "maps").read_text(), re.MULTILINE)
                self.semaphores |= {shared[int(inode)] for inode in inodes if int(inode) in shared}
                words, environment = ((proc / name).read_text(errors="replace") for name in ("cmdline", "environ"))
                self.shown[process.pid] = (words, environment)
        for place in (self.here.runs, self.here.folder / "state", self.here.folder / "tmp"):
            for path in place.rglob("*"):
                with suppress(FileNotFoundError):
                    if not path.is_symlink():
                        self.modes[str(path)] = path.lstat().st_mode

    def complete(self) -> int:
        return int(self.here.status("siege").get("complete", 0))


def _unix_listeners() -> dict[str, str]:
    """Paths of Unix sockets that listen, by how a descriptor of them reads."""
    rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {f"socket:[{row[6]}]": row[7] for row in rows if len(row) == 8 and int(row[3], 16) & 0x10000}


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    other = Stranger()
    yield other
    other.leave()


@pytest.fixture(scope="module")
def siege(stranger: Stranger) -> Iterator[Siege]:
    """The folder is one that everybody may enter, as on a login node; the temporary one is as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="siege-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    found = Siege(Here(folder, TMPDIR=str(folder / "tmp"), PGPASSWORD=SECRET))
    found.here.study("siege", OBJECTIVE, STUDY)
    command = ("run", "siege.yaml", "--set", "pools.local.workers_per_node=2")
    try:
        with ended(found.here.start(*command)) as process:
            found.driver = process.pid
            until(lambda: found.complete() >= 2, "some trials are done")
            found.look()
            _attack(found, stranger)
            found.here.write("go", "")
            found.summary = end_of(process).stdout
        found.left = [str(path) for path in (folder / "tmp").rglob("*")]
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attack(siege: Siege, stranger: Stranger) -> None:
    bait = str(siege.bait)
    siege.heard = stranger.do("talk", ports=siege.ports, path=bait)
    siege.received = stranger.do("impersonate", ports=siege.ports, path=bait, server_keys=_leaked(siege), seconds=2)
    siege.taken = stranger.do("pour", ports=siege.ports, most=200 * 2**20)
    siege.knocked = stranger.do("knock", sockets=siege.sockets)
    siege.seen = stranger.do(
        "look", folders=[str(siege.here.runs), str(siege.here.folder / "state"), *siege.semaphores]
    )
    siege.meddled = stranger.do("meddle", processes=list(siege.shown))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = 1000 if most == resource.RLIM_INFINITY else min(1000, most // 8)
    stranger.begin("flood", ports=siege.ports, number=number, seconds=4)
    before = siege.complete()
    until(lambda: siege.complete() >= before + 5, "trials are done while connections flood in")
    siege.flood = stranger.answer()
    siege.progress = siege.complete() - before


def _leaked(siege: Siege) -> list[str]:
    """Public keys of the campaign's servers: even who knows them gets in nowhere."""
    [run] = (siege.here.runs / "siege").glob("2*")
    [certificate] = run.glob("parsl/*/*/certificates/server.key")
    keys = re.findall(r'public-key = "(.{40})"', certificate.read_text())
    return [*keys, json.loads((run / "channel.key").read_text())["server_public"]]


@pytest.fixture
def other_user(stranger: Stranger) -> None:
    if not stranger.other:
        if os.environ.get("CI"):
            pytest.fail("a stranger is another user, and to become one takes root")
        pytest.skip("a stranger is another user, and to become one takes root")


# -- ports ------------------------------------------------------------------------------------------------------------


def test_a_stranger_hears_nothing_but_that_a_key_is_needed(siege: Siege) -> None:
    """On every port, whatever is sent: ZeroMQ's greeting, and where the driver is the client an empty HELLO."""
    assert len(siege.ports) >= 5, "the driver's four and its interchange's"
    assert {host for host, _ in siege.ports} == {"127.0.0.1"}
    assert len(siege.heard) >= 15 * len(siege.ports)
    told = greeting(b"CURVE")
    for name, digits in siege.heard.items():
        said = bytes.fromhex(digits)
        begin, rest = said[:64], said[64:]
        allowed = {told[: len(begin)], greeting(b"CURVE", server=True)[: len(begin)]}
        assert begin in allowed, (name, said)
        assert not rest or (rest.startswith(b"\4\xc8\5HELLO\1\0" + bytes(72)) and len(rest) <= 202), (name, said)


def test_no_handshake_succeeds_without_the_keys_of_the_campaign(siege: Siege) -> None:
    """As any kind of socket, without keys, with some, as a server, and knowing the public key of the real one."""
    assert siege.received == {"handshakes": []}


def test_the_stranger_s_ways_do_work_where_a_socket_is_open(stranger: Stranger, tmp_path: Path) -> None:
    context = zmq.Context()
    for kind in (zmq.ROUTER, zmq.REP):
        socket = context.socket(kind)
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        found = stranger.do("impersonate", ports=[["127.0.0.1", port]], path=str(tmp_path), server_keys=[], seconds=0.5)
        assert any(found["handshakes"]), kind
        assert b"touch" in socket.recv_multipart()[-1]
        socket.close()
    context.term()


def test_no_pickle_of_a_stranger_is_loaded(siege: Siege) -> None:
    assert not siege.bait.exists()


def test_nobody_fills_the_memory_with_a_message_before_proving_who_they_are(siege: Siege) -> None:
    """What the kernel holds for a connection aside, nothing of a message is taken that is longer than any may be."""
    assert len(siege.taken) == len(siege.ports)
    assert max(siege.taken.values()) < 50 * 2**20


def test_floods_do_not_stop_a_campaign(siege: Siege) -> None:
    assert siege.flood["held"] >= 1000
    assert siege.progress >= 5


def test_nothing_that_a_stranger_did_changed_anything(siege: Siege) -> None:
    assert f"{TRIALS}: {TRIALS} complete, 0 pruned, 0 failed" in siege.summary
    trials = siege.here.optuna("siege").trials
    assert [trial.number for trial in trials] == list(range(TRIALS))
    for trial in trials:
        x = trial.params["x"]
        assert (trial.state, trial.value) == (TrialState.COMPLETE, x)
        assert trial.intermediate_values == {0: x, 1: x + 1, 2: x + 2}
        assert trial.user_attrs["pilotune:attempts"] == 1
    log = Path(siege.here.status("siege")["run_dir"], "driver.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_strangers_who_take_all_descriptors_cost_no_trial(
    stranger: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system allows 200 only."""
    program = tmp_path / "pilotune"
    program.write_text(f'#!/bin/sh\nulimit -n 200\nexec {local.PILOTUNE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(local, "PILOTUNE", program)
    found = Siege(Here(tmp_path))
    found.here.study("siege", OBJECTIVE, STUDY.replace(f"trials: {TRIALS}", "trials: 12"))
    with ended(found.here.start("run", "siege.yaml")) as process:
        found.driver = process.pid
        until(lambda: found.complete() >= 1, "a trial is done")
        found.look()
        assert len(found.ports) >= 5
        flood = stranger.do("flood", ports=found.ports, number=400, seconds=3)
        found.here.write("go", "")
        assert "12: 12 complete, 0 pruned, 0 failed" in end_of(process).stdout
    assert flood["opened"] > 400, "more than there are descriptors"


# -- files, sockets and processes -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("other_user")
def test_another_user_reads_and_writes_none_of_the_files(siege: Siege) -> None:
    assert siege.seen == []
    assert siege.semaphores


@pytest.mark.usefixtures("other_user")
def test_another_user_gets_into_no_socket_and_no_process(siege: Siege) -> None:
    assert siege.sockets, "a worker pool has one"
    assert set(siege.knocked.values()) == {"PermissionError"}
    assert len(siege.shown) >= 6, "driver, interchange, node, pool, workers, fork servers"
    assert siege.meddled == []


def test_everything_that_a_campaign_makes_is_its_user_s_alone(siege: Siege) -> None:
    names = {Path(path).name for path in siege.modes}
    assert names >= {"study.db", "study.db-wal", "study.db-shm", "channel.key", "server.key_secret", "local-0.sh",
                     "driver.log", "status.json", "environment.json", "saved", "siege.json", "manager.log"}  # fmt: skip
    assert any(name.startswith("pymp-") for name in names)
    assert [path for path, mode in siege.modes.items() if mode & 0o077] == []
    assert not [path for path in siege.sockets if path.startswith("@")], "abstract sockets are everybody's"


def test_nothing_is_left_in_shared_places(siege: Siege) -> None:
    assert siege.left == []
    assert [name for name in siege.semaphores if os.path.exists(name)] == []


# -- the password -----------------------------------------------------------------------------------------------------


def test_the_database_s_password_is_in_no_process_but_the_driver(siege: Siege) -> None:
    assert SECRET in siege.shown[siege.driver][1], "as the user's shell gave it"
    for pid, (words, environment) in siege.shown.items():
        assert SECRET not in words
        assert SECRET not in environment or pid == siege.driver, words


def test_the_database_s_password_is_in_no_file(siege: Siege) -> None:
    files = [path for path in siege.here.folder.rglob("*") if path.is_file()]
    assert any(path.name == "environment.json" for path in files), "a trial's environment"
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in siege.summary
