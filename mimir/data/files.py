"""Reads and writes files, and packs tensors with one JSON record into a safetensors file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from mimir import atomic_file
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec

# safetensors does not fix the order of several metadata keys; with one, equal content has
# equal bytes.
_KEY = "mimir"
_HEADER = 4 << 20
"""Bytes: ours have some names of tensors, and at most the names of 32,768 targets."""


_UNPACK = "unpack it, and give the file that was in it"
_FORMS = {
    b"\x1f\x8b": ("compressed with gzip", _UNPACK.replace("it,", "it with `gunzip`,", 1)),
    b"PK\x03\x04": ("a ZIP file, as spreadsheets are", f"save it as CSV, or {_UNPACK}"),
    b"BZh": ("compressed with bzip2", _UNPACK),
    b"\xfd7zXZ\0": ("compressed with xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", _UNPACK),
    b"\xff\xfe\0\0": ("UTF-32 text", "save it as UTF-8"),  # before UTF-16, whose mark begins it
    b"\0\0\xfe\xff": ("UTF-32 text", "save it as UTF-8"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
}
"""By their first bytes: forms in which no text is read, and what to do about them."""


def other_form(data: bytes) -> str:
    """What a file is that is no text in UTF-8, and what to do about it: "" where none is known."""
    found = next((form for first, form in _FORMS.items() if data.startswith(first)), None)
    return f"{found[0]}; {found[1]}" if found else ""


def sha256(data: bytes) -> str:
    """SHA-256 of the bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read(path: Path, what: str) -> bytes:
    """The whole file. Raises BadInput, in which `what` says what the file should be."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no {what} at {path}; check the path") from None
    except OSError as error:
        raise BadInput(f"the {what} {path} cannot be read: {error.strerror or error}") from error


def text(path: Path, what: str) -> str:
    """The whole file, text in UTF-8; a byte order mark is passed over. As `read`; BadInput for
    another form, and for what is no text."""
    data = read(path, what)
    if form := other_form(data):
        raise BadInput(f"{path} is {form}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8"
        ) from error


def write(path: Path, data: bytes) -> None:
    """Write the file whole or not at all.

    Raises BadInput if the folder is missing or cannot be written to, or if it is no plain file.
    """
    atomic_file.replace(path, data)


def canonical_json(record: Mapping[str, Any]) -> str:
    """JSON with sorted keys, without blanks, without NaN: equal records give equal text."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)


def to_bytes(tensors: Mapping[str, NDArray[Any]], record: Mapping[str, Any]) -> bytes:
    """A safetensors file with the record as canonical JSON in its only metadata key."""
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return safetensors.numpy.save(arrays, metadata={_KEY: canonical_json(record)})


def for_torch(data: bytes) -> bytes:
    """A file of `to_bytes` that also says `format: pt`, without which other libraries take no
    weights. Equal files stay equal: the library itself writes several keys in any order."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = {"format": "pt", **header["__metadata__"]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def from_bytes(data: bytes, path: Path | str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Tensors and record of a file made by `to_bytes`; `path` is named in errors.

    Raises Corrupt if the bytes are no safetensors file, BadInput if it is not one of ours.
    """
    record = record_of(data, str(path))
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise Corrupt(f"{path} is damaged or no safetensors file ({error}); make it again") from (
            error
        )
    return tensors, record


def record_of(data: bytes, what: str) -> dict[str, Any]:
    """The JSON record of a file made by `to_bytes`, before any of its tensors is made.

    The library's load() from bytes leaves the metadata out; the header is its length and JSON.

    Raises Corrupt if the bytes are no safetensors file, BadInput if it is not one of ours.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_HEADER, len(data) - 8):
        raise Corrupt(f"{what} is damaged or no safetensors file; make it again")
    try:
        metadata = codec.decode(data[8 : 8 + size], f"{what}: its header").get("__metadata__")
    except Corrupt as error:
        raise Corrupt(
            f"{what} is damaged or no safetensors file ({error}); make it again"
        ) from None
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    try:
        return codec.decode(text if isinstance(text, str) else "", "its record")
    except Corrupt as error:
        raise BadInput(
            f"{what} is a safetensors file but none that this package wrote ({error})"
        ) from None
