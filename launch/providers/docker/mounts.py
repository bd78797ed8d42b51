"""Folders of this computer that a container sees, as arguments of the engine."""

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from launch.contract.provider import AttemptSpec
from mimir.runs import layout


def compiled(image: str, found: Mapping[str, Any] | None) -> Path:
    """The folder of this computer in which containers of an image keep what they compile.

    Each image has one of its own: what is in there is run by those that come later.
    """
    which = hashlib.sha256(str((found or {}).get("Id") or image).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "mimir" / "compiled-in-containers" / which
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def of_run(spec: AttemptSpec) -> list[str]:
    """The run's folder of a file store at its own path; the launcher's part, record, code and
    data can only be read, and so can what its sweep shares."""
    folder = Path(unquote(urlsplit(spec.store).path)) / spec.run
    words = bound(folder, str(folder))
    for key in (
        layout.launcher_folder(spec.run), layout.record_key(spec.run),
        layout.code_folder(spec.run), layout.data_folder(spec.run),
    ):  # fmt: skip
        path = folder.parent / key
        if path.exists():  # a run that was begun without the launcher has no code there
            words += bound(path, str(path), "readonly")
    if spec.sweep:
        shared = folder.parent / layout.sweep_folder(spec.sweep)
        words += bound(shared, str(shared), "readonly")
    return words


def bound(source: Path, target: str, *options: str) -> list[str]:
    """A folder or file under another path in the container; a comma in a path is quoted."""
    line = io.StringIO()
    fields = ("type=bind", f"source={source}", f"target={target}", *options)
    csv.writer(line, lineterminator="").writerow(fields)
    return ["--mount", line.getvalue()]
