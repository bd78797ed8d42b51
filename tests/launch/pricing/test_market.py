"""Offers of all providers, by expected total cost; one that fails hides no other."""

import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest

from launch.contract import image
from launch.contract.errors import AuthFailed
from launch.contract.offer import Need, Offer
from launch.pricing import market as offers
from launch.pricing.evictions import GUESS, Seen
from launch.pricing.forecast import COMPILER, Measured
from launch.pricing.gpus import TABLE
from launch.pricing.market import check_regions, collect, judge, left_out, rank
from launch.pricing.workload import GUIDE_ROWS, Workload
from mimir.config import load_preset
from mimir.errors import BadInput, StoreError
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT, unless_it_hangs

LARGE = Workload(load_preset("large"), GUIDE_ROWS)


@dataclass
class Cloud:
    """A service that answers this."""

    name: str
    answer: list[Offer] | Exception
    asked: Need | None = None

    def regions(self) -> list[str]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [each.region for each in self.answer]

    def offers(self, need: Need) -> list[Offer]:
        self.asked = need
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def offer(id: str, gpu: str, price: float, memory: float = 24.0, spot: bool = False) -> Offer:
    return Offer("x", id, gpu, memory, price, spot=spot)


def test_one_that_fails_hides_no_other() -> None:
    good, dear = offer("1", "RTX 4090", 0.5), offer("2", "H100 SXM", 3.0, 80)
    found, problems = collect(
        [
            Cloud("a", [good]),
            Cloud("b", AuthFailed("b does not accept the key")),
            Cloud("c", KeyError("price")),
            Cloud("d", [dear]),
        ],
        Need(),
    )
    assert found == [good, dear]
    assert [(p.provider, p.exit_code) for p in problems] == [("b", 78), ("c", 1)]
    assert problems[0].sentence == "b does not accept the key"
    assert "KeyError" in problems[1].sentence


def test_one_that_hangs_is_not_waited_for() -> None:
    go_on = threading.Event()

    class Slow(Cloud):
        def offers(self, need: Need) -> list[Offer]:
            go_on.wait()
            return []

    good = offer("1", "RTX 4090", 0.5)
    both = [Cloud("a", [good]), Slow("slow", [])]
    clock = iter([0.0, 0.0, LIMIT])  # at the start, and as it begins to wait for each
    try:
        found, problems = unless_it_hangs(
            lambda: collect(both, Need(), within=LIMIT, clock=lambda: next(clock))
        )
    finally:
        go_on.set()
    assert found == [good]
    assert "slow did not answer within" in problems[0].sentence


def test_the_cheapest_whole_run_comes_first() -> None:
    slow, fast = offer("1", "T4", 0.30, 16), offer("2", "RTX 4090", 0.50)
    ranked, left = judge([slow, fast], LARGE)
    assert [r.offer.id for r in ranked] == ["2", "1"]
    assert not left
    for one in ranked:
        assert one.cost == pytest.approx(one.hours * one.offer.price)
        assert one.hours == one.forecast.hours
    # a measured step time turns it round
    ranked, _ = judge([slow, fast], LARGE, {"T4": Measured(0.001, "run x")})
    assert [r.offer.id for r in ranked] == ["1", "2"]
    assert ranked[0].forecast.source == "measured (run x)"


def test_ties_are_always_in_the_same_order() -> None:
    same = [offer(id, "RTX 4090", 0.5) for id in ("b", "a", "c")]
    same.append(replace(same[0], provider="w"))
    for order in (same, same[::-1]):
        assert [(r.offer.provider, r.offer.id) for r in judge(order, LARGE)[0]] == [
            ("w", "b"), ("x", "a"), ("x", "b"), ("x", "c"),
        ]  # fmt: skip


def test_evictions_cost_hours() -> None:
    ranked, _ = judge([offer("1", "RTX 4090", 0.5, spot=True), offer("2", "RTX 4090", 0.5)], LARGE)
    assert [r.offer.id for r in ranked] == ["2", "1"]
    kept, spot = ranked
    assert kept.evictions is None
    assert spot.evictions is not None
    # each: the next machine's start, and half of two minutes between checkpoints
    again = kept.forecast.start_s / 3600 + 1 / 60
    lost = kept.forecast.train_hours / GUESS * again
    assert spot.hours - kept.hours == pytest.approx(lost, rel=0.02)
    assert spot.evictions.lost_h == pytest.approx(spot.hours - kept.hours)
    assert spot.as_json()["evictions"]["expected"] == round(spot.hours / GUESS, 3)


def test_a_cheap_zone_that_always_evicts_does_not_win() -> None:
    """By what the service tells of its prices, or by what the run has had there itself."""
    calm = replace(offer("calm", "RTX 4090", 0.5, spot=True), place="calm")
    wild = replace(offer("wild", "RTX 4090", 0.35, spot=True), place="wild")

    def first(*offers: Offer, **more: Any) -> str:
        return judge(offers, LARGE, **more)[0][0].offer.id

    assert first(calm, wild) == "wild"
    assert first(replace(calm, outbid=0.0), replace(wild, outbid=3.0)) == "calm"
    assert first(calm, wild, had={("x", "wild"): Seen(5, 1.0)}) == "wild"
    assert first(calm, wild, had={("x", "wild"): Seen(40, 2.0)}) == "calm"


