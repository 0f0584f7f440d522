"""Stores studies in their database, campaigns' leases, run directories, and the list of this account's studies.

Each name is imported at its first use, so that a command that only reads run directories need not import Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import artifacts, known_studies
    from .conflicts import CommitResult
    from .due_callbacks import DueCallbacks
    from .first_points import enqueue
    from .leases import Lease, Orphan, claim, folder_of, orphans, release, renew, study_leases
    from .rundir import RunDirectory, new_campaign_id
    from .salvage import save_study
    from .storage import RecordStorage
    from .storage_urls import normalize_url, sqlite_file, sqlite_url
    from .study_definition import check_definition, learn_from, open_storage, open_study
    from .transfer import earlier_studies, in_its_space, keep_learned, learned, narrowed_in_words
    from .unit_of_work import LeaseLost

__all__ = [
    "CommitResult",
    "DueCallbacks",
    "Lease",
    "LeaseLost",
    "Orphan",
    "RecordStorage",
    "RunDirectory",
    "artifacts",
    "check_definition",
    "claim",
    "earlier_studies",
    "enqueue",
    "folder_of",
    "in_its_space",
    "keep_learned",
    "known_studies",
    "learn_from",
    "learned",
    "narrowed_in_words",
    "new_campaign_id",
    "normalize_url",
    "open_storage",
    "open_study",
    "orphans",
    "release",
    "renew",
    "save_study",
    "sqlite_file",
    "sqlite_url",
    "study_leases",
]

_MODULES = {
    "leases": ("Lease", "Orphan", "claim", "study_leases", "orphans", "release", "renew", "folder_of"),
    "unit_of_work": ("LeaseLost",),
    "storage_urls": ("normalize_url", "sqlite_file", "sqlite_url"),
    "study_definition": ("check_definition", "learn_from", "open_storage", "open_study"),
    "conflicts": ("CommitResult",),
    "transfer": ("earlier_studies", "in_its_space", "keep_learned", "learned", "narrowed_in_words"),
    "due_callbacks": ("DueCallbacks",),
    "first_points": ("enqueue",),
    "rundir": ("RunDirectory", "new_campaign_id"),
    "salvage": ("save_study",),
    "storage": ("RecordStorage",),
}


def __getattr__(name: str) -> Any:
    if name in ("artifacts", "known_studies"):
        return importlib.import_module(f".{name}", __name__)
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
