"""One order for one attempt, whoever else orders, dies, stops or comes late."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from launch.contract.errors import (
    AccountLimit,
    BalanceEmpty,
    NoCapacity,
    NotGone,
    RateLimited,
    Unclear,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Machine
from launch.payload import container
from launch.provision import order as ordering
from launch.provision.choice import Choice
from launch.provision.order import Ordered
from launch.provision.plan import newest_plan, stop_asked
from mimir.errors import Corrupt, Fenced, StoreError
from mimir.runs import layout, notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.notes import Gone, StopRequest
from mimir.runs.order import Order, Plan
from mimir.runs.status import derive, read_head
from tests.launch.paper import START, Desk, Fault, named, offer

PLAN = Plan(("runpod",))


def order(desk: Desk, *offers: Offer, **more: Any) -> Ordered:
    choices = [Choice(desk.provider, each, START + 3600, 0.5) for each in offers or (offer(),)]
    return ordering.order(desk.store, "run", choices, PLAN, desk.say, **more)


def test_the_intent_is_written_before_the_request(desk: Desk) -> None:
    def create(offer: Offer, name: str) -> str:
        seen.append((notes.read_order(desk.store, "run", 1), read_head(desk.store, "run").attempt))
        return desk.cloud.make(offer, name)

    seen: list[tuple[Order | None, int]] = []
    desk.cloud.faults = [create]
    ordered = order(desk)
    (written, head), machine = seen[0], notes.read_machine(desk.store, "run", 1)
    assert head == 1
    assert written is not None
    assert (written.offer, written.plan, written.time) == (offer(), PLAN, START)
    assert (written.since, written.estimate_hours) == (1, 0.5)
    assert machine == ordered.machine
    assert machine is not None
    assert machine.estimate_hours == 0.5
    assert desk.cloud.created == [named("run", 1)]


def test_of_two_at_once_one_orders(desk: Desk) -> None:
    def create(offer: Offer, name: str) -> str:
        with pytest.raises(Fenced, match="somebody else"):
            order(desk, after=0)
        return desk.cloud.make(offer, name)

    desk.cloud.faults = [create]
    assert order(desk, after=0).attempt == 1
    assert desk.cloud.created == [named("run", 1)]


def test_an_order_that_was_just_begun_is_left_to_its_launcher(desk: Desk) -> None:
    desk.order(1)
    desk.clock.now += orders.RESERVED - 1
    with pytest.raises(Fenced, match="just now"):
        order(desk)
    assert not desk.cloud.created


def _busy(*seconds: float) -> list[Fault]:
    return [RateLimited("asked too often", each) for each in seconds]


def test_a_service_that_wants_a_pause_is_asked_again_after_it(desk: Desk) -> None:
    """Each time by an attempt of its own, for the first try is on record as refused."""
    pauses: list[float] = []
    desk.cloud.faults = _busy(12.0, 7.0)
    ordered = order(desk, offer(), offer(0.9), sleep=pauses.append)
    assert pauses == [12.0, 7.0]
    assert ordered.attempt == 3
    assert ordered.machine.price == offer().price
    assert [desk.gone(each).kind for each in (1, 2)] == ["refused", "refused"]
    assert [line for line in desk.said if "asked too often" in line] == [
        "asked too often; the order is sent again in 12 s",
        "asked too often; the order is sent again in 7 s",
    ]


def test_pauses_are_no_tries(desk: Desk) -> None:
    full: list[Fault] = [NoCapacity("none left")] * (ordering.OFFERS_TRIED - 1)
    desk.cloud.faults = [*_busy(1.0, 1.0, 1.0), *full]
    many = [offer(place=str(n)) for n in range(ordering.OFFERS_TRIED)]
    assert order(desk, *many, sleep=lambda _: None).attempt == 3 + ordering.OFFERS_TRIED


@pytest.mark.parametrize(
    ("faults", "patient"), [((1.0, 1.0, 1.0, 1.0), True), ((61.0,), True), ((1.0,), False)]
)
def test_not_without_end_not_for_long_and_not_by_who_comes_back(
    desk: Desk, faults: tuple[float, ...], patient: bool
) -> None:
    desk.cloud.faults = _busy(*faults)
    with pytest.raises(RateLimited):
        order(desk, sleep=(lambda _: None) if patient else None)
    assert not desk.cloud.faults
    assert not desk.cloud.machines


def test_a_launcher_that_died_after_its_intent_loses_the_attempt(desk: Desk) -> None:
    desk.order(1)
    desk.clock.now += orders.RESERVED
    assert order(desk).attempt == 2
    assert desk.gone(1).kind == "refused"
    assert desk.cloud.created == [named("run", 2)]


def test_a_launcher_that_slept_after_its_intent_orders_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lid was shut between order.json and HEAD; meanwhile another one took over."""
    real = notes.record_order

    def asleep(*args: object) -> bool:
        monkeypatch.setattr(notes, "record_order", real)
        done = real(*args)  # type: ignore[arg-type]
        desk.clock.now += orders.RESERVED
        assert order(desk, after=0).attempt == 2
        return done

    monkeypatch.setattr(notes, "record_order", asleep)
    with pytest.raises(Fenced):
        order(desk, after=0)
    assert desk.cloud.created == [named("run", 2)]


