"""A node's worker pool: takes tasks from Parsl's interchange, and gives each to a free worker.

``python -P -m pilotune.providers.node.worker_pool OPTIONS`` (see :mod:`.pool_options`) stands in for Parsl's
``process_worker_pool.py`` and speaks its protocol. That one starts each worker as a new interpreter that imports Parsl,
and passes each task through three processes. This one forks its workers (:mod:`.nursery`), and talks to each over a
socket, from one thread: so it knows which worker has which task, and learns of a worker's end at once.

Exit status: 0 when the interchange ended the pool or was silent for too long, 1 for anything else.
"""

from __future__ import annotations

import logging
import math
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from ...pipeline.trial.block_env import PLACED_GPUS
from ...pipeline.worker.node.posix import name_process
from .frames import Frames
from .interchange_link import SHUTDOWN, InterchangeLink, NoInterchange
from .nursery import Ended, Nursery
from .pool_options import PoolOptions, read_options
from .pool_worker import serve_tasks
from .tasks import WorkerLost, encode, failure
from .trial_nodes import TrialNodes

log = logging.getLogger(__name__)

SHORT_LIFE = 2.0
"""Seconds; a worker that lived shorter is replaced only after a heartbeat's period, since it may fail again at once."""


@dataclass(eq=False)
class Slot:
    """The place of one worker.

    Attributes:
        rank: Its number.
        link: To the worker; None while there is none.
        task: What it runs; None while it is idle.
        started: When the worker was started, monotonic seconds.
        hardware: The GPUs and the number of cores of its last task, where tasks bring their own.
    """

    rank: int
    link: Frames | None = None
    task: dict[str, Any] | None = None
    started: float = 0.0
    hardware: tuple[str, int] | None = None


