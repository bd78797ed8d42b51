"""Cells that use a trained model: which command each of them runs, and what it shows."""

from pathlib import Path

import pytest

from mimir.errors import BadInput
from mimir.notebook import results, shown
from mimir.notebook.cells import Session

CSV = (
    "id,rank,sequence,target,label,score,score_se,length,charge,gravy,pi\n"
    "run_1_1,1,ACD,P10000,interacting,1.5,0.2,3,0.1,-0.2,5\n"
)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session((tmp_path / "store").as_uri(), "run", "smoke", "", tmp_path / "session")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; each prints "a table" and writes what it was told to."""
    found: list[list[str]] = []

    def played(*words: str, what: str) -> shown.Done:
        found.append(list(words))
        if "--out" in words:
            out = Path(words[words.index("--out") + 1])
            if out.suffix:
                out.write_text(CSV)
        return shown.Done(0, "a table", "")

    monkeypatch.setattr(shown, "command", played)
    return found


def test_samples(
    session: Session, asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = results.sample(session, 3, " P10000 ", "--novel --temperature 0.8")
    words = " ".join(asked[0])
    assert words.startswith("mimir sample --run run -n 3 --format csv --rank --out ")
    assert words.endswith(f"--target P10000 --novel --temperature 0.8 --store {session.store}")
    shows = capsys.readouterr().out
    assert "sequence  score  score_se  length" in shows
    assert "ACD" in shows
    assert str(out) in shows
    results.sample(session, 3)
    assert "--target" not in asked[1]


@pytest.mark.parametrize("peptides", ["ACD, EFGHI", "ACD EFGHI\n", "ACD;EFGHI"])
def test_typed_peptides_are_scored(
    session: Session, asked: list[list[str]], peptides: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results.score(session, peptides, "P10000")
    words = asked[0]
    assert Path(words[words.index("--peptides") + 1]).read_text() == "ACD\nEFGHI\n"
    assert words[-4:] == ["--target", "P10000", "--store", session.store]
    assert capsys.readouterr().out == "a table\n"


def test_a_file_is_scored_as_it_is(
    session: Session, asked: list[list[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine.fasta").write_text(">a\nACD\n")
    results.score(session, tmp_path / "mine.fasta")
    assert asked[0][5] == str(tmp_path / "mine.fasta")


@pytest.mark.parametrize("peptides", ["", " , ", "/content/no.csv", "--out=x"])
def test_peptides_that_are_none(session: Session, asked: list[list[str]], peptides: str) -> None:
    with pytest.raises(BadInput, match="must be letters with commas between, or a file"):
        results.score(session, peptides)
    assert not asked


def test_comparison(
    session: Session, asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    results.compare(session, " , run ")
    assert "Fill in compare_with" in capsys.readouterr().out
    results.compare(session, "first, run,second")
    assert asked == [["launch", "compare", "run", "first", "second", "--store", session.store]]
    with pytest.raises(BadInput, match="run name 'No' is not allowed"):
        results.compare(session, "No")


def test_what_fails_is_one_sentence(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    done = shown.Done(78, "", "python -m mimir: there is no run run")
    monkeypatch.setattr(shown, "command", lambda *words, **more: done)
    for act in (results.pull, results.evaluate):
        words = ("",) if act is results.evaluate else ()
        with pytest.raises(BadInput, match="there is no run run"):
            act(session, *words)
    with pytest.raises(BadInput, match="cannot be read: No closing quotation"):
        results.evaluate(session, "--samples '5")
