"""What Parsl calls on a worker. Importable by reference, so that nothing but the attempt's description travels."""

from __future__ import annotations

from typing import Any


def run_attempt(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one attempt (:class:`pilotune.pipeline.trial.protocol.AttemptSpec` as a dict); its Outcome as a dict."""
    from pilotune.pipeline.trial.runner import run_attempt as run

    return run(spec)
