"""Parsl is imported only as far as it is used, and is whole for everybody who asks for more."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import pilotune.providers.htex.pool
import pilotune.providers.schedulers.registry
heavy = {"sqlalchemy", "requests.api", "typeguard._decorators", "parsl.monitoring.db_manager", "optuna", "pandas"}
heavy |= {"parsl.executors.flux.executor", "parsl.providers.slurm.slurm"}
print(sorted(heavy & sys.modules.keys()))

import typeguard
from typeguard import typechecked
print(typechecked.__module__, typeguard.check_type.__module__)

import parsl
from parsl import Config
print(parsl.python_app.__module__, parsl.__version__ == parsl.version.VERSION, Config.__module__)
from parsl.executors import WorkQueueExecutor
from parsl.monitoring import MonitoringHub
print(WorkQueueExecutor.__name__, MonitoringHub.__module__)
try:
    parsl.no_such_name
except AttributeError as error:
    print(error)
"""


def test_what_is_not_used_is_not_imported_until_somebody_asks() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "typeguard typeguard",
        "parsl.app.app True parsl.config",
        "WorkQueueExecutor parsl.monitoring.monitoring",
        "module 'parsl' has no attribute 'no_such_name'",
    ]
