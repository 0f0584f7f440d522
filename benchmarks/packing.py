"""How well trials of different sizes fill nodes, beside simpler ways of placing them.

``python benchmarks/packing.py [--small] [--keep] [--trials 200] [--seeds 3]``

Trials of 1, 2, 4 and 8 GPUs run on nodes of 8 GPUs, simulated on a virtual clock. Each way of placing them gets the
same trials in the same order. All but the last know only the trials that the campaign has asked for by then.

- packer: :class:`pilotune.providers.blocks.packing.Packer`, as campaigns use it.
- in order: the next trial waits until it fits, and all behind it wait, too.
- backfill: any waiting trial that fits begins, the oldest first; as many wait as with the packer.
- all known: every trial is there from the start, the largest that fits begins first. A campaign cannot do that.

Utilization is GPU time in use until the last trial is asked for; longest wait is that of the trials of 8 GPUs, in mean
durations, from when one was asked for to its start.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import mean

import common

from pilotune.providers.blocks.packed_node import Need, NodeRoom
from pilotune.providers.blocks.packing import LEAST_AHEAD, SHARE_AHEAD, Packer

GPUS = 8
MIXES = {
    "equally many": (1, 1, 1, 1),
    "mostly small": (12, 4, 2, 1),
    "mostly large": (1, 2, 4, 12),
}
"""Of trials with 1, 2, 4 and 8 GPUs, how many there are of each."""

SIZES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Trial:
    """One trial: its number, its GPUs and how long it runs."""

    number: int
    gpus: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """The result of one run."""

    utilization: float
    longest_wait: float


def trials(mix: tuple[int, ...], number: int, seed: int, *, proportional: bool) -> list[Trial]:
    """Trials with lognormal durations of mean 1; ``proportional``: larger ones run longer, as their size."""
    draw = random.Random(seed)
    sizes = draw.choices(SIZES, mix, k=number)
    scale = mean(sizes) if proportional else 1.0
    drawn = [draw.lognormvariate(-0.125, 0.5) for _ in sizes]
    times = [seconds * (size / scale if proportional else 1.0) for size, seconds in zip(sizes, drawn, strict=True)]
    return [Trial(number, sizes[number], seconds) for number, seconds in enumerate(times)]


class Placing:
    """A way of placing: takes trials, says which begin, and is told of their ends."""

    def wants(self) -> int:
        """How many trials may be in its hands."""
        raise NotImplementedError

    def put(self, trial: Trial) -> None:
        raise NotImplementedError

    def begin(self) -> Iterator[int]:
        """Numbers of the trials that begin now."""
        raise NotImplementedError

    def end(self, trial: Trial) -> None:
        raise NotImplementedError


class Packed(Placing):
    """The packer. ``everything``: it gets all trials at once."""

    def __init__(self, nodes: int, *, everything: bool = False):
        self._packer, self._everything = Packer(Need(1, mean(SIZES))), everything
        for node in range(nodes):
            self._packer.node_up(NodeRoom(f"n{node}", f"n{node}", "gpu", cores=GPUS, gpus=GPUS, trials=GPUS))

    def wants(self) -> int:
        return 10**9 if self._everything else self._packer.capacity

    def put(self, trial: Trial) -> None:
        self._packer.put(str(trial.number), Need(1, trial.gpus))

    def begin(self) -> Iterator[int]:
        return (int(each.token) for each in self._packer.place())

    def end(self, trial: Trial) -> None:
        self._packer.end(str(trial.number))


class InOrder(Placing):
    """First fit; ``passing``: what does not fit is passed by what does."""

    def __init__(self, nodes: int, *, passing: bool):
        self._free, self._passing = [GPUS] * nodes, passing
        self._waiting: deque[Trial] = deque()
        self._where: dict[int, int] = {}

    def wants(self) -> int:
        running = len(self._where)
        ahead = max(LEAST_AHEAD, math.ceil(SHARE_AHEAD * running)) if self._passing else 1
        return running + ahead + int(sum(self._free) / mean(SIZES))

    def put(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def begin(self) -> Iterator[int]:
        for trial in list(self._waiting):
            node = next((n for n, free in enumerate(self._free) if free >= trial.gpus), None)
            if node is not None:
                self._waiting.remove(trial)
                self._free[node] -= trial.gpus
                self._where[trial.number] = node
                yield trial.number
            elif not self._passing:
                return

    def end(self, trial: Trial) -> None:
        self._free[self._where.pop(trial.number)] += trial.gpus


WAYS = {
    "packer": lambda nodes: Packed(nodes),
    "in order": lambda nodes: InOrder(nodes, passing=False),
    "backfill": lambda nodes: InOrder(nodes, passing=True),
    "all known": lambda nodes: Packed(nodes, everything=True),
}


def run(way: Placing, all_trials: list[Trial], nodes: int) -> Figures:
    """Run the trials one way."""
    now, used, last, held, order = 0.0, 0.0, 0.0, 0, count()
    todo, asked, waits = deque(all_trials), dict[int, float](), [0.0]
    ends: list[tuple[float, int, Trial]] = []
    begun: list[tuple[float, Trial]] = []
    while todo or ends or held:
        while True:
            while todo and held < way.wants():
                trial = todo.popleft()
                asked[trial.number], held = now, held + 1
                way.put(trial)
            started = [all_trials[number] for number in way.begin()]
            for trial in started:
                begun.append((now, trial))
                heapq.heappush(ends, (now + trial.seconds, next(order), trial))
                if trial.gpus == GPUS:
                    waits.append(now - asked[trial.number])
            if not started:
                break
        if not todo and not last:
            last = now  # from here on nothing can fill what becomes free
        now, _, trial = heapq.heappop(ends)
        held -= 1
        way.end(trial)
    used = sum(trial.gpus * max(0.0, min(last, at + trial.seconds) - at) for at, trial in begun)
    return Figures(used / (last * GPUS * nodes) if last else 1.0, max(waits))


def measure(total: int, seeds: int) -> str:
    rows: list[list] = []
    for nodes, (mix, weights), proportional in itertools.product((1, 4), MIXES.items(), (False, True)):
        row: list = [nodes, mix, "longer for larger ones" if proportional else "alike"]
        for name, make in WAYS.items():
            found = [
                run(make(nodes), trials(weights, total * nodes, seed, proportional=proportional), nodes)
                for seed in range(seeds)
            ]
            row.append(f"{mean(each.utilization for each in found):.3f}")
            row += [] if name == "all known" else [f"{max(each.longest_wait for each in found):.1f}"]
        rows.append(row)
    head = ["nodes", "trials of 1, 2, 4, 8 GPUs", "durations"]
    for name in WAYS:
        head += [name] if name == "all known" else [name, "wait"]
    return common.table(
        "Utilization of nodes with 8 GPUs, and the longest wait of a trial that takes all 8", head, rows
    )


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--trials", type=int, default=200, help="for each node [200]")
    parser.add_argument("--seeds", type=int, default=3, help="[3]")
    options = parser.parse_args()
    text = measure(40 if options.small else options.trials, 1 if options.small else options.seeds)
    common.finish("Packing", text, options.keep)


if __name__ == "__main__":
    main()
