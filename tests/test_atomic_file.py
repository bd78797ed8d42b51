"""Files are written whole or not at all; --out replaces plain files only, never an input."""

import os
import socket
import stat
from pathlib import Path

import pytest

from mimir import atomic_file
from mimir.atomic_file import OutFile, replace
from mimir.errors import BadInput

KINDS = ["folder", "FIFO", "socket", "link to a FIFO", "link to nothing", "open file", "device"]


@pytest.fixture
def kinds(tmp_path: Path) -> dict[str, Path]:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "nothing").symlink_to("nowhere")
    (tmp_path / "stdout").symlink_to("/dev/stdout")
    return {
        "folder": tmp_path / "folder", "FIFO": tmp_path / "fifo", "socket": tmp_path / "socket",
        "link to a FIFO": tmp_path / "link", "link to nothing": tmp_path / "nothing",
        "open file": tmp_path / "stdout", "device": Path("/dev/zero"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_refused_and_stays(kinds: dict[str, Path], kind: str) -> None:
    path = kinds[kind]
    before = path.lstat()
    for refused in (lambda: OutFile(str(path)), lambda: replace(path, b"new")):
        with pytest.raises(BadInput, match=r"is not replaced|link to nothing") as caught:
            refused()
        assert str(path) in str(caught.value)
    after = path.lstat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)


def test_it_becomes_no_plain_file_meanwhile(tmp_path: Path) -> None:
    out = OutFile(str(tmp_path / "x"))
    os.mkfifo(tmp_path / "x")
    with pytest.raises(BadInput, match="a FIFO"):
        out.write(b"new")


def test_a_link_to_a_plain_file_stays_and_the_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    replace(tmp_path / "link", b"new")
    assert os.readlink(tmp_path / "link") == "real"
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755, 0o444])
def test_permissions_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    replace(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [path.read_bytes(), os.listdir(tmp_path)] == [b"new", ["x"]]


@pytest.mark.parametrize("how", ["name", "way", "hard link", "link", "sidecar"])
def test_an_input_is_no_output(tmp_path: Path, how: str) -> None:
    read = tmp_path / "in.csv"
    read.write_bytes(b"precious")
    named = {
        "name": read, "way": tmp_path / "a" / ".." / "in.csv", "hard link": tmp_path / "hard",
        "link": tmp_path / "link", "sidecar": tmp_path / "in",
    }[how]  # fmt: skip
    (tmp_path / "a").mkdir()
    os.link(read, tmp_path / "hard")
    (tmp_path / "link").symlink_to(read)
    with pytest.raises(BadInput, match="is what --pairs reads: give another --out"):
        OutFile(str(named), [("--pairs", read)], beside=[".csv"] if how == "sidecar" else [])
    assert read.read_bytes() == b"precious"


def test_what_lies_in_an_input_folder_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "store" / "run").mkdir(parents=True)
    (tmp_path / "stored").mkdir()
    for named in ("store/run/HEAD", "store/new", "stored/../store/new"):
        with pytest.raises(BadInput, match="is what --store reads"):
            OutFile(str(tmp_path / named), [("--store", tmp_path / "store")])
    OutFile(str(tmp_path / "stored" / "x"), [("--store", tmp_path / "store")])


def test_a_minus_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    OutFile("-").write(b"a\0\xff")
    assert capfdbinary.readouterr().out == b"a\0\xff"
    assert not Path("-").exists()


def test_home_and_missing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    OutFile("~/x").write(b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    for named in ("~nobody-of-this-name/x", "none/x", "x" * 300, "~/x/y"):
        with pytest.raises(BadInput, match=r"--out|cannot|no folder"):
            OutFile(named)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    atomic_file.write(path, b"old")
    atomic_file.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    atomic_file.write(tmp_path / "f", b"secret", 0o600)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    atomic_file.write(tmp_path / "f", b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic_file.write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]
