"""What ``pilotune site check`` finds at a pool, and the lines of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ...filesystems import Mount
from ..site import PoolSpec


class State(StrEnum):
    """Whether a campaign can rely on what was checked."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        name: What was checked.
        state: Whether a campaign can rely on it.
        text: What was found and, unless it is ok, what to do.
        pool: The pool; empty for the site as a whole.
    """

    name: str
    state: State
    text: str
    pool: str = ""


@dataclass
class Facts:
    """What became of the block that was sent to a pool, and what was found in it.

    Attributes:
        pool: The pool as the block was sent: small.
        whole: The pool as the site file has it.
        scheduler: The site's scheduler.
        job: The scheduler's id of the block's job.
        refused: The scheduler's words when it refused the block; else empty.
        waited: Seconds that the block was queued; None when it did not start.
        reason: The scheduler's words on why it waits, or how it ended.
        wait: Seconds for which it has been waited for.
        trouble: Why it did not start, or why no worker registered; empty when all went well.
        broken: Why Parsl gave up the pool's executor; empty while it has not.
        words: The last lines of the block's stderr.
        set_up: Whether its modules and set-up lines have run.
        set_up_lines: How many of them the site file has.
        nodes: Nodes that have registered.
        workers: Workers that have registered.
        probes: What :func:`.probe.probe` returned on each worker.
        errors: Errors of probes that returned nothing.
        own_addresses: Interface -> address of the driver's host.
        addresses: The addresses that workers try.
        network: Whether the site file's ``network`` gives them.
        here: ``python`` and ``packages`` of the driver.
        mount: The driver's file system of the run directory.
        folder: The folder of the run directory that is checked.
        marker: Name and contents of the file that the driver wrote there.
        seen: Names of the files of workers that the driver could read.
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
        """Whether blocks are processes of this host."""
        return self.scheduler == "local"

    @property
    def last_words(self) -> str:
        """A sentence with the last lines of the block's stderr."""
        if self.words:
            return f"Its last output: {self.words}."
        return f"It wrote nothing to stderr: do the nodes see {self.folder}?"
