"""A real `pilotune.Trial` without a driver, to call objectives directly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilotune import Trial
from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial


class Script(OfflineConnection):
    """Stands in for the driver: keeps what is reported, and prunes from step ``prune_at`` on."""

    def __init__(self, prune_at: int | None = None, values: dict[str, Any] | None = None):
        super().__init__(prune_at, values=values)

    @property
    def attrs(self) -> dict[str, Any]:
        """The user attributes that were set."""
        return self.user_attrs


def make_trial(folder: Path, params: dict[str, Any], connection: Script | None = None, **spec: Any) -> Trial:
    """A trial with ``params`` whose checkpoints go to ``folder``."""
    fields: dict[str, Any] = {"token": "0.1.c", "study": "s", "space_names": [], **spec}
    return offline_trial(params, checkpoint_dir=folder, connection=connection or Script(), **fields)
