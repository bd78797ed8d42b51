"""What of this computer's files a container sees, as options of the engine's command line."""

import csv
import io
from pathlib import Path
from urllib.parse import unquote, urlsplit

from launch.contract.provider import AttemptSpec
from mimir.runs import layout


def of_run(spec: AttemptSpec) -> list[str]:
    """The run's folder of a file store at its own path; the launcher's part, record, code and
    data can only be read, and so can what its sweep shares."""
    folder = Path(unquote(urlsplit(spec.store).path)) / spec.run
    words = one(folder, str(folder))
    for key in (
        layout.launcher_folder(spec.run), layout.record_key(spec.run),
        layout.code_folder(spec.run), layout.data_folder(spec.run),
    ):  # fmt: skip
        path = folder.parent / key
        if path.exists():  # a run that was begun without the launcher has no code there
            words += one(path, str(path), "readonly")
    if spec.sweep:
        shared = folder.parent / layout.sweep_folder(spec.sweep)
        words += one(shared, str(shared), "readonly")
    return words


def one(source: Path, target: str, *options: str) -> list[str]:
    """A file or folder under a path of the container; options: such as "readonly"."""
    line = io.StringIO()
    fields = ("type=bind", f"source={source}", f"target={target}", *options)
    csv.writer(line, lineterminator="").writerow(fields)
    return ["--mount", line.getvalue()]
