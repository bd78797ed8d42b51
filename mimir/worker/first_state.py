"""Gives a fresh run what it begins with, where that comes from another run (runs/origin.py).

Only an attempt that finds no checkpoint of the run does so: the run's own first checkpoint counts
from then on. The copy is the same for all attempts, so a run that is interrupted before it has
committed anything begins again with the same bits.
"""

from dataclasses import replace

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from mimir.errors import Corrupt
from mimir.runs.origin import WEIGHTS, Origin
from mimir.runs.store import Store
from mimir.training import checkpoint
from mimir.training.checkpoint import Record
from mimir.training.engine import Engine


def begin(engine: Engine, store: Store, origin: Origin, record: Record) -> Record:
    """Put the origin's weights or state into an engine at step 0; the record to go on with.

    record: of a run that begins afresh.

    Raises:
        BadInput: tensors of another model.
        Corrupt: the copy cannot be used.
    """
    start = origin.start
    if start is None:
        raise Corrupt(f"there is no copy of {origin.words}: submit the run again")
    content = store.get(start.key, size=start.size, sha256=start.sha256)
    if origin.kind == WEIGHTS:
        try:
            engine.state.begin_with(load(content))
        except (SafetensorError, ValueError) as error:
            raise Corrupt(f"{start.key} holds no weights ({error})") from None
        return record
    found, tensors = checkpoint.decode_committed(content, origin.config_sha256, record.data_sha256)
    # A cooldown that has ended the other run would end this one, too.
    engine.resume({**tensors, "loop.cooldown": torch.tensor(-1), "loop.stale": torch.tensor(0)})
    return replace(
        record, step=found.step, evaluated=found.evaluated, val=found.val, selected=found.selected
    )
