"""Attempts and commits: who may change a run, and how a checkpoint becomes part of it.

The launcher raises HEAD's attempt before it orders a machine; the worker's first act is to
claim exactly that attempt. From then on every change of HEAD by an older attempt, or by an
older process of the same attempt, fails: no lease and no clock is involved.

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

from mimir.errors import BadInput, Corrupt, Fenced, NotFound, StoreError
from mimir.runs import layout
from mimir.runs.head import ENDED, Head, Kept, Register, fresh, look, pauses
from mimir.runs.store import Progress, Store, Stored

T = TypeVar("T")
Say = Callable[[str], None]

NEWEST = 3
_log = logging.getLogger(__name__)


def raise_attempt(
    store: Store,
    run: str,
    *,
    after: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> int:
    """Begin the next attempt of a run, fencing every older one; its number.

    Allowed after failed and stopped: whoever calls has decided so. `after`: the attempt that
    is to be replaced; Fenced if HEAD is at another one, for somebody was quicker. BadInput if
    there is no such run, or if it is done: its configuration is frozen, so nothing is left to
    train.
    """

    def queued(head: Head) -> Head:
        if after is not None and head.attempt != after:
            raise Fenced(
                f"run {run} is at attempt {head.attempt} and no longer at {after}: somebody else "
                "has begun one meanwhile"
            )
        if head.state == "done":
            raise BadInput(f"run {run} is done: pull its model, or submit under another name")
        return replace(head, attempt=head.attempt + 1, owner="", state="queued", reason="")

    return _change(Register(store, layout.head_key(run), sleep=sleep, rng=rng), queued).attempt


def end_attempt(
    store: Store,
    run: str,
    attempt: int,
    state: str,
    reason: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    rng: random.Random | None = None,
) -> Head:
    """Write from outside that a run ended as "failed" or "stopped", e.g. for want of a machine.

    A worker that still holds the attempt is fenced by this. Fenced if HEAD is at another attempt.
    """
    if state not in ("failed", "stopped"):
        raise ValueError(f"{state!r} cannot be declared from outside")

    def ended(head: Head) -> Head:
        _must_be_at(head, attempt)
        if head.state == "done":
            raise BadInput(f"run {run} is done already")
        return replace(head, state=state, reason=reason, owner="")

    return _change(Register(store, layout.head_key(run), sleep=sleep, rng=rng), ended)


def retain(kept: tuple[Kept, ...], new: Kept) -> tuple[tuple[Kept, ...], str | None]:
    """(what to keep, key of the best): the newest three and the lowest loss.

    A checkpoint of the same step is replaced by the new one.
    """
    ranked = sorted([*(old for old in kept if old.step != new.step), new], key=lambda k: k.step)
    best = best_of(tuple(ranked))
    return tuple(k for k in ranked if k in ranked[-NEWEST:] or k.key == best), best


def best_of(kept: tuple[Kept, ...]) -> str | None:
    """Key of the lowest loss, the earlier one if equal; None if no loss was measured."""
    measured = [(k.loss, k.step, k.key) for k in kept if k.loss is not None]
    return min(measured)[2] if measured else None


class Attempt:
    """An attempt held by this process. Made by `claim`; thread-safe as its register is."""

    def __init__(
        self, store: Store, run: str, number: int, owner: str, register: Register, say: Say
    ) -> None:
        self.store, self.run, self.number, self.owner = store, run, number, owner
        self._register = register
        self._say = say

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

        A restarted process of the same attempt fences its predecessor. Fenced if HEAD is at
        another attempt. An attempt that has ended (HEAD says so, or it has an outcome) is not
        taken: `ended` of the result says how it ended, and the caller only ends its machine.
        """
        register = Register(store, layout.head_key(run), sleep=sleep, rng=rng)
        name = owner or fresh(register.rng)
        self = cls(store, run, attempt, name, register, say)

        def running(head: Head) -> Head:
            _must_be_at(head, attempt)
            if over or head.state in ENDED:
                raise _Over
            lineage = head.lineage
            if not lineage or lineage[-1][0] != attempt:
                lineage = (*lineage, (attempt, head.step))
            return replace(head, owner=name, state="running", reason="", lineage=lineage)

        over = store.read(layout.outcome_key(run, attempt)) is not None
        with contextlib.suppress(_Over):
            _change(register, running)
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
        found = look(self.store, self.run)
        if found is None:
            raise Fenced(f"run {self.run} is gone: this process stops")
        self._must_hold(found[0])

    def commit(
        self,
        step: int,
        content: bytes | memoryview | Path,
        loss: float | None,
        progress: Progress | None = None,
    ) -> Kept:
        """Upload a checkpoint and make HEAD name it; only then it exists.

        step: optimizer steps done, not below HEAD's. loss: finite held-out loss or None.
        Fenced if the attempt was taken over. After any other StoreError HEAD is as before, or
        the commit lands late and the next one builds on it: training may go on.
        """
        if step < self.head.step:
            raise ValueError(f"step {step} is older than the committed step {self.head.step}")
        key = layout.checkpoint_key(self.run, self.number, step, fresh(self._register.rng))
        stored = self.store.put_content(key, content, progress)
        new = Kept(stored.key, step, self.number, stored.size, stored.sha256, loss)
        before = self.head

        def committed(head: Head) -> Head:
            nonlocal before
            self._must_hold(head)
            before = head
            kept, best = retain(head.kept, new)
            return replace(head, step=step, kept=kept, best=best, reason="")

        after = self._register.swap(committed)
        self._delete(set(before.kept) - set(after.kept))
        return new

    def load_newest(
        self, check: Callable[[bytes], T], say: Say | None = None
    ) -> tuple[Kept, T] | None:
        """The newest checkpoint that is intact, with `check` of its bytes; None for a fresh start.

        `check` raises Corrupt for bytes it cannot use. What is missing or corrupt is reported
        and dropped from HEAD as soon as an older one has been read. Corrupt if HEAD names
        checkpoints and none can be used: a run never starts over silently. Fenced if they are
        gone because the attempt was taken over.
        """
        say = say or self._say
        unusable: dict[str, str] = {}
        for kept in reversed(self.head.kept):
            try:
                value = check(self._fetch(kept))
            except (Corrupt, NotFound) as error:
                unusable[kept.key] = str(error)
                say(f"checkpoint of step {kept.step} cannot be used: {error}")
                continue
            if unusable:
                self._drop(unusable, kept)
                say(f"going on from step {kept.step} instead")
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

    def put_model(
        self, file: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        """Upload what the run gives its user; `finish` then makes HEAD name it."""
        key = layout.model_key(self.run, self.number, fresh(self._register.rng), file)
        return self.store.put_content(key, content, progress)

    def finish(self, state: str, reason: str = "", model: Stored | None = None) -> Head:
        """End the run as done, failed or stopped; the attempt changes nothing afterwards."""
        if state not in ENDED:
            raise ValueError(f"a run ends as one of {', '.join(ENDED)}, not as {state!r}")

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


def _must_be_at(head: Head, attempt: int) -> None:
    if head.attempt != attempt:
        raise Fenced(
            f"run {head.run} is at attempt {head.attempt}, this is attempt {attempt}: "
            "a newer one was ordered (or this one never was), this process stops"
        )


def _change(register: Register, make: Callable[[Head], Head]) -> Head:
    """Read and swap until it succeeds or `make` refuses: for changes that contend by design.

    Here another writer's nonce is no fence: a last commit of the attempt being replaced may
    come between read and swap.
    """
    for pause in pauses(register.rng, register.tries):
        head = register.read()
        if head is None:
            raise BadInput(f"there is no {register.key} in {register.store.url}: check the name")
        make(head)
        try:
            return register.swap(make)
        except Fenced as error:
            last = error
            register.sleep(pause)
    raise StoreError(f"{register.key} is contended, gave up after {register.tries} tries: {last}")
