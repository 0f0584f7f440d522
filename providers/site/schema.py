"""The keys of a site file: the type, the default and the meaning of each.

The tables in ``docs/sites.md`` are written from the descriptions here (``python -m pilotune.schema_docs``). Checks that
involve several keys are in :mod:`.load`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ...fields import (
    Bool,
    DefaultText,
    Duration,
    NotNegative,
    Positive,
    Section,
    Size,
    Text,
    Texts,
    TypeName,
    shown,
)
from ...names import NAME
from ...yamlfile import nearest

SCHEDULERS = ("local", "slurm", "pbs", "cobalt")
LAUNCHERS = ("single", "srun", "mpiexec", "aprun", "pbsdsh")
GPU_TYPES = ("nvidia", "amd", "intel")
RUNS = "pilotune-runs"
"""Default folder for run directories, in the working directory."""

_CORES = r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*"
_AFFINITY = re.compile(rf"none|block|block-reverse|alternating|list:{_CORES}(?::{_CORES})*")


def _interfaces(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"must be the name of a network interface, or a list of them, but is {shown(value)}")
    return tuple(names)


def _optional_word(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be text, but is {shown(value)}")
    if not value.isprintable() or " " in value.strip():  # it would end its line of the batch script
        raise ValueError(f"must be one word, but is {shown(value)}")
    return value.strip()


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
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(f"must be letters, digits, '.', '_', '+' or '-', but is {shown(value)}")
    return value


def _or_empty(value: Any) -> Any:
    return {} if value is None else value


def _block_counts(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"must be a mapping, as in {{max: {value}}}, but is {value}")
    return _or_empty(value)


def _shapes(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"must be a list of shapes, as in [{{nodes: 1, walltime: 30m}}, {{nodes: 8, walltime: 2h}}], "
                         f"but is {shown(value)}")  # fmt: skip
    return tuple(value)


def _pools(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"must be a mapping of pools by name, as in pools: {{cpu: {{queue: normal}}}}, "
                         f"but is {shown(value)}")  # fmt: skip
    for name in value:
        if not NAME.fullmatch(name):
            raise ValueError(f"the pool '{name}' must be named with letters, digits, '.', '_', '+' or '-'")
    return value


OptionalWord = Annotated[str, BeforeValidator(_optional_word), TypeName("one word")]
Interfaces = Annotated[tuple[str, ...], BeforeValidator(_interfaces), TypeName("name, or list of names")]
Launcher = Annotated[dict[str, str], BeforeValidator(_launcher), TypeName("name, or mapping")]
Scheduler = Annotated[str, BeforeValidator(_scheduler), TypeName("`local`, `slurm`, `pbs` or `cobalt`")]
Affinity = Annotated[str, BeforeValidator(_affinity), TypeName("see below")]
GpuType = Annotated[str, BeforeValidator(_gpu_type), TypeName("`nvidia`, `amd` or `intel`")]
SiteName = Annotated[str, BeforeValidator(_site_name), TypeName("letters, digits, `. _ + -`")]


class NetworkSchema(Section):
    """``network:``, how workers reach the driver. Only one of the two keys may be given."""

    interface: Interfaces | None = Field(
        default=None,
        description="The network interface of the driver's host that compute nodes can reach. Of a list, the first one "
        "that this host has is used.",
    )
    address: Text | None = Field(default=None, description="The address of the driver's host that workers connect to.")


class BlocksSchema(Section):
    """``pools.NAME.blocks:``, how many blocks a pool has."""

    init: Annotated[NotNegative | None, DefaultText("`min`, but at least 1")] = Field(
        default=None, description="Blocks to submit at the start of a campaign."
    )
    min: NotNegative = Field(default=0, description="Least number of blocks while there is work.")
    max: Annotated[NotNegative | None, DefaultText("the larger of `init` and `min`")] = Field(
        default=None, description="Most blocks at a time. 0 switches the pool off, whatever `init` and `min` are."
    )
    idle: Duration = Field(
        default=60.0,
        description="A block that has had no trial for this long is ended. Where the budget has no trials left for it, "
        "five seconds are enough.",
    )


class DriverJob(Section):
    """``driver:``, the batch job in which ``pilotune run --in-job`` runs the driver.

    An instance is the checked job too; ``walltime`` is in seconds, ``memory`` in bytes.
    """

    queue: Annotated[OptionalWord, DefaultText("the scheduler's")] = Field(
        default="", description="The queue; on Slurm the partition."
    )
    walltime: Duration = Field(
        default=86_400.0,
        description="How long one job runs, 1 minute or more. Before it ends, the driver continues in another job.",
    )
    cores: Positive = Field(default=1, description="CPU cores of the job.")
    memory: Annotated[Size | None, DefaultText("the queue's")] = Field(default=None, description="Memory of the job.")
    options: Texts = Field(default=(), description="Further directives for its batch script, as in a pool.")


class ShapeSchema(Section):
    """An item of ``pools.NAME.shapes:``, one of several sizes of a pool's blocks."""

    nodes: Positive = Field(description="Nodes of a block of this shape.")
    walltime: Duration = Field(description="How long it runs, 1 minute or more.")


