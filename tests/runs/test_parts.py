import json
import threading

import pytest

from mimir.errors import Corrupt, StoreError
from mimir.runs import parts
from mimir.runs.head import Head
from mimir.runs.parts import PartWriter, read_metrics, read_parts, recent_metrics
from mimir.runs.store import DOCUMENT, Store
from tests.runs.memory import CountingStore, MemoryStore


def test_parts_grow_and_are_followed(store: Store) -> None:
    writer = PartWriter(store, "r/a0001", "log")
    assert writer.flush()
    assert list(store.list("r/")) == []
    writer.add("one\n")
    writer.add("two\n")
    assert writer.flush()
    assert writer.flush("thrée\n")
    assert list(store.list("r/")) == ["r/a0001/log/000001.txt", "r/a0001/log/000002.txt"]
    assert list(read_parts(store, "r", 1, "log")) == [(1, "one\ntwo\n"), (2, "thrée\n")]
    assert list(read_parts(store, "r", 1, "log", after=1)) == [(2, "thrée\n")]
    assert list(read_parts(store, "r", 2, "log")) == []


def test_what_was_written_lately_is_found_by_few_requests() -> None:
    store = CountingStore()
    writer = PartWriter(store, "r/a0001", "log")
    for minute in range(200):
        store.clock = lambda minute=minute: 60.0 * minute
        writer.flush(f"minute {minute}\n")
    for at, first in ((60.0 * 195, 195), (60.0 * 194 + 1, 195), (-5.0, 0), (1e9, 200)):
        (last, text), asked = store.count(lambda at=at: parts.since(store, "r", 1, at))
        assert (last, text) == (200, "".join(f"minute {n}\n" for n in range(first, 200)))
        assert asked <= 1 + 9 + (200 - first)  # the listing, a search by halves, and what is shown
    assert parts.since(store, "r", 2, 0.0) == (0, "")


def test_a_restarted_process_goes_on_after_its_predecessor(memory) -> None:
    first = PartWriter(memory, "r/a0001", "log")
    first.flush("1")
    second = PartWriter(memory, "r/a0001", "log")
    second.flush("2")
    first.flush("1 again")
    second.flush("2 again")
    texts = [text for _, text in read_parts(memory, "r", 1, "log")]
    assert texts == ["1", "2", "1 again", "2 again"]


def test_a_failed_upload_is_kept_and_reported(memory, monkeypatch) -> None:
    errors: list[StoreError] = []
    writer = PartWriter(memory, "r/a0001", "log", errors.append)
    create = memory.put_if_absent

    def fail(key: str, data: bytes) -> str:
        raise StoreError("503")

    monkeypatch.setattr(memory, "put_if_absent", fail)
    assert not writer.flush("one\n")
    assert not writer.flush("two\n")
    assert len(errors) == 2
    monkeypatch.setattr(memory, "put_if_absent", create)
    assert writer.flush("three\n")
    assert [text for _, text in read_parts(memory, "r", 1, "log")] == ["one\n", "two\nthree\n"]


def test_a_lost_answer_does_not_double_a_part(memory, monkeypatch) -> None:
    writer = PartWriter(memory, "r/a0001", "log", lambda error: None)
    create = memory.put_if_absent

    def lost(key: str, data: bytes) -> str:
        create(key, data)
        raise StoreError("timeout")

    monkeypatch.setattr(memory, "put_if_absent", lost)
    assert not writer.flush("one\n")
    writer.add("two\n")  # what comes meanwhile does not make it another part
    monkeypatch.setattr(memory, "put_if_absent", create)
    assert writer.flush()
    assert [text for _, text in read_parts(memory, "r", 1, "log")] == ["one\n", "two\n"]


def test_add_does_not_wait_for_the_store(memory, monkeypatch) -> None:
    writer = PartWriter(memory, "r/a0001", "log")
    sending, go_on = threading.Event(), threading.Event()
    create = memory.put_if_absent

    def slow(key: str, data: bytes) -> str:
        sending.set()
        assert go_on.wait(5)
        return create(key, data)

    monkeypatch.setattr(memory, "put_if_absent", slow)
    flusher = threading.Thread(target=writer.flush, args=("one\n",))
    flusher.start()
    assert sending.wait(5)
    writer.add("two\n")
    go_on.set()
    flusher.join()
    writer.flush()
    assert [text for _, text in read_parts(memory, "r", 1, "log")] == ["one\n", "two\n"]


