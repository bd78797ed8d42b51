"""Logs and metrics as parts: new objects as they grow, never an append.

    a0001/log/000001.txt  000002.txt …      a0001/metrics/000001.jsonl …

A part is there whole or not at all, so a machine that dies leaves what it sent. Parts are
created, not overwritten: a restarted process of the attempt goes on after its predecessor's.
A part of the metrics begins with a line that bears its format; a part of the log is what was
printed, and has none.
"""

import logging
import math
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

from mimir.errors import Conflict, Corrupt, StoreDenied, StoreError, StoreUnfit
from mimir.runs import codec, joined, layout, telemetry
from mimir.runs.head import Head
from mimir.runs.ranges import FLOAT32, MOST_STEPS
from mimir.runs.store import DOCUMENT, Store

FORMAT = 1
"""Of a part of the metrics."""
KINDS = {"log": ".txt", "metrics": ".jsonl"}
PART = DOCUMENT // 8
"""Characters of a part at most: with its escapes it is still a small object."""
AHEAD = 64
"""Parts that are fetched before the first of them is used."""
MOST_METRICS = 256 << 20
"""Characters of a run's metrics that are read: a row has some 250."""
MOST_ROW = 16 << 10
RECENT = 3
"""Attempts that are looked into for the last rows: one that leaves none costs a request, too."""
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PEPTIDE = re.compile(r"[A-Z]{1,20}")
# An outage of the store must not eat the machine's memory; a day of log is far below this.
LIMIT = 16 << 20
READERS = 32
_PART = re.compile(r"(\d{6}|[1-9]\d{6,8})(\.txt|\.jsonl)", re.ASCII)
_log = logging.getLogger(__name__)


class PartWriter:
    """Buffers text and writes it as parts. Thread-safe; `add` never waits for the store.

    prefix: `layout.attempt_prefix(run, attempt)`; kind: "log" or "metrics" (whole lines).
    on_error: called with a failed upload's error; its text stays for the next flush, by itself:
    it may have landed although its answer was lost, and only the same bytes can show that.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        kind: str,
        on_error: Callable[[StoreError], None] | None = None,
    ) -> None:
        self._store = store
        self._folder = f"{prefix}/{kind}/"
        self._suffix = KINDS[kind]
        self._header = f'{{"format":{FORMAT}}}\n' if kind == "metrics" else ""
        self._on_error = on_error or (lambda error: _log.warning("%s", error))
        self._buffer: list[str] = []
        self._size = 0
        self._dropped = 0
        self._unsure = ""
        self._number: int | None = None
        self._adding = threading.Lock()
        self._sending = threading.Lock()

    def add(self, text: str) -> None:
        """Buffer text. Beyond 16 Mi characters the oldest is dropped; `dropped` counts it."""
        with self._adding:
            self._buffer.append(text)
            self._size += len(text)
            while self._size > LIMIT and len(self._buffer) > 1:
                gone = self._buffer.pop(0)
                self._size -= len(gone)
                self._dropped += len(gone)

    def flush(self, text: str = "") -> bool:
        """Add `text`, then write all that is buffered as a part; False if some must wait."""
        if text:
            self.add(text)
        with self._sending:
            try:
                while self._unsure or self._take():
                    self._send(self._unsure.encode(errors="replace"))
                    self._unsure = ""
                return True
            except StoreError as error:
                self._on_error(error)
                return False

    @property
    def dropped(self) -> int:
        """Characters lost because the store was away for too long."""
        return self._dropped

    def _take(self) -> str:
        """Move what fits into one part out of the buffer; "" if there is nothing."""
        with self._adding:
            taken, left = "", PART
            while self._buffer and left > 0:
                text = self._buffer.pop(0)
                if len(text) > left:  # a row of metrics is far shorter than a part
                    if taken:
                        self._buffer.insert(0, text)
                        break
                    self._buffer.insert(0, text[left:])
                    text = text[:left]
                taken += text
                left -= len(text)
            self._size -= len(taken)
            self._unsure = self._header + taken if taken else ""
        return self._unsure

    def _send(self, data: bytes) -> None:
        if self._number is None:
            self._number = max(_numbers(self._store, self._folder, self._suffix), default=0)
        while True:
            key = f"{self._folder}{self._number + 1:06d}{self._suffix}"
            try:
                self._store.put_if_absent(key, data)
            except (StoreDenied, StoreUnfit):
                raise
            except Conflict:
                # A predecessor that still runs wrote this number, or our own lost request did.
                found = self._store.read(key)
                self._number += 1
                if found is None or found.data != data:
                    continue
                return
            self._number += 1
            return


def read_parts(
    store: Store, run: str, attempt: int, kind: str, after: int = 0
) -> Iterator[tuple[int, str]]:
    """(number, text) of the parts with a number above `after`, in order; for following a log.

    What is none of our parts, because it is too large or does not bear our format, is left out
    with a warning; in a log the sentence stands in its place.
    """
    wanted = [number for number in numbers(store, run, attempt, kind) if number > after]
    return read_these(store, run, attempt, kind, wanted)


def numbers(store: Store, run: str, attempt: int, kind: str) -> list[int]:
    """The numbers of the attempt's parts, in order."""
    return _numbers(store, _folder(run, attempt, kind), KINDS[kind])


