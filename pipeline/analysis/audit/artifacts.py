"""Checks that the artifacts of a study are those that its complete trials left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...record import artifacts
from .database import Claims, RecordedTrial
from .findings import Audit

Kept = Mapping[Path, Mapping[str, int]]
"""By the folder of a trial's artifacts, the bytes of each by name."""


def read_artifacts(known: Claims) -> Kept:
    """The artifacts in the folders of all campaigns of the study. To be read before the trials are."""
    found: dict[Path, dict[str, int]] = {}
    for folder in dict.fromkeys(
        os.path.realpath(Path(lease.run).parent) for lease in known.leases.values() if lease.run
    ):
        home = artifacts.artifacts_folder(Path(folder))
        for number in artifacts.kept_trials(home):
            found[home / str(number)] = artifacts.artifact_sizes(home, number)
    return found


def check_artifacts(found: Audit, trials: Iterable[RecordedTrial], kept: Kept) -> None:
    """Every trial that has artifacts is complete, and they are as its attempt left them.

    Args:
        found: Gets the count and the findings.
        trials: The study's.
        kept: What :func:`read_artifacts` has returned.
    """
    by_number = {trial.number: trial for trial in trials}
    for folder, sizes in kept.items():
        number = int(folder.name)
        trial = by_number.get(number)
        if not sizes and not folder.is_dir():  # a driver has deleted them since
            continue
        found.artifacts += 1
        if trial is None or trial.state != "complete":
            state = "does not exist" if trial is None else f"is {trial.state}"
            found.violation(f"there are artifacts of trial {number}, which {state}", number, folder)
            continue
        recorded = trial.artifacts if isinstance(trial.artifacts, dict) else {}
        lost = [name for name in recorded if name not in sizes]
        other = [name for name in recorded if name in sizes and sizes[name] != recorded[name]]
        for name in lost[:1]:
            found.violation(f"the artifact {name!r} of trial {number} is missing", number, folder)
        for name in other[:1]:
            what = f"the artifact {name!r} of trial {number} has {sizes[name]} bytes, but had {recorded[name]}"
            found.violation(f"{what} when its attempt ended", number, folder)
