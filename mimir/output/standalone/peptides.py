# SPDX-License-Identifier: Apache-2.0
"""Draws and scores peptides with the model in this folder, by torch and safetensors alone.

    python peptides.py --target P31947 --number 10 --seed 0
    python peptides.py --target P31947 --score ACDEFGHIK,LMNPQR

A target is a name of the training data, or the sequence of any protein. The same seed gives the
peptides of `mimir sample` on a CPU, and scores are those of `mimir score`. What it cannot do: use a
GPU, draw by confidence, rank, find the nearest training pair; and a model that was trained with
features of targets knows here only those of its training data.
"""

import argparse
import difflib
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
LETTERS = STANDARD + "BOUXZ"
MASK, SHORTEST, LONGEST = len(LETTERS), 4, 20
LABELS = {"background": 0, "interacting": 1, "any": 2}
FORMATS = {"config.json": 1, "vocabulary.json": 2}
LOW = 0xFFFFFFFF
EVAL_TIME, EVAL_MASK, SAMPLE_ORDER, SAMPLE_TOKEN, LENGTH = 4, 5, 6, 7, 9  # streams of words
SLOTS = torch.arange(LONGEST)
Tensors = dict[str, Tensor]


class Wrong(ValueError):
    """Something given is wrong; the message is one sentence."""


class Told(NamedTuple):
    """label, target: rows of the embeddings. bias: float32 [25] added to the logits, or None."""

    label: int
    target: int
    bias: Tensor | None = None


