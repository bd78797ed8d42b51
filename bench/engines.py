"""Engines on synthetic peptides that are like the real ones, for the benchmarks of kernels."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimir.model.batch import DeviceData
    from mimir.training.engine import Engine

CAPACITY = {"small": 512, "medium": 896, "large": 1664}
"""Rows that the widest batch of a million peptides of mean length 10.6 takes."""
TARGETS = 748
PEPTIDES = 20_000
GRAPH = 8
"""Steps in a graph."""


def random_data(device: Any) -> "DeviceData":
    """Random peptides: mean length 10.6, deviation 4, as the real ones."""
    import torch

    from mimir.data.alphabet import N_LETTERS
    from mimir.model.batch import DeviceData
    from mimir.model.composition import Tables

    rng = torch.Generator().manual_seed(0)
    lengths = (torch.randn(PEPTIDES, generator=rng) * 4 + 10.6).round().clamp(4, 20).long()
    starts = lengths.cumsum(0) - lengths
    tokens = torch.randint(0, 20, (int(lengths.sum()) + 20,), generator=rng, dtype=torch.uint8)
    labels = torch.randint(0, 2, (PEPTIDES,), generator=rng)
    targets = torch.randint(0, TARGETS + 1, (PEPTIDES,), generator=rng)
    parts = [v.to(device) for v in (tokens, starts, lengths, labels, targets)]
    # As many of each letter as any peptide has, or more: its own are taken off.
    counts = torch.randint(20, 70, (TARGETS + 1, N_LETTERS), generator=rng).float().to(device)
    counts[-1] = 0
    identity = torch.arange(TARGETS + 1, device=device)
    prior = torch.full((N_LETTERS,), 1 / N_LETTERS, device=device)
    tables = Tables(identity, counts, torch.ones_like(counts), prior)
    return DeviceData(parts[0], parts[1], parts[2], parts[3], parts[4], tables)


def engine_of(preset: str, kernels: frozenset[str], data: "DeviceData", **changes: Any) -> "Engine":
    """An engine as a run has it, but for the widest batch, which stands in `CAPACITY`."""

    from mimir.config import load_preset
    from mimir.training.engine import Engine
    from mimir.training.machine import Machine

    config = load_preset(preset).with_settings({"epochs": 1, "graph_steps": GRAPH})
    machine = replace(Machine.choose(config), kernels=kernels, **changes)
    engine = Engine(config, data, TARGETS, machine)
    engine._capacity = CAPACITY[preset]
    return engine