def test_a_launcher_that_slept_before_its_request_orders_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asleep(*args: object, **more: object) -> object:
        raise_attempt(desk.store, "run")
        return desk.credentials

    monkeypatch.setattr("launch.provision.order.credentials.for_machine", asleep)
    with pytest.raises(Fenced, match="nothing was ordered"):
        order(desk)
    assert not desk.cloud.created
    assert desk.gone(1).kind == "refused"


def _remove(desk: Desk) -> None:
    for key in list(desk.store.list("run/")):
        desk.store.delete(key)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda desk: raise_attempt(desk.store, "run"),
        _remove,
        lambda desk: desk.store.put(layout.head_key("run"), b"none"),
    ],
    ids=["replaced", "removed", "unreadable"],
)
def test_a_machine_that_comes_too_late_is_ended(
    desk: Desk, meanwhile: Callable[[Desk], object]
) -> None:
    def create(offer: Offer, name: str) -> str:
        meanwhile(desk)
        return desk.cloud.make(offer, name)

    desk.cloud.faults = [create]
    with pytest.raises(Fenced, match="its machine is ended"):
        order(desk)
    assert desk.cloud.alive() == []
    assert desk.left == []
    assert desk.gone(1).kind == "over"


@pytest.mark.parametrize("asked", [1, 2])
def test_a_stop_between_two_attempts_holds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """Asked of the attempt that is replaced, or of the one that was just raised."""
    desk.begin()
    real = notes.record_order

    def stopped(*args: object) -> bool:
        done = real(*args)  # type: ignore[arg-type]
        store = desk.store
        store.put_if_absent(
            layout.stop_key("run", asked),
            b'{"format":%d,"time":1.0,"reason":"enough"}' % notes.FORMAT,
        )
        return done

    monkeypatch.setattr(notes, "record_order", stopped)
    with pytest.raises(Fenced, match="asked to stop"):
        order(desk, after=1, since=1)
    assert not desk.cloud.created
    head = read_head(desk.store, "run")
    assert (head.attempt, head.state) == (2, "stopped")


def test_a_stop_between_two_offers_holds(desk: Desk) -> None:
    def refuse(offer: Offer, name: str) -> str:
        orders.request_stop(desk.store, "run", StopRequest(1.0))
        raise NoCapacity("none left")

    desk.cloud.faults = [refuse]
    with pytest.raises(Fenced, match="asked to stop"):
        order(desk, offer(0.5), offer(0.6))
    assert desk.cloud.created == [named("run", 1)]
    assert read_head(desk.store, "run").state == "stopped"


def test_a_person_who_resumes_has_answered_the_older_stop(desk: Desk) -> None:
    raise_attempt(desk.store, "run")
    orders.request_stop(desk.store, "run", StopRequest(1.0))
    assert order(desk, after=1).attempt == 2
    assert stop_asked(desk.store, "run", 2, 2) is None
    assert stop_asked(desk.store, "run", 1, 2) is not None


def test_the_next_offer_on_no_capacity(desk: Desk) -> None:
    desk.cloud.faults = [NoCapacity("none left"), NoCapacity("none left here")]
    ordered = order(desk, offer(0.5), offer(0.6), offer(0.7))
    assert ordered.attempt == 3
    assert ordered.machine.price == 0.7
    assert [desk.gone(number).kind for number in (1, 2)] == ["refused", "refused"]
    assert desk.said == ["not available: none left", "not available: none left here"]
    written = [notes.read_order(desk.store, "run", number) for number in (1, 2, 3)]
    assert [each.since for each in written if each] == [1, 1, 1]


