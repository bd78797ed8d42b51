"""The store is read for several runs at once, everything else is done for one after another."""

import threading

from launch.provision.liveness import Watched
from launch.supervise.rounds import AHEAD, rounds
from launch.supervise.watcher import FRESH, Seen, Watcher
from mimir.runs import notes
from mimir.runs.machine import Machine
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status
from tests.launch.paper import START, Desk, named, offer
from tests.runs.memory import CountingStore
from tests.waiting import LIMIT, unless_it_hangs

RUNS = [f"run{number:02d}" for number in range(3 * AHEAD)]


class Observed(Watcher):
    """Waits at each status until as many are being read as may be, and sees who acts."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.store, desk.say, watched=Watched(), clock=desk.clock)
        self.desk = desk
        self.all = threading.Barrier(AHEAD)
        self.reads: list[str] = []
        self.acting: set[int] = set()

    def read(self, run: str) -> Status:
        self.reads.append(run)
        if run in RUNS:
            self.all.wait(LIMIT)
        return super().read(run)

    def round(self, run: str, read: Status | None = None) -> Seen:
        self.acting.add(threading.get_ident())
        return super().round(run, read)


def test_runs_are_read_at_once_and_looked_after_one_by_one(desk: Desk) -> None:
    for run in RUNS:
        create_run(desk.store, RunRecord(run, "smoke", {}, 0, START))
    watcher = Observed(desk)
    seen, failed = unless_it_hangs(lambda: rounds(watcher, lambda: RUNS, desk.say))
    assert ([each.run for each in seen], failed) == (RUNS, [])
    assert sorted(watcher.reads) == RUNS
    assert len(watcher.acting) == 1


def test_what_was_read_long_before_is_read_again(desk: Desk) -> None:
    watcher = Observed(desk)
    read = watcher.read("run")
    for age, reads in ((FRESH, 1), (FRESH + 1, 2)):
        desk.clock.now = START + age
        watcher.round("run", read)
        assert len(watcher.reads) == reads


def test_a_run_that_does_well_takes_few_requests(desk: Desk) -> None:
    """Nothing is asked beyond its status: each of these requests would be waited for alone."""
    store = CountingStore()
    store.objects, store.clock = desk.store.objects, desk.store.clock
    desk.begin()
    id = desk.cloud.make(offer(), named("run", 1))
    notes.record_machine(desk.store, "run", 1, Machine("runpod", START, id))
    desk.work(1)
    watcher = Watcher(store, desk.say, provider=lambda name: desk.provider, watched=Watched())
    read, took = store.count(lambda: watcher.read("run"))
    assert took == 12, store.requests
    seen, took = store.count(lambda: watcher.round("run", read))
    assert (seen.sentence, took) == ("working", 0)
