"""Says what to write instead of a key that a site file does not have: schedulers call the same things differently."""

from __future__ import annotations

from collections.abc import Mapping

from ...fields import Section, section_fields
from ...yamlfile import YamlFile
from .schema import BlocksSchema, DriverJob, NetworkSchema, PoolSchema, ShapeSchema, SiteSchema

TITLES = {"local": "a local site", "slurm": "Slurm", "pbs": "PBS", "cobalt": "Cobalt"}
"""What messages call the schedulers."""

PREFIXES = {"slurm": "#SBATCH", "pbs": "#PBS", "cobalt": "#COBALT"}
"""What a line of a batch script begins with to be read by the scheduler."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "queue": ("partition", "queue_name", "queues", "partitions", "p", "q", "class"),
    "account": ("project", "allocation", "charge", "charge_account", "bank", "a"),
    "walltime": ("time", "wall_time", "timelimit", "time_limit", "duration", "t", "max_time", "runtime", "hours"),
    "nodes_per_block": ("nodes", "node", "num_nodes", "n_nodes", "nnodes", "nodecount", "node_count", "n"),
    "workers_per_node": (
        *("workers", "max_workers", "max_workers_per_node", "ntasks_per_node", "tasks_per_node", "ntasks", "tasks"),
        "trials_per_node",
    ),
    "cores_per_node": ("cores", "cpus", "ncpus", "cpus_per_task", "cpus_per_node", "c", "core", "cores_per_worker"),
    "gpus_per_node": ("gpus", "ngpus", "gres", "gpu", "num_gpus", "gpus_per_task", "accelerators"),
    "memory_per_node": ("mem", "memory", "mem_per_node", "ram", "mem_per_worker"),
    "blocks": ("jobs", "max_jobs", "n_blocks", "num_blocks"),
    "modules": ("module", "module_load", "module_loads"),
    "setup": ("worker_init", "prologue", "init", "env", "environment", "conda", "venv", "commands"),
    "options": ("scheduler_options", "directives", "sbatch", "extra", "flags", "args", "select_options", "sbatch_args"),
    "runs": ("run_dir", "rundir", "scratch", "workdir", "work_dir"),
}
"""A key -> what else it is called, in lower case with underscores."""

BY_DIRECTIVE: Mapping[str, Mapping[str, str]] = {
    "slurm": {
        "qos": "--qos=NAME",
        "reservation": "--reservation=NAME",
        "constraint": "--constraint=NAME",
        "constraints": "--constraint=NAME",
        "feature": "--constraint=NAME",
        "features": "--constraint=NAME",
        "licenses": "--licenses=NAME",
        "exclude": "--exclude=HOSTS",
        "nodelist": "--nodelist=HOSTS",
        "mail": "--mail-user=ADDRESS",
        "mail_user": "--mail-user=ADDRESS",
        "clusters": "--clusters=NAME",
        "nice": "--nice=N",
        "filesystems": "--licenses=NAME",
    },
    "pbs": {
        "qos": "-l qos=NAME",
        "constraint": "-l select=1:NAME=VALUE",
        "select": "-l select=1:ncpus=8",
        "place": "-l place=scatter:excl",
        "filesystems": "-l filesystems=home:eagle",
        "mail": "-M ADDRESS",
        "mail_user": "-M ADDRESS",
        "priority": "-p N",
        "resources": "-l NAME=VALUE",
    },
    "cobalt": {
        "constraint": "--attrs NAME=VALUE",
        "attrs": "--attrs NAME=VALUE",
        "filesystems": "--attrs filesystems=home,eagle",
        "mail": "--notify ADDRESS",
        "notify": "--notify ADDRESS",
    },
}
"""What has no key here, and stands in ``options``."""

QUEUE_TOO = {"pbs": ("reservation",), "cobalt": ("reservation", "qos")}
"""What the scheduler treats as a queue."""

KEYS_OF: Mapping[str, type[Section]] = {
    "at the top of the file": SiteSchema,
    "below a pool": PoolSchema,
    "in `blocks` of a pool": BlocksSchema,
    "in `network`": NetworkSchema,
    "in `driver`": DriverJob,
}


def what_instead(loc: tuple[str | int, ...], source: YamlFile) -> str:
    """The end of a sentence that says where to write what an unknown key means; empty where that is not known.

    Args:
        loc: The path of the unknown key, as ``("pools", "gpu", "partition")``.
        source: The site file.
    """
    scheduler = str(source.data.get("scheduler") or "")
    on = f"on {TITLES[scheduler]} " if scheduler in PREFIXES else ""
    word = str(loc[-1])
    plain = word.lower().strip("-").replace("-", "_")
    here = section_fields(SiteSchema, loc[:-1])
    if plain in QUEUE_TOO.get(scheduler, ()):
        return f"; {on}a {word} is a queue: write `queue: NAME`{_where('queue', here)}"
    directive = BY_DIRECTIVE.get(scheduler, {}).get(plain)
    if directive:
        return f'; {on}it stands in `options: ["{PREFIXES[scheduler]} {directive}"]`{_where("options", here)}'
    if plain.endswith("_blocks") and plain.removesuffix("_blocks") in BlocksSchema.model_fields:
        name = plain.removesuffix("_blocks")
        return f"; write `{name}: N`" if name in here else f"; write `blocks: {{{name}: N}}`{_where('blocks', here)}"
    key = next((key for key, names in OTHER_NAMES.items() if plain in names or plain == key), "")
    if key == "nodes_per_block" and here == list(ShapeSchema.model_fields):
        return f"; `{word}` is set with `nodes:` in a shape"
    if not key:
        return _where(word, here).replace(" ", f"; `{word}` stands ", 1)
    if key == "account" and "options" in here and scheduler in ("slurm", "pbs"):
        own = f'`options: ["{PREFIXES[scheduler]} {"--account=" if scheduler == "slurm" else "-A "}NAME"]`'
        return f"; the project that is charged is set with `account:` at the top of the file, or here by {own}"
    if plain == key:
        return f"; `{key}` stands{_where(key, here)}"
    what = f"{on}the {word}" if key == "queue" else f"`{word}`"
    return f"; {what} is set with `{key}:`{_where(key, here)}"


def _where(key: str, here: list[str]) -> str:
    """Where in a site file a key stands, after a blank; empty where that is here, or where there is no such key."""
    if key in here:
        return ""
    return next((f" {place}" for place, model in KEYS_OF.items() if key in model.model_fields), "")