def test_orders_carry_on_which_attempts_never_had_a_machine(desk: Desk) -> None:
    desk.cloud.faults = [NoCapacity("none left"), NoCapacity("none left"), NoCapacity("none left")]
    assert order(desk, *map(offer, (0.5, 0.6, 0.7, 0.8))).attempt == 4
    desk.cloud.faults = [NoCapacity("none left")]
    assert order(desk, offer(0.5), offer(0.6), since=1).attempt == 6
    read = [each for n in range(1, 7) if (each := notes.read_order(desk.store, "run", n))]
    spans = [(), ((1, 1),), ((1, 2),), ((1, 3),), ((1, 3),), ((1, 3), (5, 5))]
    assert [each.refused for each in read] == spans
    assert [each.looked for each in read] == [0, 0, 1, 2, 2, 4]
    assert orders.refused_before(desk.store, "run", 6) == {1, 2, 3, 5}
    found = derive(desk.store, "run", START).attempts
    assert [each.gone is not None for each in found] == [True, True, True, False, True, False]


@pytest.mark.parametrize("refused", ["x", [[1]], [["a", 2]], [[0, 99]], 5])
def test_an_order_that_says_nonsense_of_others_is_damaged(desk: Desk, refused: object) -> None:
    desk.order(1)
    key = layout.order_key("run", 1)
    value = {**json.loads(desk.store.get(key)), "refused": refused}
    desk.store.put(key, json.dumps(value).encode())
    assert orders.refused_before(desk.store, "run", 1) == frozenset()
    with pytest.raises(Corrupt, match=r"a0001/order\.json: refused"):
        notes.read_order(desk.store, "run", 1)


def test_the_next_offer_is_not_tried_over_somebody_elses_attempt(desk: Desk) -> None:
    def refuse(offer: Offer, name: str) -> str:
        raise_attempt(desk.store, "run")
        raise NoCapacity("none left")

    desk.cloud.faults = [refuse]
    with pytest.raises(Fenced):
        order(desk, offer(0.5), offer(0.6))
    assert len(desk.cloud.created) == 1
    assert read_head(desk.store, "run").attempt == 2


def test_none_to_be_had(desk: Desk) -> None:
    desk.cloud.faults = [NoCapacity("A"), NoCapacity("B")]
    with pytest.raises(NoCapacity, match=r"none of 2 offers.*: B"):
        order(desk, offer(0.5), offer(0.6))
    desk.cloud.faults = [AccountLimit("the account's limit"), NoCapacity("B")]
    with pytest.raises(NoCapacity, match=r"none of 2 offers.*: the account's limit"):
        order(desk, offer(0.5), replace(offer(0.6), gpu="L4"))
    desk.cloud.faults = [NoCapacity("A")]
    with pytest.raises(NoCapacity, match=r"^A$"):
        order(desk)


def test_what_an_accounts_limit_refuses_is_asked_for_once(desk: Desk) -> None:
    """The same GPU in the same region would be refused again, and the tries are few."""
    desk.cloud.faults = [AccountLimit("0 vCPUs")]
    others = [replace(offer(0.5 + n / 100), id=f"zone {n}") for n in range(8)]
    last = replace(offer(0.9), id="elsewhere", region="mars")
    made = order(desk, *others, last)
    assert made.attempt == 2
    assert made.machine.region == "mars"


def test_a_smaller_machine_with_the_same_gpu_may_fit(desk: Desk) -> None:
    desk.cloud.faults = [AccountLimit("8 vCPUs are too many")]
    large, small = (replace(offer(0.5), id=size, size=size) for size in ("2xl", "xl"))
    assert order(desk, large, small).attempt == 2


def sized(*vcpus: int, spot: bool = False) -> list[Offer]:
    """Offers of one GPU in one region by their processors, the cheapest first."""
    return [
        replace(offer(0.5 + n / 10), id=f"{n}", size=f"size {n}", vcpus=each, spot=spot)
        for n, each in enumerate(vcpus)
    ]


