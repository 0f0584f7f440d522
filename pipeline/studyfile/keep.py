"""``trial: keep:`` of a study file: which files of trials stay."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ...fields import DefaultText, Section, TypeName, shown

MOST = 10**9
"""Most trials whose artifacts a study file may ask to keep."""


def _artifacts(value: Any) -> int | None:
    """Of how many trials artifacts are kept; None for all."""
    if value is None or value == "all":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in range(1, MOST + 1):
        raise ValueError(f"must be a whole number of trials from 1 on, or all, but is {shown(value)}")
    return int(value)


ArtifactCount = Annotated[
    int | None, BeforeValidator(_artifacts), TypeName("whole number, 1 or more, or `all`"), DefaultText("`all`")
]


class KeepOptions(Section):
    """``trial: keep:``, which files of trials are kept.

    Example::

        trial: {keep: {artifacts: 50}}
    """

    artifacts: ArtifactCount = Field(
        default=None,
        description="Of how many trials the files stay that they kept with `trial.artifact`: of the best complete "
        "ones, by the study's directions. Those of other trials are deleted. See [artifacts](how-to/artifacts.md).",
    )