class PoolSchema(Section):
    """``pools.NAME:``, one class of hardware."""

    queue: Annotated[OptionalWord, DefaultText("the scheduler's")] = Field(
        default="", description="The queue; on Slurm the partition."
    )
    walltime: Annotated[Duration | None, DefaultText("required, except on `local` and with `shapes`")] = Field(
        default=None, description="How long one block runs, 1 minute or more."
    )
    blocks: Annotated[BlocksSchema, BeforeValidator(_block_counts)] = Field(
        default=BlocksSchema(), description="How many blocks the pool has."
    )
    nodes_per_block: Positive = Field(default=1, description="Nodes of one block. On `local` always 1.")
    shapes: Annotated[
        tuple[ShapeSchema, ...],
        BeforeValidator(_shapes),
        DefaultText("one, of `nodes_per_block` and `walltime`"),
        TypeName("list of shapes"),
    ] = Field(
        default=(),
        description="Several sizes of blocks, instead of `nodes_per_block` and `walltime`, see below. Not on `local`.",
    )
    workers_per_node: Annotated[Positive | None, DefaultText("one per GPU, else 1; on `local` one per core")] = Field(
        default=None,
        description="Most trials at a time on a node. There are fewer where the study's `trial:` asks for more than "
        "one share of the node's cores, GPUs or memory.",
    )
    cores_per_node: Annotated[Positive | None, DefaultText("unknown; on `local` counted")] = Field(
        default=None,
        description="Cores to request on each node, as the scheduler counts them (often hardware threads).",
    )
    gpus_per_node: Annotated[NotNegative | None, DefaultText("0; on `local` the NVIDIA devices")] = Field(
        default=None, description="GPUs to request on each node. A trial with `gpus: 1` sees only its own."
    )
    gpu_type: GpuType = Field(
        default="nvidia",
        description="The maker of the GPUs, which decides the variable that selects them: `CUDA_VISIBLE_DEVICES`, "
        "`ROCR_VISIBLE_DEVICES` or `ZE_AFFINITY_MASK`. Intel's are counted in tiles, and are not requested from PBS.",
    )
    memory_per_node: Annotated[Size | None, DefaultText("unknown")] = Field(
        default=None,
        description="Memory to request on each node. It also limits how many trials that give `memory:` run at a time "
        "on a node.",
    )
    launcher: Annotated[
        Launcher | None,
        DefaultText("`single` for blocks of one node; else Slurm `srun`, PBS `mpiexec`, Cobalt `aprun`"),
    ] = Field(default=None, description="What starts the workers on the nodes of a block, see below.")
    options: Texts = Field(
        default=(),
        description='Further directives for the batch script, after all others: `"#SBATCH --qos=debug"`. Each begins '
        "with the scheduler's prefix; shell lines stand in `setup`. A PBS "
        "`-l select=` among them replaces the one that is made from the keys above.",
    )
    exclusive: Annotated[Bool | None, DefaultText("`true` on Slurm")] = Field(
        default=None,
        description="Slurm only: whether a block has its nodes to itself. Elsewhere the queue decides, or a line in "
        "`options`.",
    )
    affinity: Annotated[
        Affinity | None, DefaultText("`block` on clusters where `cores_per_node` is known, else `none`")
    ] = Field(default=None, description="The cores that each worker is bound to.")


class SiteSchema(Section):
    """All keys of a site file."""

    name: Annotated[SiteName | None, DefaultText("the file's name")] = Field(
        default=None, description="The site's name in messages."
    )
    scheduler: Scheduler = Field(description="The scheduler that blocks are submitted to.")
    account: Annotated[OptionalWord, DefaultText("none")] = Field(
        default="", description="The project that is charged for the jobs."
    )
    modules: Texts = Field(
        default=(),
        description="Modules to load in every block (`module load`). An item `use FOLDER` becomes a `module use` line. "
        "A module that fails to load ends the block with its error message.",
    )
    setup: Text | None = Field(
        default=None,
        description="Bash lines that every block runs after `modules` and before its workers start. A failing line "
        "does not end the block: write `|| exit` behind one that must succeed.",
    )
    network: Annotated[NetworkSchema | None, DefaultText("the workers try all of the driver's addresses")] = Field(
        default=None, description="How workers reach the driver, see below."
    )
    runs: Annotated[
        Text | None, DefaultText("`$PILOTUNE_RUNS`, else `pilotune-runs` beside the study file"), TypeName("path")
    ] = Field(
        default=None,
        description="Folder for run directories, on a file system that all nodes see. The SQLite database of a study "
        "without a `storage:` is there too. SQLite is unreliable on parallel file systems: name another place with "
        "`--storage`.",
    )
    poll: Duration = Field(default=60.0, description="Shortest time between two queries of the scheduler.")
    patience: Duration = Field(
        default=600.0,
        description="How long a scheduler that does not answer is asked again before the campaign stops with exit code "
        "3. Blocks that are queued or running are waited for, however long that takes.",
    )
    driver: Annotated[DriverJob | None, DefaultText("see below")] = Field(
        default=None, description="The batch job of `pilotune run --in-job`; not for `local`."
    )
    pools: Annotated[
        dict[str, Annotated[PoolSchema, BeforeValidator(_or_empty)]],
        BeforeValidator(_pools),
        TypeName("mapping of pools by name"),
    ] = Field(description="The pools, see below. At least one must be on.")
