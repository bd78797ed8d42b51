"""Draws peptides from a model, one residue at a time in random order or by confidence.

Revealing one residue at each pass has no factorisation error. In random order it samples the
model's own distribution (Hoogeboom et al. 2022); by confidence it trades diversity for likelihood.
Every choice is a function of (seed, peptide's number, pass), and probabilities are computed in
float64: in float32 the tail is cut off, which works like a lower temperature (Zheng et al. 2024).
A pass computes only peptides that are not complete, and logits only where they are read.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, MIN_LENGTH, STANDARD
from mimir.data.draw import check_seed
from mimir.errors import BadInput, NonFinite
from mimir.model import philox
from mimir.model.attention import Layout
from mimir.model.denoiser import Denoiser
from mimir.output.condition import OPEN, Condition

CHUNK = 64
"""Peptides of the first chunk, which are computed together."""
MOST_CHUNK = {"cpu": 128, "cuda": 8192}
"""Later chunks double up to this. On a CPU larger ones gain nothing more (docs/lab.md)."""


MOST_GUIDANCE = 1000
"""Far above what is of any use; much larger numbers would leave those that float64 has."""


@dataclass(frozen=True)
class Draw:
    """How to sample. BadInput for what is not possible.

    order: "random" or "confidence". guidance g: log p = g log p(conditional) +
    (1 - g) log p(unconditional); 1 is plain conditional sampling. pattern: fixed letters, '.' where
    free, or empty.
    """

    condition: Condition = field(default_factory=Condition)
    order: str = "random"
    temperature: float = 1.0
    guidance: float = 1.0
    min_length: int = MIN_LENGTH
    max_length: int = MAX_LENGTH
    pattern: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in ("random", "confidence"):
            raise BadInput(f"--order is {self.order!r}, but must be 'random' or 'confidence'")
        if not 0 < self.temperature < math.inf:
            raise BadInput(f"--temperature is {self.temperature:g}, but must be a positive number")
        if not abs(self.guidance) <= MOST_GUIDANCE:
            raise BadInput(
                f"--guidance is {self.guidance}, but must be a number from -{MOST_GUIDANCE} to "
                f"{MOST_GUIDANCE}"
            )
        if not MIN_LENGTH <= self.min_length <= self.max_length <= MAX_LENGTH:
            raise BadInput(
                f"lengths from {self.min_length} to {self.max_length} are not possible: give "
                f"{MIN_LENGTH} <= min-length <= max-length <= {MAX_LENGTH}"
            )
        check_seed(self.seed)
        if self.pattern:
            wrong = sorted(set(self.pattern) - set(STANDARD + "."))
            if wrong:
                raise BadInput(f"pattern has {wrong[0]!r}: use the 20 letters, and '.' where free")
            if not MIN_LENGTH <= len(self.pattern) <= MAX_LENGTH:
                raise BadInput(
                    f"pattern has {len(self.pattern)} places, but peptides have {MIN_LENGTH} to "
                    f"{MAX_LENGTH}"
                )
            if not self.min_length <= len(self.pattern) <= self.max_length:
                raise BadInput(
                    f"pattern has {len(self.pattern)} places, which is the peptides' length, and "
                    f"lengths from {self.min_length} to {self.max_length} are asked for: leave out "
                    "min-length and max-length, or change the pattern"
                )


def chunks(device: torch.device) -> Iterator[range]:
    """The numbers of the peptides that are computed together, without end.

    They do not depend on how many peptides are wanted: matrix products of other shapes round
    otherwise, and peptide 7 is to be the same whether 10 or 10,000 are drawn.
    """
    start, size = 0, CHUNK
    while True:
        yield range(start, start + size)
        start += size
        size = min(MOST_CHUNK[device.type], start)


def sample(
    model: Denoiser,
    count: int,
    draw: Draw,
    histogram: Sequence[int],
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """Draw peptides.

    Args:
        model: float32 weights, usually the EMA.
        count: how many.
        draw: how.
        histogram: peptides of each length 0 … 20 to draw lengths from.
        progress: told how many peptides each chunk finished.

    Raises:
        NonFinite: the model's logits are no numbers.
    """
    out: list[str] = []
    drawn = stream(model, draw, histogram)
    while len(out) < count:
        chunk = next(drawn)[: count - len(out)]
        out += chunk
        progress(len(chunk))
    return out


def stream(model: Denoiser, draw: Draw, histogram: Sequence[int]) -> Iterator[list[str]]:
    """Peptides chunk by chunk, without end; arguments as for `sample`."""
    device = model.letter.device
    for numbers in chunks(device):
        number = torch.arange(numbers.start, numbers.stop)
        tokens, length = _blank(number, draw, histogram)
        tokens = _reveal(model, tokens.to(device), length.to(device), number.to(device), draw)
        yield [
            "".join(LETTERS[i] for i in row[:size])
            for row, size in zip(tokens.tolist(), length.tolist(), strict=True)
        ]


def _blank(number: Tensor, draw: Draw, histogram: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Masked tokens int64 [n, P] and lengths int64 [n] of these peptides."""
    if draw.pattern:
        length = torch.full(number.shape, len(draw.pattern))
        row = [LETTERS.find(letter) if letter != "." else MASK for letter in draw.pattern]
        row += [MASK] * (MAX_LENGTH - len(row))
        return torch.tensor(row).repeat(len(number), 1), length
    allowed = [
        weight if draw.min_length <= size <= draw.max_length else 0
        for size, weight in enumerate(histogram)
    ]
    if not any(allowed):  # the data has no peptide of these lengths: all alike
        allowed = [
            int(draw.min_length <= size <= draw.max_length) for size in range(MAX_LENGTH + 1)
        ]
    ends = torch.tensor(allowed).cumsum(0)
    word = philox.words(draw.seed, philox.LENGTH, number, 1).view(-1)
    length = torch.searchsorted(ends, (word * int(ends[-1])) >> 32, right=True)
    return torch.full((len(number), MAX_LENGTH), MASK), length