def words(seed: int, stream: int, step: Tensor, count: int) -> Tensor:
    """Random words in [0, 2**32): int64 [*S, count] of steps int64 [*S]; Philox4x32-10 (Salmon et
    al., SC 2011). The multipliers lack 2**32, so that no product leaves int64."""
    c: list[Any] = [torch.arange((count + 3) // 4), 0, step.unsqueeze(-1), stream]
    k0, k1 = seed & LOW, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * (0xD2511F53 - 2**32), c[2] * (0xCD9E8D57 - 2**32)
        upper0, upper1 = (p0 >> 32) + c[0], (p1 >> 32) + c[2]
        c = [upper1 ^ c[1] ^ k0, p1 & LOW, upper0 ^ c[3] ^ k1, p0 & LOW]
        k0, k1 = (k0 + 0x9E3779B9) & LOW, (k1 + 0xBB67AE85) & LOW
    return torch.stack(torch.broadcast_tensors(*c), dim=-1).flatten(-2)[..., :count]


class Model:
    """A model and what it knows of targets, from what the folder's files hold."""

    def __init__(self, weights: Tensors, config: Any, vocabulary: Any, targets: Tensors) -> None:
        parts = [name.removesuffix(".bias") for name in weights if name.endswith(".bias")]
        self._both = {n: (weights[n + ".weight"], weights[n + ".bias"]) for n in parts}
        self._w, self.names, self._pairs = weights, vocabulary["targets"], vocabulary["pairs"]
        self._heads, self._layers = config["model"]["heads"], config["model"]["layers"]
        self._steps, self._lengths = config["objective"]["timesteps"], vocabulary["lengths"]
        self._own, self._features = targets["own"].double(), targets["features"].double()
        text = "".join(LETTERS[i] for i in targets["tokens"].tolist())
        ends = itertools.pairwise(targets["offsets"].tolist())
        self._sequences = [text[start:stop] for start, stop in ends]
        self._composed = config["objective"]["composition"] == "on" and bool(self._own.any())
        half = weights["letter"].shape[1] // 2
        rates = torch.exp(torch.arange(half).double() * (-math.log(10_000) / (half - 1)))
        angles = torch.arange(1, self._steps + 1).double()[:, None] * rates
        self._waves = torch.cat([angles.sin(), angles.cos()], dim=1).float()
        self.nelbo([STANDARD], Told(LABELS["any"], len(self.names)), 1)  # refuses other shapes

    @staticmethod
    def load(folder: str | Path = Path(__file__).parent) -> "Model":
        """The model of a folder, with its best weights. Raises Wrong if it cannot be read."""
        documents, tensors = [], []
        try:
            for name, known in FORMATS.items():
                documents.append(json.loads(Path(folder, name).read_text(encoding="utf-8")))
                if documents[-1]["format"] != known:
                    raise ValueError(f"{name} has another format than this file reads")
            for name in ("model.safetensors", "targets.safetensors"):
                with safe_open(Path(folder, name), "pt") as file:
                    names = [key for key in file.keys() if not key.startswith("last.")]  # noqa: SIM118
                    tensors.append({key: file.get_tensor(key) for key in names})
            return Model(tensors[0], documents[0], documents[1], tensors[1])
        except Exception as why:  # noqa: BLE001 - nobody knows what spoilt files lead to
            raise Wrong(f"{folder} holds no whole pulled model ({why}): pull it again") from None

    def told(self, target: str = "", label: str = "interacting") -> Told:
        """What the model is told; a target of which it knows nothing is none, with a note."""
        if label not in LABELS or (target and label != "interacting"):
            raise Wrong(f"label is one of {', '.join(LABELS)}; targets go with interacting only")
        none, bias = Told(LABELS[label], len(self.names)), None
        if not target:
            return none
        if target in self.names:
            index = self.names.index(target)
            bias = self._bias(index, self._sequences[index]) if self._composed else None
            if self._pairs[index]:
                return Told(none.label, index, bias)
        else:
            bias = self._bias(None, self._sequence(target))
        if bias is None or not bias.any():
            print(f"note: the model knows nothing of {target[:20]}, nor of a target like it: "
                  "this is the same as no target", file=sys.stderr)  # fmt: skip
            return none
        return Told(none.label, none.target, bias)

    def _sequence(self, target: str) -> str:
        sequence = "".join(target.split()).upper()
        protein = set(sequence) <= set(LETTERS) and not set(sequence) <= set("ACGTUN")
        if not protein or len(sequence) < 8:
            near = ", ".join(difflib.get_close_matches(target, self.names, cutoff=0.5))
            raise Wrong(
                f"target {target[:20]!r} is not among the {len(self.names)} of this model (near: "
                f"{near or 'none'}), and no sequence of a protein, with 8 letters or more"
            )
        if not self._composed or self._features.shape[1]:
            raise Wrong("this model cannot compare sequences: give a target of its training data")
        return sequence

    def _bias(self, index: int | None, sequence: str) -> Tensor:
        """log p(letter | target) - log p(letter): float32 [25]. Its own peptides' letters, smoothed
        by those of similar targets, and these by all (MacKay & Peto 1995)."""
        own, both = self._own, [sequence, *self._sequences]
        prior = (own.sum(0) + 1) / (own.sum(0) + 1).sum()
        if self._features.shape[1]:
            moved = self._features - self._features[own.sum(1) > 0].mean(0)
            unit = moved / moved.norm(dim=1, keepdim=True).clamp(min=1e-30)
            alike = (2 * (unit @ unit[index]) - 1).clamp(0.0, 1.0) ** 2
        else:
            ours, *theirs = [{each[i : i + 4] for i in range(len(each) - 3)} for each in both]
            jaccard = [len(ours & each) / max(1, len(ours | each)) for each in theirs]
            alike = torch.tensor([min(1.0, 1000.0 * j**2) for j in jaccard]).double()
        counts = torch.zeros_like(prior)
        if index is not None:
            alike[index], counts = 0.0, own[index]
        taken = alike @ own
        borrowed = (taken / prior + 300.0) / (taken.sum() + 300.0)
        return torch.log((counts / prior + 60.0 * borrowed) / (counts.sum() + 60.0)).float()

    @torch.no_grad()
    def logits(self, tokens: Tensor, length: Tensor, wanted: Tensor, told: Told) -> Tensor:
        """float32 [M, 25] at each wanted slot (bool [B, 20]), of tokens int64 [B, 20], MASK where a
        letter is hidden, and lengths int64 [B]."""
        w, both, (batch, slots) = self._w, self._both, tokens.shape
        inside = length[:, None] > SLOTS
        slot_of = inside.view(-1).nonzero().view(-1)
        row_of = (inside.view(-1).cumsum(0) - 1).clamp(min=0)
        timestep = ((inside & (tokens == MASK)).sum(1) - 1) * self._steps // length  # from 0
        time = F.linear(F.gelu(F.linear(self._waves, *both["time_up"])), *both["time_down"])
        condition = time[timestep] + w["label"][told.label] + w["target"][told.target]
        x = (condition[:, None, :] + w["position"]).view(batch * slots, -1)[slot_of]
        x = x + w["letter"][tokens.view(-1)[slot_of]]
        width, wide, rows = x.shape[1:], x.shape[1] // self._heads, batch * self._heads
        blank = torch.where(inside, 0.0, -math.inf).repeat_interleave(self._heads, 0)[:, None, :]
        for i in range(self._layers):
            block = f"blocks.{i}."
            qkv = F.linear(F.layer_norm(x, width, *both[block + "norm1"]), *both[block + "qkv"])
            qkv = qkv[row_of].view(batch, slots, 3, self._heads, wide).permute(2, 0, 3, 1, 4)
            q, k, v = qkv.reshape(3, rows, slots, wide).unbind(0)
            chance = torch.softmax(torch.baddbmm(blank, q, k.mT, alpha=wide**-0.5), -1)
            mixed = torch.bmm(chance, v).view(batch, self._heads, slots, wide).transpose(1, 2)
            mixed = mixed.reshape(batch * slots, -1)[slot_of]
            if i == self._layers - 1:
                mixed, x = mixed[row_of[wanted.view(-1)]], x[row_of[wanted.view(-1)]]
            x = x + F.linear(mixed, *both[block + "out"])
            up = F.linear(F.layer_norm(x, width, *both[block + "norm2"]), *both[block + "up"])
            x = x + F.linear(F.gelu(up), *both[block + "down"])
        found = F.linear(F.layer_norm(x, width, *both["norm"]), *both["head"])
        return found if told.bias is None else found + told.bias

    def sample(
        self, told: Told, number: int = 10, *, seed: int = 0, temperature: float = 1.0,
        guidance: float = 1.0, pattern: str = "",
    ) -> list[str]:  # fmt: skip
        """Draw peptides, one letter at each pass in random order, which samples the model's own
        distribution (Hoogeboom et al. 2022). Raises Wrong; options are those of the command."""
        if not (1 <= number <= 10_000_000 and 0 <= seed < 2**63):
            raise Wrong("number is from 1 to 10,000,000, and seed from 0 to 2**63 - 1")
        if not (0 < temperature < math.inf and abs(guidance) <= 1000):
            raise Wrong("temperature is a positive number, and guidance from -1000 to 1000")
        if pattern and not (set(pattern) <= set(STANDARD + ".") and 4 <= len(pattern) <= LONGEST):
            raise Wrong(f"pattern has {SHORTEST} to {LONGEST} of {STANDARD}, and '.' where free")
        paired = told.label != 0 and any(self._lengths["interacting"])
        weights = self._lengths["interacting" if paired else "background"]
        if told.target < len(self.names):  # its own pairs, and five distributed as all pairs
            own, total = self._lengths["targets"][told.target], sum(weights)
            mixed = [own.get(str(size), 0) * total + 5 * n for size, n in enumerate(weights)]
            weights = [-(-count // max(1, sum(mixed) >> 30)) for count in mixed]
        weights = weights if any(weights) else [int(n >= SHORTEST) for n in range(LONGEST + 1)]
        ends, found, size = torch.tensor(weights).cumsum(0), list[str](), 64
        while len(found) < number:
            numbers = torch.arange(len(found), len(found) + size)  # other shapes round otherwise
            word = words(seed, LENGTH, numbers, 1).view(-1)
            length = torch.searchsorted(ends, (word * int(ends[-1])) >> 32, right=True)
            length = torch.full_like(length, len(pattern)) if pattern else length
            fixed = [LETTERS.find(x) if x in LETTERS else MASK for x in pattern.ljust(LONGEST, ".")]
            tokens = torch.tensor(fixed).repeat(size, 1)
            rank = words(seed, SAMPLE_ORDER, numbers, LONGEST)
            luck = (words(seed, SAMPLE_TOKEN, numbers, LONGEST).double() + 0.5) * 2.0**-32
            for turn in range(LONGEST):
                masked = (length[:, None] > SLOTS) & (tokens == MASK)
                rows = masked.any(1).nonzero().view(-1)
                if not len(rows):
                    break
                place = torch.where(masked[rows], rank[rows], 1 << 32).argmin(1)
                asked = tokens[rows], length[rows], place[:, None] == SLOTS
                logits = self._log_chance(*asked, told)
                if guidance != 1.0:
                    untold = self._log_chance(*asked, Told(LABELS["any"], len(self.names)))
                    logits = guidance * logits + (1 - guidance) * untold
                chance = torch.softmax((logits - logits.amax(-1, keepdim=True)) / temperature, -1)
                sums = chance.cumsum(1)
                pick = torch.searchsorted(sums, luck[rows, turn, None] * sums[:, -1:], right=True)
                tokens[rows, place] = pick.view(-1).clamp(max=len(STANDARD) - 1)
            drawn = zip(tokens.tolist(), length.tolist(), strict=True)
            found += ["".join(LETTERS[i] for i in row[:letters]) for row, letters in drawn]
            size = min(128, len(found))
        return found[:number]

    def _log_chance(self, tokens: Tensor, length: Tensor, wanted: Tensor, told: Told) -> Tensor:
        logits = self.logits(tokens, length, wanted, told)[:, : len(STANDARD)]
        if not (found := torch.log_softmax(logits.double(), -1)).isfinite().all():
            raise Wrong("the model gives NaN or infinity, and nothing is drawn from it")
        return found  # in float64: float32 cuts off the tail

    def nelbo(self, peptides: list[str], told: Told, repeats: int = 12) -> list[float]:
        """The bound on -log p(peptide | label, target) in nats, the mean over so many masks."""
        if not 1 <= repeats <= 10_000:
            raise Wrong(f"repeats is {repeats}, but must be from 1 to 10,000")
        for each in peptides:
            if not (SHORTEST <= len(each) <= LONGEST and set(each) <= set(LETTERS)):
                raise Wrong(f"{each!r} is no peptide of {SHORTEST} to {LONGEST} of {LETTERS}")
        return [self._nelbo([LETTERS.index(x) for x in one], told, repeats) for one in peptides]

    def _nelbo(self, tokens: list[int], told: Told, repeats: int) -> float:
        high = sum((token + 1) << 5 * (11 - i) for i, token in enumerate(tokens[:12]))
        low = sum((token + 1) << 5 * (7 - i) for i, token in enumerate(tokens[12:]))
        mixed = (high ^ (low * 0x9E3779B97F4A7C15)) * 0xD6E8FEB86659FD93
        key, length = torch.tensor([(mixed & (2**64 - 1)) >> 32]), len(tokens)  # of the masks
        row = torch.tensor(tokens + [0] * (LONGEST - length)).expand(repeats, -1)
        level = words(0, EVAL_TIME, key, 1)[0] + (torch.arange(repeats) << 32) // repeats
        count = 1 + (((level & LOW) * length) >> 32)
        noise = torch.cat([words(r + 1, EVAL_MASK, key, LONGEST) for r in range(repeats)])
        noise = torch.where(length > SLOTS, (noise << 5) | SLOTS, (1 << 37) | SLOTS)
        masked = noise.argsort(1).argsort(1) < count[:, None]
        sizes = torch.full((repeats,), length)
        logits = self.logits(torch.where(masked, MASK, row), sizes, masked, told)
        terms = F.cross_entropy(logits, row[masked], reduction="none").double()
        return float((terms * (length / count)[masked.nonzero()[:, 0]]).sum() / repeats)


def main(argv: list[str] | None = None) -> None:
    """The command: prints a peptide on each line, or with --score its NELBO behind it."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    take = parser.add_argument
    take("--model", default=Path(__file__).parent, help="the model's folder (default: this one)")
    take("--target", default="", help="a target of the training data, or a protein's sequence")
    take("--label", default="interacting", help=f"{', '.join(LABELS)} (default: interacting)")
    take("--score", metavar="A,B", help="print the NELBO of these peptides in nats; draw none")
    take("--repeats", type=int, help="masks of each score (default: 12)")
    take("--number", "-n", type=int, help="how many peptides to draw (default: 10)")
    take("--seed", type=int, help="the same seed gives the same peptides (default: 0)")
    take("--temperature", type=float, help="below 1 is more cautious (default: 1)")
    take("--guidance", type=float, help="above 1 exaggerates label and target (default: 1)")
    take("--pattern", help="fixed letters, '.' where free, as ..P..P..; sets the length")
    given = {name: v for name, v in vars(parser.parse_args(argv)).items() if v is not None}
    folder, target, label = map(given.pop, ("model", "target", "label"))
    draws = "score" not in given
    scored = given.pop("score", "").upper().split(",")
    try:
        if unused := [name for name in given if (name == "repeats") == draws]:
            raise Wrong(f"--{unused[0]} has no effect {'without' if draws else 'with'} --score")
        model = Model.load(folder)
        told = model.told(target, label)
        if draws:
            print("\n".join(model.sample(told, **given)))
            return
        found = model.nelbo(scored, told, **given)
        print("\n".join(f"{one}\t{nats:.6f}" for one, nats in zip(scored, found, strict=True)))
    except Wrong as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
