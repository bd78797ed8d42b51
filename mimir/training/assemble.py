"""Makes an engine from a run record or a configuration, and describes it in one line."""

import os

import torch

from mimir.config import Config
from mimir.data.pack import TRAIN, Peptides
from mimir.data.peptides import of_run
from mimir.model.batch import DeviceData
from mimir.runs.record import RunRecord
from mimir.runs.store import Store
from mimir.training.engine import Engine
from mimir.training.machine import Machine


def build(
    store: Store, record: RunRecord, config: Config, machine: Machine | None = None
) -> tuple[Engine, Peptides]:
    """The engine at step 0, with the run's data resident on the device.

    machine: where to compute (default: the best device that is here).
    """
    peptides = of_run(store, record)
    return on_machine(config, peptides, machine or Machine.choose(config)), peptides


def assemble(config: Config, peptides: Peptides) -> Engine:
    """An engine at step 0 on the best device of this machine, which is set up for it."""
    return on_machine(config, peptides, Machine.choose(config))


def on_machine(config: Config, peptides: Peptides, machine: Machine) -> Engine:
    """As `assemble`, on a machine that is chosen already."""
    torch.set_num_threads(config.runtime.threads or os.cpu_count() or 1)
    if machine.device.type == "cuda":
        # Without it, cuBLAS may add in another order each time.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    rows = peptides.subset(TRAIN)
    data = DeviceData.of(peptides, rows, machine.device, config.objective)
    return Engine(config, data, len(peptides.vocabulary), machine)


def describe(engine: Engine, peptides: Peptides) -> str:
    """What is about to be trained, in one line."""
    config, machine = engine.config, engine.machine
    size = sum(span.stop - span.start for span in engine.state.spans)
    device = str(machine.device)
    if machine.device.type == "cuda":
        device = torch.cuda.get_device_name(machine.device)
    elif config.runtime.device == "auto":
        device = "the CPU (no GPU is visible)"
    return (
        f"preset {config.preset}: {size / 1e6:.2f}M parameters on {device}: "
        f"{engine.execution.words}; {len(engine.data):,} training peptides, "
        f"{len(peptides.vocabulary)} targets{_told(engine, peptides)}; {_mix(engine)}; step "
        f"{engine.step:,} of {engine.total:,}"
    )


def _told(engine: Engine, peptides: Peptides) -> str:
    if engine.data.composition is None:
        return " without their composition" if engine.config.objective.composition == "on" else ""
    return f" with their composition ({int(peptides.described.known.sum())} comparable)"


def _mix(engine: Engine) -> str:
    share = engine.config.training.pair_share
    if engine.pairs:
        return f"{engine.pairs} pairs in each batch of {engine.config.training.batch}"
    none = " (of one kind only, so that pair_share counts for nothing)" if share else ""
    return f"pairs as they lie in the data{none}"