def test_no_larger_machine_is_tried_where_the_account_has_no_processors_left(desk: Desk) -> None:
    """The smaller ones are."""
    desk.cloud.faults = [AccountLimit("8 vCPUs are too many")]
    made = order(desk, *sized(8, 16, 8, 4))
    assert (made.attempt, made.machine.price) == (2, offer(0.8).price)


def test_the_limit_of_one_way_to_rent_bars_no_other(desk: Desk) -> None:
    desk.cloud.faults = [AccountLimit("no spot machines")]
    made = order(desk, *sized(4, spot=True), *sized(16))
    assert (made.attempt, made.machine.spot) == (2, False)


def test_of_a_gpu_whose_sizes_are_not_told_two_limits_are_enough(desk: Desk) -> None:
    desk.cloud.faults = [AccountLimit("no"), AccountLimit("no")]
    made = order(desk, *sized(0, 0, 0, 0), replace(offer(0.9), gpu="L4"))
    assert (made.attempt, made.machine.gpu) == (3, "L4")
    desk.clock.now += orders.RESERVED
    desk.cloud.faults = [AccountLimit("no"), AccountLimit("no")]
    with pytest.raises(NoCapacity, match="none of 2 offers"):
        order(desk, *sized(0, 0, 0))


def zone(place: str, price: float = 0.5, **more: Any) -> Offer:
    return replace(offer(price, place), **{"size": "g2", **more})


def test_a_place_that_the_service_says_has_room_is_tried_next(desk: Desk) -> None:
    """With a machine of the same size, of all that was offered."""
    desk.cloud.faults = [NoCapacity("full; d has room", ["d", "nowhere"]), NoCapacity("full, too")]
    made = order(
        desk, zone("a", 0.1), zone("b", 0.2), zone("d", 0.3, size="g4"), zone("d", 0.4, gpu="L4"),
        zone("d", 0.5, spot=True), zone("d", 0.6),
    )  # fmt: skip
    written = [notes.read_order(desk.store, "run", number) for number in (1, 2, 3)]
    tried = [each.offer.price for each in written if each and each.offer]
    assert tried == [0.1, 0.6, 0.2]
    assert made.machine.price == 0.2


def test_what_has_room_counts_as_a_try(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "OFFERS_TRIED", 2)
    desk.cloud.faults = [NoCapacity("full", ["c"]), NoCapacity("full", ["d"])]
    with pytest.raises(NoCapacity, match="none of 2 offers"):
        order(desk, zone("a"), zone("b"), zone("c"), zone("d"))
    assert len(desk.cloud.created) == 2
    last = notes.read_order(desk.store, "run", 2)
    assert last is not None
    assert last.offer is not None
    assert last.offer.place == "c"


def test_offers_of_which_nothing_is_asked_are_no_tries(desk: Desk) -> None:
    desk.cloud.faults = [AccountLimit("no"), *[NoCapacity("no")] * (ordering.OFFERS_TRIED - 2)]
    rest = [offer(0.9, f"{n}", region="mars") for n in range(ordering.OFFERS_TRIED)]
    assert order(desk, *sized(8, 8, 8), *rest).attempt == ordering.OFFERS_TRIED


def test_a_refusal_that_may_mean_either_is_not_the_last_word(desk: Desk) -> None:
    desk.cloud.faults = [Unclear("400: hm")]
    assert order(desk, offer(0.5), offer(0.6)).attempt == 2
    assert desk.gone(1).kind == "refused"


@pytest.mark.parametrize(
    ("refusals", "error"),
    [
        ([Unclear("A"), Unclear("B")], Unclear), ([Unclear("A")], Unclear),
        ([NoCapacity("A"), Unclear("B")], NoCapacity),
    ],
)  # fmt: skip
def test_only_if_all_orders_were_refused_so_the_request_may_be_wrong(
    desk: Desk, refusals: list[Exception], error: type[Exception]
) -> None:
    offers = [offer(0.5 + n) for n in range(len(refusals))]
    desk.cloud.faults = list(refusals)
    with pytest.raises(error, match=str(refusals[-1])) as caught:
        order(desk, *offers)
    assert type(caught.value) is error
    assert len(desk.cloud.created) == len(refusals)