class WorkerPool:
    """Serves until it is told to end.

    Args:
        options: What it is told.
        nursery: Forks its workers.
        interchange: The registered connection.
        nodes: The block's nodes, for trials on several; None for trials on one.
    """

    def __init__(
        self, options: PoolOptions, nursery: Nursery, interchange: InterchangeLink, nodes: TrialNodes | None = None
    ):
        self.options, self.nursery, self.interchange, self.nodes = options, nursery, interchange, nodes
        self.slots = [Slot(rank) for rank in range(options.workers)]
        self.idle: list[Slot] = []  # the one that was busy last comes last: it has imported its objective
        self.waiting: deque[dict[str, Any]] = deque()
        self.due: dict[int, float] = {}  # rank -> when its worker is to be started
        self.by_descriptor: dict[int, Slot] = {}
        self.nursery_gone = self.over = False
        self.poller = zmq.Poller()
        self.poller.register(interchange.socket, zmq.POLLIN)
        self.poller.register(nursery.control, zmq.POLLIN)

    def start(self) -> None:
        """Start all workers."""
        for slot in reversed(self.slots):
            self.start_worker(slot)

    def serve(self) -> int:
        """Serve to the end; returns the exit status."""
        while not self.over:
            now = time.monotonic()
            if self.interchange.silent(now):
                log.warning("the interchange has been silent for %g s: the pool ends", self.options.silence)
                return 0
            wait = min(self.interchange.beat(now), *(when - now for when in self.due.values()), math.inf)
            ready = dict(self.poller.poll(max(0, int(wait * 1000) + 1)))
            self.turn(ready)
        return 1 if self.nursery_gone else 0

    def turn(self, ready: dict[Any, int]) -> None:
        """Handle what is ready: results first, since they free workers."""
        for descriptor in [each for each in ready if each in self.by_descriptor]:
            self.hear(self.by_descriptor[descriptor])
        if self.nursery.control in ready or self.nursery.control.fileno() in ready:
            self.bury()
        if self.interchange.socket in ready:
            for message in self.interchange.receive():
                if message == SHUTDOWN:
                    log.info("the interchange ends the pool")
                    self.over = True
                else:
                    self.waiting += message
        for rank in [rank for rank, when in self.due.items() if when <= time.monotonic()]:
            if not self.nursery_gone:
                self.start_worker(self.slots[rank])
        if self.nursery_gone:  # the workers' trials yield, since their parent died
            self.over |= all(slot.task is None for slot in self.slots)
        else:
            self.hand_out()

    # -- tasks --------------------------------------------------------------------------------------------------------

    def hand_out(self) -> None:
        """Give waiting tasks to idle workers."""
        for task in list(self.waiting):
            if not self.idle:
                return
            variables = self.nodes.take(task) if self.nodes else {}
            if variables is None:
                continue
            self.waiting.remove(task)
            sent: dict[str, Any] = {"task_id": task["task_id"], "buffer": task["buffer"]}
            slot = self.idle.pop()
            if self.options.packed:
                self.idle.append(slot)
                slot = self.take_placed(task, variables, sent)
            slot.task = task
            assert slot.link is not None
            slot.link.queue(encode({**sent, "environment": variables} if variables else sent))
            self.watch(slot)

    def take_placed(self, task: dict[str, Any], variables: dict[str, str], sent: dict[str, Any]) -> Slot:
        """Take an idle worker for a task that brings its own GPUs and cores, which are written into what is sent.

        One whose last task had such GPUs and as many cores has a fork server that serves this one, too.
        """
        wanted = task["context"].get("resource_spec", {})
        gpus = ",".join(self.options.accelerators[number] for number in wanted.get("gpus", ()))
        variables[PLACED_GPUS], sent["cores"] = gpus, wanted.get("cores", [])
        hardware = gpus, len(sent["cores"])
        slot = next((each for each in reversed(self.idle) if each.hardware == hardware), None)
        slot = slot or next((each for each in reversed(self.idle) if each.hardware is None), self.idle[-1])
        self.idle.remove(slot)
        slot.hardware = hardware
        return slot

    def hear(self, slot: Slot) -> None:
        """Pass on a worker's result."""
        assert slot.link is not None
        slot.link.flush()
        for result in slot.link.receive():
            self.finish(slot, result)
            self.idle.append(slot)
        if slot.link.closed and self.nursery_gone and slot.task is not None:
            self.lose(slot, "ended with its nursery")
        self.watch(slot)

    def finish(self, slot: Slot, result: bytes) -> None:
        """The worker's task has ended."""
        assert slot.task is not None
        task, slot.task = slot.task, None
        if self.nodes:
            self.nodes.give_back(task)
        self.interchange.send(result)

    def lose(self, slot: Slot, how: str) -> None:
        """The worker has ended while it ran its task."""
        assert slot.task is not None
        self.finish(slot, failure(slot.task["task_id"], WorkerLost(socket.gethostname(), how)))

    def watch(self, slot: Slot) -> None:
        """Poll a worker's socket for what can happen next. One that is closed is not polled: the nursery says why."""
        assert slot.link is not None
        if slot.link.closed:
            self.unwatch(slot)
        else:
            self.by_descriptor[slot.link.fileno()] = slot
            self.poller.register(slot.link.fileno(), zmq.POLLIN | (zmq.POLLOUT if slot.link.unsent else 0))

    def unwatch(self, slot: Slot) -> None:
        assert slot.link is not None
        if self.by_descriptor.pop(slot.link.fileno(), None):
            self.poller.unregister(slot.link.fileno())

    # -- workers ------------------------------------------------------------------------------------------------------

    def start_worker(self, slot: Slot) -> None:
        self.due.pop(slot.rank, None)
        try:
            connection = self.nursery.fork(slot.rank)
        except OSError as error:  # it is gone, which its socket says next
            log.error("worker %d cannot be started: %s", slot.rank, error)
            return
        slot.link, slot.started, slot.hardware = Frames(connection), time.monotonic(), None
        self.watch(slot)
        self.idle.append(slot)

    def bury(self) -> None:
        """Replace workers that have ended, and report the tasks that they ran as lost."""
        ended, self.nursery_gone = self.nursery.receive()
        for each in ended:
            self.on_end(self.slots[each.rank], each)
        if self.nursery_gone:
            self.poller.unregister(self.nursery.control)
            log.error("the nursery is gone: the pool ends when its workers have")

    def on_end(self, slot: Slot, ended: Ended) -> None:
        log.error("worker %d %s", slot.rank, ended.how)
        if slot.link is not None:
            if slot.task is not None:
                for result in slot.link.receive():  # it may have sent its result before it ended
                    self.finish(slot, result)
            if slot.task is not None:
                self.lose(slot, ended.how)
            self.unwatch(slot)
            slot.link.close()
        if slot in self.idle:
            self.idle.remove(slot)
        slot.link, now = None, time.monotonic()
        pause = self.options.heartbeat if now < slot.started + SHORT_LIFE else 0.0
        self.due[slot.rank] = now + pause


def main(words: Sequence[str]) -> int:
    """Run a worker pool from its command line; returns the exit status."""
    options = read_options(words)
    name_process("worker pool")
    from ...pipeline.worker import preload

    preload.import_all()
    # The nursery is forked before anything here starts a thread, as a ZeroMQ context does.
    nursery = Nursery(lambda rank, connection: serve_tasks(options, rank, connection))
    log_to(options)
    try:
        nodes = TrialNodes(options.mpi_launcher) if options.mpi_launcher else None
        pool = WorkerPool(options, nursery, InterchangeLink(options), nodes)
    except (NoInterchange, OSError, RuntimeError) as error:
        log.error("%s", error)
        print(f"pilotune: the worker pool on {socket.gethostname()} cannot start: {error}", file=sys.stderr)
        return 1
    pool.start()
    return pool.serve()


def log_to(options: PoolOptions) -> None:
    """Keep the pool's log in its file."""
    options.log.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=options.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log.info("%s", options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
