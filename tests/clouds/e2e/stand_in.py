"""A worker that trains nothing, on a rented machine: it gets there the way the real one does.

Its "weights" are a digest over all steps, each made of the one before: they come out the same
if and only if every step was done once, in order, from what was committed. ACT says what it is
to do: "" to work, "bad" (its configuration), "dead" (no word at all), "idle" (beats, but never
gets on), "holds N" (idle from step N on), "mute N" (gives no sign from step N on), "deaf" (does
not hear its deadline). PACE: seconds for a step, STEPS: how many.
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from launch.payload import bootstrap
from mimir.errors import MimirError
from mimir.output import model_object
from mimir.runs import layout, notes
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store, open_store

EVERY = 3
"""Steps between checkpoints."""


def weights(steps: int) -> bytes:
    """What an undisturbed run of so many steps leaves."""
    state = b""
    for step in range(1, steps + 1):
        state = after(state, step)
    return left(state)


def left(state: bytes) -> bytes:
    """What a run with this state leaves."""
    numbers = np.frombuffer(state, np.uint8).astype(np.float32)
    return model_object.encode({"state": numbers}, ["ACDEFGHIK"])


def after(state: bytes, step: int) -> bytes:
    return hashlib.sha256(state + step.to_bytes(4, "big")).hexdigest().encode()


class Worker:
    def __init__(self, store: Store, run: str, number: int, deadline: float) -> None:
        self.store, self.run, self.number, self.deadline = store, run, number, deadline
        self.attempt = Attempt.claim(store, run, number, say=print)
        prefix = layout.attempt_prefix(run, number)
        self.log, self.metrics = (
            PartWriter(store, prefix, "log"),
            PartWriter(store, prefix, "metrics"),
        )
        self.asked = ""
        self.act = os.environ.get("ACT", "")
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, *_: object) -> None:
        if self.act != "deaf":
            self.asked = "signal"

    def end(self, code: int, reason: str, cause: str = "") -> int:
        self.log.flush(f"attempt {self.number} ended: {reason}\n")
        outcome = Outcome(code, reason, self.store.now(), self.attempt.head.step, cause)
        notes.record_outcome(self.store, self.run, self.number, outcome)
        return code

    def work(self, total: int, pace: float) -> int:
        if self.attempt.ended:
            print(self.attempt.ended)
            return 75
        found = self.attempt.load_newest(lambda content: content)
        step, state = (found[0].step, found[1]) if found else (0, b"")
        self.log.flush(f"attempt {self.number} begins at step {step}\n")
        self.beat(step, total)
        if self.act == "bad":
            return self.end(78, "device is 'cuda', but no GPU is visible")
        while step < total:
            while self.act == f"mute {step}":
                time.sleep(pace)
            time.sleep(pace)
            if self.act != "idle" and self.act != f"holds {step}":
                step += 1
                state = after(state, step)
                self.metrics.flush(json.dumps({"step": step, "loss": 4 - step / total}) + "\n")
            self.beat(step, total)
            cause = self.requested()
            if (cause and self.attempt.head.step < step) or (step and step % EVERY == 0):
                self.attempt.commit(step, state, 3.0)
            if cause:
                return self.end(75, f"{cause}; committed at step {step}", cause)
        model = self.attempt.put_model(model_object.FILE, left(state))
        self.attempt.finish("done", "finished", model)
        return self.end(0, "finished")

    def beat(self, step: int, total: int) -> None:
        heartbeat = Heartbeat(
            time.time(), step, total, 0.5, 20.0, 3.0, 3.1, os.getpid(), "here", interval_s=1.0
        )
        notes.write_heartbeat(self.store, self.run, self.number, heartbeat)

    def requested(self) -> str:
        if self.deadline and self.store.now() >= self.deadline and self.act != "deaf":
            return "deadline"
        return self.asked or (
            "stop" if notes.stop_requested(self.store, self.run, self.number) else ""
        )


def main() -> NoReturn:
    """As launch/payload/bootstrap.py begins, but the code is this checkout's."""
    folder = Path(tempfile.gettempdir()) / f"mimir-{os.environ['MIMIR_CODE_SHA256'][:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys, link = folder / "keys.json", os.environ["MIMIR_KEYS_URL"]
    if not keys.exists():
        bootstrap._take_keys(link, keys, (0.2, 0.5))
        own = {**os.environ, "MIMIR_CREDENTIALS_FILE": str(keys)}
        bootstrap._forget(own, link, bootstrap._own_link(own))
    os.environ["MIMIR_CREDENTIALS_FILE"] = str(keys)
    words = json.loads(os.environ["MIMIR_WORKER"])
    options = dict(zip(words[::2], words[1::2], strict=True))
    if os.environ.get("ACT") == "dead":
        print("no module named torch", flush=True)
        sys.exit(1)
    try:
        store = open_store(options["--store"])
        over = notes.read_outcome(store, options["--run"], int(options["--attempt"]))
        if over is not None:
            sys.exit(over.exit_code)
        worker = Worker(
            store, options["--run"], int(options["--attempt"]),
            float(options.get("--deadline", "0")),
        )  # fmt: skip
        sys.exit(worker.work(int(os.environ["STEPS"]), float(os.environ["PACE"])))
    except MimirError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
