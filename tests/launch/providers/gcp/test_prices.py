"""Google's price list: what is taken from it, and what is left out."""

from typing import Any

import pytest

from launch.providers.gcp import prices

CORE = ("G2 Core", "us-central1", False)


def sku(**changed: Any) -> dict[str, Any]:
    """A price of G2's processors. units, nanos, currency, unit, usage, text, rates are changed."""
    money = {"currencyCode": changed.get("currency", "USD"), "units": changed.get("units", "0"),
             "nanos": changed.get("nanos", 25_000_000)}  # fmt: skip
    rates = changed.get("rates", [{"unitPrice": changed.get("money", money)}])
    told = {"usageUnit": changed.get("unit", "h"), "tieredRates": rates}
    return {
        "description": changed.get("text", "G2 Instance Core running in Americas"),
        "category": {"usageType": changed.get("usage", "OnDemand")},
        "serviceRegions": ["us-central1"], "pricingInfo": [{"pricingExpression": told}],
    }  # fmt: skip


def test_a_price() -> None:
    assert prices.parsed([sku()]) == {CORE: 0.025}
    assert prices.parsed([sku(units="1", nanos=500_000_000)]) == {CORE: 1.5}
    ram = sku(text="Spot Preemptible G2 Instance Ram running in Iowa", unit="GiBy.h",
              usage="Preemptible")  # fmt: skip
    assert prices.parsed([ram]) == {("G2 Ram", "us-central1", True): 0.025}
    disk = sku(text="Balanced PD Capacity in Iowa", unit="GiBy.mo")
    assert prices.parsed([disk]) == {("disk", "us-central1", False): 0.025}


WRONG: dict[str, dict[str, Any]] = {
    "free": {"nanos": 0}, "nothing": {"money": {}}, "null": {"money": None},
    "negative": {"nanos": -5}, "negative units": {"units": "-1"}, "euros": {"currency": "EUR"},
    "no currency": {"currency": ""}, "a month": {"unit": "mo"}, "a GiB": {"unit": "GiBy.h"},
    "no unit": {"unit": ""}, "no rates": {"rates": []}, "a word": {"nanos": "many"},
    "a commitment": {"usage": "Commit1Yr"}, "a category of another type": {"usage": 7},
}  # fmt: skip


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_price_of_ours_is_left_out(changed: dict[str, Any]) -> None:
    """It would be a part of a machine for nothing, and win against all others."""
    assert prices.parsed([sku(**changed)]) == {}
    assert prices.parsed([sku(), sku(**changed), 7, None]) == {CORE: 0.025}


@pytest.mark.parametrize("nanos", [(1, 3, 2), (3, 2, 1), (1, 2, 3)])
def test_of_several_prices_the_highest_counts(nanos: tuple[int, ...]) -> None:
    assert prices.parsed([sku(nanos=each * 10**6) for each in nanos]) == {CORE: 0.003}


def test_the_last_tier_counts() -> None:
    """The first may be a free allowance."""
    free, paid = ({"unitPrice": {"currencyCode": "USD", "nanos": n * 10**6}} for n in (0, 7))
    assert prices.parsed([sku(rates=[free, paid])]) == {CORE: 0.007}


def test_a_machine_of_which_a_part_has_no_price_has_none() -> None:
    listed = {("G2 Core", "r", False): 0.1, ("nvidia-l4", "r", False): 1.0}
    assert prices.hourly(listed, "G2", "nvidia-l4", 4, 16.0, "r", False) is None
    whole = {**listed, ("G2 Ram", "r", False): 0.01}
    assert prices.hourly(whole, "G2", "nvidia-l4", 4, 16.0, "r", False) == pytest.approx(1.56)
