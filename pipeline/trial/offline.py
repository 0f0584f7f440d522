"""Builds a trial without a driver: to call an objective in a debugger, a notebook, a test or a doctest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .api import Trial
from .link import DriverConnection, Stopping
from .protocol import AttemptSpec


class OfflineConnection(DriverConnection):
    """Answers like a driver, but by fixed rules; keeps what the objective says. It works in any process.

    Args:
        prune_at: The first step at which reports are answered with "prune"; None: every answer is "go on".
        yield_at: The first step at which the attempt is asked to yield; None: never.
        values: What is suggested, by parameter name. Others get the lower end of their range, or the first choice.

    Attributes:
        reports: Step and value of each report, in order.
        user_attrs: What was set.
        system_attrs: The same.
        study_attrs: The study's attributes that were set, ``user`` and ``system``.
    """

    bound_to_process = False
    alone = True

    def __init__(
        self, prune_at: int | None = None, yield_at: int | None = None, values: Mapping[str, Any] | None = None
    ):
        self.prune_at, self.yield_at, self.values = prune_at, yield_at, dict(values or {})
        self.reports: list[tuple[int, float]] = []
        self.user_attrs: dict[str, Any] = {}
        self.system_attrs: dict[str, Any] = {}
        self.study_attrs: dict[str, dict[str, Any]] = {"user": {}, "system": {}}
        self._yield = False

    def report(self, step: int, value: float) -> Stopping:
        self.reports.append((step, value))
        self._yield = self._yield or (self.yield_at is not None and step >= self.yield_at)
        return "prune" if self.prune_at is not None and step >= self.prune_at else ""

    def suggest(self, name: str, distribution: str) -> Any:
        attributes = json.loads(distribution)["attributes"]
        default = attributes["choices"][0] if "choices" in attributes else attributes["low"]
        return self.values.get(name, default)

    def ask(self, what: str, arguments: dict[str, Any]) -> Any:
        """The answers of a study without trials."""
        if what == "set_study_attr":
            self.study_attrs[arguments["kind"]][arguments["key"]] = arguments["value"]
        if what == "study_attrs":
            return self.study_attrs
        return 0 if what == "n_trials" else {"trials": [], "forms": [], "more": False}

    def set_attr(self, key: str, value: Any, *, system: bool = False) -> None:
        (self.system_attrs if system else self.user_attrs)[key] = value

    def yield_asked(self) -> bool:
        return self._yield


def offline_trial(
    params: Mapping[str, Any] | None = None,
    *,
    checkpoint_dir: str | os.PathLike[str] = ".",
    connection: DriverConnection | None = None,
    **spec: Any,
) -> Trial:
    """A trial of a study that does not exist; nothing is written.

    Args:
        params: The configuration. Without one the objective defines the space as it runs (Optuna's style).
        checkpoint_dir: The trial's ``checkpoint_dir``.
        connection: What answers it; default: everything is "go on".
        **spec: Fields of :class:`.AttemptSpec`, such as ``number``, ``cores`` or ``seed``.

    >>> trial = offline_trial({"lr": 0.1}, number=7)
    >>> trial
    <pilotune.Trial 7 of offline, attempt 1, params={'lr': 0.1}>
    >>> trial.report(0.9, step=1)
    """
    fields: dict[str, Any] = {
        "token": "0.1.offline",
        "study": "offline",
        "number": 0,
        "attempt": 1,
        "seed": 1,
        "n_values": 1,
        "directions": ["minimize"],
        "defines_space": not params,
        "space_names": list(params or ()),
        "directory": str(checkpoint_dir),
        **spec,
    }
    return Trial(
        AttemptSpec(params=dict(params or {}), **fields), Path(checkpoint_dir), connection or OfflineConnection()
    )
