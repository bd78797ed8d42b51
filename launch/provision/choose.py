"""Which machine to order for a run now: the plan, its limits and the market together."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launch.contract import image
from launch.contract.errors import AuthFailed, NoCapacity, ProviderError
from launch.contract.offer import Need
from launch.contract.provider import Metered
from launch.pricing import budget, evictions
from launch.pricing.budget import HOUR, Remaining, UsedUp
from launch.providers import registry
from launch.providers.rented import Rented
from launch.provision import failed_hosts, ledger, promises
from launch.provision.choice import Choice
from launch.provision.ledger import Ledger
from launch.provision.order import Say
from mimir.config import Config
from mimir.errors import BAD_CONFIG, BadInput
from mimir.runs.order import Expected, Plan
from mimir.runs.record import read_run
from mimir.runs.status import Status
from mimir.runs.store import Store

if TYPE_CHECKING:
    from launch.pricing.market import Ranked
    from launch.pricing.workload import Workload

SHORTEST_RENTAL = 0.2
"""Hours: what a machine gets done in less is mostly its own start."""
RESERVE = 0.1
"""Hours, at most a fifth of what is left, that a limit keeps back for the last checkpoint and
for the time until the machine is seen to be gone."""


@dataclass(frozen=True)
class Market:
    """What the plan's providers that rent answered when they were asked, once.

    ranked: by expected total cost. problems: one sentence for each that could not be asked, and
    one for the offers that were left out. left: (how many, why) of these. locked: none of them
    accepts who asks. need_gb: GB of GPU memory that the run needs, 0 if none of them rents. dearer:
    the least $/h of a machine that only the limit of the price leaves out, 0 for none. failed:
    (provider, host) of hosts on which a machine of any run failed lately. ledger: what all runs of
    the store have cost, if a budget of the plan counts that. disk_gb, upload_mbit: of
    the disk that is ordered, and that checkpoints need.
    """

    ranked: tuple["Ranked", ...] = ()
    problems: tuple[str, ...] = ()
    locked: bool = False
    need_gb: float = 0.0
    left: tuple[tuple[int, str], ...] = ()
    dearer: float = 0.0
    failed: frozenset[tuple[str, str]] = frozenset()
    ledger: Ledger = field(default_factory=Ledger)
    disk_gb: float = 0.0
    upload_mbit: float = 0.0


@dataclass(frozen=True)
class Found:
    """What could be ordered, best first.

    ranked: offers for which the limits leave time. budget: what the limits leave. market: all
    that was offered.
    """

    choices: tuple[Choice, ...]
    ranked: tuple["Ranked", ...]
    budget: Remaining
    market: Market

    @property
    def cheapest(self) -> "Ranked | None":
        """The way of the least cost, whatever the limits leave; None if nothing is offered."""
        return min(self.market.ranked, key=lambda r: (not r.known, r.cost), default=None)


def choose(store: Store, plan: Plan, status: Status, now: float, say: Say) -> Sequence[Choice]:
    """What may be ordered for the next attempt of an existing run, best first; for a watcher.

    Raises:
        NoCapacity: nothing is available now.
        AuthFailed: no key here is accepted by any provider of the plan; another watcher may have
            one.
        UsedUp: there is, but for more than the limits leave.
    """
    config = Config.from_dict(read_run(store, status.run).config)
    left = remaining(plan, status, now)
    if left.why:
        raise UsedUp(left.why)
    steps = max(1, steps_of(store, plan, status) - status.done_steps)
    found = within(plan, ask(store, plan, config, steps, status.run, status), status, now)
    if found.budget.why:
        raise UsedUp(found.budget.why)
    if found.choices:
        for problem in found.market.problems:
            say(problem)
        return found.choices
    if found.cheapest is not None:
        raise UsedUp(_too_little(found))
    raise nothing(plan, found)


def remaining(plan: Plan, status: Status | None, now: float) -> Remaining:
    """What the plan's limits leave; status: None for a run that does not exist yet."""
    if status is not None:
        return budget.remaining(plan.limits, status, now)
    limits = plan.limits
    return Remaining(limits.max_hours or float("inf"), limits.max_cost or float("inf"))


