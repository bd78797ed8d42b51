"""Each event of a run is told once, by whichever watcher sees it first."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.contract.cloud import ContainerSpec
from launch.contract.errors import AuthFailed, NoCapacity
from launch.contract.provider import AttemptSpec
from launch.provision.choice import Choice
from launch.provision.order import order
from launch.supervise import notify
from launch.supervise.notify import Notifier
from launch.supervise.watcher import Seen
from mimir.errors import BadInput
from mimir.runs import remove
from mimir.runs.begin import end_attempt
from mimir.runs.order import Limits, Plan
from mimir.runs.status import derive
from mimir.runs.store import Store
from mimir.worker import webhook
from tests.launch.paper import Desk, offer
from tests.launch.supervise.test_watcher import Kept

URL = "https://hooks.example/services/sec-ret"
PLAN = Plan(("runpod",), Limits(max_failures=1, max_cost=1.0))


class Channel:
    """What the webhook was told. why: how it refuses."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.why = ""

    def __call__(self, url: str, body: dict[str, Any]) -> str:
        assert url == URL
        self.told.append(body)
        return self.why

    @property
    def events(self) -> list[str]:
        return [each["event"] for each in self.told]


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Channel:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Channel()


@pytest.fixture
def kept(desk: Desk) -> Kept:
    return Kept(desk, PLAN)


def notifier(desk: Desk, channel: Channel) -> Notifier:
    """Of a watcher that was just started."""
    return Notifier(desk.store, URL, desk.say, post=channel, clock=desk.clock)


def done(desk: Desk, kept: Kept) -> None:
    desk.work(1, 5).finish("done", "finished")


def failed(desk: Desk, kept: Kept) -> None:
    desk.work(1, 5)
    desk.end(1)


def stopped(desk: Desk, kept: Kept) -> None:
    end_attempt(desk.store, "run", 1, "stopped", "asked to stop", sleep=desk.clock.sleep)


def over_budget(desk: Desk, kept: Kept) -> None:
    desk.work(1, 5)
    desk.clock.now += 3600 * 10
    desk.end(1, 75, "deadline")


