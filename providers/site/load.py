"""Reads and checks site files."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...fields import format_duration, validate
from ...grammar import count, listed
from ...overrides import with_overrides
from ...yamlfile import YamlFile, is_text, join, nearest, parse_value, read_yaml
from .locate import SHIPPED, site_path
from .misnamed import PREFIXES, TITLES, what_instead
from .schema import RUNS, BlocksSchema, DriverJob, PoolSchema, SiteSchema
from .spec import BlockCounts, Network, PoolSpec, Shape, Site

SITE_KEYS = tuple(key for key in SiteSchema.model_fields if key != "name")
"""Keys that ``--set`` changes in the site file, not in the study file."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_NUMBERS = {"init", "min", "max", "idle", "walltime", "poll", "patience", "cores", "nodes"}
_OWN_LAUNCHER = {"local": "single", "slurm": "srun", "pbs": "mpiexec", "cobalt": "aprun"}
_LEAST_WALLTIME = 60.0  # schedulers count in minutes; some take 0 minutes as no limit


def load_site(name_or_path: str | Path = "local", overrides: Sequence[str] = ()) -> Site:
    """Read and check a site file.

    Args:
        name_or_path: A path (anything with a slash, or ending in .yaml or .yml), or a name. Names are looked up in the
            working directory, in the folders of ``$PILOTUNE_SITES`` (separated by colons), in
            ``~/.config/pilotune/sites`` and among the shipped files.
        overrides: Settings ``key=value``, as given to ``--set`` (``pools.knl.walltime=1h``).

    Raises:
        UserError: The file cannot be read or has a mistake. The message names file, line and key.

    >>> load_site("slurm", ["account=proj", "pools.cpu.walltime=30m"]).pool("cpu").walltime
    1800.0
    """
    path = site_path(name_or_path)
    source = read_yaml(path, what="site file")
    _check_pools_of(overrides, source)
    source = _with_environment(with_overrides(source, overrides, {"launcher": "name"}))
    schema = validate(SiteSchema, source, what_instead)
    network = schema.network
    if network and network.interface and network.address:
        raise source.error("give an interface or an address, not both", "network")
    pools = tuple(_pool(name, pool, schema.scheduler, source) for name, pool in schema.pools.items())
    if not any(pool.is_on for pool in pools):
        raise source.error("every pool is off (blocks.max is 0); at least one must be on", "pools")
    return Site(
        name=schema.name or path.stem,
        scheduler=schema.scheduler,
        pools=pools,
        runs=Path(os.path.abspath(Path(schema.runs or RUNS).expanduser())),
        account=schema.account,
        modules=schema.modules,
        setup=schema.setup or "",
        network=Network(_interface(network.interface or ()), network.address or "") if network else Network(),
        poll=schema.poll,
        patience=schema.patience,
        driver=_driver(schema.driver, schema.scheduler, source),
        path=Path(os.path.abspath(path)),
        source=source,
    )


def _check_pools_of(overrides: Sequence[str], source: YamlFile) -> None:
    """Raise UserError if a setting is of a pool that the file does not have: a mistyped name must not add one."""
    pools = source.data.get("pools")
    known = [str(name) for name in pools] if isinstance(pools, dict) else []
    for setting in overrides:
        key = setting.partition("=")[0].strip()
        top, _, rest = key.partition(".")
        if top != "pools" or not rest or not known or any(f"{rest}.".startswith(f"{name}.") for name in known):
            continue
        name, dot, _ = rest.partition(".")
        if dot:
            raise UserError(f"there is no pool '{name}'{nearest(name, known)}", file=f"--set {key}")
        known.append(name)  # a whole pool


class UnsetVariables(UserError):
    """A site file uses environment variables that are not set."""


