"""A laptop, a worker and a watcher of two builds on one run: each serves or refuses."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from launch.contract.cloud import State
from launch.contract.errors import NoCapacity
from launch.provision.choice import Choice
from launch.provision.liveness import Watched
from launch.provision.order import order
from launch.supervise.rounds import rounds
from launch.supervise.watcher import Watcher
from mimir.errors import BadInput, Fenced, MimirError
from mimir.runs import final, head, notes, orders, parts, record
from mimir.runs.collect import collect
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.listing import list_runs
from mimir.runs.notes import Heartbeat, Outcome, StopRequest
from mimir.runs.order import Limits, Plan
from mimir.runs.parts import PartWriter, read_metrics
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from mimir.runs.store import Versioned
from tests.launch.paper import CONFIG, START, Desk, offer
from tests.runs.memory import MemoryStore

FORMATS = {
    "HEAD": head, "the record": record, "the documents": notes, "the metrics": parts,
    "the seal": final,
}  # fmt: skip
"""Modules that each say the format of what they write."""
DIFFER = st.sampled_from([*((name,) for name in FORMATS), (), tuple(FORMATS)])
BUILDS = st.sampled_from(["old", "new"])
PLAN = Plan(("runpod",), Limits(max_failures=50))
ONCE = ("order.json", "machine.json", "gone.json", "outcome.json", "unended.json", "stop.json",
        "run.json", "final.json", ".txt", ".jsonl", ".safetensors")  # fmt: skip
"""Ends of the keys of what is written once."""


def _format(data: bytes) -> int:
    return int(data.partition(b'"format":')[2][:1])


class Versions(RuleBasedStateMachine):
    """Two builds that differ in some formats, as what a user can do with them interleaves."""

    @initialize(differ=DIFFER, laptop=BUILDS, worker=BUILDS)
    def begin(self, differ: tuple[str, ...], laptop: str, worker: str) -> None:
        self.patches = pytest.MonkeyPatch()
        self.desk = Desk(self.patches)
        self.patches.setattr("launch.provision.order.code_in_store.differs", lambda *_: "")
        store = self.desk.store
        assert isinstance(store, MemoryStore)
        self.store = store
        for key in list(store.objects):
            store.delete(key)
        self.differ = differ
        self.workers: dict[str, Attempt] = {}
        self.watched = {name: Watched(self.desk.clock) for name in ("old", "new")}
        self.seen: dict[str, Versioned] = {}
        self.committed = 0
        self.last: dict[str, Any] | None = None
        self.submit(laptop)
        self.order(laptop)
        self.claim(worker)

    def teardown(self) -> None:
        if not hasattr(self, "patches"):
            return
        try:
            for build in ("old", "new"):
                self.look(build)
        finally:
            self.patches.undo()

    @contextlib.contextmanager
    def of(self, build: str, reads: bool = False) -> Iterator[None]:
        """Act as this build. What it refuses because of a format, it leaves as it is."""
        before = dict(self.store.objects)
        alive, created = self.desk.cloud.alive(), len(self.desk.cloud.created)
        with pytest.MonkeyPatch.context() as patch:
            for name in self.differ if build == "new" else ():
                patch.setattr(FORMATS[name], "FORMAT", FORMATS[name].FORMAT + 1)
            try:
                yield
                refused = False
            except MimirError as error:
                refused = isinstance(error, BadInput) and "has format" in str(error)
        self.refused = refused
        if refused or reads:
            self.unchanged(before, seals=not refused)
            assert (self.desk.cloud.alive(), len(self.desk.cloud.created)) == (alive, created)

    def unchanged(self, before: dict[str, Versioned], seals: bool) -> None:
        """But for content under fresh keys, which nobody names and a collection removes; and for
        the seal that whoever first sees a run done may write."""
        new = self.store.objects.keys() - before.keys()
        allowed = (".safetensors", "final.json") if seals else (".safetensors",)
        assert not [key for key in new if not key.endswith(allowed)]
        assert {key: self.store.objects[key] for key in before} == before

    def submit(self, build: str) -> None:
        with self.of(build):
            create_run(self.store, RunRecord("run", "smoke", CONFIG.as_dict(), 0, START))

    @rule(build=BUILDS)
    def order(self, build: str) -> None:
        if self.desk.cloud.alive():
            return  # `resume` ends it first, as the watcher does
        with self.of(build):
            choice = Choice(self.desk.provider, offer())
            order(self.store, "run", [choice], PLAN, self.desk.say)

    @rule(build=BUILDS)
    def claim(self, build: str) -> None:
        with self.of(build):
            number = derive(self.store, "run", self.desk.clock()).attempt
            if number:
                sleep = self.desk.clock.sleep
                claimed = Attempt.claim(
                    self.store, "run", number, say=lambda text: None, sleep=sleep
                )
                self.workers.pop(build, None)
                if not claimed.ended:
                    self.workers[build] = claimed

    def whose(self, which: int) -> tuple[str, Attempt]:
        """One of the workers, with its build."""
        build = sorted(self.workers)[which % len(self.workers)]
        return build, self.workers[build]

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1), steps=st.integers(1, 5))
    def commit(self, which: int, steps: int) -> None:
        build, worker = self.whose(which)
        step = worker.head.step + steps
        with self.of(build):
            try:
                worker.commit(step, f"state of step {step}".encode(), None)
            except Fenced:
                del self.workers[build]
                raise
            assert step > self.committed
            self.committed = step

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1))
    def report(self, which: int) -> None:
        build, worker = self.whose(which)
        with self.of(build):
            beat = Heartbeat(self.desk.clock(), worker.head.step, 100, device="GPU")
            notes.write_heartbeat(self.store, "run", worker.number, beat)
            prefix = f"run/a{worker.number:04d}"
            PartWriter(self.store, prefix, "metrics").flush(f'{{"step":{worker.head.step}}}\n')

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 1), done=st.booleans())
    def end(self, which: int, done: bool) -> None:
        build, worker = self.whose(which)
        del self.workers[build]
        with self.of(build):
            if done:
                worker.finish("done")
            outcome = Outcome(0 if done else 75, "so it ended", self.desk.clock(), 0)
            notes.record_outcome(self.store, "run", worker.number, outcome)

    @rule()
    def evict(self) -> None:
        for id in list(self.desk.cloud.machines):
            self.desk.cloud.becomes(id, State.SUSPENDED)

    @rule(build=BUILDS, minutes=st.sampled_from([0, 1, 30]))
    def watch(self, build: str, minutes: int) -> None:
        self.desk.clock.now += 60 * minutes
        watcher = Watcher(
            self.store, self.desk.say, choose=self.choices,
            provider=lambda name: self.desk.provider, watched=self.watched[build],
            sleep=self.desk.clock.sleep, clock=self.desk.clock,
        )  # fmt: skip
        before, said = dict(self.store.objects), len(self.desk.said)
        with self.of(build):
            names = [one.run for one in list_runs(self.store, self.desk.clock())]
            _, failed = rounds(watcher, lambda: names, self.desk.say)
            if failed:
                assert "has format" in " ".join(self.desk.said[said:])
                self.unchanged(before, seals=False)

    def choices(self, *rest: object) -> list[Choice]:
        if self.desk.cloud.alive():
            raise NoCapacity("one at a time")
        return [Choice(self.desk.provider, offer())]

    @rule(build=BUILDS)
    def stop(self, build: str) -> None:
        with self.of(build):
            orders.request_stop(self.store, "run", StopRequest(self.desk.clock(), "enough"))

    @rule(build=BUILDS)
    def sweep(self, build: str) -> None:
        with self.of(build):
            collect(self.store, "run", lambda text: None)

    @rule(build=BUILDS)
    def look(self, build: str) -> None:
        with self.of(build, reads=True):
            for one in list_runs(self.store, self.desk.clock()):
                assert one.status is not None or "has format" in one.problem
            status = derive(self.store, "run", self.desk.clock())
            assert not status.damage
            found = head.find_head(self.store, "run")
            if found and found.lineage:
                read_metrics(self.store, "run", found)

        assert self.refused or not self.foreign(build)

    def foreign(self, build: str) -> list[str]:
        """Keys of what a look at the run reads, and which another build wrote with the user's
        rights: what a machine writes does not say who may serve the run."""
        kinds = {"HEAD": "HEAD", "run.json": "the record", "final.json": "the seal"}
        kinds |= dict.fromkeys(ONCE[:3], "the documents")
        found = []
        for key, stored in self.store.objects.items():
            kind = next((kind for end, kind in kinds.items() if key.endswith(end)), None)
            if kind is not None:
                mine = FORMATS[kind].FORMAT + (build == "new" and kind in self.differ)
                found += [key] if _format(stored.data) != mine else []
        return found

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "store"):
            return
        objects = self.store.objects
        for key, found in self.seen.items():
            if key.endswith(ONCE) and not key.endswith(".safetensors"):
                assert objects[key] == found, f"{key} was changed"
        self.seen = dict(objects)
        at = objects.get("run/HEAD")
        if at is None:
            assert self.last is None
            return
        with contextlib.ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            written = _format(at.data)
            patch.setattr(head, "FORMAT", written)
            now = Head.from_bytes(at.data, "run/HEAD")
        assert now.step == self.committed
        for kept in now.kept:
            assert self.store.get(kept.key, size=kept.size, sha256=kept.sha256)
        if self.last is not None:
            assert now.attempt >= self.last["attempt"]
            assert now.seq >= self.last["seq"]
            assert written == self.last["format"], "a build wrote over what it does not know"
        self.last = {"attempt": now.attempt, "seq": now.seq, "format": written}
        assert len(self.desk.cloud.alive()) <= 1


@pytest.mark.parametrize("first", ["old", "new"])
@pytest.mark.parametrize("kind", FORMATS)
def test_what_the_other_build_wrote_is_refused(kind: str, first: str) -> None:
    """One kind of object differs, and each of its kind was written by the first build."""
    second = {"old": "new", "new": "old"}[first]
    story = Versions()
    story.begin((kind,), first, first)
    try:
        story.commit(0, 3)
        story.report(0)
        story.end(0, True)
        story.watch(first, 30)
        for act in (story.look, story.stop, story.watch, story.look):
            act(*((second, 1) if act == story.watch else (second,)))
            story.nothing_is_lost()
        assert story.refused == (kind != "the metrics")  # which a machine writes
        assert bool(story.foreign(second)) == story.refused
        assert not story.foreign(first)
        story.look(first)
        assert not story.refused
    finally:
        story.teardown()


Versions.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestVersions = Versions.TestCase


@pytest.mark.long
def test_thousands_of_ways_to_interleave() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Versions,
        settings=settings(Versions.TestCase.settings, max_examples=3_000, derandomize=False),
    )
