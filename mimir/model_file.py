"""Opening a run's model, whatever it is: finished, unfinished, or a pulled folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from mimir import checkpoint, export
from mimir.config import Config
from mimir.data.peptides import parse
from mimir.errors import BadInput, Corrupt, NotFound
from mimir.model import Denoiser
from mimir.runs import archive
from mimir.runs.head import Head, Kept
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store


@dataclass(frozen=True)
class Opened:
    """A model with the averaged weights, and what its numbers mean."""

    model: Denoiser
    config: Config
    vocabulary: dict[str, Any]
    source: str
    """For people: which state of which run this is."""


def from_folder(folder: Path) -> Opened:
    """A pulled model. Raises BadInput if a file is missing, Corrupt if one is damaged."""
    files = {}
    for name in ("model.safetensors", "config.json", "vocabulary.json"):
        path = folder / name
        if not path.is_file():
            raise BadInput(f"{folder} holds no {name}; give the folder that `launch pull` made")
        files[name] = path.read_bytes()
    return _opened(files, str(folder))


def from_run(store: Store, run: str) -> Opened:
    """The model of a run: what it left if it is done, else its newest checkpoint's average."""
    head = read_head(store, run)
    if head.model is not None:
        stored = head.model
        content = store.get(stored.key, size=stored.size, sha256=stored.sha256)
        files = archive.unpack(content, stored.key)
        return _opened(files, f"run {run}, finished")
    return _from_checkpoint(store, run, head)


def _from_checkpoint(store: Store, run: str, head: Head) -> Opened:
    record = read_run(store, run)
    if not head.kept or record.data is None:
        raise BadInput(f"run {run} has no checkpoint yet; see `python -m launch status {run}`")
    config = Config.from_dict(record.config)
    data = record.data
    peptides = parse(store.get(data.key, size=data.size, sha256=data.sha256), data.key)
    kept, tensors = _newest(store, head, config.sha256(), peptides.digest)
    weights = {
        name.removeprefix("ema."): value
        for name, value in tensors.items()
        if name.startswith("ema.")
    }
    words = export.vocabulary(peptides)
    model = export.denoiser(save(weights), config, words)
    return Opened(model, config, words, f"run {run}, unfinished, at step {kept.step}")


def _newest(
    store: Store, head: Head, config_sha256: str, data_sha256: str
) -> tuple[Kept, dict[str, Tensor]]:
    """The newest checkpoint that can be read: a commit may replace what HEAD named a moment ago."""
    wrong = ""
    for kept in reversed(head.kept):
        try:
            content = store.get(kept.key, size=kept.size, sha256=kept.sha256)
            return kept, checkpoint.decode(content, config_sha256, data_sha256)[1]
        except (Corrupt, NotFound) as error:
            wrong = str(error)
    raise Corrupt(f"no checkpoint of run {head.run} can be read: {wrong}")


def _opened(files: dict[str, bytes], source: str) -> Opened:
    try:
        body = json.loads(files["config.json"])
        words = json.loads(files["vocabulary.json"])
        found = body.pop("format")
        for name in ("mimir", "run", "step"):
            body.pop(name, None)
        if found != export.FORMAT:
            raise BadInput(f"{source} has format {found}; this Mimir reads {export.FORMAT}")
        config = Config.from_dict(body)
        model = export.denoiser(files["model.safetensors"], config, words)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{source}: config.json or vocabulary.json is damaged ({error})") from None
    return Opened(model, config, words, source)
