"""A job that several runs share, seen from one of them: the job goes on for the others.

What Slurm shows is the job alone. Of one run's part of it the store tells: the request to stop is
what the job's program hears, and gone.json is what it leaves once the run's worker has ended
(launch/cluster/part.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launch.contract.provider import AttemptSpec
from mimir.errors import MimirError
from mimir.runs import notes
from mimir.runs.head import ENDED
from mimir.runs.notes import StopRequest
from mimir.runs.order import Shared
from mimir.runs.status import head_or_remembered
from mimir.runs.store import Store

_OF_A_RUN = re.compile(r"\[([a-z0-9][a-z0-9_-]{0,40})\] ")


@dataclass(frozen=True)
class Part:
    """A run's part of a job. attempt: of the run; shared: as its order has it."""

    store: Store
    run: str
    attempt: int
    shared: Shared

    @property
    def said(self) -> str:
        return f"attempt {self.attempt} of run {self.run}"

    def others(self, *, waits: bool) -> list[str]:
        """The other runs that need the job: neither ended nor gone on in another one. One that
        cannot be read needs it.

        waits: the job has not begun, so that who was asked to stop needs it no more, either.
        """
        return [run for run in self.shared.runs if run != self.run and self._needs(run, waits)]

    def ask_to_end(self) -> None:
        request = StopRequest(self.store.now(), "its launcher ends it")
        notes.record_stop(self.store, self.run, self.attempt, request)

    def has_ended(self) -> bool:
        """Whether the job's program has seen the end of the run's worker."""
        return notes.read_gone(self.store, self.run, self.attempt) is not None

    def _needs(self, run: str, waits: bool) -> bool:
        try:
            head, _ = head_or_remembered(self.store, run)
            order = notes.read_order(self.store, run, head.attempt) if head.attempt else None
            if order is None or order.shared is None or order.shared.job != self.shared.job:
                return False
            asked = waits and notes.stop_requested(self.store, run, head.attempt)
            gone = notes.read_gone(self.store, run, head.attempt)
        except MimirError:
            return True
        # After an eviction or a failure the job's program is about to raise the next attempt.
        left = gone is not None and gone.kind in ("over", "refused")
        return head.state not in ENDED and not asked and not left


def find(store: Store, spec: AttemptSpec) -> Part | None:
    """The attempt's part of a job that it shares; None if it has a job of its own."""
    order = notes.read_order(store, spec.run, spec.attempt)
    if order is None or order.shared is None:
        return None
    return Part(store, spec.run, spec.attempt, order.shared)


def lines_of(run: str, lines: Sequence[str]) -> list[str]:
    """Of a job's log, the lines of this run and those of no run; run: "" where one has it alone."""
    if not run:
        return list(lines)
    found = []
    for line in lines:
        mark = _OF_A_RUN.match(line)
        if mark is None or mark[1] == run:
            found.append(line[mark.end() :] if mark else line)
    return found
