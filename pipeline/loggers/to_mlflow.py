"""Writes trials to MLflow: one run for each, in an experiment of the study's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from .records import TrialRecord
from .settings import Destination

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}

BATCH = 1000
"""Most metrics that MLflow takes at once; ``PARAMS`` is that of parameters."""

PARAMS = 100

LONGEST = 500
"""Most characters of a parameter or tag, which all versions of MLflow take."""


class MlflowLogger:
    """One run for each trial, named ``trial-N``. See :class:`.base.Logger`."""

    live = True

    def __init__(self, destination: Destination, study: str):
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._study, self._client = study, MlflowClient(tracking_uri=destination.args["uri"])
        name = destination.args["experiment"]
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found is not None else self._client.create_experiment(name)

    def write(self, record: TrialRecord, run: str | None) -> str | None:
        if run is None:
            run = self._start(record)
        metrics = [Metric(record.report_key, value, _ms(moment), int(step)) for step, value, moment in record.reports]
        if record.state:
            last = int(max((each[0] for each in record.reports), default=0))
            moment = record.ended or record.started
            metrics += [Metric(name, value, _ms(moment), last) for name, value in record.values.items()]
        for part in _parts(metrics, BATCH):
            self._client.log_batch(run, metrics=part)
        if record.state:
            tags = {"state": record.state, **record.tags}
            self._client.log_batch(run, tags=[RunTag(f"pilotune.{key}", text[:LONGEST]) for key, text in tags.items()])
            self._client.set_terminated(run, STATUS[record.state], _ms(record.ended or record.started))
        return run

    def _start(self, record: TrialRecord) -> str:
        tags = {"pilotune.study": self._study, "pilotune.trial": str(record.number)}
        made = self._client.create_run(self._experiment, _ms(record.started), tags, record.run)
        run = str(made.info.run_id)
        params = [Param(name, str(value)[:LONGEST]) for name, value in record.params.items()]
        for part in _parts(params, PARAMS):
            self._client.log_batch(run, params=part)
        return run

    def close(self) -> None:
        pass


def _ms(seconds: float) -> int:
    return int(1000 * seconds)


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