def read_these(
    store: Store, run: str, attempt: int, kind: str, wanted: Sequence[int]
) -> Iterator[tuple[int, str]]:
    """As `read_parts`, of the parts with these numbers."""
    folder = _folder(run, attempt, kind)

    def text(number: int) -> str:
        try:
            return _text(store, f"{folder}{number:06d}{KINDS[kind]}", kind)
        except Corrupt as error:
            _log.warning("%s", error)
            return f"[{error}]\n" if kind == "log" else ""

    # A night's log has thousands of parts, and a bucket answers each in some 50 ms. Few are ahead
    # of the reader: all of them at once may be more than the memory holds.
    with ThreadPoolExecutor(READERS) as pool:
        for at in range(0, len(wanted), AHEAD):
            part = wanted[at : at + AHEAD]
            yield from zip(part, pool.map(text, part), strict=True)


def read_all(store: Store, run: str, attempt: int, kind: str) -> Iterator[tuple[int, str]]:
    """As `read_parts`, of an attempt that may be over: from one object where that was made."""
    joined_parts = joined.read(store, run, attempt, kind)
    if joined_parts is not None:
        yield from joined_parts
        return
    joiner = joined.Joiner(store, run, attempt, kind)
    for number, text in read_parts(store, run, attempt, kind):
        joiner.add(number, text)
        yield number, text
    joiner.finish()


def tail(store: Store, run: str, attempt: int, lines: int) -> tuple[int, str]:
    """The number of the log's last part, 0 if there is none, and its last `lines` lines.

    Read from the end, so that a long log takes few requests.
    """
    found = joined.read(store, run, attempt, "log")
    if found is None:
        found, left, missing = [], numbers(store, run, attempt, "log"), lines + 1
        while left and missing > 0:
            # As many as hold these lines if they are like those that were read.
            each = (lines + 1 - missing) / len(found) if found else 1.0
            count = max(READERS, min(len(left), math.ceil(missing / max(each, 0.1))))
            found = [*read_these(store, run, attempt, "log", left[-count:]), *found]
            left = left[:-count]
            missing = lines + 1 - sum(text.count("\n") for _, text in found)
    text = "".join(text for _, text in found)
    return (found[-1][0] if found else 0), "".join(text.splitlines(keepends=True)[-lines:])


def since(store: Store, run: str, attempt: int, at: float) -> tuple[int, str]:
    """The number of the log's last part, 0 if there is none, and what was written from `at` on,
    unix s by the store's clock, with what came a few seconds before in the same part.

    Parts are written one after another, so that few requests find the first of them.
    """
    found = numbers(store, run, attempt, "log")
    folder = _folder(run, attempt, "log")

    def written(number: int) -> float:
        part = store.read(f"{folder}{number:06d}{KINDS['log']}")
        return part.written if part else math.inf

    wanted = found[bisect_left(found, at, key=written) :]
    text = "".join(text for _, text in read_these(store, run, attempt, "log", wanted))
    return (found[-1] if found else 0), text


