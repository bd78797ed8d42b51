"""What a watcher does about a run, round after round, on paper."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Misconfigured,
    NoCapacity,
    ProviderError,
    Unclear,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.contract.provider import Caps, Provider, ShutDown
from launch.pricing.budget import UsedUp
from launch.providers import registry
from launch.provision import failed_hosts, kept_plan, order
from launch.provision import terminate as closing
from launch.provision.choice import Choice
from launch.provision.liveness import Watched
from launch.provision.order import Say
from launch.supervise import reaper, watcher
from launch.supervise.rounds import rounds
from launch.supervise.watcher import Seen, Watcher
from launch.ui import runs
from mimir.errors import BadInput, StoreError
from mimir.runs import codec, layout, notes, orders, tombstone
from mimir.runs.begin import raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import StopRequest
from mimir.runs.order import KeySource, Limits, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status, derive, read_head
from mimir.runs.store import DOCUMENT, Store, Versioned
from tests.launch.paper import START, Desk, named, offer
from tests.runs.damaged import wreck
from tests.runs.memory import CountingStore

PLAN = Plan(("runpod",), Limits(max_failures=3))
NAMES = ["", *(named("run", number) for number in range(1, 10))]


class Kept:
    """A run that a person has ordered, and a watcher of it."""

    def __init__(self, desk: Desk, plan: Plan = PLAN) -> None:
        self.desk = desk
        self.offers: list[Offer] = [offer()]
        self.asked = 0
        self.at_choice: Callable[[], None] = lambda: None
        self.watcher = self.another()
        self.plan = plan

    def another(self, watched: Watched | None = None) -> Watcher:
        return Watcher(
            self.desk.store, self.desk.say, choose=self._choose, provider=self._provider,
            watched=watched, sleep=self.desk.clock.sleep, clock=self.desk.clock,
        )  # fmt: skip

    def submit(self) -> order.Ordered:
        choices = [Choice(self.desk.provider, self.offers[0])]
        desk = self.desk
        return order.order(desk.store, "run", choices, self.plan, desk.say)

    def round(self, wait: float = 0.0) -> Seen:
        self.desk.clock.now += wait
        return self.watcher.round("run")

    def _provider(self, name: str) -> Provider:
        assert name == "runpod"
        return self.desk.provider

    def _choose(
        self, store: Store, plan: Plan, status: Status, now: float, say: Say
    ) -> Sequence[Choice]:
        self.asked += 1
        self.at_choice()
        return [Choice(self.desk.provider, each) for each in self.offers]


@pytest.fixture
def kept(desk: Desk) -> Kept:
    return Kept(desk)


def test_a_run_that_does_well_is_left_alone(desk: Desk, kept: Kept) -> None:
    kept.submit()
    assert kept.round(10).sentence == "starting"
    desk.work(1, 5)
    seen = kept.round(10)
    assert (seen.sentence, seen.over, seen.acted) == ("working", False, False)
    assert desk.cloud.alive() == NAMES[1:2]
    assert not kept.asked


def test_a_run_without_attempts_is_nobodys(desk: Desk, kept: Kept) -> None:
    assert kept.round().over
    raise_attempt(desk.store, "run")  # by `mimir train`
    seen = kept.round()
    assert (seen.over, seen.acted) == (True, False)


@pytest.mark.parametrize(
    ("shuts_down", "seconds"), [(ShutDown("only its disk", 0.01, 3630.0), 7200), (None, 180_000)]
)
def test_a_machine_that_shut_itself_down_after_its_run_counts_until_then(
    desk: Desk, kept: Kept, shuts_down: ShutDown | None, seconds: float
) -> None:
    """It is ended, nothing is ordered in its place, and its price is paid no more since then."""
    desk.provider.caps = replace(desk.provider.caps, shuts_down=shuts_down)
    id = kept.submit().machine.id
    desk.work(1, 5).finish("done", "finished")
    desk.clock.now = START + 7200
    desk.end(1, 0)
    desk.cloud.becomes(id, State.BROKEN)
    desk.cloud.machines[id] = replace(desk.cloud.machines[id], stopped=START + 7200)
    seen = kept.round(180_000 - 7200)
    assert (seen.over, seen.acted, seen.status.state) == (True, True, "done")
    assert (desk.cloud.terminated, desk.cloud.alive(), kept.asked) == ([id], [], 0)
    assert (desk.gone(1).kind, desk.gone(1).time) == ("over", START + seconds)


def test_an_order_without_an_answer_is_adopted(desk: Desk, kept: Kept) -> None:
    desk.begin(estimate_hours=0.5)
    assert kept.round(1).sentence == "its order was never answered"
    desk.cloud.make(offer(), NAMES[1])
    seen = kept.round(1)
    assert (seen.acted, seen.over) == (True, False)
    machine = notes.read_machine(desk.store, "run", 1)
    assert machine is not None
    assert (machine.id, machine.started, machine.estimate_hours) == ("i1", START, 0.5)
    assert not desk.cloud.created


def test_an_order_that_comes_late_is_adopted_before_it_is_given_up(desk: Desk, kept: Kept) -> None:
    desk.begin()
    desk.cloud.make(offer(), NAMES[1])
    assert "on record now" in kept.round(deadlines.LISTED_WITHIN).sentence
    assert kept.round().sentence == "starting"


def test_an_order_that_never_came_is_replaced(desk: Desk, kept: Kept) -> None:
    desk.begin()
    desk.left = ["run 1"]  # the launcher died between them and its request
    desk.cloud.list_fails = [ProviderError("502")]
    assert kept.round(deadlines.LISTED_WITHIN).sentence == "502"  # not listed is not "not there"
    assert notes.read_gone(desk.store, "run", 1) is None
    assert "waiting" in kept.round().sentence
    assert (desk.gone(1).kind, desk.left) == ("refused", [])
    assert "attempt 2 is ordered" in kept.round(watcher.ASK_AGAIN).sentence
    assert desk.cloud.created == NAMES[2:3]


@pytest.mark.parametrize("removed", [0, 1])
def test_a_launcher_that_died_before_the_first_attempt(
    desk: Desk, kept: Kept, removed: int
) -> None:
    """Also of a name of which a run was removed at that attempt."""
    if removed:
        tombstone.write(desk.store, "run", tombstone.OVER, removed, {}, "")
    desk.order(removed + 1, earlier=removed)
    assert not kept.round(1).over
    assert f"attempt {removed + 2} is ordered" in kept.round(orders.RESERVED).sentence
    assert desk.cloud.created == [NAMES[removed + 2]]


def test_the_order_of_a_removed_run_begins_none(desk: Desk, kept: Kept) -> None:
    """Whoever resumed it while it was removed may have left one."""
    tombstone.write(desk.store, "run", tombstone.OVER, 1, {}, "")
    desk.order(2)
    seen = kept.round(orders.RESERVED)
    assert (seen.over, seen.sentence) == (True, "run run has not begun")


@pytest.mark.parametrize("state", [None, State.SUSPENDED, State.BROKEN])
def test_a_machine_that_is_lost_is_ended_and_replaced(
    desk: Desk, kept: Kept, state: State | None
) -> None:
    kept.submit()
    desk.work(1, 5)
    if state is None:
        desk.cloud.machines.clear()
    else:
        desk.cloud.becomes("i1", state)
    seen = kept.round(10)
    assert "attempt 2 is ordered" in seen.sentence
    assert seen.status.attempt == 2
    assert desk.cloud.terminated == ["i1"]
    assert desk.left == ["run 2"], "its keys, fetched or not, are no more"
    assert desk.cloud.alive() == NAMES[2:3]
    gone, known = notes.read_gone_and_known(desk.store, "run", 1)
    assert gone is not None
    assert gone.kind == ("failure" if state is State.BROKEN else "eviction")
    assert known["machine"]["id"] == "i1", "who reads the end needs no other object"
    written = notes.read_order(desk.store, "run", 2)
    assert written is not None
    assert (written.since, written.plan) == (1, PLAN)


def test_a_silent_machine_is_replaced(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    assert not kept.round(deadlines.SILENT_FOR).acted
    assert kept.round(1).acted
    assert desk.gone(1).kind == "failure"


HOUR = 3600.0
SKEWS = [(here, 0.0) for here in (0.0, -90.0, 90.0, -HOUR, HOUR, -30 * HOUR, 30 * HOUR)]


@pytest.mark.parametrize(
    ("here", "dated"), [*SKEWS, (0.0, -HOUR), (0.0, HOUR), (HOUR, HOUR), (HOUR, -HOUR)]
)
@pytest.mark.parametrize("looks", ["once", "again and again"])
def test_no_wrong_clock_loses_an_attempt_or_hides_its_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, here: float, dated: float, looks: str
) -> None:
    """here: s by which this computer's clock is ahead of the store's; dated: as Desk.beat's.

    The machine's own clock stands still.
    """
    kept = Kept(desk, replace(PLAN, limits=Limits(max_failures=3, max_hours=5.0)))
    clock = desk.clock
    monkeypatch.setattr(time, "time", lambda: clock.now + here)
    if looks == "again and again":
        kept.watcher = kept.another(Watched(clock))
    kept.submit()
    assert kept.round(20 * 60).sentence == "starting"
    desk.work(1, 3)
    clock.at_sleep = lambda _: desk.beat(1, 3, dated)  # while somebody waits
    for _ in range(20):
        desk.beat(1, 3, dated)
        assert kept.round(180).sentence == "working"
    desk.beat(1, 3, dated)
    clock.at_sleep = lambda _: None
    since = clock.now
    while not kept.round(30).acted:
        assert clock.now - since < deadlines.SILENT_FOR + 60, "a dead one is not found"
    assert clock.now - since > deadlines.SILENT_FOR or dated
    assert (desk.gone(1).kind, read_head(desk.store, "run").attempt) == ("failure", 2)


def test_nothing_is_ordered_while_the_old_machine_may_run(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1)
    desk.cloud.becomes("i1", State.BROKEN)
    desk.cloud.immortal = True
    seen = kept.round()
    assert "cannot be shown to be gone" in seen.sentence
    assert not seen.over
    assert notes.read_gone(desk.store, "run", 1) is None
    assert len(desk.cloud.created) == 1
    desk.cloud.immortal = False
    assert "attempt 2 is ordered" in kept.round().sentence


def test_a_service_that_cannot_be_asked_changes_nothing(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1)
    desk.cloud.get_fails = [ProviderError("502")]
    assert kept.round(5).sentence == "working"


def test_failures_are_counted_evictions_are_not(desk: Desk, kept: Kept) -> None:
    kept.submit()
    for number, cause in enumerate(("", "signal", "", ""), start=1):
        desk.work(number, number)
        desk.end(number, cause=cause)
        seen = kept.round(10)
    assert [desk.gone(number).kind for number in (1, 2, 3, 4)] == [
        "failure", "eviction", "failure", "failure"
    ]  # fmt: skip
    assert seen.over
    assert seen.sentence == "3 of its machines or workers broke, the last one: crashed"
    assert desk.cloud.alive() == []
    head = read_head(desk.store, "run")
    assert (head.state, head.attempt) == ("failed", 4)
    # A person has looked at it, and orders it again: what broke before is theirs.
    kept.submit()
    desk.work(5, 5)
    desk.end(5)
    assert "attempt 6 is ordered" in kept.round(10).sentence


@pytest.mark.parametrize("claimed", [False, True])
def test_offers_that_are_not_what_they_promise_are_the_hosts_fault(
    desk: Desk, kept: Kept, claimed: bool
) -> None:
    """Not a failure of the run; yet machines that leave nothing end it at last.

    claimed: a broken GPU and slow steps are found by training, which has claimed the run.
    """
    kept.offers = [offer(host="h0")]
    kept.submit()
    for number in range(1, watcher.MOST_IDLE + 1):
        why = f"the machine is less than what was ordered: try {number}"
        if claimed:
            desk.work(number)
        desk.end(number, 75, "host", why)
        kept.offers = [offer(host=f"h{number}")]
        seen = kept.round(60)
        assert desk.gone(number).kind == "placement"
        assert NAMES[number] not in desk.cloud.alive()
    assert seen.status.state == "failed"
    assert seen.status.reason == f"{number} machines have left no new step, the last one: {why}"
    known = failed_hosts.read(desk.store, desk.clock(), desk.say)
    assert sorted(host for _, host in known) == [f"h{n}" for n in range(number)]
    assert known["runpod", "h1"].run == "run"


def test_no_new_step_in_two_attempts(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.end(1, cause="signal")
    assert kept.round().status.attempt == 2
    desk.work(2)
    desk.end(2, cause="signal", reason="SIGTERM")
    assert kept.round().status.attempt == 3
    desk.work(3)
    desk.end(3, cause="signal", reason="SIGTERM")
    seen = kept.round()
    assert seen.over
    assert seen.sentence == "two attempts have left no new step, the last one: SIGTERM"
    assert read_head(desk.store, "run").state == "failed"


@pytest.mark.parametrize(
    ("limits", "why"),
    [(Limits(max_cost=0.25), "its $0.25 are used up: go on by"), (Limits(max_hours=0.5), "0.5 h"),
     (Limits(max_attempts=1), "it has had its 1 machines")],
)  # fmt: skip
def test_limits_over_all_attempts(desk: Desk, limits: Limits, why: str) -> None:
    kept = Kept(desk, Plan(("runpod",), limits))
    kept.submit()
    desk.work(1, 5)
    desk.clock.now += 1800
    desk.end(1, code=75, cause="deadline")
    seen = kept.round()
    assert seen.over
    assert seen.status.state == "stopped"
    assert read_head(desk.store, "run").reason == seen.sentence
    assert why in seen.sentence
    assert desk.cloud.alive() == []
    assert not kept.asked


def test_a_limit_that_leaves_too_little_ends_the_run(desk: Desk, kept: Kept) -> None:
    def nothing_left() -> None:
        raise UsedUp("its limits leave 0.05 h")

    kept.submit()
    desk.work(1, 5)
    desk.end(1, code=75, cause="deadline")
    kept.at_choice = nothing_left
    seen = kept.round()
    assert (seen.over, seen.status.state) == (True, "stopped")
    assert "leave 0.05 h: go on by" in seen.sentence


def test_a_stop_ends_the_run(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    orders.request_stop(desk.store, "run", StopRequest(1.0))
    assert not kept.round().over  # the worker commits
    desk.cloud.machines.clear()
    seen = kept.round()
    assert (seen.over, seen.sentence) == (True, "asked to stop")
    assert read_head(desk.store, "run").state == "stopped"
    assert len(desk.cloud.created) == 1


def test_a_stop_that_comes_while_a_replacement_is_chosen(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    kept.at_choice = lambda: orders.request_stop(desk.store, "run", StopRequest(1.0)) and None
    seen = kept.round()
    assert "asked to stop" in seen.sentence
    assert len(desk.cloud.created) == 1
    assert kept.round(watcher.ASK_AGAIN).over
    assert len(desk.cloud.created) == 1


def test_a_keeper_that_died_between_a_stop_and_its_order(desk: Desk, kept: Kept) -> None:
    """The stop is written to attempt 1, and HEAD is at 2 already."""
    kept.submit()
    desk.work(1, 5)
    orders.request_stop(desk.store, "run", StopRequest(1.0))
    desk.begin(since=1)
    seen = kept.round(deadlines.LISTED_WITHIN)
    assert (seen.over, seen.sentence) == (True, "asked to stop")
    assert desk.cloud.alive() == []


def test_two_keepers_order_one_machine(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    others: list[Seen] = []

    def meanwhile() -> None:
        kept.at_choice = lambda: None
        others.append(kept.another().round("run"))

    kept.at_choice = meanwhile
    seen = kept.round()
    assert "attempt 2 is ordered" in others[0].sentence
    assert "somebody else" in seen.sentence
    assert (seen.over, kept.round().sentence) == (False, "starting")
    assert desk.cloud.created == NAMES[1:3]


def test_one_is_quicker_while_the_other_ends_the_lost_machine(desk: Desk, kept: Kept) -> None:
    """The slower one must not judge the new attempt by what it saw of the old one."""
    kept.submit()
    desk.work(1, 5)
    desk.cloud.becomes("i1", State.SUSPENDED)
    terminate = desk.cloud.terminate
    others: list[Seen] = []

    def meanwhile(id: str) -> None:
        desk.cloud.terminate = terminate  # type: ignore[method-assign]
        others.append(kept.another().round("run"))
        terminate(id)

    desk.cloud.terminate = meanwhile  # type: ignore[method-assign]
    seen = kept.round()
    assert "attempt 2 is ordered" in others[0].sentence
    assert "somebody else has begun attempt 2" in seen.sentence
    assert (seen.over, kept.round().sentence) == (False, "starting")
    assert desk.cloud.alive() == NAMES[2:3]


@pytest.mark.parametrize("error", [UsedUp("its limits leave 0.05 h"), BalanceEmpty("no money")])
def test_who_cannot_order_ends_no_attempt_that_another_one_began(
    desk: Desk, kept: Kept, error: Exception
) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()

    def meanwhile() -> None:
        kept.at_choice = lambda: None
        kept.another().round("run")
        raise error

    kept.at_choice = meanwhile
    assert "somebody else has begun attempt 2" in kept.round().sentence
    assert kept.round().sentence == "starting"
    assert not [line for line in desk.said if "failed" in line or "stopped" in line]


def test_a_keeper_leaves_a_persons_order_alone(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    kept.at_choice = lambda: kept.submit() and None
    assert "somebody else" in kept.round().sentence
    assert desk.cloud.alive() == NAMES[2:3]


@pytest.mark.parametrize("refusal", [NoCapacity, Unclear])
def test_none_to_be_had_is_asked_again_ever_later(
    desk: Desk, kept: Kept, refusal: type[NoCapacity]
) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    desk.cloud.faults = [refusal("none left") for _ in range(50)]
    kept.offers = [offer(), offer(0.6), offer(0.7), offer(0.8)]
    rounds = [kept.round(25) for _ in range(80)]
    assert all(not seen.over for seen in rounds)
    assert 4 <= kept.asked <= 7
    desk.cloud.faults = []
    assert "is ordered" in kept.round(watcher.ASK_AGAIN_LONGEST).sentence


def test_hundreds_of_refusals_make_no_look_dearer(desk: Desk, kept: Kept) -> None:
    """Hours without capacity: each refusal is an attempt, and none is read again and again."""
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    kept.offers = [offer(), offer(0.6), offer(0.7), offer(0.8)]
    reads: list[str] = []
    read = desk.store.read

    def counted(key: str, **limit: int) -> Versioned | None:
        reads.append(key)
        return read(key, **limit)

    desk.store.read = counted  # type: ignore[method-assign]
    took = []
    for _ in range(30):
        desk.cloud.faults = [NoCapacity("none left") for _ in kept.offers]
        reads.clear()
        kept.round(watcher.ASK_AGAIN_LONGEST)
        took.append(len(reads))
    status = derive(desk.store, "run", desk.clock())
    assert status.attempt == 1 + 30 * 4
    assert took[-1] <= took[2]
    assert all(each.gone and each.gone.kind == "refused" for each in status.attempts[1:])
    assert [each.machine is None for each in status.attempts] == [False] + [True] * 120
    text = runs.status_text(status)
    assert "2 to 121  not begun" in text
    assert len(text.splitlines()) < 12
    desk.cloud.faults = []
    kept.round(watcher.ASK_AGAIN_LONGEST)
    desk.work(122, 9)
    assert derive(desk.store, "run", desk.clock()).attempts[-1].from_step == 5


def test_a_stop_that_is_asked_among_refusals(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    kept.offers = [offer(), offer(0.6)]
    for _ in range(4):
        desk.cloud.faults = [NoCapacity("none left") for _ in kept.offers]
        kept.round(watcher.ASK_AGAIN_LONGEST)
    asked = orders.request_stop(desk.store, "run", StopRequest(1.0))
    desk.begin(since=1, looked=asked - 2)  # another watcher, which died before it looked
    seen = kept.round(deadlines.LISTED_WITHIN)
    assert (seen.over, seen.sentence) == (True, "asked to stop")
    assert len(desk.cloud.created) == 1 + 4 * 2


def test_an_empty_balance_ends_the_run(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    desk.cloud.faults = [BalanceEmpty("no money")]
    seen = kept.round()
    assert (seen.over, seen.sentence, seen.status.state) == (True, "no money", "failed")


def test_a_key_that_is_missing_here_ends_no_run_and_hides_no_other(desk: Desk, kept: Kept) -> None:
    """Another watcher may have it: it is told in each round, and nothing is given up."""
    kept.submit()
    desk.work(1, 5)
    desk.cloud.key = False
    create_run(desk.store, RunRecord("other", "smoke", {}, 0, 1.0))
    for _ in range(2):
        desk.said.clear()
        seen, failed = rounds(kept.watcher, lambda: ["run", "other"], desk.say)
        assert ([one.run for one in seen], failed) == (["run", "other"], ["run"])
        assert "there is no key for it here: set $RUNPOD_API_KEY" in desk.said[0]
    attempt = derive(desk.store, "run", desk.clock())
    assert (attempt.state, desk.cloud.alive()) == ("running", NAMES[1:2])
    desk.work(1, 9).finish("done")
    desk.clock.now += deadlines.FINAL_LOG_WITHIN
    desk.cloud.terminate_fails = [AuthFailed("no key")]
    desk.cloud.immortal = True
    over = kept.round()
    assert not over.over
    assert over.problem == f"machine {NAMES[1]} (runpod i1) may still run, and cost: no key"
    desk.cloud.immortal = False
    assert kept.round().over


def test_a_key_that_is_refused_at_the_order_ends_no_run(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    desk.cloud.faults = [AuthFailed("no key")]
    seen = kept.round()
    assert (seen.over, seen.problem, seen.status.state) == (False, "no key", "running")
    assert "is ordered" in kept.round(watcher.ASK_AGAIN).sentence


def without_key() -> None:
    raise AuthFailed("no key")


def interrupted(desk: Desk, kept: Kept) -> None:
    """A run whose machine was taken away, and seen to be gone."""
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    kept.at_choice = without_key
    assert kept.round().problem == "no key"
    assert desk.gone(1)


def test_without_a_key_offers_are_asked_for_less_and_less_often(desk: Desk, kept: Kept) -> None:
    interrupted(desk, kept)
    began, asked_at, kept.asked = desk.clock.now, [], 0
    for _ in range(80):
        before = kept.asked
        seen = kept.round(30.0)
        assert (seen.problem, seen.over, seen.acted) == ("no key", False, False)
        if kept.asked > before:
            asked_at.append(desk.clock.now - began)
        else:
            assert seen.sentence.startswith("no key; asked again in ")
    assert asked_at == [60.0, 180.0, 420.0, 900.0, 1500.0, 2100.0]
    kept.at_choice = lambda: None
    assert "attempt 2 is ordered" in kept.round(watcher.ASK_AGAIN_LONGEST).sentence
    desk.work(2, 9)
    desk.cloud.machines.clear()
    kept.at_choice = without_key
    kept.round()
    assert kept.round().sentence == "no key; asked again in 60 s"


def test_what_waits_for_a_key_costs_no_request(desk: Desk, kept: Kept) -> None:
    store = CountingStore()
    store.objects, store.clock = desk.store.objects, desk.store.clock
    kept.watcher = Watcher(
        store, desk.say, choose=kept._choose, provider=kept._provider, watched=Watched(),
        clock=desk.clock,
    )  # fmt: skip
    interrupted(desk, kept)
    read = kept.watcher.read("run")
    seen, took = store.count(lambda: kept.watcher.round("run", read))
    assert (seen.sentence, took) == ("no key; asked again in 60 s", 0), store.requests


def test_a_missing_key_delays_no_end_of_a_machine(desk: Desk, kept: Kept) -> None:
    interrupted(desk, kept)
    desk.begin()  # somebody else has a key
    id = desk.cloud.make(offer(), NAMES[2])
    notes.record_machine(desk.store, "run", 2, Machine("runpod", desk.clock.now, id))
    notes.record_outcome(desk.store, "run", 2, notes.Outcome(75, "broke", desk.clock.now, 5))
    assert kept.round(1).problem == "no key"
    assert (desk.cloud.alive(), kept.asked) == ([], 2)
    assert desk.gone(2)


def test_a_missing_key_delays_no_stop(desk: Desk, kept: Kept) -> None:
    interrupted(desk, kept)
    assert "asked again in 60 s" in kept.round().sentence
    kept.asked = 0
    orders.request_stop(desk.store, "run", StopRequest(desk.clock.now))
    seen = kept.round(1)
    assert (seen.over, seen.status.state, kept.asked) == (True, "stopped", 0)


def test_a_lost_answer_is_asked_for_in_the_next_rounds(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    desk.cloud.machines.clear()
    desk.cloud.faults = [UnknownOutcome("timeout")]
    assert "does not list it" in kept.round().sentence
    desk.cloud.make(offer(), NAMES[2])
    assert "on record now" in kept.round().sentence
    assert desk.cloud.created == NAMES[1:3]


@pytest.mark.parametrize("state", ["done", "failed"])
def test_what_is_over_is_ended(desk: Desk, kept: Kept, state: str) -> None:
    kept.submit()
    desk.work(1, 5).finish(state, "so it ended")
    desk.clock.now += deadlines.FINAL_LOG_WITHIN
    seen = kept.round()
    assert (seen.over, seen.acted) == (True, True)
    assert desk.cloud.alive() == []
    assert desk.gone(1).kind == "over"
    again = kept.round()
    assert (again.over, again.acted) == (True, False)
    assert desk.cloud.terminated == ["i1"]


def test_a_run_that_is_finished_while_it_is_looked_at(desk: Desk, kept: Kept) -> None:
    """HEAD is read before its worker's last swap, the outcome after it."""
    kept.submit()
    worker = desk.work(1, 5)
    read = desk.store.read

    def meanwhile(key: str, **limit: int) -> Versioned | None:
        if key == layout.outcome_key("run", 1) and worker.head.state != "done":
            worker.finish("done", "finished")
            desk.end(1, 0, reason="finished")
        return read(key, **limit)

    desk.store.read = meanwhile  # type: ignore[method-assign]
    seen = kept.round()
    assert (seen.over, seen.status.state, seen.sentence) == (
        True, "done", "run run is done: finished",
    )  # fmt: skip
    assert (desk.gone(1).kind, kept.asked) == ("over", 0)
    assert notes.read_order(desk.store, "run", 2) is None


