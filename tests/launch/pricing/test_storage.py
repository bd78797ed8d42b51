"""What a run fills of its store, and what that costs."""

import pytest

from launch.pricing import storage
from launch.pricing.workload import GUIDE_ROWS, Workload
from mimir.config import load_preset


@pytest.mark.parametrize(
    ("store", "price"),
    [
        ("s3://b/p", 0.023),
        ("s3://b/p?region=eu-central-1", 0.023),
        ("s3://b?endpoint=https://s3.eu-central-1.amazonaws.com", 0.023),
        ("s3://b?endpoint=https://acc.r2.cloudflarestorage.com", 0.015),
        ("s3://b?endpoint=https://s3.us-west-004.backblazeb2.com", 0.006),
        ("s3://b?endpoint=http://minio.lab:9000", None),
        ("s3://b?endpoint=https://amazonaws.com.evil.example", None),
        ("file:///runs", None),
    ],
)
def test_by_whose_store_it_is(store: str, price: float | None) -> None:
    assert storage.monthly(store, 10.0) == (None if price is None else pytest.approx(10 * price))


@pytest.mark.parametrize(("gb", "text"), [(0.002, "2.0 MB"), (0.06, "0.06 GB"), (12.0, "12.00 GB")])
def test_text(gb: float, text: str) -> None:
    assert storage.text("file:///runs", gb) == text
    dollars = "$0.28" if gb == 12.0 else "less than $0.01"
    assert storage.text("s3://b/p", gb) == f"{text}, {dollars} a month"


def test_planned() -> None:
    work = Workload(load_preset("large"), GUIDE_ROWS)
    # 21.47M parameters: four checkpoints of 20 bytes and a model of 8 bytes each
    assert storage.planned_gb(work, 50_000_000) == pytest.approx(88 * work.parameters / 1e9 + 0.05)
    assert 1.8 < storage.planned_gb(work, 0) < 1.9
    assert storage.kept_gb([10**9, 5 * 10**8]) == 1.5
