"""Opens a data set that a user names: a packed file, or a CSV, which is packed once."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mimir.data import PACKED, sample_path
from mimir.errors import BadInput

if TYPE_CHECKING:
    from mimir.data.peptides import Peptides


def packed_cache() -> Path:
    """The folder of this user in which packed data is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mimir" / "packed"


@dataclass(frozen=True)
class Data:
    """A packed data set, and the path that the user gave."""

    given: Path
    packed: Path
    peptides: "Peptides"


def data_file(data: str = "") -> Path:
    """Where a data set is; "": the sample that ships with Mimir. BadInput if nothing is there."""
    path = Path(data).expanduser() if data else sample_path()
    if path.is_dir():
        raise BadInput(f"--data {path} is a folder: give a CSV or a packed .safetensors in it")
    if not path.is_file():
        raise BadInput(f"there is no data file {path}; give a CSV or a packed .safetensors")
    return path


def open_data(data: str = "") -> Data:
    """Open a data set, and pack it if it is a CSV. data as `data_file`.

    Raises BadInput: what is wrong, where, and what to do.
    """
    from mimir.data.pack import load

    path = data_file(data)
    packed = path if path.suffix == PACKED else _packed(path)
    return Data(path, packed, load(packed))


def _packed(csv: Path) -> Path:
    """The packed form of a CSV, from the cache if the content was packed before."""
    from mimir.data import sidecar, target_sequences
    from mimir.data.pack import HELD_OUT, pack, usual_part
    from mimir.data.peptides import FORMAT
    from mimir.data.split import RULES

    content = csv.read_bytes()
    digest = hashlib.sha256(f"format {FORMAT}, split {RULES}, held out {HELD_OUT}\n".encode())
    digest.update(content)
    del content  # packing reads it again, and needs the room
    for beside in (sidecar.path_of(csv), target_sequences.path_of(csv)):
        if beside.is_file():  # both change what is packed
            kind = beside.name.removeprefix(csv.name).encode()
            digest.update(hashlib.sha256(kind + beside.read_bytes()).digest())
    out = packed_cache() / f"{digest.hexdigest()[:32]}.safetensors"
    if out.is_file():
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        out = Path(tempfile.mkdtemp(prefix="mimir-")) / out.name
    pack(csv, out, validation=usual_part(csv))
    return out
