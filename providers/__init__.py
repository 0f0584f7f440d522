"""Machines: site files, schedulers, blocks, and the pools of workers on them. Uses Parsl; knows nothing of Optuna."""

from .. import light_imports as light_imports