def test_a_run_that_is_finished_while_its_machine_is_ended(desk: Desk, kept: Kept) -> None:
    kept.submit()
    worker = desk.work(1, 5)
    terminate = desk.cloud.terminate

    def late(id: str) -> None:
        worker.finish("done", "finished")
        terminate(id)

    desk.cloud.terminate = late  # type: ignore[method-assign]
    seen = kept.round(deadlines.SILENT_FOR + 1)
    assert (seen.over, seen.status.state) == (True, "done")
    assert (desk.cloud.alive(), kept.asked) == ([], 0)


def test_a_worker_that_has_finished_has_its_last_words(desk: Desk, kept: Kept) -> None:
    kept.submit()
    worker = desk.work(1, 5)
    worker.finish("done", "finished")
    seen = kept.round(1)
    assert (seen.over, desk.cloud.terminated) == (False, [])
    desk.end(1, 0, reason="finished")
    assert kept.round(1).over
    assert desk.cloud.terminated == ["i1"]


@pytest.mark.parametrize("outlives", ["the seal", "its deadline"])
def test_a_machine_that_says_done_and_goes_on_is_ended(
    desk: Desk, kept: Kept, outlives: str
) -> None:
    desk.begin(deadline=START + HOUR)
    notes.record_machine(
        desk.store, "run", 1, Machine("runpod", START, "i1", deadline=START + HOUR)
    )
    desk.cloud.make(offer(), NAMES[1])
    desk.work(1, 5).finish("done", "finished")
    if outlives == "its deadline":
        desk.clock.now += HOUR + deadlines.WATCH_OVERTIME + 1
        desk.beat(1, 5)
        assert kept.round().over
    else:
        for _ in range(2):
            assert kept.round(deadlines.FINAL_LOG_WITHIN / 2 - 1).sentence.startswith("its worker")
            desk.beat(1, 5)
        assert kept.round(deadlines.FINAL_LOG_WITHIN / 2 + 2).over
    assert desk.cloud.alive() == []


