"""The training loop: steps, and between them metrics, validation, checkpoints and stops.

At each boundary in this order: a row of metrics, a validation, a checkpoint, a look at
whether to stop. The order is part of a run's meaning: a checkpoint holds the validation of
its own step, so that early stopping resumes exactly too. Validations come at steps that follow
from the configuration, and at the run's last one.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mimir.errors import Interrupted, NonFinite, StoreError
from mimir.runs.execution import Execution
from mimir.runs.figures import RANKING, SELECTION
from mimir.runs.stopping import End
from mimir.training import checkpoint, early_stop
from mimir.training import device as gpu
from mimir.training.cadence import Cadence
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
    torch: str = ""
    cuda: str = ""
    python: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    """Of the last validation."""
    execution: Execution | None = None
    expected_end: int | None = None
    """Step at which patience ends the run if no later validation is better; None if it may not."""
    checkpoint_s: float | None = None
    """Seconds between checkpoints, where they are fewer than the run was given."""
    commit_s: float | None = None
    """Seconds that the slowest of the last commits took; None before the first."""


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
        cadence: when checkpoints are due (default: as the configuration has it).
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
        cadence: Cadence | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.validation, self.committer = engine, validation, committer
        self.record, self.progress = record, progress
        progress.device, progress.execution = gpu.name(engine.machine.device), engine.execution
        progress.torch, progress.python = str(torch.__version__), platform.python_version()
        on_gpu = engine.machine.device.type == "cuda"
        progress.cuda = str(torch.version.cuda or "") if on_gpu else ""
        self._emit, self._say, self._stop = emit, say, stop
        self._samples, self._clock = samples, clock
        self._chosen = engine.config.runtime.checkpoint_minutes * 60
        self._cadence = cadence or Cadence(self._chosen)
        self._every = engine.config.training.eval_every or engine.steps_per_epoch
        # Of a mean peptide: a sum over all of them, which no row of metrics repeats.
        self._residues = float(engine.data.lengths.sum()) / len(engine.data)
        self._committed_step = -1
        self._committed_at = clock()
        self._window = (clock(), engine.step)

    @property
    def finished(self) -> bool:
        return self.engine.step >= self.engine.end

    @property
    def end(self) -> End:
        """How training ended, or would if it ended now."""
        engine, state = self.engine, self.engine.state
        return End(
            engine.step, engine.total, engine.cooldown, int(state.best_step),
            float(state.best_figure), float(state.best_before), self.record.selected,
            self.progress.rate,
        )  # fmt: skip

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
        ends = [self.engine.end] + [(step // n + 1) * n for n in (log, self._every, by_steps)]
        # On a CPU a step may take seconds: look at signals and clocks after each.
        return 1 if self.engine.machine.device.type == "cpu" else min(ends) - step

    def _boundary(self) -> None:
        step, config = self.engine.step, self.engine.config
        self.progress.step, self.progress.epoch = step, step / self.engine.steps_per_epoch
        if step % config.training.log_every == 0 or self.finished:
            self._log()
        if step % self._every == 0 or self.finished:
            self._validate()
        by_steps = config.runtime.checkpoint_steps
        due = self._cadence.due(self._clock() - self._committed_at)
        if not self.finished and (due or (by_steps and step % by_steps == 0)):
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
        step = self.engine.step
        told = self.engine.state.told(step)
        losses, norms = told.losses, told.norms
        self._refuse(told.nonfinite)
        now, (before, first) = self._clock(), self._window
        rate = (step - first) / max(1e-9, now - before)
        self._window = (now, step)
        progress = self.progress
        progress.loss = float(losses.double().mean()) if len(losses) else None
        progress.rate = rate if progress.rate is None else 0.7 * progress.rate + 0.3 * rate
        residues = self.engine.config.training.batch * self._residues
        progress.tokens_per_s = progress.rate * residues  # smoothed like the steps beside it
        self._emit({
            "step": step,
            "epoch": round(progress.epoch, 4),
            "loss": progress.loss,
            "norm": float(norms.double().mean()) if len(norms) else None,
            "lr": told.rate,
            "steps_per_s": round(rate, 3),
            "tokens_per_s": round(rate * residues, 1),
            **self.engine.execution.as_row(),
            "time": round(time.time(), 3),
        })  # fmt: skip
        self._show()

    def _check_finite(self) -> None:
        self._refuse(int(self.engine.state.nonfinite))

    def _refuse(self, nonfinite: int) -> None:
        if nonfinite > 0:
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
        cooling = self.engine.cooldown
        better = early_stop.judge(self.engine, selected)
        self.record = replace(record, evaluated=step, val=val, selected=selected)
        self.progress.val, self.progress.figures = val, figures
        row: dict[str, Any] = {"step": step, **figures, SELECTION: selected}
        every = self.engine.config.runtime.sample_every
        drawn = self._samples and every and (step // self._every) % every == 0
        if self._samples and drawn:
            row.update(self._samples())
        self._emit(row)
        self._say(self.validation.sentence(step, figures, selected, better))
        if self.engine.cooldown != cooling:
            self._say(
                f"none of the last {self.engine.config.training.patience} validations was better "
                f"than that of step {int(self.engine.state.best_step):,}: the learning rate goes "
                f"down to its end until step {self.engine.end:,}, which is the last"
            )
        if drawn:
            new, near = row["samples_novel"], row["samples_copies"]
            self._say(
                f"samples at step {step}: {' '.join(row['samples'])} ({new:.0%} new, {near:.0%} "
                f"near copies, composition off by {row['samples_kl']:.3f} nats)"
            )
        self._window = (self._clock(), step)  # the rate is that of training alone

    def _checkpoint(self) -> None:
        if self.committer is None or (self._committed_step == self.engine.step):
            self._cadence.taken()
            return
        late = self._committed_step >= 0 and not self.committer.idle
        if late and not self.finished and not self._stop():
            return  # the one before is still under way; the next boundary asks again
        self._check_finite()
        self._cadence.taken()  # before the snapshot: what is asked for meanwhile is another one
        self.committer.put(self.snapshot())
        self._committed_step, self._committed_at = self.engine.step, self._clock()

    def snapshot(self) -> Snapshot:
        """The state now, with what the record says of it."""
        self.record = replace(self.record, step=self.engine.step)
        return checkpoint.take(self.engine.state, self.record)

    def _show(self) -> None:
        progress, engine = self.progress, self.engine
        progress.expected_end = early_stop.expected_end(engine, self.record.evaluated, self._every)
        progress.step, progress.total = engine.step, engine.end
        progress.epoch = engine.step / engine.steps_per_epoch
        progress.val = self.record.val
        interval = self._cadence.interval
        progress.checkpoint_s = interval if interval < self._chosen else None
        progress.commit_s = self._cadence.commit


def first_record(engine: Engine, data_sha256: str, attempt: int) -> Record:
    """The record of a run that begins."""
    device = engine.machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Record(0, engine.config.sha256(), data_sha256, attempt, str(torch.__version__), name)
