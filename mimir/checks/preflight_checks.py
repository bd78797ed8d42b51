"""The checks of the preflight list, made with the real engine.

It takes a few hundred steps of the preset, or as many as the time allows, with one setting
changed: the learning rate warms up within TIMED_AFTER steps, because the large preset's 2,000
would leave nothing to see.
"""

import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mimir import text
from mimir.checks import dry_run
from mimir.checks.fast_path import parity_checked
from mimir.checks.preflight import Doubt, Limits, Unfit
from mimir.config import Config
from mimir.data.pack import TRAIN, VALIDATION, Peptides, load
from mimir.errors import Interrupted
from mimir.model.batch import DeviceData
from mimir.model.objective import evaluate
from mimir.output import export
from mimir.submission import Job
from mimir.training import checkpoint
from mimir.training import device as gpu
from mimir.training.assemble import assemble
from mimir.training.figures import per_residue
from mimir.training.loop import Loop, ProgressSnapshot, first_record
from mimir.training.validation import Validation

TIMED_AFTER = 20
HELD = 128
"""Peptides whose loss is compared before and after, under the same masks. That leaves little
noise: with the large preset already the first step brings 0.02 nats per residue."""
AFTERWARDS = 12
"""Steps' worth of time for what follows the loop: samples 5, resumption 3, losses, checkpoint
(large preset on a CPU; elsewhere all of it takes a second)."""
POLL_EVERY = 32
"""Steps between looks at the clock on a GPU: whole graphs."""
PREFLIGHT_SAMPLES = 64
LEAST_UNIQUE = 0.5
"""Share of different ones among these, below which the sampler does not work."""
PACKAGES = ("torch", "numpy", "safetensors", "PyYAML", "tqdm", "fire", "boto3", "matplotlib",
         "tensorboard")  # fmt: skip
TIGHT = 0.9
"""Part of the memory above which another driver or a longer run may no longer fit."""


