"""From which other run a run begins: its averaged weights, or its whole training state.

What it begins with is copied into the new run's own folder when that is submitted, so the other
run may be deleted afterwards, and every attempt begins with the same bytes.
"""

import re
import shlex
from dataclasses import dataclass
from typing import Annotated

from mimir.errors import BadInput, Corrupt
from mimir.runs import layout
from mimir.runs.ranges import MOST_STEPS, Between, Measure, OneOf, Step
from mimir.runs.store import Stored

WEIGHTS, STATE = "weights", "state"


@dataclass(frozen=True)
class Origin:
    """What a run begins with.

    kind: WEIGHTS, so its steps count from 0; or STATE, so they count on from those of the other.
    step: of the other run, whose weights or state it is. sha256: of the other run's object that it
    was taken from; config_sha256: of the other run's configuration. start: the copy, filled in by
    `record.create_run`. best_step, best: of a STATE, step and selecting figure (nats per residue)
    of its best weights, which the new run must beat; -1 and None if nothing selected any.
    """

    kind: Annotated[str, OneOf((WEIGHTS, STATE))]
    run: str
    step: Step
    sha256: str
    config_sha256: str
    start: Stored | None = None
    best_step: Annotated[int, Between(-1, MOST_STEPS)] = -1
    best: Measure | None = None

    def __post_init__(self) -> None:
        if not layout.is_run(self.run):
            raise Corrupt(f"{self.run!r}, from which the run begins, is no run's name")
        for digest in (self.sha256, self.config_sha256):
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise Corrupt(f"{digest!r}, of what the run begins with, is no SHA-256")
        if self.best_step > self.done or (self.best is None) != (self.best_step < 0):
            raise Corrupt(f"the best weights cannot be of step {self.best_step}")

    @property
    def done(self) -> int:
        """Steps that count as taken when the run begins."""
        return self.step if self.kind == STATE else 0

    @property
    def words(self) -> str:
        """What the run begins with, for people."""
        if self.kind == STATE:
            return f"the training state of run {self.run} at step {self.step:,}"
        return f"the averaged weights of run {self.run} at step {self.step:,}"


def named(words: str, option: str) -> tuple[str, int | None]:
    """("first", 600) of "first@600"; None for no step. BadInput, naming the option, for others."""
    run, at, step = words.partition("@")
    if not layout.is_run(run) or (at and not re.fullmatch(r"[0-9]{1,12}", step)):
        raise BadInput(f"{option} is {words!r}, but must be a run, or RUN@STEP for one of its "
                       "checkpoints")  # fmt: skip
    return run, int(step) if at else None


@dataclass(frozen=True)
class Start:
    """What a run is to begin with, not yet in its folder. file: what the copy is called there."""

    origin: Origin
    file: str
    content: bytes


def longer(run: str, store: str = "") -> str:
    """How a finished run is trained on, for people. store: --store as it was given."""
    more = f" --store {shlex.quote(store)}" if store else ""
    return (
        "train it for longer under a new name by `python -m launch submit NAME --continue-from "
        f"{run} --epochs N{more}`"
    )
