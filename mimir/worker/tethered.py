"""Runs a worker that stops, after a last commit, when the process that started it is gone.

A notebook's kernel may be restarted or killed while its machine stays. A worker left behind
would hold the GPU and train against the notebook's next attempt, so it stops as on a SIGTERM.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

from mimir import cli
from mimir.runs.store import open_store
from mimir.worker.supervisor import Worker, to_stdout

PARENT_EVERY = 0.2
"""Seconds between looks at the parent."""


def work(*, run: str, attempt: int, store: str, parent: int) -> int:
    """Work on one attempt of a run for as long as another process lives.

    Example:
        python -m mimir.worker.tethered --run demo --attempt 1 --store file:///data --parent 4711

    Args:
        run: name of the run.
        attempt: number of the attempt, which has been raised.
        store: where the run lives.
        parent: id of the process that this one was started by.
    """
    worker = Worker(open_store(store), run, attempt, out=to_stdout)
    threading.Thread(target=watch, args=(parent,), daemon=True).start()
    return worker.work()


def watch(
    parent: int,
    parent_of: Callable[[], int] = os.getppid,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send this process a SIGTERM once its parent is gone."""
    while parent_of() == parent:
        sleep(PARENT_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    cli.run("python -m mimir.worker.tethered", work)
