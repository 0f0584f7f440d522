"""Runs an objective in this process: in a trial's own process, or in the worker itself."""

from __future__ import annotations

import dataclasses
import os
import random
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import ModuleType

from ...trial.api import Trial
from ...trial.block_env import LAUNCHER
from ...trial.files import TrialFiles
from ...trial.gpus import gpu_environment
from ...trial.link import DriverConnection
from ...trial.protocol import AttemptSpec
from ..node.affinity import BOUND, is_bound
from ..node.block import launched, launcher, nodelist
from ..ranks.torch_trial import accept_trials
from .call import call_objective
from .ending import Ending, ending_of
from .load import import_objective, make_objective
from .result import read_result


def execute(
    spec: AttemptSpec,
    connection: DriverConnection,
    *,
    module: ModuleType | None = None,
    trial: Trial | None = None,
    on_error: Callable[[BaseException], None] | None = None,
) -> Ending:
    """Import the objective, seed, call it, and read its value. Any exception becomes an :class:`.Ending`.

    Args:
        spec: The attempt.
        connection: The trial's connection to the driver.
        module: The objective's, where it is imported already.
        trial: What the objective gets, where it is made already.
        on_error: Called with an exception before it becomes the ending; what it raises leaves this function.
    """
    try:
        module = module or import_objective(spec.objective)
    except BaseException as error:
        return not_imported(ending_of(error, yielding=False, objective=spec.objective))
    try:
        seed_generators(spec.seed)  # of what the module has imported
        if spec.ranked:
            accept_trials()
        function = make_objective(module, spec.objective)
        trial = trial or Trial(spec, TrialFiles(Path(spec.directory)).checkpoint_of(spec.attempt), connection)
        returned = call_objective(function, trial, spec.space_names)
        if spec.rank:  # the value is that of rank 0
            return Ending("complete")
        result = read_result(returned, spec.n_values, spec.metrics)
        return Ending("complete", values=result.values, user_attrs=result.user_attrs)
    except BaseException as error:
        if on_error is not None:
            on_error(error)
        yielding = trial is not None and not trial.pruned and trial.should_yield()
        return ending_of(error, yielding=yielding, objective=spec.objective)


def not_imported(ending: Ending) -> Ending:
    """The ending of an attempt whose objective raised while it was imported: it could not be started."""
    if ending.failure != "exception":
        return ending
    return dataclasses.replace(ending, failure="setup", reason=f"the objective cannot be imported: {ending.reason}")


def seed_generators(seed: int) -> None:
    """Seed ``random``, and NumPy and PyTorch where the objective has imported them."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed(seed % 2**32)
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)


THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",  # what joblib's n_jobs=-1 means
)
"""Set to the trial's cores where they are not set; otherwise libraries use all cores of the node for each trial."""


def environment(
    spec: AttemptSpec, worker: Mapping[str, str] = os.environ, known: Mapping[str, str | None] | None = None
) -> dict[str, str | None]:
    """Changes to the worker's environment for an attempt; None removes a variable.

    Args:
        spec: The attempt.
        worker: The worker's environment.
        known: What :func:`hardware` has returned for them; None to call it.
    """
    files = TrialFiles(Path(spec.directory))
    # Parsl sets its variables for each attempt; the fork server has those of its first one.
    parsl = {name: worker[name] for name in worker if name.startswith("PARSL_")}
    return {
        **parsl,
        **(hardware(spec, worker) if known is None else known),
        "PILOTUNE_STUDY": spec.study,
        "PILOTUNE_STUDY_DIR": spec.objective.folder,
        "PILOTUNE_TRIAL": str(spec.number),
        "PILOTUNE_ATTEMPT": str(spec.attempt),
        "PILOTUNE_REPEAT": str(spec.repeat),
        "PILOTUNE_SEED": str(spec.seed),
        "PILOTUNE_CHECKPOINT_DIR": str(files.checkpoint_of(spec.attempt)),
        "PILOTUNE_ARTIFACTS": str(files.artifacts(spec.attempt)),
        "PILOTUNE_CORES": str(spec.cores),
        "PILOTUNE_GPUS": str(spec.gpus),
        "PILOTUNE_NODES": str(spec.nodes),
        "PILOTUNE_RANKS": str(spec.ranks),
        "PILOTUNE_RANKS_PER_NODE": str(spec.ranks_per_node),
        LAUNCHER: launcher(spec, worker) or None,
        "PILOTUNE_NODELIST": nodelist(spec, worker) or None,
    }


def hardware(spec: AttemptSpec, worker: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """The part of :func:`environment` that is the same for all attempts of a worker: threads and GPUs."""
    threads = max(1, spec.cores // spec.ranks_per_node)
    unset = [name for name in THREADS if name not in worker]
    # Where Parsl pins workers to cores, it sets OMP_NUM_THREADS to their number.
    if is_bound(worker):
        unset = list(dict.fromkeys(["OMP_NUM_THREADS", *unset]))
        if spec.cores in (1, spec.ranks_per_node):  # the default, so the user has not chosen
            threads = max(1, len(worker["GOMP_CPU_AFFINITY"].split(",")) // spec.ranks_per_node)
    changes: dict[str, str | None] = dict.fromkeys(unset, str(threads))
    if spec.ranked:  # the threads of each rank run on cores of its own; all ranks' would begin with the first one
        changes.update(dict.fromkeys(BOUND) if is_bound(worker) else {})
    if launched(spec) and "SRUN_CPUS_PER_TASK" not in worker:
        changes["SRUN_CPUS_PER_TASK"] = str(threads)  # srun gives each rank one core unless told otherwise
    return {**changes, **gpu_environment(spec.gpus, worker)}


def change(environment: MutableMapping[str, str], changes: Mapping[str, str | None]) -> None:
    """Apply changes to ``environment``; None removes a variable."""
    for name, value in changes.items():
        if value is not None:
            if environment.get(name) != value:
                environment[name] = value
        elif name in environment:
            del environment[name]
