"""Draws peptides from a model, one residue at a time in random order or by confidence.

Revealing one residue at each pass has no factorisation error, and at 20 passes for any
number of peptides it is cheap. In random order it samples the model's own distribution
(Hoogeboom et al. 2022); by confidence it trades diversity for likelihood. Every choice is a
function of (seed, peptide's number, pass), and probabilities are computed in float64: in
float32 the tail is cut off, which works like a lower temperature (Zheng et al. 2024).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, MIN_LENGTH, STANDARD
from mimir.errors import BadInput
from mimir.model import philox
from mimir.model.attention import Layout
from mimir.model.denoiser import NO_LABEL, Denoiser

CHUNK = 64
"""Peptides of one pass. Always as many, for with other shapes matrix products round otherwise:
a peptide must not depend on how many are asked for."""


@dataclass(frozen=True)
class Draw:
    """How to sample.

    order: "random" or "confidence". guidance g: log p = g log p(conditional) +
    (1 - g) log p(unconditional);
    1 is plain conditional sampling. pattern: fixed letters, '.' where free, or empty.
    label: 0, 1 or 2 (unconditional). target: index, or None.
    """

    label: int = 1
    target: int | None = None
    order: str = "random"
    temperature: float = 1.0
    guidance: float = 1.0
    min_length: int = MIN_LENGTH
    max_length: int = MAX_LENGTH
    pattern: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in ("random", "confidence"):
            raise BadInput(f"order is {self.order!r}, but must be 'random' or 'confidence'")
        if not 0 < self.temperature < math.inf:
            raise BadInput(f"temperature is {self.temperature}, but must be a positive number")
        if not math.isfinite(self.guidance):
            raise BadInput(f"guidance is {self.guidance}, but must be a number")
        if not MIN_LENGTH <= self.min_length <= self.max_length <= MAX_LENGTH:
            raise BadInput(
                f"lengths from {self.min_length} to {self.max_length} are not possible: give "
                f"{MIN_LENGTH} <= min-length <= max-length <= {MAX_LENGTH}"
            )
        if not 0 <= self.seed < 2**63:
            raise BadInput(f"seed is {self.seed}, but must be from 0 to 2**63 - 1")
        if self.pattern:
            wrong = sorted(set(self.pattern) - set(STANDARD + "."))
            if wrong:
                raise BadInput(f"pattern has {wrong[0]!r}: use the 20 letters, and '.' where free")
            if not MIN_LENGTH <= len(self.pattern) <= MAX_LENGTH:
                raise BadInput(
                    f"pattern has {len(self.pattern)} places, but peptides have {MIN_LENGTH} to "
                    f"{MAX_LENGTH}"
                )


@torch.no_grad()
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
    """
    device = model.letter.device
    out: list[str] = []
    for start in range(0, count, CHUNK):
        number = torch.arange(start, start + CHUNK)
        tokens, length = _blank(number, draw, histogram)
        tokens = _reveal(model, tokens.to(device), length.to(device), number.to(device), draw)
        for row, size in zip(tokens.tolist(), length.tolist(), strict=True):
            out.append("".join(LETTERS[i] for i in row[:size]))
        progress(min(CHUNK, count - start))
    return out[:count]


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


def _reveal(model: Denoiser, tokens: Tensor, length: Tensor, number: Tensor, draw: Draw) -> Tensor:
    column = torch.arange(MAX_LENGTH, device=tokens.device)
    inside = column < length[:, None]
    rank = philox.words(draw.seed, philox.SAMPLE_ORDER, number, MAX_LENGTH)
    luck = philox.uniform(philox.words(draw.seed, philox.SAMPLE_TOKEN, number, MAX_LENGTH))
    conditional = (
        torch.full_like(length, draw.label),
        torch.full_like(length, model.targets if draw.target is None else draw.target),
    )
    unconditional = (torch.full_like(length, NO_LABEL), torch.full_like(length, model.targets))
    for turn in range(MAX_LENGTH):
        masked = inside & (tokens == MASK)
        if not bool(masked.any()):
            break
        logits = _logits(model, tokens, length, masked, *conditional)
        if draw.guidance != 1.0:
            other = _logits(model, tokens, length, masked, *unconditional)
            logits = draw.guidance * logits + (1 - draw.guidance) * other
        # The best at 0, so that the coldest temperature does not send all to -inf.
        logits = logits - logits.amax(-1, keepdim=True)
        chance = torch.softmax(logits / draw.temperature, -1)  # [n, P, 20]
        if draw.order == "random":
            key = torch.where(masked, rank, 1 << 32)
            position = key.argmin(1)
        else:
            position = torch.where(masked, chance.amax(-1), -1.0).argmax(1)
        ends = chance[torch.arange(len(position), device=position.device), position].cumsum(1)
        pick = torch.searchsorted(ends, luck[:, turn : turn + 1] * ends[:, -1:], right=True)
        pick = pick.clamp(max=len(STANDARD) - 1)
        old = tokens.gather(1, position[:, None])
        still = masked.any(1, keepdim=True)
        tokens = tokens.scatter(1, position[:, None], torch.where(still, pick, old))
    return tokens


def _logits(
    model: Denoiser, tokens: Tensor, length: Tensor, masked: Tensor, label: Tensor, target: Tensor
) -> Tensor:
    """float64 log-probabilities of the 20 standard letters at every slot: [n, P, 20]."""
    inside = torch.arange(MAX_LENGTH, device=tokens.device) < length[:, None]
    flat = inside.view(-1)
    slot_of = flat.nonzero().view(-1)
    layout = Layout(slot_of, (flat.cumsum(0) - 1).clamp(min=0), inside)
    count = masked.sum(1).clamp(min=1)
    timesteps = model.timesteps
    condition = model.condition((count - 1) * timesteps // length + 1, label, target)
    packed = model(tokens.view(-1)[slot_of], condition, layout)[:, : len(STANDARD)]
    full = torch.zeros(len(flat), len(STANDARD), dtype=torch.float64, device=flat.device)
    full[slot_of] = torch.log_softmax(packed.to(torch.float64), -1)
    return full.view(*tokens.shape, len(STANDARD))
