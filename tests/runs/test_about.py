"""Labels and notes of a run: bounded, swapped, and gone with it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mimir.errors import BadInput, Corrupt, OtherFormat
from mimir.runs import about, layout
from mimir.runs.about import MOST_LABELS, MOST_NOTES, MOST_TEXT, MOST_VALUE
from mimir.runs.listing import list_runs
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store
from tests.runs.memory import MemoryStore


@pytest.fixture
def run(store: Store) -> Store:
    create_run(store, RunRecord("demo", "smoke", {}, 0, 1.0))
    return store


def test_what_is_said_is_read_again(run: Store) -> None:
    assert about.read(run, "demo") == about.NOTHING
    about.label(run, "demo", {"stage": "trial", "who": "Ada, Bo"})
    about.note(run, "demo", "first")
    about.note(run, "demo", "second")
    about.label(run, "demo", {"stage": "final", "who": ""})
    found = about.without_note(run, "demo", 1)
    assert about.read(run, "demo") == found
    assert (found.words, [note.text for note in found.notes]) == ("stage=final", ["second"])
    listed = list_runs(run, run.now())[0].status
    assert listed is not None
    assert listed.about == found
    assert listed.as_json()["about"]["labels"] == {"stage": "final"}
    assert about.fits(found, {"stage": None})
    assert not about.fits(found, {"stage": "trial"})


def test_it_is_bounded(memory: MemoryStore) -> None:
    create_run(memory, RunRecord("demo", "smoke", {}, 0, 1.0))
    many = {f"k{n}": "v" for n in range(MOST_LABELS)}
    about.label(memory, "demo", many)
    with pytest.raises(BadInput, match="33 labels"):
        about.label(memory, "demo", {"one-more": "v"})
    for text in ("", "  ", "x" * (MOST_TEXT + 1)):
        with pytest.raises(BadInput, match="a note has"):
            about.note(memory, "demo", text)
    for _ in range(MOST_NOTES):
        about.note(memory, "demo", "x")
    with pytest.raises(BadInput, match="50 notes"):
        about.note(memory, "demo", "x")
    with pytest.raises(BadInput, match="none of number 51"):
        about.without_note(memory, "demo", 51)
    assert len(about.read(memory, "demo").notes) == MOST_NOTES


@pytest.mark.parametrize(("word", "says"), [
    ("stage", "no KEY=VALUE"), ("=x", "no KEY=VALUE"), ("Stage=x", "no KEY=VALUE"),
    ("a" * 41 + "=x", "no KEY=VALUE"), ("a=\x1b[2J", "can be printed"),
    ("a=" + "x" * (MOST_VALUE + 1), "at most 100"),
])  # fmt: skip
def test_words_that_are_no_label(word: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        about.pairs([word], "--label")


def test_several_write_at_once(memory: MemoryStore) -> None:
    create_run(memory, RunRecord("demo", "smoke", {}, 0, 1.0))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: about.label(memory, "demo", {f"k{n}": "v"}), range(8)))
    assert len(about.read(memory, "demo").labels) == 8


def test_it_goes_with_the_run(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is written while the run is removed: the next of the name begins without it."""
    create_run(memory, RunRecord("demo", "smoke", {}, 0, 1.0))
    put = memory.put_if_absent

    def removed(key: str, data: bytes) -> str:
        made = put(key, data)
        memory.delete(layout.record_key("demo"))
        return made

    monkeypatch.setattr(memory, "put_if_absent", removed)
    with pytest.raises(BadInput, match="removed meanwhile"):
        about.note(memory, "demo", "too late")
    assert memory.read(layout.about_key("demo")) is None
    with pytest.raises(BadInput, match="no run demo"):
        about.note(memory, "demo", "too late")


@pytest.mark.parametrize("body", [
    {"labels": {"A": "x"}}, {"labels": {"a": "x" * 101}}, {"labels": {"a": 1}},
    {"notes": [{"time": 1.0, "text": "x" * 1001}]}, {"notes": [{"time": -1e30, "text": "x"}]},
    {"format": 99},
])  # fmt: skip
def test_what_is_none_hides_no_run(memory: MemoryStore, body: dict[str, object]) -> None:
    create_run(memory, RunRecord("demo", "smoke", {}, 0, 1.0))
    memory.put_if_absent(layout.about_key("demo"), json.dumps({"format": 1, **body}).encode())
    with pytest.raises(OtherFormat if "format" in body else Corrupt):
        about.read(memory, "demo")
    (listed,) = list_runs(memory, memory.now())
    assert listed.status is not None
    assert listed.status.about == about.NOTHING
    assert "cannot be read" in listed.status.warning
