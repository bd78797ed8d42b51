"""Vast.ai: what is searched for, what an offer costs, what is bid."""

import json
from typing import Any

import pytest

from launch.contract.errors import ProviderError, RateLimited
from launch.contract.offer import Hosts, Need, Offer
from launch.providers.vastai import market
from launch.providers.vastai.adapter import Vast
from mimir.runs import codec
from tests.clouds.fake_vast import FakeVast
from tests.clouds.vast_market import ask
from tests.launch.providers.vastai.case import sent


def test_an_offer_costs_gpu_disk_and_traffic(service: FakeVast, cloud: Vast) -> None:
    service.asks = [ask(9, "RTX 4090", 24564, 0.4, 0.1, storage_cost=0.72, inet_up_cost=0.01,
                        inet_down_cost=0.02, geolocation="Sweden, SE")]  # fmt: skip
    (offer,) = cloud.offers(Need(disk_gb=30, hours=4, upload_gb=10))
    # 30 GB of 0.72 $ a month, 10 GB up an hour, and 4 GB down once in 4 hours.
    assert offer.price == pytest.approx(0.4 + 0.03 + 0.1 + 0.02)
    assert (offer.id, offer.gpu, offer.place, offer.region) == (
        "9",
        "RTX 4090",
        "50009",
        "Sweden, SE",
    )
    assert offer.memory_gb == 25.8
    assert not offer.spot
    assert codec.typed(Offer, json.loads(json.dumps(offer.as_json())), "an offer") == offer


def test_spot_offers_bid_more_than_the_least_and_no_more_than_on_demand(
    service: FakeVast, cloud: Vast
) -> None:
    service.asks = [
        ask(1, "RTX 4090", 24564, 0.40, 0.16), ask(2, "RTX 4090", 24564, 0.40, 0.39),
        ask(3, "RTX 4090", 24564, 0.40, 0.40), ask(4, "RTX 4090", 24564, 0.40, None),
    ]  # fmt: skip
    assert not [offer for offer in cloud.offers(Need()) if offer.spot]
    spot = {offer.key["ask"]: offer for offer in cloud.offers(Need(spot=True)) if offer.spot}
    assert {number: offer.key["bid"] for number, offer in spot.items()} == {1: 0.2, 2: 0.4}
    plain = {offer.key["ask"]: offer for offer in cloud.offers(Need(spot=True)) if not offer.spot}
    assert spot[1].price - 0.2 == pytest.approx(plain[1].price - 0.4)
    assert len({offer.id for offer in cloud.offers(Need(spot=True))}) == 6


@pytest.mark.parametrize(
    ("least", "on_demand", "price"),
    [(0.16, 0.4, 0.2), (0.1001, 0.4, 0.126), (0.0001, 0.4, 0.001), (0.35, 0.4, 0.4),
     (0.4, 0.4, None), (0.5, 0.4, None), (0.0, 0.4, None), (0.08, 1.0, 0.1)],
)  # fmt: skip
def test_bid(least: float, on_demand: float, price: float | None) -> None:
    assert market.bid(least, on_demand) == price


@pytest.mark.parametrize(
    "wrong",
    [
        {"verification": "unverified"}, {"rentable": False}, {"rented": True}, {"num_gpus": 2},
        {"reliability2": 0.94}, {"cuda_max_good": 12.7}, {"disk_space": 20.0},
        {"duration": 3 * 3600.0}, {"gpu_arch": "amd"}, {"cpu_arch": "arm64"}, {"inet_down": 20.0},
        {"gpu_ram": 8192}, {"dph_base": 0}, {"dph_base": "0.4"}, {"machine_id": None},
        {"dph_base": 5.0}, {"gpu_name": "RTX 3090"},
    ],
)  # fmt: skip
def test_what_the_search_lets_through_is_checked_again(
    service: FakeVast, cloud: Vast, wrong: dict[str, Any]
) -> None:
    need = Need(memory_gb=20, gpus=("RTX 4090",), max_price=1.0, disk_gb=30, hours=4)
    good = ask(1, "RTX 4090", 24564, 0.4, 0.16)
    service.asks = [good, {**good, "id": 2, **wrong}]
    service.fault("unfiltered")
    assert [offer.id for offer in cloud.offers(need)] == ["1"]


def test_the_search_asks_for_what_is_needed(service: FakeVast, cloud: Vast) -> None:
    need = Need(memory_gb=10, gpus=("A100 80GB", "H100 SXM"), hours=5, disk_gb=50)
    assert {offer.gpu for offer in cloud.offers(need)} == {"A100 80GB", "H100 SXM"}
    (search,) = sent(service, "POST", "/api/v0/bundles/")
    assert search.body["gpu_ram"]["gte"] == pytest.approx(72e9 / 2**20, abs=1)
    assert search.body["duration"] == {"gte": 5 * 3600}
    assert search.body["disk_space"] == {"gte": 50}
    assert search.body["allocated_storage"] == 50
    assert search.body["cuda_max_good"] == {"gte": 12.8}


def test_hosts_are_chosen_by_the_image_that_starts(service: FakeVast, cloud: Vast) -> None:
    service.asks = [ask(1, "RTX 4090", 24564, 0.4, 0.1, cuda_max_good=12.9)]
    assert cloud.offers(Need(cuda=12.8))
    assert cloud.offers(Need(cuda=13.0)) == []


KINDS = [
    ask(1, "T4", 16000, 0.2, 0.1), ask(2, "T4", 16000, 0.2, 0.1, verification="unverified"),
    ask(3, "T4", 16000, 0.2, 0.1, hosting_type=1, geolocation="Berlin, DE"),
    ask(4, "T4", 16000, 0.2, 0.1, hosting_type=1, verification="unverified"),
    ask(5, "T4", 16000, 0.2, 0.1, reliability=0.9, reliability2=0.9, inet_down=50.0, inet_up=20.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (Hosts(), {"1": "verified", "3": "datacenter"}),
        (Hosts("verified"), {"1": "verified", "3": "datacenter"}),
        (Hosts("datacenter"), {"3": "datacenter"}),
        (Hosts("any"), dict.fromkeys("13", "") | {"2": "unverified", "4": "datacenter"}),
        (Hosts(reliability=0.8, download=0), {"1": "", "3": "", "5": ""}),
        (Hosts(reliability=0.8, download=0, upload=100), {"1": "", "3": ""}),
        (Hosts(regions=("eu",)), {"1": "", "3": ""}),
        (Hosts(regions=("de",)), {"3": ""}),
        (Hosts(regions=("sweden", "us")), {"1": ""}),
    ],
)
@pytest.mark.parametrize("fault", ["", "unfiltered"])
def test_whose_machines_are_offered(
    service: FakeVast, cloud: Vast, hosts: Hosts, found: dict[str, str], fault: str
) -> None:
    service.asks = KINDS
    if fault:
        service.fault(fault)
    offers = cloud.offers(Need(hosts=hosts))
    assert {each.id for each in offers} == set(found)
    assert all(each.kind == found[each.id] for each in offers if found[each.id])


@pytest.mark.parametrize("answer", ["html_200", "denied"])
def test_a_search_without_offers_in_it_is_an_error(
    service: FakeVast, cloud: Vast, answer: str
) -> None:
    service.fault(answer, times=4)
    with pytest.raises(ProviderError):
        cloud.offers(Need())


def test_the_daily_quota_of_searches_is_not_waited_for(service: FakeVast, cloud: Vast) -> None:
    service.fault("search_quota")
    with pytest.raises(RateLimited) as caught:
        cloud.offers(Need())
    assert caught.value.retry_after > 600
    assert len(service.requests) == 1
