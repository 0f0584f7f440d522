"""Assesses what ``pilotune site check`` has found: one pure function for each line of its table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...fields import format_duration
from ...filesystems import Mount
from ..node.agent import NO_GPU
from ..node.interchange_link import UNREACHABLE
from .facts import Facts, Finding, State

SKEW, SLOW = 2.0, 1.0
"""Difference between two clocks, and time of a round trip, in seconds, above which there is a warning."""

NEVER = "never start"
"""Words in the reason of a job that waits in vain."""

OTHER_VERSION = "Manager version info"
"""Words of Parsl when the nodes have another version of Python or Parsl."""

MEMORY_SHARE = 0.9
"""Share of ``memory_per_node`` that a node should have at least: the kernel keeps some for itself."""


Assessment = tuple[State, str]
"""State and text of a finding."""


def findings(facts: Facts) -> list[Finding]:
    """The lines of one pool, in the order of :data:`CHECKS`, without those about which nothing is known."""
    found = []
    for name, check in CHECKS.items():
        assessment = check(facts)
        if assessment is not None:
            found.append(Finding(name, *assessment, pool=facts.pool.name))
    return found


# -- from the submission to the workers -------------------------------------------------------------------------------


def submission(facts: Facts) -> Assessment | None:
    if facts.refused:
        return State.FAILED, f"refused: {facts.refused}{_smaller(facts)}"
    if not facts.job:
        return (State.FAILED, facts.trouble) if facts.trouble else None
    return State.OK, f"{'process' if facts.local else 'job'} {facts.job}: {_size(facts)}"


def _size(facts: Facts) -> str:
    size = _count(facts.pool.nodes_per_block, "node")
    return f"{size} for {format_duration(facts.pool.walltime)}" if facts.pool.walltime else size


def _smaller(facts: Facts) -> str:
    """Advice in case that the queue refuses blocks as small as this one."""
    if facts.pool.nodes_per_block == facts.whole.nodes_per_block:
        return ""
    return (
        f" (the block had {facts.pool.nodes_per_block} of the site file's {facts.whole.nodes_per_block} nodes: where "
        f"the queue takes only larger ones, choose another with --set pools.{facts.pool.name}.queue=debug)"
    )


def queue(facts: Facts) -> Assessment | None:
    if facts.local or not facts.job:
        return None
    if facts.waited is not None:
        return State.OK, f"it started after {facts.waited:.0f} s"
    said = f" ({facts.reason})" if facts.reason else ""
    if NEVER in facts.reason:
        return State.FAILED, f"it will not start{said}{_smaller(facts)}"
    if facts.trouble:
        return State.FAILED, facts.trouble
    return State.FAILED, (
        f"it was still queued after {format_duration(round(facts.wait))}{said}; wait longer with --wait 2h, or choose "
        f"a quicker queue with --set pools.{facts.pool.name}.queue=debug"
    )


def set_up(facts: Facts) -> Assessment | None:
    """Whether modules and the site's set-up lines have run."""
    if facts.waited is None:
        return None
    if not facts.set_up:
        why = f"{facts.trouble} while modules and setup of the site file ran"
        return State.FAILED, f"{why}. {facts.last_words}"
    count = facts.set_up_lines
    lines = f"{_count(count, 'line')} of modules and setup ran" if count else "nothing to run"
    if facts.nodes and facts.words:
        return State.WARNING, f"{lines}, and the block said on stderr: {facts.words}"
    return State.OK, lines


def workers(facts: Facts) -> Assessment | None:
    if facts.waited is None or not facts.set_up:
        return None
    nodes, count = facts.pool.nodes_per_block, facts.pool.workers_per_block
    if not facts.nodes and facts.broken:
        same = "; both sides need the same Python and the same Parsl" if OTHER_VERSION in facts.broken else ""
        return State.FAILED, f"Parsl gave up: {facts.broken}{same}"
    if not facts.nodes and UNREACHABLE in facts.words:
        return State.FAILED, f"they cannot reach this host. {_which_network(facts)}"
    if not facts.nodes:
        return State.FAILED, f"{facts.trouble}. {facts.last_words} {_which_network(facts)}".strip()
    seen = f"{_count(facts.nodes, 'node')} with {_count(facts.workers, 'worker')} registered"
    if facts.nodes < nodes:
        return State.FAILED, (
            f"{seen}, of {_count(nodes, 'node')}: does the launcher {facts.pool.launcher} start one program on each? "
            f"{facts.last_words}"
        )
    if facts.nodes > nodes:
        return State.FAILED, (
            f"{seen}, for {_count(nodes, 'node')}: the launcher {facts.pool.launcher} starts several programs on each"
        )
    if facts.workers != count:
        return State.FAILED, f"{seen}, and the site file says {count}; see workers_per_node and cores_per_node"
    if facts.errors:
        return State.FAILED, f"{seen}, and the probe could not run: {facts.errors[0]}"
    if len({probe["manager"] for probe in facts.probes}) < facts.nodes:
        return State.WARNING, f"{seen}, but not every node answered"
    return State.OK, seen


