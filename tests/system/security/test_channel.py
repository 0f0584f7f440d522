"""The report channel of a real campaign: clients without its keys, and invalid messages from clients that have them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import zmq

from pilotune.pipeline.trial.protocol import Report, Started, Stop, Suggest, Suggested, Verdict, decode, encode

from ...support.local import Here, begun, end_of, ended, patient, until

DEEP = "[" * 100_000
RUBBISH = [
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"[1, 2]",
    b'{"type": "report"}',
    b'{"type": "nothing", "token": "0.1.c"}',
    DEEP.encode(),
    json.dumps({"type": "report", "token": ["a"], "request": 1, "step": 1, "value": 1.0}).encode(),
    json.dumps({"type": "report", "token": "TOKEN", "request": None, "step": 1, "value": 1.0}).encode(),
    json.dumps({"type": "report", "token": "TOKEN", "request": 9001, "step": "1", "value": 1.0}).encode(),
    json.dumps({"type": "report", "token": "TOKEN", "request": 9002, "step": True, "value": 1.0}).encode(),
    json.dumps({"type": "report", "token": "TOKEN", "request": 9003, "step": 1, "value": 10**400}).encode(),
    json.dumps({"type": "started", "token": {}, "host": "h", "pid": 1, "block": "", "worker": ""}).encode(),
    json.dumps({"type": "suggest", "token": "TOKEN", "request": 9004, "name": 5, "distribution": "{}"}).encode(),
]
"""Payloads that are no messages."""

SENSELESS = [
    Started("7.7.nobody", "h", 1, "", ""),
    Report("7.7.nobody", 1, 1, 1.0),
    Verdict("TOKEN", 1, "kill"),
    Stop("TOKEN", "kill"),
    Suggested("TOKEN", 1, 5),
    Report("TOKEN", 10_001, 10**12, 1.0),
    Report("TOKEN", 10_002, -1, 1.0),
    *[
        Suggest("TOKEN", 10_003 + place, name, distribution)
        for place, (name, distribution) in enumerate(
            [("y", ""), ("y", "{}"), ("y", "null"), ("y", DEEP), ("y" * 5000, ""), ("", '{"name": "IntDistribution"}')]
        )
    ],
]
"""Payloads with the form of a message, and no meaning."""


@pytest.mark.parametrize("data", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a message of the report channel"):
        decode(data)


@pytest.mark.parametrize("message", SENSELESS, ids=range(len(SENSELESS)))
def test_a_message_survives_the_wire(message) -> None:
    assert decode(encode(message)) == message


def ports(pid: int) -> set[int]:
    """TCP ports on which a process listens."""
    found = psutil.Process(pid).net_connections("tcp")
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


class Client:
    """A socket that sends payloads to each port of a driver."""

    def __init__(self, keys: dict[str, str] | None):
        self.context, self.keys = zmq.Context(), keys

    def say(self, port: int, *payloads: bytes) -> list[bytes]:
        """Return what comes back within half a second after the last payload."""
        dealer = self.context.socket(zmq.DEALER)
        dealer.linger = 0
        if self.keys:
            dealer.curve_serverkey = self.keys["server_public"].encode()
            dealer.curve_publickey = self.keys["client_public"].encode()
            dealer.curve_secretkey = self.keys["client_secret"].encode()
        dealer.connect(f"tcp://127.0.0.1:{port}")
        for payload in payloads:
            dealer.send(payload)
        found = []
        while dealer.poll(500):
            found.append(dealer.recv())
        dealer.close()
        return found

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.term()


def foreign_keys(real: dict[str, str]) -> Iterator[dict[str, str]]:
    """Keys of a client that knows the server's public key, and of one that does not."""
    public, secret = (key.decode() for key in zmq.curve_keypair())
    yield {**real, "client_public": public, "client_secret": secret}
    other, _ = (key.decode() for key in zmq.curve_keypair())
    yield {"server_public": other, "client_public": public, "client_secret": secret}


@pytest.mark.real
def test_neither_unknown_clients_nor_rubbish_change_or_stop_a_campaign(tmp_path: Path) -> None:
    here = Here(tmp_path)
    patient(here, "talk", ["silent", "quick"])
    with ended(here.start("run", "talk.yaml", "--set", "pools.local.workers_per_node=1")) as process:
        status = here.await_status("talk", lambda status: status["running"] == 1, "a trial runs")
        until(lambda: begun(here), "it has begun")
        run = Path(status["run_dir"])
        token = f"0.1.{status['campaign']}"
        keys = json.loads((run / "channel.key").read_text())
        report = encode(Report(token, 1, 1, -5.0))
        for port in ports(process.pid):
            for stolen in (None, *foreign_keys(keys)):
                with Client(stolen) as client:
                    assert client.say(port, report) == []
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(b"GET / HTTP/1.0\r\n\r\n" + os.urandom(1000))
        with Client(keys) as client:
            payloads = [data.replace(b"TOKEN", token.encode()) for data in RUBBISH]
            payloads += [encode(message).replace(b"TOKEN", token.encode()) for message in SENSELESS]
            answers = [decode(data) for port in ports(process.pid) for data in client.say(port, *payloads)]
        refused = [answer for answer in answers if isinstance(answer, Suggested)]
        assert len(refused) == 6
        assert all(answer.error for answer in refused)
        assert Stop("7.7.nobody", "kill") in answers

        assert private(run), "files of a run are for its user only"
        here.write("go", "")
        summary = end_of(process).stdout
    assert "2: 2 complete" in summary
    first = here.optuna("talk").trials[0]
    assert first.intermediate_values == {}, "a report of an adversary was recorded"
    assert set(first.params) == {"n", "mode"}
    assert "dropped an invalid message" in (run / "driver.log").read_text()


def private(run: Path) -> bool:
    """Whether only the user may read the files of a run; its sockets and links do not count."""
    found = [run, *run.rglob("*")]
    assert {path.name for path in found} >= {"driver.log", "status.json", "channel.key", "study.yaml", "trials"}
    opened = [path for path in found if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert not opened, opened
    return True
