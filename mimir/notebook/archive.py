"""Writes one commit of a run as one file, and reads it back into another store.

The file is a safetensors file: each object of the run is a tensor of bytes under its key. It holds
what the run goes on from, so of its checkpoints the newest only, and its HEAD names no other. Its
name says which commit it is, and the SHA-256 of its bytes:

    <run>.step-00012000.attempt-0003.change-00000045.<sha256>.safetensors

What is read back is untrusted. An object is taken only if this run has it under this key, if its
size is one that such an object can have, and, where HEAD or run.json names a digest, if it has that
digest. It reaches the store through the store's own functions, which follow no link.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from mimir.config import CHECKPOINT_COPIES, MODEL_COPIES, Config
from mimir.errors import INTERRUPTED, BadInput, Corrupt, NotFound, OtherFormat, StoreError
from mimir.runs import content, joined, layout, newest, notes, parts
from mimir.runs.attempts import SETTLED
from mimir.runs.head import LIVE, Head
from mimir.runs.notes import Gone, Outcome
from mimir.runs.record import RunRecord, read_run
from mimir.runs.retention import best_of
from mimir.runs.status import read_head
from mimir.runs.store import DOCUMENT, Store, Stored, check_key, verify

BIGGEST = 16 << 30
"""Bytes of an archive at most: a large preset's has half a gigabyte."""
MOST_OBJECTS = 200_000
"""Of an archive: a night's log and metrics have some ten thousand parts."""
MOST_CHANGES = 10**14
"""Of HEAD, in a name: so that there is room for those that follow."""
_TRIES = 5
"""Looks at a run whose checkpoints are replaced while they are read."""
_NAME = re.compile(
    r"([a-z0-9][a-z0-9_-]{0,40})\.step-(\d{8,13})\.attempt-(\d{4,9})\.change-(\d{8,16})"
    r"\.([0-9a-f]{64})\.safetensors",
    re.ASCII,
)


@dataclass(frozen=True, order=True)
class Mark:
    """Which commit an archive is. They are ordered as the commits of a run follow each other.

    change: HEAD's seq, which only grows, also where an attempt's number is used again because an
    earlier one of that number was lost. sha256: of the archive's bytes.
    """

    change: int
    attempt: int
    step: int
    sha256: str
    run: str

    @property
    def name(self) -> str:
        """Of the file."""
        return (
            f"{self.run}.step-{self.step:08d}.attempt-{self.attempt:04d}"
            f".change-{self.change:08d}.{self.sha256}.safetensors"
        )

    @classmethod
    def parse(cls, name: str, run: str) -> "Mark | None":
        """Of an archive's name; None for any other name, also that of another run's."""
        found = _NAME.fullmatch(name)
        if not found or found[1] != run:
            return None
        mark = cls(int(found[4]), int(found[3]), int(found[2]), found[5], run)
        return mark if mark.name == name and mark.change <= MOST_CHANGES else None


def write(store: Store, run: str, path: Path) -> Mark:
    """Write the run's newest commit to the file `path`, whatever is there.

    Raises:
        BadInput: there is no such run, or it has no checkpoint yet.
        StoreError, Corrupt: the store does not give what HEAD names, or there is no room.
    """
    for _ in range(_TRIES):
        try:
            head, objects = _objects(store, run)
            break
        except NotFound as error:  # a newer commit has taken its place
            last = error
    else:
        raise StoreError(f"run {run} changes faster than it can be copied: {last}")
    tensors = {
        key: np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
        for key, data in objects.items()
    }
    try:
        safetensors.numpy.save_file(tensors, path)
    except (safetensors.SafetensorError, OSError) as error:
        path.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error}") from error
    return Mark(head.seq, head.attempt, head.step, content.sha256(path)[0], run)


