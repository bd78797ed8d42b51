"""Which machine to order for a run now, and what it may do: the plan, held against offers."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launch.contract.errors import AuthFailed, NoCapacity, ProviderError
from launch.contract.offer import Need
from launch.contract.provider import Provider
from launch.pricing import budget
from launch.pricing.budget import HOUR, Room, UsedUp
from launch.providers import registry
from launch.providers.rented import Rented
from launch.provision.order import Choice, Say
from launch.provision.plan import Plan
from mimir.config import Config
from mimir.errors import BAD_CONFIG, BadInput
from mimir.runs.record import read_run
from mimir.runs.status import Status
from mimir.runs.store import Store

if TYPE_CHECKING:
    from launch.pricing.market import Ranked
    from launch.pricing.workload import Workload

SHORTEST = 0.2
"""Hours: what a machine gets done in less is mostly its own start."""
RESERVE = 0.1
"""Hours, at most a fifth of what is left, that a limit keeps back for the last checkpoint and
for the time until the machine is seen to be gone."""
TRIES = 8
"""Offers that are tried for one attempt."""


@dataclass(frozen=True)
class Found:
    """What could be ordered, best first.

    ranked: offers for which the limits leave time. problems: one sentence for each provider
    that could not be asked, and why offers were left out. cheapest: the way of the least cost,
    whatever the limits leave; None if nothing is offered. locked: none of them accepts who asks.
    need_gb: GB of GPU memory that the run needs.
    """

    choices: tuple[Choice, ...]
    ranked: tuple["Ranked", ...]
    problems: tuple[str, ...]
    room: Room
    cheapest: "Ranked | None" = None
    locked: bool = False
    need_gb: float = 0.0


def choose(store: Store, plan: Plan, status: Status, now: float, say: Say) -> Sequence[Choice]:
    """What may be ordered for the next attempt of an existing run, best first; for a keeper.

    Raises:
        NoCapacity: there is nothing to be had now.
        UsedUp: there is, but for more than the limits leave.
    """
    config = Config.from_dict(read_run(store, status.run).config)
    left = max(1, steps_of(store, plan, status) - status.committed_step)
    found = find(store, plan, status, config, left, now)
    if found.choices:
        for problem in found.problems:
            say(problem)
        return found.choices
    if found.room.why or found.cheapest is not None:
        raise UsedUp(found.room.why or _too_little(found))
    # Never AuthFailed: another watcher may have the key that is missing here.
    raise NoCapacity(str(nothing(plan, found)))


def find(
    store: Store,
    plan: Plan,
    status: Status | None,
    config: Config,
    steps: int,
    now: float,
    had: Sequence["Ranked"] | None = None,
) -> Found:
    """All that the plan's providers would give for `steps` more steps.

    had: offers that were asked for a moment ago, instead of asking again.
    """
    room = budget.room(plan.limits, status, now) if status else _whole(plan)
    fixed: list[Choice] = []
    clouds = []
    for name in plan.providers:
        provider = registry.get(name)
        if isinstance(provider, Rented):
            clouds.append(provider)
        elif name == "colab":
            fixed += _colab(provider, plan, _deadline(room.hours, now))
        else:
            fixed.append(Choice(provider, deadline=_deadline(room.hours, now)))
    if room.why:
        return Found((), (), (), room)
    if had is None:
        ranked, problems, locked = _ranked(store, clouds, plan, config, steps)
    else:
        ranked, problems, locked = list(had), [], False
    cheapest = min(ranked, key=lambda r: r.cost, default=None)
    ranked = [r for r in ranked if room.hours_at(r.offer.price) >= SHORTEST]
    by_name = {cloud.name: cloud for cloud in clouds}
    burnt = _burnt(status)
    # One that gets done within the limits goes before a cheaper one that does not.
    ranked.sort(key=lambda r: ((r.offer.provider, r.offer.place) in burnt, not _fits(r, room)))
    rented = [
        Choice(
            by_name[r.offer.provider], r.offer,
            _deadline(room.hours_at(r.offer.price), now), round(r.hours, 3),
        )
        for r in ranked[:TRIES]
    ]  # fmt: skip
    least = _need_gb(config, steps) if clouds else 0.0
    return Found((*fixed, *rented), tuple(ranked), tuple(problems), room, cheapest, locked, least)


def steps_of(store: Store, plan: Plan | None, status: Status) -> int:
    """Steps of the whole run; its data is fetched if neither an order nor a heartbeat told."""
    told = (plan.steps if plan else 0) or status.total_steps
    if told:
        return told
    record = read_run(store, status.run)
    if record.data is None:
        raise BadInput(f"run {status.run} names no data: submit it again")
    from launch.pricing.workload import Workload  # with numpy, which most commands do without

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
    best = found.cheapest
    if best is None or any(_fits(r, found.room) for r in found.ranked):
        return
    asked = ", ".join(
        f"--{name.replace('_', '-')} {value:g}"
        for name, value in (
            ("max_hours", plan.limits.max_hours),
            ("max_cost", plan.limits.max_cost),
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
    if found.locked:
        return AuthFailed("; ".join(found.problems))
    where = ", ".join(plan.providers)
    kind = f" with {' or '.join(plan.gpus)}" if plan.gpus else ""
    price = f" at up to ${plan.limits.max_price:g}/h" if plan.limits.max_price else ""
    why = f" ({'; '.join(found.problems)})" if found.problems else ""
    size = f" ({found.need_gb:.1f} GB of GPU memory)" if found.need_gb else ""
    return NoCapacity(
        f"{where} has no machine{kind}{price} for this run{size} now{why}: try again later, or "
        "widen it"
    )


def _too_little(found: Found) -> str:
    best = found.cheapest
    assert best is not None
    dollars = f" and ${found.room.dollars:.2f}" if found.room.dollars < float("inf") else ""
    hours = f"{found.room.hours:.2f} h" if found.room.hours < float("inf") else ""
    left = f"{hours}{dollars}".removeprefix(" and ")
    return (
        f"its limits leave {left}, in which no machine gets anything done (the cheapest way is "
        f"{best.offer.provider}'s {best.offer.gpu} for ${best.offer.price:.3f}/h)"
    )


def _colab(provider: Provider, plan: Plan, deadline: float) -> list[Choice]:
    """Colab's machines have no price to be ranked by: the wanted GPUs in its own order."""
    from launch.providers.colab import offers as colab_offers

    offers = colab_offers.offers(plan.gpus) if plan.gpus else [None]
    if not offers:
        raise BadInput(
            f"Colab has no {' or '.join(plan.gpus)}: name one of "
            f"{', '.join((*colab_offers.ACCELERATORS, colab_offers.CPU))} by --gpu"
        )
    return [Choice(provider, offer, deadline) for offer in offers]


