"""Mimir's code in a run's store, by its digest: what a machine runs is what was submitted."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launch.contract import deadlines
from launch.payload import wheel
from mimir.runs import layout
from mimir.runs.record import read_run
from mimir.runs.store import Store, Stored


@contextlib.contextmanager
def file() -> Iterator[Path]:
    """This launcher's own code as a wheel, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        path = Path(folder) / wheel.file_name()
        path.write_bytes(wheel.content())
        yield path


def of_run(store: Store, run: str) -> Stored:
    """The run's code in its store: what it was submitted with.

    A run that `mimir train` made has none: it gets this launcher's own, by content, so that a
    second attempt finds it there.
    """
    record = read_run(store, run)
    if record.code is not None:
        return record.code
    with file() as path:
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        key = layout.code_key(run, sha256, path.name)
        if key in store.list(key):
            return Stored(key, len(content), sha256)
        return store.put_content(key, path)


def link(store: Store, stored: Stored) -> dict[str, str]:
    """The variable by which a machine fetches the code with nothing but Python's own library.

    A signed link, which is a secret; {} for a store that is a folder, where the machine reads it.
    """
    from mimir.runs.s3_store import S3Store  # imports boto3, a quarter of a second

    if not isinstance(store, S3Store):
        return {}
    return {"MIMIR_CODE_URL": store.presign(stored.key, deadlines.KEYS_FETCHED_WITHIN)}


def differs(store: Store, run: str) -> str:
    """A sentence if what is installed here is not the run's code, else ""."""
    code = read_run(store, run).code
    if code is None:
        return ""
    here = hashlib.sha256(wheel.content()).hexdigest()
    if here == code.sha256:
        return ""
    return (
        f"run {run} was submitted with other code ({code.sha256[:12]}) than is installed here "
        f"({here[:12]}), which trains it now"
    )
