"""Adds to an audit the jobs of dead drivers that may still be at the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...grammar import count

if TYPE_CHECKING:
    from ..analysis.audit import Audit

SHOWN = 20
"""Jobs that a note names."""


def add_unfinished_jobs(result: Audit) -> None:
    """Add a note for jobs of dead drivers that may still be at the scheduler; local blocks end by themselves."""
    from ...providers.blocks.job_log import read_job_log
    from ..record import RunDirectory

    for run in result.dead:
        record = RunDirectory(run).jobs
        left = [job.job or job.name for job in read_job_log(record) if not job.ended and job.scheduler != "local"]
        if left:
            words = ", ".join(left[:SHOWN])
            jobs = count(len(left), "job")
            result.note(f"{jobs} of a dead driver may not have ended ({words}); pilotune clean {result.study} ends "
                        "what is left of them", file=record)  # fmt: skip
