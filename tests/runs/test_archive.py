"""An archive from a store is opened without trust."""

import io
import tarfile

import pytest

from mimir.errors import Corrupt
from mimir.runs.archive import pack, unpack


def tar_of(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_plain_files() -> None:
    files = {"model.safetensors": b"\0" * 3000, "tensorboard/events.1": b"", "a b.txt": b"x"}
    assert unpack(pack(files), "model") == files


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../up", "a/../../up", "a/..", "..", "./x", "a//b"),
        *(".bashrc", ".ssh/keys", "C:x", "a\\b", "a\nb"),
    ],
)
def test_evil_names(name: str) -> None:
    with pytest.raises(Corrupt, match="not unpacked"):
        unpack(tar_of(tarfile.TarInfo(name), b"evil"), "model")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
)
def test_only_regular_files(kind: bytes) -> None:
    member = tarfile.TarInfo("model.safetensors")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(Corrupt, match="no regular file"):
        unpack(tar_of(member), "model")


def test_a_sparse_file_may_claim_any_size() -> None:
    member = tarfile.TarInfo("model.safetensors")
    member.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1",
        "GNU.sparse.size": str(1 << 40), "GNU.sparse.name": "big",
    }  # fmt: skip
    with pytest.raises(Corrupt):
        unpack(tar_of(member, b"x"), "model")


def test_the_same_name_twice() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("x"))
    with pytest.raises(Corrupt, match="not unpacked"):
        unpack(out.getvalue(), "model")


@pytest.mark.parametrize("content", [b"", b"not a tar" * 100])
def test_no_tar(content: bytes) -> None:
    with pytest.raises(Corrupt, match="no tar archive"):
        unpack(content, "model")


def test_cut_off() -> None:
    whole = pack({"model.safetensors": b"\1" * 3000})
    with pytest.raises(Corrupt):
        unpack(whole[:2000], "model")
