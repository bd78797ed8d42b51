"""What the cells do with a trained model: fetch, sample, score, measure and compare.

Each runs the command of this name in a process of its own, so that the kernel holds no GPU.
"""

import csv
import re
import shlex
from dataclasses import replace
from pathlib import Path

from mimir.errors import BadInput
from mimir.notebook import shown
from mimir.notebook.cells import Session
from mimir.notebook.recall import recall
from mimir.output import sheet
from mimir.runs import layout
from mimir.text import one_line

COLUMNS = ("sequence", "score", "score_se", "length", "charge", "gravy", "nearest", "identity")
"""What a cell shows of a drawn peptide; the file has all."""


def pull(session: Session) -> Path:
    """The folder with the run's model, report, curve and metrics."""
    folder = session.folder / session.run
    print(_run(session, "launch", "pull", session.run, "--out", str(folder)))
    return folder


def sample(session: Session, count: int, target: str = "", options: str = "") -> Path:
    """Draw peptides and show them, the best score first; the file (CSV) that has them.

    Args:
        target: accession of a target protein; "" for none.
        options: further ones of `mimir sample`.
    """
    out = session.folder / f"{session.run}-samples.csv"
    words = ["--run", session.run, "-n", str(count), "--format", "csv", "--rank", "--out", str(out)]
    words += ["--target", target.strip()] if target.strip() else []
    print(_run(session, "mimir", "sample", *words, *_split(options)), end="")
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    shows = [name for name in COLUMNS if rows and rows[0].get(name)]
    print(sheet.as_table(shows, [[one_line(row[name]) for name in shows] for row in rows]))
    print(f"All columns: {out}")
    return out


def score(session: Session, peptides: Path | str, target: str = "", options: str = "") -> None:
    """Show how likely the model thinks these peptides, and what a target adds to that.

    Args:
        peptides: a file, or letters with commas or blanks between.
        target, options: as of `sample`, of `mimir score`.
    """
    given = str(peptides)
    if not Path(given).is_file():
        listed = [word for word in re.split(r"[\s,;]+", given) if word]
        if not listed or not all(word.isalpha() for word in listed):
            raise BadInput(
                f"peptides is {given!r}, but must be letters with commas between, or a file that "
                "is there"
            )
        path = session.folder / "peptides.txt"
        path.write_text("\n".join(listed) + "\n", encoding="utf-8")
        given = str(path)
    words = ["--run", session.run, "--peptides", given]
    words += ["--target", target.strip()] if target.strip() else []
    print(_run(session, "mimir", "score", *words, *_split(options)))


def evaluate(session: Session, options: str = "") -> None:
    """Show the model's held-out figures beside the data's baselines."""
    print(_run(session, "mimir", "evaluate", "--run", session.run, *_split(options)))


def compare(session: Session, others: str) -> None:
    """Show this run beside others: settings that differ, held-out figures, hours.

    Args:
        others: names with commas between; where commits are kept on Drive, those are taken from
            there that this machine does not have.
    """
    names = [name for name in re.split(r"[\s,;]+", others) if name and name != session.run]
    if not names:
        print("Fill in compare_with to see this run beside others.")
        return
    store = session.opened()
    for name in names:
        layout.check_run(name)
        if session.keep and store.read(layout.record_key(name)) is None:
            recall(replace(session, run=name))
    print(_run(session, "launch", "compare", session.run, *names))


def _split(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise BadInput(f"options are {options!r}, which cannot be read: {error}") from None


def _run(session: Session, module: str, name: str, *words: str) -> str:
    """What the command prints; BadInput with its last line if it fails."""
    done = shown.command(
        module, name, *words, "--store", session.store, what=f"mimir {name}"
    )  # fmt: skip
    if done.code:
        raise BadInput(done.last)
    return done.out