def _which_network(facts: Facts) -> str:
    if facts.local:
        return ""
    own = [f"{name} ({address})" for name, address in facts.own_addresses.items() if not address.startswith("127.")]
    return (
        f"Workers try {', '.join(facts.addresses)}; `network: {{interface: NAME}}` in the site file names the "
        f"interface of this host that nodes reach: it has {', '.join(own) or 'none'}"
    )


# -- what the probes found --------------------------------------------------------------------------------------------


def python(facts: Facts) -> Assessment | None:
    if not facts.probes:
        return None
    here, there = facts.here["python"], {probe["python"] for probe in facts.probes}
    executables = " and ".join(sorted({probe["executable"] for probe in facts.probes}))
    if there != {here}:
        others = " and ".join(sorted(there - {here}))
        return State.FAILED, f"{here} here, {others} on the nodes ({executables}); both need the same one"
    return State.OK, f"{here} on both sides ({executables})"


def packages(facts: Facts) -> Assessment | None:
    if not facts.probes:
        return None
    here: Mapping[str, str] = facts.here["packages"]
    others = {
        f"{name} {version or 'none'} here, {probe['packages'].get(name) or 'none'} on {probe['host']}"
        for probe in facts.probes
        for name, version in here.items()
        if probe["packages"].get(name) != version
    }
    if others:
        return State.FAILED, f"{'; '.join(sorted(others))}; both sides need the same versions"
    return State.OK, ", ".join(f"{name} {version}" for name, version in here.items()) + " on both sides"


def network(facts: Facts) -> Assessment | None:
    """Which of the driver's addresses workers can reach."""
    if not facts.probes:
        return None
    silent = [probe for probe in facts.probes if probe["channel"]["error"]]
    if silent:
        return State.FAILED, (
            f"reports do not reach the driver from {_hosts(silent)}: {silent[0]['channel']['error']}. "
            f"{_which_network(facts)}"
        ).strip()
    urls = sorted({probe["channel"]["url"] for probe in facts.probes})
    answered = [url.rpartition("/")[2].rpartition(":")[0] for url in urls]
    names = [name for name, address in facts.own_addresses.items() if address in answered]
    by = f"workers reach this host at {' and '.join(dict.fromkeys(answered))}"
    by += f" (interface {' and '.join(names)})" if names else ""
    if facts.network or len(facts.addresses) == 1 or len(names) != 1:
        return State.OK, by
    return (
        State.OK,
        f"{by}, one of {len(facts.addresses)} addresses; `network: {{interface: {names[0]}}}` avoids trying all",
    )


def round_trip(facts: Facts) -> Assessment | None:
    rounds = [taken for probe in facts.probes for taken in probe["channel"]["rounds"]]
    if not rounds:
        return None
    middle = statistics.median(rounds)
    text = f"{1000 * middle:.1f} ms for a report and its answer"
    if middle > SLOW:
        return State.WARNING, f"{text}; trials that report often are slowed down"
    return State.OK, text


def cores(facts: Facts) -> Assessment | None:
    if not facts.probes:
        return None
    seen, said = min(probe["cores"] for probe in facts.probes), facts.pool.cores_per_node
    if not said:
        return (
            State.OK,
            f"{seen} on a node; cores_per_node: {seen} in the site file would give each worker its share of them",
        )
    if seen < said:
        return State.FAILED, (
            f"{seen} seen on {_hosts(facts.probes, 'cores', seen)}, and the site file says cores_per_node: {said}; "
            "correct it, or request all of them in options"
        )
    return State.OK, f"{seen} on a node" + (f", of which the site file uses {said}" if seen > said else "")


def gpus(facts: Facts) -> Assessment | None:
    if not facts.probes:
        return None
    said, kind = facts.pool.gpus_per_node, facts.pool.gpu_type
    counts = {probe["host"]: count_gpus(probe["gpus"]) for probe in facts.probes}
    least = min(counts.values())
    host = min(counts, key=lambda name: counts[name])
    how = _variable_in_words(next(probe["gpus"] for probe in facts.probes if probe["host"] == host))
    if kind == "intel" and said and least and said % least == 0:
        return State.OK, f"{least} on a node ({how}), in {said} parts"
    if least < said:
        return State.FAILED, (
            f"{least} seen on {host} ({how}), and the site file says gpus_per_node: {said}; correct it or gpu_type, "
            "or request them in options"
        )
    if least > said:
        return State.WARNING, f"{least} seen on a node ({how}), and the site file says gpus_per_node: {said}"
    return State.OK, f"{least} on a node ({how})" if least else "none, as the site file says"


