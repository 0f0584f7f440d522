"""What TensorBoard, MLflow and Weights & Biases read of trials that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pilotune.pipeline.loggers.base import make_logger
from pilotune.pipeline.loggers.records import TrialRecord
from pilotune.pipeline.loggers.settings import LoggerSettings, destination

PARAMS = {"lr": 0.1, "optimizer": "sgd", "bias": None, "deep": True, "n": 3}


def record(number: int, state: str = "", reports: Any = (), **more: Any) -> TrialRecord:
    values = {"loss": 0.25} if state == "complete" else {}
    ended = 110.0 if state else None
    return TrialRecord(
        number, PARAMS, 100.0, [list(each) for each in reports], state, values, ended, metric="loss", **more
    )


WRITTEN = [
    record(0, reports=[(1, 0.5, 101.0)]),
    record(1, reports=[(1, 0.7, 102.0)]),
    record(0, "complete", [(2, 0.25, 103.0)], tags={"host": "node7", "attempts": "2"}),
    record(1, "pruned", [(2, 0.8, 104.0)]),
    record(2, "failed", tags={"reason": "ValueError: no | such layer"}),
]
"""Three trials, in the order in which a campaign would tell of them."""


def write(name: str, tmp_path: Path, **args: str) -> Any:
    """Write them with one logger; returns its destination."""
    place = destination(LoggerSettings(name, args), "digits", tmp_path, tmp_path / "loggers")
    (tmp_path / "loggers").mkdir()
    logger, runs = make_logger(place, "digits"), {}
    for each in WRITTEN:
        if each.state or logger.live:
            runs[each.number] = logger.write(each, runs.get(each.number))
    logger.close()
    return place


def test_tensorboard_has_a_run_for_each_trial(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = Path(write("tensorboard", tmp_path).args["dir"])
    assert sorted(each.name for each in folder.iterdir()) == ["trial-0", "trial-1", "trial-2"]
    runs = [EventAccumulator(str(folder / f"trial-{number}")).Reload() for number in range(3)]
    curve = [(each.wall_time, each.step, round(each.value, 6)) for each in runs[0].Scalars("reports/loss")]
    assert curve == [(101.0, 1, 0.5), (103.0, 2, 0.25)]
    assert [(each.step, each.value) for each in runs[0].Scalars("loss")] == [(2, 0.25)]
    assert runs[1].Tags()["scalars"] == ["reports/loss"]
    text = runs[2].Tensors("trial")[0].tensor_proto.string_val[0].decode()
    assert "| state | failed |" in text
    assert "| reason | ValueError: no &#124; such layer |" in text


def test_tensorboards_hparams_view_has_the_parameters_the_values_and_the_states(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    folder = write("tensorboard", tmp_path).args["dir"]
    multiplexer = EventMultiplexer().AddRunsFromDirectory(folder)
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, folder)
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=10)
    request.allowed_statuses.extend([api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE])
    asked = RequestContext()
    view = Context(TBContext(data_provider=provider))
    groups = Handler(asked, view, "", request).run().session_groups
    found = {group.name: group for group in groups}
    assert sorted(found) == ["trial-0", "trial-1", "trial-2"]
    hparams = found["trial-0"].hparams
    shown = (hparams["lr"].number_value, hparams["optimizer"].string_value, hparams["bias"].string_value)
    assert shown == (0.1, "sgd", "null")
    assert hparams["deep"].bool_value
    metrics = {value.name.tag: value.value for value in found["trial-0"].metric_values}
    assert metrics == {"loss": 0.25, "reports/loss": 0.25}
    states = [found[f"trial-{number}"].sessions[0].status for number in range(3)]
    assert states == [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_FAILURE]


@pytest.mark.slow
def test_mlflow_has_a_run_for_each_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = write("mlflow", tmp_path)
    assert place.args == {"uri": f"sqlite:///{tmp_path}/loggers/mlflow.db", "experiment": "digits"}
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=place.args["uri"])
    experiment = client.get_experiment_by_name("digits")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["trial-0", "trial-1", "trial-2"]
    first = runs["trial-0"]
    assert first.data.params == {"lr": "0.1", "optimizer": "sgd", "bias": "None", "deep": "True", "n": "3"}
    history = client.get_metric_history(first.info.run_id, "reports/loss")
    assert [(each.step, each.value, each.timestamp) for each in history] == [(1, 0.5, 101_000), (2, 0.25, 103_000)]
    assert first.data.metrics["loss"] == 0.25
    assert (first.data.tags["pilotune.host"], first.data.tags["pilotune.trial"]) == ("node7", "0")
    assert (first.info.start_time, first.info.end_time) == (100_000, 110_000)
    assert [runs[f"trial-{number}"].info.status for number in range(3)] == ["FINISHED", "KILLED", "FAILED"]
    assert runs["trial-1"].data.tags["pilotune.state"] == "pruned"


@pytest.mark.slow
def test_wandb_writes_offline_runs(tmp_path: Path) -> None:
    place = write("wandb", tmp_path)
    assert (place.args["mode"], place.args["project"]) == ("offline", "digits")
    runs = sorted((tmp_path / "loggers/wandb").rglob("*.wandb"))
    assert [each.stem for each in runs] == ["run-digits-0", "run-digits-1", "run-digits-2"]
    content = runs[0].read_bytes()
    assert all(word in content for word in (b"reports/loss", b"optimizer", b"node7", b"trial-0"))
