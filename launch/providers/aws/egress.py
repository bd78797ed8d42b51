"""What AWS asks for a GB that leaves one of its regions.

Rates depend on the region that data leaves, not on where it goes. The table is from a copy of AWS's
price list of 2022 that the project Skyplane publishes (aws_transfer_costs.csv, read on 2026-11-29);
later lists were not read. A region that is newer than the table counts with the highest rate of its
area, and with the highest of all where its area is unknown.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

from mimir.runs.s3_url import parse_url


class Rates(NamedTuple):
    """$ a GB to the internet, and to another region of AWS: the first tier, which is the highest,
    without the 100 GB that are free in a month."""

    internet: float
    region: float


RATES = {
    "us": Rates(0.09, 0.02),
    "us-gov": Rates(0.155, 0.03),
    "ca": Rates(0.09, 0.02),
    "eu": Rates(0.09, 0.02),
    "ap": Rates(0.132, 0.10),
    "ap-east-1": Rates(0.12, 0.09),
    "ap-south-1": Rates(0.1093, 0.086),
    "ap-northeast-1": Rates(0.114, 0.09),
    "ap-northeast-2": Rates(0.126, 0.08),
    "ap-northeast-3": Rates(0.114, 0.09),
    "ap-southeast-1": Rates(0.12, 0.09),
    "ap-southeast-2": Rates(0.114, 0.098),
    "me": Rates(0.117, 0.1105),
    "sa": Rates(0.15, 0.138),
    "af": Rates(0.154, 0.147),
}
"""By region, or by the beginning of its name for those that are not named."""
HIGHEST = Rates(max(each.internet for each in RATES.values()),
                max(each.region for each in RATES.values()))  # fmt: skip
LOWEST = RATES["us"]
WORDS = (
    "free into a bucket of the machine's own region (--region, or region= in the store's URL), "
    f"${LOWEST.region} (US, Europe) to ${HIGHEST.region} a GB to AWS's other regions, "
    f"${LOWEST.internet} to ${HIGHEST.internet} elsewhere; fewer checkpoints "
    "(--checkpoint-minutes) cost less"
)
"""What would cost less, for people."""


def rates(region: str) -> Rates:
    """Of what leaves this region."""
    parts = region.split("-")
    for length in range(len(parts), 0, -1):
        found = RATES.get("-".join(parts[:length]))
        if found is not None:
            return found
    return HIGHEST


def upload_price(store: str, region: str) -> float:
    """$ a GB of a checkpoint on its way from a machine in this region to its store. Into a bucket
    of the same region nothing is billed."""
    own = rates(region)
    if not store.startswith("s3://"):
        return own.internet
    bucket = parse_url(store)
    host = urlsplit(bucket.endpoint).hostname or ".amazonaws.com"
    if not host.endswith(".amazonaws.com"):
        return own.internet
    return 0.0 if bucket.region == region else own.region
