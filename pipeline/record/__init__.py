"""What is kept: studies in their database, campaigns and leases, run directories, a list of this user's studies.

The names are loaded at their first use, so that a command that only reads run directories does not wait for Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import registry
    from .campaigns import Lease, Orphan, claim, leases, orphans, release, renew
    from .commit import LeaseLost
    from .connect import normalize_url
    from .definition import learn_from, open_storage, open_study
    from .guard import CommitResult
    from .mirror import LEARNED, OWNER
    from .rundir import RunDirectory, new_campaign_id
    from .saving import save_study
    from .storage import RecordStorage

__all__ = [
    "LEARNED",
    "OWNER",
    "CommitResult",
    "Lease",
    "LeaseLost",
    "Orphan",
    "RecordStorage",
    "RunDirectory",
    "claim",
    "learn_from",
    "leases",
    "new_campaign_id",
    "normalize_url",
    "open_storage",
    "open_study",
    "orphans",
    "registry",
    "release",
    "renew",
    "save_study",
]

_HOMES = {
    "campaigns": ("Lease", "Orphan", "claim", "leases", "orphans", "release", "renew"),
    "commit": ("LeaseLost",),
    "connect": ("normalize_url",),
    "definition": ("learn_from", "open_storage", "open_study"),
    "guard": ("CommitResult",),
    "mirror": ("LEARNED", "OWNER"),
    "rundir": ("RunDirectory", "new_campaign_id"),
    "saving": ("save_study",),
    "storage": ("RecordStorage",),
}


def __getattr__(name: str) -> Any:
    if name == "registry":
        return importlib.import_module(".registry", __name__)
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
