"""Which offers suit a plan: which first, for how long, and what is said where none will do."""

from dataclasses import replace

import pytest

from launch.contract.errors import AuthFailed, NoCapacity
from launch.pricing import gpus, market
from launch.pricing.budget import HOUR, UsedUp
from launch.pricing.market import Ranked
from launch.pricing.workload import Workload
from launch.providers import registry
from launch.providers.local.provider import LocalProvider
from launch.provision import choose, failed_hosts
from launch.provision.choose import RESERVE, SHORTEST_RENTAL, Found
from launch.provision.order import OFFERS_TRIED
from launch.provision.order import order as order_one
from mimir.config import Config
from mimir.errors import BadInput, StoreError
from mimir.runs import notes
from mimir.runs.hosts import Hosts
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Expected, Limits, Order, Plan
from mimir.runs.promised import Promised
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status
from tests.launch.paper import CONFIG, START, Desk, attempt, offer, status

STEPS = 4_000_000
"""Of the smoke preset: hours on any GPU, so that its start is not most of it."""


@pytest.fixture(autouse=True)
def _paper(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalProvider()
    known = {"runpod": desk.provider, "local": local}
    monkeypatch.setattr(registry, "get", lambda name: known[name])


def find(desk: Desk, limits: Limits, known: Status | None = None, **more: object) -> Found:
    plan = Plan(("runpod",), limits, **more)  # type: ignore[arg-type]
    return found_for(desk, plan, known)


def found_for(
    desk: Desk, plan: Plan, known: Status | None = None, config: Config = CONFIG
) -> Found:
    return choose.within(plan, choose.ask(desk.store, plan, config, STEPS), known, START)


def forecast(gpu: str = "RTX 4090") -> Ranked:
    (ranked,), _ = market.judge([offer(gpu=gpu)], Workload.of_steps(CONFIG, STEPS))
    return ranked


def test_without_limits_the_least_cost_comes_first_and_there_is_no_deadline(desk: Desk) -> None:
    desk.cloud.market = [offer(2.0, "A"), offer(0.5, "B"), offer(1.0, "C")]
    found = find(desk, Limits())
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["B", "C", "A"]
    assert [choice.deadline for choice in found.choices] == [0.0, 0.0, 0.0]
    assert found.cheapest == found.ranked[0]
    assert found.choices[0].estimate_hours == round(found.ranked[0].hours, 3)
    step_s = found.ranked[0].forecast.step_s
    assert found.choices[0].expected == Expected(step_s, measured=False)
    assert not found.market.problems


def test_the_deadline_keeps_a_reserve(desk: Desk) -> None:
    desk.cloud.market = [offer(0.5)]
    (choice,) = find(desk, Limits(max_hours=10)).choices
    assert choice.deadline == START + HOUR * (10 - RESERVE)
    (choice,) = find(desk, Limits(max_cost=10)).choices
    assert choice.deadline == START + HOUR * (10 / 0.5 - RESERVE)
    (choice,) = find(desk, Limits(max_hours=0.3)).choices
    assert choice.deadline == pytest.approx(START + HOUR * 0.3 * 4 / 5)


def test_what_was_spent_is_not_there_any_more(desk: Desk) -> None:
    machine = Machine("runpod", START - 4 * HOUR, price=0.5, place="here")
    gone = Gone(START, "eviction", "outbid")
    order = Order("runpod", Plan(("runpod",)), START - 4 * HOUR)
    known = status(attempt(1, machine=machine, order=order, gone=gone))
    (choice,) = find(desk, Limits(max_hours=10), known).choices
    assert choice.deadline == START + HOUR * (6 - RESERVE)
    found = find(desk, Limits(max_cost=2.0), known)
    assert (found.choices, found.ranked) == ((), ())
    assert found.budget.why == "its $2.00 are used up"


def test_one_that_gets_done_goes_before_a_cheaper_one_that_does_not(desk: Desk) -> None:
    slow, fast = offer(0.01, gpu="T4", memory_gb=16.0), offer(1.0, gpu="H100 SXM", memory_gb=80.0)
    desk.cloud.market = [slow, fast]
    assert find(desk, Limits()).choices[0].offer == slow
    limits = Limits(max_hours=forecast("T4").hours + RESERVE - 0.001)
    found = find(desk, limits)
    assert [choice.offer for choice in found.choices] == [fast, slow]
    choose.must_fit(Plan(("runpod",), limits), found)


def test_where_a_machine_broke_is_taken_last(desk: Desk) -> None:
    desk.cloud.market = [offer(0.5, "A"), offer(1.0, "B"), offer(2.0, "C")]

    def left(number: int, place: str, kind: str) -> object:
        machine = Machine("runpod", START, place=place)
        return attempt(number, machine=machine, gone=Gone(START, kind, "why"))

    known = status(left(1, "A", "failure"), left(2, "B", "eviction"))  # type: ignore[arg-type]
    found = find(desk, Limits(), known)
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["B", "C", "A"]
    # One that said itself that it is less than its offer, and that nobody has ended yet.
    short = attempt(1, machine=Machine("runpod", START, place="A"), cause="host", exit_code=75)
    found = find(desk, Limits(), status(short))
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["B", "C", "A"]


def test_a_host_that_failed_another_run_is_taken_last_for_a_time(desk: Desk) -> None:
    desk.cloud.market = [offer(0.5, "A", host="bad"), offer(1.0, "B", host="good")]
    order = Order("runpod", Plan(("runpod",)), START, desk.cloud.market[0])
    failed_hosts.remember(
        desk.store, "other", attempt(1, order=order), Gone(START, "failure", "no sign"), desk.say
    )
    found = find(desk, Limits())
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["B", "A"]
    assert choose.preferred(found.market, None)[0].offer.place == "B"
    (said,) = found.market.problems
    assert said == "1 host comes last, because a machine failed there lately (runpod bad: no sign)"
    desk.clock.now += failed_hosts.REMEMBERED_FOR
    found = find(desk, Limits())
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["A", "B"]
    assert not found.market.problems


def test_the_order_says_what_its_offer_promised(desk: Desk) -> None:
    promising = {"gpu": "A100 80GB", "memory_gb": 80.0, "driver": "580.65", "upload": 800.0}
    desk.cloud.market = [offer(0.5, **promising), offer(1.0, "B", upload=0.0)]  # type: ignore[arg-type]
    first, second = find(desk, Limits()).choices
    assert first.promised is not None
    assert first.promised == Promised(
        gpus.names("A100 80GB"), 80.0, "580.65", 30, first.promised.upload_mbit
    )
    assert 0 < first.promised.upload_mbit < 1, "what the smoke preset's checkpoints need"
    assert second.promised == Promised(gpus.names("RTX 4090"), 24.0, "", 30, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("launch.provision.order.code_in_store.differs", lambda *_: "")
        ordered = order_one(desk.store, "run", [first], Plan(("runpod",)), desk.say)
    read = notes.read_order(desk.store, "run", ordered.attempt)
    assert read is not None
    assert read.promised == first.promised


def test_an_image_chooses_its_machines_and_an_unknown_one_is_told(desk: Desk) -> None:
    desk.cloud.market = [offer(0.1, "A", gpu="V100"), offer(0.5, "B")]

    def places(image: str) -> tuple[list[str], str]:
        plan = Plan(("runpod",), Limits(), image=image)
        market = choose.ask(desk.store, plan, CONFIG, STEPS)
        return [r.offer.place for r in market.ranked], "; ".join(market.problems)

    assert places("") == (["A", "B"], "")
    ours, said = places("me/mimir:1")
    assert ours == ["B"]
    assert "V100 (compute capability 7.0) is too old for the image's CUDA" in said
    assert "nothing is known of the image theirs:2" in places("theirs:2")[1]


def test_all_may_be_tried_and_an_order_tries_so_many(desk: Desk) -> None:
    """A service may say of any that it has room."""
    desk.cloud.market = [offer(0.5 + n / 10, str(n)) for n in range(20)]
    found = find(desk, Limits())
    assert len(found.choices) == len(found.ranked) == 20
    desk.cloud.faults = [NoCapacity("none left")] * 20
    with pytest.raises(NoCapacity, match=f"none of {OFFERS_TRIED} offers"):
        order_one(desk.store, "run", found.choices, Plan(("runpod",)), desk.say)
    assert len(desk.cloud.created) == OFFERS_TRIED


def test_what_is_dearer_or_another_gpu_is_no_choice(desk: Desk) -> None:
    desk.cloud.market = [
        offer(0.5, "A"), offer(3.0, "B"), offer(0.4, "C", gpu="L4")
    ]  # fmt: skip
    found = find(desk, Limits(max_price=1.0), gpus=("RTX 4090",))
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["A"]


def test_own_machines_and_rented_ones(desk: Desk) -> None:
    plan = Plan(("local", "runpod"), Limits(max_hours=10))
    found = found_for(desk, plan)
    assert [choice.provider.name for choice in found.choices] == ["local", "runpod"]
    assert found.choices[0].deadline == found.choices[1].deadline
    nothing = found_for(desk, Plan(("local",)))
    assert (nothing.ranked, nothing.cheapest) == ((), None)
    choose.must_fit(Plan(("local",)), nothing)


def test_a_market_that_was_asked_once_serves_under_other_limits(desk: Desk) -> None:
    market = choose.ask(desk.store, Plan(("runpod",)), CONFIG, STEPS)
    desk.cloud.market = []
    bounded = Plan(("runpod",), Limits(max_cost=50.0))
    found = choose.within(bounded, market, None, START)
    assert found.ranked == choose.within(Plan(("runpod",)), market, None, START).ranked
    assert found.choices[0].deadline > 0


def test_a_budget_that_fits_passes(desk: Desk) -> None:
    hours = forecast().hours + RESERVE
    for limits in (Limits(max_hours=hours + 0.01), Limits(max_cost=0.5 * hours + 0.01)):
        choose.must_fit(Plan(("runpod",), limits), find(desk, limits))


@pytest.mark.parametrize(
    ("share", "limits", "words"),
    [
        (0.99, Limits(max_hours=1.0), "--max-hours {hours:g}, and"),
        (0.99, Limits(max_cost=1.0), "--max-cost {cost:g}, and"),
        (0.01, Limits(max_cost=1.0), "--max-cost {cost:g}, and"),  # not even SHORTEST_RENTAL
        (0.99, Limits(max_hours=1.0, max_cost=900.0), "--max-hours {hours:g}, --max-cost 900, and"),
    ],
)
def test_a_budget_that_does_not(desk: Desk, share: float, limits: Limits, words: str) -> None:
    hours = round(share * forecast().hours, 3)
    cost = round(hours * 0.5, 3)
    given = replace(
        limits,
        max_hours=hours if limits.max_hours else 0.0,
        max_cost=cost if limits.max_cost == 1.0 else limits.max_cost,
    )
    found = find(desk, given)
    with pytest.raises(BadInput) as caught:
        choose.must_fit(Plan(("runpod",), given), found)
    said = str(caught.value)
    assert words.format(hours=hours, cost=cost) in said
    best = forecast()
    assert f"{best.hours:.1f} h on runpod's RTX 4090 for ${best.cost:.2f} (model)" in said
    assert (found.choices == ()) == (hours < SHORTEST_RENTAL)


def test_nothing_to_be_had_says_where_and_why(desk: Desk) -> None:
    desk.cloud.market = []
    plan = Plan(("runpod",), Limits(max_price=0.3), ("RTX 4090", "L4"))
    found = found_for(desk, plan)
    error = choose.nothing(plan, found)
    assert isinstance(error, NoCapacity)
    assert str(error) == (
        "runpod has no machine with RTX 4090 or L4 at up to $0.3/h for this run (4.6 GB of GPU "
        "memory) now: try again later, or widen it"
    )


def test_what_is_left_out_is_always_said(desk: Desk) -> None:
    small = offer(0.1, gpu="T4", memory_gb=1.0)
    desk.cloud.market = [small, replace(small, id="2"), offer(9.0, "C"), offer(0.5, "D")]
    found = find(desk, Limits(max_price=2.0))
    (said,) = found.market.problems
    assert said.startswith("3 offers are left out: 2 because T4 with 1 GB is too small")
    assert said.endswith("; 1 because they cost more than $2/h (the cheapest of them $9.000/h)")
    assert [count for count, _ in found.market.left] == [2, 1]
    desk.cloud.market = [small]
    assert "too small" in str(choose.nothing(Plan(("runpod",)), find(desk, Limits())))


def test_a_gpu_that_is_not_in_the_table_is_taken_last(desk: Desk) -> None:
    desk.cloud.market = [offer(0.1, "B", gpu="Voodoo 9"), offer(0.5, "A")]
    found = find(desk, Limits())
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["A", "B"]
    assert found.cheapest is not None
    assert found.cheapest.offer.place == "A"
    limits = Limits(max_cost=0.5 * forecast().hours / 2)  # too little for either
    found = find(desk, limits)
    assert [choice.offer.place for choice in found.choices if choice.offer] == ["A", "B"]


def test_a_limit_below_every_price_is_the_users_to_mend(desk: Desk) -> None:
    desk.cloud.market = [offer(0.5), offer(0.7, "B")]
    plan = Plan(("runpod",), Limits(max_price=0.01))
    found = found_for(desk, plan)
    with pytest.raises(BadInput, match=r"--max-price 0.01 is below the price of an .* \$0.500/h"):
        choose.must_fit(plan, found)
    with pytest.raises(NoCapacity, match="2 offers are left out, because they cost more"):
        chosen(desk, plan.limits)
    desk.cloud.market = [offer(0.5), offer(0.005, gpu="T4", memory_gb=1.0)]
    choose.must_fit(plan, replace(found_for(desk, plan), market=choose.Market()))


def test_a_gpu_that_nobody_offers_because_it_is_too_small(desk: Desk) -> None:
    """Services filter by memory, so that nothing is seen of it in what they offer."""
    desk.cloud.market = []
    wide = CONFIG.with_settings({"dim": 1024, "layers": 12, "batch": 8192})
    with pytest.raises(BadInput, match=r"T4 with 16 GB is too small: \d+.\d GB are needed"):
        found_for(desk, Plan(("runpod",), gpus=("T4",)), config=wide)
    found = found_for(desk, Plan(("runpod",), gpus=("T4",)))
    assert isinstance(choose.nothing(Plan(("runpod",)), found), NoCapacity)


def chosen(desk: Desk, limits: Limits) -> object:
    plan = Plan(("runpod",), limits, steps=STEPS)
    known = status(attempt(1, order=Order("runpod", plan, START)), total_steps=None)
    return choose.choose(desk.store, plan, known, START, desk.say)


def test_whose_machines_is_frozen_in_the_plan(desk: Desk) -> None:
    plan = Plan(("runpod",), steps=STEPS, hosts=Hosts("datacenter", ("se",), 0.99, 200.0, 30.0))
    desk.cloud.market = [offer(region="Sweden, SE")]
    desk.order(1, plan=plan)
    read = notes.read_order(desk.store, "run", 1)
    assert read is not None
    assert read.plan == plan
    choose.choose(desk.store, read.plan, status(attempt(1, order=read)), START, desk.say)
    assert desk.cloud.needs[-1].hosts == plan.hosts
    desk.cloud.market = []
    error = str(choose.nothing(plan, found_for(desk, replace(plan, hosts=Hosts("datacenter")))))
    assert "runpod has no machine in se of datacenter hosts for this run" in error


BUDGETS = [
    (Limits(max_cost_month=3.0), 1.0, ""),
    (Limits(max_cost_store=3.5), 1.5, ""),
    (Limits(max_cost_month=9.0, max_cost_store=2.5), 0.5, ""),
    (Limits(max_cost=0.7, max_cost_month=9.0), 0.7, ""),
    (Limits(max_cost_month=2.0), 0.0, "the $2.00 for a month are used up or promised ($2.00)"),
    (Limits(max_cost_store=1.0), 0.0, "the $1.00 for the store are used up or promised ($2.00)"),
]


@pytest.mark.parametrize(("limits", "left", "why"), BUDGETS)
def test_budgets_of_all_runs_bound_the_next_order(
    desk: Desk, limits: Limits, left: float, why: str
) -> None:
    other = replace(offer(1.0), id="other")
    create_run(desk.store, RunRecord("other", "smoke", CONFIG.as_dict(), 0, START))
    order = Order("runpod", Plan(("runpod",)), START - 2 * HOUR, other)
    notes.record_order(desk.store, "other", 1, order)
    notes.record_gone(desk.store, "other", 1, Gone(START, "over", "done"))
    desk.cloud.market = [offer(0.5)]
    found = find(desk, limits)
    assert (found.budget.dollars, found.budget.why) == (pytest.approx(left), why)
    if not why:
        (choice,) = found.choices
        hours = left / 0.5
        assert choice.deadline == pytest.approx(START + HOUR * (hours - min(RESERVE, hours / 5)))
        return
    assert found.choices == ()
    with pytest.raises(BadInput, match=r"nothing is ordered: the .* used up"):
        choose.must_fit(Plan(("runpod",), limits), found)
    with pytest.raises(UsedUp, match="used up or promised"):
        chosen(desk, limits)


def test_a_region_that_nobody_has_is_the_users_to_mend(desk: Desk) -> None:
    desk.cloud.market = [offer(region="EU-RO-1")]
    with pytest.raises(BadInput, match="there is no region 'mars' at runpod; known are EU-RO-1"):
        found_for(desk, Plan(("runpod",), hosts=Hosts(regions=("mars",))))


def test_a_keeper_is_told_what_there_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(desk, Limits())
    with pytest.raises(UsedUp, match=r"leave 0.10 h, in which .* \$0.500/h"):
        chosen(desk, Limits(max_hours=0.1))
    with pytest.raises(UsedUp, match=r"leave \$0.01, in which"):
        chosen(desk, Limits(max_cost=0.01))
    with pytest.raises(UsedUp, match=r"leave 0.10 h and \$0.01"):
        chosen(desk, Limits(max_hours=0.1, max_cost=0.01))
    desk.cloud.market = []
    with pytest.raises(NoCapacity, match="runpod has no machine"):
        chosen(desk, Limits(max_hours=0.1))

    def fails(need: object) -> object:
        raise StoreError("502")

    monkeypatch.setattr(desk.cloud, "offers", fails)
    with pytest.raises(NoCapacity, match=r"now \(502\)"):
        chosen(desk, Limits())
    assert desk.said == []


def test_a_key_that_is_refused_is_the_users_to_mend(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(need: object) -> object:
        raise AuthFailed("runpod does not accept $RUNPOD_API_KEY: make another one")

    monkeypatch.setattr(desk.cloud, "offers", refuses)
    plan = Plan(("runpod",))
    error = choose.nothing(plan, find(desk, Limits()))
    assert isinstance(error, AuthFailed)
    assert str(error) == "runpod does not accept $RUNPOD_API_KEY: make another one"
    with pytest.raises(AuthFailed, match="does not accept"):
        chosen(desk, Limits())


def test_the_steps_of_a_run(desk: Desk) -> None:
    plan = Plan(("runpod",), steps=7)
    assert choose.steps_of(desk.store, plan, status(total_steps=9)) == 7
    with pytest.raises(BadInput, match="names no data"):  # not what its machine says
        choose.steps_of(desk.store, None, status(total_steps=9))


def test_what_was_spent(desk: Desk) -> None:
    machine = Machine("runpod", START - HOUR, price=2.0)
    assert choose.spent(status(attempt(1, machine=machine)), START) == 2.0
    assert choose.spent(status(), START) == 0.0
