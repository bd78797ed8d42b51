"""The trainers that are compared: each can take steps, and says when they are done."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bench import huggingface
from bench.baseline import CompiledTrainer, PlainTrainer
from bench.work import StepCost
from mimir.config import Config
from mimir.data.pack import TRAIN, Peptides
from mimir.model.batch import DeviceData
from mimir.training.assemble import assemble
from mimir.training.device import synchronize
from mimir.training.machine import Machine

SIDES = ("ours", "eager", "compiled", "autocast", "huggingface", "base")


@dataclass(frozen=True)
class Side:
    """A trainer: `run(n)` takes n steps and returns when the device is done with them."""

    name: str
    run: Callable[[int], None]


def names(device: torch.device) -> tuple[str, ...]:
    """Who takes part. On a GPU ours also without compilation and captured graphs, and the plain
    trainer also with autocast, and compiled. Hugging Face's where it is installed."""
    own = ("ours", "huggingface", "base") if device.type == "cpu" else SIDES
    return tuple(name for name in own if name != "huggingface" or huggingface.installed())


def build(name: str, config: Config, peptides: Peptides) -> Side:
    """One side by name, at step 0."""
    if name in ("base", "autocast", "compiled"):
        device = Machine.choose(config).device
        dtype = torch.float32 if name == "base" else torch.bfloat16
        kind = CompiledTrainer if name == "compiled" else PlainTrainer
        trainer = kind(config, peptides, peptides.subset(TRAIN), str(device), dtype)

        def plain(steps: int) -> None:
            for _ in range(steps):
                trainer.step()
            synchronize(device)

        return Side(name, plain)
    if name == "huggingface":
        device = Machine.choose(config).device
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        rows = peptides.subset(TRAIN)
        other = huggingface.HuggingFaceTrainer(config, peptides, rows, str(device), dtype)

        def library(steps: int) -> None:
            other.run(steps)
            synchronize(device)

        return Side(name, library)
    if name == "eager":
        config = replace(config, runtime=replace(config.runtime, graph_steps=0, compile="off"))
    engine = assemble(config, peptides)
    # As the loop does: one step at a time on a CPU, to the next row of metrics on a GPU.
    stride = 1 if engine.machine.device.type == "cpu" else config.training.log_every

    def ours(steps: int) -> None:
        goal = engine.step + steps
        while engine.step < goal:
            engine.advance(min(stride, goal - engine.step))
        synchronize(engine.machine.device)

    return Side(name, ours)


def work(config: Config, peptides: Peptides) -> StepCost:
    """What a step of this configuration has to compute on these training peptides."""
    rows = peptides.subset(TRAIN)
    return StepCost.of(config, DeviceData.of(peptides, rows, torch.device("cpu"), config.objective))
