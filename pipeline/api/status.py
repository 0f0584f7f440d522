"""What ``Campaign.status`` and ``Campaign.wait`` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..studies.campaign_status import ObservedCampaign


@dataclass(frozen=True)
class CampaignStatus:
    """A snapshot of a campaign. The numbers of trials are those of the whole study.

    Attributes:
        state: ``starting`` (it waits for workers), ``running``, ``stopping``; ``ended``, ``stopped`` (before its own
            end, so that it can be resumed) or ``died``.
        reason: Why it ended or stopped, in words; empty before.
        code: The exit code of its driver, see :mod:`pilotune.exit_codes`; None before the end.
        workers: Workers that are connected.
        running: Trials that run.
        complete: Trials in this state; ``pruned`` and ``failed`` likewise.
        budget: Most trials of the study; None if they are not limited.
        best_number: The best trial; None before the first complete one.
        best_values: Its values.
        best_params: Its parameters and constants.
        seconds: Since the campaign began, until its last sign of life.
        seconds_left: The driver's estimate; None while it is not known.
        waiting: What the campaign waits for, in words; empty while it makes progress.
        warnings: Sentences on what failed and did not stop the campaign.

    >>> CampaignStatus("running", complete=3, running=2, budget=10).alive
    True
    """

    state: str
    reason: str = ""
    code: int | None = None
    workers: int = 0
    running: int = 0
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    budget: int | None = None
    best_number: int | None = None
    best_values: tuple[float, ...] | None = None
    best_params: Mapping[str, Any] | None = None
    seconds: float = 0.0
    seconds_left: float | None = None
    waiting: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether its driver is running."""
        return self.state in ("starting", "running", "stopping")


def public_status(campaign: ObservedCampaign) -> CampaignStatus:
    """The public part of what a driver has written."""
    status = campaign.status
    return CampaignStatus(
        state=campaign.word,
        reason=status.reason,
        code=status.code,
        workers=status.workers,
        running=status.running,
        complete=status.complete,
        pruned=status.pruned,
        failed=status.failed,
        budget=status.budget,
        best_number=status.best_number,
        best_values=None if status.best_values is None else tuple(status.best_values),
        best_params=status.best_params,
        seconds=max(0.0, status.updated - status.started),
        seconds_left=status.time_left,
        waiting=status.waiting,
        warnings=tuple(status.warnings),
    )
