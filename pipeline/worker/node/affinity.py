"""Cores that workers are bound to, by the site file's ``affinity``, and the share that each rank of a trial has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BOUND = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY")
"""Variables by which an OpenMP library binds its threads to the worker's cores, one after the other."""


def is_bound(environment: Mapping[str, str]) -> bool:
    """Whether a worker with these variables is bound to cores.

    >>> is_bound({"GOMP_CPU_AFFINITY": "2,3", "KMP_AFFINITY": "explicit,proclist=[2,3]"}), is_bound({})
    (True, False)
    """
    return environment.get("KMP_AFFINITY", "").startswith("explicit,proclist=") and "GOMP_CPU_AFFINITY" in environment


def share(cores: Sequence[int], rank: int, ranks: int) -> list[int]:
    """The cores of one of several ranks: a part of its own, or a core that it shares where there are too few.

    >>> share([4, 5, 6, 7, 8], 0, 2), share([4, 5, 6, 7, 8], 1, 2), share([4, 5], 3, 4)
    ([4, 5], [6, 7, 8], [5])
    """
    if len(cores) < ranks:
        return [cores[rank % len(cores)]]
    return list(cores[rank * len(cores) // ranks : (rank + 1) * len(cores) // ranks])
