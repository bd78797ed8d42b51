"""One attempt, as the training process lives it: claim, fetch, train, leave a model.

Started by the worker, which watches over it. All it knows of the run comes from the store;
all that it leaves goes there.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

if __name__ == "__main__":
    # Importing torch takes seconds, in which a Ctrl-C is to end this at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # as notices.kept has left it

import torch

from mimir.checks import dry_run, pace
from mimir.checks.fast_path import parity_checked
from mimir.config import Config
from mimir.errors import (
    DONE,
    INTERRUPTED,
    GpuUnusable,
    Interrupted,
    MachineUnfit,
    MimirError,
    NonFinite,
    StoreError,
)
from mimir.output import export
from mimir.runs import notes
from mimir.runs.commit import Attempt
from mimir.runs.record import read_run
from mimir.runs.store import Store, open_store
from mimir.text import first_line
from mimir.training import checkpoint, compiler
from mimir.training import device as gpu
from mimir.training.assemble import build, describe
from mimir.training.cadence import Cadence
from mimir.training.committer import STORE_TIMEOUT as COMMIT_TIMEOUT
from mimir.training.committer import Committer
from mimir.training.loop import Loop, ProgressSnapshot, first_record
from mimir.training.machine import Machine
from mimir.training.validation import Validation
from mimir.worker import exchange, first_state, notices
from mimir.worker.reporter import Destination, Reporter, Terminal, stdout
from mimir.worker.start_times import StartTimes, process_age


class Stop:
    """Set by signals; polled by the loop. A later second signal has its usual effect.

    parent: the process that must live; it may be gone before this one can look.
    """

    def __init__(self, parent: int = 0) -> None:
        self.reason = ""
        self._checkpoint: Callable[[], None] | None = None
        self._asked = False  # for a checkpoint
        self._first = 0.0
        self._parent = parent or os.getppid()

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        notices.listen(self._ask)

    def on_request(self, checkpoint: Callable[[], None]) -> None:
        """Call this when the worker asks for a checkpoint, or now if it has asked already."""
        self._checkpoint = checkpoint
        if self._asked:
            checkpoint()

    def _ask(self) -> None:
        self._asked = True
        if self._checkpoint is not None:
            self._checkpoint()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.reason:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            self.reason, self._first = f"stopped by {name}", now
        elif now - self._first > notices.TOGETHER:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def __call__(self) -> str:
        if not self.reason and os.getppid() != self._parent:
            self.reason = "the worker that watched over this process is gone"
        return self.reason


def run_attempt(
    store: Store,
    run: str,
    number: int,
    stop: Stop,
    terminal: Terminal,
    timeout: float = COMMIT_TIMEOUT,
    record_sha256: str = "",
) -> str:
    """Train one attempt to its end. Returns one sentence on what it left.

    timeout: seconds that the store may stay away before training gives up. record_sha256: of
    run.json, "" if it is not known.

    Raises:
        MimirError: with the exit code that the worker passes on.
    """
    start = StartTimes(process_age())
    record = read_run(store, run, record_sha256)
    if stop():
        raise Interrupted(f"{stop()}; nothing was begun")  # a claim would fence a successor
    attempt = Attempt.claim(store, run, number, say=terminal.say)
    if attempt.ended:
        return attempt.ended
    config = Config.from_dict(record.config)
    start.ended("the claim")
    machine = _machine(store, run, number, config)
    start.ended("trying GPU and compiler")
    how = machine.execution(config.runtime.graph_steps).words
    terminal.say(f"run {run}, attempt {number}: claimed; {gpu.name(machine.device)}: {how}")
    engine, peptides = build(store, record, config, machine)
    start.ended("data and model")
    progress = ProgressSnapshot()
    began = first_record(engine, peptides.digest, number)

    def check(content: bytes) -> tuple[checkpoint.Record, dict[str, torch.Tensor]]:
        return checkpoint.decode_committed(content, config.sha256(), peptides.digest)

    found = attempt.load_newest(check)
    start.ended("the checkpoint")
    engine = parity_checked(engine, terminal.say)
    if found is not None:
        began, tensors = found[1]
        engine.resume(tensors)
    elif record.origin is not None:
        began = first_state.begin(engine, store, record.origin, began)
        terminal.say(f"begins with {record.origin.words}")
    terminal.say(describe(engine, peptides))
    if found is None and config.runtime.preflight == "on":
        terminal.say(dry_run.dry_run_step(engine, began))
    order = notes.read_order(store, run, number) if config.runtime.preflight == "on" else None
    if order is not None and (seen := pace.compared(engine, began, order, store.now())):
        terminal.say(seen)
    start.ended("compilation and checks")
    rows = config.training.eval_rows
    validation = Validation(peptides, engine.machine.device, rows, config.objective)
    start.ended("the held-out data")
    terminal.say(start.words)
    card = exchange.Card(*gpu.identity(machine.device)) if machine.device.type == "cuda" else None
    reporter = Reporter(
        Destination(store, run, number), progress, terminal, card, exchange.of_this_process()
    )
    notice = notices.seconds() if _is_spot(store, run, number) else 0.0
    cadence = Cadence(config.runtime.checkpoint_minutes * 60, notice, terminal.say)
    stop.on_request(cadence.ask)
    committer = Committer(
        attempt, terminal.say, first=attempt.inherit, before=reporter.flush, took=cadence.took,
        timeout=timeout,
    )  # fmt: skip
    try:
        loop = Loop(
            engine, validation, committer, began, progress,
            emit=reporter.emit, say=terminal.say, stop=stop,
            samples=lambda: export.quality(engine, peptides), cadence=cadence,
        )  # fmt: skip
        how = loop.run()
        committer.close()
        reporter.flush()
        # Under heartbeats still: an attempt that gives no sign at its end looks like a lost one.
        ended = replace(loop.end, price=_price(store, run, number))
        terminal.say(f"training {ended.sentence}")
        model = export.leave(attempt, engine, peptides, terminal.say)
        attempt.finish("done", how, model)
    except NonFinite as error:
        committer.close()  # what is on its way is still good, and the run is still ours
        try:
            attempt.finish("failed", str(error))
        except StoreError as away:
            terminal.say(f"that the run failed is not written: {away}")
        raise
    finally:
        committer.close()
        reporter.close()
    return f"run {run} is done: {how} at step {engine.step}"


def _machine(store: Store, run: str, number: int, config: Config) -> Machine:
    """The machine, as Machine.choose has it.

    Raises:
        MachineUnfit: it was rented for its GPU, which cannot be used: the next host's may work.
        GpuUnusable: nobody rented it, so that a person must mend it.
    """
    try:
        machine = Machine.choose(config)
    except GpuUnusable as error:
        if not _rented_for_gpu(store, run, number):
            raise
        raise MachineUnfit(f"{error.what}; the run goes on elsewhere") from None
    # A torch without CUDA is the image's lack, and the first line of the log says so.
    unseen = config.runtime.device == "auto" and machine.device.type == "cpu" and torch.version.cuda
    if unseen and _rented_for_gpu(store, run, number):
        raise MachineUnfit("no GPU is visible on this machine; the run goes on elsewhere")
    return machine


def _price(store: Store, run: str, number: int) -> float | None:
    """$/h of this machine as it was ordered; None if it has no price."""
    order = notes.unless_damaged(notes.read_order, store, run, number)
    return order.offer.price if order is not None and order.offer is not None else None


def _is_spot(store: Store, run: str, number: int) -> bool:
    """Whether its service may take this machine away, and tells before."""
    order = notes.unless_damaged(notes.read_order, store, run, number)
    return order is not None and order.offer is not None and order.offer.spot


def _rented_for_gpu(store: Store, run: str, number: int) -> bool:
    order = notes.read_order(store, run, number)
    return order is not None and order.offer is not None and order.offer.memory_gb > 0


def main(argv: list[str] | None = None) -> int:
    """The process's exit code; its last line of output says why."""
    parser = argparse.ArgumentParser(prog="python -m mimir.worker.attempt", description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--attempt", required=True, type=int)
    parser.add_argument("--patience", type=float, default=COMMIT_TIMEOUT)
    parser.add_argument("--record", default="")
    parser.add_argument("--parent", type=int, default=0)
    words = parser.parse_args(argv)
    stop = Stop(words.parent)
    stop.listen()
    terminal = stdout()
    try:
        compiler.keep(say=terminal.say)
        store = open_store(words.store)
        number, patience, record = words.attempt, words.patience, words.record
        terminal.say(run_attempt(store, words.run, number, stop, terminal, patience, record))
        return DONE
    except MimirError as error:
        terminal.say(f"{error}")
        return error.exit_code
    except MemoryError:
        terminal.say("out of memory: use a smaller --batch, or --accumulate 2")
        return INTERRUPTED
    except torch.OutOfMemoryError as error:
        terminal.say(
            f"out of GPU memory: use --accumulate 2 or a smaller --batch ({first_line(error)})"
        )
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last line must say what it was
        terminal.say("".join(traceback.format_exception(error)))
        terminal.say(f"crashed: {type(error).__name__}: {first_line(error)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
