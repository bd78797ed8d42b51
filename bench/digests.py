"""Digests of what a run stored: the same for the same training, whatever the clock said."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mimir.runs import telemetry

GROUPS = {"model.": "weights", "master": "weights", "adamw.": "moments", "ema.": "averages"}
"""How a checkpoint's tensors begin -> what they are; the others are "rest"."""
TIMED = ("time", *telemetry.COLUMNS)
RATE = "_per_s"
"""Columns of metrics that hold the time of day or what the machine did, and endings of those that
hold a speed."""
Digests = dict[tuple[str, str, str], str]
"""(store, run, what) -> SHA-256."""


def tensors(content: bytes) -> dict[str, bytes]:
    """Name -> type, shape and bytes of each tensor of a safetensors object."""
    size = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for name, about in header.items():
        start, end = (8 + size + offset for offset in about["data_offsets"])
        kind = json.dumps([about["dtype"], about["shape"]]).encode()
        found[name] = kind + content[start:end]
    return found


def digest(parts: Mapping[str, bytes]) -> str:
    """One SHA-256 of named contents, whatever their order."""
    whole = hashlib.sha256()
    for name in sorted(parts):
        for part in (name.encode(), parts[name]):
            whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()


def of_checkpoint(content: bytes) -> dict[str, str]:
    """What the tensors are -> their digest, for a checkpoint."""
    groups: dict[str, dict[str, bytes]] = {}
    for name, value in tensors(content).items():
        what = next((w for start, w in GROUPS.items() if name.startswith(start)), "rest")
        groups.setdefault(what, {})[name] = value
    return {f"checkpoint, {what}": digest(found) for what, found in sorted(groups.items())}


def of_metrics(text: str) -> str:
    """Digest of the rows of metrics, without what depends on the clock."""
    rows = [json.loads(line) for line in text.splitlines()]
    kept = [
        {name: value for name, value in row.items() if name not in TIMED and RATE not in name}
        for row in rows
    ]
    return digest({"rows": json.dumps(kept, sort_keys=True).encode()})


def differences(one: Digests, other: Digests) -> list[str]:
    """A sentence for all that differs between two trees, or within one of them."""
    found = []
    for key in sorted({*one, *other}):
        store, run, what = key
        if one.get(key) != other.get(key):
            found.append(f"{what} of the {run} run on the {store} store")
    for title, mine in (("the first", one), ("the second", other)):
        for what in sorted({what for _, _, what in mine}):
            if len({value for key, value in mine.items() if key[2] == what}) > 1:
                found.append(f"{what} within {title}: interruption or store changes it")
    return found
