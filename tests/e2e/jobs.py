"""Small runs for the end-to-end tests, and what to compare at their ends."""

import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from mimir.config import Config
from mimir.data import target_sequences
from mimir.errors import Interrupted
from mimir.runs import telemetry
from mimir.runs.begin import raise_attempt
from mimir.runs.parts import read_metrics
from mimir.runs.record import read_run
from mimir.runs.status import read_head
from mimir.runs.store import Store
from mimir.submission import enter, prepare
from mimir.training import checkpoint
from mimir.training.engine import Engine
from mimir.worker.attempt import run_attempt
from mimir.worker.reporter import Terminal
from tests import ROOT
from tests.gates import Gate

LETTERS = "ACDEFGHIKLMNPQRSTVWY"

# Without the rehearsal: these tests count steps, and tests/checks/test_dry_run.py has its own.
TINY: dict[str, Any] = {
    "dim": 16, "layers": 1, "heads": 2, "batch": 8, "epochs": 4, "log_every": 2, "eval_every": 3,
    "eval_rows": 16, "warmup_steps": 2, "checkpoint_steps": 1, "threads": 1, "ema": 0.9,
    "preflight": "off",
}  # fmt: skip
ENDLESS: dict[str, Any] = {"epochs": 10_000_000, "checkpoint_steps": 5, "eval_every": 1000}
"""Settings of a run that is stopped or killed, and never comes to its end (days of training).
What must be done before a run ends is held by a gate instead (tests/gates.py)."""


def write_data(path: Path, rows: int) -> Path:
    """A data set of `rows` peptides, a third of them pairs, the same at every call.

    Beside it lie sequences of the first three of its targets, two of which are alike.
    """
    lines, seen, state = ["sequence,label,target"], set(), 12345
    while len(lines) <= rows:
        letters = []
        for _ in range(4 + len(lines) % 17):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            letters.append(LETTERS[(state >> 33) % 20])
        word = "".join(letters)
        if word in seen:
            continue
        seen.add(word)
        paired = len(lines) % 3 == 0
        lines.append(f"{word},1,P{10000 + len(lines) % 5}" if paired else f"{word},0,")
    path.write_text("\n".join(lines) + "\n")
    proteins = (LETTERS * 2, LETTERS + "WWWW", "HHHHGGGGYYYY")
    fasta = "".join(f">P{10000 + i}\n{one}\n" for i, one in enumerate(proteins))
    target_sequences.path_of(path).write_text(fasta)
    return path


def copy_data(data: Path, to: Path) -> None:
    """Copy a data set with its sequences: without them it trains to other weights."""
    to.write_bytes(data.read_bytes())
    target_sequences.path_of(to).write_bytes(target_sequences.path_of(data).read_bytes())


def submit(store: Store, name: str, data: Path, **settings: object) -> None:
    """Create the run."""
    submit_as(store, name, str(data), {**TINY, **settings})


def submit_as(store: Store, name: str, data: str, settings: dict[str, Any]) -> None:
    """Create the run with the preset's own settings but for these; data: "" for the sample."""
    enter(store, name, prepare("smoke", settings, data))


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_training(process: "subprocess.Popen[bytes]") -> bool:
    """Kill what a worker trains in, and leave the worker; False if it trains in nothing yet."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == process.pid:
                os.kill(int(folder.name), signal.SIGKILL)
                return True
        except (OSError, ValueError):
            continue  # it has just ended
    return False


class StopAfter:
    """Asks to stop once the engine has taken this many steps, whatever polls it."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> str:
        return "" if self.left > 0 else "the test stops it"

    def on_request(self, checkpoint: Callable[[], None]) -> None:
        """Nobody asks for a checkpoint."""


class Silent(Terminal):
    """Keeps the lines instead of printing them."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def train(store: Store, name: str, steps: int = 10**9) -> tuple[bool, list[str]]:
    """An attempt of at most `steps` steps; whether the run is done, and what it said."""
    number, terminal, stop = raise_attempt(store, name), Silent(), StopAfter(steps)
    advance = Engine.advance

    def counted(engine: Engine, most: int) -> None:
        advance(engine, most)
        stop.left -= 1

    try:
        with mock.patch.object(Engine, "advance", counted):
            run_attempt(store, name, number, stop, terminal)  # type: ignore[arg-type]
        return True, terminal.lines
    except Interrupted:
        return False, terminal.lines


def worker(
    store: Store, name: str, attempt: int, *options: str, out: Path = Path(os.devnull),
    gate: Gate | None = None,
) -> "subprocess.Popen[bytes]":  # fmt: skip
    """A worker process in a session of its own, so that all of it can be killed at once.

    out: takes, at its end, what the worker prints. gate: holds its training.
    """
    held = gate.environment if gate else {}
    with out.open("ab") as printed:
        return subprocess.Popen(
            [
                sys.executable, "-m", "mimir.worker", "--run", name, "--attempt", str(attempt),
                "--store", store.url, *options,
            ],
            cwd=ROOT, env=dict(os.environ, OMP_NUM_THREADS="1", **held), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
        )  # fmt: skip


def final_state(store: Store, name: str) -> dict[str, torch.Tensor]:
    """Every tensor of the last checkpoint."""
    head, record = read_head(store, name), read_run(store, name)
    kept = head.kept[-1]
    content = store.get(kept.key, size=kept.size, sha256=kept.sha256)
    config = Config.from_dict(record.config)
    from mimir.data.peptides import parse

    assert record.data is not None
    data = parse(store.get(record.data.key), "data").digest
    return checkpoint.decode(content, config.sha256(), data)[1]


def model_sha256(store: Store, name: str) -> str:
    """Digest of the exported weights."""
    model = read_head(store, name).model
    assert model is not None, "the run has left no model"
    return hashlib.sha256(store.get(model.key)).hexdigest()


def history(store: Store, name: str) -> list[dict[str, Any]]:
    """The rows of metrics without what depends on the clock."""
    timed = ("time", "steps_per_s", "tokens_per_s", *telemetry.COLUMNS)
    rows = read_metrics(store, name, read_head(store, name))
    return [{k: v for k, v in row.items() if k not in timed} for row in rows]


def assert_same(store: Store, name: str, other: str, elsewhere: Store | None = None) -> None:
    """Two runs ended alike: every tensor, every loss, the exported weights, bit for bit.

    elsewhere: the store of the other run, if it is not the same.
    """
    there = elsewhere or store
    one, two = final_state(store, name), final_state(there, other)
    assert one.keys() == two.keys()
    assert any(key.startswith("adamw.exp_avg_sq.") for key in one)
    different = [key for key in one if not torch.equal(one[key], two[key])]
    assert not different, f"{len(different)} tensors differ, such as {different[:3]}"
    assert history(store, name) == history(there, other)
    assert model_sha256(store, name) == model_sha256(there, other)
