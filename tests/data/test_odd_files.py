"""Files as people have them: each is read, or refused with the reason and what to do about it."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimir.data import commands
from mimir.data.build import build
from mimir.data.draw import Draws
from mimir.errors import BadInput

BOM = b"\xef\xbb\xbf"
ROWS = 300


def _built(inputs: SimpleNamespace) -> bytes:
    out = inputs.folder / "d.csv"
    build(inputs.human, inputs.viral, inputs.pairs, out, rows=ROWS)
    return out.read_bytes()


Change = Callable[[bytes], bytes]
READ: dict[str, tuple[str, Change]] = {
    "FASTA with a byte order mark": ("human", lambda data: BOM + data),
    "FASTA with CR": ("human", lambda data: data.replace(b"\n", b"\r")),
    "FASTA with CR LF and a mark, gzip": (
        "human", lambda data: gzip.compress(BOM + data.replace(b"\n", b"\r\n")),
    ),
    "FASTA with a stop at each end": (
        "human", lambda data: data.replace(b"\n>", b"*\n>").rstrip() + b"*\n",
    ),
    "FASTA with a stop on a line of its own": (
        "human", lambda data: data.replace(b"\n>", b"\n*\n\n>"),
    ),
    "pairs with CR and a mark": ("pairs", lambda data: BOM + data.replace(b"\n", b"\r")),
    "pairs with blanks in the header": (
        "pairs", lambda data: data.replace(b"sequence,target", b"sequence, target "),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_read_as_it_was_meant(name: str, inputs: SimpleNamespace) -> None:
    plain = _built(inputs)
    which, change = READ[name]
    path: Path = getattr(inputs, which)
    path.write_bytes(change(path.read_bytes()))
    assert _built(inputs) == plain


def _unclosed(data: bytes) -> bytes:
    """A quote before the first field of line 5, which nothing closes."""
    lines = data.split(b"\n")
    return b"\n".join([*lines[:4], b'"' + lines[4], *lines[5:]])


def _second_target(data: bytes) -> bytes:
    header, *rows = data.decode().splitlines()
    return "\n".join([f"{header},target", *(f"{row},ZZZ" for row in rows)]).encode()


def _bases(_: bytes) -> bytes:
    return b">d\n" + "".join("ACGT"[i] for i in Draws(5, 5).below(4, 9000).tolist()).encode()


REFUSED: dict[str, tuple[str, Change, str]] = {
    "pairs, gzip": ("pairs", gzip.compress, "is compressed with gzip; unpack it with `gunzip`"),
    "pairs, bzip2": ("pairs", bz2.compress, "is compressed with bzip2; unpack it"),
    "pairs, xz": ("pairs", lzma.compress, "is compressed with xz; unpack it"),
    "a spreadsheet": ("pairs", lambda _: b"PK\3\4\x14", "is a ZIP file, .* save it as CSV"),
    "pairs, UTF-16": ("pairs", lambda data: data.decode().encode("utf-16"), "is UTF-16 text; save"),
    "pairs, UTF-32": ("pairs", lambda data: data.decode().encode("utf-32"), "is UTF-32 text; save"),
    "pairs, UTF-32, big-endian": (
        "pairs", lambda data: ("\ufeff" + data.decode()).encode("utf-32-be"), "is UTF-32 text",
    ),
    "FASTA, bzip2": ("human", bz2.compress, "is compressed with bzip2; unpack it"),
    "FASTA, UTF-16": ("human", lambda data: data.decode().encode("utf-16"), "is UTF-16 text; save"),
    "unclosed quote": ("pairs", _unclosed, "line 5: .* unexpected end of data; is a quote"),
    "unclosed quote before others": (
        "pairs", lambda data: _unclosed(data) + b'"A,C",P1,x\n', "line 5: .* expected .* a quote",
    ),
    "a quote that closes late": (
        "pairs", lambda data: _unclosed(data) + b'",P1,x\n', "line 5: sequence '.{40,60}' is not",
    ),
    "a long field": (
        "pairs", lambda data: _unclosed(data) + b"A" * 200_000, "line 5: .* larger .* not closed",
    ),
    "a column twice": ("pairs", _second_target, "the first line names target twice; take one"),
    "a field too many": (
        "pairs", lambda data: data + b"A,CDEF,P1,x\n", "line 42: 4 fields instead of 3",
    ),
    "DNA": ("viral", _bases, "the proteins of --viral look like DNA or RNA: 100%.*--allow-dna"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str, inputs: SimpleNamespace) -> None:
    which, change, why = REFUSED[name]
    path: Path = getattr(inputs, which)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match=why) as caught:
        _built(inputs)
    assert len(str(caught.value)) < 300 + len(str(path))
    assert not (inputs.folder / "d.csv").exists()


@pytest.mark.parametrize(("change", "why"), [
    (gzip.compress, "line 1: the file is compressed with gzip; unpack it with `gunzip`"),
    (lambda _: b"PK\3\4\x14\0", "line 1: the file is a ZIP file, as spreadsheets are; save it"),
    (lambda data: data.decode().encode("utf-16"), "line 1: the file is UTF-16 text; save it as"),
])  # fmt: skip
def test_a_data_set_in_another_form(
    change: Change, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.csv.gz"
    path.write_bytes(change(b"sequence,label,target\nACDEFGH,0,\n"))
    with pytest.raises(BadInput, match="has 1 problem"):
        commands.verify(str(path))
    said = capsys.readouterr().out
    assert why in said
    assert said.isascii()
