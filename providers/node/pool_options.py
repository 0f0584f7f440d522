"""The command line of a node's worker pool: written by the driver, completed by the node's agent, read by the pool."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TEMPLATE = (
    "--port={worker_port} -a {addresses} --cert_dir={cert_dir} --logdir={logdir} --block_id={{block_id}} "
    "{max_workers_per_node} --prefetch={prefetch_capacity} --hb_period={heartbeat_period} "
    "--cpu-affinity {cpu_affinity} {enable_mpi_mode}--mpi-launcher={mpi_launcher} "
    "--available-accelerators {accelerators} --uid={{uid}}"
)
"""The options, in which Parsl fills in the fields in single braces. The agent replaces those in double ones, and adapts
the binding to cores and the accelerators to what its job has been given."""


@dataclass(frozen=True)
class PoolOptions:
    """What a worker pool is told.

    Attributes:
        uid: Its name, which begins with its host's.
        block: Its block's number.
        addresses: Addresses at which the interchange may be.
        port: The interchange's port.
        certificates: Folder with the keys of the connection to it.
        log: File for the pool's log.
        workers: Number of workers.
        heartbeat: Seconds between two heartbeats.
        silence: Seconds without a word from the interchange after which the pool ends.
        prefetch: Most tasks that wait here for a free worker.
        affinity: How workers are bound to cores, as Parsl writes it: ``none``, ``block``, ``list:0-3:4-7``, ...
        accelerators: The GPUs of each worker; empty where they have none.
        mpi_launcher: What starts the ranks of a trial on several nodes; empty where trials are on one.
        packed: Each task says which of the node's GPUs (``accelerators``, one by one) and cores it has.
    """

    uid: str
    block: str
    addresses: tuple[str, ...]
    port: int
    certificates: Path
    log: Path
    workers: int
    heartbeat: float
    silence: float
    prefetch: int = 0
    affinity: str = "none"
    accelerators: tuple[str, ...] = ()
    mpi_launcher: str = ""
    packed: bool = False


def read_options(words: Sequence[str]) -> PoolOptions:
    """Read the command line. Ends the program with a sentence on stderr where it is invalid."""
    # With a width given, argparse does not import shutil, whose libraries each fork of a trial would copy.
    parser = argparse.ArgumentParser(
        prog="worker_pool", allow_abbrev=False, formatter_class=partial(argparse.HelpFormatter, width=80)
    )
    for option in ("--port", "--max_workers_per_node"):
        parser.add_argument(option, type=int, required=True)
    for option in ("-a", "--cert_dir", "--logdir", "--block_id", "--uid"):
        parser.add_argument(option, required=True)
    for option in ("--hb_period", "--hb_threshold"):
        parser.add_argument(option, type=float, required=True)
    parser.add_argument("--prefetch", type=int, default=0)
    parser.add_argument("--cpu-affinity", default="none")
    parser.add_argument("--enable_mpi_mode", action="store_true")
    parser.add_argument("--mpi-launcher", default="")
    parser.add_argument("--packed", action="store_true")
    parser.add_argument("--available-accelerators", nargs="*", default=[])
    given = parser.parse_args(words)
    accelerators = tuple(given.available_accelerators)
    most = given.max_workers_per_node
    return PoolOptions(
        uid=given.uid,
        block=given.block_id,
        addresses=tuple(filter(None, given.a.split(","))),
        port=given.port,
        certificates=Path(given.cert_dir),
        log=Path(given.logdir, f"block-{given.block_id}", given.uid, "manager.log"),
        workers=min(most, len(accelerators)) if accelerators and not given.packed else most,
        heartbeat=given.hb_period,
        silence=given.hb_threshold,
        prefetch=given.prefetch,
        affinity=given.cpu_affinity.lower(),
        accelerators=accelerators,
        mpi_launcher=given.mpi_launcher if given.enable_mpi_mode else "",
        packed=given.packed,
    )
