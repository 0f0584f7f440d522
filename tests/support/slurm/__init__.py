"""A real Slurm of four nodes on this machine, for tests: Debian's packages, a network of its own, a temporary folder.

``python -m tests.support.slurm start`` starts one by hand and ``python -m tests.support.slurm stop`` ends it.
"""

from .lab import ACCOUNTS, GPUS, NODES, Lab, Unavailable

__all__ = ["ACCOUNTS", "GPUS", "NODES", "Lab", "Unavailable"]
