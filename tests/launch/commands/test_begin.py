"""How submit and resume leave a machine that has given no sign of life yet."""

import io
import re
from collections.abc import Callable
from unittest import mock

import pytest

from launch.commands.begin import Start
from launch.contract import deadlines
from launch.contract.errors import NoCapacity
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Caps
from launch.pricing.budget import Remaining
from launch.providers import registry
from launch.provision import kept_plan, wait
from launch.provision.choice import Choice
from launch.provision.choose import Found, Market
from launch.provision.wait import Beginning
from launch.supervise.watcher import Watcher
from launch.ui import confirm
from mimir.errors import Fenced, MimirError, StoreError
from mimir.runs import notes, orders
from mimir.runs.commit import Attempt
from mimir.runs.notes import Outcome
from mimir.runs.order import Plan
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store
from tests.launch.conftest import Fake
from tests.launch.paper import Desk, offer

STAYS, ENDS_ITSELF = Caps(paid=True), Caps(paid=True, ends_itself=True)
LOST = Beginning("lost", 75, "attempt 1 has not begun: it gave no sign within 25 min")


def begun(store: Store, fake: Fake, *, watch: bool = False) -> int:
    """The exit code of a `submit` to the fake."""
    found = Found((Choice(fake),), (), Remaining(1.0, 1.0), Market())
    start = Start(store, "run", Plan((fake.name,)), "", watch, False)
    return start.begin(derive(store, "run", store.now()), found)


def ends_with(monkeypatch: pytest.MonkeyPatch, end: Beginning | BaseException) -> None:
    def waited(*_: object) -> Beginning:
        if isinstance(end, Beginning):
            return end
        raise end

    monkeypatch.setattr(wait, "await_beginning", waited)


def answers(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = True) -> None:
    stdin = io.StringIO(text)
    stdin.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stdin)


def test_a_machine_without_a_sign_is_ended_and_the_run_lives(
    store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, LOST)
    assert begun(store, fake) == 75
    said = "".join(capsys.readouterr())
    assert "gave no sign within 25 min; its machine is ended, and seen to be gone" in said
    assert "python -m launch resume run" in said
    assert [each.id for each in fake.ended] == ["m1"]
    gone = notes.read_gone(store, "run", 1)
    assert gone is not None
    assert gone.kind == "failure", "a watcher counts it, and orders the next"
    assert read_head(store, "run").state == "queued"


def test_one_that_cannot_be_ended_is_named(
    store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, LOST)
    fake.living = None
    assert begun(store, fake) == 75
    said = "".join(capsys.readouterr())
    for words in (
        "it cannot be reached", "is paid for as long as it is there",
        "reap --provider fake --machine m1", "its machine may still be there",
    ):  # fmt: skip
        assert words in said
    assert notes.read_gone(store, "run", 1) is None


def ends_at_once(store: Store, fake: Fake, code: int, cause: str, state: str = "") -> None:
    """The worker ends with this code, and its run in this state; "" if it did not claim it."""

    def worked(spec: AttemptSpec) -> None:
        if state:
            Attempt.claim(store, "run", spec.attempt).finish(state, "why")
        notes.record_outcome(store, "run", spec.attempt, Outcome(code, "why", 1.0, 0, cause))

    fake.at_start = worked


