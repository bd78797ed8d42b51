"""Metrics as a TensorBoard event file."""

import io
from typing import Any

VERSION = "brain.Event:2"
"""Of the format, as the file's first event says (tensorflow/core/util/event.proto)."""


def event_file(rows: list[dict[str, Any]]) -> bytes:
    """The numbers of each row of metrics as scalars; the same rows give the same bytes."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    out = io.BytesIO()
    writer = RecordWriter(out)
    began = next((row["time"] for row in rows if row.get("time")), 0.0)
    writer.write(Event(wall_time=began, file_version=VERSION).SerializeToString())
    for row in rows:
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name not in ("step", "time") and isinstance(value, (int, float))
        ]
        event = Event(wall_time=row.get("time") or began, step=row["step"])
        event.summary.CopyFrom(Summary(value=values))
        writer.write(event.SerializeToString())
    writer.flush()
    return out.getvalue()
