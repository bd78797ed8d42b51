"""A worker that trains nothing: it keeps the contract with the store, and takes a script.

STAND_IN in its environment names what it does: work (until asked to stop, or STEPS steps),
bad (claims, then finds the configuration bad), dead (ends before it claims), vanish (is killed
in the middle), slow (does not claim at all), deaf (works, and ignores SIGTERM).
"""

import argparse
import os
import signal
import sys
import time
from typing import Any

import numpy as np
from safetensors.numpy import save

from mimir.config import CHECKPOINT_FORMAT, Config
from mimir.data.files import canonical_json
from mimir.errors import MimirError
from mimir.output import model_object
from mimir.runs import layout, notes
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.parts import PartWriter
from mimir.runs.record import RunRecord, read_run
from mimir.runs.store import Store, open_store

TICK = 0.05


def checkpoint_of(
    record: RunRecord, step: int, number: int = CHECKPOINT_FORMAT, **more: Any
) -> bytes:
    """A checkpoint with few weights. number: of its format; more: tensors in place of its own."""
    digest = record.data.sha256 if record.data else ""
    config = Config.from_dict(record.config).sha256() if record.config else ""
    ones = np.full((2, 3), step, np.float32)
    tensors = {"ema.w": ones, "best.w": ones / 2, "loop.best_step": np.array(step - 1), **more}
    body = {"config_sha256": config, "data_sha256": digest, "format": number}
    # Not by `to_bytes`, which makes a list of a single number.
    return save(tensors, metadata={"mimir": canonical_json(body)})


class Worker:
    def __init__(self, store: Store, run: str, number: int) -> None:
        self.store, self.run, self.number = store, run, number
        self.attempt = Attempt.claim(store, run, number, say=print)
        prefix = layout.attempt_prefix(run, number)
        self.log = PartWriter(store, prefix, "log")
        self.metrics = PartWriter(store, prefix, "metrics")
        self.asked = ""
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, *_: object) -> None:
        if os.environ["STAND_IN"] != "deaf":
            self.asked = "SIGTERM"

    def beat(self, step: int, total: int) -> None:
        heartbeat = Heartbeat(
            time.time(), step, total, 0.5, 20.0, 3.0, 3.1, os.getpid(), "here", interval_s=1.0
        )
        notes.write_heartbeat(self.store, self.run, self.number, heartbeat)

    def state(self, step: int) -> bytes:
        record = read_run(self.store, self.run)
        return checkpoint_of(record, step)

    def end(self, code: int, reason: str) -> int:
        self.log.flush(f"attempt {self.number} ended: {reason}\n")
        outcome = Outcome(code, reason, time.time(), self.attempt.head.step)
        notes.record_outcome(self.store, self.run, self.number, outcome)
        return code

    def work(self, how: str, total: int) -> int:
        step = self.attempt.head.step
        self.log.flush(f"attempt {self.number} begins at step {step}\n")
        if how == "bad":
            return self.end(78, "device is 'cuda', but no GPU is visible")
        self.beat(step, total)
        while step < total:
            time.sleep(TICK)
            step += 1
            if how == "vanish" and step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            self.log.flush(f"step {step}\n")
            self.metrics.flush(f'{{"step": {step}, "loss": {4 - step / total}}}\n')
            self.beat(step, total)
            request = notes.stop_requested(self.store, self.run, self.number)
            stop = self.asked or (request.reason if request else "")
            if stop or step % 5 == 0:
                self.attempt.commit(step, self.state(step), 3.0)
            if stop:
                return self.end(75, f"{stop}; committed at step {step}")
        content = model_object.encode({"w": np.ones(3, np.float32)}, ["ACDEFGHIK"])
        model = self.attempt.put_model(model_object.FILE, content)
        self.attempt.finish("done", "finished", model)
        return self.end(0, "finished")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--store", "--run", "--attempt"):
        parser.add_argument(name, required=True)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--deadline", type=float, default=0.0)
    parser.add_argument("--record", default="")
    words = parser.parse_args()
    how = os.environ["STAND_IN"]
    if how == "dead":
        print("no module named torch", flush=True)
        return 1
    if how == "slow":
        time.sleep(60)
    try:
        worker = Worker(open_store(words.store), words.run, int(words.attempt))
        return worker.work(how, int(os.environ.get("STEPS", "10")))
    except MimirError as error:
        print(error, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
