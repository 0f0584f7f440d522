"""Samplers, which suggest the parameters of the next trial: Pilotune's own, Optuna's, and those of other packages.

Each is an ``optuna.samplers.BaseSampler``. One folder a family: ``tpe/``.
"""

from .auto import choose_sampler
from .constraints import constraints_function
from .grid import grid_values
from .registry import (
    check_sampler,
    make_sampler,
    resolved_sampler,
    sampler_arguments,
    sampler_name,
    sampler_names,
    user_sampler,
)

__all__ = [
    "check_sampler",
    "choose_sampler",
    "constraints_function",
    "grid_values",
    "make_sampler",
    "resolved_sampler",
    "sampler_arguments",
    "sampler_name",
    "sampler_names",
    "user_sampler",
]
