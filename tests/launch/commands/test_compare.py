"""compare: what differs, and what was reached."""

import json
import re
from pathlib import Path

import pytest

from launch.commands.compare import compare
from launch.commands.label import label
from launch.commands.report import report
from launch.commands.status import status
from mimir import console
from mimir.errors import BadInput
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat
from mimir.runs.parts import PartWriter
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import open_store


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = open_store((tmp_path / "store").as_uri())
    for name, lr, figures in (("one", 0.001, (3.0, 2.5, 2.6)), ("two", 0.002, ()), ("bare", 1, ())):
        config = {"preset": "smoke", "training": {"lr": lr, "batch": 8}}
        create_run(store, RunRecord(name, "smoke", config, 0, 1.0))
        if name == "bare":
            continue
        attempt = Attempt.claim(store, name, raise_attempt(store, name))
        parts = PartWriter(store, layout.attempt_prefix(name, 1), "metrics")
        rows = [{"step": 10 * n, "val": value} for n, value in enumerate(figures, start=1)]
        if figures:
            rows[0] |= {"samples_kl": 0.5, "samples_copies": 0.9}
            rows[1] |= {"samples_kl": 0.25, "samples_copies": 0.1, "samples_unique": 1.0}
        machine = Machine("local", store.now(), estimate_hours=0.03 if figures else None)
        notes.record_machine(store, name, 1, machine)
        notes.record_gone(store, name, 1, Gone(store.now() + 126, "over", "it had ended"))
        parts.flush("".join(json.dumps(row) + "\n" for row in rows))
        attempt.commit(30, b"state", None)
        if name == "one":
            attempt.finish("stopped", "the test says so")
    return store.url


def test_runs_stand_beside_each_other(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare("one", "two", "bare", store=url)
    said = capsys.readouterr()
    lines = [line.strip().split("  ") for line in said.out.splitlines()]
    assert "python -m launch report one two bare --store file:" in said.err
    table = {cells[0]: [each.strip() for each in cells[1:] if each.strip()] for cells in lines}
    assert table["lr"] == ["0.001", "0.002", "1"]
    assert table["step"] == ["30", "30", "0"]
    assert table["state"][0] == "stopped"
    assert "batch" not in table
    assert table["samples, KL of composition"] == ["0.250 nats"]  # of the last that were drawn
    assert table["near copies"] == ["10%"]
    assert table["unique"] == ["100%"]
    assert table["time of machines"] == ["2.1 min", "2.1 min", "0.0 s"]
    assert table["estimated at first"] == ["1.8 min"]
    assert table["cost"] == [*["none (own computer)"] * 2, "none: no machine was begun"]
    compare("one", "two", store=url, json=True)
    body = json.loads(capsys.readouterr().out)
    assert body["settings"] == {"lr": [0.001, 0.002]}
    assert body["runs"][0]["samples"]["samples_kl"] == 0.25
    assert body["runs"][0]["last"] == {"val": [30, 2.6]}
    assert body["runs"][0]["best"] == {"val": [20, 2.5]}
    assert body["runs"][1]["last"] == {}


def test_the_time_of_a_killed_attempt_is_a_lower_bound(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(url)
    for ago in (4800, 0):
        began = store.now() - ago
        Attempt.claim(store, "bare", raise_attempt(store, "bare", clock=lambda at=began: at))
    notes.write_heartbeat(store, "bare", 1, Heartbeat(1.0, 5, 100))
    compare("bare", "two", store=url)
    table = capsys.readouterr().out
    assert re.search(r"^time of machines +at least 1\.3 h +2\.1 min$", table, re.MULTILINE)
    compare("bare", "two", store=url, json=True)
    assert [run["at_least"] for run in json.loads(capsys.readouterr().out)["runs"]] == [True, False]


WIDE = ["one  two  bare"]


@pytest.mark.parametrize(("width", "blocks", "with_steps"), [
    (200, WIDE, True), (110, WIDE, True), (80, WIDE, False), (70, WIDE, False),
    (50, ["one  two", "bare"], False), (40, ["one", "two", "bare"], False),
])  # fmt: skip
def test_a_narrow_terminal_gets_several_tables(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    width: int, blocks: list[str], with_steps: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(console, "width_of", lambda stream: width)
    compare("one", "two", "bare", store=url)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    heads = ["  ".join(line.split()) for line in lines if re.match("  +(one|two|bare)", line)]
    assert heads == blocks
    assert any("(step 30)" in line for line in lines) == with_steps
    assert ("none: no machine was begun" in "".join(lines)) == with_steps
    assert any("none" in line for line in lines if line.startswith("cost"))
    assert any(line.startswith("too narrow for the steps") for line in lines) != with_steps


def test_labels_that_people_gave(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    label("two", "project=binders", store=url)
    capsys.readouterr()
    compare("one", "two", store=url)
    assert re.search(r"^label project +binders$", capsys.readouterr().out, re.MULTILINE)
    compare("one", "two", store=url, json=True)
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [run["labels"] for run in runs] == [{}, {"project": "binders"}]


@pytest.mark.parametrize("width", [80, 60, 40, 30])
def test_labels_fit_a_narrow_terminal(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(console, "width_of", lambda stream: width)
    label("two", "project=protease-binders-2026", "why=a few words on what it is for", store=url)
    capsys.readouterr()
    compare("one", "two", store=url)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= width
    status("two", store=url)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("python -m")) <= width
    assert "".join("".join(lines).split()).count("project=protease-binders-2026") == 1


def test_one_run_cannot_be_compared(url: str) -> None:
    with pytest.raises(BadInput, match="two runs or more"):
        compare("one", store=url)
    for several in (("one", "one"), ("two", "one", "two")):  # of which none is left out in silence
        with pytest.raises(BadInput, match="is named twice"):
            compare(*several, store=url)
        with pytest.raises(BadInput, match="is named twice"):
            report(*several, store=url)
