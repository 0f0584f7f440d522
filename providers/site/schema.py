"""The site file's keys and what may stand at each. What one key means for another is checked in ``site``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from ...fields import Bool, Duration, NotNegative, Positive, Section, Size, Text, Texts, shown
from ...yamlfile import nearest

SCHEDULERS = ("local", "slurm", "pbs", "cobalt")
LAUNCHERS = ("single", "srun", "mpiexec", "aprun", "pbsdsh")
GPU_TYPES = ("nvidia", "amd", "intel")
RUNS = "pilotune-runs"  # in the working directory

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_CORES = r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*"
_AFFINITY = re.compile(rf"none|block|block-reverse|alternating|list:{_CORES}(?::{_CORES})*")


def _interfaces(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"must be the name of a network interface, or a list of them, but is {shown(value)}")
    return tuple(names)


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, but is {shown(value)}")
    if not value.isprintable() or " " in value.strip():  # it would end its line of the batch script
        raise ValueError(f"must be one word, but is {shown(value)}")
    return value.strip()


Word = Annotated[str, BeforeValidator(_word)]


class NetworkSchema(Section):
    interface: Annotated[tuple[str, ...], BeforeValidator(_interfaces)] | None = None
    address: Text | None = None


class BlocksSchema(Section):
    init: NotNegative | None = None
    min: NotNegative = 0
    max: NotNegative | None = None
    idle: Duration = 60.0


def _launcher(value: Any) -> dict[str, str]:
    data = {"name": value} if isinstance(value, str) else value
    if not isinstance(data, dict) or set(data) - {"name", "options"} or data.get("name") not in LAUNCHERS:
        raise ValueError(
            f"must be one of {', '.join(LAUNCHERS)}, or {{name: srun, options: --exclusive}}, but is {shown(value)}"
        )
    return {"name": data["name"], "options": str(data.get("options") or "")}


def _scheduler(value: Any) -> str:
    if value not in SCHEDULERS:
        hint = nearest(value, SCHEDULERS) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(SCHEDULERS)}, but is {shown(value)}{hint if '?' in hint else ''}")
    return str(value)


def _affinity(value: Any) -> str:
    if not isinstance(value, str) or not _AFFINITY.fullmatch(value):
        raise ValueError(
            "must be none, block, block-reverse, alternating, or the cores of each worker as in list:0-3:4-7, "
            f"but is {shown(value)}"
        )
    return value


def _gpu_type(value: Any) -> str:
    if value not in GPU_TYPES:
        raise ValueError(f"must be one of {', '.join(GPU_TYPES)}, but is {shown(value)}")
    return str(value)


def _site_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"must be letters, digits, '.', '_', '+' or '-', but is {shown(value)}")
    return value


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


def _pools(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping of pools by name, as in pools: {{cpu: {{queue: normal}}}}, "
                         f"but is {shown(value)}")  # fmt: skip
    for name in value:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the pool '{name}' must be named with letters, digits, '.', '_', '+' or '-'")
    return value


class DriverSchema(Section):
    queue: Word | None = None
    walltime: Duration = 86_400.0
    cores: Positive = 1
    memory: Size | None = None
    options: Texts = ()


class PoolSchema(Section):
    queue: Word | None = None
    walltime: Duration | None = None
    blocks: Annotated[BlocksSchema, BeforeValidator(_or_empty)] = BlocksSchema()
    nodes_per_block: Positive = 1
    workers_per_node: Positive | None = None
    cores_per_node: Positive | None = None
    gpus_per_node: NotNegative | None = None
    memory_per_node: Size | None = None
    launcher: Annotated[dict[str, str], BeforeValidator(_launcher)] | None = None
    options: Texts = ()
    exclusive: Bool | None = None
    affinity: Annotated[str, BeforeValidator(_affinity)] | None = None
    gpu_type: Annotated[str, BeforeValidator(_gpu_type)] = "nvidia"


class SiteSchema(Section):
    name: Annotated[str, BeforeValidator(_site_name)] | None = None
    scheduler: Annotated[str, BeforeValidator(_scheduler)]
    account: Word | None = None
    modules: Texts = ()
    setup: Text | None = None
    network: NetworkSchema | None = None
    runs: Text | None = None
    poll: Duration = 60.0
    driver: DriverSchema | None = None
    pools: Annotated[dict[str, Annotated[PoolSchema, BeforeValidator(_or_empty)]], BeforeValidator(_pools)]
