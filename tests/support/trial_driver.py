"""A driver for the worker's tests: a real CurveZMQ socket in a thread, which answers by a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from pilotune.pipeline.trial.protocol import (
    AttemptSpec,
    ChannelAddress,
    Limits,
    Message,
    ObjectiveSpec,
    Report,
    Started,
    Stop,
    Suggest,
    Suggested,
    Verdict,
    decode,
    encode,
)
from pilotune.pipeline.worker.node.channel import make_keys

Answer = Callable[[Message], Message | list[Message] | None]


class Driver:
    """Answers each message by ``answer`` (default: go on, and the lower end of each range), and keeps the messages."""

    def __init__(self, folder: Path, answer: Answer | None = None):
        self.answer = answer or go_on
        self.got: list[Message] = []
        key_file = folder / "channel.key"
        secret = make_keys(key_file)
        keys = json.loads(key_file.read_text())
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.curve_server = True
        self._socket.curve_secretkey = secret
        self._socket.curve_publickey = keys["server_public"].encode()
        self._socket.linger = 0
        self._authenticator.configure_curve_callback(domain="*", credentials_provider=_Only(keys["client_public"]))
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = ChannelAddress(url=f"tcp://127.0.0.1:{port}", key_file=str(key_file))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            if not self._socket.poll(50):
                continue
            identity, payload = self._socket.recv_multipart()
            message = decode(payload)
            self.got.append(message)
            replies = self.answer(message)
            for reply in replies if isinstance(replies, list) else [replies]:
                if reply is not None:
                    self._socket.send_multipart([identity, encode(reply)])

    def close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            self._socket.close()
            self._authenticator.stop()
            self._context.term()

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.got if isinstance(message, kind)]


class _Only:
    def __init__(self, key: str):
        self.key = key.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self.key  # in Z85


def go_on(message: Message) -> Message | None:
    if isinstance(message, Report):
        return Verdict(message.token, message.request)
    if isinstance(message, Suggest):
        return suggested(message)
    return None


def suggested(message: Suggest) -> Suggested:
    attributes = json.loads(message.distribution)["attributes"]
    value = attributes["choices"][0] if "choices" in attributes else attributes["low"]
    return Suggested(message.token, message.request, value)


def verdict_at(step: int, stop: Any) -> Answer:
    """``stop`` for reports from ``step`` on."""

    def answer(message: Message) -> Message | None:
        if isinstance(message, Report):
            return Verdict(message.token, message.request, stop if message.step >= step else "")
        return go_on(message)

    return answer


def stop_at_start(how: Any) -> Answer:
    """Sends a Stop, unasked, as soon as the attempt runs."""

    def answer(message: Message) -> Message | None:
        return Stop(message.token, how) if isinstance(message, Started) else go_on(message)

    return answer


def make_spec(folder: Path, objective: ObjectiveSpec, **changes: Any) -> dict[str, Any]:
    """An attempt of trial 7 with x = 1.5 in ``folder``; ``changes`` are fields of AttemptSpec or of Limits."""
    limits = {name: changes.pop(name) for name in ("timeout", "memory", "max_output", "grace") if name in changes}
    number = changes.pop("number", 7)
    fields: dict[str, Any] = {
        "token": f"{number}.1.c",
        "study": "test",
        "number": number,
        "attempt": 1,
        "params": {"x": 1.5},
        "defines_space": False,
        "directory": str(folder / "trials" / str(number)),
        "seed": 11,
        "n_values": 1,
        "space_names": ["x"],
        "objective": objective,
        "limits": Limits(**{"grace": 2.0, **limits}),
    }
    return AttemptSpec(**{**fields, **changes}).to_dict()
