"""Site files: a computer as Pilotune sees it. Scheduler, pools of workers, modules, network."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..fields import format_duration, validate
from ..yamlfile import YamlFile, dump_yaml, join, nearest, parse_value, read_yaml, with_overrides
from .siteschema import BlocksSchema, PoolSchema, SiteSchema

SHIPPED = Path(__file__).resolve().parent.parent / "site-configs"
SITE_KEYS = ("scheduler", "account", "modules", "setup", "network", "runs", "pools")  # `--set` of these is for the site

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_OWN_LAUNCHER = {"local": "single", "slurm": "srun", "pbs": "mpiexec", "cobalt": "aprun"}


@dataclass(frozen=True)
class BlockCounts:
    """Blocks at the start, at least, at most."""

    init: int = 1
    min: int = 0
    max: int = 1


@dataclass(frozen=True)
class Network:
    """How workers reach the driver: by an interface of its host, or an address; both empty: they probe."""

    interface: str = ""
    address: str = ""


@dataclass(frozen=True)
class PoolSpec:
    """One class of hardware: one Parsl executor.

    Attributes:
        name: Its name in the site file.
        queue: The queue, or the partition on Slurm; empty for the scheduler's default.
        walltime: Of a block, in seconds; None on ``local``, whose blocks end with the campaign.
        blocks: How many.
        nodes_per_block, workers_per_node: Counts.
        cores_per_node, gpus_per_node: What a node has; 0 cores: unknown.
        memory_per_node: Bytes, or None when unknown.
        launcher: What starts the workers on a block's nodes: one of LAUNCHERS.
        launcher_options: Its further options, as on a command line.
        options: Lines for the batch script (``#SBATCH --constraint=gpu``).
    """

    name: str
    queue: str = ""
    walltime: float | None = None
    blocks: BlockCounts = BlockCounts()
    nodes_per_block: int = 1
    workers_per_node: int = 1
    cores_per_node: int = 0
    gpus_per_node: int = 0
    memory_per_node: int | None = None
    launcher: str = "single"
    launcher_options: str = ""
    options: tuple[str, ...] = ()

    @property
    def workers_per_block(self) -> int:
        return self.nodes_per_block * self.workers_per_node


@dataclass(frozen=True)
class Site:
    """A site file, checked, with defaults and environment variables filled in.

    ``runs`` is absolute.
    """

    name: str
    scheduler: str
    pools: tuple[PoolSpec, ...]
    runs: Path
    account: str = ""
    modules: tuple[str, ...] = ()
    setup: str = ""
    network: Network = Network()
    path: Path | None = None
    source: YamlFile | None = field(default=None, repr=False, compare=False)

    def pool(self, name: str) -> PoolSpec:
        """The pool ``name``. Raises UserError when there is none."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        known = [pool.name for pool in self.pools]
        raise self.error(f"there is no pool '{name}'{nearest(name, known)}", "pools")

    def error(self, message: str, key: str = "") -> UserError:
        """The error ``message`` at the line where ``key`` (dotted) stands."""
        return self.source.error(message, key) if self.source else UserError(message, key=key)

    @property
    def worker_init(self) -> str:
        """Shell lines for every block: modules, then setup."""
        loads = [f"module load {module}" for module in self.modules]
        return "\n".join([*loads, *([self.setup.rstrip()] if self.setup.strip() else [])])

    def resolved(self) -> str:
        """The whole site as YAML, every default written out."""
        network = {key: value for key, value in vars(self.network).items() if value}
        data = {
            "name": self.name,
            "scheduler": self.scheduler,
            "account": self.account or None,
            "modules": list(self.modules),
            "setup": self.setup or None,
            "network": network or None,
            "runs": str(self.runs),
            "pools": {pool.name: _pool_data(pool) for pool in self.pools},
        }
        return dump_yaml(data)


def site_folders() -> list[Path]:
    """Where site files are looked up, in order."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = [Path(part).expanduser() for part in os.environ.get("PILOTUNE_SITES", "").split(os.pathsep) if part]
    return [Path.cwd(), *named, config / "pilotune" / "sites", SHIPPED]


def find_sites() -> dict[str, Path]:
    """The sites that can be named, with their files; one that is found first hides later ones.

    In the working directory, where YAML files are of all kinds, only those that have the key ``scheduler`` count.
    """
    found: dict[str, Path] = {}
    for folder in site_folders():
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            if path.stem not in found and (folder != Path.cwd() or _is_site(path)):
                found[path.stem] = path
    return found


def load_site(name_or_path: str | Path = "local", overrides: Sequence[str] = ()) -> Site:
    """Read and check a site file.

    Args:
        name_or_path: A path (anything with a slash, or ending in .yaml or .yml), or a name, looked up in the working
            directory, ``$PILOTUNE_SITES`` (folders, separated by colons), ``~/.config/pilotune/sites`` and the shipped.
        overrides: ``key=value`` each, as given to ``--set`` (``pools.knl.walltime=1h``).

    Raises:
        UserError: With file, line and key.
    """
    path = _find(name_or_path)
    source = with_overrides(read_yaml(path, what="site file"), overrides, {"launcher": "name"})
    source = _with_environment(source)
    schema = validate(SiteSchema, source)
    network = schema.network
    if network and network.interface and network.address:
        raise source.error("give an interface or an address, not both", "network")
    return Site(
        name=schema.name or path.stem,
        scheduler=schema.scheduler,
        pools=tuple(_pool(name, pool, schema.scheduler, source) for name, pool in schema.pools.items()),
        runs=Path(os.path.abspath(Path(schema.runs).expanduser())),
        account=schema.account or "",
        modules=schema.modules,
        setup=schema.setup or "",
        network=Network(network.interface or "", network.address or "") if network else Network(),
        path=Path(os.path.abspath(path)),
        source=source,
    )


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    sites = find_sites()
    if text in sites:
        return sites[text]
    folders = ", ".join(str(folder) for folder in site_folders())
    raise UserError(
        f"there is no site '{text}'{nearest(text, sites)} (looked for {text}.yaml in {folders})", key="--site"
    )


def _is_site(path: Path) -> bool:
    try:
        return "scheduler" in read_yaml(path).data
    except UserError:
        return False


def _with_environment(source: YamlFile) -> YamlFile:
    """``${NAME}`` and ``${NAME:-default}`` filled in everywhere but in ``setup``, which the block's shell expands."""

    def fill(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: item if key == "" and name == "setup" else fill(item, join(key, name))
                    for name, item in value.items()}  # fmt: skip
        if isinstance(value, list):
            return [fill(item, join(key, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        filled = _VARIABLE.sub(lambda match: look_up(match, key), value)
        is_count = key.rpartition(".")[2].endswith(("_per_node", "_per_block")) or ".blocks." in key
        return parse_value(filled) if is_count and filled.isdigit() else filled

    def look_up(match: re.Match[str], key: str) -> str:
        value = os.environ.get(match[1]) or match[2]
        if value is None:
            message = f"the environment variable {match[1]} is not set; set it, or write its value here"
            raise source.error(message, key)
        return value

    return YamlFile(source.path, fill(source.data, ""), source.lines, source.overrides)


def _pool(name: str, pool: PoolSchema, scheduler: str, source: YamlFile) -> PoolSpec:
    key = f"pools.{name}"
    local = scheduler == "local"
    if local and pool.nodes_per_block > 1:
        raise source.error("a local pool has one node", f"{key}.nodes_per_block")
    if pool.walltime is None and not local:
        message = f"a pool on {scheduler} needs the walltime of its blocks, as in walltime: 1h"
        raise source.error(message, f"{key}.walltime")
    blocks = _blocks(pool.blocks, key, source)
    own = "single" if pool.nodes_per_block == 1 else _OWN_LAUNCHER[scheduler]
    launcher = pool.launcher or {"name": own, "options": ""}
    if launcher["name"] == "single" and pool.nodes_per_block > 1:
        message = f"single starts workers on one node only, and a block has {pool.nodes_per_block}; use {own}"
        raise source.error(message, f"{key}.launcher")
    cores = pool.cores_per_node or (_own_cores() if local else 0)
    gpus = pool.gpus_per_node if pool.gpus_per_node is not None else (_own_gpus() if local else 0)
    return PoolSpec(
        name=name,
        queue=pool.queue or "",
        walltime=pool.walltime,
        blocks=blocks,
        nodes_per_block=pool.nodes_per_block,
        workers_per_node=pool.workers_per_node or (cores if local else max(gpus, 1)),
        cores_per_node=cores,
        gpus_per_node=gpus,
        memory_per_node=pool.memory_per_node,
        launcher=launcher["name"],
        launcher_options=launcher["options"],
        options=pool.options,
    )


def _blocks(blocks: BlocksSchema, key: str, source: YamlFile) -> BlockCounts:
    """The default of max is what the other two need, and at least 1."""
    init = blocks.init if blocks.init is not None else max(blocks.min, 1)
    high = blocks.max if blocks.max is not None else max(blocks.min, init, 1)
    if blocks.min > high:
        raise source.error(f"min {blocks.min} is above max {high}", f"{key}.blocks.min")
    if not blocks.min <= init <= high:
        if blocks.init is None:
            return BlockCounts(min(init, high), blocks.min, high)
        raise source.error(f"must be from min {blocks.min} to max {high}, but is {init}", f"{key}.blocks.init")
    return BlockCounts(init, blocks.min, high)


def _own_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_gpus() -> int:
    """NVIDIA devices of this machine; others are for the site file to tell."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])


def _pool_data(pool: PoolSpec) -> Mapping[str, Any]:
    return {
        "queue": pool.queue or None,
        "walltime": format_duration(pool.walltime) if pool.walltime else None,
        "blocks": dict(vars(pool.blocks)),
        "nodes_per_block": pool.nodes_per_block,
        "workers_per_node": pool.workers_per_node,
        "cores_per_node": pool.cores_per_node or None,
        "gpus_per_node": pool.gpus_per_node,
        "memory_per_node": pool.memory_per_node,
        "launcher": {"name": pool.launcher, "options": pool.launcher_options or None},
        "options": list(pool.options),
    }


def node_hours(pool: PoolSpec) -> float:
    """The most node hours that all blocks of a pool can use at once; ``math.inf`` without a walltime."""
    if pool.walltime is None:
        return math.inf
    return pool.blocks.max * pool.nodes_per_block * pool.walltime / 3600


def site_json(site: Site) -> dict[str, Any]:
    """The site for ``--json``: times in seconds, sizes in bytes, ``node_hours`` of a pool at most (null: no limit)."""
    pools = []
    for pool in site.pools:
        hours = node_hours(pool)
        pools.append({**dataclasses.asdict(pool), "node_hours": None if hours == math.inf else hours})
    return {"name": site.name, "scheduler": site.scheduler, "runs": str(site.runs), "pools": pools}


def render_site(site: Site) -> str:
    """A site's pools as plain text: blocks, workers, node hours at most."""
    lines = [f"site       {site.name} ({site.scheduler}), runs in {site.runs}"]
    for pool in site.pools:
        nodes = f"{pool.nodes_per_block} node{'s' if pool.nodes_per_block > 1 else ''}"
        hours = node_hours(pool)
        cost = (
            "" if pool.walltime is None else f", {format_duration(pool.walltime)} each, {hours:,.4g} node hours at most"
        )
        lines.append(
            f"pool       {pool.name}: {pool.blocks.min} to {pool.blocks.max} blocks of {nodes} "
            f"x {pool.workers_per_node} workers{cost}"
        )
    return "\n".join(lines)
