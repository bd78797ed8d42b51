"""What all runs of a store have cost, and may yet cost, by the launcher's own objects.

For budgets that are wider than a run. Every machine has an order, a record and an end under
`<run>/launcher/`, where no machine can write; its rate is that of the order. A machine that is not
known to be gone counts up to its deadline: what it was allowed is spent as far as others go. Those
whose work is over are asked after first (settle). What removed runs
cost, their tombstones tell.
"""

import calendar
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from launch.contract.provider import Provider
from launch.pricing import budget
from launch.provision import settle
from mimir.errors import Corrupt, MimirError, OtherFormat, sentence
from mimir.runs import layout, notes, tombstone
from mimir.runs.attempts import AttemptStatus
from mimir.runs.notes import Gone
from mimir.runs.order import Limits
from mimir.runs.store import Store
from mimir.runs.tombstone import Tombstone

AT_ONCE = 8
SHOWN = 5
"""Machines that are named."""


@dataclass(frozen=True)
class Ledger:
    """Dollars of all runs of a store. month: of this calendar month (UTC), total: of all times.

    unread: runs whose objects, or whose tombstone, could not be read, which may have cost more.
    unsettled: (run, sentence) of machines whose work is over and which nobody has seen to be gone.
    """

    month: float = 0.0
    total: float = 0.0
    unread: tuple[str, ...] = ()
    unsettled: tuple[tuple[str, str], ...] = ()

    def left(self, limits: Limits) -> tuple[float, str]:
        """Dollars that the store's budgets leave (inf without one), and which one is used up."""
        found = float("inf"), ""
        for most, spent, whose in (
            (limits.max_cost_month, self.month, "a month"),
            (limits.max_cost_store, self.total, "the store"),
        ):
            if most and most - spent < found[0]:
                why = f"the ${most:.2f} for {whose} are used up or promised (${spent:.2f})"
                why += self._doubt()
                found = max(0.0, most - spent), why if spent >= most else ""
        return found

    def _doubt(self) -> str:
        if not self.unsettled:
            return ""
        shown = "; ".join(sentence for _, sentence in self.unsettled[:SHOWN])
        rest = len(self.unsettled) - SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        runs = dict.fromkeys(run for run, _ in self.unsettled[:SHOWN])
        commands = ", ".join(f"`python -m launch watch {run} --once`" for run in runs)
        return (
            f", with machines that nobody has seen to be gone, which count until then ({shown}"
            f"{more}). Where the key of their service is, this ends them and writes down that "
            f"they are gone, and goes on with a run that is not over: {commands}"
        )


def needed(limits: Limits) -> bool:
    """Whether there is a budget that is wider than a run."""
    return bool(limits.max_cost_month or limits.max_cost_store)


def read(
    store: Store, now: float, going_on: str = "", provider: Callable[[str], Provider] | None = None
) -> Ledger:
    """The ledger at `now`, unix s by the store's clock. StoreError if runs cannot be listed.

    going_on: a run whose newest machine is ended before another is ordered: it counts until now.
    """
    since, this_month = month_began(now), _month(now)
    month = total = 0.0
    unread, unsettled = [], []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        removed = tombstone.names(store)
        buried = list(pool.map(lambda name: _buried(store, name), removed))
        counted = {each.run for each in buried if each and each.word == tombstone.DELETING}
        names = [n for n in store.folders() if layout.is_run(n) and n not in counted]
        of_runs = list(pool.map(lambda name: _of_run(store, name), names))
    unread += [name for name, each in zip(removed, buried, strict=True) if each is None]
    for each in filter(None, buried):
        total += sum(each.spent.values())
        month += each.spent.get(this_month, 0.0)
    for name, paid in zip(names, of_runs, strict=True):
        if paid is None:
            unread.append(name)
            continue
        newest, attempts = paid
        for attempt in attempts:
            gone, why = attempt.gone, ""
            if gone is None:
                gone, why = _settled(store, name, attempt, newest, now, provider)
            if why:
                unsettled.append((name, f"attempt {attempt.attempt} of run {name}: {why}"))
            replaced = name == going_on and attempt.attempt == newest
            began, end = _span(replace(attempt, gone=gone), now, replaced=replaced)
            price = budget.price_of(attempt) or 0.0
            total += price * (end - began) / budget.HOUR
            month += price * max(0.0, end - max(began, since)) / budget.HOUR
    return Ledger(month, total, tuple(dict.fromkeys(unread)), tuple(unsettled))


