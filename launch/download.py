"""What a run gives its user: fetched, checked, and put into a folder file by file, each whole."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mimir.errors import BadInput, Corrupt, NotFound
from mimir.runs import archive, layout
from mimir.runs.head import Head
from mimir.runs.notes import refused_before
from mimir.runs.parts import read_metrics, read_parts
from mimir.runs.record import read_run
from mimir.runs.status import final_head
from mimir.runs.store import Store, Stored

Begin = Callable[[str, int], Callable[[int], None]]
"""Called with what is fetched and its bytes; returns what to call with bytes done."""


@dataclass(frozen=True)
class Download:
    """finished: `files` hold the model; otherwise the newest checkpoint, of step `step`.

    warnings: sentences on newer checkpoints that cannot be used.
    """

    finished: bool
    step: int
    files: dict[str, bytes]
    warnings: tuple[str, ...] = ()


def collect(store: Store, run: str, begin: Begin) -> Download:
    """Fetch model or newest checkpoint, metrics, log and record; all checked by digest.

    Raises:
        BadInput: there is no such run.
        Corrupt: neither its model nor any of its checkpoints can be used.
    """
    read_run(store, run)
    record = store.get(layout.record_key(run))
    # A run that goes on drops its older checkpoints: then HEAD names newer ones by now. What is
    # still missing at the third look has been lost.
    for bad in ((Corrupt,), (Corrupt,), (Corrupt, NotFound)):
        head = final_head(store, run, time.time())
        try:
            gift = _weights(store, head, begin, bad)
            break
        except NotFound:
            continue
    files = dict(gift.files)
    rows = read_metrics(store, run, head)
    files["metrics.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    files["run.log"] = _log(store, head).encode()
    files["run.json"] = record
    return replace(gift, files=files)


def write_all(out: Path, files: dict[str, bytes]) -> None:
    """Write the files below `out`: each is there as a whole or not at all.

    All of them are written beside their places first, so that a full disk changes nothing.
    BadInput if the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".pull-", dir=out))
    except OSError as error:
        raise BadInput(
            f"cannot write to the folder {out}: {error.strerror}; choose another --out"
        ) from error
    try:
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, out / name)
    except OSError as error:
        raise BadInput(
            f"cannot write {error.filename or out}: {error.strerror}; choose another --out "
            "or free some space"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _weights(store: Store, head: Head, begin: Begin, bad: tuple[type[Exception], ...]) -> Download:
    """Model or newest usable checkpoint alone. bad: the errors after which an older one serves."""
    if head.model is not None:
        try:
            content = _fetch(store, head.model, "model", begin)
            return Download(True, head.step, archive.unpack(content, head.model.key))
        except bad as error:
            raise Corrupt(
                f"the model of run {head.run} cannot be used: {error}; its last checkpoint may "
                f"still be: `python -m mimir sample --run {head.run}`"
            ) from error
    warnings: list[str] = []
    for kept in reversed(head.kept):
        try:
            stored = Stored(kept.key, kept.size, kept.sha256)
            content = _fetch(store, stored, f"checkpoint of step {kept.step}", begin)
        except bad as error:
            warnings.append(f"checkpoint of step {kept.step} cannot be used: {error}")
            continue
        name = f"checkpoint-{kept.step}.safetensors"
        return Download(False, kept.step, {name: content}, tuple(warnings))
    if warnings:
        raise Corrupt(
            f"none of the {len(warnings)} checkpoints of run {head.run} can be used: the newest, "
            f"{warnings[0]}; restore one of them"
        )
    return Download(False, head.step, {})


def _fetch(store: Store, stored: Stored, what: str, begin: Begin) -> bytes:
    def fetch() -> bytes:
        progress = begin(what, stored.size)
        key, size, sha256 = stored.key, stored.size, stored.sha256
        return store.get(key, size=size, sha256=sha256, progress=progress)

    try:
        return fetch()
    except Corrupt:
        # Once more: the transfer may be at fault, not the object.
        return fetch()


def _log(store: Store, head: Head) -> str:
    pieces = []
    silent = refused_before(store, head.run, head.attempt) if head.attempt > 1 else frozenset()
    for attempt in (n for n in range(1, head.attempt + 1) if n not in silent):
        pieces.append(f"=== attempt {attempt}\n")
        pieces += [text for _, text in read_parts(store, head.run, attempt, "log")]
    return "".join(pieces)
