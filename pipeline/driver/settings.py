"""What to run and where, and what follows from it for the pool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..studyfile import StudyFile, TrialOptions
from .job_chain import JobSlot

if TYPE_CHECKING:
    from ...providers.blocks.resources import TrialResources
    from ...providers.site import Site

LABEL_LENGTH = 24
"""Most characters of the study's name in a job's name; schedulers cut long names."""


@dataclass(frozen=True)
class RunSettings:
    """What to run and where.

    Attributes:
        study_file: The study, with all overrides applied.
        site: The machine.
        storage_url: The database's URL, as ``normalize_url`` gives it.
        runs: Folder of the run directories, on a file system that all workers see.
        slot: The batch job that the driver itself runs in, for ``pilotune run --in-job``; None on a login node.
    """

    study_file: StudyFile
    site: Site
    storage_url: str
    runs: Path
    slot: JobSlot | None = None


def needs_of(study_file: StudyFile) -> TrialResources:
    """The resources that one trial needs."""
    from dataclasses import replace

    sizes, pools = study_file.sizes, study_file.pools.named if study_file.pools else ()
    if sizes is None:
        return resources_of(study_file.trial, pools)
    options = [case.options for case in sizes.cases() if case.options is not None]
    different = tuple(dict.fromkeys(resources_of(each, pools) for each in options))  # smallest first
    different = tuple(sorted(different, key=lambda each: (each.gpus, each.cores, each.memory or 0)))
    return replace(different[0], sizes=different) if len(different) > 1 else different[0]


def resources_of(trial: TrialOptions, pools: tuple[str, ...] = ()) -> TrialResources:
    """The resources that a trial with these options needs, of one of these pools."""
    from ...providers.blocks.resources import TrialResources

    return TrialResources(
        cores=trial.cores,
        gpus=trial.gpus,
        nodes=trial.nodes,
        ranks_per_node=trial.rank_counts.per_node,
        launcher=trial.launcher or "",
        memory=trial.memory,
        yield_before=trial.yield_before,
        pools=pools,
    )


def label_of(study_file: StudyFile, campaign_id: str) -> str:
    """The campaign's part of its blocks' job names: short, and different from that of any other campaign."""
    return f"{study_file.name[:LABEL_LENGTH]}-{campaign_id[-6:]}"
