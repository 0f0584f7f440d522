"""Where the data of real training runs are."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The folder of the data: ``PILOTUNE_DATA``, or ``../shared/data`` from the repository's root."""
    here = Path(__file__).resolve().parents[3]
    return Path(os.environ.get("PILOTUNE_DATA") or here.parent / "shared" / "data")
