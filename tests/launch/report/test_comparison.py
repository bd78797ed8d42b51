"""What the pages of several runs and of a sweep say."""

import html
import json
import re
from pathlib import Path

import pytest

from launch.commands import report_steps
from launch.commands.report import report
from launch.commands.report_steps import Made, of_runs, of_sweep
from launch.report import comparison, curves
from launch.sweep import page
from mimir.errors import BadInput
from mimir.runs import about, layout
from tests.launch.report.made import begun, swept, train


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One is done, one trains, is better and has another rate, one was not begun."""
    folder = tmp_path_factory.mktemp("three")
    train(begun(folder, "one"), "one", done=True)
    store = begun(folder, "two", lr=0.5)
    train(store, "two", better=0.1)
    about.label(store, "two", {"project": "a<b"})
    return of_runs(begun(folder, "bare", seed=3), ["one", "two", "bare"])


def text_of(made: Made) -> str:
    text = made.content.decode()
    assert "<script" not in text
    assert "<img" not in text
    return html.unescape(text)


def row(text: str, begin: str) -> list[str]:
    """The cells of the table row whose first cell begins so."""
    cells = next(
        found for found in re.findall(r"<tr>(.*?)</tr>", text, re.S)
        if re.search(rf'<th scope="row">{re.escape(begin)}', found)
    )  # fmt: skip
    return re.findall(r"<td[^>]*>(.*?)</td>", cells, re.S)


def test_runs_beside_each_other(three: Made) -> None:
    text = text_of(three)
    assert three.verdict[0] == (
        "Held-out background: two has the lowest figure (2.8045 nats per residue, 95 % interval "
        "2.7849 to 2.8241); no other interval reaches it."
    )
    assert three.verdict[-1] == "Not finished, so their figures may change: two, bare."
    assert row(text, "lr") == ["0.002", "0.5", "0.002"]
    assert row(text, "seed") == ["0", "0", "3"]
    assert row(text, "project") == ["–", "a<b", "–"]
    assert row(text, "2 two")[:2] == ["1,000", "2.8045 ± 0.0196"]
    assert row(text, "composition entropy")[0] == "–"
    assert "at its end" in text
    assert '<td data-label="drawn">at step 1,000</td>' in text
    # A number at each line's end and in the legend: neither colour nor dashes are needed.
    assert text.count('class="end r1"') == text.count('class="end r2"') == 4
    assert text.count("<b>2</b> two") == 4
    assert "dim" not in re.search(r"<h2>Settings that differ</h2>(.*?)<h2>", text, re.S)[1]  # type: ignore[index]


def test_other_data_are_not_compared(tmp_path: Path, three: Made) -> None:
    (first := tmp_path / "a").mkdir()
    store = train(begun(first, "one"), "one")
    (first / "data.csv").write_text((first / "data.csv").read_text() + "ACDEFGHIK,0,\n")
    from mimir.submission import enter, prepare

    enter(store, "two", prepare("smoke", {}, str(first / "data.csv")))
    found = of_runs(store, ["one", "two"])
    assert found.verdict[0].startswith("The runs were trained on different data")
    assert 'class="m"' not in found.content.decode()  # no baseline is everybody's


def test_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = swept(tmp_path, 6)
    found = of_sweep(store, "lr")
    text = text_of(found)
    assert found.verdict[0] == "3 of 6 runs are done; 2 running, 1 not begun."
    assert found.verdict[1].startswith("The best of the finished runs is lr-002 (lr 0.0005, seed 0")
    assert "with one finished seed of a setting it is not known how sure" in found.verdict[2]
    assert row(text, "lr 0.001")[:2] == ["2", "2.8950 ± 0.0071"]
    order = re.findall(r'<th scope="row">(lr-\d+)', text)
    assert order[:3] == ["lr-002", "lr-001", "lr-000"]
    assert order[-1] == "lr-005"
    assert "Settings of lr-002" in text
    # A run that cannot be read hides no other, and the rest of many stand thin behind the best.
    monkeypatch.setattr(page, "DRAWN", 2)
    (tmp_path / "store" / layout.record_key("lr-004")).write_text("{")
    text = text_of(of_sweep(store, "lr"))
    assert "Not shown: lr-004: " in text
    assert text.count('class="end r2"') == 4
    assert 'class="end r3"' not in text
    assert "2 other runs" in text
    assert "1 done" not in text


def test_words_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = begun(tmp_path, "one")
    begun(tmp_path, "two", seed=1)
    monkeypatch.chdir(tmp_path)
    report("one", "two", store=store.url, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["out"]) == (["one", "two"], "one-and-others.html")
    assert told["verdict"][0].startswith("Fewer than two runs have a held-out figure")
    for words, options, says in (
        (("one", "two", "one"), {}, "run one is named twice"), ((), {}, "name a run: "),
        (("one",), {"sweep": "lr"}, "name one or the other"),
        ((), {"sweep": "lr"}, "there is no sweep lr"), (("one", "tow"), {}, "did you mean two"),
        ([f"r{n}" for n in range(curves.MOST_DRAWN + 1)], {}, "too many for one page"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=re.escape(says)):
            report(*words, store=store.url, **options)  # type: ignore[arg-type]
    assert report_steps.of_runs(store, ["one"]).told["run"] == "one"
    assert comparison.numbered([]) == []
