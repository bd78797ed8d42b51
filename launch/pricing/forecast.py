"""How long a training takes on a GPU: from measured steps where there are any, else a roofline.

Where another card was measured, the model counts as much more or less as it was off there. It is a
model and not a promise. On the training guide's rows for T4 and A100 (medium
and large, which were themselves reckoned, for a plain trainer) it stays below the guide's upper
figures, as it should: Mimir computes no padding and captures its steps in graphs. Its constants
are set by the three presets on an H200, which it meets within a quarter; other GPUs have not been
measured: expect a factor of two either way.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from launch.contract.image import Image
from launch.pricing import gpus
from launch.pricing.budget import HOUR
from launch.pricing.gpus import Gpu
from launch.pricing.kernels import fuses
from launch.pricing.workload import Workload

MATRIX = 0.25
"""Share of the tensor cores' peak that products get. Large square ones reach 0.6 to 0.8; these
have about 1,500 rows at width 512, fill a large GPU once or twice, and a T4 throttles by power."""
MEMORY = 0.7
"""Share of the memory's rate: copies reach 0.8 to 0.9, reductions and gathers less."""
KERNEL_LAUNCH = 2.4e-6
"""Seconds that a kernel of a captured graph takes at least, with the gap after it (2 to 4 µs)."""
EAGER_KERNEL = 15e-6
"""The same without graphs, when Python starts each: a step of small kernels waits for it."""
KERNELS, LAYER_KERNELS = 15, 42
"""Kernels of a compiled step: batch, masks, loss, update; and of each layer, there and back. The
profiler counted 142 for three layers and 269 for six."""
UNCOMPILED = 2.0
"""Times as many kernels without torch.compile."""
UNFUSED_KERNELS, UNFUSED_PASSES = 10, 15
"""What a layer's attention takes beside, where it is not one kernel of ours: kernels, and times
that all places of the batch are read or written (counted for the large preset: 240 MB in six
layers)."""
RUNTIME_GB = 2.0
"""CUDA's context, cuBLAS's workspaces, a validation's batch, and what the allocator wastes."""
ROOM = 0.92
"""Share of a GPU's memory that a process may count on."""
START_UP = 8 * 60.0
"""Seconds from the order of a rented machine to its first step: boot and image 3 to 10 minutes,
then compilation and capture about one."""
COMPILER = 60.0
"""Seconds more where a compiler has to be installed first: 70 MB of packages."""

EAGER_PASS = (20, 25)
"""Kernels of a forward pass that is not captured, as in validations and samples: of the whole, and
of each layer."""

REPORTED_WITHIN = 4.0
"""A machine's own word for its speed counts within this factor of the roofline: default limits of
cost follow from it, and a stranger's machine may say anything."""


@dataclass(frozen=True)
class Measured:
    """A step's measured time (s). source: the file or the run that it is from.

    reported: by machines that ran it, which may be strangers'. bench_s: where it is reported, what
    our own bench measured on that device (s), 0 for nothing: other cards are estimated by it.
    """

    step_s: float
    source: str
    reported: bool = False
    bench_s: float = 0.0

    @property
    def anchor_s(self) -> float:
        """What our own bench measured (s), by which other cards are estimated; 0 for nothing."""
        return self.bench_s if self.reported else self.step_s


