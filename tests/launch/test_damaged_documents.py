"""Whatever a document of one run holds: no traceback, no hang, and the run beside it is well."""

import contextlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from launch.contract.errors import NoCapacity
from launch.pricing import bill, measured
from launch.provision import choose
from launch.provision.liveness import Watched
from launch.report import download
from launch.supervise import reaper
from launch.supervise.rounds import rounds
from launch.supervise.watcher import Watcher
from launch.ui import run_list
from launch.ui import runs as shown
from mimir.config import load_preset
from mimir.errors import Corrupt, MimirError, OtherFormat
from mimir.runs import final, layout, notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.execution import Execution
from mimir.runs.head import find_head
from mimir.runs.listing import list_runs
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome, StopRequest, Unended
from mimir.runs.order import Expected, Limits, Order, Plan
from mimir.runs.parts import PartWriter, read_parts
from mimir.runs.record import RunRecord, create_run, read_run
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.launch.conftest import World
from tests.launch.paper import START, Desk, offer
from tests.runs.conftest import versions_at
from tests.runs.damaged import damaged
from tests.runs.memory import MemoryStore
from tests.waiting import unless_it_hangs

HUGE = 400 << 20
CONFIG = load_preset("smoke")


def trained(store: Store, name: str, now: float = START) -> Store:
    """A run with every kind of document: attempt 1 was lost, attempt 2 trains and has a machine."""
    create_run(store, RunRecord(name, "smoke", CONFIG.as_dict(), 0, now, probe={"fit": True}))
    for number in (1, 2):
        plan = Plan(("runpod",), Limits(max_cost=5.0), ("RTX 4090",), steps=100)
        made = offer(key={"gpu": "NVIDIA"})
        expected = Expected(0.001, True)
        order = Order(
            "runpod", plan, now, made, now + 9e4, 2.0, 1, 0, by="here:1", expected=expected
        )  # fmt: skip
        assert raise_attempt(store, name, order) == number
        where = f"mimir-{name}-a{number:04d}"
        machine = Machine(
            "runpod", now, f"{name}{number}", where, gpu="RTX 4090", price=0.5,
            details={"session": "s", "count": 3},
        )  # fmt: skip
        assert notes.record_machine(store, name, number, machine)
        attempt = Attempt.claim(store, name, number, sleep=lambda seconds: None)
        for step in (10, 20):
            attempt.commit(20 * number + step, f"state {step}".encode(), 1.0 / step)
        PartWriter(store, layout.attempt_prefix(name, number), "log").flush("one\ntwo\n")
        row = {"step": 20 * number + 10, "loss": 2.0, "samples": ["ACDE"], "time": now}
        metrics = PartWriter(store, layout.attempt_prefix(name, number), "metrics")
        metrics.flush("".join(json.dumps({**row, "norm": n}) + "\n" for n in range(3)))
        beat = Heartbeat(
            now, 45, 100, 1.0, 2.0, 2.5, 2.4, 77, "host", 5.0, "RTX 4090", {"val_pairs": 2.0},
            Execution("cuda", "bf16", True, True, 8, ("norm",), "it is as fast as can be"),
        )  # fmt: skip
        notes.write_heartbeat(store, name, number, beat)
    notes.record_outcome(store, name, 1, Outcome(75, "evicted", now, 40, "signal"))
    notes.record_unended(store, name, 1, Unended(now, "HTTP 403"))
    notes.record_gone(store, name, 1, Gone(now, "eviction", "taken away"))
    store.put_if_absent(layout.stop_key(name, 1), _stop(now))
    return store


def _stop(now: float) -> bytes:
    memory = MemoryStore()
    create_run(memory, RunRecord("r", "smoke", {}, 0, 1.0))
    raise_attempt(memory, "r")
    orders.request_stop(memory, "r", StopRequest(now, "enough"))
    return memory.get(layout.stop_key("r", 1))


