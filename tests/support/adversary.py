"""An adversary on this host: another user, who tries every port, socket, file and process of a campaign.

``python -m tests.support.adversary UID`` becomes that user once everything is imported. It then carries out the
actions that come as JSON lines on stdin, ``{"do": NAME, ...arguments}``, and answers each with a JSON line on stdout.
It ends when stdin is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

NOBODY = 65534
SIGNATURE = b"\xff\0\0\0\0\0\0\0\1\x7f"
"""The first bytes of ZMTP 3 (https://rfc.zeromq.org/spec/37/)."""

HELLO = b"\4\xc8\5HELLO\1\0" + bytes(72) + os.urandom(32) + os.urandom(8) + os.urandom(80)
"""The first command of a CURVE client that does not know the server's key."""


def greeting(mechanism: bytes, *, server: bool = False) -> bytes:
    return SIGNATURE + b"\3\1" + mechanism.ljust(20, b"\0") + bytes([server]) + bytes(31)


def shell_pickle(path: str) -> bytes:
    """A pickle that creates the file ``path`` when it is loaded."""
    return b"cos\nsystem\n(V" + f"touch {path}".encode() + b"\ntR."


# -- the actions ----------------------------------------------------------------------------------------------------


def rubbish(path: str) -> dict[str, bytes]:
    """What is sent to a port, by description. ``path``: the file that the pickles among it create when loaded."""
    bomb = shell_pickle(path)
    null, curve = greeting(b"NULL"), greeting(b"CURVE")
    ready = b"\4\x19\5READY\x0bSocket-Type\0\0\0\6DEALER"
    frames = b"\0" + bytes([len(bomb)]) + bomb
    return {
        "noise": os.urandom(100_000),
        "zeros": bytes(100_000),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "a bare pickle": bomb,
        "ZMTP 1": b"\1\0" + b"\x7f\0" + frames,
        "ZMTP 2": SIGNATURE + b"\1\5\0\0" + frames,
        "no security": null + ready + frames,
        "PLAIN": greeting(b"PLAIN") + b"\4\x12\5HELLO\4root\4root" + frames,
        "an unknown mechanism": greeting(b"GSSAPI") + frames,
        "CURVE as a server": greeting(b"CURVE", server=True) + frames,
        "CURVE with a made-up HELLO": curve + HELLO + frames,
        "CURVE, no handshake": curve + frames,
        "an endless frame": curve + b"\6" + struct.pack(">Q", 2**62) + bytes(1_000_000),
        "a frame of 1 GB": curve + b"\2" + struct.pack(">Q", 2**30) + bytes(1_000_000),
        "half a greeting": curve[:40],
        "a negative frame": curve + b"\6" + b"\xff" * 8 + bytes(100),
    }


def talk(ports: list[list[Any]], path: str) -> dict[str, str]:
    """Send all rubbish to every port; what came back, as hexadecimal digits, by port and what was sent."""
    heard: dict[str, str] = {}

    def try_port(host: str, port: int) -> None:
        for name, data in rubbish(path).items():
            heard[f"{port}: {name}"] = _exchange(host, port, data).hex()

    threads = [threading.Thread(target=try_port, args=place) for place in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def _exchange(host: str, port: int, data: bytes, patience: float = 0.3) -> bytes:
    """Send ``data``; return what comes back until the other end closes, or is silent for ``patience`` seconds."""
    heard = b""
    with socket.socket() as connection, contextlib.suppress(OSError):
        connection.settimeout(patience)
        connection.connect((host, port))
        try:
            connection.sendall(data)
        except TimeoutError:
            pass
        while piece := connection.recv(65536):
            heard += piece
    return heard


def pour(ports: list[list[Any]], most: int) -> dict[str, int]:
    """Announce a message of 1 GB to each port and send up to ``most`` bytes of it.

    Returns how many bytes each port accepted before it closed the connection.
    """
    piece = bytes(2**20)
    taken = {}
    for host, port in ports:
        sent = 0
        with socket.socket() as connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.connect((host, port))
            connection.sendall(greeting(b"CURVE") + b"\6" + struct.pack(">Q", 2**30))
            while sent < most:
                sent += connection.send(piece)
        taken[str(port)] = sent
    return taken


def impersonate(ports: list[list[Any]], path: str, server_keys: list[str], seconds: float) -> dict[str, list[str]]:
    """Speak correct ZeroMQ with every kind of socket, without keys and with own keys, as a client and as a server.

    Args:
        ports: Host and port of each socket to try.
        path: The file that the pickles sent create when loaded.
        server_keys: Public keys of the campaign's servers (Z85), as if they had leaked.
        seconds: How long to try.

    Returns what was received by kind of socket (hexadecimal digits), and the names of those whose handshake succeeded
    as ``handshakes``.
    """
    bomb, context = shell_pickle(path), zmq.Context()
    kinds = (zmq.DEALER, zmq.ROUTER, zmq.REQ, zmq.REP, zmq.PAIR, zmq.PULL, zmq.SUB)
    made, received = [], {"handshakes": []}
    for host, port in ports:
        for kind in kinds:
            for keys in ("", "server", "made up", *server_keys):
                made.append((f"{port} {kind.name} {keys}", *_speaker(context, kind, keys, f"tcp://{host}:{port}")))
    sockets = [speaker for _, speaker, _ in made]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, speaker, monitor in made:
            with contextlib.suppress(zmq.ZMQError):  # none is there to send to, or such a socket cannot
                speaker.send_multipart([bomb] if speaker.type != zmq.ROUTER else [b"x", bomb], zmq.NOBLOCK)
            with contextlib.suppress(zmq.ZMQError):
                answer = b"".join(speaker.recv_multipart(zmq.NOBLOCK)).hex()
                received.setdefault(name, []).append(answer)
            with contextlib.suppress(zmq.ZMQError):
                monitor.recv_multipart(zmq.NOBLOCK)
                received["handshakes"].append(name)
        time.sleep(0.1)
    for speaker in sockets:
        speaker.disable_monitor()
    context.destroy(0)
    return received


def _speaker(context: zmq.Context, kind: int, keys: str, url: str) -> tuple[zmq.Socket, zmq.Socket]:
    speaker = context.socket(kind)
    speaker.linger = 0
    if keys:
        public, secret = zmq.curve_keypair()
        speaker.curve_publickey, speaker.curve_secretkey = public, secret
        if keys == "server":
            speaker.curve_server = True
        else:
            speaker.curve_serverkey = zmq.curve_keypair()[0] if keys == "made up" else keys.encode()
    if kind == zmq.SUB:
        speaker.subscribe(b"")
    monitor = speaker.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    speaker.connect(url)
    return speaker, monitor


class Flood:
    """Keeps connections open, and opens new ones as soon as the other end closes some."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        self.opened = self.refused = 0

    def keep(self, ports: list[list[Any]], number: int, seconds: float) -> None:
        """Hold ``number`` connections to each port for ``seconds``: silent ones, half greetings and whole ones."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        places = [(host, port) for host, port in ports]
        while time.monotonic() < deadline:
            held = Counter(place for _, place in self.open.values())
            for place in places:
                for _ in range(min(200, number - held[place])):
                    self._open(place, poller)
            self._drop_closed(poller)

    def _open(self, place: tuple[str, int], poller: Any) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.connect(place)
        except BlockingIOError:
            pass
        except OSError:
            self.refused += 1
            connection.close()
            return
        self.opened += 1
        with contextlib.suppress(OSError):
            said = (b"", greeting(b"CURVE")[:20], greeting(b"CURVE"), os.urandom(50))[self.opened % 4]
            connection.send(said)
        self.open[connection.fileno()] = (connection, place)
        poller.register(connection, select.POLLIN | select.POLLHUP)

    def _drop_closed(self, poller: Any) -> None:
        for number, _ in poller.poll(20):
            connection, _ = self.open[number]
            try:
                closed = not connection.recv(65536)
            except BlockingIOError:
                closed = False
            except OSError:
                closed = True
            if closed:
                poller.unregister(number)
                del self.open[number]
                connection.close()

    def close(self) -> None:
        for connection, _ in self.open.values():
            connection.close()
        self.open.clear()


def flood(ports: list[list[Any]], number: int, seconds: float) -> dict[str, int]:
    """Hold ``number`` connections to each port for ``seconds``; how many were opened, refused, and open at the end."""
    hold = Flood()
    try:
        hold.keep(ports, number, seconds)
        return {"opened": hold.opened, "refused": hold.refused, "held": len(hold.open)}
    finally:
        hold.close()


def knock(sockets: list[str]) -> dict[str, str]:
    """Connect to Unix sockets (abstract ones begin with ``@``); the error by path, empty where it succeeded."""
    said = {}
    for path in sockets:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect("\0" + path[1:] if path.startswith("@") else path)
                said[path] = ""
            except OSError as error:
                said[path] = type(error).__name__
    return said


def look(folders: list[str]) -> list[str]:
    """Every file and folder in these folders, themselves included, that can be listed, read or written."""
    return [f"{how} {path}" for folder in folders for path in _below(folder) for how in _allowed(path)]


def _below(folder: str) -> Iterator[str]:
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (os.path.join(parent, name) for name in (*folders, *files))


def _allowed(path: str) -> Iterator[str]:
    ways = [(os.R_OK, "read"), (os.W_OK, "write")]
    if os.path.isdir(path):
        ways.append((os.X_OK, "enter"))
    for way, name in ways:
        if os.path.lexists(path) and not os.path.islink(path) and os.access(path, way, effective_ids=True):
            yield name


def meddle(processes: list[int]) -> list[str]:
    """What can be done to processes: send signals; read their memory, environment and open files."""
    done = []
    for pid in processes:
        for name in ("environ", "mem", "maps", "fd", "cwd", "exe", "stack", "io"):
            path = f"/proc/{pid}/{name}"
            with contextlib.suppress(OSError):
                if name == "fd":
                    os.listdir(path)
                elif name in ("cwd", "exe"):
                    os.readlink(path)
                else:
                    Path(path).read_bytes()
                done.append(path)
        with contextlib.suppress(OSError):  # not permitted, or a trial that has ended
            os.kill(pid, 0)
            done.append(f"kill {pid}")
    return done


ACTIONS = {each.__name__: each for each in (talk, pour, impersonate, flood, knock, look, meddle)}


# -- for the tests ---------------------------------------------------------------------------------------------


class Adversary:
    """The process of an adversary.

    Attributes:
        other: Whether it is another user than the tests; False where these do not run as root.
    """

    def __init__(self) -> None:
        self.other = os.geteuid() == 0
        words = [sys.executable, "-m", "tests.support.adversary", str(NOBODY if self.other else os.geteuid())]
        root = Path(__file__).resolve().parents[2]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def begin(self, action: str, **arguments: Any) -> None:
        """Start an action; :meth:`answer` waits for its result."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the adversary's process has ended: {self._process.communicate()[1]}"
        return json.loads(line)

    def do(self, action: str, **arguments: Any) -> Any:
        self.begin(action, **arguments)
        return self.answer()

    def leave(self) -> None:
        self._process.communicate(timeout=30)


def main(uid: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir("/")
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    for line in sys.stdin:
        order = json.loads(line)
        action = ACTIONS[order.pop("do")]
        print(json.dumps(action(**order)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