def test_a_damaged_sign_of_a_done_run_is_none(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5).finish("done", "finished")
    desk.store.put(layout.heartbeat_key("run", 1), b'{"time": "x"}')
    assert kept.round().over


def test_over_means_that_no_machine_is_left(desk: Desk, kept: Kept) -> None:
    """Attempt 1's order was lost, and a person went on with attempt 2; now 1 comes up."""
    desk.begin()
    kept.submit()
    desk.work(2, 5).finish("failed", "NaN")
    desk.cloud.immortal = True
    assert not kept.round().over
    desk.cloud.immortal = False
    desk.cloud.make(offer(), NAMES[1])
    assert kept.round(deadlines.LISTED_WITHIN).over
    assert desk.cloud.alive() == []
    assert [desk.gone(number).kind for number in (1, 2)] == ["over", "over"]


@pytest.mark.parametrize("state", ["done", "failed"])
@pytest.mark.parametrize("came", [True, False])
def test_what_was_ordered_after_the_end_is_looked_for_by_its_name(
    desk: Desk, kept: Kept, state: str, came: bool
) -> None:
    """The order of attempt 2 was not answered, and attempt 1's keys put HEAD back to its end."""
    kept.submit()
    ended = replace(desk.work(1, 5).finish(state, "so it ended"), nonce="forged")
    desk.store.put(
        layout.head_key("run"), replace(ended, state="running", nonce="before").to_bytes()
    )
    desk.cloud.machines.clear()
    desk.cloud.faults = [UnknownOutcome("timeout")]
    kept.round()
    if came:
        desk.cloud.make(offer(), NAMES[2])
    desk.store.put(layout.head_key("run"), ended.to_bytes())
    seen = kept.round(deadlines.FINAL_LOG_WITHIN + deadlines.LISTED_WITHIN)
    assert (seen.over, seen.acted, seen.status.attempt) == (True, True, 1)
    assert desk.cloud.alive() == []
    assert desk.gone(2).kind == ("over" if came else "refused")
    again = kept.round()
    if came and state != "done":  # nothing is sealed, and a machine bears out that HEAD is false
        assert "attempt 3 is ordered" in again.sentence
    else:
        assert (again.over, again.acted) == (True, False)


