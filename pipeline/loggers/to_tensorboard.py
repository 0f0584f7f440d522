"""Writes trials as TensorBoard reads them: curves, and the HParams view with a column for each parameter and metric.

The event files are written with the package ``tensorboard`` alone; its own functions for them need TensorFlow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from .records import TrialRecord, plain_params
from .settings import Destination

STATUS = {
    "complete": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "pruned": api_pb2.STATUS_UNKNOWN,
}
"""TensorBoard has no word for a pruned trial; the text ``trial`` of its run says it."""

MOST_OPEN = 64
"""Most trials whose event files are kept open; a closed one goes on in another file of the same run."""


class TensorBoardLogger:
    """One run for each trial, in ``DIR/trial-N``. See :class:`.base.Logger`."""

    live = True

    def __init__(self, destination: Destination, study: str):
        self._folder = Path(destination.args["dir"])
        self._open: dict[int, EventFileWriter] = {}

    def write(self, record: TrialRecord, run: str | None) -> str | None:
        writer = self._writer(record)
        if run is None:
            _add(writer, record.started, 0, _session_start(record))
        for step, value, moment in record.reports:
            _add(writer, moment, int(step), Summary.Value(tag=record.report_key, simple_value=value))
        if record.state:
            moment, last = record.ended or record.started, int(max((each[0] for each in record.reports), default=0))
            for name, value in record.values.items():
                _add(writer, moment, last, Summary.Value(tag=name, simple_value=value))
            _add(writer, moment, last, _text(record))
            _add(writer, moment, last, _session_end(record))
            del self._open[record.number]
            writer.close()
        else:
            writer.flush()
        return record.run

    def _writer(self, record: TrialRecord) -> EventFileWriter:
        found = self._open.pop(record.number, None)
        while len(self._open) >= MOST_OPEN:
            self._open.pop(next(iter(self._open))).close()
        if found is None:
            found = EventFileWriter(str(self._folder / record.run))
        self._open[record.number] = found
        return found

    def close(self) -> None:
        for writer in self._open.values():
            writer.close()
        self._open.clear()


def _add(writer: EventFileWriter, moment: float, step: int, value: Summary.Value) -> None:
    writer.add_event(Event(wall_time=moment, step=step, summary=Summary(value=[value])))


def _hparams(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Summary.Value:
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)


def _session_start(record: TrialRecord) -> Summary.Value:
    info = plugin_data_pb2.SessionStartInfo(group_name=record.run, start_time_secs=record.started)
    for name, value in plain_params(record.params).items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        setattr(info.hparams[name], kind, value)
    return _hparams(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def _session_end(record: TrialRecord) -> Summary.Value:
    info = plugin_data_pb2.SessionEndInfo(status=STATUS[record.state], end_time_secs=record.ended or 0.0)
    return _hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def _text(record: TrialRecord) -> Summary.Value:
    """The state and the rest that is known, as a table for the tab *Text*."""
    rows: dict[str, Any] = {"state": record.state, **record.tags}
    lines = [f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in rows.items()]
    text = "\n".join(["| | |", "| --- | --- |", *(" ".join(line.split()) for line in lines)])
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    return Summary.Value(tag="trial", metadata=plugin, tensor=tensor)
