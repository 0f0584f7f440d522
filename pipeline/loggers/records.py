"""What is written about a trial, as the driver sends it to the loggers' process: one line of JSON each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..trial.from_json import build, read_json


@dataclass(frozen=True)
class TrialRecord:
    """A trial, with the reports that are new, or with all of them at its end.

    Attributes:
        number: The trial's.
        params: Its parameters and constants.
        started: Unix seconds.
        reports: ``[step, value, Unix seconds]`` in their order.
        state: ``complete``, ``pruned`` or ``failed``; empty while it runs.
        values: At its end the final values by metric.
        ended: Unix seconds; None while it runs.
        tags: What else is known at its end: host, attempts, seconds, the reason of a failure.
        metric: Name of what the reports are values of.
    """

    number: int
    params: dict[str, Any]
    started: float
    reports: list[list[float]] = field(default_factory=list)
    state: str = ""
    values: dict[str, float] = field(default_factory=dict)
    ended: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    metric: str = "value"

    @property
    def run(self) -> str:
        """The name of its run.

        >>> TrialRecord(7, {}, 0.0).run
        'trial-7'
        """
        return f"trial-{self.number}"

    @property
    def report_key(self) -> str:
        """The name of the curve of its reports."""
        return f"reports/{self.metric}"

    def to_line(self) -> str:
        """The record as a line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> TrialRecord:
        """Read a line. Raises ValueError for what is not one."""
        return build(cls, read_json(line))


def plain_params(params: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Parameters as all three tools take them: None, lists and mappings become text.

    >>> plain_params({"lr": 0.1, "layers": [3, 4], "bias": None})
    {'lr': 0.1, 'layers': '[3, 4]', 'bias': 'null'}
    """
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in params.items()
    }
