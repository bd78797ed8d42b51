"""The sidecar `<csv>.groups.safetensors`: the group of each row of a CSV, tied to it by digest."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimir import atomic_file
from mimir.data import files
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec

_FORMAT = 1
ENDING = ".groups.safetensors"
"""Of its name, after the CSV's."""


def path_of(csv_path: Path) -> Path:
    """Where the sidecar of a CSV lies."""
    return atomic_file.beside_of(csv_path, ENDING)


def write(csv_path: Path, csv_sha256: str, group: NDArray[np.int32]) -> None:
    """Write the sidecar of a CSV: `group` int32 [N], one per data row in order."""
    record = {"csv_sha256": csv_sha256, "format": _FORMAT, "rows": len(group)}
    files.write(path_of(csv_path), files.to_bytes({"group": group}, record))


def read(csv_path: Path, csv_sha256: str, rows: int) -> NDArray[np.int32] | None:
    """The groups of a CSV's rows, int32 [rows]; None if there is no sidecar.

    Raises BadInput if the sidecar was made for another content of the CSV, Corrupt if it is
    damaged.
    """
    path = path_of(csv_path)
    if not path.exists():
        return None
    tensors, record = files.from_bytes(files.read(path, "sidecar"), path)
    codec.check_format(record, _FORMAT, str(path))
    if record.get("csv_sha256") != csv_sha256:
        raise BadInput(
            f"{path} was made for another version of {csv_path.name}; build both again, or "
            "delete the sidecar to have the rows grouped by their sequences"
        )
    group = tensors.get("group")
    if group is None or group.dtype != np.int32 or group.shape != (rows,) or group.min() < 0:
        raise Corrupt(f"{path} does not hold one group for each of {rows} rows; build it again")
    return np.asarray(group, dtype=np.int32)
