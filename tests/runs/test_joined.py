"""The parts of an attempt that is over become one object, which is only a copy of them."""

import itertools
from collections.abc import Callable

import pytest

from mimir.runs import joined, layout, notes, parts
from mimir.runs.attempts import SETTLED
from mimir.runs.head import Head
from mimir.runs.notes import Gone
from mimir.runs.parts import PartWriter, read_all, read_metrics, read_parts, tail
from mimir.runs.store import DOCUMENT
from tests.runs.memory import CountingStore

NOW = 1e6
MANY = 400
KEY = layout.joined_key("r", 1, "log")


@pytest.fixture
def store() -> CountingStore:
    """A run whose attempt 1 has printed two lines a part, and whose machine was seen to be gone."""
    made = CountingStore()
    made.clock = lambda: NOW
    for kind in ("log", "metrics"):
        writer = PartWriter(made, "r/a0001", kind)
        for number in range(1, MANY + 1):
            line = f"step {number}\nthrée\n" if kind == "log" else f'{{"step":{number}}}\n'
            writer.flush(line)
    notes.record_gone(made, "r", 1, Gone(NOW - SETTLED - 1, "over", "it had ended"))
    return made


def test_all_of_it_is_one_request_once_it_was_read(store: CountingStore) -> None:
    before = list(read_parts(store, "r", 1, "log"))
    assert list(read_all(store, "r", 1, "log")) == before
    again, took = store.count(lambda: list(read_all(store, "r", 1, "log")))
    assert (again, took) == (before, 1)
    head = Head(run="r", attempt=1, lineage=((1, 0),))
    rows, took = store.count(lambda: read_metrics(store, "r", head))
    assert took > MANY
    assert store.count(lambda: read_metrics(store, "r", head)) == (rows, 1)
    assert len(rows) == MANY


@pytest.mark.parametrize("why", ["its machine may be there", "just gone", "few", "large", "unread"])
def test_what_may_grow_or_is_no_gain_is_not_joined(
    store: CountingStore, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "its machine may be there":
        store.delete(layout.gone_key("r", 1))
    elif why == "just gone":
        store.clock = lambda: NOW - 2
    elif why == "few":
        monkeypatch.setattr(joined, "WORTH", MANY + 1)
    elif why == "large":
        monkeypatch.setattr(joined, "MOST", 100)
    taken = None if why != "unread" else MANY - 1
    read = list(itertools.islice(read_all(store, "r", 1, "log"), taken))
    assert len(read) == (taken or MANY)
    assert KEY not in store.objects


def test_an_attempt_that_ends_while_it_is_read_is_not_joined(store: CountingStore) -> None:
    """Its parts were listed when it could still write more of them."""
    store.delete(layout.gone_key("r", 1))
    reader = read_all(store, "r", 1, "log")
    next(reader)
    PartWriter(store, "r/a0001", "log").flush("the last words\n")
    notes.record_gone(store, "r", 1, Gone(NOW - SETTLED - 1, "over", "it had ended"))
    assert len(list(reader)) == MANY - 1
    assert list(read_all(store, "r", 1, "log"))[-1] == (MANY + 1, "the last words\n")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: b"{}\n" + data,
        lambda data: data.replace(b'"format":1', b'"format":2'),
        lambda data: data.replace(b"[1,", b'["x",'),
        lambda data: b"",
        lambda data: b"x" * (joined.MOST + joined.MOST_HEADER + 1),
    ],
)  # fmt: skip
def test_a_spoilt_copy_is_not_believed(
    store: CountingStore, spoil: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined, "MOST_HEADER", DOCUMENT)
    monkeypatch.setattr(joined, "MOST", DOCUMENT)
    before = list(read_all(store, "r", 1, "log"))
    store.put(KEY, spoil(store.objects[KEY].data))
    assert list(read_all(store, "r", 1, "log")) == before


@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize("lines", [1, 2, 3, 50, 2 * MANY, 10 * MANY])
def test_the_end_of_a_log(store: CountingStore, lines: int, is_joined: bool) -> None:
    whole = "".join(text for _, text in read_parts(store, "r", 1, "log"))
    if is_joined:
        list(read_all(store, "r", 1, "log"))
    (last, text), took = store.count(lambda: tail(store, "r", 1, lines))
    assert text == "".join(whole.splitlines(keepends=True)[-lines:])
    assert last == MANY
    assert took <= (1 if is_joined else 3 + max(lines, parts.READERS))


def test_the_end_of_no_log(store: CountingStore) -> None:
    assert tail(store, "r", 2, 50) == (0, "")