def test_a_young_order_of_a_run_that_is_over_is_waited_for(desk: Desk, kept: Kept) -> None:
    desk.cloud.faults = [UnknownOutcome("timeout")]
    with pytest.raises(UnknownOutcome):
        kept.submit()
    order.give_up(desk.store, "run", "no answer", desk.say)
    seen = kept.round()
    assert (seen.over, "two minutes" in seen.sentence) == (False, True)
    assert kept.round(deadlines.LISTED_WITHIN).over
    assert desk.gone(1).kind == "refused"


def test_runs_on_own_computers_concern_nobody_else(desk: Desk, kept: Kept) -> None:
    assert not kept.watcher.concerned("run")
    kept.submit()
    assert kept.watcher.concerned("run")
    desk.provider.caps = Caps(paid=False)
    assert not kept.watcher.concerned("run")
    desk.provider.caps = Caps(paid=False, foreign=True)
    assert kept.watcher.concerned("run")
    desk.store.put(layout.order_key("run", 1), b"{}")
    assert kept.watcher.concerned("run")  # its round says what is wrong with it


def test_one_run_that_cannot_be_read_hides_no_other(desk: Desk, kept: Kept) -> None:
    kept.submit()
    create_run(desk.store, RunRecord("bad", "smoke", {}, 0, 1.0))
    desk.store.put(layout.order_key("bad", 1), b'{"plan": 3}')
    seen, failed = rounds(kept.watcher, lambda: ["bad", "run"], desk.say)
    assert ([one.run for one in seen], failed) == (["run"], ["bad"])
    assert (
        "run bad could not be looked at: bad/launcher/a0001/order.json has no format"
        in desk.said[-2]
    )