def _folder(run: str, attempt: int, kind: str) -> str:
    return f"{layout.attempt_prefix(run, attempt)}/{kind}/"


def _text(store: Store, key: str, kind: str) -> str:
    """A part without the line that bears its format."""
    text = store.get(key, limit=DOCUMENT).decode(errors="replace")
    if kind != "metrics":
        return text
    header, _, rows = text.partition("\n")
    codec.check_format(codec.decode(header, key), FORMAT, key, machines=True)
    return rows


def read_metrics(store: Store, run: str, head: Head) -> list[dict[str, Any]]:
    """The run's metrics as if nothing had ever died: one row per step, in order of steps.

    Rows of one step are merged, later values win. Rows of an attempt count up to the step that a
    later attempt went on from: what a killed attempt wrote beyond its last checkpoint vanishes.
    What is no row (see `metrics_row`) is left out.

    Raises:
        Corrupt: there is more than any run writes.
    """
    merged: dict[int, dict[str, Any]] = {}
    taken = 0
    # From the end: the least step that a later attempt went on from.
    steps = [step for _, step in head.lineage[:0:-1]]
    limits = [*reversed([*accumulate(steps, min)]), None]
    for (attempt, _), limit in zip(head.lineage, limits, strict=False):
        for _, text in read_all(store, run, attempt, "metrics"):
            taken += len(text)
            if taken > MOST_METRICS:
                raise Corrupt(f"the metrics of run {run} have more than {MOST_METRICS:,} letters")
            for row in filter(None, map(metrics_row, text.split("\n"))):
                if limit is None or row["step"] <= limit:
                    merged.setdefault(row["step"], {}).update(row)
    return [merged[step] for step in sorted(merged)]


def recent_metrics(store: Store, run: str, head: Head, most: int) -> list[dict[str, Any]]:
    """The last rows of the run's metrics, in order of steps, read from at most `most` parts of the
    RECENT newest attempts; as `read_metrics` else."""
    merged: dict[int, dict[str, Any]] = {}
    limit = math.inf
    for attempt, began in reversed(head.lineage[-RECENT:]):
        found = numbers(store, run, attempt, "metrics")[-most:] if most > 0 else []
        own: dict[int, dict[str, Any]] = {}
        for _, text in read_these(store, run, attempt, "metrics", found):
            for row in filter(None, map(metrics_row, text.split("\n"))):
                if row["step"] <= limit:
                    own.setdefault(row["step"], {}).update(row)
        for step, row in own.items():
            merged[step] = {**row, **merged.get(step, {})}
        most, limit = most - len(found), min(limit, began)
        if most <= 0:
            break
    return [merged[step] for step in sorted(merged)]


def metrics_row(line: str) -> dict[str, Any] | None:
    """A row of metrics from its line; None if it is none. A machine wrote it.

    A row is a JSON object with a whole number "step", and under names of small letters finite
    numbers or null, a machine's figures within what they can be; under "samples" there may be
    peptides. What else it holds is left out.
    """
    if len(line) > MOST_ROW:
        return None
    try:
        row = codec.decode(line, "a row")
    except Corrupt:
        return None
    if type(row.get("step")) is not int or not 0 <= row["step"] <= MOST_STEPS:
        return None
    return {
        name: value
        for name, value in row.items()
        if _COLUMN.fullmatch(name)
        if value is None or (_are_peptides if name == "samples" else _is_number)(value)
        if telemetry.is_possible(name, value)
    }


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < FLOAT32


def _are_peptides(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, str) and _PEPTIDE.fullmatch(one) for one in value
    )


def _numbers(store: Store, folder: str, suffix: str) -> list[int]:
    """The numbers of the parts in a folder, in order; what is named otherwise is no part."""
    names = (key[len(folder) :] for key in store.list(folder))
    found = (
        int(match[1]) for name in names if (match := _PART.fullmatch(name)) if match[2] == suffix
    )
    return sorted(set(found))
