"""Decides which waiting attempt runs on which node, where trials differ in size. Pure and deterministic.

A trial whose ``gpus``, ``cores`` or ``memory`` depend on its parameters has no slot of a fixed size. The pool keeps a
:class:`Packer`: nodes come and go in it, attempts are put into it, and :meth:`Packer.place` says which of them begin
now, and on which GPUs and cores. Its rules, in this order:

* An attempt that was overtaken by :data:`MOST_OVERTAKEN` later ones has a node reserved for it: nothing else begins
  there until it does. So no attempt is starved.
* Of the others the largest that fits somewhere begins first; of equal ones the one that came first.
* It gets the node on which the least is left over. One without GPUs gets a node without GPUs, if one has room.
* A trial has whole GPUs to itself. Below 1, ``gpus`` is its share of one GPU, and shares fill up the GPUs in use first.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .packed_node import Need, NodeRoom, PackedNode, Placement

MOST_OVERTAKEN = 8
"""How many later attempts may begin before an attempt on nodes that could run it, until a node is reserved for it."""

LEAST_AHEAD, SHARE_AHEAD, MOST_AHEAD = 4, 0.25, 64
"""Attempts that wait for room: at least so many, so many for each that runs, and at most so many. With more to choose
from, less room is left over; but the longer a suggestion waits, the less its sampler knew."""

MOST_HOMELESS = 16
"""Most waiting attempts that fit no node that is there, but one of a block that may still come."""

REMEMBERED, RENEWED = 64, 16
"""Attempts that the typical need is the mean of, and after how many new ones it is computed again."""


@dataclass(eq=False)
class _Waiting:
    """An attempt that waits.

    Attributes:
        turn: When it was put in, among all attempts.
        overtaken: How many later ones have begun on nodes that could have run it.
        tried: It fits into no node that has not changed since.
    """

    token: str
    need: Need
    avoid: frozenset[str]
    turn: int
    overtaken: int = 0
    tried: bool = False


class Packer:
    """Waiting attempts, nodes, and what runs on them.

    Args:
        typical: What a trial takes on average, as far as that is known before the first one.

    Attributes:
        typical: The mean need of recent attempts.

    Example:
        >>> packer = Packer()
        >>> packer.node_up(NodeRoom("n1", "n1", "gpu", cores=8, gpus=4, trials=4))
        >>> for token, gpus in (("a", 1), ("b", 4), ("c", 2)):
        ...     packer.put(token, Need(cores=1, gpus=gpus))
        >>> [(each.token, each.gpus) for each in packer.place()]
        [('b', (0, 1, 2, 3))]
        >>> packer.end("b")
        >>> [(each.token, each.gpus, each.cores) for each in packer.place()]
        [('c', (0, 1), (0,)), ('a', (2,), (4,))]
    """

    def __init__(self, typical: Need | None = None):
        self.typical = typical or Need()
        self._recent: deque[Need] = deque(maxlen=REMEMBERED)
        self._waiting: dict[str, _Waiting] = {}
        self._nodes: dict[str, PackedNode] = {}
        self._where: dict[str, str] = {}  # token -> node, of attempts that have begun
        self._kinds: Counter[NodeRoom] = Counter()  # of the nodes that accept attempts
        self._reserved: dict[str, PackedNode] = {}  # token -> the node that is reserved for it
        self._changed: dict[str, PackedNode] = {}  # the nodes on which something became free since the last ``place``
        self._released = False  # a reservation has ended
        self._used: defaultdict[NodeRoom, float] = defaultdict(float)  # nodes, how much of them is in use
        self._fill: Counter[str] = Counter()  # pool -> typical attempts that there is room for
        self._begun: Counter[str] = Counter()  # pool -> attempts that have begun and not ended
        self._turns = self._puts = 0

    # -- nodes --------------------------------------------------------------------------------------------------------

    def node_up(self, room: NodeRoom) -> None:
        """A node has come; one that is known and was held accepts attempts again."""
        node = self._nodes.get(room.name)
        if node is None:
            node = self._nodes[room.name] = PackedNode(room, self._next_turn(), accepts=False)
        if not node.accepts:
            node.accepts = True
            self._kinds[node.kind] += 1
            self._changed[room.name] = node
            self._count(node)

    def hold(self, name: str) -> None:
        """Let no more attempts begin on a node; what runs there goes on."""
        node = self._nodes.get(name)
        if node is None or not node.accepts:
            return
        node.accepts = False
        self._unreserve(node.reserved)
        self._count(node)
        self._kinds[node.kind] -= 1
        self._kinds += Counter()  # drop what is 0
        for attempt in self._waiting.values():  # one that avoids hosts may now have to begin there
            attempt.tried = False

    def node_down(self, name: str) -> tuple[str, ...]:
        """A node has gone; returns the tokens of what ran there. Each still has to be ended by :meth:`end`."""
        self.hold(name)
        self._changed.pop(name, None)
        node = self._nodes.pop(name, None)
        if node is None:
            return ()
        self._used[node.kind] -= node.counted_busy
        self._begun[node.room.pool] -= len(node.running)
        return tuple(node.running)

    def rooms(self) -> list[tuple[NodeRoom, bool]]:
        """All nodes, and whether each accepts attempts."""
        return [(node.room, node.accepts) for node in self._nodes.values()]

    # -- attempts -----------------------------------------------------------------------------------------------------

    def put(self, token: str, need: Need, avoid: Iterable[str] = ()) -> None:
        """An attempt waits from now on. Hosts in ``avoid`` run it only where no other node can."""
        self._waiting[token] = _Waiting(token, need, frozenset(avoid), self._next_turn())
        self._recent.append(need)
        self._puts += 1
        if self._puts <= RENEWED or self._puts % RENEWED == 0:
            count = len(self._recent)
            self.typical = Need(*(sum(getattr(each, name) for each in self._recent) / count for name in _RESOURCES))
            for node in self._nodes.values():
                self._count(node)

    def end(self, token: str) -> None:
        """An attempt is over, or waits no more."""
        if self._waiting.pop(token, None):
            self._unreserve(token)
        node = self._nodes.get(self._where.pop(token, ""))
        if node is not None and token in node.running:
            node.give_back(token)
            self._begun[node.room.pool] -= 1
            self._changed[node.room.name] = node
            self._count(node)

    def place(self) -> list[Placement]:
        """The attempts that begin now."""
        self._released = False
        placed = self._pass()
        while self._released:  # a node that was reserved is free again, perhaps for one that was passed over
            self._released = False
            placed += self._pass()
        self._changed.clear()
        for attempt in self._waiting.values():
            attempt.tried = True
        return placed

    def _pass(self) -> list[Placement]:
        placed: list[Placement] = []
        for attempt in [each for each in self._waiting.values() if each.overtaken >= MOST_OVERTAKEN]:
            self._reserve(attempt)
            placed += self._begin(attempt)
        nowhere: set[tuple[Need, frozenset[str]]] = set()
        sizes = {need: self._size(need) for need in {each.need for each in self._waiting.values()}}
        for attempt in sorted(self._waiting.values(), key=lambda each: (-sizes[each.need], each.turn)):
            if attempt.token in self._waiting and (attempt.need, attempt.avoid) not in nowhere:
                begun = self._begin(attempt)
                placed += begun
                if not begun:
                    nowhere.add((attempt.need, attempt.avoid))
        return placed

    def _begin(self, attempt: _Waiting) -> list[Placement]:
        """Let an attempt begin where it fits best; empty where it fits nowhere now."""
        node = self._best(attempt)
        if node is None:
            return []
        del self._waiting[attempt.token]
        self._unreserve(attempt.token)
        self._where[attempt.token] = node.room.name
        self._begun[node.room.pool] += 1
        for other in self._waiting.values():
            if other.turn < attempt.turn and node.room.holds(other.need):
                other.overtaken += 1
                if other.overtaken >= MOST_OVERTAKEN:
                    self._reserve(other)
        placement = node.take(attempt.token, attempt.need)
        self._count(node)
        return [placement]

    def _best(self, attempt: _Waiting) -> PackedNode | None:
        need = attempt.need
        nodes = self._changed if attempt.tried else self._nodes
        free = [node for node in nodes.values() if node.accepts and node.reserved in ("", attempt.token)]
        free = [node for node in free if node.fits(need) and not self._shuns(attempt, node)]
        return min(
            free,
            key=lambda node: (not need.gpus and node.room.gpus > 0, *node.left_over(need), node.turn),
            default=None,
        )

    def _shuns(self, attempt: _Waiting, node: PackedNode) -> bool:
        """Whether an attempt avoids the node, and another one could run it."""
        if node.room.host not in attempt.avoid:
            return False
        return any(each.room.host not in attempt.avoid and each.room.holds(attempt.need) for each in self._open())

    def _reserve(self, attempt: _Waiting) -> None:
        """Reserve for an attempt the node on which the least has to become free, unless it has one."""
        if attempt.token in self._reserved:
            return
        free = [node for node in self._open() if not node.reserved and node.room.holds(attempt.need)]
        free = [node for node in free if not self._shuns(attempt, node)]
        if free:
            node = self._reserved[attempt.token] = min(free, key=lambda node: (node.to_free(attempt.need), node.turn))
            node.reserved = attempt.token
            self._count(node)

    def _unreserve(self, token: str) -> None:
        node = self._reserved.pop(token, None)
        if node is not None:
            node.reserved, self._released = "", True
            self._changed[node.room.name] = node
            self._count(node)

    def _open(self) -> Iterator[PackedNode]:
        return (node for node in self._nodes.values() if node.accepts)

    def _size(self, need: Need) -> float:
        """How large a need is: the part of a node that it takes, of the kind of node that it suits best."""
        return min((kind.part(need) for kind in self._kinds if kind.holds(need)), default=0.0)

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns

    # -- how much more ------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Attempts that it wants to have, those that run and those that wait.

        As many wait as fill what is free if they need what is typical, and some more to choose from.
        """
        if not self._kinds:
            return len(self._where)
        homeless = sum(not any(kind.holds(each.need) for kind in self._kinds) for each in self._waiting.values())
        ahead = min(MOST_AHEAD, max(LEAST_AHEAD, math.ceil(SHARE_AHEAD * len(self._where))))
        ahead = ahead if homeless < MOST_HOMELESS else 0
        return len(self._where) + self._fill.total() + min(homeless, MOST_HOMELESS) + ahead

    def room_in(self, pool: str) -> int:
        """Attempts of the typical need that a pool has and could begin now."""
        return self._begun[pool] + self._fill[pool]

    def _count(self, node: PackedNode) -> None:
        """Count again how many typical attempts there is room for, after a change of the node."""
        there = node.accepts and not node.reserved
        self._fill[node.room.pool] -= node.counted
        node.counted = node.room_for(self.typical) if there else 0
        self._fill[node.room.pool] += node.counted
        if node.busy != node.counted_busy:
            self._used[node.kind] += node.busy - node.counted_busy
            node.counted_busy = node.busy

    @property
    def running(self) -> int:
        """Attempts that have begun and not ended."""
        return len(self._where)

    @property
    def slots(self) -> dict[str, float]:
        """Pool -> attempts of the typical need that its nodes run at a time.

        Of a held node only what is in use counts.
        """
        found: defaultdict[str, float] = defaultdict(float)
        for kind, count in self._kinds.items():
            found[kind.pool] += count / self._part(kind)
        for node in self._nodes.values():
            if not node.accepts:
                found[node.room.pool] += node.busy / self._part(node.kind)
        return found

    @property
    def busy(self) -> float:
        """What is in use of all :attr:`slots`."""
        return sum(used / self._part(kind) for kind, used in self._used.items())

    def _part(self, kind: NodeRoom) -> float:
        """The part of a node of this kind that the typical need takes."""
        return min(1.0, kind.part(self.typical))


_RESOURCES = ("cores", "gpus", "memory")