def _unset(missing: dict[str, str], source: YamlFile) -> UnsetVariables:
    """The error for variables that are not set: all of them at once, with the place of the first.

    Args:
        missing: From each variable to the key that uses it first.
        source: The site file.
    """
    names = list(missing)
    what = f"variable{'s' * (len(names) > 1)} {listed(names)} {'is' if len(names) == 1 else 'are'}"
    shipped = source.path.resolve().parent == SHIPPED
    where = (
        f"copy this file to {_own_folder()} and edit it"
        if shipped
        else f"write {'its value' if len(names) == 1 else 'their values'} here"
    )
    export = " ".join(f"{name}={_example(name)}" for name in names)
    error = source.error(f"the environment {what} not set; run `export {export}`, or {where}", missing[names[0]])
    return UnsetVariables(error.message, file=error.file, line=error.line, key=error.key)


def _own_folder() -> str:
    config = os.environ.get("XDG_CONFIG_HOME")
    return f"{config}/pilotune/sites" if config else "~/.config/pilotune/sites"


def _example(name: str) -> str:
    """What stands for a variable's value in an advice."""
    if re.search("PROJ|ACCOUNT|ALLOC", name.upper()):
        return "<your project>"
    return "<folder>" if re.search("SCRATCH|DIR|HOME|PATH|WORK|ROOT|STORE", name.upper()) else "<value>"


