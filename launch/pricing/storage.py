"""How much of a store a run fills, and what its service asks for that by list price."""

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mimir.config import MODEL_COPIES
from mimir.runs.retention import NEWEST
from mimir.runs.s3_url import parse_url

if TYPE_CHECKING:
    from launch.pricing.workload import Workload  # with numpy, which `status` does without

GB = 1e9

KEPT = NEWEST + 1
"""Checkpoints that stay: the newest and the best (mimir/runs/retention.py)."""
WEIGHT = 4 * MODEL_COPIES
"""Bytes of a weight in the model that a run leaves."""
PRICES = (
    (".amazonaws.com", 0.023),
    (".r2.cloudflarestorage.com", 0.015),
    (".backblazeb2.com", 0.006),
)
"""$ a GB and month by list prices of 2026: S3 Standard's first 50 TB in us-east-1 (other regions
and classes differ), R2's standard storage, B2. Requests are not counted."""


def planned_gb(work: "Workload", data_bytes: int) -> float:
    """GB (1e9 bytes) that a run keeps at its end; while it trains, one or two checkpoints more."""
    return KEPT * work.checkpoint_gb + (WEIGHT * work.parameters + data_bytes) / GB


def kept_gb(sizes: Iterable[int]) -> float:
    """GB of objects of these sizes (bytes)."""
    return sum(sizes) / GB


def monthly(store: str, gb: float) -> float | None:
    """$ a month, None where no list price is known: a folder, a server of one's own."""
    if not store.startswith("s3://"):
        return None
    endpoint = parse_url(store).endpoint
    host = urlsplit(endpoint).hostname or "" if endpoint else ".amazonaws.com"
    return next((price * gb for name, price in PRICES if host.endswith(name)), None)


def text(store: str, gb: float) -> str:
    """The same for people: "0.06 GB, less than $0.01 a month"."""
    dollars = monthly(store, gb)
    size = f"{gb:.2f} GB" if gb >= 0.01 else f"{1e3 * gb:.1f} MB"
    if dollars is None:
        return size
    return f"{size}, " + (f"${dollars:.2f}" if dollars >= 0.01 else "less than $0.01") + " a month"
