"""What is tried next: Optuna's samplers by name, each an ``optuna.samplers.BaseSampler``."""

from .registry import check_sampler, grid_values, make_sampler, sampler_arguments, sampler_name, sampler_names

__all__ = [
    "check_sampler",
    "grid_values",
    "make_sampler",
    "sampler_arguments",
    "sampler_name",
    "sampler_names",
]
