"""Runs the campaigns of all tests that take a ``lab``, several at a time and on all schedulers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ...support.campaigns import LONG, Case, in_threads, told_by_drivers
from .lab import Lab, SlurmLab

AT_ONCE = 7
"""Campaigns that run at the same time. They mostly wait, for a walltime or a scheduler."""

LIMIT = 10 * LONG
"""Seconds that a test waits for its campaign, which first waits for others to end."""


def cases_of(items: list[pytest.Item]) -> dict[tuple[Case, str], Lab]:
    """The campaigns of the tests, each with its scheduler."""
    found: dict[tuple[Case, str], Lab] = {}
    for item in items:
        lab = getattr(item, "callspec", None) and item.callspec.params.get("lab")
        if isinstance(lab, Lab):
            found |= {(case, lab.name): lab for case in item.function.cases}
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share these campaigns one after the other, so that no other test meets them."""
    sharing = [item for item in items if cases_of([item])]
    if sharing:
        place = items.index(sharing[0])
        rest = [item for item in items if item not in set(sharing)]
        before = len([item for item in items[:place] if item not in set(sharing)])
        items[:] = [*rest[:before], *sharing, *rest[before:]]


@pytest.fixture(scope="session")
def campaigns(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Case, Lab], Any]]:
    """Gives the result of a campaign on a scheduler; all of them start when the first one is asked for."""
    cases = cases_of(request.session.items)
    slurm, no_slurm = None, None
    if any(isinstance(lab, SlurmLab) for lab in cases.values()):
        try:
            slurm = request.getfixturevalue("slurm_lab")
        except (pytest.skip.Exception, pytest.fail.Exception) as reason:
            no_slurm = reason
    calls: dict[tuple[Case, str], Callable[[], Any]] = {}
    for (case, name), lab in cases.items():
        folder = tmp_path_factory.mktemp(f"{name}-{case.__name__}", numbered=False)
        if isinstance(lab, SlurmLab):
            if slurm:
                calls[case, name] = partial(told_by_drivers, case, folder, replace(lab, slurm=slurm))
        else:
            calls[case, name] = partial(told_by_drivers, case, folder, lab)

    with in_threads(calls, AT_ONCE) as running:

        def result_of(case: Case, lab: Lab) -> Any:
            if no_slurm is not None and isinstance(lab, SlurmLab):
                raise no_slurm
            return running[case, lab.name].result(LIMIT)

        yield result_of


@pytest.fixture
def result(request: pytest.FixtureRequest, lab: Lab, campaigns: Callable[[Case, Lab], Any]) -> Any:
    """What the test's campaign came to."""
    return campaigns(request.function.case, lab)
