"""What the report says, of a run that goes on and of one that is done."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from launch.commands import SUMMARY, TREE
from launch.report import comparison, render
from launch.report import page as pages
from launch.report.facts import Facts, gather
from launch.report.provenance import digests
from launch.report.verdict import verdict
from mimir import cli
from mimir.data import sample_path, terms
from mimir.data.files import sha256
from mimir.output.events import event_file
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat
from mimir.runs.origin import STATE, Origin
from mimir.runs.parts import PartWriter, read_metrics
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store
from tests.launch.report.made import STEPS, begun, evil, train

WRITTEN = {
    "running": ("device", "why", "outcome", "gpu", "kernel", "event"),
    "done": ("device", "why", "outcome", "gpu", "kernel", "event"),
}
"""Texts that stand in the page of such a run; others, such as names of targets, are left out."""


def facts_of(store: Store) -> Facts:
    head = read_head(store, "run")
    return gather(store, read_run(store, "run"), head, read_metrics(store, "run", head))


def report(store: Store, out: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setenv("MIMIR_STORE", store.url)
    with pytest.raises(SystemExit) as ended:
        cli.main("launch", SUMMARY, TREE, ("report", "run", "--out", str(out), *words))
    assert ended.value.code == 0
    return out.read_text()


def test_a_page_is_written_where_no_browser_can_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    out = tmp_path / "page.html"
    assert "<html" in report(begun(tmp_path), out, monkeypatch, "--open")
    assert f"no browser can be opened here: open {out} yourself" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["running", "done"])
def test_what_a_machine_wrote_is_shown_and_not_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    store = train(begun(tmp_path), done=state == "done")
    text = report(store, tmp_path / "page.html", monkeypatch)
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    shown = html.unescape(text)
    for field in WRITTEN[state]:
        assert evil(field)[:15] in shown, field  # a kernel's name is cut at 32 characters
    assert "default-src 'none'" in shown
    assert not re.search(
        r"<[a-z][^>]*\s(src|href|action|on\w+)\s*=|url\((?!#c)|@import|<link", text
    )


def test_a_running_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    text = report(train(begun(tmp_path)), tmp_path / "page.html", monkeypatch)
    assert "The run is not finished: it is running at step 1,000 of 1,200" in text
    assert text.count('class="again"') == 4  # one restart in each of four curves
    assert "100 steps, about 10 s" in text  # 600 were made, 500 committed, at 10 a second
    assert "2.8849 to 2.9241" in text  # 1.96 times 0.01 around 2.9045
    assert "ended from outside" in text
    assert 'scope="col"' in text
    assert "<desc" in text
    assert "Drawn at step 1,000" in text


@pytest.mark.parametrize("body", [b"{}", b'{"format": 99}'])
def test_a_replay_that_cannot_be_read_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    store = train(begun(tmp_path))
    store.put(layout.replay_key("run"), body)
    text = report(store, tmp_path / "page.html", monkeypatch)
    assert "its result cannot be read" in text
    assert "Held-out figures" in text


def test_what_the_gpu_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begun(tmp_path)
    train(store)
    rows = [
        {"step": step, "gpu_busy": busy, "gpu_memory_gb": 40.0 + step / 1000, "gpu_watts": 300,
         "gpu_celsius_most": 70 - step / 100}
        for step, busy in ((700, 0.8), (800, 1.0))
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    PartWriter(store, "run/a0002", "metrics").flush(text)
    page = report(store, tmp_path / "page.html", monkeypatch)
    for shown in ("90% of the time", "40.8 GB at most", "300 W", "63 °C at most"):
        assert shown in page
    assert "GPU busy, share of the time" in page
    warnings = page.partition("<h2>Warnings</h2>")[2].partition("</table>")[0]
    # What each machine warned of, how one ended, and that it could not end itself.
    assert warnings.count("<tr>") == 1 + 4


def test_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = train(begun(tmp_path), done=True)
    text = html.unescape(report(store, tmp_path / "page.html", monkeypatch))
    assert "Training is done: the run" in text
    assert "64 drawn without a target" in text
    record, head = read_run(store, "run"), read_head(store, "run")
    assert head.model is not None
    assert record.data is not None
    assert (
        "not shown yet: <code>python -m mimir replay run</code> trains the last steps again" in text
    )
    assert re.search(r"<dd>\d+ background, \d+ pairs of known targets", text)
    assert "torch 2.9.1, CUDA <script>cuda()" in text
    assert "Python 3.11.4" in text
    assert "2.0 of 8.0 GB of memory, 30.0 of 100 GB of disk free" in text
    attempts = text.partition("<h2>Attempts</h2>")[2].partition("</table>")[0]
    ordered = r"<td data-label=\"ordered\">\d{4}-\d\d-\d\d \d\d:\d\d UTC by \S+:\d+</td>"
    assert len(re.findall(ordered, attempts)) == 2
    assert '"ended because">finished at step 1,000</td>' in attempts
    assert "unknown: whoever built the data set knows" in text
    for digest in (record.config_sha256, record.data.sha256, head.model.sha256):
        assert digest in text
    assert terms.UNKNOWN.licence in text
    assert terms.of_csv(sha256(sample_path().read_bytes())) == terms.SAMPLE
    again = html.unescape(report(store, tmp_path / "page.html", monkeypatch))
    paid = r"<dd>.*?</dd>|[\d.]+ s, \$[\d.]+"  # its machines were not seen to be gone
    assert re.sub(paid, "", again) == re.sub(paid, "", text)


def test_the_time_of_a_killed_attempt_is_a_lower_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = begun(tmp_path)
    began = store.now() - 4800
    number = raise_attempt(store, "run", clock=lambda: began)
    notes.record_machine(store, "run", number, Machine("local", began))
    Attempt.claim(store, "run", number)
    notes.write_heartbeat(store, "run", number, Heartbeat(1.0, 600, 1200))
    Attempt.claim(store, "run", raise_attempt(store, "run"))  # nobody wrote how the first ended
    notes.record_machine(store, "run", 2, Machine("local", store.now()))
    text = report(store, tmp_path / "page.html", monkeypatch)
    assert "<dt>time of machines</dt><dd>at least 1.3 h</dd>" in text
    attempts = text.partition("<h2>Attempts</h2>")[2].partition("</table>")[0]
    took = re.findall(r'data-label="took">(.*?)</td>', attempts)
    assert took[0] == "at least 1.3 h"
    assert "at least" not in took[1]
    facts = facts_of(store)
    assert dict(comparison.summary([facts]))["time of machines"] == "at least 1.3 h"
    assert "at least 1.3 h" in comparison.took(facts, "run")


def test_what_to_cite_for_the_data_stands_beside_its_licence(made: Facts) -> None:
    assert made.peptides is not None
    sample = replace(made.peptides, source=sha256(sample_path().read_bytes()))
    found = dict(digests(replace(made, peptides=sample)))
    assert found["licence of the data"] == terms.SAMPLE.licence
    uniprot = (
        "The UniProt Consortium: UniProt, https://www.uniprot.org (protein sequences, CC BY 4.0)"
    )
    assert found["to cite for the data"].startswith(f"{uniprot}; wwPDB: Protein Data Bank, ")
    assert found["to cite for the data"].count("; ") == len(terms.SAMPLE.citations) - 1


def test_a_run_that_no_machine_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = report(begun(tmp_path), tmp_path / "page.html", monkeypatch, "--json")
    for words in ("No metrics have", "None has been measured", "None was begun", "have been drawn"):
        assert words in text
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["state"], told["step"]) == ("run", "queued", 0)
    assert told["verdict"][1].startswith("No held-out figure has been measured yet")


@pytest.mark.parametrize(("values", "says"), [
    ({"val": 9.0}, "Background: the model (9.0000 nats per residue) is worse than"),
    ({"val": 0.5}, "is better than"),
    ({"val": 0.5, "val_se": 10.0}, "but by less than the figure's own uncertainty (±19.6000)."),
    ({"val_known": 2.0, "val_known_shuffled": 2.5, "val_known_untold": 2.4, "val_known_se": 0.03,
      "val_known_untold_se": 0.04}, "with an uncertainty of at most ±0.0980; +0.5000 over"),
    ({"val_known": 2.0, "val_known_shuffled": 2.5, "val_known_untold": 2.4},
     "known targets: the model uses the target (+0.4000"),
    ({"val_known": 2.0, "val_known_shuffled": 1.9, "val_known_untold": 2.4},
     "known targets: the model makes no use of the target"),
    ({"val_pairs": 2.5, "val_pairs_shuffled": 2.6, "val_pairs_untold": 2.5},
     "unseen targets: the model makes no use of the target"),
    ({"val_known": 2.0, "val_known_shuffled": 2.5, "val_known_untold": 2.01, "val_known_se": 0.1,
      "val_known_untold_se": 0.1}, "too few pairs are held out to be sure"),
    ({"val_known": 9.0}, "does not reach the closed form"),
])  # fmt: skip
def test_the_verdict_is_in_words(made: Facts, values: dict[str, float], says: str) -> None:
    found = verdict(replace(made, rows=[{"step": STEPS, **values}]))
    assert any(says in sentence for sentence in found), found


def test_the_summary_of_a_run_that_nobody_paid_for(made: Facts) -> None:
    rows = [{"step": step, "steps_per_s": rate} for step, rate in ((1, 3.0), (2, 90.0), (3, 99.0))]
    unpaid = replace(made.bill, estimated_hours=None, estimated_dollars=None, dollars=None)
    found = dict(pages.summary(replace(made, rows=rows, bill=unpaid)))
    assert found["steps a second"] == "90"
    told = "13 s of training, by the speed of the first 3 steps"  # of 1200 steps, 90 a second
    assert found["estimated at first"] == told
    assert found["cost"] == "none (own computer)"
    elsewhere = replace(made.attempts[0].status, machine=Machine("slurm", 1.0))
    cluster = replace(made.status, attempts=(elsewhere, made.attempts[1].status))
    assert dict(pages.summary(replace(made, bill=unpaid, status=cluster)))["cost"] == (
        "not known: no machine had a price"
    )
    assert 1_000 < int(found["weights"].replace(",", "")) < 1_000_000
    assert found["exactness"] == ""  # it is not done, so that nothing can be replayed yet


def test_samples_that_are_none_do_not_end_the_page(tmp_path: Path) -> None:
    store = train(begun(tmp_path))
    PartWriter(store, "run/a0002", "metrics").flush(f'{{"step":{STEPS + 1},"samples":5}}\n')
    facts = facts_of(store)
    assert facts.rows[-1] == {"step": STEPS + 1}
    assert b"Drawn at step 1,000" in pages.page(facts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts_of(train(begun(tmp_path_factory.mktemp("made"))))


def test_event_files_of_a_run_that_trains_lie_below_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = train(begun(tmp_path))
    curves = tmp_path / "curves"
    report(store, tmp_path / "page.html", monkeypatch, "--tensorboard", str(curves), "--json")
    (path,) = map(Path, json.loads(capsys.readouterr().out)["events"])
    assert path.parent == curves / "run"
    created = int(read_run(store, "run").created)
    assert path.name == f"events.out.tfevents.{created}.run.a0002"
    rows = facts_of(store).rows
    assert path.read_bytes() == event_file(rows[:-1], read_run(store, "run").created)
    (tmp_path / "file").write_text("")
    for words, code in (("file", 78), ("curves", 0)):
        where = ("--out", str(tmp_path / "page.html"), "--tensorboard", str(tmp_path / words))
        with pytest.raises(SystemExit) as ended:
            cli.main("launch", SUMMARY, TREE, ("report", "run", *where))
        assert ended.value.code == code
    assert "--tensorboard " in capsys.readouterr().err


def test_steps_of_the_run_it_goes_on_from_are_not_lost(tmp_path: Path) -> None:
    """HEAD says 0 of attempts that began before the first commit."""
    store = train(begun(tmp_path))
    head, record = read_head(store, "run"), read_run(store, "run")
    uncommitted = replace(head, lineage=((1, 0), (2, 0)))
    rows = read_metrics(store, "run", head)
    for origin, lost in ((None, 600), (Origin(STATE, "first", 590, "0" * 64, "0" * 64), 10)):
        facts = gather(store, replace(record, origin=origin), uncommitted, rows)
        assert facts.attempts[0].lost == lost
        assert facts.restarts == [600 - lost]


def test_the_weights_of_another_run_are_not_judged_by_this_ones_figures(made: Facts) -> None:
    """They stay the best of a run that goes on with its state, and does not beat them."""
    origin = Origin(STATE, "first", 100, "0" * 64, "0" * 64, best_step=80, best=1.0)
    longer = replace(made, record=replace(made.record, origin=origin))
    says = "The weights are those of step 80 of run first, and were not measured in this run."
    for facts in (longer, replace(longer, rows=[])):
        assert facts.validation == {}
        assert verdict(facts)[1:] == [says]
        assert says in pages.page(facts).decode()
        assert f"run: {says}" in comparison.verdict([facts, made])
    beaten = replace(origin, best=9.0)
    assert replace(made, record=replace(made.record, origin=beaten)).validation["step"] == STEPS
    of_checkpoint = replace(made, weights=950)
    assert "those of step 950, and were not measured" in of_checkpoint.unmeasured


def test_commands_are_shown_as_code_and_nothing_of_them_is_obeyed() -> None:
    shown = render._with_code("not yet: `mimir replay <b>` and ` alone \u202e")
    assert shown == "not yet: <code>mimir replay &lt;b&gt;</code> and ` alone \\u202e"
