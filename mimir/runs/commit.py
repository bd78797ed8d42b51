"""Attempts and commits: who may change a run, and how a checkpoint becomes part of it.

The launcher raises HEAD's attempt before it orders a machine; the worker's first act is to
claim exactly that attempt. From then on every change of HEAD by an older attempt, or by an
older process of the same attempt, fails: no lease and no clock is involved. Only a newer
attempt fences. An older one at HEAD is a folder shown as it was: the worker waits for more.

A commit is content first, under a key that no other writer can choose, then one swap of
HEAD. Deleted is only what that swap removed, and only below the own attempt: what an older
attempt left is collected by the launcher (`mimir.runs.collect`).
"""

import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mimir.errors import Corrupt, Fenced, NotFound, StoreError
from mimir.runs import layout, notes, orders
from mimir.runs.begin import change, must_be_at, must_have_reached
from mimir.runs.head import ENDED, REMOVED, Head, Kept, Register, fresh
from mimir.runs.retention import best_of, retain
from mimir.runs.store import Progress, Store, Stored

T = TypeVar("T")
Say = Callable[[str], None]

_log = logging.getLogger(__name__)


class Attempt:
    """An attempt held by this process. Made by `claim`; thread-safe as its register is."""

    def __init__(
        self, store: Store, run: str, number: int, owner: str, register: Register, say: Say
    ) -> None:
        self.store, self.run, self.number, self.owner = store, run, number, owner
        self._register = register
        self._say = say
        self._loaded: tuple[Kept, bytes, tuple[Kept, ...]] | None = None

    @classmethod
    def claim(
        cls,
        store: Store,
        run: str,
        attempt: int,
        owner: str | None = None,
        *,
        say: Say = _log.warning,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> "Attempt":
        """Take the attempt for this process: the first act of a worker.

        A restarted process of the same attempt fences its predecessor. Fenced if HEAD is at a
        newer attempt; while it is at an older one, this waits. An attempt that has ended (HEAD
        says so, or it has an outcome) is not taken: `ended` of the result says how it ended, and
        the caller only ends its machine.
        """
        register = Register(store, layout.head_key(run), sleep=sleep, rng=rng)
        name = owner or fresh(register.rng)
        self = cls(store, run, attempt, name, register, say)

        def running(head: Head) -> Head:
            must_have_reached(head, attempt)
            must_be_at(head, attempt)
            if over or head.state in ENDED:
                raise _Over
            lineage = head.lineage
            if not lineage or lineage[-1][0] != attempt:
                lineage = (*lineage, (attempt, head.step))
            return replace(head, owner=name, state="running", reason="", lineage=lineage)

        over = store.read(layout.outcome_key(run, attempt)) is not None
        with contextlib.suppress(_Over):
            change(register, running, say)
        return self

    @property
    def head(self) -> Head:
        """HEAD as this process last read or wrote it."""
        return self._register.head

    @property
    def ended(self) -> str:
        """ "" while this process holds the attempt, else one sentence on how it ended."""
        if self._holds(self.head):
            return ""
        head = self.head
        how = head.state if head.state in ENDED else "over, its outcome is written"
        return f"attempt {self.number} of {self.run} is {how}" + (
            f" ({head.reason})" if head.reason else ""
        )

    def confirm(self) -> None:
        """Ask the store whether the attempt is still ours; Fenced if not. Changes nothing."""
        found = self._register.peek()
        if found is None:
            raise Fenced(f"run {self.run} is gone: this process stops")
        self._must_hold(found)

    def commit(
        self,
        step: int,
        content: bytes | memoryview | Path,
        loss: float | None,
        progress: Progress | None = None,
    ) -> Kept:
        """Upload a checkpoint and make HEAD name it; only then it exists.

        step: optimizer steps done, not below HEAD's. loss: finite held-out loss or None. What an
        older attempt wrote is named no more afterwards (`inherit` copies it before).
        Fenced if the attempt was taken over. After any other StoreError HEAD is as before, or
        the commit lands late and the next one builds on it: training may go on.
        """
        if step < self.head.step:
            raise ValueError(f"step {step} is older than the committed step {self.head.step}")
        new = self._upload(step, content, loss, progress)
        before = self.head

        def committed(head: Head) -> Head:
            nonlocal before
            self._must_hold(head)
            before = head
            kept, best = retain(self._own(head), new)
            return replace(head, step=step, kept=kept, best=best, reason="")

        after = self._register.swap(committed)
        self._delete(set(before.kept) - set(after.kept))
        return new

    def load_newest(self, check: Callable[[bytes], T]) -> tuple[Kept, T] | None:
        """The newest checkpoint that is intact, with `check` of its bytes; None for a fresh start.

        `check` raises Corrupt for bytes it cannot use. What is missing or corrupt is reported
        and dropped from HEAD as soon as an older one has been read. Where HEAD is below the step
        from which this attempt was ordered, what the order remembers is tried too. Corrupt if
        there are checkpoints and none can be used: a run never starts over silently. Fenced if
        they are gone because the attempt was taken over.
        """
        unusable: dict[str, str] = {}
        known = self._known()
        for kept in reversed(known):
            try:
                content = self._fetch(kept)
                value = check(content)
            except (Corrupt, NotFound) as error:
                unusable[kept.key] = str(error)
                self._say(f"checkpoint of step {kept.step} cannot be used: {error}")
                continue
            if unusable:
                if kept in self.head.kept:
                    self._drop(unusable, kept)
                self._say(f"going on from step {kept.step} instead")
            usable = tuple(each for each in known if each.key not in unusable)
            self._loaded = (kept, content, usable)
            return kept, value
        if not unusable:
            return None
        # A process that was taken over while it read finds its checkpoints retired: no damage.
        self.confirm()
        raise Corrupt(
            f"none of the {len(unusable)} checkpoints of run {self.run} can be used (of the "
            f"newest: {next(iter(unusable.values()))}): restore one of them, or submit under "
            "another name"
        )

    def inherit(self) -> None:
        """Commit what was loaded, and the best checkpoint too, under this attempt's own keys.

        The first commit of an attempt that goes on: from then on HEAD names nothing that an older
        attempt's keys reach. Nothing is done where all of it is this attempt's own. Raises as
        `commit`, and may be called again then.
        """
        if self._loaded is None:
            return
        loaded, content, usable = self._loaded
        if any(each.attempt != self.number for each in (loaded, *self.head.kept)):
            copy = self._upload(loaded.step, content, loaded.loss)
            self._swap_in(loaded, [copy, *self._best_too(loaded, usable)])
        self._loaded = None

    def put_model(
        self, file: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        """Upload what the run gives its user; `finish` then makes HEAD name it."""
        key = layout.model_key(self.run, self.number, fresh(self._register.rng), file)
        return self.store.put_content(key, content, progress)

    def finish(self, state: str, reason: str = "", model: Stored | None = None) -> Head:
        """End the run as done, failed or stopped; the attempt changes nothing afterwards."""
        if state not in ENDED or state == REMOVED:
            raise ValueError(f"an attempt cannot end its run as {state!r}")

        def ended(head: Head) -> Head:
            self._must_hold(head)
            return replace(head, state=state, reason=reason, model=model or head.model)

        return self._register.swap(ended)

    def _holds(self, head: Head) -> bool:
        mine = head.attempt == self.number and head.owner == self.owner
        return mine and head.state == "running"

    def _must_hold(self, head: Head) -> None:
        if not self._holds(head):
            raise Fenced(
                f"run {self.run} is {head.state} in attempt {head.attempt} of owner "
                f"{head.owner or 'nobody'}; this process has attempt {self.number} and stops"
            )

    def _fetch(self, kept: Kept) -> bytes:
        try:
            return self.store.get(kept.key, size=kept.size, sha256=kept.sha256)
        except Corrupt:
            # Once more: a checkpoint is worth a second transfer before it is given up.
            return self.store.get(kept.key, size=kept.size, sha256=kept.sha256)

    def _known(self) -> tuple[Kept, ...]:
        """The checkpoints of HEAD, and those of the order if HEAD is below them, by step."""
        order = notes.read_order(self.store, self.run, self.number)
        missing = orders.shortfall(self.head, order)
        if order is None or not missing:
            return self.head.kept
        self._say(missing)
        remembered = [kept for kept in order.kept if kept not in self.head.kept]
        return tuple(sorted([*remembered, *self.head.kept], key=lambda kept: kept.step))

    def _own(self, head: Head) -> tuple[Kept, ...]:
        return tuple(kept for kept in head.kept if kept.attempt == self.number)

    def _upload(
        self,
        step: int,
        content: bytes | memoryview | Path,
        loss: float | None,
        progress: Progress | None = None,
    ) -> Kept:
        key = layout.checkpoint_key(self.run, self.number, step, fresh(self._register.rng))
        stored = self.store.put_content(key, content, progress)
        return Kept(stored.key, step, self.number, stored.size, stored.sha256, loss)

    def _best_too(self, loaded: Kept, usable: tuple[Kept, ...]) -> list[Kept]:
        """A copy of the best checkpoint, if that is another one and intact."""
        best = next((kept for kept in usable if kept.key == best_of(usable)), loaded)
        if best.step == loaded.step or best.attempt == self.number:
            return []
        try:
            return [self._upload(best.step, self._fetch(best), best.loss)]
        except (Corrupt, NotFound) as error:
            self._say(f"the best checkpoint, of step {best.step}, is lost: {error}")
            return []

    def _swap_in(self, loaded: Kept, copies: list[Kept]) -> None:
        def inherited(head: Head) -> Head:
            self._must_hold(head)
            by_step = {kept.step: kept for kept in (*self._own(head), *copies)}
            kept = tuple(by_step[step] for step in sorted(by_step))
            lineage = tuple(
                (a, loaded.step if a == self.number != loaded.attempt else s)
                for a, s in head.lineage
            )
            return replace(head, step=kept[-1].step, kept=kept, best=best_of(kept), lineage=lineage)

        self._register.swap(inherited)

    def _drop(self, unusable: dict[str, str], survivor: Kept) -> None:
        """The one change that lets HEAD's step go back; the reason is written with it."""

        def dropped(head: Head) -> Head:
            self._must_hold(head)
            kept = tuple(k for k in head.kept if k.key not in unusable)
            lineage = tuple(
                (a, min(s, survivor.step) if a == self.number else s) for a, s in head.lineage
            )
            reason = "dropped " + "; ".join(unusable.values())
            return replace(
                head,
                step=survivor.step,
                kept=kept,
                best=best_of(kept),
                lineage=lineage,
                reason=reason,
            )

        self._register.swap(dropped)

    def _delete(self, removed: set[Kept]) -> None:
        for kept in sorted(removed, key=lambda k: k.step):
            if kept.attempt != self.number:
                continue
            try:
                self.store.delete(kept.key)
            except StoreError as error:
                # Costs space until it is collected, and nothing else.
                self._say(f"could not delete the old checkpoint {kept.key}: {error}")


class _Over(Exception):
    """The attempt has ended: nothing to claim."""
