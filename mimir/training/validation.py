"""Held-out figures, with the same masks every time, beside two yardsticks of the data.

The averaged weights are validated. Background peptides and pairs are told apart; pairs are
also measured with shuffled targets. Matched below shuffled shows that the model knows the
targets, which it can only of targets that are trained too: where whole targets are held
out, as `data pack` does, the two are alike. The yardsticks (composition entropy, order-2
Markov) say when more epochs buy nothing: background windows of proteins are nearly
incompressible.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mimir.data.pack import VALIDATION, Peptides
from mimir.model.batch import Shelf
from mimir.model.objective import evaluate
from mimir.training.engine import Engine


@contextmanager
def averaged(engine: Engine) -> Iterator[None]:
    """The engine's model holds the averaged weights inside, the live ones again after."""
    state = engine.state
    kept = state.low.clone()
    state.low.copy_(state.average)
    try:
        yield
    finally:
        state.low.copy_(kept)


class Validation:
    """The held-out peptides on the device.

    Args:
        rows: at most this many background peptides (the data's order is random already).
    """

    def __init__(self, peptides: Peptides, device: torch.device, rows: int) -> None:
        def shelf(label: int) -> Shelf:
            chosen = torch.from_numpy(peptides.subset(VALIDATION, label).copy())[:rows]
            return Shelf.of(peptides, chosen, device)

        self.background, self.pairs = shelf(0), shelf(1)
        # A rotation by half: another target, unless one target has more than half of the pairs.
        order = torch.argsort(self.pairs.targets, stable=True)
        turned = self.pairs.targets.clone()
        half = max(1, len(order) // 2)
        turned[order] = self.pairs.targets[order].roll(half)
        self.shuffled = replace(self.pairs, targets=turned)
        self.yardsticks = peptides.yardsticks

    def measure(self, engine: Engine, poll: Callable[[], None]) -> dict[str, Any]:
        """NELBO in nats per residue: `val` (background), `val_pairs`, `val_pairs_shuffled`.

        None where nothing of the kind is held out. `poll` is called between the parts and may
        raise to end the validation.
        """
        figures: dict[str, Any] = {}
        timesteps = engine.config.objective.timesteps
        for name, shelf in (
            ("val", self.background),
            ("val_pairs", self.pairs),
            ("val_pairs_shuffled", self.shuffled),
        ):
            poll()
            if not len(shelf):
                figures[name] = None
                continue
            with averaged(engine):
                nats = evaluate(engine.model, shelf, timesteps, repeats=2)
            figures[name] = per_residue(nats, shelf)
        return figures

    def sentence(self, step: int, figures: dict[str, Any]) -> str:
        """The figures for people."""
        parts = [f"validation at step {step}:"]
        background, pairs = self.yardsticks.background, self.yardsticks.pairs
        if figures["val"] is not None:
            parts.append(f"background {figures['val']:.4f} nats per residue")
            if background:
                parts.append(
                    f"(composition {background.unigram:.4f}, "
                    f"order-2 Markov {background.markov2:.4f})"
                )
        if figures["val_pairs"] is not None:
            parts.append(
                f"pairs {figures['val_pairs']:.4f}, with shuffled targets "
                f"{figures['val_pairs_shuffled']:.4f}"
            )
            if pairs:
                parts.append(f"(composition {pairs.unigram:.4f})")
        return " ".join(parts)


def per_residue(nats: Tensor, shelf: Shelf) -> float:
    """Total nats over total residues."""
    return float(nats.sum() / shelf.lengths.sum().cpu())
