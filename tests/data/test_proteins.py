import gzip
from pathlib import Path

import pytest

from mimir.data.alphabet import decode
from mimir.data.proteins import read_fasta
from mimir.errors import BadInput


def _file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "p.fasta"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_plain_gzip_wrapped_lower_case_and_crlf(tmp_path: Path, pack: type[bytes]) -> None:
    data = b">P1 first\r\nMKUX\r\nacd\r\n\r\n>P2\r\nWW\r\n"
    proteins = read_fasta(_file(tmp_path, pack(data)))
    assert proteins.names == ("P1", "P2")
    assert decode(proteins.tokens) == "MKUXACDWW"
    assert proteins.offsets.tolist() == [0, 7, 9]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"MKVL\n", "does not begin with a FASTA header"),
        (b">P1\n>P2\nMK\n", "P1 has a header but no sequence"),
        (b">P1\nMK\n>P2\nMKJL\n", "P2 has 'J' at position 3"),
        (b">P1\nMKL*W\n", r"'\*' at position 4"),
        (b">P1\n*\n", "P1 has a header but no sequence"),
        (gzip.compress(b">P1\nMK\n" * 99, mtime=0)[:-12], "damaged gzip"),
    ],
)
def test_bad_fasta(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_fasta(_file(tmp_path, data))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no FASTA file at"):
        read_fasta(tmp_path / "none.fasta")
