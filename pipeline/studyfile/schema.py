"""The study file's keys and what may stand at each. What one key means for another is checked in ``load``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ...fields import Bool, Duration, Mapping_, NotNegative, Number, Positive, Section, Size, Text, Texts, shown
from ..trial.protocol import DEFAULT_GRACE, DEFAULT_MAX_OUTPUT

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
DIRECTIONS = ("minimize", "maximize")


def _name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            "must be 1 to 128 letters, digits, '.', '_', '+' or '-', beginning with a letter or digit, "
            f"but is {shown(value)}"
        )
    return value


def _direction(value: Any) -> str:
    short = {"min": "minimize", "max": "maximize", "minimise": "minimize", "maximise": "maximize"}
    word = short.get(value.lower(), value.lower()) if isinstance(value, str) else value
    if word not in DIRECTIONS:
        raise ValueError(f"must be minimize or maximize, but is {shown(value)}")
    return str(word)


def _directions(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of minimize and maximize, but is {shown(value)}")
    return tuple(_direction(item) for item in value)


def _choice(value: Any) -> dict[str, Any]:
    """A sampler or pruner: its name, or a mapping with its name and its arguments."""
    if isinstance(value, str) and value:
        return {"name": value}
    if not isinstance(value, dict):
        raise ValueError(
            f"must be a name, or a mapping as in {{name: median, n_startup_trials: 5}}, but is {shown(value)}"
        )
    if not isinstance(value.get("name"), str):
        raise ValueError("must have a name, as in {name: median, n_startup_trials: 5}")
    return value


def _sampler(value: Any) -> dict[str, Any]:
    return _choice({"name": "tpe", **value} if isinstance(value, dict) else value)


def _command(value: Any) -> Any:
    return {"run": value} if isinstance(value, str | list) else value


def _run(value: Any) -> str | list[str]:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(isinstance(v, str | int | float) for v in value):
        return [v if isinstance(v, str) else shown(v) for v in value]
    raise ValueError(f"must be a command line, or a list of its words, but is {shown(value)}")


def _reports(value: Any) -> str:
    """``file``, or the regular expression of ``{stdout: ...}``."""
    if value == "file":
        return "file"
    if not isinstance(value, dict) or list(value) != ["stdout"] or not isinstance(value["stdout"], str):
        raise ValueError("must be file, or {stdout: REGULAR EXPRESSION} with a group (?P<value>...), "
                         f"but is {shown(value)}")  # fmt: skip
    try:
        groups = re.compile(value["stdout"]).groupindex
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    if "value" not in groups or set(groups) - {"value", "step"}:
        raise ValueError("needs a group (?P<value>...), and may have (?P<step>...) and no other")
    return str(value["stdout"])


def _points(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"must be a list of points, as in [{{lr: 0.01}}], but is {shown(value)}")
    return tuple(value)


def _constraints(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(
            f'must be a list of conditions in quotes, as in ["layers * units <= 512"], but is {shown(value)}'
        )
    return tuple(value)


class Command(Section):
    """``command:``, a program in any language."""

    run: Annotated[str | list[str], BeforeValidator(_run)]
    reports: Annotated[str, BeforeValidator(_reports)] = "file"
    shell: Bool = False


class Budget(Section):
    """When a study ends: whichever comes first.

    ``trials`` counts all trials of the study, of all drivers; ``time`` (s) is of one campaign; ``failures`` ends it
    after so many trials failed in a row; ``target`` is the value that is good enough.
    """

    trials: Positive | None = None
    time: Duration | None = None
    failures: Positive = 20
    target: Number | None = None


class TrialOptions(Section):
    """What one trial gets. Times in seconds, sizes in bytes; ``memory`` limits the data of the trial's process.

    ``expected`` is how long a whole trial runs (None: learned from those that finished), ``yield_before`` how long
    before its block's end an attempt is asked to yield (None: the worker's default).
    """

    timeout: Duration | None = None
    expected: Duration | None = None
    yield_before: Duration | None = None
    retries: NotNegative = 0
    retry_errors: Bool = False
    gpus: NotNegative = 0
    cores: Positive = 1
    nodes: Positive = 1
    ranks_per_node: Positive = 1
    isolate: Bool = True
    preload: Bool = True
    memory: Size | None = None
    max_output: Size = DEFAULT_MAX_OUTPUT
    grace: Duration = DEFAULT_GRACE


class StartFrom(Section):
    """``enqueue``: points to try first, whole or in part; ``studies``: names of studies to learn from."""

    enqueue: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_points)] = ()
    studies: Texts = ()


class StudySchema(Section):
    """All keys of a study file."""

    name: Annotated[str, BeforeValidator(_name)]
    objective: Text | None = None
    command: Annotated[Command | None, BeforeValidator(_command)] = None
    direction: Annotated[str | None, BeforeValidator(_direction)] = None
    directions: Annotated[tuple[str, ...] | None, BeforeValidator(_directions)] = None
    metrics: Texts = ()
    space: Mapping_ | None = None
    constraints: Annotated[tuple[str, ...], BeforeValidator(_constraints)] = ()
    sampler: Annotated[dict[str, Any], BeforeValidator(_sampler)] = Field(default_factory=lambda: {"name": "tpe"})
    pruner: Annotated[dict[str, Any], BeforeValidator(_choice)] | None = None
    budget: Budget | None = None
    trial: TrialOptions = TrialOptions()
    start_from: StartFrom = StartFrom()
    storage: Text | None = None
