"""An adversary on the host of a running campaign can read nothing, change nothing and stop nothing."""

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
from ...support.adversary import Adversary, greeting
from ...support.local import Here, end_of, ended, until

pytestmark = pytest.mark.real

SECRET = "correct-horse-7Xq"
TRIALS = 120

OBJECTIVE = """
import json, os, time
from pathlib import Path

STUDY, WAIT = Path(__file__).parent, {"flood": 80, "go": 118}

def objective(trial):
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    (trial.checkpoint_dir / "saved").write_text("state")
    print("hello")
    while any(trial.number >= number and not (STUDY / name).exists() for name, number in WAIT.items()):
        time.sleep(0.05)
    for step in range(3):
        if not (STUDY / "go").exists():
            time.sleep(0.1)
        trial.report(trial.params["x"] + step, step=step)
    return trial.params["x"]
"""
"""From a number on, trials wait for the file ``flood``, and the last two for ``go``: the campaign lasts as long as what
is tried at it, however slow the machine is.
"""

STUDY = f"direction: minimize\nspace: {{x: {{float: [0.0, 1.0]}}}}\nsampler: random\nbudget: {{trials: {TRIALS}}}\n"


@dataclass
class AttackedCampaign:
    """A campaign under attack, and what the attacks achieved.

    Attributes:
        here: The folder of the user who runs it.
        driver: Process id.
        ports: All TCP ports on which its processes listen.
        sockets: Unix sockets on which they listen; abstract ones begin with ``@``.
        shown: The command line and environment of each process, by process id.
        modes: The file modes of everything that it created, by path, while it ran.
        semaphores: Its files in shared memory.
        heard, received, taken, knocked, seen, meddled, flood: What the actions of the adversary returned.
        progress: Trials that completed during the flood.
        left: Paths in its temporary folder at the end.
        summary: What the driver printed at the end.
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
        """The file that a pickle of the adversary creates when it is loaded."""
        return self.here.folder / "loaded"

    def look(self) -> None:
        """Note everything that the campaign has now."""
        listening = _unix_listeners()
        shared = {path.stat().st_ino: str(path) for path in Path("/dev/shm").glob("sem.*")}
        for process in [psutil.Process(self.driver), *psutil.Process(self.driver).children(recursive=True)]:
            with suppress(psutil.Error, OSError):
                proc = Path(f"/proc/{process.pid}")
                found = [each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
                self.ports += [(each.laddr.ip.removeprefix("::ffff:"), each.laddr.port) for each in found]
                self.sockets += [listening[link] for link in _links(proc / "fd") & listening.keys()]
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
        return int(self.here.status("attacked").get("complete", 0))


def _links(folder: Path) -> set[str]:
    """What the links of a folder point to; some may vanish meanwhile."""
    found = set()
    for each in folder.iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(each))
    return found


def _unix_listeners() -> dict[str, str]:
    """Paths of listening Unix sockets, by the text of a link to their descriptors."""
    rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {f"socket:[{row[6]}]": row[7] for row in rows if len(row) == 8 and int(row[3], 16) & 0x10000}


@pytest.fixture(scope="module")
def adversary() -> Iterator[Adversary]:
    other = Adversary()
    yield other
    other.leave()


@pytest.fixture(scope="module")
def attacked(adversary: Adversary) -> Iterator[AttackedCampaign]:
    """The user's folder may be entered by everybody, as on a login node; the temporary folder has the mode of /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="attacked-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    found = AttackedCampaign(Here(folder, TMPDIR=str(folder / "tmp"), PGPASSWORD=SECRET))
    found.here.study("attacked", OBJECTIVE, STUDY)
    command = ("run", "attacked.yaml", "--set", "pools.local.workers_per_node=2")
    try:
        with ended(found.here.start(*command)) as process:
            found.driver = process.pid
            until(lambda: found.complete() >= 2, "some trials are done")
            found.look()
            _attack(found, adversary)
            found.here.write("go", "")
            found.summary = end_of(process).stdout
        found.left = [str(path) for path in (folder / "tmp").rglob("*")]
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _attack(attacked: AttackedCampaign, adversary: Adversary) -> None:
    bait = str(attacked.bait)
    attacked.heard = adversary.do("talk", ports=attacked.ports, path=bait)
    attacked.received = adversary.do(
        "impersonate", ports=attacked.ports, path=bait, server_keys=_leaked(attacked), seconds=2
    )
    attacked.taken = adversary.do("pour", ports=attacked.ports, most=200 * 2**20)
    attacked.knocked = adversary.do("knock", sockets=attacked.sockets)
    attacked.seen = adversary.do(
        "look", folders=[str(attacked.here.runs), str(attacked.here.folder / "state"), *attacked.semaphores]
    )
    attacked.meddled = adversary.do("meddle", processes=list(attacked.shown))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = 1000 if most == resource.RLIM_INFINITY else min(1000, most // 8)
    adversary.begin("flood", ports=attacked.ports, number=number, seconds=4)
    attacked.here.write("flood", "")
    before = attacked.complete()
    until(lambda: attacked.complete() >= before + 5, "trials are done while connections flood in")
    attacked.flood = adversary.answer()
    attacked.progress = attacked.complete() - before


def _leaked(attacked: AttackedCampaign) -> list[str]:
    """Public keys of the campaign's servers: they are not enough to get in."""
    [run] = (attacked.here.runs / "attacked").glob("2*")
    [certificate] = run.glob("parsl/*/*/certificates/server.key")
    keys = re.findall(r'public-key = "(.{40})"', certificate.read_text())
    return [*keys, json.loads((run / "channel.key").read_text())["server_public"]]


@pytest.fixture
def other_user(adversary: Adversary) -> None:
    if not adversary.other:
        if os.environ.get("CI"):
            pytest.fail("the adversary is another user, which takes root")
        pytest.skip("the adversary is another user, which takes root")


# -- ports ------------------------------------------------------------------------------------------------------------


def test_an_adversary_learns_only_that_a_key_is_needed(attacked: AttackedCampaign) -> None:
    """Whatever is sent, a port answers with ZeroMQ's greeting, and an empty HELLO where the driver is the client."""
    assert len(attacked.ports) >= 5, "the driver's four and its interchange's"
    assert {host for host, _ in attacked.ports} == {"127.0.0.1"}
    assert len(attacked.heard) >= 15 * len(attacked.ports)
    told = greeting(b"CURVE")
    for name, digits in attacked.heard.items():
        said = bytes.fromhex(digits)
        begin, rest = said[:64], said[64:]
        allowed = {told[: len(begin)], greeting(b"CURVE", server=True)[: len(begin)]}
        assert begin in allowed, (name, said)
        assert not rest or (rest.startswith(b"\4\xc8\5HELLO\1\0" + bytes(72)) and len(rest) <= 202), (name, said)


def test_no_handshake_succeeds_without_the_keys_of_the_campaign(attacked: AttackedCampaign) -> None:
    """With any kind of socket: without keys, with own keys, as a server, and with the public key of the real server."""
    assert attacked.received == {"handshakes": []}


def test_the_same_attacks_succeed_on_an_open_socket(adversary: Adversary, tmp_path: Path) -> None:
    context = zmq.Context()
    for kind in (zmq.ROUTER, zmq.REP):
        socket = context.socket(kind)
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        found = adversary.do(
            "impersonate", ports=[["127.0.0.1", port]], path=str(tmp_path), server_keys=[], seconds=0.5
        )
        assert any(found["handshakes"]), kind
        assert b"touch" in socket.recv_multipart()[-1]
        socket.close()
    context.term()


def test_no_pickle_of_an_adversary_is_loaded(attacked: AttackedCampaign) -> None:
    assert not attacked.bait.exists()


def test_no_long_message_is_accepted_before_the_handshake(attacked: AttackedCampaign) -> None:
    """Apart from the kernel's buffers, nothing is taken of a message that is longer than the limit."""
    assert len(attacked.taken) == len(attacked.ports)
    assert max(attacked.taken.values()) < 50 * 2**20


def test_floods_do_not_stop_a_campaign(attacked: AttackedCampaign) -> None:
    assert attacked.flood["held"] >= 1000
    assert attacked.progress >= 5


def test_no_attack_changes_the_results(attacked: AttackedCampaign) -> None:
    assert f"{TRIALS}: {TRIALS} complete, 0 pruned, 0 failed" in attacked.summary
    trials = attacked.here.optuna("attacked").trials
    assert [trial.number for trial in trials] == list(range(TRIALS))
    for trial in trials:
        x = trial.params["x"]
        assert (trial.state, trial.value) == (TrialState.COMPLETE, x)
        assert trial.intermediate_values == {0: x, 1: x + 1, 2: x + 2}
        assert trial.user_attrs["pilotune:attempts"] == 1
    log = Path(attacked.here.status("attacked")["run_dir"], "driver.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_no_trial_is_lost_when_connections_take_all_file_descriptors(
    adversary: Adversary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a system that allows 200."""
    program = tmp_path / "pilotune"
    program.write_text(f'#!/bin/sh\nulimit -n 200\nexec {local.PILOTUNE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(local, "PILOTUNE", program)
    found = AttackedCampaign(Here(tmp_path))
    objective = OBJECTIVE.replace('"flood": 80, "go": 118', '"flood": 4, "go": 11')
    found.here.study("attacked", objective, STUDY.replace(f"trials: {TRIALS}", "trials: 12"))
    with ended(found.here.start("run", "attacked.yaml")) as process:
        found.driver = process.pid
        until(lambda: found.complete() >= 1, "a trial is done")
        found.look()
        assert len(found.ports) >= 5
        adversary.begin("flood", ports=found.ports, number=400, seconds=3)
        found.here.write("flood", "")
        flood = adversary.answer()
        found.here.write("go", "")
        assert "12: 12 complete, 0 pruned, 0 failed" in end_of(process).stdout
    assert flood["opened"] > 400, "more than there are descriptors"


# -- files, sockets and processes -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("other_user")
def test_another_user_reads_and_writes_none_of_the_files(attacked: AttackedCampaign) -> None:
    assert attacked.seen == []
    assert not attacked.semaphores, "worker pools share no memory"


@pytest.mark.usefixtures("other_user")
def test_another_user_reaches_no_socket_and_no_process(attacked: AttackedCampaign) -> None:
    assert attacked.sockets == [], "nothing listens on a Unix socket"
    assert len(attacked.shown) >= 6, "driver, interchange, node, pool, workers, fork servers"
    assert attacked.meddled == []


def test_only_its_user_may_access_what_a_campaign_creates(attacked: AttackedCampaign) -> None:
    names = {Path(path).name for path in attacked.modes}
    assert names >= {"study.db", "study.db-wal", "study.db-shm", "channel.key", "server.key_secret", "local-0.sh",
                     "driver.log", "status.json", "environment.json", "saved", "attacked.json",
                     "manager.log"}  # fmt: skip
    assert [path for path, mode in attacked.modes.items() if mode & 0o077] == []


def test_nothing_is_left_in_shared_places(attacked: AttackedCampaign) -> None:
    assert attacked.left == []
    assert [name for name in attacked.semaphores if os.path.exists(name)] == []


# -- the password -----------------------------------------------------------------------------------------------------


def test_the_database_s_password_is_in_no_process_but_the_driver(attacked: AttackedCampaign) -> None:
    assert SECRET in attacked.shown[attacked.driver][1], "as the user's shell gave it"
    for pid, (words, environment) in attacked.shown.items():
        assert SECRET not in words
        assert SECRET not in environment or pid == attacked.driver, words


def test_the_database_s_password_is_in_no_file(attacked: AttackedCampaign) -> None:
    files = [path for path in attacked.here.folder.rglob("*") if path.is_file()]
    assert any(path.name == "environment.json" for path in files), "a trial's environment"
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in attacked.summary
