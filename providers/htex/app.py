"""What Parsl calls on a worker. Importable by reference, so that nothing but the attempt's description travels."""

from __future__ import annotations

from typing import Any


def run_attempt(spec: dict[str, Any], parsl_resource_specification: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one attempt (:class:`pilotune.pipeline.trial.protocol.AttemptSpec` as a dict); its Outcome as a dict.

    ``parsl_resource_specification`` is for Parsl, which gives a trial the nodes it names.
    """
    from pilotune.pipeline.worker.run_attempt import run_attempt as run

    return run(spec)
