"""label and note, and where they show."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.commands.label import label
from launch.commands.note import note
from launch.commands.report_steps import of_runs
from launch.commands.runs import runs
from launch.commands.status import status
from mimir.errors import BadInput
from mimir.runs import about, layout
from mimir.runs.store import Store
from tests.launch.report.made import begun, swept

LONG = "the loss is fine, and\nit is long <script> enough"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    begun(tmp_path, "one")
    return begun(tmp_path, "two", seed=1)


def test_runs_are_found_by_labels(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    label("one", "project=binders", "stage=final", store=store.url)
    label("two", "project=other", store=store.url)
    note("one", LONG, store=store.url)
    capsys.readouterr()
    for words, found in (
        ("project=binders", ["one"]), ("project", ["one", "two"]), ("project,stage=final", ["one"]),
        ("stage=", []), ("who", []),
    ):  # fmt: skip
        runs(label=words, store=store.url, json=True)
        out = capsys.readouterr().out
        assert sorted(row["run"] for row in json.loads(out or "[]")) == found, words
    runs(label="stage", store=store.url)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["LABELS", "NOTE"]
    assert "project=binders, stage=final  the loss is fine, and\\nit" in row
    assert row.endswith("…")
    with pytest.raises(BadInput, match="no KEY=VALUE"):
        runs(label="Project", store=store.url)


def test_they_show_in_status_and_report(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    label("one", "project=binders", store=store.url)
    note("one", LONG, store=store.url)
    capsys.readouterr()
    status("one", store=store.url)
    shown = capsys.readouterr().out
    assert "labels       project=binders" in shown
    assert "UTC: the loss is fine, and\\nit" in shown
    status("one", store=store.url, json=True)
    told = json.loads(capsys.readouterr().out)["about"]
    assert (told["labels"], told["notes"][0]["text"]) == ({"project": "binders"}, LONG)
    page = of_runs(store, ["one"]).content.decode()
    assert "<dt>labels</dt><dd>project=binders</dd>" in page
    assert "&lt;script&gt; enough</li>" in page


def test_all_runs_of_a_sweep_get_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = swept(tmp_path, 4)
    label("lr-001", "stage=final", store=store.url)
    capsys.readouterr()
    label("project=binders", sweep="lr", store=store.url)
    assert capsys.readouterr().out.splitlines() == [
        "lr-000  project=binders", "lr-001  project=binders, stage=final",
        "lr-002  project=binders", "lr-003  project=binders",
    ]  # fmt: skip
    runs(label="project=binders", store=store.url, json=True)
    assert len(json.loads(capsys.readouterr().out)) == 4
    label("stage=", "project=other", sweep="lr", store=store.url, json=True)
    assert json.loads(capsys.readouterr().out)["lr-001"] == {"project": "other"}
    store.put(layout.about_key("lr-001"), b"{")
    with pytest.raises(BadInput, match=r"1 of 4 runs could not be labelled: lr-001: "):
        label("stage=x", sweep="lr", store=store.url)
    assert "lr-003  project=other, stage=x" in capsys.readouterr().out
    with pytest.raises(BadInput, match="1 of 4 runs could not be read"):
        label(sweep="lr", store=store.url)


@pytest.mark.parametrize("command", [label, note, status])
def test_a_sweep_in_the_place_of_a_run_is_told_from_it(
    tmp_path: Path, command: Callable[..., object]
) -> None:
    store = swept(tmp_path, 4)
    with pytest.raises(BadInput, match=r"lr is a sweep, .* such as lr-000, or say --sweep lr"):
        command("lr", store=store.url)


def test_words_of_label_with_a_sweep(store: Store) -> None:
    for words, options, says in (
        (("one", "a=b"), {"sweep": "lr"}, "'one' is no KEY=VALUE, and beside --sweep lr no"),
        ((), {}, "name a run: `label NAME KEY=VALUE`, or `label --sweep NAME"),
        (("a=b",), {"sweep": "lr"}, "there is no sweep lr"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=says):
            label(*words, store=store.url, **options)  # type: ignore[arg-type]


def test_words_of_the_commands(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    label("one", store=store.url)
    note("one", store=store.url)
    assert capsys.readouterr().out == "run one has no labels\nrun one has no notes\n"
    note("one", "first", store=store.url)
    note("one", "second", store=store.url)
    note("one", remove=1, store=store.url)
    assert capsys.readouterr().out.splitlines()[-1].endswith("second")
    note("one", store=store.url, json=True)
    assert [each["text"] for each in json.loads(capsys.readouterr().out)] == ["second"]
    label("one", " a=b c ", store=store.url, json=True)
    assert json.loads(capsys.readouterr().out) == {"a": "b c"}
    with pytest.raises(BadInput, match="the value of label d has a comma, which separates"):
        label("one", "c=1", "d=2,e=3", store=store.url)
    assert about.read(store, "one").labels == {"a": "b c"}
    with pytest.raises(BadInput, match="give a text to add or --remove, not both"):
        note("one", "x", remove=1, store=store.url)
    for command in (label, note):
        with pytest.raises(BadInput, match="did you mean two"):
            command("tow", store=store.url)