def ask(
    store: Store, plan: Plan, config: Config, steps: int, going_on: str = "",
    status: Status | None = None,
) -> Market:  # fmt: skip
    """Ask all the plan's providers that rent for offers for `steps` more steps of a run.

    going_on: its name, as ledger.read's. status: of a run that has had machines. Raises:
        BadInput: no GPU of the plan's can hold the run, or a region is none of any provider's.
    """
    clouds = [each for name in plan.providers if isinstance(each := registry.get(name), Rented)]
    metered = [
        each.priced(plan.gpus)
        for name in plan.providers
        if isinstance(each := registry.get(name), Metered)
    ]
    if not clouds and not any(offers for offers, _ in metered):
        return Market()
    from launch.pricing import forecast, market
    from launch.pricing.workload import Workload  # with numpy, which most commands do without

    work, starts = Workload.of_steps(config, steps), image.wanted(plan.image)
    need = Need(
        memory_gb=forecast.need_gb(work), gpus=plan.gpus, spot=plan.spot, hosts=plan.hosts,
        upload_gb=work.upload_gb, cuda=starts.cuda, store=store.url,
    )  # fmt: skip
    sellers = [cloud.cloud for cloud in clouds]
    unchecked = market.check_regions(sellers, plan.hosts.regions)
    had, problems = market.collect(sellers, need)
    had += [offer for offers, _ in metered for offer in offers]
    if not had:
        _must_be_large_enough(work, plan.gpus)
    # A provider may know a GPU by a name that only its memory tells apart.
    had = [o for o in had if not plan.gpus or o.gpu in plan.gpus]
    most = plan.limits.max_price or float("inf")
    affordable, dear = market.affordable(had, most)
    evicted = evictions.seen(status, store.now())
    ranked, left = market.rank(affordable, config, steps, store, image=starts, had=evicted)
    left += dear
    groups = market.grouped(left)
    sentences = [problem.sentence for problem in problems]
    sentences += [each for each in (unchecked, starts.note) if each]
    sentences += [sentence for _, sentence in metered if sentence]
    sentences += [market.left_out(groups)] if groups else []
    keyless = [problem for problem in problems if problem.exit_code == BAD_CONFIG]
    counts = ledger.needed(plan.limits)
    spent_by_all = ledger.read(store, store.now(), going_on) if counts else Ledger()
    if spent_by_all.unread:
        unread = ", ".join(spent_by_all.unread[:5])
        sentences.append(f"what these runs have cost cannot be read, and is not counted: {unread}")
    failed = failed_hosts.read(store, store.now(), sentences.append)
    again = {(r.offer.provider, r.offer.host) for r in ranked} & failed.keys()
    if again:
        shown = "; ".join(f"{p} {host}: {failed[p, host].why}" for p, host in sorted(again)[:3])
        hosts = "1 host comes" if len(again) == 1 else f"{len(again)} hosts come"
        sentences.append(f"{hosts} last, because a machine failed there lately ({shown})")
    locked = bool(clouds) and len(keyless) == len(clouds)
    return Market(
        tuple(ranked), tuple(sentences), locked, need.memory_gb, tuple(groups),
        0.0 if ranked else min((one.offer.price for one in dear), default=0.0),
        frozenset(failed), spent_by_all, need.disk_gb, work.upload_mbit,
    )  # fmt: skip


def preferred(market: Market, status: Status | None) -> tuple["Ranked", ...]:
    """The offers, cheapest first; those where a machine of this run broke come last."""
    failed = _failed_places(status)
    return tuple(sorted(market.ranked, key=lambda r: _failed(r, failed, market.failed)))


def within(plan: Plan, market: Market, status: Status | None, now: float) -> Found:
    """What of it may be ordered within the plan's limits. Asks nobody."""
    left = remaining(plan, status, now)
    dollars, why = market.ledger.left(plan.limits)
    left = replace(left, dollars=min(left.dollars, dollars), why=left.why or why)
    if left.why:
        return Found((), (), left, market)
    fixed: list[Choice] = []
    by_name = {}
    for name in plan.providers:
        by_name[name] = provider = registry.get(name)
        if isinstance(provider, Rented):
            continue
        # A job that waits counts its hours from its start.
        until = 0.0 if provider.caps.queues else _deadline(left.hours, now)
        free = [each for each in provider.choices(plan.gpus) if each is None or not each.price]
        fixed += [Choice(provider, offer, until) for offer in free]
    worth = [r for r in market.ranked if left.hours_at(r.offer.price) >= SHORTEST_RENTAL]
    failed = _failed_places(status)
    # One that gets done within the limits goes before a cheaper one that does not.
    worth.sort(key=lambda r: (_failed(r, failed, market.failed), not r.known, not _fits(r, left)))
    rented = [
        Choice(
            by_name[r.offer.provider], r.offer,
            _deadline(left.hours_at(r.offer.price), now), round(r.hours, 3),
            promises.of(r.offer, market.disk_gb, market.upload_mbit),
            Expected(r.forecast.step_s, r.forecast.measured),
        )
        for r in worth
    ]  # fmt: skip
    return Found((*fixed, *rented), tuple(worth), left, market)


def steps_of(store: Store, plan: Plan | None, status: Status) -> int:
    """Steps of the whole run; its data is fetched if no order told.

    A heartbeat's word does not count: limits of cost follow from the steps.
    """
    if plan is not None and plan.steps:
        return plan.steps
    record = read_run(store, status.run)
    if record.data is None:
        raise BadInput(f"run {status.run} names no data: submit it again")
    from launch.pricing.workload import Workload  # with numpy

    with tempfile.TemporaryDirectory(prefix="mimir-") as folder:
        path = Path(folder) / "data.safetensors"
        path.write_bytes(
            store.get(record.data.key, size=record.data.size, sha256=record.data.sha256)
        )
        return Workload.of(Config.from_dict(record.config), path).steps


