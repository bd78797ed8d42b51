"""Makes a run's files on the user's computer, from weights, samples and metrics.

model.safetensors   best EMA weights, float32, and with `last.` before their names the last ones
config.json         the run's configuration, and the SHA-256 of the packed data it was trained on
vocabulary.json     letters, mask, labels, targets, lengths of the training peptides
targets.safetensors the targets' sequences and the letters of their pairs (`target_table`)
samples.fasta       some peptides
peptides.py         draws and scores peptides without Mimir (`mimir.output.standalone`)
loss.png            the curve
tensorboard/        the same metrics as an event file

Configuration and data are those that were submitted. Of what the machine wrote, only numbers,
and peptides come in. The report is the launcher's (launch/report).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimir import __version__
from mimir.config import Config
from mimir.data.pack import Peptides
from mimir.output import events, model_object, plot, target_table, vocabulary
from mimir.runs.record import RunRecord

FORMAT = 1
"""Of config.json."""
LOADER = Path(__file__).parent / "standalone" / "peptides.py"


@dataclass(frozen=True)
class Left:
    """What a machine left of a run, checked.

    content: the object with the weights. record: what `model_object.record_in` found in it.
    rows: metrics, as `read_metrics` gives them.
    """

    content: bytes
    record: model_object.Record
    rows: list[dict[str, Any]]


def files_of(record: RunRecord, step: int, left: Left, peptides: Peptides) -> dict[str, bytes]:
    """The files by name.

    Args:
        record: of the run.
        step: of the weights.
        left: what its machine left, or what `checkpoint_model` makes of a checkpoint.
        peptides: what it was trained on.
    """
    samples, rows = list(left.record.samples), left.rows
    curve = plot.loss_curve(rows, peptides.baselines)
    event_file = events.file_name(record.created, record.name)
    config = Config.from_dict(record.config)
    return {
        model_object.FILE: model_object.made_again(
            left.content, left.record, peptides.vocabulary, record.name
        ),
        "config.json": _json({"format": FORMAT, "mimir": __version__, "run": record.name,
                              "step": step,
                              "data_sha256": peptides.digest, **config.as_dict()}),
        "vocabulary.json": _json(vocabulary.of(peptides).as_json()),
        target_table.FILE: target_table.encode(peptides),
        LOADER.name: LOADER.read_bytes(),
        "samples.fasta": "".join(
            f">{record.name}_{n}\n{sample}\n" for n, sample in enumerate(samples, 1)
        ).encode(),
        "loss.png": curve,
        f"tensorboard/{event_file}": events.event_file(rows, record.created),
    }  # fmt: skip


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
