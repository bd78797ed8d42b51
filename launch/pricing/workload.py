"""What a training asks of a machine, by formula: operations, bytes, memory, kernels.

    D width   L layers   F width of the feed-forward layer in D   H heads
    B peptides of a batch   P = 20 places of a peptide   N residues that are computed
    T timesteps   W weights

Nothing here is of a GPU; launch/pricing/forecast.py divides it by what one can do.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from mimir.config import CHECKPOINT_COPIES, Config
from mimir.data.alphabet import MAX_LENGTH, N_LETTERS, N_TOKENS
from mimir.data.mix import expected_end, pairs_in_batch, steps_of
from mimir.errors import BadInput

GUIDE_ROWS = 1_003_470
"""Peptides of the training guide's full data set, with these pairs, lengths and targets:"""
GUIDE_PAIRS = 3_470
GUIDE_LENGTH, GUIDE_SPREAD, GUIDE_TARGETS = 10.6, 3.8, 804
LABELS = 3
"""Interacting, not interacting, not told."""
AT_ONCE, PAIR_PASSES = 4096, 11
"""Held-out peptides of a forward pass on a GPU (mimir/model/objective.py), and passes of those that
are few: six sets of pairs, and what selects."""
WIDEST = 4.5
"""Deviations above the mean at which the widest batch of a run lies: shapes are fixed on a GPU."""
GB = 1e9