@torch.no_grad()
def _reveal(model: Denoiser, tokens: Tensor, length: Tensor, number: Tensor, draw: Draw) -> Tensor:
    """Tokens int64 [n, P] with a letter instead of each mask."""
    tokens = tokens.clone()
    inside = torch.arange(MAX_LENGTH, device=tokens.device) < length[:, None]
    rank = philox.words(draw.seed, philox.SAMPLE_ORDER, number, MAX_LENGTH)
    luck = philox.uniform(philox.words(draw.seed, philox.SAMPLE_TOKEN, number, MAX_LENGTH))
    for turn in range(MAX_LENGTH):
        masked = inside & (tokens == MASK)
        rows = masked.any(1).nonzero().view(-1)
        if not len(rows):
            break
        masked = masked[rows]
        if draw.order == "random":
            position = torch.where(masked, rank[rows], 1 << 32).argmin(1)
            chance = _chance(model, tokens[rows], length[rows], _one_hot(position), draw)
        else:
            found = _chance(model, tokens[rows], length[rows], masked, draw)
            best = torch.full(masked.shape, -1.0, dtype=found.dtype, device=found.device)
            position = best.masked_scatter_(masked, found.amax(1)).argmax(1)
            chance = found[_one_hot(position)[masked]]
        ends = chance.cumsum(1)
        pick = torch.searchsorted(ends, luck[rows, turn, None] * ends[:, -1:], right=True)
        tokens[rows, position] = pick.view(-1).clamp(max=len(STANDARD) - 1)
    return tokens


def _one_hot(position: Tensor) -> Tensor:
    """bool [n, P]: True at one slot of each row, of int64 [n]."""
    return torch.arange(MAX_LENGTH, device=position.device) == position[:, None]


def _chance(model: Denoiser, tokens: Tensor, length: Tensor, wanted: Tensor, draw: Draw) -> Tensor:
    """float64 [M, 20]: probabilities of the letters at each wanted slot, row after row.

    Raises:
        NonFinite: the model's logits are no numbers.
    """
    logits = _logits(model, tokens, length, wanted, draw.condition)
    if draw.guidance != 1.0:
        other = _logits(model, tokens, length, wanted, OPEN)
        logits = draw.guidance * logits + (1 - draw.guidance) * other
    if not logits.isfinite().all():
        raise NonFinite(
            "the model gives probabilities that are no numbers (NaN or infinity), so nothing is "
            "drawn from it: its weights are damaged or its training diverged; take another model"
        )
    # The best at 0, so that the coldest temperature does not send all to -inf.
    logits = logits - logits.amax(-1, keepdim=True)
    return torch.softmax(logits / draw.temperature, -1)


def _logits(
    model: Denoiser, tokens: Tensor, length: Tensor, wanted: Tensor, condition: Condition
) -> Tensor:
    """float64 log-probabilities of the 20 standard letters at each wanted slot: [M, 20].

    Args:
        tokens: int64 [n, P], MASK where masked.
        length: int64 [n].
        wanted: bool [n, P], slots below the length.
    """
    inside = torch.arange(MAX_LENGTH, device=tokens.device) < length[:, None]
    flat = inside.view(-1)
    slot_of = flat.nonzero().view(-1)
    row_of = (flat.cumsum(0) - 1).clamp(min=0)
    layout = Layout(slot_of, row_of, inside, row_of[wanted.view(-1)])
    count = (inside & (tokens == MASK)).sum(1)
    timestep = (count - 1) * model.timesteps // length + 1
    told = model.condition(timestep, *condition.rows(model, len(tokens)))
    shift = condition.shift(model, len(tokens))
    found = model(tokens.view(-1)[slot_of], told, layout, shift)[:, : len(STANDARD)]
    return torch.log_softmax(found.to(torch.float64), -1)