def _ranked(
    store: Store, clouds: Sequence[Rented], plan: Plan, config: Config, steps: int
) -> tuple[list["Ranked"], list[str], bool]:
    if not clouds:
        return [], [], False
    from launch.pricing import forecast
    from launch.pricing import market as offers
    from launch.pricing.workload import Workload

    work = Workload.of_steps(config, steps)
    need = Need(
        memory_gb=forecast.need_gb(work),
        gpus=plan.gpus,
        max_price=plan.limits.max_price or float("inf"),
        spot=plan.spot,
    )
    had, problems = offers.collect([cloud.cloud for cloud in clouds], need)
    if not had:
        _must_be_large_enough(work, plan.gpus)
    # A provider may know a GPU by a name that only its memory tells apart.
    had = [o for o in had if (not plan.gpus or o.gpu in plan.gpus) and o.price <= need.max_price]
    ranked = offers.rank(had, config, steps, store)
    sentences = [problem.sentence for problem in problems]
    if had and not ranked:
        sentences += sorted({one.why for one in offers.judge(had, work)[1]})[:3]
    keyless = [problem for problem in problems if problem.exit_code == BAD_CONFIG]
    return ranked, sentences, len(keyless) == len(clouds)


def _need_gb(config: Config, steps: int) -> float:
    from launch.pricing.forecast import need_gb
    from launch.pricing.workload import Workload

    return need_gb(Workload.of_steps(config, steps))


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


def _fits(ranked: "Ranked", room: Room) -> bool:
    return ranked.hours + RESERVE <= room.hours_at(ranked.offer.price)


def _burnt(status: Status | None) -> set[tuple[str, str]]:
    """(provider, place) where a machine of this run broke: taken last."""
    found = set()
    for attempt in status.attempts if status else ():
        if attempt.gone is not None and attempt.gone.kind == "failure" and attempt.machine:
            machine = attempt.machine
            found.add((str(machine.get("provider")), str(machine.get("place") or "")))
    return found


def _whole(plan: Plan) -> Room:
    return Room(plan.limits.max_hours or float("inf"), plan.limits.max_cost or float("inf"))


def _deadline(hours: float, now: float) -> float:
    if hours == float("inf"):
        return 0.0
    return now + HOUR * (hours - min(RESERVE, hours / 5))