@dataclass(frozen=True)
class Basis:
    """What a step's time is based on, in two parts of a phrase: "model x 1.50" and ", as measured
    on H200". kind: how it is known; an "adjusted" time is neither measured nor the model's."""

    kind: Literal["measured", "model", "adjusted"]
    brief: str
    rest: str = ""

    def but(self, more: str) -> "Basis":
        """This, with more words at its end."""
        return replace(self, rest=f"{self.rest}, {more}")


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to take on one machine.

    gpu: its name. step_s: s, and its basis. steps and steps_per_epoch: of the run.
    validation_s: s of all validations. start_s: s before the first step. need_gb and
    memory_gb: GPU memory that it needs and that there is. measured: whether our own bench ran it
    so on such a card; what machines reported may be a stranger's word. expected_end: step at which
    early stopping is expected to end it, None if at the last one; hours are of all steps.
    """

    gpu: str
    step_s: float
    basis: Basis
    steps: int
    steps_per_epoch: int
    validation_s: float
    start_s: float
    need_gb: float
    memory_gb: float
    measured: bool = False
    expected_end: int | None = None

    @property
    def source(self) -> str:
        """The whole basis: "measured (…)", "model", or where what machines reported was cut "4
        times the model (slower in run x)"."""
        return self.basis.brief + self.basis.rest

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch, its validations included."""
        return (self.steps * self.step_s + self.validation_s) / self.steps * self.steps_per_epoch

    @property
    def train_hours(self) -> float:
        """Hours of training alone."""
        return (self.steps * self.step_s + self.validation_s) / HOUR

    @property
    def hours(self) -> float:
        """Hours of the machine, from its order to the end."""
        return self.train_hours + self.start_s / HOUR

    def hours_to(self, steps: int) -> float:
        """Hours of the machine, from its order to this step."""
        share = min(1.0, steps / self.steps)
        return share * self.train_hours + self.start_s / HOUR

    @property
    def expected_hours(self) -> float | None:
        """As `hours`, if early stopping ends the run at `expected_end`."""
        if self.expected_end is None:
            return None
        return self.train_hours * self.expected_end / self.steps + self.start_s / HOUR

    @property
    def fits(self) -> bool:
        return self.need_gb <= self.memory_gb * ROOM


def forecast(
    work: Workload,
    name: str,
    measured: Mapping[str, Measured] | None = None,
    *,
    memory_gb: float = 0.0,
    start_s: float = START_UP,
    compiled: bool = True,
) -> Forecast | None:
    """The forecast for a GPU by any of its names, or for a processor that was measured.

    Args:
        measured: by canonical name, as launch/pricing/measured.py finds them.
        start_s: of a rented machine; a processor is held to be this computer's.
        memory_gb: what this machine's GPU has (default: the table's).
        compiled: whether torch's compiler works there; what was measured, was measured with it.

    Returns:
        None if the GPU is not in the table and was not measured.
    """
    known = (measured or {}).get(gpus.canonical(name, memory_gb))
    gpu = gpus.get(gpus.canonical(name, memory_gb))
    if known is None and gpu is None:
        return None
    benched = False
    if known is not None:
        benched = not known.reported
        step_s, basis = known.step_s, _as_measured(known)
        if known.reported and gpu is not None:
            step_s, basis = _believable(known, step_seconds(work, gpu))
        elif known.reported:
            basis = Basis(
                "adjusted", "as the machine said", f", checked by nothing ({known.source})"
            )
        if gpu is not None and not compiled and work.config.runtime.compile != "off":
            step_s *= step_seconds(work, gpu, compiled=False) / step_seconds(work, gpu)
            benched = False
            basis = basis.but("without a compiler by the model")
    else:
        assert gpu is not None
        times, basis = _calibrated(work, gpu, measured or {})
        step_s = times * step_seconds(work, gpu, compiled=compiled)
        basis = basis if compiled else basis.but("without a compiler")
    return Forecast(
        gpu=gpu.name if gpu else name,
        step_s=step_s,
        basis=basis,
        steps=work.steps,
        steps_per_epoch=work.steps_per_epoch,
        validation_s=_validation_s(work, gpu, step_s),
        start_s=start_s if gpu else 0.0,
        need_gb=need_gb(work) if gpu else 0.0,
        memory_gb=memory_gb or (gpu.memory_gb if gpu else float("inf")),
        measured=benched,
        expected_end=work.expected_end,
    )


def pessimistic(work: Workload, name: str, memory_gb: float, image: Image) -> Forecast:
    """The forecast for a GPU that nothing is known of: as slow as the slowest card of the table.

    name, memory_gb: as its service tells them. image: what runs there.
    """
    cards = [gpu for gpu in gpus.TABLE if gpu.capability >= image.since]
    slowest = max(cards, key=lambda gpu: step_seconds(work, gpu, compiled=image.compiles))
    made = forecast(
        work, slowest.name, memory_gb=memory_gb, start_s=start_s(image), compiled=image.compiles
    )
    assert made is not None
    basis = Basis("adjusted", "not in the table", f", taken as slow as {slowest.name}")
    return replace(made, gpu=name, basis=basis)


def _calibrated(work: Workload, gpu: Gpu, measured: Mapping[str, Measured]) -> tuple[float, Basis]:
    """By what the model is multiplied for this GPU, and the basis of the product.

    By as much as it was off at the nearest card that our own bench measured, of those that take
    the same way: with attention as one kernel, or without. What machines reported does not count,
    for it would move the estimates of every other card.
    """
    known = [
        (_distance(gpu, other), other, one.anchor_s / step_seconds(work, other))
        for name, one in measured.items()
        if (other := gpus.get(name)) is not None and one.anchor_s
        if fuses(work.config, other) == fuses(work.config, gpu)
    ]
    if not known:
        return 1.0, Basis("model", "model")
    _, nearest, times = min(known, key=lambda each: (each[0], each[1].name))
    return times, Basis("model", f"model x {times:.2f}", f", as measured on {nearest.name}")


def _distance(one: Gpu, other: Gpu) -> float:
    """How different two cards are: by the logarithms of what they can do."""
    return abs(math.log(one.tensor / other.tensor)) + abs(math.log(one.bandwidth / other.bandwidth))


def _validation_s(work: Workload, gpu: Gpu | None, step_s: float) -> float:
    """Seconds of all validations, and of the samples drawn beside them.

    Each pass takes what it computes, or on a GPU, where it is not captured, what the host takes to
    start its kernels, if that is longer.
    """
    computed = work.validations * work.validation_steps * step_s
    if gpu is None:
        return computed
    whole, layer = EAGER_PASS
    started = (whole + layer * work.config.model.layers) * EAGER_KERNEL
    return max(computed, work.validation_passes * started) + work.sampling_passes * started


def _as_measured(known: Measured) -> Basis:
    return Basis("measured", "measured", f" ({known.source})")


def _believable(known: Measured, model_s: float) -> tuple[float, Basis]:
    """Seconds of a step that machines reported, near what the model says; and their basis."""
    factor, within = known.step_s / model_s, f"{REPORTED_WITHIN:g}"
    if factor > REPORTED_WITHIN:
        cut = Basis("adjusted", f"{within} times the model", f" (slower in {known.source})")
        return REPORTED_WITHIN * model_s, cut
    if factor < 1 / REPORTED_WITHIN:
        cut = Basis("adjusted", f"1/{within} of the model", f" (faster in {known.source})")
        return model_s / REPORTED_WITHIN, cut
    return known.step_s, _as_measured(known)


def start_s(image: Image) -> float:
    """Seconds from the order of a machine with this image to its first step."""
    return START_UP + COMPILER if image.installs else START_UP


def step_seconds(work: Workload, gpu: Gpu, *, compiled: bool = True) -> float:
    """A roofline with its parts added up, not overlapped: a step on this GPU, in s.

    Operations over MATRIX of the peak, bytes over MEMORY of the memory's rate (Williams et al.
    2009), and a least time for each kernel, which is most of a small model's step.
    """
    runtime, width = work.config.runtime, _width(work)
    peak = gpu.tensor if width == 2 else gpu.fp32
    slices = work.config.training.accumulate
    layers, traffic = work.config.model.layers * slices, work.traffic(width)
    compiled = compiled and runtime.compile != "off"
    kernels: float = KERNELS + LAYER_KERNELS * layers
    if not compiled or not fuses(work.config, gpu):
        kernels += UNFUSED_KERNELS * layers
        traffic += UNFUSED_PASSES * layers * work.places * work.config.model.dim * width
    least = KERNEL_LAUNCH if runtime.graph_steps else EAGER_KERNEL
    if not compiled:
        kernels *= UNCOMPILED
    return (
        work.flop / (peak * 1e12 * MATRIX)
        + traffic / (gpu.bandwidth * 1e9 * MEMORY)
        + kernels * least
    )


def need_gb(work: Workload) -> float:
    """GB of GPU memory that a training needs, all in all."""
    return work.memory_gb(_width(work)) + RUNTIME_GB


def _width(work: Workload) -> int:
    """Bytes of the numbers that matrix products take on a GPU."""
    return 4 if work.config.runtime.precision == "fp32" else 2
