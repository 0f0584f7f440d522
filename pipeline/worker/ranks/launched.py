"""Ranks of a Python objective that a launcher starts, on several nodes or on one.

The worker waits for them (:class:`.rendezvous.Rendezvous`), starts the launcher, and each rank's program connects
(:mod:`.rank_program`). When all have, their numbers on their nodes are known, and each is told what to run. From then
on they are a :class:`.group.RankGroup`.
"""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....grammar import count
from ...trial.files import TrialFiles
from ...trial.gpus import VISIBLE
from ...trial.protocol import AttemptSpec, Message
from ..dialogue import Answer
from ..node.block import nodelist
from ..objective.ending import Ending
from ..objective.execute import environment
from ..process.messages import Exited, Forked, MessageStream, Terminate
from ..supervisor import STOPPED_FOR
from .environment import LOOPBACK, Place, rank_environment
from .group import SIGTERM_STATUS, RankGroup
from .launcher import Launcher, start_launcher
from .rank_program import Signal, Task
from .rendezvous import Arrived, Rendezvous

FIRST_RANK_LIMIT = 600.0
"""Seconds in which the first rank has to connect: srun may wait for a step before it to end on its nodes."""

NEXT_RANK_LIMIT = 120.0
"""Seconds in which another rank has to connect after the last one."""

RANKS_WAIT = 2.0
"""Seconds in which the end of the ranks is noticed after that of their launcher."""

LAUNCHER_WAIT = 0.5
"""Seconds in which the end of a launcher is noticed after that of a rank's program, for the message. Less than
:data:`.collective.SETTLE`: other ranks raise, since their connections to that one broke."""


