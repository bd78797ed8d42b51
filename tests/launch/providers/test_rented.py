"""A machine is ordered by one request, and has ended when its service says so."""

from dataclasses import replace

import pytest

from launch.contract.cloud import Instance, State
from launch.contract.errors import (
    AuthFailed,
    Leaked,
    NoCapacity,
    NotGone,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.providers import ending, rented
from mimir.errors import BadInput, StoreError
from mimir.runs.machine import Machine
from tests.launch.paper import START, Desk, named, offer

NAME = named("run", 1)
AWAY = ProviderError("502")


def test_one_create(desk: Desk) -> None:
    machine = desk.provider.start(desk.spec(deadline=START + 60))
    assert desk.cloud.created == [NAME]
    assert desk.left == ["run 1"]  # the keys wait for it
    assert machine == Machine(
        "runpod", START, "i1", NAME, gpu="RTX 4090", price=0.5, place="here", image="an image",
        deadline=START + 60, ends_itself=True,
    )  # fmt: skip
    assert desk.provider.alive(machine) is True
    assert desk.provider.output(machine, 5) == ["i1 said something"]


def test_what_cannot_be_ordered(desk: Desk) -> None:
    with pytest.raises(BadInput, match="an offer is needed"):
        desk.provider.start(desk.spec(offer=None))
    desk.cloud.make(offer(), NAME)
    with pytest.raises(BadInput, match="another --name"):
        desk.provider.start(desk.spec())
    assert not desk.cloud.created


@pytest.mark.parametrize("error", [NoCapacity("none"), AuthFailed("no key"), BadInput("wrong")])
def test_a_refusal_takes_the_keys_back(desk: Desk, error: Exception) -> None:
    desk.cloud.faults = [error]
    with pytest.raises(type(error)):
        desk.provider.start(desk.spec())
    assert desk.left == []
    assert desk.cloud.created == [NAME]


def test_keys_that_cannot_be_taken_back_hide_no_machine(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NotGone says that money may be spent; the store's trouble must not be told instead."""

    def fails(*args: object) -> None:
        raise StoreError("the store is away")

    monkeypatch.setattr("launch.payload.key_link.revoke", fails)
    desk.cloud.immortal = True
    desk.cloud.faults = [leak]
    desk.cloud.make(offer(), named("other", 1))
    with pytest.raises(NotGone):
        desk.provider.start(desk.spec())


def leak(offer: Offer, name: str) -> str:
    raise Leaked("a host was found, then lost", "i1")


def test_what_leaked_is_ended_before_the_next_offer(desk: Desk) -> None:
    def leaks(offer: Offer, name: str) -> str:
        raise Leaked("no host", desk.cloud.make(offer, name))

    desk.cloud.faults = [leaks]
    with pytest.raises(NoCapacity, match="that it made anyway is ended"):
        desk.provider.start(desk.spec())
    assert desk.cloud.terminated == ["i1"]
    assert desk.cloud.alive() == []
    assert desk.left == []


def test_a_lost_answer_is_looked_up(desk: Desk) -> None:
    def lost(offer: Offer, name: str) -> str:
        desk.cloud.make(offer, name, 0.52)
        desk.cloud.list_fails = [AWAY, BadInput("an answer that nobody knows")]
        raise UnknownOutcome("timeout")

    desk.cloud.faults = [lost]
    machine = desk.provider.start(desk.spec())
    assert (machine.id, machine.price) == ("i1", 0.52)
    assert desk.cloud.created == [NAME]
    assert desk.left == ["run 1"]
    assert desk.clock.now - START == sum(rented.LOOKS[:3])


def test_an_answer_that_stays_lost(desk: Desk) -> None:
    desk.cloud.faults = [UnknownOutcome("timeout")]
    with pytest.raises(UnknownOutcome, match=r"does not list it yet \(timeout\)"):
        desk.provider.start(desk.spec())
    assert desk.cloud.created == [NAME]
    assert desk.left == ["run 1"]  # it may come up, and is turned away by its attempt's number
    assert desk.provider.adopt(desk.spec()) is None
    desk.cloud.make(offer(), NAME, 0.7)
    assert desk.provider.adopt(desk.spec()) is None, "it costs more than its offer"
    assert desk.cloud.alive() == []
    desk.cloud.make(offer(), NAME, 0.52)
    found = desk.provider.adopt(desk.spec())
    assert found is not None
    assert (found.id, found.price) == ("i2", 0.52)


@pytest.mark.parametrize(("price", "dear"), [(0.5, False), (0.525, False), (0.53, True)])
def test_dearer_than_offered(desk: Desk, price: float, dear: bool) -> None:
    desk.cloud.faults = [lambda offer, name: desk.cloud.make(offer, name, price)]
    desk.cloud.get_fails = [AWAY, BadInput("?")]
    if dear:
        with pytest.raises(NoCapacity, match=r"asked \$0.530/h"):
            desk.provider.start(desk.spec())
        assert desk.cloud.alive() == []
        return
    assert desk.provider.start(desk.spec()).price == price


@pytest.mark.parametrize(
    ("shown", "wanted", "kept"),
    [
        ("US-TX-3", ("eu",), False),
        ("EU-RO-1", ("eu",), True),
        ("US-TX-3", (), True),
        ("", ("eu",), True),
    ],
)
def test_a_machine_elsewhere_than_asked_is_ended(
    desk: Desk, shown: str, wanted: tuple[str, ...], kept: bool
) -> None:
    def makes(offer: Offer, name: str) -> str:
        id = desk.cloud.make(offer, name)
        desk.cloud.machines[id] = replace(desk.cloud.machines[id], region=shown)
        return id

    desk.cloud.faults = [makes]
    if kept:
        assert desk.provider.start(desk.spec(regions=wanted)).id == "i1"
        return
    with pytest.raises(NoCapacity, match="in US-TX-3, which is none of eu; it is ended"):
        desk.provider.start(desk.spec(regions=wanted))
    assert desk.cloud.alive() == []


def test_a_machine_that_is_not_shown_yet_is_taken(desk: Desk) -> None:
    desk.cloud.get_fails = [AWAY, AWAY, AWAY]
    assert desk.provider.start(desk.spec()).price == 0.5


def machine(desk: Desk) -> Machine:
    return desk.provider.start(desk.spec())


def test_the_end_is_seen(desk: Desk) -> None:
    desk.provider.end(desk.spec(), machine(desk))
    assert desk.cloud.terminated == ["i1"]
    assert desk.clock.now == START


def test_a_500_may_have_ended_it_all_the_same(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.terminate_fails = [ProviderError("500")]
    desk.provider.end(desk.spec(), its)
    assert desk.cloud.terminated == ["i1"]


def test_the_end_is_asked_for_until_it_is_seen(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.immortal = True
    desk.cloud.terminate_fails = [RateLimited("slowly", 12.0), BadInput("?")]
    desk.cloud.get_fails = [AWAY]

    def at_sleep(number: int) -> None:
        desk.cloud.immortal = len(desk.cloud.terminated) < 3

    desk.clock.at_sleep = at_sleep
    desk.provider.end(desk.spec(), its)
    assert len(desk.cloud.terminated) == 4
    assert desk.clock.now - START >= 12.0


def test_a_machine_of_another_name_is_told_and_not_ended(desk: Desk) -> None:
    """The record in the store names another run's machine, or a person has renamed this one."""
    mine = machine(desk)
    other = desk.cloud.make(offer(0.7), named("other", 1))
    says = (
        rf"machine {other} of runpod is named '{named('other', 1)}', and not {NAME}.*"
        rf"\$0.700/h.*launch reap --provider runpod --machine {other}"
    )
    with pytest.raises(NotGone, match=says):
        desk.provider.end(desk.spec(), replace(mine, id=other))
    assert desk.cloud.alive() == [named("other", 1)]  # what bears the attempt's name is ended
    with pytest.raises(NotGone, match="it is not ended"):
        desk.provider.end(desk.spec(), replace(mine, id=other))
    assert other not in desk.cloud.terminated


def test_still_there(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.immortal = True
    with pytest.raises(NotGone, match=f"{NAME}.*it says RUNNING.*may still cost"):
        desk.provider.end(desk.spec(), its)
    assert ending.GONE_WITHIN <= desk.clock.now - START < ending.GONE_WITHIN + 30
    assert desk.provider.alive(its) is True


def test_no_answer_is_not_gone(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.get_fails = [ProviderError("no answer") for _ in range(100)]
    with pytest.raises(NotGone, match="no answer"):
        desk.provider.end(desk.spec(), its)
    assert desk.provider.alive(its) is None


def test_without_a_key_the_end_does_not_wait(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.get_fails = [AuthFailed("your key was withdrawn") for _ in range(100)]
    with pytest.raises(AuthFailed, match="may still run, and cost: your key was withdrawn"):
        desk.provider.end(desk.spec(), its)


def test_a_state_of_gone_is_gone(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.immortal = True
    desk.cloud.becomes("i1", State.GONE)
    assert desk.provider.alive(its) is False
    assert desk.provider.inspect(its) is None
    assert desk.provider.adopt(desk.spec()) is None
    desk.provider.end(desk.spec(), its)
    desk.cloud.becomes("i1", State.SUSPENDED)
    assert desk.provider.alive(its) is True  # it may come back, and may cost


@pytest.mark.parametrize(
    ("line", "after", "state"),
    [
        ("system: toomanyrequests: …", 121.0, State.BROKEN),
        ("system: toomanyrequests: …", 119.0, State.PENDING),
        ("system: pulling", 121.0, State.PENDING),
        ("toomanyrequests: …", 121.0, State.PENDING),
    ],
)
def test_a_machine_whose_image_cannot_be_pulled_is_broken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, line: str, after: float, state: State
) -> None:
    machine = desk.provider.start(desk.spec())
    monkeypatch.setattr(desk.cloud, "logs", lambda id, lines: [line])
    desk.cloud.becomes("i1", State.PENDING)
    desk.clock.now += after
    found = desk.provider.inspect(machine)
    assert found is not None
    assert found.state is state
    assert ("toomanyrequests" in found.said) is (state is State.BROKEN)


def test_what_the_account_keeps_for_a_machine_goes_with_it(desk: Desk) -> None:
    machine = desk.provider.start(desk.spec())
    desk.provider.end(desk.spec(), machine)
    assert desk.cloud.forgotten == [NAME]


STRANGE = AttributeError("'list' object has no attribute 'get'")


def test_an_order_whose_answer_cannot_be_read_is_looked_up(desk: Desk) -> None:
    def strange(offer: Offer, name: str) -> str:
        desk.cloud.make(offer, name)
        desk.cloud.get_fails = [STRANGE]
        desk.cloud.list_fails = [STRANGE]
        raise STRANGE

    desk.cloud.faults = [strange]
    assert desk.provider.start(desk.spec()).id == "i1"
    assert desk.cloud.created == [NAME]


def test_an_answer_that_cannot_be_read_says_nothing_of_a_machine(desk: Desk) -> None:
    its = machine(desk)
    desk.cloud.get_fails = [STRANGE, STRANGE]
    assert desk.provider.alive(its) is None
    with pytest.raises(ProviderError, match="runpod's answer has a form that is not known here"):
        desk.provider.inspect(its)
    desk.cloud.list_fails = [STRANGE]
    with pytest.raises(ProviderError, match="AttributeError in"):
        desk.provider.instances()
    desk.cloud.get_fails = [STRANGE for _ in range(100)]
    with pytest.raises(NotGone, match="may still cost money"):
        desk.provider.end(desk.spec(), its)


def test_what_was_never_asked_to_end_is_not_gone(desk: Desk) -> None:
    """A service that does not show a machine yet may have it: None says nothing before that."""
    its = machine(desk)
    desk.cloud.get_fails = [ProviderError("not known yet")]
    hidden = desk.cloud.get
    looks: list[str] = []

    def get(id: str) -> Instance | None:
        looks.append(id)
        return None if len(looks) == 2 else hidden(id)

    desk.cloud.get = get  # type: ignore[method-assign]
    desk.provider.end(desk.spec(), its)
    assert desk.cloud.terminated == ["i1"]
    assert desk.cloud.alive() == []