def spent(status: Status, now: float) -> float:
    """Dollars that the run has cost so far."""
    return budget.spent(status, now).dollars or 0.0


def must_fit(plan: Plan, found: Found) -> None:
    """BadInput if no offer does the whole work within the plan's limits, by the forecast."""
    market, limits = found.market, plan.limits
    if found.budget.why:
        raise BadInput(f"nothing is ordered: {found.budget.why}; raise the limit, or wait")
    if market.dearer and not found.choices:
        raise BadInput(
            f"--max-price {limits.max_price:g} is below the price of an hour: the cheapest machine "
            f"that is available now costs ${market.dearer:.3f}/h; raise it, or widen the choice"
        )
    best = found.cheapest
    if best is None or any(_fits(r, found.budget) for r in found.ranked):
        return
    asked = ", ".join(
        f"--{name.replace('_', '-')} {value:g}"
        for name, value in (
            ("max_hours", plan.limits.max_hours),
            ("max_cost", plan.limits.max_cost),
            ("max_cost_month", plan.limits.max_cost_month),
            ("max_cost_store", plan.limits.max_cost_store),
        )
        if value
    )
    raise BadInput(
        f"the limits are too small for the forecast: {asked}, and the cheapest way is "
        f"{best.hours:.1f} h on {best.offer.provider}'s {best.offer.gpu} for ${best.cost:.2f} "
        f"({best.forecast.source}); raise the limits, or train a smaller preset or fewer --epochs"
    )


def nothing(plan: Plan, found: Found) -> ProviderError:
    """Why there is nothing to order."""
    if found.market.locked:
        return AuthFailed("; ".join(found.market.problems))
    where = ", ".join(plan.providers)
    kind = f" with {' or '.join(plan.gpus)}" if plan.gpus else ""
    if plan.hosts.regions:
        kind += f" in {' or '.join(plan.hosts.regions)}"
    if plan.hosts.kind:
        kind += f" of {plan.hosts.kind} hosts"
    price = f" at up to ${plan.limits.max_price:g}/h" if plan.limits.max_price else ""
    why = f" ({'; '.join(found.market.problems)})" if found.market.problems else ""
    size = f" ({found.market.need_gb:.1f} GB of GPU memory)" if found.market.need_gb else ""
    return NoCapacity(
        f"{where} has no machine{kind}{price} for this run{size} now{why}: try again later, or "
        "widen it"
    )


def _too_little(found: Found) -> str:
    best = found.cheapest
    assert best is not None
    dollars = f" and ${found.budget.dollars:.2f}" if found.budget.dollars < float("inf") else ""
    hours = f"{found.budget.hours:.2f} h" if found.budget.hours < float("inf") else ""
    left = f"{hours}{dollars}".removeprefix(" and ")
    return (
        f"its limits leave {left}, in which no machine gets anything done (the cheapest way is "
        f"{best.offer.provider}'s {best.offer.gpu} for ${best.offer.price:.3f}/h)"
    )


def _must_be_large_enough(work: "Workload", names: Sequence[str]) -> None:
    """BadInput if no GPU of these names can hold the run, which is why nobody offers any."""
    from launch.pricing.forecast import forecast

    known = [what for what in (forecast(work, name) for name in names) if what is not None]
    if known and not any(what.fits for what in known):
        largest = max(known, key=lambda what: what.memory_gb)
        raise BadInput(
            f"{largest.gpu} with {largest.memory_gb:g} GB is too small: {largest.need_gb:.1f} GB "
            "are needed; name a larger --gpu or none, or say --accumulate 2, which halves most of "
            "it"
        )


def _fits(ranked: "Ranked", left: Remaining) -> bool:
    return ranked.hours + RESERVE <= left.hours_at(ranked.offer.price)


def _failed(
    ranked: "Ranked", places: set[tuple[str, str]], hosts: frozenset[tuple[str, str]]
) -> bool:
    """Whether a machine broke there: one of this run at the place, or of any run on the host."""
    offer = ranked.offer
    return (offer.provider, offer.place) in places or (offer.provider, offer.host) in hosts


def _failed_places(status: Status | None) -> set[tuple[str, str]]:
    """(provider, place) where a machine of this run broke: taken last."""
    found = set()
    for attempt in status.attempts if status else ():
        broke = attempt.gone is not None and attempt.gone.kind in ("failure", "placement")
        if (broke or attempt.cause == "host") and attempt.machine:
            found.add((attempt.machine.provider, attempt.machine.place))
    return found


def _deadline(hours: float, now: float) -> float:
    if hours == float("inf"):
        return 0.0
    return now + HOUR * (hours - min(RESERVE, hours / 5))