class PreflightChecks:
    """What the checks hand on to one another, in the order of `preflight.CHECKS`.

    job: with the preset's settings. tell: as for `preflight.examine`.
    """

    def __init__(
        self, job: Job, limits: Limits, tell: Callable[[str, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.job, self.limits = job, limits
        self.config: Config = job.config
        self.figures: dict[str, Any] = {}
        self._tell, self._clock, self._began = tell, clock, clock()

    def dependencies(self) -> str:
        found = {name: _version(name) for name in PACKAGES}
        self.figures["versions"] = found
        missing = [name for name, version in found.items() if not version]
        if missing:
            raise Unfit(f"missing: pip install {' '.join(missing)}")
        return f"all {len(PACKAGES)} are here, torch {torch.__version__}"

    def data(self) -> str:
        began = self._clock()
        self.peptides: Peptides = load(self.job.data)
        rows = len(self.peptides.subset(TRAIN))
        self.figures.update(peptides=len(self.peptides), steps_total=self.job.steps)
        return (
            f"{len(self.peptides):,} peptides, {rows:,} of them to train with, "
            f"{len(self.peptides.vocabulary)} targets; "
            f"loaded in {text.duration(self._clock() - began)}"
        )

    def device(self) -> str:
        config, warm_up = self.config, min(TIMED_AFTER, self.config.optimizer.warmup_steps)
        slower: list[str] = []
        self.engine = assemble(
            replace(
                config,
                optimizer=replace(config.optimizer, warmup_steps=warm_up),
                # One window keeps all losses, and no validation comes between.
                training=replace(config.training, log_every=2 * self.limits.steps,
                                 eval_every=10**9),
                runtime=replace(config.runtime, checkpoint_steps=POLL_EVERY),
            ),
            self.peptides,
        )  # fmt: skip
        # On a GPU this also compiles, captures and claims memory.
        self.engine = parity_checked(self.engine, slower.append)
        machine = self.engine.machine
        size = sum(span.stop - span.start for span in self.engine.state.spans)
        execution = self.engine.execution
        if machine.device.type == "cuda":
            name = shown = torch.cuda.get_device_name(machine.device)
        else:
            name, shown = "cpu", "the CPU, as told"
            if config.runtime.device == "auto":
                shown = "there is no GPU: training would run on the CPU"
        self.figures.update(
            device=name, precision=execution.precision, compiled=machine.compiled,
            fused=machine.fused, graph_steps=execution.graph_steps, parameters=size,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        seen = f"{shown} ({size / 1e6:.2f}M parameters; {execution.words})"
        if slower:
            raise Doubt(f"{seen}; {slower[0]}")
        if execution.why:
            raise Doubt(f"{seen}; slower than forecasts count on")
        return seen

    def loop(self) -> str:
        engine = self.engine
        rows = self.peptides.spread(VALIDATION, 0, HELD)
        if not len(rows):
            rows = self.peptides.subset(TRAIN)[:HELD]
        objective = engine.config.objective
        self._held = DeviceData.of(self.peptides, rows, engine.machine.device, objective)
        self._before = self._loss()
        block = dry_run.block(engine)
        self._timed(lambda: engine.advance(block))  # claims memory; on a CPU, compiles
        step_s = self._timed(lambda: engine.advance(block)) / block
        left = self.limits.seconds - (self._clock() - self._began)
        within = engine.step + int(left / step_s) - AFTERWARDS
        # At engine.total the loop would end with a whole validation.
        most = min(self.limits.steps, engine.total - 1)
        first, took = engine.step, self._timed(lambda: self._run(min(most, within)))
        if engine.step > first:
            step_s = took / (engine.step - first)
        self.step_s = step_s
        self.figures.update(steps=engine.step, step_s=round(step_s, 6))
        if int(engine.state.nonfinite):
            raise Unfit(f"the loss was not finite within {engine.step} steps: use a lower --lr")
        rate = f"{1 / step_s:.1f} steps/s" if step_s < 1 else f"{step_s:.1f} s a step"
        short = f" (not {most}: it is slow)" if engine.step < most else ""
        return f"{engine.step} steps{short}, {rate}"

    def _run(self, target: int) -> None:
        """The real loop, from where the engine is."""
        engine = self.engine
        if engine.step >= target:
            return

        def stop() -> str:
            self._tell("loop", engine.step / target)
            late = self._clock() - self._began > self.limits.seconds
            return "enough" if engine.step >= target or late else ""

        loop = Loop(
            engine, Validation(
                self.peptides, engine.machine.device, 1, engine.config.objective
            ), None,
            first_record(engine, self.peptides.digest, 0), ProgressSnapshot(),
            emit=lambda row: None, say=lambda line: None, stop=stop, clock=self._clock,
        )  # fmt: skip
        try:
            loop.run()
        except Interrupted:
            return

    def loss(self) -> str:
        """Held out and under the same masks before and after: one step is enough to see it."""
        engine = self.engine
        curve = engine.state.losses[: engine.step].cpu()
        curve = curve[torch.isfinite(curve)]
        width = max(1, len(curve) // 4)
        first, last = (float(part.mean()) for part in (curve[:width], curve[-width:]))
        after = self._loss()
        self.figures.update(
            loss_first=round(first, 4), loss_last=round(last, 4),
            held_before=round(self._before, 4), held_after=round(after, 4),
        )  # fmt: skip
        seen = (
            f"{self._before:.4f} to {after:.4f} nats per residue on {len(self._held)} held-out "
            f"peptides under the same masks; training {first:.4f} to {last:.4f}, means of the "
            f"first and last {width} steps"
        )
        if not after < self._before:
            raise Unfit(f"does not fall: {seen}; look at the data and at --lr")
        return f"falls from {seen}"

    def checkpoint(self) -> str:
        engine, record = self.engine, first_record(self.engine, self.peptides.digest, 1)
        snapshot = checkpoint.take(engine.state, record)
        with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
            path = Path(folder) / "checkpoint.safetensors"
            began = self._clock()
            with path.open("wb") as file:
                file.write(snapshot.encode())
                file.flush()
                os.fsync(file.fileno())
            saved, size = self._clock(), path.stat().st_size
            found, self._kept = checkpoint.decode(
                path.read_bytes(), engine.config.sha256(), self.peptides.digest
            )
        engine.resume(self._kept)
        loaded = self._clock()
        wrong = dry_run.differing(snapshot.tensors, engine.state.tensors())
        self.figures.update(checkpoint_bytes=size, checkpoint_tensors=len(self._kept))
        if wrong or found != record:
            raise Unfit(f"{len(wrong)} tensors are not what was saved, such as {wrong[:1]}")
        return (
            f"{text.size(size)} saved in {text.duration(saved - began)}, loaded in "
            f"{text.duration(loaded - saved)}; all {len(self._kept)} tensors are the same bits"
        )

    def resume(self) -> str:
        """The next steps, twice from the same checkpoint."""
        engine, steps = self.engine, dry_run.block(self.engine)
        engine.resume(self._kept)
        engine.advance(steps)
        once = {name: value.cpu().clone() for name, value in engine.state.tensors().items()}
        engine.resume(self._kept)
        engine.advance(steps)
        wrong = dry_run.differing(once, engine.state.tensors())
        self.figures["exact"] = not wrong
        if wrong:
            raise Doubt(
                f"this machine rounds differently each time ({len(wrong)} tensors after {steps} "
                "steps): runs resume, but their weights are not bit for bit those of others"
            )
        return f"{steps} step{'s' if steps > 1 else ''} repeated from it, bit for bit"

    def samples(self) -> str:
        began = self._clock()
        drawn = export.draw_some(self.engine, self.peptides, PREFLIGHT_SAMPLES)
        self._sampling_s = self._clock() - began
        found = export.reference(self.peptides).quality(drawn)
        self.figures.update(samples=drawn[:5], samples_unique=found.unique, samples_kl=found.kl)
        seen = f"{found.unique:.0%} of {len(drawn)} are different"
        if found.unique < LEAST_UNIQUE:
            raise Unfit(f"{seen}: the sampler repeats itself, it does not work here")
        return f"{seen}, such as {' '.join(drawn[:3])}"

    def memory(self) -> str:
        used = dry_run.memory(self.engine.machine.device)
        self.figures.update(memory_peak=used.peak, memory_total=used.total)
        seen = f"at most {used}, batch {self.config.training.batch}"
        if not used.total:
            raise Doubt("this system does not tell how much there is")
        if used.peak > TIGHT * used.total:
            raise Doubt(f"{seen}: tight; --accumulate 2 takes less")
        return seen

    def forecast(self) -> str:
        """Steps, validations and the samples between them; the start is not in it."""
        training, runtime = self.config.training, self.config.runtime
        every = training.eval_every or self.engine.steps_per_epoch
        objective, device = self.engine.config.objective, self.engine.machine.device
        whole = Validation(self.peptides, device, training.eval_rows, objective)
        one = whole.passes * self._timed(self._loss) / max(1, len(self._held))
        if runtime.sample_every:
            one += self._sampling_s / runtime.sample_every
        hours = (self.job.steps * self.step_s + self.job.steps / every * one) / 3600
        limit = self.limits.hours
        self.figures.update(hours=round(hours, 6), limit_hours=limit)
        seen = f"{text.duration(3600 * hours)} for {self.job.steps:,} steps of this data"
        if limit and hours > limit:
            sessions = int(hours / limit) + 1
            raise Unfit(
                f"{seen}, more than a session of {limit:g} h: it would take {sessions}, each "
                "resumed from the last checkpoint; a faster GPU takes fewer"
            )
        return f"{seen}, within a session of {limit:g} h" if limit else seen

    def _loss(self) -> float:
        """Of the live weights: the average lags behind in so few steps."""
        timesteps = self.config.objective.timesteps
        return per_residue(evaluate(self.engine.model, self._held, timesteps), self._held)

    def _timed(self, work: Callable[[], object]) -> float:
        """Seconds, the device's work included."""
        began = self._clock()
        work()
        gpu.synchronize(self.engine.machine.device)
        return max(1e-9, self._clock() - began)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
