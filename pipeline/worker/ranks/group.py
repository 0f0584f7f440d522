"""The ranks of one attempt as one process: what the supervisor sees of them."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ...trial.files import TrialFiles
from ...trial.protocol import AttemptSpec, Message
from ..dialogue import Answer
from ..objective.ending import Ending, crash, tail
from ..supervisor import STOPPED_FOR
from .base import RankProcess
from .collective import Collective

END_GRACE = 2.0
"""Longest time in seconds from SIGTERM to SIGKILL for ranks that go on when their attempt is over. Most of them wait
for one that has died, in a library that no signal handler interrupts."""

SIGTERM_STATUS = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit statuses of a process that SIGTERM has ended."""


class RankGroup:
    """Several ranks of a Python objective as one :class:`..process.base.Process`.

    Args:
        spec: The attempt.
        files: The trial's files.
        ranks: All of its ranks, by number, already started.
        release: Called at the end, after all ranks were closed.
        kept: Pids of child processes of the worker that outlive the attempt.
        more_descriptors: Descriptors that tell of the ranks, beside their own.
    """

    takes_answers = True
    poll_interval = 0.5

    def __init__(
        self,
        spec: AttemptSpec,
        files: TrialFiles,
        ranks: Sequence[RankProcess],
        *,
        release: Callable[[], None] = lambda: None,
        kept: Sequence[int] = (),
        more_descriptors: Sequence[int] = (),
    ) -> None:
        self.spec, self.ranks = spec, tuple(ranks)
        self._outputs = [files.rank_output(spec.attempt, each.host) for each in ranks]
        self._outputs[0] = files.stderr(spec.attempt)
        self.more_outputs: tuple[Path, ...] = tuple(dict.fromkeys(self._outputs[1:]))
        self._collective = Collective([each.host for each in ranks], spec.rank_timeout, spec.limits.grace)
        self._release, self._kept, self._more_descriptors = release, set(kept), list(more_descriptors)
        self._exited: set[int] = set()
        self._terminated_rank: int | None = None  # that SIGTERM has ended, which this worker has not sent
        self._kill_at: float | None = None  # what still runs when the attempt is over
        self._last_turn = time.monotonic()

    @property
    def running(self) -> bool:
        return all(each.running for each in self.ranks)

    @property
    def status(self) -> int | None:
        """None while any rank lives; then that of the first rank that SIGTERM has ended, or that of rank 0."""
        if len(self._exited) < len(self.ranks):
            return None
        return self.ranks[self._terminated_rank or 0].status

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self.ranks if each.pid and each.status is None]

    @property
    def peak_memory(self) -> int:
        """Of the node that has most: the sum of its ranks' peaks, since they run alike. What they share is in each."""
        if not all(each.peak_memory for each in self.ranks):
            return 0
        by_host = Counter[str]()
        for each in self.ranks:
            by_host[each.host] += each.peak_memory
        return max(by_host.values())

    def descriptors(self) -> list[int]:
        each = (descriptor for rank in self.ranks for descriptor in rank.descriptors())
        return [*self._more_descriptors, *each]

    def receive(self) -> list[Message]:
        now = time.monotonic()
        self._leave_out_stop(now)
        exited = []
        for rank in self.ranks:
            for message in rank.receive():
                self._collective.receive(rank.rank, message, now)
            if rank.status is not None and rank.rank not in self._exited:
                self._exited.add(rank.rank)
                exited.append((rank.status in SIGTERM_STATUS, rank))
        for by_sigterm, rank in sorted(exited, key=lambda each: each[0]):  # a rank that has failed is why others got it
            self._on_exit(rank, by_sigterm, now)
        self._collective.tick(now)
        self._deliver()
        self._end_rest(now)
        return self._collective.take_messages()

    def answer(self, answer: Answer) -> None:
        self._collective.answer(answer)
        self._deliver()

    def ask_to_yield(self) -> None:
        self._collective.ask_to_yield()

    def terminate(self) -> None:
        self._collective.closing = True
        for rank in self.ranks:
            rank.terminate()

    def kill(self) -> None:
        self._collective.closing = True
        for rank in self.ranks:
            rank.kill()

    def ending(self, *, yielding: bool) -> Ending | None:
        if self._collective.result is not None or self._terminated_rank is None or yielding:
            return self._collective.result
        return self._collective.blamed()

    def kept_pids(self) -> set[int]:
        return self._kept

    def close(self) -> None:
        for rank in self.ranks:
            rank.close()
        self._release()

    def _leave_out_stop(self, now: float) -> None:
        """Move the deadlines where this process and the ranks were stopped with their job."""
        gap, self._last_turn = now - self._last_turn, now
        if gap >= STOPPED_FOR:
            self._collective.shift(gap)
            if self._kill_at is not None:
                self._kill_at += gap

    def _on_exit(self, rank: RankProcess, by_sigterm: bool, now: float) -> None:
        untold = not (self._collective.over or self._collective.closing or self._collective.has_ended(rank.rank))
        by_itself = not by_sigterm and (rank.failure is None or rank.failure.failure != "lost")
        ending = rank.failure or self._crash(rank)
        self._collective.on_exit(rank.rank, ending, now, at=rank.ended_at, by_itself=by_itself)
        if by_sigterm and untold and self._collective.failing:
            # Some schedulers send it to all processes of a job that ends, to some before they can handle it. The
            # supervisor finds out whether the worker is being ended, too.
            self._terminated_rank = rank.rank
            self._collective.closing = True

    def _crash(self, rank: RankProcess) -> Ending:
        limit = self.spec.limits.memory
        each = None if limit is None else limit // self.spec.ranks_per_node
        return crash(rank.status or 0, memory_limit=each, stderr=tail(self._outputs[rank.rank]))

    def _deliver(self) -> None:
        for rank, answer in self._collective.take_answers():
            self.ranks[rank].send(answer)

    def _end_rest(self, now: float) -> None:
        """End the ranks that go on when the attempt is over. One that has ended its objective may still exit."""
        if not self._collective.over and self._terminated_rank is None:
            return
        going_on = [rank for rank in self.ranks if not self._collective.has_ended(rank.rank)]
        if self._kill_at is None:
            self._kill_at = now + min(self.spec.limits.grace, END_GRACE)
            for rank in going_on:
                rank.terminate()
        elif now >= self._kill_at:
            for rank in going_on:
                rank.kill()