def _with_environment(source: YamlFile) -> YamlFile:
    """Replace ``${NAME}`` and ``${NAME:-default}`` everywhere but in ``setup``, which the block's shell expands.

    A value that becomes empty counts as not given.
    """

    def fill(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: item if key == "" and name == "setup" else fill(item, join(key, name))
                    for name, item in value.items()}  # fmt: skip
        if isinstance(value, list):
            return [fill(item, join(key, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        filled = _VARIABLE.sub(lambda match: look_up(match, key), value)
        last = key.rpartition(".")[2]
        is_number = last.endswith(("_per_node", "_per_block")) or last in _NUMBERS
        return (parse_value(filled) if is_number and filled.isdigit() else filled) or None

    def look_up(match: re.Match[str], key: str) -> str:
        value = os.environ.get(match[1]) or match[2]
        if value is None:
            missing.setdefault(match[1], key)
            return ""
        if not is_text(value):
            raise source.error(f"the environment variable {match[1]} is not UTF-8 text", key)
        return value

    missing: dict[str, str] = {}
    data = fill(source.data, "")
    if missing:
        raise _unset(missing, source)
    return YamlFile(source.path, data, source.lines, source.overrides)


def _interface(names: Sequence[str]) -> str:
    """The first of ``names`` that this host has, or the first of all: login and compute nodes have different ones."""
    own = {name for _, name in socket.if_nameindex()}
    return next((name for name in names if name in own), names[0] if names else "")


def _pool(name: str, pool: PoolSchema, scheduler: str, source: YamlFile) -> PoolSpec:
    key = f"pools.{name}"
    local = scheduler == "local"
    if local and pool.nodes_per_block > 1:
        raise source.error("a local pool has one node", f"{key}.nodes_per_block")
    if pool.exclusive is not None and scheduler != "slurm":
        message = f"only Slurm has it; on {scheduler} the queue decides, or a line in options"
        raise source.error(message, f"{key}.exclusive")
    _check_options(pool.options, scheduler, f"{key}.options", source)
    cores = pool.cores_per_node or (_own_cores() if local else 0)
    gpus = pool.gpus_per_node if pool.gpus_per_node is not None else (_own_gpus() if local else 0)
    workers = pool.workers_per_node or (cores if local else max(gpus, 1))
    shapes = _shapes(pool, scheduler, key, source)
    nodes = max(each.nodes for each in shapes) if shapes else pool.nodes_per_block
    launcher, launcher_options = _launcher(pool, nodes, scheduler, key, source)
    as_given = {each: getattr(pool, each) for each in PoolSchema.model_fields}
    filled_in = {
        "walltime": max(each.walltime for each in shapes)
        if shapes
        else _walltime(pool.walltime, scheduler, key, source),
        "nodes_per_block": nodes,
        "shapes": shapes if len(shapes) > 1 else (),
        "blocks": _blocks(pool.blocks, key, source),
        "workers_per_node": workers,
        "cores_per_node": cores,
        "gpus_per_node": gpus,
        "launcher": launcher,
        "launcher_options": launcher_options,
        "exclusive": pool.exclusive is not False,
        "affinity": _affinity(pool.affinity or "", workers, key, source),
    }
    return PoolSpec(name=name, **{**as_given, **filled_in})


_SIZES = {
    "slurm": r"#SBATCH\s(.*\s)?(--nodes|-N|--time(?!-)|-t)",
    "pbs": r"#PBS\s(.*\s)?-l\s*(\S+,)?(select|nodes|walltime)=",
    "cobalt": r"#COBALT\s(.*\s)?(--nodecount|-n|--time|-t)\b",
}
"""By scheduler, what matches a line of ``options`` that gives the size of a block."""


def _shapes(pool: PoolSchema, scheduler: str, above: str, source: YamlFile) -> tuple[Shape, ...]:
    """The sizes of a pool's blocks; empty where ``nodes_per_block`` and ``walltime`` give the only one."""
    key = f"{above}.shapes"
    if not pool.shapes:
        return ()
    if scheduler == "local":
        raise source.error("blocks of this machine are all alike; leave this key out", key)
    for other, what in (("nodes_per_block", "nodes"), ("walltime", "a walltime")):
        there = f"{above}.{other}"
        replaced = key in source.overrides and there not in source.overrides
        if other in pool.model_fields_set and not replaced:
            raise source.error(f"each shape has {what} of its own; give shapes or {other}, not both", there)
    for index, line in enumerate(pool.options):
        if re.match(_SIZES[scheduler], line):
            message = f"{line!r} gives all blocks one size; leave it out, or leave out shapes"
            raise source.error(message, join(f"{above}.options", index))
    found: dict[tuple[int, float], Shape] = {}
    for index, shape in enumerate(pool.shapes):
        here = join(key, index)
        _check_least(shape.walltime, scheduler, f"{here}.walltime", source)
        if (shape.nodes, shape.walltime) in found:
            nodes = count(shape.nodes, "node")
            raise source.error(f"{nodes} for {format_duration(shape.walltime)} is there twice; leave one out", here)
        launcher, _ = _launcher(pool, shape.nodes, scheduler, above, source)
        found[shape.nodes, shape.walltime] = Shape(shape.nodes, shape.walltime, launcher)
    return tuple(found.values())


def _walltime(walltime: float | None, scheduler: str, key: str, source: YamlFile) -> float | None:
    if scheduler == "local":
        return walltime
    if walltime is None:
        message = f"a pool on {scheduler} needs a walltime for its blocks, as in walltime: 1h"
        raise source.error(message, f"{key}.walltime")
    _check_least(walltime, scheduler, f"{key}.walltime", source)
    return walltime


def _check_least(walltime: float, scheduler: str, key: str, source: YamlFile) -> None:
    """Raise UserError for a walltime of less than a minute. A bare number is in seconds, but may mean minutes."""
    if walltime >= _LEAST_WALLTIME:
        return
    written = _written(key, source)
    least = f"{TITLES[scheduler]} needs at least 1m"
    number = str(written).strip()
    if re.fullmatch(r"\d+(\.\d+)?", number):
        message = f"'{number}' means {number} second{'' if number == '1' else 's'}; {least}. Did you mean {number}m?"
    else:
        message = f"is {number}, but {least}"
    raise source.error(message, key)


def _written(key: str, source: YamlFile) -> Any:
    """What stands in the file at a key; None where there is nothing."""
    here: Any = source.data
    rest = key
    while isinstance(here, dict | list) and rest:
        if isinstance(here, list):
            index, _, rest = rest.removeprefix("[").partition("].")
            here = here[int(index)]
            continue
        name = next((each for each in here if rest == each or rest.startswith((f"{each}.", f"{each}["))), None)
        if name is None:
            return None
        here, rest = here[name], rest[len(name) :].removeprefix(".")
    return here


_ALSO = {"slurm": ("#DW ", "#BB ")}
"""Prefixes of other lines that the scheduler reads: those for Slurm's burst buffers."""


def _check_options(lines: Sequence[str], scheduler: str, key: str, source: YamlFile) -> None:
    """Raise UserError for a line that the scheduler would not read as a directive: it would be ignored, or run."""
    prefix = PREFIXES.get(scheduler)
    if prefix is None:
        return
    for index, line in enumerate(lines):
        for part in line.strip().splitlines():
            if not re.match(rf"{prefix}\s+\S", part) and not part.startswith(_ALSO.get(scheduler, ())):
                raise source.error(f"{part!r} {_right_form(part, scheduler, prefix)}", join(key, index))


def _right_form(line: str, scheduler: str, prefix: str) -> str:
    """The end of a sentence on a line of ``options`` that is no directive."""
    text, title = line.strip(), TITLES[scheduler]
    other = next((name for name, mark in PREFIXES.items() if name != scheduler and text.startswith(mark)), "")
    if other:
        return f"is a line for {TITLES[other]}; on {title} it begins with {prefix}"
    bare = re.sub(rf"^#*\s*({prefix[1:]})?\s*", "", text, flags=re.IGNORECASE)
    if bare.startswith("-"):
        return f"is no directive of {title}; write '{prefix} {bare}'"
    if re.match(r"[a-z][\w-]*=\S+$", bare) and scheduler == "slurm":
        return f"is no directive of {title}; write '{prefix} --{bare}'"
    if re.match(r"[a-z]\w*=\S+$", bare) and scheduler == "pbs":
        return f"is no directive of {title}; write '{prefix} -l {bare}'"
    return f"is no directive of {title}, which begins with {prefix}; shell lines stand in `setup`"


def _launcher(pool: PoolSchema, nodes: int, scheduler: str, key: str, source: YamlFile) -> tuple[str, str]:
    """The name and the options of a pool's launcher for blocks of so many nodes."""
    own = "single" if nodes == 1 else _OWN_LAUNCHER[scheduler]
    launcher = pool.launcher or {"name": own, "options": ""}
    if launcher["name"] == "single" and nodes > 1:
        message = f"single starts workers on one node only, but a block has {nodes}; use {own}"
        raise source.error(message, f"{key}.launcher")
    return launcher["name"], launcher["options"]


def _affinity(affinity: str, workers: int, key: str, source: YamlFile) -> str:
    """Check that a list has one part for each worker of a node, or no worker would start."""
    parts = affinity.split(":")[1:]
    if parts and len(parts) != workers:
        has = f"the list has {count(len(parts), 'part')}, and a node has {count(workers, 'worker')}"
        message = f"{has}; give the cores of each"
        raise source.error(message, f"{key}.affinity")
    return affinity


def _blocks(blocks: BlocksSchema, key: str, source: YamlFile) -> BlockCounts:
    """Fill in how many blocks a pool has.

    ``max`` defaults to what ``init`` and ``min`` need, at least 1. If it is 0, they are 0 too.
    """
    init = blocks.init if blocks.init is not None else max(blocks.min, 1)
    high = blocks.max if blocks.max is not None else max(blocks.min, init, 1)
    if high == 0:
        return BlockCounts(0, 0, 0, blocks.idle)
    if blocks.min > high:
        raise source.error(f"min {blocks.min} is above max {high}", f"{key}.blocks.min")
    if not blocks.min <= init <= high:
        if blocks.init is None:
            return BlockCounts(min(init, high), blocks.min, high, blocks.idle)
        raise source.error(f"must be from min {blocks.min} to max {high}, but is {init}", f"{key}.blocks.init")
    return BlockCounts(init, blocks.min, high, blocks.idle)


def _driver(driver: DriverJob | None, scheduler: str, source: YamlFile) -> DriverJob:
    if driver is None:
        return DriverJob()
    if scheduler == "local":
        raise source.error("a local site has no batch job for the driver; leave this key out", "driver")
    _check_least(driver.walltime, scheduler, "driver.walltime", source)
    _check_options(driver.options, scheduler, "driver.options", source)
    return driver


def _own_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_gpus() -> int:
    """How many NVIDIA devices this machine has. GPUs of other makers must be given in the site file."""
    return len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])
