"""The page of a finished run answers what its reader asks (docs/report.md has the list)."""

import html
import re

import pytest

from launch.commands.report_steps import of_runs
from mimir.runs import replays
from mimir.runs.replays import Replay
from mimir.runs.status import read_head
from tests import ROOT
from tests.launch.report.made import begun, train
from tests.test_docs import check

ANSWERS = {
    "What was trained?": r"<dt>preset</dt><dd>smoke</dd>[\s\S]*<dt>weights</dt><dd>[\d,]+</dd>",
    "On what data, and under which licence?": (
        r"<dt>data</dt><dd>300 peptides, \d+ of them pairs[\s\S]*licence of the data</th>"
        r"<td[^>]*>unknown: this data set is not Mimir's own[\s\S]*to cite for the data</th>"
    ),
    "How long did it take?": r"<dt>time of machines</dt><dd>[\d.]+ (s|min|h)",
    "Where was it trained?": r'data-label="machine">local [\s\S]*data-label="ran on">\S',
    "What did it cost, against the estimate?": (
        r"<dt>estimated at first</dt><dd>1\.0 h, \$0\.50</dd>[\s\S]*<dt>cost</dt><dd>\$\d"
    ),
    "Was it interrupted, and was the resume exact?": (
        r"<dt>exactness</dt><dd>steps 500 to 1,000 replayed on [^<]*: identical</dd>[\s\S]*"
        r"ended from outside[\s\S]*100 steps, about 10 s"
    ),
    "Is the model better than counting letters?": (
        r"Background: the model \(2\.\d{4} nats per residue\) is better than the order-2 Markov"
    ),
    "Does it know its target?": r"Pairs of known targets: the model uses the target \(\+0",
    "How sure is that?": (
        r"with an uncertainty of at most ±0\.\d{4}[\s\S]*\d\.\d{4} to \d\.\d{4}</td>"
    ),
    "How do the samples look?": r"64 drawn without a target: [\s\S]*<pre>[A-Z]{5,20}\n",
    "How is the model used?": r"python -m mimir sample --run run -n 10 --target \w+</td>",
    "How is it made again?": (
        r"python -m launch submit --preset smoke [^<]*--epochs 40[^<]*--name run-again</td>"
        r"[\s\S]*<h2>Settings</h2>[\s\S]*data \(CSV\)</th><td[^>]*>[0-9a-f]{64}"
    ),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = train(begun(tmp_path_factory.mktemp("asked")), done=True)
    sha256 = read_head(store, "run").kept[-1].sha256
    machine = ("NVIDIA L4", "2.9.1") * 2
    replays.write(store, "run", Replay(store.now(), 500, 1000, sha256, *machine, True, 100, 0))
    return html.unescape(of_runs(store, ["run"]).content.decode())


@pytest.mark.parametrize("question", ANSWERS)
def test_the_page_answers(page: str, question: str) -> None:
    assert re.search(ANSWERS[question], page)


def test_the_document_has_these_questions_and_no_other() -> None:
    section = (ROOT / "docs/report.md").read_text().partition("## Twelve questions")[2]
    listed = re.findall(r"^\| ([A-Z][^|]*\?) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert listed == list(ANSWERS)


def test_its_commands_are_taken(page: str) -> None:
    commands = re.findall(r'data-label="command">(python [^<]+)</td>', page)
    assert len(commands) == 6
    for each in commands:
        check(each)
