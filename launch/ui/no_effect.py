"""Which options change nothing at a provider, so that nobody relies on one that is not heard.

Each option of `submit`, `resume` and `sweep` stands here: it has an effect at every provider
(EVERYWHERE), it is refused where it has none (REFUSED), or a rule says why it has none (RULES).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from launch.contract.provider import Metered, Provider
from launch.provision.choose import Found
from mimir.cli import as_option
from mimir.runs.hosts import Hosts
from mimir.runs.order import Limits, Plan

EVERYWHERE = frozenset((
    "preset", "name", "provider", "store", "data", "init_from", "continue_from", "label",
    "settings", "max_hours", "max_sessions", "watch", "notify", "dry_run", "json", "csv",
    "yes", "take_over",  # consent, which may be more than is needed
    "device",  # cuda:1 is refused where a machine has one card
    "grid", "random", "file", "at_once", "per_job", "resume", "stop", "remove",
))  # fmt: skip
REFUSED = frozenset(("gpu", "image", "slurm", "notify_from_machine"))
"""Options that `launch.commands.options` refuses, or the provider itself."""


@dataclass(frozen=True)
class At:
    """Where an option is judged. priced: names of providers whose machines cost this account money,
    None if that is not known yet."""

    place: Provider
    store: str
    priced: Collection[str] | None


def _of_hosts(at: At) -> str:
    caps = at.place.caps
    if not caps.remote:
        return "rents no machines"
    return "" if len(caps.hosts) > 1 else f"has one kind of host ({caps.whose('')})"


def _of_region(at: At) -> str:
    caps = at.place.caps
    if caps.paid:
        return ""
    return "tells nobody where its machines are" if caps.remote else "rents no machines"


def _of_lines(at: At) -> str:
    caps = at.place.caps
    if caps.rates_hosts:
        return ""
    if not caps.remote:
        return "rents no machines"
    return "does not tell how reliable its hosts are nor how fast their lines"


def _of_money(at: At) -> str:
    if at.place.caps.paid:
        return ""
    if not isinstance(at.place, Metered):
        return "has no prices"
    free = at.priced is not None and at.place.name not in at.priced
    return "costs this account nothing" if free else ""


def _of_spot(at: At) -> str:
    return "" if at.place.caps.spot else "has no spot machines"


def _of_further_machines(at: At) -> str:
    caps = at.place.caps
    return "" if caps.remote or caps.queues else "gets no second machine by itself"


def _of_keys(at: At) -> str:
    return "" if at.store.startswith("s3://") else f"needs no keys to {at.store or 'a folder'}"


RULES: dict[str, Callable[[At], str]] = {
    "spot": _of_spot, "hosts": _of_hosts, "region": _of_region,
    "min_reliability": _of_lines, "min_download": _of_lines, "min_upload": _of_lines,
    "max_price": _of_money, "max_cost": _of_money,
    "max_cost_month": _of_money, "max_cost_store": _of_money,
    "max_failures": _of_further_machines,
    "role": _of_keys, "static_keys": _of_keys,
}  # fmt: skip
"""Why an option changes nothing there, "" if it does, in the order in which options are named."""


def asked(plan: Plan) -> set[str]:
    """Options whose values a plan holds, said now or last time; those are left out that may come
    from the environment or from a provider."""
    hosts, usual, limits = plan.hosts, Hosts(), plan.limits
    values = {
        "spot": plan.spot, "hosts": hosts.kind, "region": hosts.regions,
        "min_reliability": hosts.reliability != usual.reliability,
        "min_download": hosts.download != usual.download,
        "min_upload": hosts.upload != usual.upload,
        "max_price": limits.max_price, "max_cost": limits.max_cost,
        "max_failures": limits.max_failures != Limits().max_failures,
        "role": plan.keys.role, "static_keys": plan.keys.static,
    }  # fmt: skip
    return {name for name, value in values.items() if value}


def priced(found: Iterable[Found]) -> set[str]:
    """Names of providers that offered something at a price."""
    return {
        offer.provider
        for each in found
        for offer in (*(c.offer for c in each.choices), *(r.offer for r in each.market.ranked))
        if offer is not None and offer.price
    }


def lines(
    places: Sequence[Provider], plan: Plan, *, store: str = "", given: Collection[str] = (),
    priced: Collection[str] | None = None,
) -> list[str]:  # fmt: skip
    """A note for each provider and reason, naming the options that change nothing there.

    given: parameters of the command that were said, beside those that the plan holds.
    """
    wanted = asked(plan) | set(given)
    found = []
    for place in places:
        at, why = At(place, store, priced), dict[str, list[str]]()
        for name, rule in RULES.items():
            if name in wanted and (reason := rule(at)):
                why.setdefault(reason, []).append(as_option(name))
        for reason, options in why.items():
            *first, last = options
            named = f"{', '.join(first)} and {last} change" if first else f"{last} changes"
            found.append(f"note: {place.name} {reason}: {named} nothing there")
    return found
