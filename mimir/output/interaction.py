"""How well a model tells pairs that bind from pairs that do not, as ROC-AUC over test sets.

The score of a peptide and a protein is what the protein is worth to the model: NELBO without the
target minus NELBO with it, an estimate of log p(peptide | target) - log p(peptide) in nats.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimir.data import similar
from mimir.data.alphabet import LETTERS, encode
from mimir.data.draw import AT_RANDOM, Draws
from mimir.data.likeness import WORD, Described
from mimir.data.pack import TRAIN, Peptides
from mimir.data.pepbenchmark import Fold, Task
from mimir.data.similar import Peptide
from mimir.output.condition import Condition, of_target
from mimir.output.model_file import Opened
from mimir.output.score import Scorer

PROTEIN = re.compile(f"[{LETTERS}]{{{WORD},100000}}")


@dataclass(frozen=True)
class Separation:
    """Of a test set: rows that could be scored, how many of them bind, and of how many the model
    knows the protein (told); skipped: rows whose peptide has not 4 to 20 letters.

    auc: over all rows; without a known protein the score is exactly 0. auc_told: over told rows.
    auc_new: over rows whose peptide resembles no training pair's, which seen of them do; None if
    the training pairs are not at hand. auc_random: of random scores. None without both kinds.
    """

    split: str
    seed: str
    rows: int
    binding: int
    told: int
    skipped: int
    seen: int | None
    auc: float | None
    auc_told: float | None
    auc_new: float | None
    auc_random: float | None


def conditions_of(
    opened: Opened, accessions: Sequence[str], proteins: Sequence[str]
) -> list[Condition | None]:
    """What the model is told of each protein; None if it knows nothing of it.

    The one place that maps the proteins of a benchmark to conditions. A target of the training data
    is known by its accession, or by its whole sequence; any other protein by what its sequence has
    in common with theirs, where the model was trained with the composition of targets.
    """
    names = opened.vocabulary.targets
    place = {name: number for number, name in enumerate(names)}
    whole: dict[str, int] = {}
    new: dict[str, tuple[float, ...]] = {}
    if opened.composition is not None and not opened.composition.likeness.width:
        trained = opened.composition.likeness.trained
        for number in range(len(trained)):
            whole.setdefault(trained.sequence(number), number)
        strange = [each for each in dict.fromkeys(proteins) if PROTEIN.fullmatch(each)]
        letters = [encode(each) for each in strange]
        ends = np.cumsum([0, *(len(each) for each in letters)])
        tokens = np.concatenate([np.zeros(0, np.uint8), *letters])
        all_of_them = Described(tokens, ends, np.zeros((len(strange), 0), np.float32))
        bias = opened.composition.of_new(all_of_them)
        new = {each: tuple(row) for each, row in zip(strange, bias.tolist(), strict=True)}
    found: list[Condition | None] = []
    for accession, protein in zip(accessions, proteins, strict=True):
        known = place.get(accession, whole.get(protein) if protein else None)
        if known is None:
            condition = Condition(name=accession, bias=new.get(protein, ()))
        else:
            own = opened.trained_target(names[known])
            condition = of_target(known, names[known], opened.composition)
            condition = replace(condition, target=own)
        found.append(condition if condition.target is not None or any(condition.bias) else None)
    return found


def by_condition(opened: Opened, task: Task) -> dict[Condition, list[int]]:
    """Test rows that can be scored, by what the model is told of their protein, if it is told
    anything. `separate` scores each of them twice."""
    rows = np.flatnonzero(_tested(task) & task.usable).tolist()
    conditions = conditions_of(
        opened, [task.accessions[row] for row in rows], [task.proteins[row] for row in rows]
    )
    found: dict[Condition, list[int]] = {}
    for row, condition in zip(rows, conditions, strict=True):
        if condition is not None:
            found.setdefault(condition, []).append(row)
    return found


def separate(
    opened: Opened, task: Task, told_rows: Mapping[Condition, list[int]], repeats: int,
    trained: Peptides | None = None, progress: Callable[[int], None] = lambda done: None,
) -> list[Separation]:  # fmt: skip
    """Every test set of a task, in its order.

    Args:
        told_rows: as `by_condition`.
        repeats: masks for each peptide and condition.
        trained: what the model was trained on, if it is at hand.
        progress: told how many peptides were scored under a condition.
    """
    usable = task.usable
    wanted = _tested(task) & usable
    score, told = np.zeros(len(wanted)), np.zeros(len(wanted), dtype=bool)
    for condition, rows in told_rows.items():
        scorer = Scorer(opened.model, [task.peptides[row] for row in rows], repeats, progress)
        untold, known = scorer.nelbos(condition.untold), scorer.nelbos(condition)
        score[rows], told[rows] = (untold - known).mean(axis=1), True
    seen = None if trained is None else _seen(task, wanted, trained)
    at_random = Draws(0, AT_RANDOM).words(len(wanted)).astype(np.float64)

    def fold_of(fold: Fold) -> Separation:
        rows = fold.rows[usable[fold.rows]]

        def auc(of: NDArray[np.float64], among: NDArray[np.bool_] | None = None) -> float | None:
            chosen = rows if among is None else rows[among[rows]]
            return roc_auc(of[chosen], task.labels[chosen])

        return Separation(
            fold.split, fold.seed, len(rows), int(task.labels[rows].sum()), int(told[rows].sum()),
            len(fold.rows) - len(rows), None if seen is None else int(seen[rows].sum()),
            auc=auc(score), auc_told=auc(score, told),
            auc_new=None if seen is None else auc(score, ~seen), auc_random=auc(at_random),
        )  # fmt: skip

    return [fold_of(fold) for fold in task.folds]


def roc_auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Share of the (positive, negative) pairs in which the positive scores higher, ties as half
    (Mann & Whitney 1947); None without both."""
    count = int(positive.sum())
    if not 0 < count < len(positive):
        return None
    _, inverse, sizes = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(sizes) - (sizes - 1) / 2)[inverse.reshape(-1)]
    above = rank[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(positive) - count)))


def _tested(task: Task) -> NDArray[np.bool_]:
    tested = np.zeros(len(task.peptides), dtype=bool)
    for fold in task.folds:
        tested[fold.rows] = True
    return tested


def _seen(task: Task, wanted: NDArray[np.bool_], trained: Peptides) -> NDArray[np.bool_]:
    """Which of the wanted peptides resemble a training pair's, bool [N]."""
    rows = np.flatnonzero(wanted)
    letters = [encode(task.peptides[row]) for row in rows.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in letters])]).astype(np.int64)
    ours = Peptide.of(np.concatenate([np.zeros(0, np.uint8), *letters]), offsets)
    pairs = Peptide.of(trained.tokens, trained.offsets).take(trained.subset(TRAIN, 1))
    seen = np.zeros(len(wanted), dtype=bool)
    seen[rows] = similar.resembles(ours, pairs)
    return seen
