"""How many pairs a batch holds, and how many steps a training takes."""

import math

from mimir.config import Config, Training

VISITS = 53.0
"""Times that each training pair is seen until the figure that selects is best, as far as is known:
53 and 57 in two runs of `small`, 50 in one of `medium`, all on the full data set (docs/lab.md, "the
plateau measured with today's settings")."""


def pairs_in_batch(share: float, batch: int, rows: int, pairs: int) -> int:
    """Pairs in each batch of data of `rows` training peptides, `pairs` of which are pairs.

    share: the setting `pair_share`. 0: pairs come as they lie in the data, because the share is 0
    or all peptides are of one kind.
    """
    if not share or not 0 < pairs < rows or batch < 2:
        return 0
    return min(max(1, round(share * batch)), batch - 1)


def steps_of(training: Training, rows: int) -> int:
    """Steps of a training on so many peptides, if it does not end early."""
    steps = rows // training.batch * training.epochs
    return min(steps, training.max_steps) if training.max_steps else steps


def expected_end(config: Config, steps: int, epoch: int, pairs: int, mixed: int) -> int | None:
    """Step at which early stopping is expected to end a training; None if it is expected not to.

    A guess from VISITS, which says nothing of other data and other sizes of model.

    Args:
        steps: as `steps_of`, of which `epoch` are one epoch.
        pairs, mixed: training pairs, and of them in each batch, as `pairs_in_batch`.
    """
    training = config.training
    if not training.patience or not mixed:
        return None
    every = training.eval_every or epoch
    best = math.ceil(VISITS * pairs / mixed / every) * every
    end = best + training.patience * every + config.optimizer.cooldown_steps
    return end if end < steps else None