@pytest.mark.parametrize("error", [BalanceEmpty("no money"), StoreError("the store is away")])
def test_what_no_other_offer_mends_stops_everything(desk: Desk, error: Exception) -> None:
    desk.cloud.faults = [error]
    with pytest.raises(type(error)):
        order(desk, offer(0.5), offer(0.6))
    assert len(desk.cloud.created) == 1
    assert desk.gone(1).why == str(error)


@pytest.mark.parametrize("error", [UnknownOutcome("no answer"), NotGone("it may run")])
def test_where_there_may_be_a_machine_no_refusal_is_written(desk: Desk, error: Exception) -> None:
    desk.cloud.faults = [error]
    with pytest.raises(type(error)):
        order(desk, offer(0.5), offer(0.6))
    assert len(desk.cloud.created) == 1
    assert notes.read_gone(desk.store, "run", 1) is None


def test_a_machine_that_cannot_be_written_down_is_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> bool:
        raise StoreError("the store is away")

    monkeypatch.setattr(notes, "record_machine", fails)
    with pytest.raises(StoreError):
        order(desk)
    assert len(desk.cloud.created) == 1
    assert desk.cloud.alive() == []


@pytest.mark.parametrize(("asked", "hours"), [(0.0, 1.75), (3600.0, 1.0), (9e9, 1.75)])
def test_the_keys_end_bounds_the_deadline(desk: Desk, asked: float, hours: float) -> None:
    desk.credentials = replace(desk.credentials, expires=START + 2 * 3600)
    choice = Choice(desk.provider, offer(), START + asked if asked else 0.0)
    made = ordering.order(desk.store, "run", [choice], PLAN, desk.say)
    assert made.machine.deadline == START + hours * 3600
    assert bool(desk.said) == (hours == 1.75)


def test_giving_up_turns_a_late_machine_away(desk: Desk) -> None:
    raise_attempt(desk.store, "run")
    ordering.give_up(desk.store, "run", "no machine", desk.say)
    head = read_head(desk.store, "run")
    assert (head.state, head.reason, desk.said) == ("failed", "no machine", [])
    ordering.give_up(desk.store, "gone", "no machine", desk.say)
    assert "could not be told" in desk.said[0]


def test_an_order_reads_back(desk: Desk) -> None:
    wanted = Order("runpod", PLAN, START, offer(), START + 60, 0.5, 3, by="me")
    assert Order.from_json(wanted.as_json(), "an order") == wanted
    desk.order(2)
    notes.record_order(desk.store, "run", 3, orders.by_hand("terminal", START))
    assert newest_plan(desk.store, "run", 4) == PLAN  # what was begun by hand has none
    assert newest_plan(desk.store, "run", 1) is None
    broken: list[Callable[[], object]] = [
        lambda: Order.from_json({}, "an order"),
        lambda: Order.from_json({**wanted.as_json(), "plan": []}, "an order"),
        lambda: Order.from_json({**wanted.as_json(), "time": "noon"}, "an order"),
    ]
    for read in broken:
        with pytest.raises(Corrupt, match="an order"):
            read()


@pytest.mark.parametrize(
    ("why", "tried", "other"),
    [
        ("it is broken (toomanyrequests)", "", f"ghcr.io/{container.PUBLIC_IMAGE}"),
        ("no matching manifest", f"ghcr.io/{container.PUBLIC_IMAGE}", container.PUBLIC_IMAGE),
        ("no matching manifest", "my/own", ""), ("its machine is broken", "", ""),
    ],
)  # fmt: skip
def test_an_image_that_could_not_be_pulled_has_another_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, why: str, tried: str, other: str
) -> None:
    images: list[str] = []
    real = desk.provider.start

    def start(spec: AttemptSpec) -> Machine:
        images.append(spec.image)
        return real(spec)

    monkeypatch.setattr(desk.provider, "start", start)
    first = order(desk)
    machine = replace(first.machine, image=tried)
    desk.store.delete(layout.machine_key("run", 1))
    notes.record_machine(desk.store, "run", 1, machine)
    desk.cloud.machines.clear()
    notes.record_gone(desk.store, "run", 1, Gone(desk.clock(), "failure", why))
    desk.clock.now += orders.RESERVED
    desk.cloud.faults = [NoCapacity("none left")]
    order(desk, offer(0.5), offer(0.6))
    assert images == ["", other, other], "an offer that was refused in between changes nothing"
    assert any("which is the same image" in line for line in desk.said) is bool(other)