def _objects(store: Store, run: str) -> tuple[Head, dict[str, bytes]]:
    """HEAD as the archive has it, and the objects by key."""
    record, head = read_run(store, run), read_head(store, run)
    kept = head.newest()
    if kept is None:
        raise BadInput(f"run {run} has no checkpoint yet")
    head = replace(head, kept=(kept,), best=best_of((kept,)))
    named = _named(record, head)
    keys = [*store.list(f"{run}/")]
    if _join(store, run, keys):
        keys = [*store.list(f"{run}/")]
    copied = tuple(_parts(run, n, kind) for n, kind in _joined(run, keys))
    objects = {}
    for key in keys:
        if key == layout.head_key(run):
            objects[key] = head.to_bytes()
        elif key in named:
            objects[key] = store.get(key, size=named[key].size, sha256=named[key].sha256)
        elif (most := _most(key, run, head)) and not key.startswith(copied):
            objects[key] = store.get(key, limit=most)  # or the archive would be refused
    missing = [key for key in named if key not in objects]
    if missing:
        raise NotFound(f"there is no {missing[0]}")
    return head, objects


def _join(store: Store, run: str, keys: list[str]) -> bool:
    """Let the parts of attempts that are gone be one object each; whether any may have become one.

    A night's log has thousands of parts, and each costs a write to the disk when it is read back.
    """
    known, tried = set(keys), False
    for number in {n for key in keys if (n := layout.parse_attempt(run, key))}:
        gone = notes.read_gone(store, run, number)
        if gone is None or store.now() - gone.time <= SETTLED:
            continue
        for kind in parts.KINDS:
            if layout.joined_key(run, number, kind) not in known:
                for _ in parts.read_all(store, run, number, kind):
                    tried = True
    return tried


def _joined(run: str, keys: list[str]) -> list[tuple[int, str]]:
    """(attempt, kind) of which there is an object with all parts."""
    found = {(n, kind) for key in keys if (n := layout.parse_attempt(run, key))
             for kind in parts.KINDS if key == layout.joined_key(run, n, kind)}  # fmt: skip
    return sorted(found)


def _parts(run: str, attempt: int, kind: str) -> str:
    """What the keys of an attempt's parts begin with."""
    return f"{layout.attempt_prefix(run, attempt)}/{kind}/"


def _named(record: RunRecord, head: Head) -> dict[str, Stored]:
    """The objects of which run.json or HEAD says size and digest."""
    found = [record.data, record.code, *record.own, head.model]
    found += [Stored(kept.key, kept.size, kept.sha256) for kept in head.kept]
    return {each.key: each for each in found if each is not None}


def _most(key: str, run: str, head: Head) -> int:
    """Bytes that another object of the run may have; 0 if an archive has no such object."""
    if key in (layout.record_key(run), layout.head_key(run), layout.about_key(run)):
        return DOCUMENT
    if key == layout.final_key(run):
        return 2 * DOCUMENT
    number = layout.parse_attempt(run, key)
    if number is None or number > head.attempt or key == layout.upload_key(run, number):
        return 0
    if layout.parse_checkpoint(run, key) or layout.is_model(run, key):
        return 0
    return joined.MOST + joined.MOST_HEADER if key.endswith("-joined") else DOCUMENT


