"""What a worker, its fork server and a trial's process say to each other, as typed messages.

Three kinds of connection use them, each in one encoding (:func:`encode`, :func:`decode`), a JSON object whose ``type``
is the class's name; only :class:`Begin` is not:

* worker and fork server, over a packet socket: :class:`Preload`; :class:`Ready`, :class:`Forked`, :class:`ForkFailed`,
  :class:`Exited`;
* the trial's process to the worker, over a stream socket (:class:`MessageStream`): :class:`Reported`,
  :class:`ParamRequested`, :class:`StudyAsked`, :class:`AttrSet`, :class:`YieldWanted`, :class:`ObjectiveEnded`;
* the worker to the trial's process: answers (:class:`.dialogue.VerdictAnswer`, :class:`.dialogue.ValueAnswer`),
  :class:`YieldRequest` and :class:`Terminate`. Before all others comes :class:`Begin`, with its length in front, which
  the fork server reads before it forks: a process that was just forked copies each page of memory that it touches.
  The server, too, copies what it touches after a fork. ``Begin`` is therefore a pickle: to load one touches less than
  to read JSON and check its types. Only the worker writes to this socket before the fork.
"""

from __future__ import annotations

import pickle
import socket
from dataclasses import dataclass
from typing import Any

from ....errors import printable
from ...trial.protocol import AttemptSpec, Message, ObjectiveSpec
from ..dialogue import ValueAnswer, VerdictAnswer
from ..node.fencing import ProcessNote
from ..node.jsonlines import JsonLines
from ..objective.ending import Ending

# -- the trial's process to the worker --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reported(Message):
    """The objective has reported, and waits for a VerdictAnswer."""

    step: int
    value: float


@dataclass(frozen=True)
class ParamRequested(Message):
    """The objective asks for a parameter's value, and waits for a ValueAnswer (or a VerdictAnswer that ends it)."""

    name: str
    distribution: str  # Optuna's JSON


@dataclass(frozen=True)
class StudyAsked(Message):
    """The objective asks about its study, or changes it, and waits for an answer as after a ParamRequested."""

    what: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class AttrSet(Message):
    """The objective has set a user attribute, or a system attribute; not answered."""

    key: str
    value: Any
    system: bool = False


@dataclass(frozen=True)
class ObjectiveEnded(Message):
    """The objective has returned or raised; the process has only to exit. ``at``: when, in Unix seconds of its node."""

    ending: Ending
    at: float = 0.0


@dataclass(frozen=True)
class YieldWanted(Message):
    """A rank was sent SIGTERM, so that all ranks of its attempt are to yield; not answered."""


@dataclass(frozen=True)
class Garbled(Message):
    """Stands for a line that is no message; never sent. Its sender may wait for an answer.

    Attributes:
        why: What is wrong with it.
    """

    why: str


TrialMessage = Reported | ParamRequested | StudyAsked | AttrSet | ObjectiveEnded | YieldWanted | Garbled

# -- the worker to the trial's process --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """The first message: what to run, with all that the worker can prepare for the process that will run it.

    Attributes:
        spec: The attempt.
        environment: Changes to the variables; None removes one.
        cores: That the process may use.
        note: That it runs the attempt.
        work: Its working directory.
        outputs: The files that it prints to.
    """

    spec: AttemptSpec
    environment: dict[str, str | None]
    cores: list[int]
    note: ProcessNote
    work: str
    outputs: tuple[str, str]


@dataclass(frozen=True)
class YieldRequest(Message):
    """The attempt is to save its checkpoint and end."""


@dataclass(frozen=True)
class Terminate(Message):
    """The SIGTERM that follows is the worker's and ends the process; any other SIGTERM asks the attempt to yield."""


# -- worker and fork server -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preload(Message):
    """To the fork server, first: the objective, and whether to import it before forking.

    ``environment``: changes to the variables, None removes one.
    """

    objective: ObjectiveSpec
    preload: bool
    environment: dict[str, str | None]


@dataclass(frozen=True)
class Ready(Message):
    """The fork server has imported the objective from ``file``; empty where that is not known, or nothing imported."""

    file: str


@dataclass(frozen=True)
class Forked(Message):
    pid: int


@dataclass(frozen=True)
class ForkFailed(Message):
    reason: str