@pytest.fixture
def watched(desk: Desk) -> Desk:
    """The runs `bad` and `good`, each with a machine."""
    for key in list(desk.store.list("run/")):
        desk.store.delete(key)
    for name in ("bad", "good"):
        trained(desk.store, name)
        desk.cloud.make(offer(), f"mimir-{name}-a0002")
    for name, id in (("bad", "i1"), ("good", "i2")):
        key = layout.machine_key(name, 2)
        body = {**json.loads(desk.store.get(key)), "id": id}
        desk.store.put(key, json.dumps(body).encode())
    return desk


class Rounds:
    """All that a laptop does with the runs of a store."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.watcher = Watcher(
            desk.store, desk.say, choose=_nothing, provider=lambda name: desk.provider,
            watched=Watched(desk.clock), sleep=desk.clock.sleep, clock=desk.clock,
        )  # fmt: skip
        monkeypatch.setattr("launch.providers.registry.get", lambda name: desk.provider)

    def good(self) -> list[Any]:
        """What is seen of the good run; the other one is looked at in the same loops."""
        desk = self.desk
        listed = {one.run: one for one in list_runs(desk.store, desk.clock())}
        assert listed.keys() == {"bad", "good"}
        assert listed["bad"].status is not None or listed["bad"].problem
        table = run_list.text([run_list.Row(each) for each in listed.values()])
        table.encode()
        seen, failed = rounds(self.watcher, lambda: ["bad", "good"], desk.say)
        assert "good" not in failed
        strays, _ = reaper.find(desk.store, [desk.provider], desk.clock())
        times = measured.from_runs(CONFIG, desk.store)
        return [
            listed["good"].status,
            [(one.sentence, one.over, one.status) for one in seen if one.run == "good"],
            [one.why for one in strays if one.run == "good"],
            "RTX 4090" in times,
        ]

    def bad(self) -> int:
        """Whether `status`, `pull`, `logs` or `resume` of the bad one end in a sentence."""
        refused: list[str] = []
        for part in (self._status, self._pull, self._resume):
            try:
                part()
            except MimirError as error:
                refused.append(str(error))
        assert not [each for each in refused if "\n" in each or len(each.encode()) > 2_000]
        return len(refused)

    def _status(self) -> None:
        status = derive(self.desk.store, "bad", self.desk.clock())
        text = shown.status_text(status)
        text.encode()
        body = {**status.as_json(), "bill": bill.bill(status, self.desk.clock()).as_json()}
        json.dumps(body, allow_nan=False).encode()

    def _pull(self) -> None:
        record = read_run(self.desk.store, "bad")
        download.collect(
            self.desk.store, record, lambda what, size: lambda count: None,
            lambda size, what: None,
        )  # fmt: skip

    def _resume(self) -> None:
        status = derive(self.desk.store, "bad", self.desk.clock())
        choose.remaining(Plan(("runpod",)), status, self.desk.clock())


def _nothing(*rest: object) -> Any:
    raise NoCapacity("none left")


def _documents(store: Store) -> Iterator[str]:
    for key in list(store.list("bad/")):
        if not key.endswith(".safetensors"):
            yield key


@pytest.mark.parametrize("number", [300, pytest.param(2_000, marks=pytest.mark.long)])
def test_damaged_documents(watched: Desk, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    store = watched.store
    assert isinstance(store, MemoryStore)
    laptop = Rounds(watched, monkeypatch)
    well, intact = laptop.good(), dict(store.objects)
    machines = dict(watched.cloud.machines)
    assert well[0].state == "running"
    assert laptop.bad() == 0
    keys, refused, counted = list(_documents(store)), 0, {}
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(number):
        rng = random.Random(seed)
        key = keys[seed % len(keys)]
        store.put(key, damaged(intact[key].data, rng))
        try:
            assert laptop.good() == well
            failed = laptop.bad()
        except BaseException as error:
            raise AssertionError(
                f"seed {seed}: {key}: {store.objects[key].data[:300]!r}"
            ) from error
        refused += failed > 0
        kind = key.rpartition("/")[2]
        counted[kind] = counted.get(kind, 0) + 1
        assert watched.cloud.machines.get("i2") == machines["i2"]
        store.objects = dict(intact)
        watched.cloud.machines = dict(machines)
        watched.cloud.created.clear()
        watched.said.clear()
    assert min(counted.values()) > number // 25
    # The others are shown with what is wrong, or are as good as before.
    assert refused > number // 5
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began
    assert grown < 150_000, f"{grown} KB more than at the start"
    laptop.good()


READERS: dict[str, Callable[[Store], object]] = {
    "HEAD": lambda store: find_head(store, "bad"),
    "run.json": lambda store: read_run(store, "bad"),
    "order.json": lambda store: notes.read_order(store, "bad", 1),
    "machine.json": lambda store: notes.read_machine(store, "bad", 1),
    "gone.json": lambda store: notes.read_gone(store, "bad", 1),
    "stop.json": lambda store: notes.stop_requested(store, "bad", 1),
    "heartbeat.json": lambda store: notes.read_heartbeat(store, "bad", 1),
    "unended.json": lambda store: notes.read_unended(store, "bad", 1),
    "outcome.json": lambda store: notes.read_outcome(store, "bad", 1),
    "final.json": lambda store: final.read(store, "bad"),
    "000001.jsonl": lambda store: list(read_parts(store, "bad", 1, "metrics")),
}


@pytest.mark.parametrize("kind", READERS)
def test_each_kind_of_document_bears_its_format(kind: str) -> None:
    store = trained(MemoryStore(), "bad")
    Attempt.claim(store, "bad", 2).finish("done")
    final.seal(store, read_head(store, "bad"), START)
    found = {key.rpartition("/")[2]: key for key in reversed(list(_documents(store)))}
    assert found.keys() - READERS.keys() == {"000001.txt"}
    key, read = found[kind], READERS[kind]
    whole = store.get(key)
    assert read(store)
    (known,) = re.findall(rb'"format":(\d+)', whole)
    newer = int(known) + 1
    store.put(key, whole.replace(b'"format":%s' % known, b'"format":%d' % newer))
    if kind == "000001.jsonl":
        assert read(store) == [(1, "")]
    else:
        its_own = kind in ("heartbeat.json", "unended.json", "outcome.json")
        refused = Corrupt if its_own else OtherFormat
        with pytest.raises(
            refused, match=f"{kind} has format {newer}, this Mimir knows up to {newer - 1}"
        ):
            read(store)
    store.put(key, whole.replace(b'"format":', b'"form":'))
    if kind == "000001.jsonl":
        assert read(store) == [(1, "")]
    else:
        with pytest.raises(Corrupt, match="has no format number"):
            read(store)
    for seed in range(50):
        store.put(key, damaged(whole, random.Random(seed)))
        with contextlib.suppress(MimirError):
            read(store)


@dataclass(frozen=True)
class Told:
    """What a command said, and the most memory that it had at once."""

    code: int
    out: str
    error: str
    kilobytes: int


def told(world: World, *words: str) -> Told:
    """A real command, to its end, whatever that is."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch", *words],
            cwd=ROOT, env=world.env, stdin=subprocess.DEVNULL, stdout=out, stderr=error,
        )  # fmt: skip
        _, status, used = unless_it_hangs(lambda: os.wait4(process.pid, 0))
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read().decode())
    found = Told(process.returncode, *texts, used.ru_maxrss)
    assert "Traceback" not in found.error, found.error
    assert found.code in (0, 75, 78), found
    return found


