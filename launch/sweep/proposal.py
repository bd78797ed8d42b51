"""What a sweep is going to order, shown before money is spent."""

from collections.abc import Mapping, Sequence
from typing import Any

from launch.contract.provider import Provider, TakesOptions
from launch.pricing import gpus, storage
from launch.provision.choose import Found
from launch.sweep.plan import Cost, lanes, queues
from launch.ui import confirm, enforcement
from mimir.data.opened import Data
from mimir.runs.order import Plan
from mimir.runs.store import Store
from mimir.runs.sweep import Sweep

SHOWN = 8
"""Values of a setting that are shown."""


def rows(
    store: Store, sweep: Sweep, data: Data | None, plan: Plan, places: Sequence[Provider],
    total: Cost, at_once: int, max_cost: float, limit: float, left: int, per_job: int = 1,
) -> list[tuple[str, str]]:  # fmt: skip
    """(what, value) for each line. limit: of each run, $; left: runs that are not finished."""
    count = len(sweep.members)
    lines = [("sweep", f"{sweep.name}, {count} runs" + (f", {left} to do" if left < count else ""))]
    for name in sweep.differing():
        values = list(dict.fromkeys(str(sweep.values(each)[name]) for each in sweep.members))
        more = f", … ({len(values)} in all)" if len(values) > SHOWN else ""
        lines.append((name, ", ".join(values[:SHOWN]) + more))
    steps = sorted({member.steps for member in sweep.members})
    span = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    lines += [
        ("presets", ", ".join(sweep.bases)),
        ("steps", f"{span} each"),
        *([("data", f"{len(data.peptides):,} peptides")] if data else []),
        ("store", store.url),
        *([("storage", f"about {storage.text(store.url, gb(sweep, data))} when all are done")]
          if data else []),
        ("provider", ", ".join(plan.providers)),
        ("at once", _at_once(places, at_once, count, per_job)),
        *([("jobs", _jobs(count, per_job))] if per_job > 1 else []),
        *(("hosts", text) for text in confirm.hosts(places, plan)),
    ]  # fmt: skip
    lines += _money(total, places, at_once, max_cost, limit, left)
    ended = enforcement.lines(places)
    return [*lines, *(("ended" if n == 0 else "", text) for n, text in enumerate(ended))]


def _at_once(places: Sequence[Provider], at_once: int, count: int, per_job: int) -> str:
    if not queues(places):
        return f"{at_once} of them"
    number = lanes(count, at_once, per_job)
    if not number:
        return "all: they wait in its queue"
    one = "lane" if number == 1 else "lanes"
    most = number * per_job
    return f"{most} of them: all wait in its queue, in {number} {one}, one behind the other"


def _jobs(count: int, per_job: int) -> str:
    jobs = -(-count // per_job)
    return f"{jobs}, each with up to {per_job} runs side by side on its one GPU"


def shared(
    sweep: Sweep, plan: Plan, places: Sequence[Provider], left: Mapping[str, int], per_job: int
) -> list[str]:
    """What the user must know of runs that share a job: hours, and the GPU's memory."""
    if per_job == 1 or len(left) < 2:
        return []
    from launch.pricing import forecast
    from launch.pricing.workload import Workload  # with numpy

    told = [
        f"note: {per_job} runs share a GPU. Each takes longer than alone, by a factor that nobody "
        "has measured: give --time and --max-hours room for it; a job that meets its time limit "
        "goes on by itself"
    ]
    needs = {
        member.run: forecast.need_gb(Workload.of_steps(sweep.config(member), member.steps))
        for member in sweep.members
    }
    names = [member.run for member in sweep.members]
    jobs = [names[n : n + per_job] for n in range(0, len(names), per_job)]
    most = max(sum(needs[run] for run in job if run in left) for job in jobs)
    named = [each.gpu_of(plan.options) for each in places if isinstance(each, TakesOptions)]
    gpu = gpus.get(named[0]) if named else None
    if gpu is None:
        told.append(
            f"note: they need about {most:.1f} GB of GPU memory together. How much the job's GPU "
            "has is not known here (--gres=gpu:NAME:1 would tell)"
        )
    elif most > gpu.memory_gb * forecast.ROOM:
        told.append(
            f"warning: they need about {most:.1f} GB of GPU memory together, and {gpu.name} has "
            f"{gpu.memory_gb:g} GB: workers would fail for want of memory; lower --per-job"
        )
    return told


def _money(
    total: Cost, places: Sequence[Provider], at_once: int, max_cost: float, limit: float, left: int
) -> list[tuple[str, str]]:
    lines = []
    ranked = [found.ranked[0] for found in total.found if found.ranked]
    for n, best in enumerate(ranked[: confirm.OFFERS_SHOWN]):
        offer = best.offer
        lines.append(
            ("offer" if n == 0 else "",
             f"{offer.provider} {offer.gpu}, ${offer.price:.3f}/h, about {best.hours:.1f} h and "
             f"${best.cost:.2f} a run ({best.forecast.source})")
        )  # fmt: skip
    if ranked:
        lines.append(
            ("in all", f"about {total.hours:.1f} h of machines, {total.hours / at_once:.1f} h at "
             f"{at_once} a time, ${total.dollars:.2f}")
        )  # fmt: skip
    elif not any(place.caps.paid for place in places):
        lines.append(
            ("in all", "costs nothing; `python -m mimir preflight` measures a run's hours")
        )
    if max_cost:
        lines.append(("limit", f"${max_cost:.2f} for all, ${limit:.2f} for each of {left} runs"))
    elif ranked:
        most = f"{confirm.SPARE:g} times its forecast"
        lines.append(("limit", f"each run {most}, at least ${confirm.LEAST:.2f}; none for all"))
    return lines


def gb(sweep: Sweep, data: Data) -> float:
    """GB of the store that the sweep keeps at its end."""
    from launch.pricing.workload import Workload  # with numpy

    once = data.packed.stat().st_size
    own = [
        storage.planned_gb(Workload.of_steps(sweep.config(member), member.steps), 0)
        for member in sweep.members
    ]
    return sum(own) + once / 1e9


def notes(places: Sequence[Provider], at_once: int, count: int) -> list[str]:
    """What the user must know of who begins the next runs."""
    if at_once >= count or queues(places):
        return []
    if all(each.caps.remote for each in places):
        return [
            "note: this command begins the next runs as others end, and so does `watch`. With both "
            "ended, or this computer off, runs that have begun go on, and the next ones are not "
            "begun until one of them runs again"
        ]
    return [
        "note: this command begins the next runs as others end. With it ended, runs that have "
        "begun go on, and the next ones are not begun until `sweep --resume`"
    ]


def as_json(
    store: Store, sweep: Sweep, plan: Plan, total: Cost, at_once: int, max_cost: float,
    limit: float, per_job: int = 1,
) -> dict[str, Any]:  # fmt: skip
    return {
        "sweep": sweep.name, "store": store.url, "provider": ",".join(plan.providers),
        "at_once": at_once, "per_job": per_job, "max_cost": max_cost, "run_max_cost": limit,
        "hours": total.hours, "dollars": total.dollars, "problems": list(total.problems),
        "limits": plan.limits.as_json(), "hosts": plan.hosts.as_json(),
        "runs": [
            {"run": member.run, "settings": sweep.values(member), "steps": member.steps}
            for member in sweep.members
        ],
    }  # fmt: skip


def first(total: Cost) -> Found | None:
    """What may be ordered, for the question whether it costs money."""
    return total.found[0] if total.found else None
