"""What a cell shows of a run while it trains."""

import json
from pathlib import Path

import pytest

from mimir.errors import StoreError
from mimir.notebook.live import LINES, Board
from mimir.output import palette, plot
from mimir.runs import layout
from mimir.runs.begin import raise_attempt
from mimir.runs.parts import PartWriter
from mimir.runs.record import read_run
from mimir.runs.store import Store, open_store
from tests.e2e import jobs


def page(text: str) -> str:
    return f'<pre style="font:.85rem/1.5 {palette.MONO};white-space:pre-wrap">{text}</pre>'


class Shown:
    def __init__(self) -> None:
        self.pages: list[str] = []
        self.images: list[bytes] = []

    def text(self, page: str) -> None:
        self.pages.append(page)

    def image(self, png: bytes) -> None:
        self.images.append(png)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store((tmp_path / "store").as_uri())
    jobs.submit(opened, "run", jobs.write_data(tmp_path / "data.csv", 60))
    raise_attempt(opened, "run")
    return opened


@pytest.fixture
def writer(store: Store) -> PartWriter:
    return PartWriter(store, layout.attempt_prefix("run", 1), "metrics")


def row(**figures: object) -> str:
    return json.dumps(figures) + "\n"


def test_lines_samples_and_curve(
    store: Store, writer: PartWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[dict[str, object]]] = []
    monkeypatch.setattr(
        plot,
        "loss_curve",
        lambda rows, mark, restarts: drawn.append(rows) or b"png" if mark else b"",
    )
    now, shown = [0.0], Shown()
    board = Board(store, read_run(store, "run"), 1, shown, lambda: now[0])
    board.line("attempt 1: <claimed>")
    board.line("step 10/90  loss 3.1")
    board.line("step 20/90  loss 3.0")
    board.note("Drive: copying")
    board.note("Drive: copied")
    board.refresh()
    said = "attempt 1: &lt;claimed&gt;\nstep 20/90  loss 3.0\nDrive: copied"
    assert shown.pages == [page(said)]
    assert board.last_line == "attempt 1: <claimed>"
    assert shown.images == []

    writer.flush(row(step=20, loss=3.0) + row(step=20, samples=["ACD", "EFG"]))
    board.refresh()  # too soon after the first look
    assert shown.images == []
    now[0] += 30
    board.refresh()
    assert shown.images == [b"png"]
    board.refresh()
    now[0] += 30
    board.refresh()  # nothing new
    assert shown.images == [b"png"]
    writer.flush(row(step=40, loss=2.9))
    board.refresh(now=True)
    assert drawn[-1] == [
        {"step": 20, "loss": 3.0, "samples": ["ACD", "EFG"]}, {"step": 40, "loss": 2.9},
    ]  # fmt: skip
    assert shown.pages[-1].endswith("<p>Samples at step 20: <code>ACD EFG</code></p>")


def test_only_the_last_lines_are_kept(store: Store) -> None:
    shown = Shown()
    board = Board(store, read_run(store, "run"), 1, shown)
    for number in range(LINES + 5):
        board.line(f"line {number}")
    board.refresh()
    assert shown.pages[-1].count("\n") == LINES - 1
    assert "line 4" not in shown.pages[-1]


def test_a_store_that_is_away_hides_no_line(
    store: Store, writer: PartWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown()
    board = Board(store, read_run(store, "run"), 1, shown)
    writer.flush(row(step=1, loss=3.0))

    def away(*words: object, **more: object) -> bytes:
        raise StoreError("away")

    monkeypatch.setattr(type(store), "get", away)
    board.line("still here")
    board.refresh(now=True)
    assert shown.pages == [page("still here")]
    monkeypatch.undo()
    board.refresh(now=True)
    assert list(board.rows) == [1]
