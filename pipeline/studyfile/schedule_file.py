"""Reads files of schedules, as ``pilotune export --schedule`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...fields import shown
from ...yamlfile import YamlFile, nearest

KEY = "schedule"
STAGE_KEYS = ("from", "trial", "params")


@dataclass(frozen=True)
class ScheduleStage:
    """A part of a schedule.

    Attributes:
        start: How many steps are done before it.
        params: The values that it has, and the lines for errors.
    """

    start: int
    params: YamlFile


def is_schedule(source: YamlFile) -> bool:
    """Whether a file of parameters is one of a schedule. A parameter may have this name, too: then it has a value."""
    stages = source.data.get(KEY)
    if isinstance(stages, list):
        return len(source.data) == 1 or any(isinstance(stage, dict) for stage in stages)
    return isinstance(stages, dict)


def read_schedule(source: YamlFile) -> Sequence[ScheduleStage]:
    """The stages of a file, checked.

    Raises:
        UserError: A stage lacks something, or they are not in their order.
    """
    if len(source.data) > 1:
        other = next(name for name in source.data if name != KEY)
        raise source.error("is beside a schedule; give a file of parameters or a schedule", other)
    if not isinstance(source.data[KEY], list) or not source.data[KEY]:
        raise source.error("must be a list of stages, as in [{from: 0, params: {lr: 0.1}}]", KEY)
    stages: list[ScheduleStage] = []
    for index, stage in enumerate(source.data[KEY]):
        key = f"{KEY}[{index}]"
        if not isinstance(stage, dict):
            raise source.error(f"must be a stage, as in {{from: 4, params: {{lr: 0.01}}}}, but is {shown(stage)}", key)
        for name in stage:
            if name not in STAGE_KEYS:
                raise source.error(f"there is no such key of a stage{nearest(str(name), STAGE_KEYS)}", f"{key}.{name}")
        if not isinstance(stage.get("params"), dict):
            raise source.error("needs `params`, a mapping, as in {from: 4, params: {lr: 0.01}}", key)
        start = stage.get("from")
        if type(start) is not int or start < 0:
            raise source.error(
                f"must be the number of steps before this stage, a whole number from 0, but is {shown(start)}",
                f"{key}.from",
            )
        if start != 0 and not stages:
            raise source.error(f"must be 0 in the first stage, but is {start}", f"{key}.from")
        if stages and start <= stages[-1].start:
            raise source.error(
                f"must be above {stages[-1].start}, that of the stage before, but is {start}", f"{key}.from"
            )
        stages.append(ScheduleStage(start, _params(source, key, stage["params"])))
    return stages


def _params(source: YamlFile, key: str, params: dict[str, Any]) -> YamlFile:
    before = f"{key}.params."
    lines = {name.removeprefix(before): line for name, line in source.lines.items() if name.startswith(before)}
    return YamlFile(source.path, params, lines)
