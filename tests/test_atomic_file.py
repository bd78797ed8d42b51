import os
from pathlib import Path

import pytest

from mimir import atomic_file


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