@pytest.fixture
def elsewhere(world: World) -> World:
    """A world in whose store nothing works that its end would have to end."""
    store = open_store((world.folder / "elsewhere").as_uri())
    world.env["MIMIR_STORE"] = store.url
    world.env.pop("RUNPOD_API_KEY", None)
    return replace(world, store=store)


def grown(world: World, name: str) -> Path:
    """A run of the file store, as `trained` makes it; its folder."""
    trained(world.store, name, time.time())
    return world.folder / "elsewhere" / name


def sparse(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def test_commands_over_a_store_of_damage(elsewhere: World) -> None:
    """A heartbeat of 400 MB, a log of 1 GB, foreign folders and files, pipes: the run that is well
    is shown as it is, each of the others with its sentence."""
    world = elsewhere
    grown(world, "well")
    before = told(world, "runs")
    lean = told(world, "pull", "well", "--out", str(world.folder / "out")).kilobytes
    assert before.code == 0
    folder = world.folder / "elsewhere"
    sparse(grown(world, "huge") / "a0002" / "heartbeat.json", HUGE)
    sparse(folder / "huge" / "a0002" / "log" / "000001.txt", 1 << 30)
    sparse(folder / "huge" / "a0001" / "metrics" / "000001.jsonl", HUGE)
    with versions_at(grown(world, "head") / "HEAD") as versions:
        newest = versions.newest()
        sparse(versions.name(newest).path, HUGE)
    grown(world, "deep")
    world.store.put("deep/HEAD", b"[" * 100_000)
    (grown(world, "record") / "run.json").write_bytes(b"\xff")
    (grown(world, "lost") / "run.json").unlink()
    newer = grown(world, "newer") / "launcher" / "a0002" / "order.json"
    newer.write_bytes(newer.read_bytes().replace(b'"format":2', b'"format":3'))
    pipe = grown(world, "pipe") / "a0002" / "heartbeat.json"
    pipe.unlink()
    os.mkfifo(pipe)
    for foreign in ("_keys/well", "lost+found", "Datasets", "no-run"):
        (folder / foreign).mkdir(parents=True)
    (folder / "README").write_text("not ours")
    listed = told(world, "runs")
    lines = listed.out.splitlines()
    # It has no worker: where this takes longer than a few heartbeats, it is called silent, too.
    rows = (before.out.splitlines()[1], next(line for line in lines if line.startswith("well ")))
    was, well = (re.sub(r", silent for \S+ \w+", "", row).split()[:4] for row in rows)
    assert well == was
    names = ["deep", "head", "huge", "lost", "newer", "pipe", "record", "well"]
    assert sorted(line.split()[0] for line in lines[1 : 1 + len(names)]) == names
    for sentence in (
        "deep: deep/HEAD is nested more than 32 deep",
        f"head/.HEAD.versions/{newest} has {HUGE} bytes where at most 1048576 are",
        f"huge/a0002/heartbeat.json has {HUGE} bytes",
        "lost: lost/run.json is missing",
        "heartbeat.json is no plain file",
        "record: record/run.json is not JSON",
    ):
        assert sentence in listed.out
    watched = told(world, "watch", "--once")
    assert watched.code == 75
    for name in ("deep", "head"):
        assert f"attempt 2 of run {name} has ended: " in watched.error
    for name in ("lost", "newer", "record"):
        assert f"run {name} could not be looked at: " in watched.error
    assert "run well: its machine is at RunPod, and there is no key for it here" in watched.error
    assert "run well could not" not in watched.error
    huge = [told(world, "logs", "huge")]
    huge.append(told(world, "pull", "huge", "--out", str(world.folder / "other")))
    assert "log/000001.txt has 1073741824 bytes where at most" in huge[0].error
    assert max(one.kilobytes for one in (listed, watched, *huge)) < lean + 100_000


WORDS = (
    ("runs",), ("status", "bad"), ("watch", "--once"), ("logs", "bad"), ("pull", "bad"),
    ("stop", "bad", "--no-wait"), ("resume", "bad"), ("estimate", "smoke"), ("reap",),
    ("runs", "--json"), ("status", "bad", "--json"), ("watch", "bad", "--once"),
)  # fmt: skip


@pytest.mark.long
def test_a_hundred_damaged_documents_by_real_commands(elsewhere: World) -> None:
    world, store = elsewhere, elsewhere.store
    grown(world, "well")
    grown(world, "bad")
    intact = {key: store.get(key) for key in _documents(store)}
    keys = sorted(intact)
    for seed in range(120):
        rng = random.Random(10_000 + seed)
        key = keys[seed % len(keys)]
        store.put(key, damaged(intact[key], rng))
        words = WORDS[seed // len(keys) % len(WORDS)] if seed % 2 else WORDS[seed % len(WORDS)]
        found = told(
            world, *words, *(("--out", str(world.folder / "o")) if "pull" in words else ())
        )
        assert found.kilobytes < 400_000, (seed, words)
        if words == ("runs",):
            assert [line for line in found.out.splitlines() if line.startswith("well ")]
        for each, content in intact.items():
            store.put(each, content)
        for stray in set(_documents(store)) - intact.keys():
            store.delete(stray)