@pytest.mark.parametrize(
    ("happens", "event"),
    [(done, "done"), (failed, "failed"), (stopped, "stopped"), (over_budget, "over budget")],
)
def test_each_end_is_told_once(
    happens: Callable[[Desk, Kept], None], event: str, desk: Desk, kept: Kept, channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    later = time.time()
    monkeypatch.setattr(time, "time", lambda: later)
    kept.submit()
    tells = notifier(desk, channel)
    tells.after(kept.round())
    assert channel.events == []
    happens(desk, kept)
    for _ in range(4):
        tells.after(kept.round(100))
        later += 100
        notifier(desk, channel).after(kept.round())
    assert channel.events == [event]
    assert (channel.told[0]["run"], channel.told[0]["attempt"]) == ("run", 1)
    assert channel.told[0]["dollars"] > 0
    assert "run run is" in channel.told[0]["text"]
    everything = str([*desk.said, *desk.store.objects.items()])
    assert "sec-ret" not in everything


def test_a_machine_that_cannot_be_ended_is_told(desk: Desk, kept: Kept, channel: Channel) -> None:
    kept.submit()
    done(desk, kept)
    tells = notifier(desk, channel)
    desk.clock.now += 100
    desk.cloud.get_fails = [AuthFailed("refused")] * 99
    for _ in range(3):
        tells.after(kept.round(10))
    assert channel.events == ["done", "machine still paid"]
    machine = channel.told[1]["machine"]
    assert (machine["provider"], machine["id"]) == ("runpod", "i1")
    assert machine["ends"] == "python -m launch watch run --once"
    desk.cloud.get_fails = []
    tells.after(kept.round(10))
    assert desk.cloud.alive() == []
    assert channel.events == ["done", "machine still paid"]


def test_a_removal_is_no_end_that_is_told(desk: Desk, kept: Kept, channel: Channel) -> None:
    """A machine that it leaves paid is told of."""
    kept.submit()
    remove.mark(desk.store, remove.target(desk.store, "run"), "rm", sleep=desk.clock.sleep)
    desk.cloud.get_fails = [AuthFailed("refused")] * 99
    tells = notifier(desk, channel)
    for _ in range(3):
        seen = kept.round(100)
        tells.after(seen)
    assert seen.status.state == "removed"
    assert channel.events == ["machine still paid"]


def test_what_the_watcher_ends_in_the_same_round_is_not_called_paid(
    desk: Desk, kept: Kept, channel: Channel
) -> None:
    kept.submit()
    done(desk, kept)
    seen = kept.round(100)
    assert seen.acted
    notifier(desk, channel).after(seen)
    assert channel.events == ["done"]


def test_a_webhook_that_fails_is_tried_again_later_and_not_for_ever(
    desk: Desk, kept: Kept, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.submit()
    done(desk, kept)
    channel.why = "it answers 500"
    tells = notifier(desk, channel)
    later = time.time()
    monkeypatch.setattr(time, "time", lambda: later)
    for number in range(6):
        tells.after(kept.round(30))  # within a minute of a failure nothing is sent
        later += 30
        assert len(channel.told) == min(number // 2 + 1, notify.TRIES)
    said = [line for line in desk.said if "webhook" in line]
    assert (
        said
        == ["the webhook at hooks.example was not told that run is done: it answers 500"]
        * notify.TRIES
    )


def test_old_runs_and_runs_that_go_on_later(desk: Desk, kept: Kept, channel: Channel) -> None:
    """A store may hold years of runs; one that is resumed ends a second time."""
    kept.submit()
    stopped(desk, kept)
    seen = kept.round(100)
    desk.clock.now += notify.OLD + 1000
    old = Seen("run", derive(desk.store, "run", desk.clock()), True, False, "")
    notifier(desk, channel).after(old)
    assert channel.events == []
    notifier(desk, channel).after(seen)
    kept.submit()
    end_attempt(desk.store, "run", 2, "stopped", "asked to stop", sleep=desk.clock.sleep)
    notifier(desk, channel).after(kept.round(100))
    assert channel.events == ["stopped", "stopped"]


def test_two_watchers_at_once_tell_it_once(desk: Desk, kept: Kept, channel: Channel) -> None:
    kept.submit()
    done(desk, kept)
    seen = kept.round(100)
    other = notifier(desk, channel)
    told = channel.__call__

    def meanwhile(url: str, body: dict[str, Any]) -> str:
        other.after(seen)
        return told(url, body)

    Notifier(desk.store, URL, desk.say, post=meanwhile, clock=desk.clock).after(seen)
    assert channel.events == ["done"]


def test_a_full_disk_costs_the_memory_and_no_watcher(
    desk: Desk, kept: Kept, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.submit()
    done(desk, kept)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    notifier(desk, channel).after(kept.round(100))
    assert channel.events == ["done"]
    assert "cannot be remembered, so it may be told again: No space left" in desk.said[-1]


@pytest.mark.parametrize(("command", "word"), [(submit, "first"), (resume, "run")])
def test_who_does_not_stay_cannot_tell(command: Callable[..., int], word: str) -> None:
    with pytest.raises(BadInput, match="say --watch as well") as caught:
        command(word, notify=URL)
    assert "sec-ret" not in str(caught.value)


def test_the_option_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MIMIR_NOTIFY", "https://one.example/x")
    assert notify.url_of("") == "https://one.example/x"
    assert notify.url_of(URL) == URL


def test_a_machine_gets_the_url_only_with_a_warning(desk: Desk, channel: Channel) -> None:
    assert notify.from_machine(URL, False) == []
    (line,) = notify.from_machine(URL, True)
    assert "host and its service learn the webhook's URL" in line
    assert "sec-ret" not in line
    with pytest.raises(BadInput, match="needs the webhook's URL"):
        notify.from_machine("", True)


def test_what_a_service_says_of_the_order_shows_no_url(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def started(store: Store, spec: AttemptSpec, *_: object) -> ContainerSpec:
        seen.append(spec.env)
        return ContainerSpec("an image", ("sh",), {})

    monkeypatch.setattr("launch.payload.container.of", started)
    desk.cloud.faults = [NoCapacity(f"refused: MIMIR_NOTIFY_FROM_MACHINE={URL}")]
    choices = [Choice(desk.provider, offer())]
    with pytest.raises(NoCapacity) as caught:
        order(desk.store, "run", choices, PLAN, desk.say, extra={webhook.FROM_MACHINE: URL})
    assert seen[0][webhook.FROM_MACHINE] == URL
    assert "sec-ret" not in str([caught.value, desk.said, *desk.store.objects.items()])
