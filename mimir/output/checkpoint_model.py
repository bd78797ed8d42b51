"""Makes of a checkpoint what a finished run would have left: the averaged weights, and no samples.

So `sample` and `evaluate` take the folder that `launch pull` makes of an unfinished run. A machine
wrote the checkpoint: the weights are checked against the configuration when they are loaded
(`export.denoiser`).
"""

import numpy as np

from mimir.config import CHECKPOINT_FORMAT, Config
from mimir.data import files
from mimir.errors import BadInput, Corrupt
from mimir.output import model_object
from mimir.runs import codec
from mimir.runs.ranges import FLOAT32

_BEST_STEP, _BEST_FIGURE = "loop.best_step", "loop.best_figure"


def model_of(content: bytes, where: str, config: Config, data_sha256: str) -> bytes:
    """The object that `model_object.encode` makes, from a checkpoint's bytes.

    Args:
        where: names it in errors.
        data_sha256: of the packed data that the run is trained on.

    Raises:
        Corrupt: it is no checkpoint of this format, configuration and data.
    """
    try:
        tensors, record = files.from_bytes(content, where)
    except BadInput as error:
        raise Corrupt(str(error)) from None
    codec.check_format(record, CHECKPOINT_FORMAT, where, machines=True)
    if (record.get("config_sha256"), record.get("data_sha256")) != (config.sha256(), data_sha256):
        raise Corrupt(f"{where} is of another configuration or data set than this run's")
    step = tensors.get(_BEST_STEP)
    if step is None or step.shape != () or step.dtype != np.int64:
        raise Corrupt(f"{where}: its {_BEST_STEP} is not one 64-bit integer")
    best_step = int(step)
    best = "best." if best_step >= 0 else "ema."
    weights = {
        before + name.removeprefix(prefix): value
        for prefix, before in ((best, ""), ("ema.", model_object.LAST))
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    made = model_object.encode(weights, [], best_step=best_step)
    model_object.record_in(made, where)
    return made


def best_in(content: bytes, where: str) -> tuple[int, float | None]:
    """Step and selecting figure (nats per residue) of the best weights in a checkpoint that
    `model_of` takes; -1 and None if nothing selected any. Corrupt, naming `where`, for no figure.
    """
    tensors, _ = files.from_bytes(content, where)
    step, figure = int(tensors[_BEST_STEP]), tensors.get(_BEST_FIGURE)
    if step < 0:
        return -1, None
    if figure is None or figure.shape != () or not abs(figure) < FLOAT32:  # NaN is not less
        raise Corrupt(f"{where}: its {_BEST_FIGURE} is not one finite number")
    return step, float(figure)