@dataclass(frozen=True)
class Workload:
    """A configuration on a data set.

    rows: training peptides, of which `pairs` are pairs. held_out: peptides that a validation may
    take. length and spread: mean and deviation of the peptides' residues. targets: known target
    proteins.
    """

    config: Config
    rows: int
    held_out: int = 0
    length: float = GUIDE_LENGTH
    spread: float = GUIDE_SPREAD
    targets: int = GUIDE_TARGETS
    pairs: int = 0

    def __post_init__(self) -> None:
        batch = self.config.training.batch
        if self.rows < batch:
            raise BadInput(
                f"batch is {batch}, but there are only {self.rows} training peptides; use a "
                "smaller --batch or more data"
            )

    @staticmethod
    def of(config: Config, packed: Path) -> "Workload":
        """Of a configuration on a packed data set (submission.Job has both)."""
        from mimir.data.pack import TRAIN, load

        peptides = load(packed)
        chosen = peptides.subset(TRAIN)
        lengths = peptides.lengths[chosen]
        return Workload(
            config, len(chosen), len(peptides) - len(chosen), float(lengths.mean()),
            float(lengths.std()), len(peptides.vocabulary), len(peptides.subset(TRAIN, 1)),
        )  # fmt: skip

    @staticmethod
    def of_steps(config: Config, steps: int) -> "Workload":
        """Of so many steps, where the data itself is not at hand: peptides like the guide's."""
        training = config.training
        rows = training.batch * max(1, math.ceil(steps / training.epochs))
        only = config.with_settings({"max_steps": max(1, steps)})
        return Workload(only, rows, held_out=training.eval_rows)

    @property
    def steps_per_epoch(self) -> int:
        return self.rows // self.config.training.batch

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run at most: without early stopping."""
        return steps_of(self.config.training, self.rows)

    @property
    def expected_end(self) -> int | None:
        """Step at which early stopping is expected to end it; None if all steps are expected."""
        training = self.config.training
        mixed = pairs_in_batch(training.pair_share, training.batch, self.rows, self.pairs)
        return expected_end(self.config, self.steps, self.steps_per_epoch, self.pairs, mixed)

    @property
    def parameters(self) -> int:
        """W, as mimir/model/denoiser.py makes them."""
        size, d = self.config.model, self.config.model.dim
        tables = (N_TOKENS + MAX_LENGTH + LABELS + self.targets + 1) * d
        clock = 8 * d * d + 5 * d
        block = (4 + 2 * size.ffn) * d * d + (9 + size.ffn) * d
        head = 2 * d + N_LETTERS * (d + 1)
        return tables + clock + size.layers * block + head

    @property
    def residues(self) -> int:
        """N: places of the widest batch, rounded up to 64."""
        batch = self.config.training.batch
        wide = batch * self.length + WIDEST * self.spread * math.sqrt(batch)
        return min(batch * MAX_LENGTH, math.ceil(wide / 64) * 64)

    @property
    def flop(self) -> float:
        """Operations of a step: 6 for each weight of a matrix and each row that it multiplies
        (2 forward, 4 backward: Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and
        attention's own products, 12 L P D for each of B P places (the same, table 1)."""
        size, d = self.config.model, self.config.model.dim
        layers = size.layers * (4 + 2 * size.ffn) * d * d + N_LETTERS * d
        places = self.config.training.batch * MAX_LENGTH
        return (
            6.0 * layers * self.residues
            + 6.0 * 8 * d * d * self.config.objective.timesteps
            + 12.0 * size.layers * MAX_LENGTH * d * places
        )

    @property
    def places(self) -> int:
        """Of one slice of a batch, empty ones included."""
        training = self.config.training
        return training.batch // training.accumulate * MAX_LENGTH

    def activations(self, width: int) -> float:
        """Bytes that the backward pass needs, for numbers of `width` bytes.

        B P D (34 + 5 H P / D) for each layer at two bytes a number (Korthikanti et al. 2022,
        arXiv:2205.05198, equation 1). Mimir packs most of its layers to N < B P rows, but keeps
        the residual stream in float32; the plain formula is kept as an upper bound.
        """
        size = self.config.model
        per_place = 34 * size.dim + 5 * size.heads * MAX_LENGTH
        return size.layers * self.places * per_place * width / 2

    def traffic(self, width: int) -> float:
        """Bytes that a step moves to and from the GPU's memory.

        A weight in 16 bits: two readings (4), its gradient written (2), gathered (4) and its norm
        taken (2), the update in one pass (18 read, 18 written): 48 bytes. An activation: written,
        read by the next operation, read in the backward pass, its gradient written and read: of
        these the compiler's fusing and the cache spare about one.
        """
        slices = self.config.training.accumulate
        return 48.0 * self.parameters + 4.0 * self.activations(width) * slices

    def memory_gb(self, width: int) -> float:
        """GPU memory that is needed, in GB, runtime apart (forecast.RUNTIME_GB).

        A weight: itself, its average, the best average, two moments and its gradient in float32,
        a copy of all but the gradient while steps are captured (20 bytes), and with 16-bit numbers
        weight and gradient once more.
        Activations are held twice: by the graph of eight steps and by that of one.
        """
        weight = 44 + (2 * width if width < 4 else 0)
        data = self.rows * 2 * MAX_LENGTH
        return (weight * self.parameters + 2 * self.activations(width) + data) / GB

    @property
    def checkpoint_gb(self) -> float:
        """Size of a checkpoint: weights, their average, the best one and two moments in float32."""
        return 4.0 * CHECKPOINT_COPIES * self.parameters / GB

    @property
    def upload_gb(self) -> float:
        """What a machine sends in an hour: its checkpoints; all else is small beside them."""
        return self.checkpoint_gb * 60 / self.config.runtime.checkpoint_minutes

    @property
    def upload_mbit(self) -> float:
        """The least rate to the store: a checkpoint is there in half the time to the next one."""
        return 8e3 * self.checkpoint_gb / (30 * self.config.runtime.checkpoint_minutes)

    @property
    def validations(self) -> int:
        every = self.config.training.eval_every or self.steps_per_epoch
        return math.ceil(self.steps / every)

    @property
    def validation_steps(self) -> float:
        """Training steps that take as long as one validation: each held-out peptide goes
        forward twice, and forward is a third of a step."""
        training = self.config.training
        return 2 * min(self.held_out, training.eval_rows) / training.batch / 3

    @property
    def validation_passes(self) -> int:
        """Forward passes of all validations on a GPU: each held-out peptide twice."""
        held = min(self.held_out, self.config.training.eval_rows)
        return self.validations * (math.ceil(2 * held / AT_ONCE) + PAIR_PASSES)

    @property
    def sampling_passes(self) -> int:
        """Forward passes of the samples drawn while it trains: one for each residue's place."""
        every = self.config.runtime.sample_every
        return self.validations // every * MAX_LENGTH if every else 0
