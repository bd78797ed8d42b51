"""Prices of services that no key is here for, from gpuhunt's catalogue.

The catalogue is a list that somebody else collects and serves (it needs the network): good for
an idea of what a GPU costs, not for an order. So each price bears the list's date.
"""

import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from launch.pricing import gpus

CATALOGUE_WITHIN = 10.0
"""Seconds for the download; the package itself sets no limit."""


@dataclass(frozen=True)
class Price:
    """$/h of a machine with one such GPU on demand.

    listed: not offered now, only listed. date: of the list, as 2026-11-28; "" if it has none.
    """

    gpu: str
    price: float
    provider: str
    listed: bool = True
    date: str = ""

    @property
    def told_date(self) -> str:
        """The list's date, for people."""
        return self.date or "date unknown"

    @property
    def words(self) -> str:
        """Whose it is, and of when."""
        return f"{self.provider} (listed, {self.told_date})" if self.listed else self.provider


_EMPTY = (
    "$/H and COST are empty where no service told its prices: the catalogue of prices, which "
    "gpuhunt fetches for services without a key here, gave none"
)


def prices(wanted: Mapping[str, str], within: float = CATALOGUE_WITHIN) -> tuple[list[Price], str]:
    """The lowest listed price of each GPU, and one sentence if there should be some but are none.

    Args:
        wanted: our providers' names by the catalogue's own (Cloud.catalogue_name).
    """
    if not wanted:
        return [], ""
    package = _package()
    if package is None:
        return [], (
            "what services without a key here ask is not shown, because gpuhunt, whose catalogue "
            "lists it, is not installed: pip install gpuhunt"
        )
    answer: list[Any] = []
    thread = threading.Thread(target=_read, args=(package, list(wanted), answer), daemon=True)
    thread.start()
    thread.join(within)
    if not answer:
        return [], f"{_EMPTY}: it did not come within {within:.0f} s"
    if isinstance(answer[0], Exception):
        what = f"{type(answer[0]).__name__}: {answer[0]}"
        return [], f"{_EMPTY}: it could not be read ({what})"
    items, dates = answer[0]
    return _lowest(items, wanted, dates), ""


def _package() -> ModuleType | None:
    try:
        import gpuhunt
    except ImportError:  # `pip install --no-deps`
        return None
    found: ModuleType = gpuhunt
    return found


def _read(package: ModuleType, names: list[str], answer: list[Any]) -> None:
    # It logs a traceback for each service that it cannot load.
    logging.getLogger("gpuhunt").setLevel(logging.CRITICAL)
    try:
        catalogue = package.Catalog()
        items = catalogue.query(provider=names, min_gpu_count=1, max_gpu_count=1, spot=False)
        answer.append((items, {name: _date(catalogue, name) for name in names}))
    except Exception as error:  # noqa: BLE001 - another's package: its failure is told, no more
        answer.append(error)


def _date(catalogue: Any, name: str) -> str:
    """The day on which a service's prices were collected: its versions begin with it."""
    version = str(getattr(getattr(catalogue, "catalog", {}).get(name), "version", ""))
    found = re.match(r"(20\d\d)(\d\d)(\d\d)", version)
    return "-".join(found.groups()) if found else ""


def _lowest(
    items: Iterable[Any], wanted: Mapping[str, str], dates: Mapping[str, str]
) -> list[Price]:
    found: dict[str, Price] = {}
    for item in items:
        provider = wanted.get(item.provider)
        known = gpus.get(item.instance_name) or gpus.get(item.gpu_name or "")
        if provider is None or known is None or not item.price > 0:
            continue
        gpu = gpus.canonical(known.name, item.gpu_memory or 0.0)
        if gpu not in found or item.price < found[gpu].price:
            date = dates.get(item.provider, "")
            found[gpu] = Price(gpu, float(item.price), provider, date=date)
    return [found[name] for name in sorted(found)]
