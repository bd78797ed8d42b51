"""estimate: how long a training would take on each kind of GPU, and what it would cost."""

import json as json_text
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.commands import options
from launch.commands.training import (
    clouds,
    forecasts,
    listed_prices,
    refusal,
    step_times,
    tell,
    training_of,
)
from mimir import console
from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.contract.offer import Offer
    from launch.pricing.catalogue import Price
    from launch.pricing.market import Problem
    from launch.pricing.workload import Workload
    from launch.ui.offers import Line


def estimate(
    preset: str = "small",
    *,
    gpu: str = "",
    data: str = "",
    rows: int = 0,
    store: str = "",
    json: bool = False,
    **settings: object,
) -> None:
    """How long a preset would train on each kind of GPU, and what that would cost.

    Step times are measured ones where there are any (Mimir's own in bench/results/, past runs
    of the store), else a model's, set right by the nearest card that was measured, which may still
    be off by a factor of two; the last column says which. Prices are the lowest that the providers
    with a key here ask now, else those that a public catalogue lists, with its date. TO PLATEAU is
    what it takes up to the step after which the preset hardly got better, where that was measured:
    for small and medium, not for large, with the preset's own settings on data like the guide's.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        gpu: only these, with commas between: t4,a100 (default: those that are common).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        rows: instead of data, so many training peptides like those of the training guide
            (default: the data's).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.
        settings: any setting of the preset, such as --batch 64 or --epochs 2.

    Example:
        python -m launch estimate --preset large --rows 1003470
        python -m launch estimate --preset medium --gpu t4,l4 --json
    """
    from launch.pricing import plateau
    from launch.ui import offers as tables

    options.check_settings(settings, estimate)
    work, lines, problems, notes = estimated(preset, settings, gpu, data, rows, store)
    if json:
        reached, why = plateau.of(work)
        body = {
            **tables.header(work), "gpus": [line.as_json() for line in lines],
            "plateau_source": reached.source if reached else "", "no_plateau": why,
            "problems": [problem.sentence for problem in problems], "notes": notes,
        }  # fmt: skip
        print(json_text.dumps(body, indent=2))
    else:
        print(tables.estimate_text(work, lines, console.width_of(sys.stdout)))
        tell(problems, notes)


def estimated(
    preset: str, settings: dict[str, object], gpu: str, data: str, rows: int, store: str
) -> tuple["Workload", list["Line"], list["Problem"], list[str]]:
    """The training, a line for each kind of GPU, services that did not answer, and notes. Words and
    BadInput as `estimate`."""
    from launch.pricing import gpus, plateau
    from launch.providers.colab import sessions
    from launch.ui.offers import Line

    wanted = gpus.matching(gpu)
    work, notes = training_of(preset, settings, data, rows)
    on_cpu = work.config.runtime.device == "cpu"
    if on_cpu and wanted:
        raise BadInput("--device cpu trains on no GPU: leave out --gpu, or --device")
    measured, said = step_times(work, store)
    notes += said
    names = wanted or (*sessions.COMMON, *(d for d in measured if d not in sessions.COMMON))
    if on_cpu:
        names = tuple(name for name in names if name.endswith(("thread)", "threads)")))
        if not names:
            raise BadInput(
                "how long a step takes on a CPU is not known before a run of it was trained on "
                "one: leave out --device to see GPUs"
            )
    what, said = forecasts(work, names, measured)
    notes += said
    prices, problems, said = _prices(names, work.upload_gb)
    notes += said
    reached, _ = plateau.of(work)
    return work, [Line(each, prices.get(each.gpu), reached) for each in what], problems, notes


def told(preset: str, settings: dict[str, object], data: str, store: str, gpu: str) -> str:
    """One sentence for the notebook: what `estimate` says of a training on the GPU that it has.

    Args:
        gpu: as its driver names it, with or without what follows a comma.
        data, store: as estimate has them.
    """
    from mimir.text import duration

    name = gpu.partition(",")[0].strip()
    work, _ = training_of(preset, settings, data, 0)
    found, _ = forecasts(work, [name], step_times(work, store)[0]) if name else ([], [])
    if why := refusal(work, name):
        return f"`estimate` leaves this GPU out: {why}"
    if not found:
        why = f"does not know the GPU {name!r}" if name else "is for GPUs, and there is none here"
        return f"`estimate` {why}: how long {work.steps:,} steps take is seen when they are taken"
    one = found[0]
    return (
        f"`estimate` says {duration(3600 * one.hours)} on {one.gpu}, of which "
        f"{duration(3600 * one.train_hours)} are {work.steps:,} steps of training ({one.source})"
    )


def _prices(
    names: Sequence[str], upload_gb: float
) -> tuple[dict[str, "Price"], list["Problem"], list[str]]:
    """The lowest price of each GPU on demand: as offered now, else as the catalogue lists it."""
    from launch.contract.offer import Need
    from launch.pricing import gpus, market
    from launch.pricing.catalogue import Price

    known = tuple(name for name in names if gpus.get(name) is not None)
    asked, without = clouds("")
    found, problems = market.collect(asked, Need(gpus=known, upload_gb=upload_gb))
    listed, said = listed_prices(without)
    prices = {price.gpu: price for price in listed}
    live: dict[str, Offer] = {}
    for offer in found:
        if not offer.spot and (offer.gpu not in live or offer.price < live[offer.gpu].price):
            live[offer.gpu] = offer
    prices |= {gpu: Price(gpu, o.price, o.provider, listed=False) for gpu, o in live.items()}
    return prices, problems, said