class Archive:
    """An archive that was checked, in a file that nobody else writes.

    Raises:
        Corrupt: it is none, or holds what no run has.
        OtherFormat: another Mimir wrote it.
    """

    def __init__(self, path: Path, mark: Mark) -> None:
        self.path, self.mark = path, mark
        run, where = mark.run, mark.name
        with _opened(path, where) as file:
            sizes = {key: _size(file, key, where) for key in file.keys()}  # noqa: SIM118
            if len(sizes) > MOST_OBJECTS:
                raise Corrupt(f"{where} has {len(sizes)} objects, {MOST_OBJECTS} are expected")
            first = [layout.record_key(run), layout.head_key(run)]
            for key in first:
                if not 0 < sizes.get(key, 0) <= DOCUMENT:
                    raise Corrupt(f"{where} has no {key}")
            try:
                self.record = RunRecord.from_bytes(_bytes(file, first[0]), first[0])
                self.head = Head.from_bytes(_bytes(file, first[1]), first[1])
                self._check(sizes)
            except OtherFormat:
                raise
            except BadInput as error:
                raise Corrupt(f"{where}: {error}") from error
            for key, stored in _named(self.record, self.head).items():
                verify(_bytes(file, key), key, stored.size, stored.sha256)
        self.keys = tuple(sizes)

    def _check(self, sizes: dict[str, int]) -> None:
        """Is it the commit of its name, with all that it needs, and nothing else?"""
        head, record, mark = self.head, self.record, self.mark
        run, where = mark.run, mark.name
        if record.name != run or record.sweep:
            raise Corrupt(f"{where} is of another run, {record.name!r}")
        if (head.attempt, head.seq, head.step) != (mark.attempt, mark.change, mark.step):
            raise Corrupt(f"{where} holds another commit, of step {head.step}")
        if len(head.kept) != 1:
            raise Corrupt(f"{where} names {len(head.kept)} checkpoints, one is expected")
        config = Config.from_dict(record.config)
        config.check_size(head.kept[0].key, head.kept[0].size, CHECKPOINT_COPIES)
        if record.origin is not None and record.origin.start is not None:
            start = record.origin.start
            config.check_size(start.key, start.size, CHECKPOINT_COPIES)
        if head.model is not None:
            config.check_size(head.model.key, head.model.size, MODEL_COPIES)
        named = _named(record, head)
        for key, count in sizes.items():
            most = named[key].size if key in named else _most(key, run, head)
            try:
                check_key(key)
            except ValueError as error:
                raise Corrupt(f"{where} has an {error}") from None
            if not most or count > most:
                raise Corrupt(f"{where} has {count} bytes of {key!r}, {most} are expected at most")
        for key in (*named, layout.order_key(run, head.attempt)):
            if key not in sizes:
                raise Corrupt(f"{where} has no {key}")

    def install(
        self, store: Store, progress: Callable[[int], None] = lambda count: None, after: int = -1
    ) -> None:
        """Write the run into a store that does not have it; run.json comes last.

        Until then no command sees a run there, and after a kill it is installed again. The attempt
        that made the commit cannot work in this store, so it is over here.

        Args:
            progress: told the bytes that were written.
            after: HEAD's seq becomes larger than this: that of a newer archive which is not whole,
                and which must not count for more than what is trained from here.
        """
        run, head = self.mark.run, replace(self.head, seq=max(self.head.seq, after + 1))
        named, last = _named(self.record, head), [layout.head_key(run), layout.record_key(run)]
        with _opened(self.path, self.mark.name) as file:
            for key in sorted(self.keys, key=lambda key: last.index(key) if key in last else -1):
                if key == last[0]:
                    self._end(store)
                data = head.to_bytes() if key == last[0] else _bytes(file, key)
                if key in named:
                    store.put_content(key, data)
                else:
                    store.put(key, data)
                progress(len(data))
        newest.add(store, newest.NewRun(run, self.record.preset, self.record.created))

    def _end(self, store: Store) -> None:
        """Write down that the attempt is over, and its machine gone."""
        run, head, now = self.mark.run, self.head, store.now()
        if head.state in LIVE:
            over = Outcome(INTERRUPTED, "its session is over", now, head.step, "signal")
            notes.record_outcome(store, run, head.attempt, over)
        gone = Gone(now, "over", "the run was taken from Drive to another machine")
        notes.record_gone(store, run, head.attempt, gone)


@contextlib.contextmanager
def _opened(path: Path, where: str) -> Iterator[Any]:
    try:
        opened = safetensors.safe_open(path, framework="numpy")
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise Corrupt(f"{where} is damaged: {error}") from error
    with opened as file:
        yield file


def _size(file: Any, key: str, where: str) -> int:
    part = file.get_slice(key)
    if part.get_dtype() != "U8" or len(part.get_shape()) != 1:
        raise Corrupt(f"{where}: {key!r} is no bytes")
    return int(part.get_shape()[0])


def _bytes(file: Any, key: str) -> bytes:
    return bytes(file.get_tensor(key).tobytes())
