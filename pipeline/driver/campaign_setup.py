"""Describes with what a campaign runs, for its study's record: the study file, the site, and the versions."""

from __future__ import annotations

import platform
import socket
from typing import Any

from ...version import __version__
from .settings import RunSettings

LONGEST_STUDY = 100_000
"""Characters of a study file that are kept."""


def campaign_setup(settings: RunSettings) -> dict[str, Any]:
    """The value of the attribute SETUP. Only versions of what is imported anyway are in it."""
    import numpy
    import optuna

    versions = {"pilotune": __version__, "optuna": optuna.__version__, "numpy": numpy.__version__}
    return {
        "site": settings.site.name,
        "scheduler": settings.site.scheduler,
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "versions": versions,
        "study": settings.study_file.resolved()[:LONGEST_STUDY],
    }
