"""What a container of an attempt is given of this computer's own folders."""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mimir.runs import layout


def of_run(store: str, run: str, sweep: str = "") -> list[tuple[Path, bool]]:
    """The run's folder of a file store, and whether it can only be read there.

    What of it the launcher has written comes after it, to be read alone, and so does what the
    run's sweep shares ("" for none).

    Raises:
        OSError: the run's folder cannot be looked into.
    """
    folder = Path(unquote(urlsplit(store).path))
    found = [(folder / run, False)]
    for key in (
        layout.launcher_folder(run), layout.record_key(run),
        layout.code_folder(run), layout.data_folder(run), layout.start_folder(run),
    ):  # fmt: skip
        if (folder / key).exists():  # a run that was begun without the launcher has no code there
            found.append((folder / key, True))
    if sweep:
        found.append((folder / layout.sweep_folder(sweep), True))
    return found


def compiled(image: str) -> Path:
    """The folder of this computer in which containers of an image keep what they compile.

    Each image has one of its own: what is in there is run by those that come later.

    Raises:
        OSError: it cannot be made, or this user has no home.
    """
    which = hashlib.sha256(image.encode()).hexdigest()[:16]
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise OSError("this user has no home folder; set XDG_CACHE_HOME") from None
    folder = cache / "mimir" / "compiled-in-containers" / which
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
