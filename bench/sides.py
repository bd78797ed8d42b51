"""The trainers that are compared: each can take steps, and says when they are done."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bench.baseline import PlainTrainer
from bench.work import StepCost
from mimir.config import Config
from mimir.data.pack import TRAIN, Peptides
from mimir.model.batch import DeviceData
from mimir.training.device import synchronize
from mimir.training.engine import Engine, Machine

SIDES = ("ours", "eager", "autocast", "base")


@dataclass(frozen=True)
class Side:
    """A trainer: `run(n)` takes n steps and returns when the device is done with them."""

    name: str
    run: Callable[[int], None]


def names(machine: Machine) -> tuple[str, ...]:
    """Who takes part. On a GPU both sides twice: ours also without compilation and captured
    graphs, the plain trainer also with autocast."""
    return ("ours", "base") if machine.device.type == "cpu" else SIDES


def build(name: str, config: Config, peptides: Peptides) -> Side:
    """One side by name, at step 0."""
    if name in ("base", "autocast"):
        device = Machine.choose(config).device
        dtype = torch.float32 if name == "base" else torch.bfloat16
        trainer = PlainTrainer(config, peptides, peptides.subset(TRAIN), str(device), dtype)

        def plain(steps: int) -> None:
            for _ in range(steps):
                trainer.step()
            synchronize(device)

        return Side(name, plain)
    if name == "eager":
        config = replace(config, runtime=replace(config.runtime, graph_steps=0, compile="off"))
    engine = _engine(config, peptides)
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
    return StepCost.of(config, DeviceData.of(peptides, rows, torch.device("cpu")))


def _engine(config: Config, peptides: Peptides) -> Engine:
    machine = Machine.choose(config)
    data = DeviceData.of(peptides, peptides.subset(TRAIN), machine.device)
    return Engine(config, data, len(peptides.vocabulary), machine)
