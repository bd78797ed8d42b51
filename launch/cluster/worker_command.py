"""The command line of the worker in a job: Mimir's own Python, or an image that holds it."""

import sys


def of(
    store: str, run: str, attempt: int, deadline: float = 0.0, record: str = "", image: str = ""
) -> list[str]:
    """argv of the worker. deadline in unix s, 0 for none."""
    options = ["--store", store, "--run", run, "--attempt", str(attempt)]
    options += ["--record", record] if record else []
    options += ["--deadline", repr(deadline)] if deadline else []
    return [sys.executable, "-m", "mimir.worker", *options]