def test_a_fault_of_our_own_in_one_run_hides_no_other(
    desk: Desk, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.submit()
    create_run(desk.store, RunRecord("bad", "smoke", {}, 0, 1.0))
    look = watcher.derive
    monkeypatch.setattr(
        watcher, "derive", lambda store, run, now: look(store, {"bad": 0}.get(run, run), now)
    )
    seen, failed = rounds(kept.watcher, lambda: ["bad", "run"], desk.say)
    assert ([one.run for one in seen], failed) == (["run"], ["bad"])
    assert "run bad could not be looked at: this is a fault of Mimir's, TypeError" in desk.said[-1]


def test_a_store_that_is_away_ends_no_watching(desk: Desk, kept: Kept) -> None:
    def names() -> list[str]:
        raise StoreError("timeout")

    assert rounds(kept.watcher, names, desk.say) == ([], ["all"])
    assert desk.said == ["the runs could not be listed: timeout"]


def test_nonsense_from_a_machine_does_not_keep_it_alive(desk: Desk, kept: Kept) -> None:
    """What it writes counts as no sign of life; the run goes on elsewhere."""
    kept.submit()
    desk.work(1, 5)
    kept.offers = [offer(0.6)]
    for body in (b'{"time": "x"}', b"[" * 100_000, b'{"format": 1, "time": NaN}', b'{"format": 9}'):
        desk.store.put(layout.heartbeat_key("run", 1), body)
        seen = kept.round()
        assert not seen.over
        assert "heartbeat.json" in seen.status.damage
    kept.round(deadlines.BEGIN_WITHIN + 1)
    assert desk.cloud.alive() == NAMES[2:3]


def test_where_keys_cannot_be_cut_down_only_what_is_kept_here_orders(
    desk: Desk, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine writes itself another order: an image, a budget, keys; and then it dies."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    asked: list[str] = []
    monkeypatch.setattr(
        "launch.provision.order.credentials.for_machine",
        lambda spec, source, **_: asked.append(spec.image) or desk.credentials,
    )
    kept.plan = Plan(("runpod",), Limits(max_cost=2.0), keys=KeySource(static=True))
    kept_plan.keep(desk.store, "run", kept.plan, [desk.provider])
    kept.submit()
    desk.work(1, 5)
    order = notes.read_order(desk.store, "run", 1)
    assert order is not None
    for keys in (KeySource(static=True), KeySource()):
        forged = Plan(("runpod",), Limits(max_cost=1e6), image="evil", keys=keys)
        value = replace(order, plan=forged).as_json()
        desk.store.put(layout.order_key("run", 1), codec.sealed(value, notes.FORMAT))
        if keys.static:
            desk.end(1, cause="signal")
            monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of another computer"))
            seen = kept.round()
            assert "nothing is ordered from here" in seen.sentence
            assert desk.cloud.created == NAMES[1:2]
            monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "attempt 2 is ordered" in kept.round().sentence
    second = notes.read_order(desk.store, "run", 2)
    assert second is not None
    assert (second.plan, asked) == (kept.plan, ["", ""])


@pytest.mark.parametrize(("forged", "says"), [(7, "never ordered"), (1, "although attempt 2")])
def test_a_head_that_no_order_bears_out_ends_its_machine(
    desk: Desk, kept: Kept, forged: int, says: str
) -> None:
    """Attempt 2 works on a stranger's machine, whose keys, or an older one's, write HEAD."""
    kept.submit()
    desk.work(1, 5)
    desk.end(1, cause="signal")
    kept.round()
    desk.work(2, 9)
    desk.clock.now += orders.RESERVED
    head = replace(read_head(desk.store, "run").queued_at(forged), state="running", nonce="forged")
    desk.store.put(layout.head_key("run"), head.to_bytes())
    seen = kept.round()
    assert "attempt 3 is ordered" in seen.sentence
    assert any(says in line for line in desk.said)
    assert (desk.gone(2).kind, desk.cloud.alive()) == ("failure", NAMES[3:4])
    assert read_head(desk.store, "run").attempt == 3


@pytest.mark.parametrize("body", [b"{", b" " * (DOCUMENT + 1), b""])
def test_a_head_that_is_none_ends_its_machine(desk: Desk, kept: Kept, body: bytes) -> None:
    """And the run goes on from what its newest order remembers, until too much broke."""
    kept.submit()
    desk.work(1, 5)
    desk.end(1, cause="signal")
    kept.round()
    desk.work(2, 9)
    for number in (2, 3, 4):
        desk.clock.now += orders.RESERVED
        wreck(desk.store, "run", body)
        (seen,), failed = rounds(kept.watcher, lambda: ["run"], desk.say)
        assert not failed
        assert any("run/HEAD" in line and "has ended" in line for line in desk.said)
        assert desk.gone(number).kind == "failure"
        desk.said.clear()
        if number < 4:
            assert f"attempt {number + 1} is ordered" in seen.sentence
            assert desk.cloud.alive() == NAMES[number + 1 : number + 2]
    assert (seen.status.state, desk.cloud.alive()) == ("failed", [])
    assert "3 of its machines or workers broke" in seen.status.reason
    assert (seen.status.committed_step, read_head(desk.store, "run").attempt) == (5, 4)


@pytest.mark.parametrize("deadline", [0.0, START + 3600])
def test_a_head_of_another_format_keeps_no_machine_beyond_its_deadline(
    desk: Desk, kept: Kept, deadline: float
) -> None:
    choice = Choice(desk.provider, offer(), deadline)
    order.order(desk.store, "run", [choice], PLAN, desk.say)
    desk.work(1, 5)
    newer = desk.store.get("run/HEAD").replace(b'"format":1', b'"format":99')
    desk.store.put("run/HEAD", newer)

    def told(wait: float) -> str:
        desk.clock.now += wait
        desk.said.clear()
        assert rounds(kept.watcher, lambda: ["run"], desk.say) == ([], ["run"])
        return " ".join(desk.said)

    assert kept.watcher.concerned("run")
    for wait in (10, 3600 + deadlines.WATCH_OVERTIME - 20):
        said = told(wait)
        assert "run/HEAD has format 99" in said
        assert "reap --provider runpod --machine i1" in said
        (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
        assert (stray.why, len(problems)) == ("", 1)
    assert desk.cloud.alive() == NAMES[1:2]
    desk.clock.now += 20
    (stray,), _ = reaper.find(desk.store, [desk.provider], desk.clock())
    assert bool(stray.why) == bool(deadline)
    desk.cloud.immortal = True
    assert "i1" in told(0)
    assert desk.cloud.alive()
    desk.cloud.immortal = False
    assert ("and is ended" in told(1)) == bool(deadline)
    assert bool(desk.cloud.alive()) != bool(deadline)
    assert "has format 99" in told(1)
    assert desk.store.get("run/HEAD") == newer


def test_reap_ends_what_watch_would_end(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1, 5)
    wreck(desk.store, "run", b"{")
    (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
    assert (stray.why, problems) == ("", [])  # it was ordered just now
    desk.clock.now += deadlines.UNRECORDED_FOR
    (stray,), problems = reaper.find(desk.store, [desk.provider], desk.clock())
    assert ("run/HEAD is not JSON" in stray.why, problems) == (True, [])


def test_an_unknown_machine_is_nobodys_to_end(desk: Desk, kept: Kept) -> None:
    kept.submit()
    desk.work(1)
    machine = Machine("terminal", START)
    attempt = derive(desk.store, "run", START).attempts[0]
    strange = type(attempt)(1, 0, "", machine=machine)
    over = notes.Gone(START, "over", "over")
    assert not closing.close(desk.store, "run", strange, over, registry.get)
    with pytest.raises(BadInput):
        registry.get("terminal")


@pytest.mark.parametrize("error", [AuthFailed("the key is refused"), Misconfigured("no such CA")])
def test_who_may_not_ask_after_a_machine_says_so(
    desk: Desk, kept: Kept, error: ProviderError
) -> None:
    """A cron job that lost its key must not look healthy."""
    kept.submit()
    desk.work(1, 5)
    assert kept.round().problem == ""
    desk.cloud.get_fails = [error] * 9
    seen, failed = rounds(kept.watcher, lambda: ["run"], desk.say)
    assert failed == ["run"]
    assert seen[0].sentence == "working"
    assert f"can neither be seen nor ended from here: {error}" in desk.said[-1]
