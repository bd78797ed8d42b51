"""How long the laptop's commands take over a store that has grown for months.

The store answers each request after a fixed time, as a bucket does, and a listing after so much
for each thousand names; it is in memory, so that nothing else is measured. Commands run in this
process: their start is bench.start's to measure. "first" is the first look at the store, which
writes down what is over for good; "again" is each later one.

    python -m bench.many_runs
"""

import contextlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from bench import results
from mimir import cli
from mimir.config import load_preset
from mimir.errors import BadInput
from mimir.runs import newest, notes
from mimir.runs.attempts import AttemptStatus, record_gone
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome
from mimir.runs.order import Offer, Order, Plan
from mimir.runs.parts import PartWriter
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store
from tests.runs.memory import CountingStore

LIMITS = {"runs": 8.0, "status": 1.5, "logs --tail 50": 1.0}
"""Seconds that the first look may take on a quiet machine."""
STATES = ("done",) * 17 + ("interrupted", "failed", "running")
"""What becomes of the runs, in turns."""
LONG = "long"
"""The run with many attempts and a long log."""


class Far(CountingStore):
    """A store that answers a while after it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def asked(self, what: str) -> None:
        super().asked(what)
        time.sleep(self.seconds)


def measure(
    *, runs: int = 500, attempts: int = 200, parts: int = 5000, milliseconds: float = 50.0,
    out: str = str(results.FOLDER),
) -> None:  # fmt: skip
    """Measure `runs`, `status`, `logs`, `estimate` and `watch --once` over many runs.

    Args:
        runs: of two attempts each, most of them done.
        attempts: of one more run, all but the newest taken away.
        parts: of that attempt's log.
        milliseconds: after which the store answers a request.
        out: folder for the result file.

    Example:
        python -m bench.many_runs --milliseconds 20
    """
    import torch  # only for the machine's description

    if min(runs, attempts, parts) < 1 or not milliseconds >= 0:
        raise BadInput("--runs, --attempts, --parts must be 1 or more, --milliseconds 0 or more")
    store, load = Far(), results.load_average()
    _fill(store, runs, attempts, parts)
    store.seconds = milliseconds / 1e3
    shown: dict[str, Any] = {}
    with _as_the_store(store):
        for name, act in _commands().items():
            shown[name] = [_timed(store, act) for _ in range(2)]
            (first, asked), (again, later) = ((each["s"], each["requests"]) for each in shown[name])
            limit = f"   (limit {LIMITS[name]:.1f} s)" if name in LIMITS else ""
            print(
                f"{name:<16} {first:6.2f} s, {asked} requests; again {again:6.2f} s, {later}, "
                f"processor {shown[name][1]['cpu_s']:.2f} s{limit}"
            )
    machine = results.machine(torch.device("cpu"), torch.get_num_threads())
    body = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine,
        "load_average": load, "runs": runs, "attempts": attempts, "parts": parts,
        "milliseconds": milliseconds, "commands": shown,
    }  # fmt: skip
    print(f"load before: {load}; written to {results.save(body, Path(out), 'runs')}")


def _commands() -> dict[str, Callable[[], object]]:
    from launch.commands.estimate import estimate
    from launch.commands.logs import logs
    from launch.commands.runs import runs
    from launch.commands.status import status
    from launch.commands.watch import watch

    return {
        "runs": runs,
        "status": lambda: status(LONG),
        "logs --tail 50": lambda: logs(LONG, tail=50),
        "logs": lambda: logs(LONG, attempt=1),
        "estimate": lambda: estimate("small", rows=10_000),
        "watch --once": lambda: watch(once=True),
    }


def _timed(store: Far, act: Callable[[], object]) -> dict[str, float]:
    began, used, before = time.perf_counter(), time.process_time(), len(store.requests)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        act()
    took = round(time.perf_counter() - began, 3)
    cpu = round(time.process_time() - used, 3)
    return {"s": took, "cpu_s": cpu, "requests": len(store.requests) - before}


@contextlib.contextmanager
def _as_the_store(store: Far) -> Iterator[None]:
    """Commands find this store, no provider's key, and nothing of this computer's user."""
    logging.disable(logging.WARNING)
    keys = [name for name in os.environ if name.endswith("_API_KEY")]
    with tempfile.TemporaryDirectory(prefix="mimir-bench-") as home:
        environ = {"HOME": home, "XDG_DATA_HOME": home, "MIMIR_STORE": store.url}
        with (
            mock.patch.dict(os.environ, environ),
            mock.patch("mimir.runs.store.open_store", return_value=store),
        ):
            for name in keys:
                del os.environ[name]
            yield


def _fill(store: Far, runs: int, attempts: int, parts: int) -> None:
    for number in range(runs):
        _trained(store, f"run{number:04d}", STATES[number % len(STATES)], 2)
    _trained(store, LONG, "running", attempts)
    for attempt in {1, attempts}:
        writer = PartWriter(store, f"{LONG}/a{attempt:04d}", "log")
        for number in range(parts):
            writer.flush(f"step {64 * number}  loss 2.9\n")


def _trained(store: Far, name: str, state: str, attempts: int) -> None:
    """A run whose machines were taken away an hour ago, and whose newest attempt is in `state`."""
    now = time.time()
    config = load_preset("small").as_dict()
    create_run(store, RunRecord(name, "small", config, 0, now - 7200))
    newest.add(store, newest.NewRun(name, "small", now - 7200))
    for number in range(1, attempts + 1):
        offer = Offer("runpod", f"o{number}", "RTX 4090", 24, 0.4)
        raise_attempt(store, name, Order("runpod", Plan(("runpod",)), now - 7000, offer))
        notes.record_machine(
            store, name, number, Machine("runpod", now - 7000, f"i{number}", price=0.4)
        )
        claimed = Attempt.claim(store, name, number)
        claimed.commit(1000 * number, b"x", 3.0)
        beat = Heartbeat(now, 1000 * number, 10**6, rate=800.0, loss=2.9, device="RTX 4090")
        notes.write_heartbeat(store, name, number, beat)
        if number < attempts:
            outcome = Outcome(75, "taken away", now, 1000 * number)
            notes.record_outcome(store, name, number, outcome)
            _gone(store, name, number, outcome, Gone(now - 3600, "eviction", "taken away"))
    if state == "running":
        return
    if state == "done":
        claimed.finish("done")
    code = {"done": 0, "failed": 77, "interrupted": 75}[state]
    outcome = Outcome(code, "so it ended", now, 1000 * attempts)
    notes.record_outcome(store, name, attempts, outcome)
    _gone(store, name, attempts, outcome, Gone(now - 3600, "over", "it had ended"))
    if state == "failed":
        end_attempt(store, name, attempts, "failed", "so it ended")


def _gone(store: Store, name: str, number: int, outcome: Outcome, gone: Gone) -> None:
    """As the launcher that has ended the attempt's machine writes it."""
    attempt = AttemptStatus(
        number, None, outcome.words, outcome.exit_code, outcome.time,
        machine=notes.read_machine(store, name, number),
        order=notes.read_order(store, name, number), whole=True,
    )  # fmt: skip
    record_gone(store, name, attempt, gone)


if __name__ == "__main__":
    cli.run("python -m bench.many_runs", measure)
