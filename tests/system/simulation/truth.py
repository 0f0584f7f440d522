"""Records what really happened in a seed's world, independently of the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from pilotune.pipeline.fidelity import Origin
from pilotune.pipeline.trial.files import TrialFiles
from pilotune.pipeline.trial.protocol import AttemptSpec, Outcome
from pilotune.providers.blocks.packed_node import Need, Placement
from pilotune.providers.blocks.packing import MOST_OVERTAKEN
from pilotune.providers.simulated.faults import Witness
from tests.support.packing import Ledger

from .surroundings import Surroundings


@dataclass(frozen=True)
class Written:
    """An outcome that a worker wrote.

    Attributes:
        readable: The file on disk is not corrupt.
        at: When, in physical seconds.
    """

    outcome: Outcome
    readable: bool
    at: float


class Truth(Witness):
    """Records all workers of all drivers, and writes their outcomes to disk, some of them corrupted."""

    def __init__(self, world: Surroundings):
        super().__init__()
        self.world = world
        self.random = Random(f"disk {world.case.seed}")
        self.written: list[Written] = []
        self.starts: Counter[str] = Counter()  # how often each attempt was begun, by its token
        self.params: dict[int, dict[str, Any]] = {}
        self.called: Counter[int] = Counter()  # how often the callbacks of each trial were called, by its number
        self.given_up: set[int] = set()  # trials whose callbacks were given up
        self.spoken: dict[tuple[int, int, float], AttemptSpec] = {}  # number, step, value
        self.newest: dict[int, int] = {}  # the newest attempt that has begun, by the trial's number
        self.lineage: dict[int, dict[int, float]] = {}  # step -> first value, of the newest attempt and those before it
        self.required: dict[int, dict[int, float]] = {}  # what the lineage was when the newest attempt began
        self.snapshots: dict[str, int] = {}  # name of each copy of a checkpoint -> the steps that it holds
        self.inherited: dict[int, tuple[int, str]] = {}  # by number of a copied trial: its parent, and the copy
        self.told_by: dict[tuple[int, int, float], int] = {}  # number, step, value -> newest that carries it

    def of_pool(self, name: str) -> PoolTruth:
        """The record of one driver's pool, which adds what it sees of its workers to this one."""
        return PoolTruth(self, name)

    def snapshot(self, number: int, step: int) -> str:
        """A driver copies a trial's checkpoint; returns the name of the copy, and drops those from before."""
        folder = f"{number}/snapshot-{step}"
        for older in [each for each in self.snapshots if each.startswith(f"{number}/") and each != folder]:
            del self.snapshots[older]
        disk = self.world.disk
        self.snapshots[folder] = disk.saved.get(number, 0) if disk else step
        return folder

    def inherit(self, number: int, origin: Origin) -> int | None:
        """A driver fills the checkpoint of a trial; returns the step, None where it had one already."""
        if number in self.inherited:
            return None
        own = [each for each in self.snapshots if each.startswith(f"{origin.parent}/")]
        folder = origin.folder if origin.folder in self.snapshots else own[-1] if own else ""
        if self.world.disk is not None:
            self.world.disk.give(number, self.snapshots.get(folder, 0))
        self.inherited[number] = (origin.parent, folder)
        return int(folder.rpartition("-")[2]) if folder else 0

    def began(self, spec: AttemptSpec) -> None:
        super().began(spec)
        self.starts[spec.token] += 1
        known = self.params.setdefault(spec.number, dict(spec.params))
        assert known.items() <= spec.params.items(), f"trial {spec.number} has other parameters in its next attempt"
        self.params[spec.number] = dict(spec.params)
        if spec.attempt > self.newest.get(spec.number, 0):
            self.newest[spec.number] = spec.attempt
            self.required[spec.number] = dict(self.lineage.setdefault(spec.number, {}))
            self.heard(spec.number, spec.attempt, self.required[spec.number].items())

    def heard(self, number: int, attempt: int, reports: Iterable[Sequence[float]]) -> None:
        """These reports of earlier attempts are told for this one: by itself, or by a driver that read the log."""
        for step, value in reports:
            key = number, int(step), value
            self.told_by[key] = max(attempt, self.told_by.get(key, 0))

    def said(self, spec: AttemptSpec, step: int, value: float) -> None:
        super().said(spec, step, value)
        self.spoken[spec.number, step, value] = spec
        if (
            spec.attempt == self.newest[spec.number] and not spec.repeat
        ):  # an older one is late: the trial has gone on without it
            self.lineage[spec.number].setdefault(step, value)

    def wrote(self, spec: AttemptSpec, outcome: Outcome) -> None:
        super().wrote(spec, outcome)
        text, readable = json.dumps(outcome.to_dict()), True
        if not self.world.calm and self.random.random() < self.world.case.trouble.rubbish:
            text, readable = self._rubbish(text, outcome), False
            self.world.saw["rubbish on disk"] += 1
            if self.world.disk:  # if no driver receives it, the trial goes on from its checkpoint
                self.world.disk.lose(outcome.number, outcome.attempt)
        self.written.append(Written(outcome, readable, self.world.time.now))
        path = TrialFiles(Path(spec.directory)).outcome(spec.attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _rubbish(self, text: str, outcome: Outcome) -> str:
        fields = outcome.to_dict()
        spoiled: list[dict[str, Any]] = [
            {"token": f"{outcome.number}.{outcome.attempt}.somebody"},
            {"values": ["nan"], "kind": "complete"},
            {"reports": [["one", None]]},
            {"reports": 7},
            {"kind": "perhaps", "user_attrs": []},
            {"started": None},
        ]
        kind = self.random.randrange(len(spoiled) + 4)
        if kind < len(spoiled):
            return json.dumps(fields | spoiled[kind])
        return ["", text[: len(text) // 2], "[" * 5000, "\0" * 40][kind - len(spoiled)]


class PoolTruth(Witness):
    """What one driver's pool does: its attempts are those of the whole record, its nodes are its own."""

    def __init__(self, truth: Truth, name: str):
        self.truth, self.name, self.ledger = truth, name, Ledger()
        self.begun, self.unbegun, self.reports, self.outcomes = (
            truth.begun, truth.unbegun, truth.reports, truth.outcomes,
        )  # fmt: skip
        self.began, self.said, self.wrote = truth.began, truth.said, truth.wrote  # type: ignore[method-assign]
        self.came, self.went, self.freed = self.ledger.came, self.ledger.went, self.ledger.freed  # type: ignore[method-assign]
        case = truth.world.case
        for room in case.sizes.rooms if case.sizes and not case.plan else ():
            self.came(replace(room, name=f"{name}.{room.name}"))

    @property
    def declined(self) -> int:
        return self.truth.declined

    @declined.setter
    def declined(self, number: int) -> None:
        self.truth.declined = number

    def waits(self, spec: AttemptSpec) -> None:
        need, sizes = Need.of(spec), self.truth.world.case.sizes
        assert sizes is None or sizes.fits(need), f"{spec.token} takes {need}, which fits on no node, and was submitted"
        self.ledger.waits(spec)

    def placed(self, spec: AttemptSpec, placement: Placement) -> None:
        overtaken, saw = self.ledger.placed(spec, placement), self.truth.world.saw
        saw["attempts packed"] += 1
        saw["attempts overtaken"] += overtaken > 0
        saw["attempts that had a node reserved"] += overtaken >= MOST_OVERTAKEN
        saw["GPUs shared"] += 0 < spec.gpus < 1
