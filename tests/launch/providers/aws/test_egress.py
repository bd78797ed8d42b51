"""What a GB costs that leaves a region of AWS."""

import pytest

from launch.contract.offer import Need
from launch.providers.aws import egress
from launch.providers.aws.bands import Bands
from launch.providers.aws.market import Image, Kind, Region, offers

R2 = "s3://b/p?endpoint=https://x.r2.cloudflarestorage.com&region=auto"


@pytest.mark.parametrize(
    ("region", "internet", "other"),
    [("us-west-2", 0.09, 0.02), ("eu-west-1", 0.09, 0.02), ("ap-southeast-2", 0.114, 0.098),
     ("ap-northeast-1", 0.114, 0.09), ("sa-east-1", 0.15, 0.138), ("us-gov-west-1", 0.155, 0.03),
     ("ap-southeast-7", 0.132, 0.10), ("mx-central-1", 0.155, 0.147), ("xx-new-9", 0.155, 0.147)],
)  # fmt: skip
def test_rates_follow_the_region_that_is_left(region: str, internet: float, other: float) -> None:
    assert egress.upload_price(R2, region) == internet
    assert egress.upload_price("s3://b/p?region=eu-central-1", region) == other
    assert egress.upload_price(f"s3://b/p?region={region}", region) == 0.0


def test_an_unknown_place_costs_as_much_as_any() -> None:
    unknown = egress.rates("xx-new-9")
    for known in egress.RATES.values():
        assert unknown.internet >= known.internet
        assert unknown.region >= known.region


def test_an_area_costs_as_much_as_any_of_its_regions() -> None:
    for name, known in egress.RATES.items():
        area = egress.RATES[name.partition("-")[0]]
        if name != "us-gov":
            assert area.internet >= known.internet
            assert area.region >= known.region


def test_an_offer_far_away_holds_its_own_rate() -> None:
    def region(name: str) -> Region:
        return Region(
            name, [Kind("g6.xlarge", "L4", 24.0, 4, True)], {"g6.xlarge": ["a"]},
            {"a": ("vpc-1", "subnet-1")}, on_demand={"g6.xlarge": 1.0}, image=Image("ami", "/", 50),
        )  # fmt: skip

    need = Need(upload_gb=10.0, store="s3://b/p?region=us-east-1")
    (near,) = offers(region("us-east-1"), need, Bands())
    (far,) = offers(region("sa-east-1"), need, Bands())
    assert (near.egress, far.egress) == (0.0, pytest.approx(1.38))
    assert far.price - near.price == pytest.approx(1.38)
