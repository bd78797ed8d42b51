import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mimir.data import files
from mimir.errors import BadInput, Corrupt


def test_tensors_and_record_come_back_and_bytes_do_not_depend_on_order() -> None:
    a, b = np.arange(3, dtype=np.int32), np.ones(2, dtype=np.uint8)
    data = files.to_bytes({"a": a, "b": b}, {"x": 1, "y": [None, 0.5]})
    assert data == files.to_bytes({"b": b, "a": a}, {"y": [None, 0.5], "x": 1})
    tensors, record = files.from_bytes(data, Path("p"))
    assert record == {"x": 1, "y": [None, 0.5]}
    assert tensors["a"].tolist() == [0, 1, 2]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["mimir"]
    other = files.for_torch(data)
    assert safetensors.numpy.load(other).keys() == {"a", "b"}
    assert files.from_bytes(other, Path("p"))[1] == record
    size = int.from_bytes(other[:8], "little")
    assert json.loads(other[8 : 8 + size])["__metadata__"]["format"] == "pt"
    assert size % 8 == 0


def test_no_nan_in_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.canonical_json({"x": float("nan")})


def test_damaged_and_foreign_files() -> None:
    data = files.to_bytes({"a": np.arange(99)}, {})
    for bad in (b"", data[:50], data[:-1], b"\xff" * 99):
        with pytest.raises(Corrupt, match="damaged"):
            files.from_bytes(bad, Path("p"))
    for other in ({"other": "{}"}, {"mimir": "no json"}, {"mimir": "[1]"}, None):
        foreign = safetensors.numpy.save({"a": np.arange(3)}, metadata=other)
        with pytest.raises(BadInput, match="none that this package wrote"):
            files.from_bytes(foreign, Path("p"))


def test_write_replaces_whole_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    files.write(path, b"old")
    assert path.stat().st_mode & 0o400

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BadInput, match="No space left"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]
