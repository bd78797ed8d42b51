"""What AWS lists for GPU machines on demand and for their disks."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from launch.contract.errors import ProviderError
from launch.providers.aws.account import PRICES, Account

MONTHLY = re.compile(r"GB-Mo", re.I)
ON_DEMAND = "OnDemand"
"""The way of renting whose prices count: others, such as CapacityBlock, are paid beforehand."""


def read(account: Account, region: str) -> list[Mapping[str, Any]]:
    """The rows for GPU machines on demand and for gp3 disks in this region."""
    found: list[Mapping[str, Any]] = []
    for words in (
        {"instanceFamily": "GPU instance", "operatingSystem": "Linux", "tenancy": "Shared",
         "preInstalledSw": "NA", "capacitystatus": "Used"},
        {"productFamily": "Storage", "volumeApiName": "gp3"},
    ):  # fmt: skip
        filters = [
            {"Type": "TERM_MATCH", "Field": name, "Value": value}
            for name, value in {**words, "regionCode": region}.items()
        ]
        rows = account.pages(
            "pricing", PRICES, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters
        )
        for row in rows:
            value = json.loads(row) if isinstance(row, str) else row
            if isinstance(value, dict):
                found.append(value)
    return found


def hourly(prices: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Type -> $/h on demand; the highest, where several are listed."""
    found: dict[str, float] = {}
    for each in prices:
        attributes = each.get("product", {}).get("attributes", {})
        name = attributes.get("instanceType")
        if not name or attributes.get("marketoption", ON_DEMAND) != ON_DEMAND:
            continue
        for unit, dollars in _dimensions(each):
            if unit == "Hrs" and dollars > found.get(name, 0.0):
                found[str(name)] = dollars
    return found


def disk(prices: Iterable[Mapping[str, Any]]) -> float:
    """$ a GB and month of a gp3 disk.

    Raises:
        ProviderError: the list does not tell it.
    """
    for each in prices:
        if each.get("product", {}).get("attributes", {}).get("volumeApiName") == "gp3":
            for unit, dollars in _dimensions(each):
                if MONTHLY.search(unit) and dollars > 0:
                    return dollars
    raise ProviderError("AWS's price list holds no price of a disk: try again later")


def _dimensions(price: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for term in price.get("terms", {}).get("OnDemand", {}).values():
        for each in term.get("priceDimensions", {}).values():
            yield str(each.get("unit") or ""), float(each.get("pricePerUnit", {}).get("USD") or 0.0)
