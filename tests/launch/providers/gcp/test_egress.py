"""What a GB costs that leaves Google's network."""

import pytest

from launch.contract.offer import Need
from launch.providers.gcp import egress
from launch.providers.gcp.adapter import Gcp

US = "s3://b/p?region=us-east-1"
SYDNEY = "s3://b/p?region=ap-southeast-2"
R2 = "s3://b/p?endpoint=https://x.r2.cloudflarestorage.com&region=auto"


@pytest.mark.parametrize(
    ("region", "dollars"),
    [("us-central1", 0.12), ("europe-west4", 0.12), ("southamerica-east1", 0.12),
     ("asia-east1", 0.12), ("asia-northeast1", 0.14), ("asia-northeast3", 0.147),
     ("asia-southeast1", 0.19), ("asia-southeast2", 0.19), ("australia-southeast1", 0.19),
     ("africa-south1", 0.19), ("me-west1", 0.19), ("new-place1", 0.19)],
)  # fmt: skip
def test_rates_follow_the_region_that_is_left(region: str, dollars: float) -> None:
    assert egress.upload_price(US, region) == dollars
    assert egress.upload_price(R2, region) == dollars


@pytest.mark.parametrize(
    ("store", "dollars"),
    [
        (SYDNEY, 0.19),
        ("s3://b/p?region=cn-north-1", 0.23),
        ("s3://b/p?endpoint=https://oss.example.cn&region=us-east-1", 0.23),
        ("s3://b/p", 0.19),
        ("s3://b/p?endpoint=https://s3.eu-west-1.amazonaws.com&region=eu-west-1", 0.12),
        ("s3://b/p?endpoint=https://s3.us-west-004.backblazeb2.com&region=us-west-004", 0.12),
        # A server of one's own calls itself us-east-1 wherever it stands.
        ("s3://b/p?endpoint=https://minio.example.com&region=us-east-1", 0.19),
        ("file:///runs", 0.19),
    ],
)
def test_where_the_bucket_lies_may_cost_more(store: str, dollars: float) -> None:
    assert egress.upload_price(store, "us-central1") == dollars


def test_an_offer_holds_what_its_uploads_cost(cloud: Gcp) -> None:
    offers = {o.id: o.price for o in cloud.offers(Need(gpus=("L4",)))}
    for store, dollars in ((US, 1.2), (SYDNEY, 1.9)):
        for offer in cloud.offers(Need(gpus=("L4",), upload_gb=10.0, store=store)):
            assert offer.egress == pytest.approx(dollars)
            assert offer.price - offers[offer.id] == pytest.approx(dollars, abs=1e-4)
