"""The limits that modules must agree on: their relations, and one machine seen by all of them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.commands import options
from launch.contract import deadlines
from launch.contract.cloud import State
from launch.providers import registry
from launch.provision import liveness
from launch.provision.liveness import Watched
from launch.supervise.diagnosis import diagnose, observe
from mimir.errors import BadInput
from mimir.runs import notes, orders
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.status import derive
from mimir.worker import reporter
from tests import ROOT
from tests.launch.paper import START, Desk, offer

MINUTES = range(41)


def test_relations() -> None:
    assert 3 * reporter.INTERVAL < deadlines.BEATS_WITHIN < deadlines.SILENT_FOR
    own = deadlines.SHELL_OVERTIME + deadlines.KILL_AFTER + deadlines.SELF_TERMINATE_WITHIN
    assert own < deadlines.WATCH_OVERTIME < deadlines.LEFT_ON
    assert max(orders.RESERVED, deadlines.LISTED_WITHIN) < deadlines.UNRECORDED_FOR
    assert deadlines.LISTED_WITHIN < deadlines.SILENT_FOR < deadlines.BEGIN_WITHIN
    assert deadlines.BEGIN_WITHIN < deadlines.KEYS_FETCHED_WITHIN
    assert deadlines.COMMIT_BEFORE_KEYS_END < deadlines.KEYS_OUTLIVE


def never_begins(desk: Desk, minute: int) -> None:
    """Its machine is there and gives no sign."""
    if minute == 0:
        ordered(desk)


def works_for_ten_minutes(desk: Desk, minute: int) -> None:
    """It gives signs from minute 5 to 15, then none."""
    never_begins(desk, minute)
    if minute == 5:
        desk.work(1, 3)
    elif 5 < minute <= 15:
        desk.beat(1, 3)


def is_never_answered(desk: Desk, minute: int) -> None:
    """Its launcher ended between its order and the record of its machine."""
    if minute == 0:
        ordered(desk, record=False)


def is_refused(desk: Desk, minute: int) -> None:
    """There is no such machine."""
    if minute == 0:
        ordered(desk, record=False)
        notes.record_gone(desk.store, "run", 1, Gone(START, "refused", "none left"))


def is_evicted_and_seen_gone(desk: Desk, minute: int) -> None:
    works_for_ten_minutes(desk, minute)
    if minute == 7:
        notes.record_gone(desk.store, "run", 1, Gone(START, "eviction", "outbid"))


def is_suspended(desk: Desk, minute: int) -> None:
    """Its service has taken it away, and nobody has written that down yet."""
    works_for_ten_minutes(desk, minute)
    if minute == 7:
        desk.cloud.becomes("i1", State.SUSPENDED)


def breaks_while_it_starts(desk: Desk, minute: int) -> None:
    never_begins(desk, minute)
    if minute == 7:
        desk.cloud.becomes("i1", State.BROKEN)


def passes_its_deadline(desk: Desk, minute: int) -> None:
    """It goes on giving signs."""
    if minute == 0:
        ordered(desk, deadline=START + 60)
    elif minute == 1:
        desk.work(1, 3)
    else:
        desk.beat(1, 3)


def ordered(desk: Desk, *, record: bool = True, deadline: float = 0.0) -> None:
    desk.begin(deadline=deadline)
    if record:
        machine = Machine("runpod", START, desk.cloud.make(offer(), "mimir-run-a0001"), price=0.5)
        notes.record_machine(desk.store, "run", 1, machine)


@pytest.mark.parametrize(
    "lives",
    [
        never_begins, works_for_ten_minutes, is_never_answered, is_refused,
        is_evicted_and_seen_gone, is_suspended, breaks_while_it_starts, passes_its_deadline,
    ],
)  # fmt: skip
def test_watch_resume_and_submit_agree_about_a_machine_at_each_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lives: Callable[[Desk, int], None]
) -> None:
    """As long as `watch` does not call an attempt lost, the others do not replace it unasked."""
    real = registry.get
    # Who looks once watches an old heartbeat for some seconds. No machine here is silent and lives.
    monkeypatch.setattr(liveness, "stirs", lambda *_, **__: False)
    monkeypatch.setattr(registry, "get", lambda n: desk.provider if n == "runpod" else real(n))
    said: set[str] = set()
    watched = Watched(desk.clock)
    for minute in MINUTES:
        desk.clock.now = START + 60 * minute
        lives(desk, minute)
        status = derive(desk.store, "run", desk.clock())
        order = status.attempts[-1].order
        found = diagnose(observe(status, order))
        said.add(found.kind)
        # Who has watched all the while says the same, but for the moment until it sees no change.
        unchanged = watched.unchanged("run", status.attempt, status.beat)
        assert found == diagnose(observe(status, order, unchanged=unchanged))
        try:  # what both submit and resume ask before they begin an attempt
            options.check_free(desk.store, "run", "")
            free = True
        except BadInput:
            free = False
        assert free == (found.kind == "lost"), (minute, found)
    assert "lost" in said


OWN_CLOCK = {
    # What a computer dates for people, or compares with its own clock alone.
    "launch/doctor.py", "launch/payload/credentials.py",
    "launch/providers/aws/bands.py", "launch/providers/aws/market.py",
    "launch/providers/gcp/token.py",
    "launch/providers/colab/folder.py",
    "launch/providers/colab/provider.py", "launch/providers/colab/session.py",
    "launch/providers/docker/provider.py", "launch/providers/lambda_cloud/adapter.py",
    "launch/providers/local/provider.py", "launch/providers/rented.py",
    "launch/providers/slurm/provider.py",
    "launch/supervise/key_refresh.py", "launch/supervise/notify.py",
    "launch/supervise/timed.py", "launch/supervise/timer.py", "mimir/data/uniprot.py",
    "mimir/runs/file_store.py", "mimir/runs/s3_clock.py", "mimir/training/compiled.py",
    "mimir/training/loop.py",
    "mimir/worker/health.py", "mimir/worker/reporter.py", "mimir/worker/self_terminate.py",
}  # fmt: skip


def test_no_other_module_reads_this_computers_time() -> None:
    """What several computers judge by goes by the store's clock (Store.now)."""
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("launch", "mimir")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"\btime\.time\b|\bdatetime\.(now|utcnow)\b", path.read_text())
    }
    assert found == OWN_CLOCK


def test_a_limit_has_one_name_and_one_home() -> None:
    """No other module of launch defines a constant of a name that stands in deadlines."""
    names = {name for name in vars(deadlines) if name.isupper()}
    home = Path(deadlines.__file__)
    for path in (ROOT / "launch").rglob("*.py"):
        found = set(re.findall(r"^([A-Z][A-Z_]+)\b.* = ", path.read_text(), re.M))
        assert path == home or not names & found, path
