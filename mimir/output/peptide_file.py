"""Reads peptides, or names of targets, from a file that a person gives.

Plain lines, FASTA, or a CSV with a column of a known name; CRLF and a byte order mark are accepted.
In plain files and before a CSV's header, lines that begin with `#` are comments.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir.data import columns, files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH, STANDARD
from mimir.errors import BadInput
from mimir.text import nearest

_HEADERS = ("peptide", "peptides", "sequences", "seq", "seqs")
"""What other programs call a column of peptides, in letters that are residues too."""


@dataclass(frozen=True)
class Entry:
    """A value, its name ("" if it has none), and where it stands, for messages.

    raised: whether it had small letters.
    """

    value: str
    name: str
    where: str
    raised: bool = False


def read_peptides(path: Path) -> list[Entry]:
    """The peptides of a file in its order; lower case is raised.

    Raises BadInput if the file is missing or empty, has no column `sequence`, or holds something
    that is no peptide of 4 to 20 letters.
    """
    found = [
        Entry(e.value.upper(), e.name, e.where, e.value != e.value.upper())
        for e in _entries(path, "sequence")
    ]
    if not found:
        raise BadInput(f"{path} holds no peptides; give one a line, FASTA, or CSV with `sequence`")
    for each in found:
        wrong = next((letter for letter in each.value if letter not in LETTERS), "")
        if wrong:
            raise BadInput(
                f"{each.where}: {each.value[:40]!r} has the letter {wrong!r}; peptides are of "
                f"{STANDARD}, or the rare {LETTERS.removeprefix(STANDARD)}"
            )
        if not MIN_LENGTH <= len(each.value) <= MAX_LENGTH:
            raise BadInput(
                f"{each.where}: {each.value[:40]!r} has {len(each.value)} letters, but the model "
                f"knows peptides of {MIN_LENGTH} to {MAX_LENGTH}"
            )
    return found


def doubts(peptides: Sequence[Entry]) -> list[str]:
    """What makes scores of these less sure than they look, a sentence each."""
    rare = [set(each.value) - set(STANDARD) for each in peptides]
    said = []
    if letters := sorted(set().union(*rare)):
        said.append(
            f"{sum(map(bool, rare))} of {len(peptides)} peptides have rare letters "
            f"({', '.join(letters)}), which training data hardly hold: their scores are less sure"
        )
    if raised := sum(each.raised for each in peptides):
        said.append(
            f"{raised} of {len(peptides)} peptides have small letters, which are taken for the "
            "usual residues: the model knows no D-forms and no modified residues"
        )
    return said


def read_targets(path: Path) -> list[Entry]:
    """The target names of a file, each once, in its order: plain lines, or a CSV with `target`.

    Raises BadInput if the file is missing, empty or has no column `target`.
    """
    once = {each.value: each for each in _entries(path, "target")}
    if not once:
        raise BadInput(f"{path} holds no targets; give one accession a line, or CSV with `target`")
    return list(once.values())


def _entries(path: Path, column: str) -> list[Entry]:
    """Values of a file, without blank ones."""
    whole = list(io.StringIO(files.text(path, "file"), newline=""))
    lines = [(number, line.strip()) for number, line in enumerate(whole, 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        return []
    first, line = lines[0]
    if line.startswith(">"):
        return _fasta(path, lines)
    found = columns.sound_rows(path, whole[first - 1 :], first)
    rows = ((number, cells) for number, cells in found if any(cell.strip() for cell in cells))
    first, header = next(rows, (first, []))
    if not header:
        return []
    names = [name.strip().lower() for name in header]
    if columns.repeated(names, [column]):
        raise BadInput(f"{path}, line {first}: the header names {column} twice; take one out")
    if column in names:
        return _csv(path, rows, names.index(column))
    if len(names) > 1:
        hint = nearest(column, names)
        raise BadInput(f"{path}, line {first}: there is no column {column!r}{hint}")
    if column == "sequence" and names[0] in _HEADERS:
        raise BadInput(
            f"{path}, line {first}: {names[0]!r} may be a header or a peptide; write 'sequence' "
            "in its place if it is a header, or on a line above it if it is a peptide"
        )
    return [Entry(line, "", f"{path}, line {number}") for number, line in lines]


def _csv(path: Path, rows: Iterator[tuple[int, list[str]]], at: int) -> list[Entry]:
    found = []
    for number, cells in rows:
        if len(cells) <= at:
            raise BadInput(
                f"{path}, line {number}: there are {len(cells)} columns, fewer than in the header"
            )
        if value := cells[at].strip():
            found.append(Entry(value, "", f"{path}, line {number}"))
    return found


def _fasta(path: Path, lines: list[tuple[int, str]]) -> list[Entry]:
    found: list[Entry] = []
    for number, line in lines:
        if line.startswith(">"):
            words = line[1:].split()
            found.append(Entry("", words[0] if words else "", f"{path}, line {number}"))
        else:
            last = found[-1]
            found[-1] = Entry(last.value + line, last.name, last.where)
    for each in found:
        if not each.value:
            raise BadInput(f"{each.where}: the header {each.name!r} has no sequence below it")
    return found
