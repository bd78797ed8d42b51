"""What is going to be ordered, shown before money is spent, and the user's word for it."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from launch.contract import deadlines
from launch.contract.provider import Caps, Provider
from launch.pricing import storage
from launch.providers import registry
from launch.provision import kept_plan
from launch.provision.choice import Choice
from launch.provision.choose import Found
from launch.ui import enforcement, no_effect
from mimir.console import WARN, Styled, styled
from mimir.errors import BadInput
from mimir.runs.order import Plan
from mimir.runs.s3_url import parse_url
from mimir.submission import Job

if TYPE_CHECKING:
    from launch.pricing.market import Ranked

SPARE = 2.0
"""A rented run without a limit of its own may cost so many times its forecast."""
LEAST = 0.50
"""Dollars that such a run may cost at least."""
OFFERS_SHOWN = 5
"""Offers that are shown."""


def limited(plan: Plan, preferred: Sequence["Ranked"], spent: float = 0.0) -> Plan:
    """The plan, with a limit of the cost if it rents and has neither that nor one of hours.

    preferred: what it would rent, best first. spent: dollars that the run has cost already.
    """
    limits = plan.limits
    if not preferred or limits.max_cost or limits.max_hours:
        return plan
    most = round(spent + max(LEAST, SPARE * preferred[0].cost), 2)
    return replace(plan, limits=replace(limits, max_cost=most))


def kept_gb(job: Job) -> float:
    """GB of the store that the run keeps at its end."""
    from launch.pricing.workload import Workload  # with numpy

    work = Workload.of_steps(job.config, job.steps)
    return storage.planned_gb(work, job.data.stat().st_size)


def hosts(providers: Sequence[Provider], plan: Plan) -> list[str]:
    """Whose machines the plan takes: a line for each provider that rents, and the regions."""
    kind = plan.hosts.kind
    lines = [
        f"{each.name}: {each.caps.whose(kind)}"
        for each in providers
        if each.caps.whose(kind) and (each.caps.remote or kind)
    ]
    held = [each.name for each in providers if each.caps.paid]
    if not plan.hosts.regions or not held:
        return lines
    whose = "" if len(held) == len(providers) else f"{', '.join(held)}: "
    return [*lines, f"{whose}in {', '.join(plan.hosts.regions)} only"]


def rows(
    job: Job, name: str, store: str, plan: Plan, found: Found, now: float,
    providers: Sequence[Provider] = (),
) -> list[tuple[str, str]]:  # fmt: skip
    """(what, value) for each line of the plan."""
    training = job.config.training
    lines = [
        ("run", name),
        ("preset", job.config.preset),
        ("data", f"{job.peptides:,} peptides"),
        ("steps", f"{job.steps:,} ({training.epochs} epochs in batches of {training.batch})"),
        *([("", _expected(job))] if job.expected_end else []),
        ("", job.mix),
        ("store", store),
        ("storage", f"about {storage.text(store, kept_gb(job))} when it is done"),
        ("provider", ", ".join(plan.providers)),
        *([("device", f"cuda:{plan.card}")] if plan.card is not None else []),
        *(("hosts", text) for text in hosts(providers, plan)),
    ]
    for n, ranked in enumerate(found.ranked[:OFFERS_SHOWN]):
        offer = ranked.offer
        kind = " spot" if offer.spot else ""
        where = " ".join(filter(None, (offer.kind, offer.region)))
        lines.append(
            (
                "offer" if n == 0 else "",
                f"{offer.provider} {offer.gpu}{kind} {where}, ${offer.price:.3f}/h, "
                f"about {ranked.hours:.1f} h, ${ranked.cost:.2f} ({ranked.forecast.source})"
                + _shorter(job, ranked),
            )
        )
    taken = next((each for each in found.ranked[:OFFERS_SHOWN] if each.evictions), None)
    if taken is not None and taken.evictions is not None:
        where = (
            "the first offer" if taken is found.ranked[0] else f"the offer at {taken.offer.place}"
        )
        lines.append(("evictions", f"{where}: {taken.evictions.words(taken.offer.price)}"))
    lines += [("egress", text) for text in egress(job, store, found)]
    lines += [("limit", text) for text in _limits(plan)]
    choice = found.choices[0] if found.choices else None
    if choice is not None and choice.deadline:
        lines.append(("deadline", _deadline(choice, now)))
    lines += [("idle", text) for text in idle(found)]
    ended = enforcement.lines([registry.get(each) for each in plan.providers])
    return [*lines, *(("ended" if n == 0 else "", text) for n, text in enumerate(ended))]


def _deadline(choice: Choice, now: float) -> str:
    """When the first machine must have ended, and what it costs where its own way fails then."""
    when = f"{(choice.deadline - now) / 3600:.1f} h after the order"
    if choice.offer is None or not choice.offer.price:
        return when
    more = deadlines.WATCH_OVERTIME / 3600 * choice.offer.price
    return (
        f"{when}; a machine that does not end there by itself costs ${more:.2f} more, where its "
        f"service or a computer of yours ends it {deadlines.WATCH_OVERTIME / 60:.0f} min later"
    )


def idle(found: Found) -> list[str]:
    """What the first offer's machine costs after its run's end while no computer of yours watches;
    nothing where it ends itself."""
    offer = found.ranked[0].offer if found.ranked else None
    caps = registry.get(offer.provider).caps if offer else None
    if offer is None or caps is None or not caps.paid or caps.ends_itself or not offer.price:
        return []
    if caps.shuts_down is None:
        return [
            f"${offer.price:.2f} for each hour from the run's end until a computer of yours ends "
            "the machine"
        ]
    most = caps.shuts_down.idle / 3600 * offer.price
    return [
        f"${most:.2f} at most, where the machine is left on after the run's end because its "
        f"service deletes it soon; else it shuts itself down: {caps.shuts_down.paid}"
    ]


def egress(job: Job, store: str, found: Found) -> list[str]:
    """What the first offer's price holds for checkpoints on their way to the store, and what would
    cost less; nothing where that is free."""
    first = found.ranked[0] if found.ranked else None
    if first is None or not first.offer.egress:
        return []
    from launch.pricing.workload import Workload  # with numpy

    gb = Workload.of_steps(job.config, job.steps).upload_gb
    bucket = parse_url(store).region if store.startswith("s3://") else ""
    apart = f" from {first.offer.region} to a bucket in {bucket}" if bucket else ""
    hint = registry.get(first.offer.provider).caps.egress
    an_hour = first.offer.egress
    return [
        f"${an_hour:.3f}/h of the first offer, ${an_hour * first.hours:.2f} in all, for "
        f"checkpoints: {gb:.1f} GB/h{apart}",
        *([hint] if hint else []),
    ]


def _expected(job: Job) -> str:
    from mimir.data.mix import VISITS

    return (
        f"at most; early stopping is expected to end the run at step {job.expected_end:,} or so "
        f"(a guess: each pair seen {VISITS:g} times, as in three runs in docs/lab.md); hours, "
        "cost and limits are of all steps"
    )


def _shorter(job: Job, ranked: "Ranked") -> str:
    """Hours and dollars if early stopping ends the run where it is expected to, for people."""
    hours = _expected_hours(job, ranked)
    if hours is None:
        return ""
    return f"; expected {hours:.1f} h, ${ranked.offer.price * hours:.2f}"


def _expected_hours(job: Job, ranked: "Ranked") -> float | None:
    return replace(ranked.forecast, expected_end=job.expected_end).expected_hours


UNCUT = (
    "note: with your own keys a machine can write all that they reach, in other runs too, and the "
    "records by which `launch` orders, pays and ends machines. Only this computer goes on with the "
    "run by itself, under the plan that it keeps. Look at the bill at the service, and use keys "
    "that reach nothing else"
)


def warnings(
    providers: Sequence[Provider], plan: Plan, *, store: str = "", given: Collection[str] = (),
    found: Sequence[Found] = (),
) -> list[Styled]:  # fmt: skip
    """What the user must know of these providers before they order.

    given: options that were said. found: what may be ordered, where that is known.
    """
    priced = no_effect.priced(found) if found else None
    told = [
        *([UNCUT] if kept_plan.is_needed(plan, providers) else []),
        *no_effect.lines(providers, plan, store=store, given=given, priced=priced),
        *(
            f"note: a machine of {provider.name} {_left_alone(provider.caps)}"
            for provider in providers
            if provider.caps.paid and not provider.caps.ends_itself
        ),
    ]
    return [styled(line, WARN) for line in told]


def _left_alone(caps: Caps) -> str:
    """What becomes of a machine that does not end itself, if its run ends and nobody watches."""
    if caps.shuts_down is not None:
        return (
            "shuts itself down if its run ends while no computer of yours watches: "
            f"{caps.shuts_down.paid}"
        )
    return (
        "cannot end itself, and shutting it down does not end the bill: a run that ends while no "
        "computer of yours watches is paid until then"
    )


def unwatched(providers: Sequence[Provider], timed: bool) -> list[str]:
    """What to say where no computer is known to look after the run once `submit` has left.

    timed: a timer of this computer runs `watch --once`.
    """
    names = ", ".join(each.name for each in providers if each.caps.paid)
    if timed or not names:
        return []
    return [
        f"note: nothing is known to watch a machine of {names} once this command has ended: say "
        "--watch, keep `python -m launch watch` running, or install a timer by `python -m launch "
        "watch --install`"
    ]


def as_json(job: Job, name: str, store: str, plan: Plan, found: Found) -> dict[str, Any]:
    return {
        "run": name,
        "preset": job.config.preset,
        "peptides": job.peptides,
        "steps": job.steps,
        "expected_end": job.expected_end,
        "pairs": job.pairs,
        "pairs_in_batch": job.pairs_in_batch,
        "store": store,
        "provider": ",".join(plan.providers),
        "storage_gb": round(kept_gb(job), 4),
        "limits": plan.limits.as_json(),
        "hosts": plan.hosts.as_json(),
        "offers": [
            {
                **r.offer.as_json(),
                "hours": r.hours,
                "cost": r.cost,
                "source": r.forecast.source,
                "expected_hours": _expected_hours(job, r),
                "evictions": r.evictions.as_json(r.offer.price) if r.evictions else None,
            }
            for r in found.ranked
        ],
        "idle": idle(found),
        "ended_by": enforcement.lines([registry.get(each) for each in plan.providers]),
        "problems": list(found.market.problems),
        "left_out": [{"count": count, "why": why} for count, why in found.market.left],
        "config": job.config.as_dict(),
    }


def agree(
    providers: Sequence[Provider], found: Found | None = None, *, yes: bool,
    what: str = "a machine",
) -> None:  # fmt: skip
    """Ask before money is spent; BadInput unless the answer is yes.

    found: what may be ordered, for providers that cost some accounts money and others none. what:
    is going to be ordered there.
    """
    priced = {each.offer.provider for each in (found.choices if found else ()) if each.offer
              and each.offer.price}  # fmt: skip
    paid = [each.name for each in providers if each.caps.paid or each.name in priced]
    if yes or not paid:
        return
    names = ", ".join(paid)
    if not sys.stdin.isatty():
        raise BadInput(f"{what} of {names} costs money: say --yes to order it")
    print(f"Order {what} of {names}, which costs money? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was ordered")


def agree_to_delete(what: str, *, yes: bool) -> None:
    """Ask before something is deleted; BadInput unless the answer is yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{what} would be deleted: say --yes")
    print(f"Delete {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was deleted")


def end_or_leave(machine: str) -> bool:
    """Whether the user, who pressed Ctrl-C, wants the machine ended. False without a terminal,
    and for any other answer than yes."""
    if not sys.stdin.isatty():
        return False
    print(f"\nEnd the machine ({machine})? Else it is left, and goes on. [y/N] ", end="",
          file=sys.stderr)  # fmt: skip
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return False


def _limits(plan: Plan) -> list[str]:
    limits, said = plan.limits, []
    if limits.max_hours:
        said.append(f"{limits.max_hours:g} h")
    if limits.max_cost:
        said.append(f"${limits.max_cost:.2f}")
    lines = [f"${limits.max_price:g}/h for a machine"] if limits.max_price else []
    if said:
        lines.append(", ".join(said) + " over all attempts")
    if limits.max_cost_month:
        lines.append(f"${limits.max_cost_month:.2f} a month for all runs of the store")
    if limits.max_cost_store:
        lines.append(f"${limits.max_cost_store:.2f} for all runs of the store")
    return lines
