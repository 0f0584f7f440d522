"""Starts the ranks of an attempt on one node: processes that the worker's fork server forks."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec, Message
from ..node.affinity import is_bound, share
from ..objective.ending import Ending
from ..process.forked import ForkedChild, ForkedChildren, ForkServer, begin_of, fork_server
from ..process.messages import Begin
from .environment import LOOPBACK, MeetingPort, rank_environment
from .group import RankGroup


class ForkedRank:
    """One rank that was forked (see :class:`.base.RankProcess`).

    Args:
        rank: Its number.
        child: Its process.
        children: All processes of the attempt.
    """

    def __init__(self, rank: int, child: ForkedChild, children: ForkedChildren) -> None:
        self.rank, self.host = rank, socket.gethostname()
        self._child, self._children = child, children

    @property
    def running(self) -> bool:
        return self._child.running

    @property
    def status(self) -> int | None:
        return self._child.status

    @property
    def failure(self) -> Ending | None:
        return self._child.failure

    @property
    def ended_at(self) -> float:
        return self._child.ended_at

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def peak_memory(self) -> int:
        return self._child.peak_memory

    def descriptors(self) -> list[int]:
        return self._child.descriptors()

    def receive(self) -> list[Message]:
        self._children.receive()  # its status comes first, so that everything sent before the exit is read
        return self._child.stream.receive()

    def send(self, message: Message) -> None:
        self._child.stream.send(message)

    def terminate(self) -> None:
        self._child.terminate()

    def kill(self) -> None:
        self._child.kill()

    def close(self) -> None:
        """Nothing: they are closed together."""


def forked_group(spec: AttemptSpec, files: TrialFiles) -> RankGroup:
    """Start the ranks of an attempt on this node. Raises OSError where no fork server can be started."""
    server, port = fork_server(spec), MeetingPort()
    begins = [_begin(replace(spec, rank=rank), files, server, port) for rank in range(spec.ranks)]
    started = [ForkedChild(server, begin) for begin in begins]
    children = ForkedChildren(server, started)

    def release() -> None:
        children.close()
        port.close()

    return RankGroup(
        spec,
        files,
        [ForkedRank(rank, child, children) for rank, child in enumerate(started)],
        release=release,
        kept=[server.process.pid],
        more_descriptors=[server.control.fileno()],
    )


def _begin(spec: AttemptSpec, files: TrialFiles, server: ForkServer, port: MeetingPort) -> Begin:
    if spec.rank:
        output = files.rank_output(spec.attempt, socket.gethostname())
        outputs = output, output
    else:
        outputs = files.stdout(spec.attempt), files.stderr(spec.attempt)
    memory = spec.limits.memory
    if memory is not None:
        spec = replace(spec, limits=replace(spec.limits, memory=memory // spec.ranks_per_node))
    begin = begin_of(spec, files, server, outputs)
    variables = {**begin.environment, **rank_environment(spec, LOOPBACK, port.number)}
    if not is_bound(os.environ):
        return replace(begin, environment=variables)
    cores = share(begin.cores, spec.rank % spec.ranks_per_node, spec.ranks_per_node)
    return replace(begin, environment=variables, cores=cores)
