"""The training loop: steps, and between them metrics, validation, checkpoints and stops.

At each boundary in this order: a row of metrics, a validation, a checkpoint, a look at
whether to stop. The order is part of a run's meaning: a checkpoint holds the validation of
its own step, so that early stopping resumes exactly too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mimir.errors import Interrupted, NonFinite, StoreError
from mimir.runs.execution import Execution
from mimir.runs.figures import RANKING, SELECTION
from mimir.training import checkpoint
from mimir.training import device as gpu
from mimir.training.checkpoint import Record, Snapshot
from mimir.training.committer import Committer
from mimir.training.engine import Engine
from mimir.training.validation import Validation

LAST_COMMIT_SECONDS = 600.0
"""How long the end of a run waits for its last checkpoint."""


@dataclass
class ProgressSnapshot:
    """How far training is; written by the loop, read by the reporter's thread."""

    step: int = 0
    total: int = 0
    epoch: float = 0.0
    rate: float | None = None
    tokens_per_s: float | None = None
    loss: float | None = None
    val: float | None = None
    device: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    """Of the last validation."""
    execution: Execution | None = None


class Loop:
    """Trains an engine to its end, or until asked to stop.

    Args:
        engine: fresh or resumed.
        validation: the held-out peptides.
        committer: takes checkpoints; None trains without any (bench, preflight).
        record: of the checkpoint gone on from, or a fresh one.
        progress: kept up to date.
        emit: takes a row of metrics.
        say: takes a line for people.
        stop: polled between steps; a reason to stop, or "".
        clock: seconds.
    """

    def __init__(
        self,
        engine: Engine,
        validation: Validation,
        committer: Committer | None,
        record: Record,
        progress: ProgressSnapshot,
        *,
        emit: Callable[[dict[str, Any]], None],
        say: Callable[[str], None],
        stop: Callable[[], str],
        samples: Callable[[], dict[str, Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.validation, self.committer = engine, validation, committer
        self.record, self.progress = record, progress
        progress.device, progress.execution = gpu.name(engine.machine.device), engine.execution
        self._emit, self._say, self._stop = emit, say, stop
        self._samples, self._clock = samples, clock
        self._every = engine.config.training.eval_every or engine.steps_per_epoch
        self._committed_step = -1
        self._committed_at = clock()
        self._window = (clock(), engine.step)

    @property
    def finished(self) -> bool:
        patience = self.engine.config.training.patience
        early = patience > 0 and self.record.stale >= patience
        return self.engine.step >= self.engine.total or early

    def run(self) -> str:
        """Train. Returns why it ended: "finished" or "stopped early".

        Raises:
            Interrupted: asked to stop; what the grace allowed is committed.
            Fenced, NonFinite, StoreError: as the committer and the checks found.
        """
        engine = self.engine
        self._show()
        if self.record.evaluated != engine.step and engine.step % self._every == 0 and engine.step:
            self._validate()  # the attempt before ended between this step and its validation
        if engine.step == 0:
            self._checkpoint()
        while not self.finished:
            self._poll()
            engine.advance(self._until_boundary())
            self._boundary()
        if self.record.evaluated != engine.step:
            self._validate()
        self._checkpoint()
        if self.committer and not self.committer.drain(LAST_COMMIT_SECONDS):
            raise StoreError("the last checkpoint could not be committed; resume the run later")
        return "finished" if engine.step >= engine.total else "stopped early"

    def _until_boundary(self) -> int:
        step, log = self.engine.step, self.engine.config.training.log_every
        by_steps = self.engine.config.runtime.checkpoint_steps or log
        ends = [self.engine.total] + [(step // n + 1) * n for n in (log, self._every, by_steps)]
        # On a CPU a step may take seconds: look at signals and clocks after each.
        return 1 if self.engine.machine.device.type == "cpu" else min(ends) - step

    def _boundary(self) -> None:
        step, config = self.engine.step, self.engine.config
        self.progress.step, self.progress.epoch = step, step / self.engine.steps_per_epoch
        if step % config.training.log_every == 0 or step == self.engine.total:
            self._log()
        if step % self._every == 0 or step == self.engine.total:
            self._validate()
        by_steps = config.runtime.checkpoint_steps
        late = self._clock() - self._committed_at >= config.runtime.checkpoint_minutes * 60
        if step < self.engine.total and (late or (by_steps and step % by_steps == 0)):
            self._checkpoint()

    def _poll(self) -> None:
        """End the run if asked to, or if the committer has failed.

        Also called during a validation, whose step is then validated on resume.
        """
        if self.committer:
            self.committer.check()
        reason = self._stop()
        if reason:
            self._interrupt(reason)

    def _interrupt(self, reason: str) -> None:
        if self.committer is None:
            raise Interrupted(reason)
        if self._committed_step != self.engine.step:
            self._checkpoint()
        try:
            landed = self.committer.drain(LAST_COMMIT_SECONDS)
        except (StoreError, NonFinite) as error:
            raise Interrupted(
                f"{reason}; the last checkpoint was not committed: {error}"
            ) from error
        what = f"committed at step {self.engine.step}" if landed else "the last commit is missing"
        raise Interrupted(f"{reason}; {what}")

    def _log(self) -> None:
        """One row of metrics, and the only regular question to the device."""
        state, step = self.engine.state, self.engine.step
        size = step % len(state.losses) or len(state.losses)
        size = min(size, step)
        losses, norms = state.losses[:size].cpu(), state.norms[:size].cpu()
        # A skipped fp16 step has none.
        losses, norms = losses[torch.isfinite(losses)], norms[torch.isfinite(norms)]
        self._check_finite()
        now, (before, first) = self._clock(), self._window
        rate = (step - first) / max(1e-9, now - before)
        self._window = (now, step)
        progress = self.progress
        progress.loss = float(losses.double().mean()) if len(losses) else None
        progress.rate = rate if progress.rate is None else 0.7 * progress.rate + 0.3 * rate
        residues = float(self.engine.data.lengths.sum()) / len(self.engine.data)
        progress.tokens_per_s = rate * self.engine.config.training.batch * residues
        self._emit({
            "step": step,
            "epoch": round(progress.epoch, 4),
            "loss": progress.loss,
            "norm": float(norms.double().mean()) if len(norms) else None,
            "lr": float(state.rate),
            "steps_per_s": round(rate, 3),
            "tokens_per_s": round(progress.tokens_per_s, 1),
            **self.engine.execution.as_row(),
            "time": round(time.time(), 3),
        })  # fmt: skip
        self._show()

    def _check_finite(self) -> None:
        if int(self.engine.state.nonfinite) > 0:
            raise NonFinite(
                f"the loss or its gradient became NaN or infinite by step {self.engine.step}: "
                "nothing of it was committed, the last good checkpoint stands; lower --lr or look "
                "at the data"
            )

    def _validate(self) -> None:
        self._check_finite()  # a validation may come between two rows of metrics
        figures = self.validation.measure(self.engine, self._poll)
        self._poll()
        selected = self.validation.select(self.engine)
        record, step = self.record, self.engine.step
        val = figures[RANKING]
        better = selected is not None and (record.best is None or selected < record.best)
        self.record = replace(
            record, evaluated=step, val=val, best=selected if better else record.best,
            stale=0 if better or selected is None else record.stale + 1,
        )  # fmt: skip
        self.progress.val, self.progress.figures = val, figures
        row: dict[str, Any] = {"step": step, **figures, SELECTION: selected}
        every = self.engine.config.runtime.sample_every
        drawn = self._samples and every and (step // self._every) % every == 0
        if self._samples and drawn:
            row.update(self._samples())
        self._emit(row)
        self._say(self.validation.sentence(step, figures))
        if drawn:
            shares = [f"{row[f'samples_{k}']:.0%} {k}" for k in ("valid", "unique", "novel")]
            self._say(f"samples at step {step}: {' '.join(row['samples'])} ({', '.join(shares)})")
        self._window = (self._clock(), step)  # the rate is that of training alone

    def _checkpoint(self) -> None:
        if self.committer is None or (self._committed_step == self.engine.step):
            return
        late = self._committed_step >= 0 and not self.committer.idle
        if late and not self.finished and not self._stop():
            return  # the one before is still under way; the next boundary asks again
        self._check_finite()
        self.committer.put(self.snapshot())
        self._committed_step, self._committed_at = self.engine.step, self._clock()

    def snapshot(self) -> Snapshot:
        """The state now, with what the record says of it."""
        self.record = replace(self.record, step=self.engine.step)
        return checkpoint.take(self.engine.state, self.record)

    def _show(self) -> None:
        progress, engine = self.progress, self.engine
        progress.step, progress.total = engine.step, engine.total
        progress.epoch = engine.step / engine.steps_per_epoch
        progress.val = self.record.val


def first_record(engine: Engine, data_sha256: str, attempt: int) -> Record:
    """The record of a run that begins."""
    device = engine.machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Record(0, engine.config.sha256(), data_sha256, attempt, str(torch.__version__), name)
