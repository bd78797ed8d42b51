"""Runs to make reports of, without a machine: each text of theirs is what a hostile one writes."""

import json
from pathlib import Path

import numpy as np

from mimir.data.opened import open_data
from mimir.output import model_object
from mimir.runs import alerts, notes
from mimir.runs.alerts import Event
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.execution import Execution
from mimir.runs.figures import ERROR, FIGURES, SELECTION
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat, Outcome, Unended
from mimir.runs.order import Plan
from mimir.runs.parts import PartWriter
from mimir.runs.store import Store, open_store
from mimir.runs.sweep import Member, Sweep, create
from mimir.runs.telemetry import Telemetry, Warned
from mimir.submission import enter, prepare
from tests.e2e import jobs

STEPS = 1000
PEPTIDE = "ACDEFGHIKLMNPQRSTVWY"


def evil(field: str) -> str:
    """A text that a page must show and not obey. field: which one it is in."""
    return f"<script>{field}()</script>\"'><img src=http://x.example/{field}>\x1b[2J\u202e"


def begun(folder: Path, name: str = "run", **settings: object) -> Store:
    """A store with a run on 300 peptides that no machine has begun."""
    store = open_store((folder / "store").as_uri())
    data = str(jobs.write_data(folder / "data.csv", 300))
    enter(store, name, prepare("smoke", {"epochs": 40, "dim": 16, "heads": 2, **settings}, data))
    return store


def swept(folder: Path, runs: int = 6) -> Store:
    """A store with a sweep "lr" of so many runs over lr and two seeds: the first half is done, the
    next two train, and no machine has begun the others."""
    store = open_store((folder / "store").as_uri())
    data = open_data(str(jobs.write_data(folder / "data.csv", 300)))
    base = prepare("smoke", {"epochs": 40, "dim": 16, "heads": 2}, str(data.given)).config
    members = tuple(
        Member(f"lr-{n:03d}", "smoke", {"lr": 1e-3 / (1 + n // 2), "seed": n % 2}, 1200)
        for n in range(runs)
    )
    wanted = Sweep("lr", store.now(), {"smoke": base.as_dict()}, members, Plan(("local",)),
                   probe={"fit": True})  # fmt: skip
    create(store, wanted, data.packed)
    for n in range(runs // 2 + 2):
        train(store, f"lr-{n:03d}", done=n < runs // 2, better=n / 100)
    return store


def train(
    store: Store, name: str = "run", *, done: bool = False, better: float = 0.0
) -> Store:  # fmt: skip
    """Two attempts: the first was killed at step 600 and had committed 500; the second goes on,
    or, `done`, ends at STEPS and leaves samples. better: its held-out figures are so much lower."""
    _attempt(store, name, 0, 600, better)
    attempt = _attempt(store, name, 500, STEPS, better)
    if done:
        drawn = [PEPTIDE[n % 20 :][:9] + PEPTIDE[n % 7] * 3 for n in range(64)]
        content = model_object.encode(
            {"w": np.ones(3, np.float32)}, [each[:12] for each in drawn],
            {evil("told"): drawn[:8], "P10001": [each[:10] for each in drawn]}, best_step=900,
        )  # fmt: skip
        model = attempt.put_model(model_object.FILE, content)
        attempt.finish("done", evil("reason"), model)
        notes.record_outcome(
            store, name, 2, Outcome(0, f"run {name} is done: finished at step {STEPS}", 1.0, STEPS)
        )
    return store


def _attempt(store: Store, name: str, first: int, last: int, better: float) -> Attempt:
    number = raise_attempt(store, name)
    machine = Machine("local", store.now(), evil("id")[:60], gpu=evil("gpu"), price=0.5,
                      estimate_hours=1.0)  # fmt: skip
    notes.record_machine(store, name, number, machine)
    attempt = Attempt.claim(store, name, number)
    rows = [_row(step, better) for step in range(first + 20, last + 1, 20)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    PartWriter(store, f"{name}/a{number:04d}", "metrics").flush(text)
    why = Execution("cuda", "bf16", kernels=(evil("kernel")[:32],), why=evil("why"))
    warned = Warned("gpu-idle", 1.0, evil("warned"))
    figures = Telemetry(
        5.0, gpu_busy=0.9, memory=2_000_000_000, memory_of=8_000_000_000, disk_free=30_000_000_000,
        disk_of=100_000_000_000, warnings=(warned,),
    )  # fmt: skip
    beat = Heartbeat(
        1.0, last, 1200, rate=10.0, loss=2.9, val=2.9 - better, device=evil("device"),
        execution=why, telemetry=figures, torch="2.9.1", cuda=evil("cuda")[:60], python="3.11.4",
    )  # fmt: skip
    event = Event(store.now(), "warning", "disk", evil("event"))
    alerts.write_events(store, name, number, (event,))
    notes.write_heartbeat(store, name, number, beat)
    if first == 0:
        attempt.commit(500, b"state", 2.9 - better)
        notes.record_unended(store, name, number, Unended(1.0, evil("unended")))
        notes.record_outcome(store, name, number, Outcome(75, evil("outcome"), 1.0, 500, "signal"))
    return attempt


def _row(step: int, better: float) -> dict[str, object]:
    row: dict[str, object] = {"step": step, "loss": 2.8 + 1.5 / (1 + step / 40)}
    if step % 100 == 0:
        for n, figure in enumerate(FIGURES):
            row |= {figure.key: 2.9 - better + n / 50 + 5 / (100 + step), figure.key + ERROR: 0.01}
        row |= {SELECTION: 3 - better - step / 10_000, "samples": [PEPTIDE[:9], PEPTIDE[5:14]],
                "samples_kl": 0.25, "samples_copies": 0.1, "samples_unique": 1.0}  # fmt: skip
    return row