def by_month(store: Store, run: str, now: float) -> tuple[dict[str, float], list[tuple[int, str]]]:
    """Dollars of a run's machines by calendar month (UTC), such as "2026-11", and the attempts
    whose cost is not known, each with the sentence that says what is damaged.

    For a run whose machines are all gone. Raises as `mimir.runs.notes.read_order`, except Corrupt.
    """
    spent: dict[str, float] = {}
    paid: list[AttemptStatus] = []
    unread = []
    keys = set(store.list(f"{layout.launcher_folder(run)}/a"))
    for number in _ordered(run, keys):
        try:
            paid += _paid(store, run, [number], keys)
        except Corrupt as error:
            unread.append((number, str(error)))
    for attempt in paid:
        began, end = _span(attempt, now, replaced=True)
        price = budget.price_of(attempt) or 0.0
        while began < end:
            until = min(end, _month_ends(began))
            month = _month(began)
            spent[month] = spent.get(month, 0.0) + price * (until - began) / budget.HOUR
            began = until
    return spent, unread


def _month(now: float) -> str:
    return time.strftime("%Y-%m", time.gmtime(now))


def _month_ends(now: float) -> float:
    then = time.gmtime(now)
    years, month = divmod(then.tm_mon, 12)
    return float(calendar.timegm((then.tm_year + years, month + 1, 1, 0, 0, 0)))


def month_began(now: float) -> float:
    """When the calendar month of `now` began, by UTC; both in unix s."""
    then = time.gmtime(now)
    return float(calendar.timegm((then.tm_year, then.tm_mon, 1, 0, 0, 0)))


def _buried(store: Store, run: str) -> Tombstone | None:
    """None if it cannot be read."""
    try:
        return tombstone.find(store, run)
    except (Corrupt, OtherFormat):
        return None  # told by name


def _of_run(store: Store, run: str) -> tuple[int, list[AttemptStatus]] | None:
    """The newest attempt that was ordered, and all that have or had a paid machine."""
    try:
        keys = set(store.list(f"{layout.launcher_folder(run)}/a"))
        numbers = _ordered(run, keys)
        return max(numbers, default=0), list(_paid(store, run, numbers, keys))
    except MimirError:
        return None  # told by name


def _ordered(run: str, keys: Iterable[str]) -> list[int]:
    return sorted(filter(None, (layout.parse_order(run, key) for key in keys)))


def _paid(store: Store, run: str, numbers: list[int], keys: set[str]) -> Iterator[AttemptStatus]:
    for number in numbers:
        there = [k(run, number) in keys for k in (layout.gone_key, layout.machine_key)]
        gone = notes.read_gone(store, run, number) if there[0] else None
        if gone is not None and gone.kind == "refused":
            continue
        order = notes.read_order(store, run, number)
        machine = notes.read_machine(store, run, number) if there[1] else None
        attempt = AttemptStatus(number, None, "", machine=machine, order=order, gone=gone)
        if order is not None and budget.price_of(attempt):
            yield attempt


def _settled(
    store: Store, run: str, attempt: AttemptStatus, newest: int, now: float,
    provider: Callable[[str], Provider] | None,
) -> tuple[Gone | None, str]:  # fmt: skip
    try:
        return settle.settle(store, run, attempt, newest, now, provider)
    except MimirError as error:
        return None, sentence(error)


def _span(attempt: AttemptStatus, now: float, *, replaced: bool) -> tuple[float, float]:
    """From when to when an attempt's machine is paid, or promised; unix s."""
    order, machine = attempt.order, attempt.machine
    assert order is not None
    paid_until = order.time + budget.seconds_of(attempt, now)
    deadlines = [d for d in (order.deadline, machine.deadline if machine else 0.0) if d]
    if attempt.gone is None and deadlines and not replaced:
        paid_until = max(paid_until, min(deadlines))
    return order.time, paid_until