def test_a_long_outage_drops_the_oldest(memory, monkeypatch) -> None:
    monkeypatch.setattr(parts, "LIMIT", 10)
    writer = PartWriter(memory, "r/a0001", "log")
    for text in ("aaaa\n", "bbbb\n", "cccc\n"):
        writer.add(text)
    assert writer.dropped == 5
    writer.flush()
    assert [text for _, text in read_parts(memory, "r", 1, "log")] == ["bbbb\ncccc\n"]


def _rows(store: MemoryStore, attempt: int, *rows: dict) -> None:
    writer = PartWriter(store, f"r/a{attempt:04d}", "metrics")
    for row in rows:
        writer.flush(json.dumps(row) + "\n")


def test_metrics_of_a_killed_attempt_end_where_the_next_began(memory) -> None:
    _rows(memory, 1, *({"step": s, "by": 1} for s in (0, 10, 20, 30, 40)))
    _rows(memory, 2, *({"step": s, "by": 2} for s in (30, 40)))
    head = Head(run="r", attempt=2, lineage=((1, 0), (2, 20)))
    assert [(row["step"], row["by"]) for row in read_metrics(memory, "r", head)] == [
        (0, 1),
        (10, 1),
        (20, 1),
        (30, 2),
        (40, 2),
    ]


def test_a_fallback_also_ends_the_attempts_before(memory) -> None:
    _rows(memory, 1, *({"step": s, "by": 1} for s in (10, 20, 30)))
    _rows(memory, 2, *({"step": s, "by": 2} for s in (30, 40)))
    _rows(memory, 3, {"step": 30, "by": 3})
    head = Head(run="r", attempt=3, lineage=((1, 0), (2, 20), (3, 10)))
    rows = read_metrics(memory, "r", head)
    assert [(row["step"], row["by"]) for row in rows] == [(10, 1), (30, 3)]
    assert read_metrics(memory, "r", Head(run="r", attempt=3)) == []


def test_the_last_rows_take_few_requests() -> None:
    store = CountingStore()
    for attempt, first, last in ((1, 1, 60), (2, 41, 45)):
        writer = PartWriter(store, f"r/a{attempt:04d}", "metrics")
        for step in range(first, last + 1):
            writer.flush(json.dumps({"step": step, "by": attempt}) + "\n")
    head = Head(run="r", attempt=2, lineage=((1, 0), (2, 40)))
    found, took = store.count(lambda: recent_metrics(store, "r", head, 30))
    steps = [(row["step"], row["by"]) for row in found]
    assert steps == [*((n, 1) for n in range(36, 41)), *((n, 2) for n in range(41, 46))]
    assert took <= 32
    assert recent_metrics(store, "r", head, 3) == read_metrics(store, "r", head)[-3:]
    empty = Head(run="r", attempt=200, lineage=tuple((n, 0) for n in range(1, 201)))
    found, took = store.count(lambda: recent_metrics(store, "r", empty, 30))
    assert (found, took) == ([], parts.RECENT)


def test_rows_of_one_step_are_merged_and_rubbish_is_left_out(memory) -> None:
    writer = PartWriter(memory, "r/a0001", "metrics")
    writer.flush('{"step":1,"loss":3}\n{"step":1,"val":4}\n{"half\n[1]\n{"loss":1}\n')
    head = Head(run="r", attempt=1, lineage=((1, 0),))
    writer.flush('{"step":1,"loss":2}\n')  # the later value wins
    assert recent_metrics(memory, "r", head, 9) == read_metrics(memory, "r", head)
    assert read_metrics(memory, "r", head) == [{"step": 1, "loss": 2, "val": 4}]


