"""Folders of this computer that a container sees, as arguments of the engine."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.contract.provider import AttemptSpec
from launch.payload import run_folders


def compiled(image: str, found: Mapping[str, Any] | None) -> Path:
    """Where containers of an image keep what they compile. found: what the engine knows of it."""
    return run_folders.compiled(str((found or {}).get("Id") or image))


def of_run(spec: AttemptSpec) -> list[str]:
    """The run's folder of a file store at its own path; the launcher's part, record, code and
    data can only be read, and so can what its sweep shares."""
    words = []
    for path, read_only in run_folders.of_run(spec.store, spec.run, spec.sweep):
        words += bound(path, str(path), *(["readonly"] if read_only else []))
    return words


def bound(source: Path, target: str, *options: str) -> list[str]:
    """A folder or file under another path in the container; a comma in a path is quoted."""
    line = io.StringIO()
    fields = ("type=bind", f"source={source}", f"target={target}", *options)
    csv.writer(line, lineterminator="").writerow(fields)
    return ["--mount", line.getvalue()]
