"""What a sweep would take, and what each of its runs may cost.

The limit of a sweep is kept by its runs, each of which has a limit of its own that its order holds
and that watchers and services enforce:

    share = (limit of the sweep - what its finished runs cost) / runs that are not finished

As a finished run has cost no more than its share, shares only grow. So launchers that look at
different moments, or at the same one, give no more together than the limit, without a lock.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from launch.contract.provider import Provider, TrainsHere
from launch.pricing import budget
from launch.provision import choose
from mimir.config import Config, Optimizer, load_preset
from mimir.data.opened import Data
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs.head import ENDED
from mimir.runs.order import MOST_SHARING, Plan
from mimir.runs.status import Status
from mimir.runs.store import Store
from mimir.runs.sweep import Member, Sweep
from mimir.submission import job_of

if TYPE_CHECKING:
    from launch.provision.choose import Found


@dataclass(frozen=True)
class Cost:
    """What a sweep's unfinished runs would take where machines are rented.

    hours: of machines, all together. dollars: the same. dearest: dollars of the run that costs
    most. found: what may be ordered for the first of each kind of run. problems: what services
    said.
    """

    hours: float = 0.0
    dollars: float = 0.0
    dearest: float = 0.0
    found: tuple["Found", ...] = ()
    problems: tuple[str, ...] = ()


def queues(places: Sequence[Provider]) -> bool:
    """Whether jobs wait in a queue of their own there, so that all may be begun at once."""
    return all(place.caps.queues for place in places)


def lanes(count: int, at_once: int, per_job: int) -> int:
    """In how many lanes a sweep's jobs wait one behind the other, 0 where all may run at once.

    count: runs of the sweep. at_once: runs that may train at a time.
    """
    return 0 if at_once >= count else max(1, at_once // per_job)


def per_job_before(sweep: Sweep, places: Sequence[Provider], exists: bool) -> int:
    """Runs of one job where nothing is said now: as before, unless it goes on elsewhere."""
    can = exists and all(place.caps.shares for place in places)
    return sweep.per_job if can else 1


def must_share(per_job: int, at_once: int, places: Sequence[Provider]) -> None:
    """BadInput unless these places can train so many runs in one job. at_once: 0 if not said."""
    if not 1 <= per_job <= MOST_SHARING:
        raise BadInput(f"--per-job is {per_job}, but must be a number of runs, 1 to {MOST_SHARING}")
    if per_job == 1:
        return
    unable = [place.name for place in places if not place.caps.shares]
    if unable:
        how = "say --at-once, which shares this computer's GPU" if not any(
            place.caps.remote for place in places
        ) else "each rented machine trains one run"  # fmt: skip
        raise BadInput(
            f"--per-job is for jobs of a cluster (--provider slurm), and not for {unable[0]}: {how}"
        )
    if 0 < at_once < per_job:
        raise BadInput(
            f"--at-once {at_once} is less than the {per_job} runs that --per-job puts into one "
            "job: raise the one or lower the other"
        )


def listed(
    name: str, preset: str, shared: Mapping[str, Any], rows: Sequence[Mapping[str, Any]],
    data: Data, plan: Plan, at_once: int, max_cost: float, now: float, per_job: int = 1,
) -> Sweep:  # fmt: skip
    """The list of a new sweep, each configuration checked, without data and code.

    shared: settings of all runs; rows: those of each.

    Raises:
        BadInput: a setting is wrong, does not fit the data, or two runs would be the same.
    """
    bases: dict[str, dict[str, Any]] = {}
    members: list[Member] = []
    seen: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows):
        run = layout.sweep_run(name, number)
        base = load_preset(str(row.get("preset", preset))).with_settings(shared)
        own = {name: value for name, value in row.items() if name != "preset"}
        if bases.setdefault(base.preset, base.as_dict()) != base.as_dict():
            raise BadInput(f"two preset files are named {base.preset}: rename one of them")
        try:
            config = base.with_settings(own)
            steps = job_of(config, data).steps
        except BadInput as error:
            said = " ".join(f"{key}={value}" for key, value in row.items())
            raise BadInput(f"run {run} ({said}): {error}") from None
        settings = {name: value for name, value in _flat(config).items() if name in own}
        twin = seen.setdefault((config.sha256(), repr(config.runtime)), run)
        if twin != run:
            raise BadInput(f"runs {twin} and {run} would have the same settings: remove one")
        members.append(Member(run, base.preset, settings, steps))
    return Sweep(name, now, bases, tuple(members), plan, at_once, max_cost, per_job)


def _flat(config: Config) -> dict[str, Any]:
    return {
        name: value
        for section in config.as_dict().values()
        if isinstance(section, dict)
        for name, value in section.items()
    }


def share(max_cost: float, statuses: Sequence[Status], count: int, now: float) -> float:
    """Dollars that each run may cost over all its attempts, 0 for no limit.

    statuses: of those runs that can be read, of `count` in all.

    Raises:
        UsedUp: nothing is left.
    """
    if not max_cost:
        return 0.0
    finished = [each for each in statuses if _finished(each)]
    if len(finished) == count:
        return 0.0
    left = max_cost - sum(budget.spent(each, now).dollars or 0.0 for each in finished)
    each = math.floor(100 * left / (count - len(finished))) / 100
    if each <= 0:
        raise budget.UsedUp(
            f"the ${max_cost:.2f} of the sweep are used up: say a higher --max-cost"
        )
    return each


def _finished(status: Status) -> bool:
    """Whether the run is done and none of its machines may still be paid."""
    return status.state == "done" and all(
        each.gone is not None or budget.price_of(each) is None for each in status.attempts
    )


def must_hold(limit: float, statuses: Sequence[Status], max_cost: float) -> None:
    """BadInput if a run goes on under a higher limit than the share: the sum might exceed.

    One that was interrupted does too: whoever watches it orders its next machine as the last one.
    """
    for status in statuses:
        if not limit or not status.attempts or status.state in ENDED:
            continue
        last = status.attempts[-1]
        most = last.order.plan.limits.max_cost if last.order else 0.0
        if most > limit or (not most and budget.price_of(last)):
            under = f"under a limit of ${most:.2f}, which" if most else "without a limit, which"
            raise BadInput(
                f"run {status.run} works {under} is more than its "
                f"share ${limit:.2f} of --max-cost {max_cost:g}: say a higher one, or stop the "
                f"sweep first by `python -m launch sweep {status.sweep} --stop`"
            )


def cost(store: Store, sweep: Sweep, plan: Plan, left: Mapping[str, int], now: float) -> Cost:
    """Ask what the plan's providers rent, once for each kind of run.

    left: steps that each unfinished run has still to take, by its name.

    Raises:
        ProviderError: no machine is available for one of them.
        BadInput: the limits of the store leave less than that.
    """
    kinds: dict[Config, list[Member]] = {}
    for member in sweep.members:
        if member.run in left:
            kinds.setdefault(_kind(sweep.config(member)), []).append(member)
    total = Cost()
    room = math.inf
    for members in kinds.values():
        steps = max(left[each.run] for each in members)
        config = sweep.config(members[0])
        market = choose.ask(store, plan, config, max(1, steps), members[0].run)
        found = choose.within(plan, market, None, now)
        choose.must_fit(plan, found)
        if not found.choices:
            raise choose.nothing(plan, found)
        room = min(room, market.ledger.left(plan.limits)[0])
        best = found.ranked[0] if found.ranked else None
        hours, dollars = (best.hours, best.cost) if best else (0.0, 0.0)
        total = Cost(
            total.hours + hours * len(members), total.dollars + dollars * len(members),
            max(total.dearest, dollars), (*total.found, found),
            tuple(dict.fromkeys((*total.problems, *market.problems))),
        )  # fmt: skip
    if total.dollars > room:
        raise BadInput(
            f"the sweep would cost about ${total.dollars:.2f}, and the budgets of the store leave "
            f"${room:.2f}: raise --max-cost-month or --max-cost-store, or leave runs out"
        )
    return total


def must_fit(total: Cost, limit: float, max_cost: float, count: int) -> None:
    """BadInput if the sweep's limit is below the forecast. limit: each run's share of it."""
    if max_cost and (total.dollars > max_cost or total.dearest > limit):
        least = max(total.dollars, total.dearest * count)
        raise BadInput(
            f"--max-cost {max_cost:g} gives each of {count} runs ${limit:.2f}, and the dearest is "
            f"forecast at ${total.dearest:.2f}: say at least {math.ceil(100 * least) / 100:g}, or "
            "leave runs out"
        )


def _kind(config: Config) -> Config:
    """What decides of a configuration how long it trains: seeds and rates do not."""
    return replace(
        config, preset="", optimizer=Optimizer(), training=replace(config.training, seed=0)
    )


def refused_here(
    places: Sequence[Provider], sweep: Sweep, left: Collection[str], card: int | None
) -> list[str]:
    """A sentence for each unfinished run that this computer, if it is among the places, could not
    begin to train. left: the names of the unfinished ones. card: of this computer, None for any.

    Runs that differ in seeds and rates only are tried once.
    """
    kinds: dict[Config, list[Member]] = {}
    here = [place for place in places if isinstance(place, TrainsHere)]
    for member in sweep.members if here else ():
        if member.run in left:
            kinds.setdefault(_kind(sweep.config(member)), []).append(member)
    found = {}
    for place in here:
        told = place.refusals(list(kinds), card)
        for members, why in zip(kinds.values(), told, strict=True):
            found.update({member.run: (member, why) for member in members if why})
    return [_told(*found[each.run]) for each in sweep.members if each.run in found]


def _told(member: Member, why: str) -> str:
    said = " ".join(f"{key}={value}" for key, value in member.settings.items())
    return f"run {member.run} ({said}): {why}"


def with_limit(plan: Plan, limit: float) -> Plan:
    """The plan with a run's share as its limit; without one, as it is."""
    if not limit:
        return plan
    return replace(plan, limits=replace(plan.limits, max_cost=limit))
