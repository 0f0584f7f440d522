"""What ``pilotune site check`` sees at a pool, and the form of what it says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ...filesystems import Mount
from ..site import PoolSpec


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: What was looked at.
        state: Whether a campaign can rely on it.
        text: What was found, and where it is not ok what would be right.
        pool: Of which pool; empty for the site as a whole.
    """

    name: str
    state: State
    text: str
    pool: str = ""


@dataclass
class Facts:
    """What became of the block that was sent to a pool, and what was found in it.

    Attributes:
        pool: As it was sent: small.
        whole: As the site file has it.
        scheduler: The site's.
        job: The scheduler's id.
        refused: The scheduler's words where it did not take the block.
        waited: Seconds in the queue; None where it did not start.
        reason: Why it waits or ended, in the scheduler's words.
        wait: Seconds that it was given to start.
        trouble: A sentence: why it did not start, or no worker came.
        broken: Why Parsl gave the pool's executor up.
        words: The block's own last ones.
        set_up: Whether modules and set-up lines are behind it.
        set_up_lines: How many lines the site file gives.
        nodes, workers: That registered.
        probes: What :func:`.probe.probe` returned on each worker.
        errors: Of probes that brought nothing.
        own_addresses: Interface -> address of the driver's host.
        addresses: That workers are told.
        network: Whether the site file says which.
        here: Of the driver: ``python``, ``packages``.
        mount: What the run directory lies on here.
        folder: The run directory's.
        marker: What the driver wrote there.
        seen: Markers of workers that the driver could read.
    """

    pool: PoolSpec
    whole: PoolSpec
    scheduler: str
    job: str = ""
    refused: str = ""
    waited: float | None = None
    reason: str = ""
    wait: float = 0.0
    trouble: str = ""
    broken: str = ""
    words: str = ""
    set_up: bool = False
    set_up_lines: int = 0
    nodes: int = 0
    workers: int = 0
    probes: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    own_addresses: Mapping[str, str] = field(default_factory=dict)
    addresses: Sequence[str] = ()
    network: bool = False
    here: Mapping[str, Any] = field(default_factory=dict)
    mount: Mount = field(default_factory=Mount)
    folder: str = ""
    marker: str = ""
    seen: Sequence[str] = ()

    @property
    def local(self) -> bool:
        return self.scheduler == "local"

    @property
    def last_words(self) -> str:
        """As a sentence."""
        if self.words:
            return f"Its last words: {self.words}."
        return f"It said nothing: do the nodes see {self.folder}?"