def count_gpus(seen: Mapping[str, Any]) -> int:
    """How many GPUs a trial could use: those in the variable, or all devices when it is not set."""
    if seen["value"] is None:
        return len(seen["devices"])
    return len([name for name in seen["value"].split(",") if name.strip() not in NO_GPU])


def _variable_in_words(seen: Mapping[str, Any]) -> str:
    if seen["value"] is not None:
        return f"{seen['variable']}={seen['value']}"
    devices = _count(len(seen["devices"]), "device") if seen["devices"] else "no devices"
    return f"{seen['variable']} is not set, {devices}"


def memory(facts: Facts) -> Assessment | None:
    known = [probe for probe in facts.probes if probe["memory"]]
    if not known:
        return None
    seen, said = min(probe["memory"] for probe in known), facts.pool.memory_per_node
    text = f"{seen / 1e9:.3g} GB on a node"
    if said and seen < MEMORY_SHARE * said:
        return State.WARNING, (
            f"{text}, and the site file says memory_per_node: {said / 1e9:.3g}GB; "
            "trials could run out of memory and be killed"
        )
    return State.OK, text


def clock(facts: Facts) -> Assessment | None:
    skews = {probe["host"]: probe["channel"]["skew"] for probe in facts.probes if probe["channel"]["skew"] is not None}
    if not skews:
        return None
    host = max(skews, key=lambda name: abs(skews[name]))
    skew = skews[host]
    if abs(skew) <= SKEW:
        return State.OK, f"within {max(abs(skew), 0.001):.3f} s of this host's"
    return State.WARNING, (
        f"that of {host} is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this host's, so ends of blocks "
        "are wrong by as much; tell the site's staff, and increase trial.yield_before"
    )


def run_directory(facts: Facts) -> Assessment | None:
    """Whether the run directory is shared, and on which file system it lies."""
    if not facts.probes:
        return None
    blind = [probe for probe in facts.probes if probe["folder"]["read"] != facts.marker]
    unseen = [probe for probe in facts.probes if probe["folder"]["wrote"] not in facts.seen]
    lost = blind or unseen
    if lost:
        error = next((probe["folder"]["error"] for probe in lost if probe["folder"]["error"]), "")
        what = f"{_hosts(blind)} cannot read what this host writes" if blind else (
            f"this host cannot read what {_hosts(unseen)} writes")  # fmt: skip
        return State.FAILED, (
            f"{facts.folder} is not shared: {what}{f' ({error})' if error else ''}; set a folder that all nodes see "
            "with runs: in the site file or --runs"
        )
    there = {mount_text(probe["folder"]["filesystem"]) for probe in facts.probes}
    here = mount_text(asdict(facts.mount))
    where = here if there == {here} else f"{here} here, {' and '.join(sorted(there))} on the nodes"
    return State.OK, f"shared; {where}"


def mount_text(mount: Mapping[str, str]) -> str:
    """A mount in words: ``Lustre (/lustre/orion)``."""
    found = Mount(**mount)
    return f"{found.name} ({found.point})" if found.point else found.name


def may_submit(facts: Facts) -> Assessment | None:
    if facts.local or not facts.probes:
        return None
    without = [probe for probe in facts.probes if not probe["submit"]]
    if without:
        return State.WARNING, (
            f"the submit command is not on PATH in a block (on {_hosts(without)}), which pilotune run --in-job needs; "
            "setup: in the site file can add its folder"
        )
    return State.OK, f"a job finds {facts.probes[0]['submit']}, as pilotune run --in-job needs"


def _count(amount: int, word: str) -> str:
    return f"{amount} {word}{'s' * (amount != 1)}"


def _hosts(probes: Sequence[Mapping[str, Any]], key: str = "", value: Any = None) -> str:
    names = [probe["host"] for probe in probes if not key or probe[key] == value]
    return ", ".join(dict.fromkeys(names))


CHECKS: Mapping[str, Callable[[Facts], Assessment | None]] = {
    "submission": submission,
    "queue": queue,
    "set-up": set_up,
    "workers": workers,
    "Python": python,
    "packages": packages,
    "network": network,
    "round trip": round_trip,
    "cores": cores,
    "GPUs": gpus,
    "memory": memory,
    "clocks": clock,
    "run directory": run_directory,
    "in-job": may_submit,
}
"""Name of a line of the table -> the function that assesses it."""
