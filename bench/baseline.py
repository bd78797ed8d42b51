"""The trainer that one would write first: the baseline of every speed figure.

The same model, objective and batch sizes as ours, in stock PyTorch: peptides padded to 20
and collated by a DataLoader, nn.TransformerEncoderLayer with a key padding mask, torch's
AdamW, gradient clipping, an average of the weights, and the loss read at each step. In
float32, or with torch's autocast to bfloat16, as GPU trainers have it.

`CompiledTrainer` is what an experienced user makes of it on a GPU by torch's own means.
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

    fused: bool | None = None
    """Of AdamW; None: what torch chooses by itself."""

    def __init__(
        self, config: Config, peptides: Peptides, rows: np.ndarray, device: str, dtype: torch.dtype
    ) -> None:
        torch.manual_seed(0)
        self.config, self.device, self.dtype = config, device, dtype
        self.model = Encoder(config, len(peptides.vocabulary)).to(device)
        self.weights: list[Tensor] = list(self.model.parameters())
        self.ema = [value.detach().clone() for value in self.weights]
        settings = config.optimizer
        self.adamw = torch.optim.AdamW(
            self.weights, lr=settings.lr, betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay, fused=self.fused,
        )  # fmt: skip
        self.batches = self._batches(Rows(peptides, rows))

    def _batches(self, rows: Rows) -> Iterator[list[Tensor]]:
        """Tokens [B, 20], lengths, labels and targets [B] of batch after batch, without end."""
        loader = DataLoader(
            rows, batch_size=self.config.training.batch, shuffle=True, drop_last=True
        )
        while True:
            for batch in loader:
                yield [part.to(self.device) for part in batch]

    def step(self) -> None:
        """One step, after which the loss is known to the host."""
        self._step(next(self.batches)).item()

    def _step(self, batch: list[Tensor]) -> Tensor:
        """One step; the loss in nats per residue, 0-d."""
        self.adamw.zero_grad()
        loss = self.loss(*batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, self.config.optimizer.clip)
        self.adamw.step()
        self._average()
        return loss.detach()

    def _average(self) -> None:
        with torch.no_grad():
            for mean, value in zip(self.ema, self.weights, strict=True):
                mean.lerp_(value, 1 - self.config.optimizer.ema)

    def loss(self, tokens: Tensor, length: Tensor, label: Tensor, target: Tensor) -> Tensor:
        """The bound of a batch, masked anew: nats per residue, 0-d float32."""
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
        weight = (length / count)[:, None].expand_as(masked)
        return self._bound(logits.float(), tokens, masked, weight) / length.sum()

    def _bound(self, logits: Tensor, tokens: Tensor, masked: Tensor, weight: Tensor) -> Tensor:
        terms = F.cross_entropy(logits[masked], tokens[masked], reduction="none")
        return (terms * weight[masked]).sum()


class CompiledTrainer(PlainTrainer):
    """The plain trainer as an experienced user writes it for a GPU, by torch's own means.

    Its loss is compiled with mode "reduce-overhead", which captures CUDA graphs; AdamW is fused,
    the average is updated by one call, the data lie on the device, and the loss is read every
    `log_every` steps. Shapes do not depend on the masks, or nothing could be captured.
    """

    fused = True

    def __init__(
        self, config: Config, peptides: Peptides, rows: np.ndarray, device: str, dtype: torch.dtype
    ) -> None:
        super().__init__(config, peptides, rows, device, dtype)
        self.taken = 0
        self.loss = torch.compile(self.loss, mode="reduce-overhead")  # type: ignore[method-assign]

    def _batches(self, rows: Rows) -> Iterator[list[Tensor]]:
        size, count = self.config.training.batch, len(rows)
        peptides, own = rows.peptides, rows.rows
        start = torch.from_numpy(peptides.offsets[own].astype(np.int64))
        length = torch.from_numpy(peptides.offsets[own + 1].astype(np.int64)) - start
        place = torch.arange(MAX_LENGTH)
        everything = torch.from_numpy(peptides.tokens.astype(np.int64))
        padded = everything[(start[:, None] + place).clamp(max=len(everything) - 1)]
        padded = padded.masked_fill(place >= length[:, None], PAD)
        target = torch.from_numpy(peptides.targets[own].astype(np.int64))
        target = torch.where(target < 0, len(peptides.vocabulary), target)
        label = torch.from_numpy(peptides.labels[own].astype(np.int64))
        columns = [column.to(self.device) for column in (padded, length, label, target)]
        while True:
            order = torch.randperm(count, device=self.device)
            for i in range(0, count - size + 1, size):
                yield [column[order[i : i + size]] for column in columns]

    def step(self) -> None:
        """One step; the host waits for it only where a row of metrics is due."""
        torch.compiler.cudagraph_mark_step_begin()
        loss = self._step(next(self.batches))
        self.taken += 1
        if self.taken % self.config.training.log_every == 0:
            loss.item()

    def _average(self) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, self.weights, 1 - self.config.optimizer.ema)

    def _bound(self, logits: Tensor, tokens: Tensor, masked: Tensor, weight: Tensor) -> Tensor:
        answer = tokens.clamp(max=len(LETTERS) - 1)
        terms = F.cross_entropy(logits.transpose(1, 2), answer, reduction="none")
        return (terms * weight * masked).sum()