@pytest.mark.parametrize(
    ("code", "cause", "state", "watch", "kind"),
    [
        (75, "host", "", False, "placement"),
        (1, "", "", False, "failure"),
        (75, "deadline", "", False, "over"),
        (78, "", "failed", False, "over"),
        (78, "", "failed", True, "over"),
        (0, "", "done", False, "over"),
    ],
    ids=["short", "crash", "deadline", "bad", "bad, watched", "done"],
)
@pytest.mark.parametrize("caps", [STAYS, ENDS_ITSELF, Caps(paid=False)])
def test_a_machine_that_cannot_end_itself_is_ended_after_its_attempt(
    caps: Caps, code: int, cause: str, state: str, watch: bool, kind: str, store: Store,
    fake: Fake, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What is written of its end is what `watch` would have written."""
    fake.caps = caps
    ends_at_once(store, fake, code, cause, state)
    assert begun(store, fake, watch=watch) == wait.worker_code(code)
    gone = notes.read_gone(store, "run", 1)
    ended = caps is STAYS
    assert [each.id for each in fake.ended] == ["m1"] * ended
    assert (gone.kind if gone else "") == kind * ended
    said = "".join(capsys.readouterr())
    assert ("why; its machine is ended, and seen to be gone" in said) is ended


def test_one_that_is_watched_is_the_watchers_to_end(
    store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_at_once(store, fake, 75, "host")
    monkeypatch.setattr(Start, "_watch", lambda *_, **__: 0)
    assert begun(store, fake, watch=True) == 0
    assert not fake.ended


@pytest.mark.parametrize(
    ("answer", "terminal", "ended"),
    [("y\n", True, True), ("n\n", True, False), ("", True, False), ("y\n", False, False)],
)
def test_ctrl_c(
    answer: str, terminal: bool, ended: bool, store: Store, fake: Fake,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ends_with(monkeypatch, KeyboardInterrupt())
    answers(monkeypatch, answer, terminal=terminal)
    assert begun(store, fake) == 130
    said = "".join(capsys.readouterr())
    assert ("End the machine (fake m1)?" in said) is terminal
    assert bool(fake.ended) is ended
    assert (notes.read_gone(store, "run", 1) is not None) is ended
    assert read_head(store, "run").state == ("stopped" if ended else "queued")
    if not ended:
        assert "is paid for as long as it is there" in said
        assert "reap --provider fake --machine m1" in said


def test_the_run_is_stopped_before_its_machine_is_ended(
    store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher that looks in between orders no other machine."""
    ends_with(monkeypatch, KeyboardInterrupt())
    answers(monkeypatch, "y\n")
    states: list[str] = []
    monkeypatch.setattr(fake, "end", lambda *_: states.append(read_head(store, "run").state))
    assert begun(store, fake) == 130
    assert states == ["stopped"]


@pytest.mark.parametrize("error", [Fenced("another attempt"), StoreError("it is away")])
def test_a_machine_that_is_to_be_ended_is_ended_whatever_becomes_of_the_run(
    error: MimirError, store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ends_with(monkeypatch, KeyboardInterrupt())
    answers(monkeypatch, "y\n")
    monkeypatch.setattr("mimir.runs.begin.end_attempt", mock.Mock(side_effect=error))
    assert begun(store, fake) == 130
    assert [each.id for each in fake.ended] == ["m1"]
    said = "".join(capsys.readouterr())
    assert f"run run is not stopped, a watcher may go on with it: {error}" in said
    assert "the machine is ended, and seen to be gone" in said


def test_ctrl_c_asks_nothing_about_a_machine_of_this_computer(
    store: Store, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends_with(monkeypatch, KeyboardInterrupt())
    answers(monkeypatch, "y\n")
    fake.caps = Caps(paid=False)
    assert begun(store, fake) == 130
    assert not fake.ended
    assert re.search("stopped waiting; run run goes on by itself", capsys.readouterr().err)


def test_a_second_ctrl_c_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "")

    def pressed() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.readline", pressed)
    assert confirm.end_or_leave("fake m1") is False


def made(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the service has made the machine and has not answered yet."""

    def create(offer: Offer, name: str) -> str:
        desk.cloud.make(offer, name)
        raise KeyboardInterrupt

    desk.cloud.faults = [create]


def unanswered(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes before the service has made anything; nobody here can tell."""
    desk.cloud.faults = [mock.Mock(side_effect=KeyboardInterrupt)]


def unreadable(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """As made, and then the store does not say what was ordered."""
    made(desk, patch)
    patch.setattr(orders, "newest_order", mock.Mock(side_effect=StoreError("it is away")))


def before(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kept_plan, "keep", mock.Mock(side_effect=KeyboardInterrupt))


def refused(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """The first offer is gone, and Ctrl-C comes before the next one is ordered."""
    desk.cloud.faults = [NoCapacity("it is gone")]
    patch.setattr("launch.ui.terminal.say", mock.Mock(side_effect=[KeyboardInterrupt, None]))


MAY_BE = "interrupted while its machine was being ordered: there may be one"
NONE = "interrupted before its machine was ordered"


@pytest.mark.parametrize(
    ("when", "reason"),
    [(made, MAY_BE), (unanswered, MAY_BE), (unreadable, MAY_BE), (before, NONE), (refused, NONE)],
    ids=["made", "unanswered", "unreadable", "before", "refused"],
)
def test_ctrl_c_while_the_order_is_placed(
    when: Callable[[Desk, pytest.MonkeyPatch], None], reason: str, desk: Desk,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What is said and written of a machine is true, and `watch` ends the one that was made."""
    monkeypatch.setattr(registry, "get", lambda _: desk.provider)
    found = Found((Choice(desk.provider, offer()),) * 2, (), Remaining(1.0, 1.0), Market())
    start = Start(desk.store, "run", Plan(("runpod",)), "", False, False)
    known = derive(desk.store, "run", desk.clock())
    with monkeypatch.context() as patch:
        when(desk, patch)
        with pytest.raises(KeyboardInterrupt):
            start.begin(known, found)
    head = read_head(desk.store, "run")
    assert (head.state, head.reason) == ("failed", reason)
    said = capsys.readouterr().err
    assert ("may be there, and be paid for: `python -m launch watch run --once`" in said) is (
        reason == MAY_BE
    )
    desk.clock.now += deadlines.LISTED_WITHIN
    assert Watcher(desk.store, desk.say, provider=registry.get).round("run").over
    assert len(desk.cloud.created) <= 1
    assert desk.cloud.alive() == []


def test_ctrl_c_while_a_worker_of_this_computer_is_started(
    store: Store, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.caps = Caps(paid=False)
    fake.at_start = mock.Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        begun(store, fake)
    assert "if it runs, it is turned away" in capsys.readouterr().err
    assert MAY_BE in Attempt.claim(store, "run", 1).ended
