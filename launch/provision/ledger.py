"""What all runs of a store have cost, and may yet cost, by the launcher's own objects.

For budgets that are wider than a run. Every machine has an order, a record and an end under
`<run>/launcher/`, where no machine can write; its rate is that of the order. A machine that is not
known to be gone counts up to its deadline: what it was allowed is spent as far as others go.
"""

import calendar
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from launch.pricing import budget
from mimir.errors import MimirError
from mimir.runs import layout, notes
from mimir.runs.order import Limits
from mimir.runs.status import AttemptStatus
from mimir.runs.store import Store

AT_ONCE = 8


@dataclass(frozen=True)
class Ledger:
    """Dollars of all runs of a store. month: of this calendar month (UTC), total: of all times.

    unread: runs whose objects could not be read, which may have cost more.
    """

    month: float = 0.0
    total: float = 0.0
    unread: tuple[str, ...] = ()

    def left(self, limits: Limits) -> tuple[float, str]:
        """Dollars that the store's budgets leave (inf without one), and which one is used up."""
        found = float("inf"), ""
        for most, spent, whose in (
            (limits.max_cost_month, self.month, "a month"),
            (limits.max_cost_store, self.total, "the store"),
        ):
            if most and most - spent < found[0]:
                why = f"the ${most:.2f} for {whose} are used up or promised (${spent:.2f})"
                found = max(0.0, most - spent), why if spent >= most else ""
        return found


def needed(limits: Limits) -> bool:
    """Whether there is a budget that is wider than a run."""
    return bool(limits.max_cost_month or limits.max_cost_store)


def read(store: Store, now: float) -> Ledger:
    """The ledger at `now`, unix s by the store's clock. StoreError if runs cannot be listed."""
    names = [name for name in store.folders() if layout.is_run(name)]
    since = month_began(now)
    month = total = 0.0
    unread = []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for name, spans in zip(
            names, pool.map(lambda n: _of_run(store, n, now), names), strict=True
        ):
            if spans is None:
                unread.append(name)
                continue
            for began, end, price in spans:
                total += price * (end - began) / budget.HOUR
                month += price * max(0.0, end - max(began, since)) / budget.HOUR
    return Ledger(month, total, tuple(unread))


def month_began(now: float) -> float:
    """When the calendar month of `now` began, by UTC; both in unix s."""
    then = time.gmtime(now)
    return float(calendar.timegm((then.tm_year, then.tm_mon, 1, 0, 0, 0)))


def _of_run(store: Store, run: str, now: float) -> list[tuple[float, float, float]] | None:
    try:
        return list(_spans(store, run, now))
    except MimirError:
        return None  # told by name


def _spans(store: Store, run: str, now: float) -> Iterator[tuple[float, float, float]]:
    """(began, end, $/h) of each paid machine."""
    folder = f"{layout.launcher_folder(run)}/"
    keys = set(store.list(f"{folder}a"))
    for number in filter(None, (layout.parse_order(run, key) for key in sorted(keys))):
        there = [k(run, number) in keys for k in (layout.gone_key, layout.machine_key)]
        gone = notes.read_gone(store, run, number) if there[0] else None
        if gone is not None and gone.kind == "refused":
            continue
        order = notes.read_order(store, run, number)
        machine = notes.read_machine(store, run, number) if there[1] else None
        attempt = AttemptStatus(number, None, "", machine=machine, order=order, gone=gone)
        price = budget.price_of(attempt)
        if not price or order is None:
            continue
        began = order.time
        paid_until = began + budget.seconds_of(attempt, now)
        deadlines = [d for d in (order.deadline, machine.deadline if machine else 0.0) if d]
        if gone is None and deadlines:
            paid_until = max(paid_until, min(deadlines))
        yield began, paid_until, price
