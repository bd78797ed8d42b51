"""How many pairs a batch holds, and how many steps a training takes."""

from mimir.config import Training


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
