"""Which artifacts a study has: those of its complete trials, the best trial first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..record import artifacts
from .reading import StudyData

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class KeptTrial:
    """A complete trial with its artifacts.

    Attributes:
        trial: The trial, as Optuna's.
        folder: Where its artifacts lie.
        sizes: Bytes of each, by name.
    """

    trial: FrozenTrial
    folder: Path
    sizes: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(self.sizes.values())

    def as_dict(self, metrics: tuple[str, ...]) -> dict[str, Any]:
        """The trial for JSON. The keys do not change between versions."""
        return {
            "number": self.trial.number,
            "values": dict(zip(metrics, self.trial.values, strict=False)),
            "bytes": self.size,
            "files": [
                {"name": name, "bytes": size, "path": str(self.folder / name)} for name, size in self.sizes.items()
            ],
        }


def kept_in_study(data: StudyData, folder: Path) -> tuple[list[KeptTrial], list[int]]:
    """The trials that have artifacts, the best first (:func:`pilotune.pipeline.record.best_first.best_first`).

    Args:
        data: The study.
        folder: Its folder of the run directories, ``<runs>/<name>``.

    Returns:
        The trials, and the numbers of those that are in the folder though the study has no such complete trial.
    """
    from optuna.study import StudyDirection

    from ..record.best_first import best_first

    home = artifacts.artifacts_folder(folder)
    here = set(artifacts.kept_trials(home))
    complete = [trial for trial in data.trials if trial.number in here and trial.state.name == "COMPLETE"]
    ordered = best_first(complete, [StudyDirection[word.upper()] for word in data.directions])
    found = [
        KeptTrial(trial, home / str(trial.number), sizes)
        for trial in ordered
        if (sizes := artifacts.artifact_sizes(home, trial.number))
    ]
    return found, sorted(here - {trial.number for trial in complete})
