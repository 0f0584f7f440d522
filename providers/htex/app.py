"""The function that Parsl calls on a worker.

It lies in a module so that Parsl sends a reference to it and the attempt's description, not its code.
"""

from __future__ import annotations

from typing import Any


def run_attempt(spec: dict[str, Any], parsl_resource_specification: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one attempt on this worker.

    Args:
        spec: A :class:`pilotune.pipeline.trial.protocol.AttemptSpec` as a dict.
        parsl_resource_specification: Read by Parsl, which gives a trial on several nodes the nodes that it asks for.

    Returns:
        A :class:`pilotune.pipeline.trial.protocol.Outcome` as a dict.
    """
    from pilotune.pipeline.worker.run_attempt import run_attempt as run

    return run(spec)