def test_what_cannot_take_the_run_is_left_out_with_a_reason() -> None:
    wide = Workload(load_preset("large").with_settings({"batch": 4096}), GUIDE_ROWS)
    ranked, left = judge(
        [
            offer("1", "RTX 3080", 0.1, 10), offer("2", "GTX 480", 0.1, 64),
            offer("3", "V100", 0.1, 32), offer("4", "A100 80GB", 1.0, 80), offer("5", "", 0.1, 64),
            offer("6", "GTX 481", 0.1, 0), offer("7", "RTX 3080", 0.2, 10),
        ],
        wide,
        image=image.of("ghcr.io/me/mimir:1"),
    )  # fmt: skip
    assert [r.offer.id for r in ranked] == ["4", "2"]
    reasons = {one.offer.id: one.why for one in left}
    assert "10 GB is too small" in reasons["1"]
    assert "--accumulate" in reasons["1"]
    assert "7.0) is too old" in reasons["3"]
    assert "does not name its GPU" in reasons["5"]
    assert "does not tell how much memory GTX 481 has" in reasons["6"]
    assert [r.offer.id for r in judge([offer("3", "V100", 0.1, 32)], wide)[0]]
    groups = offers.grouped(left)
    assert groups[0] == (2, reasons["1"])
    assert left_out(groups).startswith(
        f"5 offers are left out: 2 because {reasons['1']}; 1 because"
    )
    assert left_out(groups[:1]) == f"2 offers are left out, because {reasons['1']}"
    assert left_out([]) == ""
    assert "and others for 3 more reasons" in left_out([(1, str(n)) for n in range(9)])


def test_a_gpu_that_is_not_in_the_table_comes_after_all_that_are() -> None:
    """The cheapest, and a slice of a GPU, which is no whole one."""
    slice_ = "RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb"
    found = [
        offer("1", "RTX 9090", 0.01),
        offer("2", slice_, 0.02),
        offer("3", "H100 SXM", 9.0, 80),
    ]
    ranked, left = judge(found, LARGE)
    assert ([r.offer.id for r in ranked], left) == (["3", "1", "2"], [])
    assert [r.known for r in ranked] == [True, False, False]
    slowest = max(r.hours for r in judge([offer(g.name, g.name, 1.0, 80) for g in TABLE], LARGE)[0])
    assert ranked[1].hours == ranked[2].hours == pytest.approx(slowest)
    assert ranked[1].forecast.source.startswith("not in the table, taken as slow as RTX")
    assert ranked[1].as_json()["known"] is False


def test_an_image_without_a_compiler_is_reckoned_as_slower() -> None:
    """And one where it has to be installed as starting later."""
    had = [offer("1", "RTX 4090", 0.5)]
    names = ("mine/mimir:1", image.PUBLIC.name, "theirs:1")
    ours, public, unknown = (judge(had, LARGE, image=image.of(name))[0][0] for name in names)
    assert public.hours - ours.hours == pytest.approx(COMPILER / 3600)
    assert unknown.forecast.step_s > 1.1 * ours.forecast.step_s
    assert unknown.forecast.source == "model, without a compiler"
    assert unknown.cost > ours.cost


def test_rank_by_steps_left() -> None:
    one = offer("1", "RTX 4090", 0.5)
    config = load_preset("large")
    whole, rest = (rank([one], config, steps)[0][0].hours for steps in (1_000_000, 1000))
    assert whole > 1.9 > 0.2 > rest > 0.13


def test_a_store_that_does_not_answer_costs_its_figures_only() -> None:
    class Away(MemoryStore):
        def folders(self):  # type: ignore[no-untyped-def]
            raise StoreError("503 Slow Down")

    assert rank([offer("1", "RTX 4090", 0.5)], load_preset("large"), 1000, Away())[0]


def test_json_has_no_more_digits_than_it_is_worth() -> None:
    body = judge([offer("1", "RTX 4090", 0.5)], LARGE)[0][0].as_json()
    assert body["id"] == "1"
    assert body["source"] == "model"
    assert len(str(body["hours"])) < 7


def test_waiting_is_bounded() -> None:
    assert offers.OFFERS_WITHIN <= 60


def test_a_region_is_strange_only_if_all_were_asked() -> None:
    here = [replace(offer("1", "T4", 0.1), region=name) for name in ("EU-RO-1", "US-DE-1")]
    good, away = Cloud("a", here), Cloud("b", AuthFailed("no key"))
    assert check_regions([good], ("eu", "us-de-1")) == ""
    for word, hint in (("eu-rn-1", "did you mean 'eu-ro-1'"), ("mars", "known are EU-RO-1, US-")):
        with pytest.raises(BadInput, match=f"there is no region '{word}' at a; {hint}"):
            check_regions([good], ("eu", word))
        assert "b's regions are not known now: no key" in check_regions([good, away], (word,))
    assert check_regions([], ("mars",)) == check_regions([away], ()) == ""