@dataclass(frozen=True)
class Exited(Message):
    """A forked process has ended.

    Attributes:
        pid: Its pid.
        status: As ``subprocess`` gives it, negative for a signal.
        at: When this was noticed, in Unix seconds of its node.
        memory: Its peak memory in bytes, with what it has started; 0 where that is not known.
    """

    pid: int
    status: int
    at: float = 0.0
    memory: int = 0


_TYPES: dict[str, type[Message]] = {
    cls.__name__: cls
    for cls in (
        *(Reported, ParamRequested, StudyAsked, AttrSet, ObjectiveEnded, YieldWanted),
        *(VerdictAnswer, ValueAnswer, YieldRequest, Terminate),
        *(Preload, Ready, Forked, ForkFailed, Exited),
    )
}


TO_WORKER = (
    Reported,
    ParamRequested,
    StudyAsked,
    AttrSet,
    ObjectiveEnded,
    YieldWanted,
    Ready,
    Forked,
    ForkFailed,
    Exited,
)
"""What a worker receives from a trial's process and from its fork server."""

TO_TRIAL = (VerdictAnswer, ValueAnswer, YieldRequest, Terminate)
"""What the worker sends to the trial's process after :class:`Begin`."""

HEADER = 8
"""Bytes in front of a :class:`Begin` that hold its length."""


def encode(message: Message) -> dict[str, Any]:
    """``message`` as a JSON object.

    >>> encode(Reported(1, 0.5))
    {'type': 'Reported', 'step': 1, 'value': 0.5}
    """
    return {"type": type(message).__name__, **message.to_dict()}


def decode(data: Any) -> Message:
    """The message in a JSON object. Raises ValueError for anything else.

    >>> decode({"type": "Reported", "step": 1, "value": 0.5})
    Reported(step=1, value=0.5)
    """
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"not a message of a trial's process: {data!r:.80}")
    return _TYPES[kind].from_dict(data)


class MessageStream:
    """Typed messages over a connected stream socket; in place of a line that is no message comes a :class:`Garbled`.

    Attributes:
        closed: The other end is closed, or this one.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._lines = JsonLines(connection)

    @property
    def closed(self) -> bool:
        return self._lines.closed

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._lines.fileno()

    def send(self, message: Message) -> None:
        """Send it; ignored where the other end is gone."""
        self._lines.send(encode(message))

    def begin(self, message: Begin) -> None:
        """Send the first message, which the other end may not read yet: :meth:`flush` sends what it does not take."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._lines.queue_bytes(len(data).to_bytes(HEADER, "big") + data)

    def flush(self) -> None:
        """Send what :meth:`begin` has left, as far as the other end takes it."""
        self._lines.flush()

    def receive(self) -> list[Message]:
        """All messages that have arrived; does not wait."""
        return _decoded(self._lines.receive())

    def wait(self) -> list[Message]:
        """At least one message, waiting for it; empty when the other end is gone."""
        while not self._lines.closed:
            found = _decoded(self._lines.wait())
            if found:
                return found
        return []

    def peek(self) -> list[Message]:
        """Messages that have arrived, left unread. Safe in a signal handler."""
        return _decoded(self._lines.peek())

    def close(self) -> None:
        """Close this end."""
        self._lines.close()


def receive_begin(connection: socket.socket) -> Begin | None:
    """The first message, and no byte of what follows it, waiting for it; None when the worker is gone."""
    header = _receive(connection, HEADER)
    data = _receive(connection, int.from_bytes(header, "big")) if header else b""
    if not data:
        return None
    begin = pickle.loads(data)
    assert isinstance(begin, Begin)
    return begin


def _receive(connection: socket.socket, length: int) -> bytes:
    """So many bytes and none of what follows; empty when the other end is gone."""
    data = connection.recv(length, socket.MSG_WAITALL)
    while 0 < len(data) < length:  # a signal came between
        more = connection.recv(length - len(data), socket.MSG_WAITALL)
        data = data + more if more else b""
    return data


def _decoded(lines: list[dict[str, Any]]) -> list[Message]:
    found = []
    for line in lines:
        try:
            found.append(decode(line))
        except ValueError as error:
            found.append(Garbled(printable(str(error))))
    return found
