"""What Google asks for a GB that leaves its network, where every S3 bucket is.

Rates are those of the premium network, which the network `default` uses, and depend on both ends.
They are from a copy of Google's list of 2022 that the project Skyplane publishes (gcp_pricing.py,
read on 2026-11-29), and those into China from memory; later lists were not read. Google counts in
GiB, so a GB costs a little less than is counted here.
"""

from urllib.parse import urlsplit

from mimir.runs.s3_url import parse_url

FROM = {
    "us": 0.12, "northamerica": 0.12, "southamerica": 0.12, "europe": 0.12, "asia-east1": 0.12,
    "asia-east2": 0.12, "asia-south1": 0.12, "asia-south2": 0.12, "asia-northeast1": 0.14,
    "asia-northeast2": 0.14, "asia-northeast3": 0.147,
}  # fmt: skip
"""$ a GB from a region, or from those whose names begin so, to a bucket that is neither in Oceania
nor in China."""
HIGHEST = 0.19
"""From all other regions (Oceania and the south-east of Asia in the copy; Africa and the Middle
East are not in it), and from everywhere into Oceania."""
CHINA = 0.23
OCEANIA = ("ap-southeast-2", "ap-southeast-4", "ap-southeast-6")
"""Regions of AWS that are there."""
AREAS = ("us", "ca", "mx", "sa", "eu", "ap")
"""How names of other regions begin into which the machine's own region decides."""
ANYWHERE = ".r2.cloudflarestorage.com"
"""An endpoint that takes data near to where it comes from: the machine's own region decides."""
WORDS = (
    f"every S3 bucket lies outside Google's network, ${min(FROM.values())} to ${HIGHEST} a GB by "
    f"the machine's region (the US and Europe are cheapest), ${CHINA} into China; a bucket whose "
    "URL does not tell its region counts as one in Oceania; fewer checkpoints "
    "(--checkpoint-minutes) cost less"
)
"""What would cost less, for people."""


def upload_price(store: str, region: str) -> float:
    """$ a GB of a checkpoint on its way from a machine in this region to its store."""
    own = FROM.get(region, FROM.get(region.partition("-")[0], HIGHEST))
    return max(own, _into(store))


def _into(store: str) -> float:
    """$ a GB that what goes to this store costs at least, from any region."""
    if not store.startswith("s3://"):
        return HIGHEST
    bucket = parse_url(store)
    host, region = urlsplit(bucket.endpoint).hostname or "", bucket.region.lower()
    if host.endswith(".cn") or region.startswith("cn-"):
        return CHINA
    if host.endswith(ANYWHERE):
        return 0.0
    # Servers of one's own call any place us-east-1.
    told = not host or host.endswith(".amazonaws.com") or region in host
    if not region or not told or region in OCEANIA:
        return HIGHEST
    return 0.0 if region.partition("-")[0] in AREAS else HIGHEST
