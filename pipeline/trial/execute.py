"""Runs an objective in this process and says how it ended; used in a trial's own process and in the worker alike."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from .api import Trial
from .call import call_objective
from .ending import Ending, ending_of
from .files import TrialFiles
from .link import Link
from .load import load_objective
from .protocol import AttemptSpec
from .result import read_result


def execute(spec: AttemptSpec, link: Link) -> Ending:
    """Import, seed, call, read the value. Never raises: whatever comes out of the objective becomes an Ending."""
    trial: Trial | None = None
    try:
        function = load_objective(spec.objective)
        seed_generators(spec.seed)
        trial = Trial(spec, TrialFiles(Path(spec.directory)).checkpoint, link)
        result = read_result(call_objective(function, trial, spec.space_names), spec.n_values, spec.metrics)
        return Ending("complete", values=result.values, user_attrs=result.user_attrs)
    except BaseException as error:
        return ending_of(error, yielding=trial is not None and not trial.pruned and trial.should_yield())


def seed_generators(seed: int) -> None:
    """Seed ``random``, and NumPy and PyTorch where the objective has imported them."""
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed(seed % 2**32)
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)


def environment(spec: AttemptSpec) -> dict[str, str]:
    """What every attempt finds in its environment, whatever its form."""
    files = TrialFiles(Path(spec.directory))
    return {
        "PILOTUNE_STUDY": spec.study,
        "PILOTUNE_STUDY_DIR": spec.objective.folder,
        "PILOTUNE_TRIAL": str(spec.number),
        "PILOTUNE_ATTEMPT": str(spec.attempt),
        "PILOTUNE_SEED": str(spec.seed),
        "PILOTUNE_CHECKPOINT_DIR": str(files.checkpoint),
        "PILOTUNE_CORES": str(spec.cores),
        "PILOTUNE_GPUS": str(spec.gpus),
        "PILOTUNE_NODES": str(spec.nodes),
    }


THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Set to the trial's cores where nobody set them: libraries would take all cores of the node for each trial."""