class LaunchedRank:
    """One rank that a launcher has started (see :class:`.base.RankProcess`).

    Args:
        arrived: Its connection.
        launcher: What has started it.
    """

    def __init__(self, arrived: Arrived, launcher: Launcher) -> None:
        self.rank, self.host = arrived.hello.rank, arrived.hello.host
        self.running = False
        self.status: int | None = None
        self.failure: Ending | None = None
        self.ended_at = 0.0
        self.pid = self.peak_memory = 0
        self._launcher = launcher
        self._stream = MessageStream(arrived.connection)
        self._lost_until: float | None = None  # when it is given up

    def descriptors(self) -> list[int]:
        return [] if self._stream.closed else [self._stream.fileno()]

    def receive(self) -> list[Message]:
        found = []
        for message in self._stream.receive():
            if isinstance(message, Forked):
                self.running = True
            elif isinstance(message, Exited):
                self.status, self.ended_at, self.peak_memory = message.status, message.at, message.memory
            else:
                found.append(message)
        if self.status is None:
            self._check_lost()
        return found

    def send(self, message: Message) -> None:
        self._stream.send(message)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the connection, at which its program ends all that still runs there."""
        self._stream.close()

    def _signal(self, number: int) -> None:
        if self.status is None and not self._stream.closed:
            if number == signal.SIGTERM:
                self._stream.send(Terminate())  # so that the process knows this SIGTERM from the scheduler's
            self._stream.send(Signal(number))

    def _check_lost(self) -> None:
        """Whether the connection broke, or its launcher has ended without it."""
        ended = self._launcher.status
        if not self._stream.closed and ended is None:
            return
        now = time.monotonic()
        if self._lost_until is None:
            self._lost_until, self.ended_at = now + (LAUNCHER_WAIT if ended is None else RANKS_WAIT), time.time()
        if (self._stream.closed and ended is not None) or now >= self._lost_until:
            self._stream.close()
            # A launcher that was ended by SIGTERM has ended the rank; perhaps this worker is being ended, too.
            self.status = -signal.SIGTERM if ended in SIGTERM_STATUS else 1
            how = self._launcher.how_it_ended()
            reason = "the connection to it broke, and how it ended is not known" + (f"; {how}" if how else "")
            self.failure = Ending("failed", failure="lost", reason=reason)


class LaunchedProcess:
    """An attempt of a Python objective whose ranks a launcher starts (see :class:`..process.base.Process`)."""

    takes_answers = True
    poll_interval = 0.5

    def __init__(self, spec: AttemptSpec, files: TrialFiles) -> None:
        self.spec, self.files = spec, files
        self._nodes = nodelist(spec).split(",") if spec.nodes > 1 else [socket.gethostname()]
        self._path = files.meeting(spec.attempt)
        self._arrived: dict[int, Arrived] = {}
        self._group: RankGroup | None = None
        self._failed: Ending | None = None
        self._status: int | None = None
        self._yield_wanted = self._ending = False
        self._last_turn = time.monotonic()
        self._until = self._last_turn + FIRST_RANK_LIMIT
        self._rendezvous = Rendezvous(spec.ranks, self._nodes if spec.nodes > 1 else ())
        self._launcher: Launcher | None = None
        try:
            self._rendezvous.meeting.write(self._path)
            started = start_launcher(spec, files, self._path)
        except BaseException:
            self._forget_meeting()
            raise
        if isinstance(started, Launcher):
            self._launcher = started
        else:
            self._fail(started)

    @property
    def more_outputs(self) -> tuple[Path, ...]:
        others = self._group.more_outputs if self._group is not None else ()
        return (*others, self.files.launcher_output(self.spec.attempt))

    @property
    def pids(self) -> list[int]:
        return []  # each rank's program watches its own

    @property
    def peak_memory(self) -> int:
        return self._group.peak_memory if self._group is not None else 0

    @property
    def running(self) -> bool:
        return self._group is not None and self._group.running

    @property
    def status(self) -> int | None:
        return self._group.status if self._group is not None else self._status

    def descriptors(self) -> list[int]:
        of_launcher = self._launcher.descriptors() if self._launcher is not None else []
        ours = self._rendezvous.descriptors() if self._group is None else self._group.descriptors()
        return [*of_launcher, *ours]

    def receive(self) -> list[Message]:
        if self._group is None and self._status is None:
            self._gather()
        return self._group.receive() if self._group is not None else []

    def answer(self, answer: Answer) -> None:
        if self._group is not None:
            self._group.answer(answer)

    def ask_to_yield(self) -> None:
        self._yield_wanted = True
        if self._group is not None:
            self._group.ask_to_yield()

    def terminate(self) -> None:
        self._ending = True
        if self._group is not None:
            self._group.terminate()
        elif self._launcher is not None:
            self._launcher.terminate()

    def kill(self) -> None:
        self._ending = True
        if self._group is not None:
            self._group.kill()
        else:
            self._end_start()
            self._status = -signal.SIGKILL

    def ending(self, *, yielding: bool) -> Ending | None:
        if self._group is not None:
            return self._group.ending(yielding=yielding)
        return None if yielding and self._status in SIGTERM_STATUS else self._failed

    def kept_pids(self) -> set[int]:
        return set()

    def close(self) -> None:
        self._forget_meeting()
        if self._group is not None:
            self._group.close()
        else:
            self._end_start()

    # -- the start ----------------------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Take in the ranks that have connected, and begin when all have; fail when one does not come."""
        assert self._launcher is not None
        now = time.monotonic()
        gap, self._last_turn = now - self._last_turn, now
        if gap >= STOPPED_FOR:  # with its job, and the ranks, too
            self._until += gap
            self._rendezvous.shift(gap)
        for arrived in self._rendezvous.arrivals():
            self._arrived[arrived.hello.rank] = arrived
            self._until = now + NEXT_RANK_LIMIT
        if len(self._arrived) == self.spec.ranks:
            self._begin(self._launcher)
        elif self._launcher.status is not None:
            self._on_launcher_end(self._launcher)
        elif now >= self._until:
            last = self._launcher.last_words()
            limit = NEXT_RANK_LIMIT if self._arrived else FIRST_RANK_LIMIT
            self._fail(
                f"{self._missing()} within {limit:g} s, and its launcher {self._launcher.name} has not ended{last}"
            )

    def _begin(self, launcher: Launcher) -> None:
        """All ranks are there: tell each what to run."""
        ranks = [self._arrived[rank] for rank in range(self.spec.ranks)]
        hosts = [each.hello.host for each in ranks]
        wrong = wrong_hosts(hosts, self.spec)
        if wrong:
            self._fail(f"the launcher {launcher.name} has started {wrong}")
            return
        self._forget_meeting()
        processes = [LaunchedRank(each, launcher) for each in ranks]
        address = ranks[0].address if self.spec.nodes > 1 else LOOPBACK
        for place, process in zip(places_of(hosts), processes, strict=True):
            spec = replace(self.spec, rank=process.rank)
            variables = rank_environment(spec, address, ranks[0].hello.port, place)
            process.send(task_of(spec, self.files, process.host, variables))
        self._group = RankGroup(self.spec, self.files, processes, release=launcher.close)
        if self._yield_wanted:
            self._group.ask_to_yield()
        if self._ending:
            self._group.terminate()

    def _on_launcher_end(self, launcher: Launcher) -> None:
        """The launcher has ended before all ranks had connected."""
        self._fail(f"{self._missing()}, and {launcher.how_it_ended()}", launcher.printed())
        if launcher.status in SIGTERM_STATUS:  # perhaps this worker is being ended, too
            self._status = -signal.SIGTERM

    def _missing(self) -> str:
        """Which ranks have not connected, and where they should run."""
        missing = [rank for rank in range(self.spec.ranks) if rank not in self._arrived]
        first = f"rank {missing[0]}"
        where = self._nodes[missing[0] // self.spec.ranks_per_node :][:1]
        if where and where[0]:
            first += f" on node {where[0]}"
        more = f" and {count(len(missing) - 1, 'further rank')}" if len(missing) > 1 else ""
        return f"{first}{more} did not connect to the worker"

    def _fail(self, reason: str, printed: str = "") -> None:
        self._failed = Ending("failed", failure="setup", reason=reason, traceback=printed)
        self._status = 127
        self._end_start()

    def _end_start(self) -> None:
        """End the launcher and the ranks of an attempt that has not begun."""
        self._forget_meeting()
        for arrived in self._arrived.values():
            arrived.connection.close()
        self._arrived.clear()
        if self._launcher is not None:
            self._launcher.kill()

    def _forget_meeting(self) -> None:
        self._rendezvous.close()
        self._path.unlink(missing_ok=True)


def places_of(hosts: Sequence[str]) -> list[Place]:
    """Each rank's number on its node, the node's number, and how many ranks the node has.

    Args:
        hosts: The node of each rank.

    >>> places_of(["n1", "n2", "n1", "n2"])[2]
    Place(node=0, local=1, size=2)
    """
    sizes, nodes, seen = Counter(hosts), list(dict.fromkeys(hosts)), Counter[str]()
    found = []
    for host in hosts:
        found.append(Place(nodes.index(host), seen[host], sizes[host]))
        seen[host] += 1
    return found


def wrong_hosts(hosts: Sequence[str], spec: AttemptSpec) -> str:
    """What is wrong with the nodes on which the ranks run, in words; empty where they are as many as they should be.

    >>> wrong_hosts(["n1", "n1"], AttemptSpec("7.1.c", "s", 7, 1, {}, False, "", 0, 1, ranks=2, nodes=2))
    '2 ranks on node n1, and the trial has 2 nodes with 1 rank each'
    """
    sizes = Counter(hosts)
    if set(sizes.values()) == {spec.ranks_per_node}:
        return ""
    found = ", ".join(f"{count(size, 'rank')} on node {host}" for host, size in sizes.items())
    return f"{found}, and the trial has {count(spec.nodes, 'node')} with {count(spec.ranks_per_node, 'rank')} each"


def task_of(spec: AttemptSpec, files: TrialFiles, host: str, variables: dict[str, str | None]) -> Task:
    """What one rank is to run.

    Args:
        spec: As it sees it.
        files: The trial's files.
        host: Its node.
        variables: Those of a rank.
    """
    if spec.rank:
        outputs = [files.rank_output(spec.attempt, host)] * 2
    else:
        outputs = [files.stdout(spec.attempt), files.stderr(spec.attempt)]
    memory = spec.limits.memory
    if memory is not None:
        spec = replace(spec, limits=replace(spec.limits, memory=memory // spec.ranks_per_node))
    # Which GPUs a rank sees has been decided by its launcher, which has this worker's variables.
    changes = {name: value for name, value in environment(spec).items() if name not in VISIBLE.values()}
    return Task(spec, {**changes, **variables}, str(files.work(spec.attempt)), [str(path) for path in outputs])