@pytest.mark.parametrize(
    "row",
    [
        '{"step":1,"loss":NaN}',
        '{"step":1,"loss":1e999}',
        '{"step":true}',
        '{"step":-1}',
        '{"step":1' + "0" * 30 + "}",
        '{"step":1,"deep":' + "[" * 9_999 + "}",
        '{"step":1,"long":"' + "x" * parts.MOST_ROW + '"}',
    ],
)
def test_rows_that_are_none(memory, row: str) -> None:
    writer = PartWriter(memory, "r/a0001", "metrics")
    writer.flush(row + '\n{"step":2,"loss":3,"val":null,"samples":["ACDE"]}\n')
    head = Head(run="r", attempt=1, lineage=((1, 0),))
    kept = {"step": 2, "loss": 3, "val": None, "samples": ["ACDE"]}
    assert read_metrics(memory, "r", head) == [kept]


@pytest.mark.parametrize(
    "column",
    [
        '"loss":"x"',
        '"loss":1e39',
        '"samples":"AC"',
        '"samples":[1]',
        '"samples":5',
        '"a b":1',
        '"L":1',
        '"x":{}',
    ],
)
def test_what_is_no_column_is_left_out(column: str) -> None:
    assert parts.metrics_row(f'{{"step":1,"norm":2,{column}}}') == {"step": 1, "norm": 2}


def test_what_is_no_part_is_left_out(memory) -> None:
    PartWriter(memory, "r/a0001", "log").flush("one\n")
    PartWriter(memory, "r/a0001", "metrics").flush('{"step":1}\n')
    names = ["٠٠٠٠٠٢.txt", "2.txt", "000003.txt.exe", "9" * 5000 + ".txt", "x/000004.txt"]
    for name in (*names, "0000001.txt", "000007.jsonl"):
        memory.put(f"r/a0001/log/{name}", b"foreign")
    memory.put("r/a0001/metrics/000002.jsonl", b'{"step":2}\n')  # bears no format
    huge = b"x" * (DOCUMENT + 1)
    memory.put("r/a0001/log/000005.txt", huge)
    memory.put("r/a0001/metrics/000005.jsonl", huge)
    (_, text), (number, missing) = read_parts(memory, "r", 1, "log")
    assert (text, number) == ("one\n", 5)
    assert "r/a0001/log/000005.txt has 1048577 bytes" in missing
    head = Head(run="r", attempt=1, lineage=((1, 0),))
    assert read_metrics(memory, "r", head) == [{"step": 1}]


def test_a_part_of_another_format_is_left_out_and_told(memory, caplog) -> None:
    """A machine wrote it, which is not to say which Mimir may serve the run."""
    memory.put("r/a0001/metrics/000001.jsonl", b'{"format":2}\n{"step":1}\n')
    memory.put("r/a0001/metrics/000002.jsonl", b'{"format":1}\n{"step":2}\n')
    head = Head(run="r", attempt=1, lineage=((1, 0),))
    assert read_metrics(memory, "r", head) == [{"step": 2}]
    assert "000001.jsonl has format 2, this Mimir knows up to 1" in caplog.text


def test_metrics_beyond_all_bounds_are_refused(memory, monkeypatch) -> None:
    _rows(memory, 1, *({"step": s} for s in range(5)))
    monkeypatch.setattr(parts, "MOST_METRICS", 40)
    with pytest.raises(Corrupt, match="more than 40 letters"):
        read_metrics(memory, "r", Head(run="r", attempt=1, lineage=((1, 0),)))


def test_what_was_held_back_goes_up_in_parts_that_can_be_read(memory, monkeypatch) -> None:
    monkeypatch.setattr(parts, "PART", 10)
    writer = PartWriter(memory, "r/a0001", "log")
    for text in ("aaaa\n", "bbb\n", "cccc\n", "d" * 25 + "\n"):
        writer.add(text)
    assert writer.flush()
    texts = [text for _, text in read_parts(memory, "r", 1, "log")]
    assert texts == ["aaaa\nbbb\n", "cccc\n", "d" * 10, "d" * 10, "d" * 5 + "\n"]


def test_kinds_are_known() -> None:
    with pytest.raises(KeyError):
        PartWriter(MemoryStore(), "r/a0001", "logs")
