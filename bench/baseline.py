"""The trainer that one would write first: the baseline of every speed figure.

The same model, objective and batch sizes as ours, in stock PyTorch: peptides padded to 20
and collated by a DataLoader, nn.TransformerEncoderLayer with a key padding mask, torch's
AdamW, gradient clipping, an average of the weights, and the loss read at each step. In
float32, or with torch's autocast to bfloat16, as GPU trainers have it.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from mimir.config import Config
from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.data.pack import Peptides

PAD = MASK + 1


class Rows(Dataset[tuple[Tensor, int, int, int]]):
    """Peptides one by one, padded."""

    def __init__(self, peptides: Peptides, rows: np.ndarray) -> None:
        self.peptides, self.rows = peptides, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int, int]:
        row = self.rows[index]
        start, stop = self.peptides.offsets[row : row + 2]
        tokens = torch.full((MAX_LENGTH,), PAD, dtype=torch.int64)
        tokens[: stop - start] = torch.from_numpy(self.peptides.tokens[start:stop].astype(np.int64))
        target = int(self.peptides.targets[row])
        none = len(self.peptides.vocabulary)
        label = int(self.peptides.labels[row])
        return tokens, int(stop - start), label, none if target < 0 else target


class Encoder(nn.Module):
    """The denoiser from stock parts."""

    def __init__(self, config: Config, targets: int) -> None:
        super().__init__()
        size = config.model
        self.dim = size.dim
        self.letter = nn.Embedding(PAD + 1, size.dim)
        self.position = nn.Embedding(MAX_LENGTH, size.dim)
        self.label = nn.Embedding(3, size.dim)
        self.target = nn.Embedding(targets + 1, size.dim)
        self.time = nn.Sequential(
            nn.Linear(size.dim, 4 * size.dim), nn.GELU(), nn.Linear(4 * size.dim, size.dim)
        )
        layer = nn.TransformerEncoderLayer(
            size.dim, size.heads, size.ffn * size.dim, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size.dim)
        self.head = nn.Linear(size.dim, len(LETTERS))

    def forward(self, x: Tensor, t: Tensor, label: Tensor, target: Tensor, pad: Tensor) -> Tensor:
        half = self.dim // 2
        rates = torch.exp(torch.arange(half, device=x.device) * (-math.log(10_000) / (half - 1)))
        angles = t[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], -1)
        condition = self.time(waves) + self.label(label) + self.target(target)
        place = torch.arange(x.shape[1], device=x.device)
        h = self.letter(x) + self.position(place) + condition[:, None]
        logits: Tensor = self.head(self.norm(self.layers(h, src_key_padding_mask=pad)))
        return logits


class PlainTrainer:
    """Steps of the plain trainer."""

    def __init__(
        self, config: Config, peptides: Peptides, rows: np.ndarray, device: str, dtype: torch.dtype
    ) -> None:
        torch.manual_seed(0)
        self.config, self.device, self.dtype = config, device, dtype
        self.model = Encoder(config, len(peptides.vocabulary)).to(device)
        self.ema = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        settings = config.optimizer
        self.adamw = torch.optim.AdamW(
            self.model.parameters(), lr=settings.lr, betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
        )  # fmt: skip
        self.loader = DataLoader(
            Rows(peptides, rows), batch_size=config.training.batch, shuffle=True, drop_last=True
        )
        self.batches = self._forever()

    def _forever(self) -> Iterator[list[Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> float:
        """One step; the loss in nats per residue."""
        tokens, length, label, target = (x.to(self.device) for x in next(self.batches))
        steps, settings = self.config.objective.timesteps, self.config.objective
        pad = torch.arange(MAX_LENGTH, device=self.device) >= length[:, None]
        count = 1 + (torch.rand(len(length), device=self.device) * length).long()
        noise = torch.rand(tokens.shape, device=self.device).masked_fill(pad, 2.0)
        masked = noise.argsort(1).argsort(1) < count[:, None]
        t = (count - 1) * steps // length + 1
        unconditional = torch.rand(len(length), device=self.device) < settings.condition_dropout
        label = label.masked_fill(unconditional, 2)
        target = target.masked_fill(unconditional, self.model.target.num_embeddings - 1)
        low = self.dtype != torch.float32
        with torch.autocast(torch.device(self.device).type, self.dtype, enabled=low):
            logits = self.model(tokens.masked_fill(masked, MASK), t.float(), label, target, pad)
        logits = logits.float()
        terms = F.cross_entropy(logits[masked], tokens[masked], reduction="none")
        weight = (length / count)[:, None].expand_as(masked)[masked]
        loss = (terms * weight).sum() / length.sum()
        self.adamw.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip)
        self.adamw.step()
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                self.ema[name].lerp_(value, 1 - self.config.optimizer.ema)
        return loss.item()
