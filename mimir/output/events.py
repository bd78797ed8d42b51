"""Metrics as a TensorBoard event file.

TensorBoard reads on from where it was, so a file that it watches may only grow. That of a run that
trains lacks the newest row, to which a validation may still add figures. When another attempt
goes on, rows beyond its first step vanish: its file has another name, which TensorBoard reads after
those before, and begins with the sign at which it forgets them (SessionLog.START, of step 0).
"""

import io
from pathlib import Path
from typing import Any

from mimir.atomic_file import write

VERSION = "brain.Event:2"
"""Of the format, as the file's first event says (tensorflow/core/util/event.proto)."""


def file_name(created: float, run: str, attempt: int = 0) -> str:
    """The name of a run's event file; with an attempt, while that one trains.

    A fixed name, so that a second one replaces it.
    created: unix s.
    """
    more = f".a{attempt:04d}" if attempt else ""
    return f"events.out.tfevents.{int(created)}.{run}{more}"


def update(
    folder: Path, rows: list[dict[str, Any]], created: float, run: str, attempt: int
) -> Path:
    """Write the event file of a run that may still train, as its newest attempt left it.

    Args:
        folder: of the run's events alone; it is made.
        rows: of metrics, as `read_metrics` gives them; of a run that trains without the newest.
        created: when the run was, unix s.
        attempt: that wrote the newest rows.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(created, run, attempt)
    write(path, event_file(rows, created))
    return path


def event_file(rows: list[dict[str, Any]], began: float) -> bytes:
    """The numbers of each row of metrics as scalars; the same rows give the same bytes.

    began: when the run was created, unix s: the time of what has none of its own.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    out = io.BytesIO()
    writer = RecordWriter(out)
    writer.write(Event(wall_time=began, file_version=VERSION).SerializeToString())
    start = Event(wall_time=began, session_log=SessionLog(status=SessionLog.START))
    writer.write(start.SerializeToString())
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
