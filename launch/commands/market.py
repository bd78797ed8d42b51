"""offers and estimate: what there is to rent, and what a training would take on it."""

import inspect
import json as json_text
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mimir.errors import BadInput
from mimir.text import nearest

if TYPE_CHECKING:
    from launch.contract.cloud import Cloud
    from launch.contract.offer import Need, Offer
    from launch.pricing.catalogue import Price
    from launch.pricing.forecast import Measured
    from launch.pricing.market import Problem
    from launch.pricing.workload import Workload


def offers(
    preset: str = "small",
    *,
    gpu: str = "",
    max_price: float = 0.0,
    provider: str = "",
    spot: bool = False,
    data: str = "",
    rows: int = 0,
    store: str = "",
    json: bool = False,
    **settings: object,
) -> int:
    """What the providers would rent now, by what the preset would cost there.

    Asked are all providers that have a key here. Nothing is rented.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        gpu: only these, with commas between: 4090,h100 (default: any that is large enough).
        max_price: only machines up to this price, $/h; 0: no limit.
        provider: only these, with commas between (default: all that have a key here).
        spot: machines that may be taken away, too; what that costs in hours is added.
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        rows: instead of data, so many training peptides like those of the training guide.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory); step
            times that past runs measured count before those of the model.
        json: print JSON.
        settings: any setting of the preset, such as --batch 64 or --epochs 2.

    Example:
        python -m launch offers --preset large --rows 1003470 --max-price 1.5
        python -m launch offers --gpu 4090,a100 --provider vastai --spot
    """
    from launch.contract.offer import Need
    from launch.pricing import gpus
    from launch.pricing import market as market
    from launch.pricing.forecast import ROOM, need_gb
    from launch.ui import offers as tables

    if not 0 <= max_price < float("inf"):
        raise BadInput(f"max-price is {max_price}, but must be 0 (no limit) or more")
    wanted = gpus.matching(gpu)
    clouds, without_key = _clouds(provider)
    _check_settings(settings, offers)
    work, notes = _work(preset, settings, data, rows)
    need = Need(
        memory_gb=need_gb(work) / ROOM, gpus=wanted, max_price=max_price or float("inf"), spot=spot
    )
    measured, said = _measured(work, store)
    notes += said
    found, problems = market.collect(clouds, need)
    ranked, left = market.judge(found, work, measured)
    listed, said = _catalogue(without_key, need)
    notes += said
    if not clouds and not listed:
        raise BadInput(_no_key(without_key))
    if json:
        _print(tables.offers_json(work, ranked, left, listed, problems, notes))
    else:
        print(tables.offers_text(work, ranked, left, listed))
        _tell(problems, notes)
    return problems[0].exit_code if clouds and len(problems) == len(clouds) else 0


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
    of the store), else a model's, which may be off by a factor of two; the last column says
    which. Prices are the lowest that the providers with a key here ask now.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        gpu: only these, with commas between: t4,a100 (default: those that are common).
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        rows: instead of data, so many training peptides like those of the training guide.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print JSON.
        settings: any setting of the preset, such as --batch 64 or --epochs 2.

    Example:
        python -m launch estimate --preset large --rows 1003470
        python -m launch estimate --preset medium --gpu t4,l4 --json
    """
    from launch.pricing import gpus
    from launch.pricing.forecast import forecast
    from launch.providers.colab import sessions
    from launch.ui import offers as tables

    wanted = gpus.matching(gpu)
    _check_settings(settings, estimate)
    work, notes = _work(preset, settings, data, rows)
    measured, said = _measured(work, store)
    notes += said
    names = wanted or (*sessions.COMMON, *(d for d in measured if d not in sessions.COMMON))
    prices, problems, said = _prices(names)
    notes += said
    lines = [
        tables.Line(what, prices.get(what.gpu))
        for what in (forecast(work, name, measured) for name in names)
        if what is not None
    ]
    if json:
        _print({
            **tables.header(work), "gpus": [line.as_json() for line in lines],
            "problems": [problem.sentence for problem in problems], "notes": notes,
        })  # fmt: skip
    else:
        print(tables.estimate_text(work, lines))
        _tell(problems, notes)


def _check_settings(settings: Mapping[str, object], command: Callable[..., Any]) -> None:
    """As `submit` does: a preset's settings are options, and so are the command's own."""
    from mimir.config import SETTINGS

    own = [n for n, p in inspect.signature(command).parameters.items() if p.kind != p.VAR_KEYWORD]
    for name in settings:
        if name not in SETTINGS:
            known = [word.replace("_", "-") for word in (*own, *SETTINGS)]
            shown = name.replace("_", "-")
            raise BadInput(f"there is no option or setting --{shown}{nearest(shown, known, '--')}")


def _work(
    preset: str, settings: dict[str, object], data: str, rows: int
) -> tuple["Workload", list[str]]:
    """The training, and what to say of it."""
    from launch.pricing.workload import GUIDE_ROWS, Workload
    from mimir.config import load_preset
    from mimir.submission import prepare

    if rows < 0:
        raise BadInput(f"rows is {rows}, but must be a number of peptides")
    if rows and data:
        raise BadInput("--rows stands for data that is not here: give one of --data and --rows")
    if rows:
        return Workload(load_preset(preset).with_settings(settings), rows, held_out=rows // 100), []
    job = prepare(preset, settings, data)
    sample = [f"the data is the shipped sample; the guide's full data set is --rows {GUIDE_ROWS}"]
    return Workload.of(job.config, job.data), [] if data else sample


def _measured(work: "Workload", store: str) -> tuple[dict[str, "Measured"], list[str]]:
    from launch.pricing import measured
    from mimir.errors import StoreError
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    try:
        return measured.find(work.config, opened), []
    except StoreError as error:
        why = f"what past runs measured is not known, for the store does not answer: {error}"
        return measured.find(work.config), [why]


def _clouds(words: str) -> tuple[list["Cloud"], tuple[str, ...]]:
    """Those that are named, or else all with a key here; and the names of those without one."""
    from launch.providers import registry

    named = registry.several(words) if words else registry.CLOUDS
    clouds, without = [], []
    for name in named:
        cloud = getattr(registry.get(name), "cloud", None)
        if cloud is None:
            rent = ", ".join(registry.CLOUDS)
            raise BadInput(f"provider {name} rents nothing: name some of {rent}")
        if cloud.configured():
            clouds.append(cloud)
        else:
            without.append(name)
    return clouds, tuple(without)


def _no_key(names: Sequence[str]) -> str:
    return (
        f"there is no key here for {', '.join(names)}: set RUNPOD_API_KEY, VAST_API_KEY or "
        "LAMBDA_API_KEY to see offers, or look at `python -m launch estimate`"
    )


def _catalogue(providers: Sequence[str], need: "Need") -> tuple[list["Price"], list[str]]:
    from launch.pricing import catalogue, gpus

    listed, problem = catalogue.prices(providers)
    kept = [
        price
        for price in listed
        if price.price <= need.max_price
        and (not need.gpus or price.gpu in need.gpus)
        and gpus.find(price.gpu).memory_gb >= need.memory_gb
    ]
    return kept, [problem] if problem else []


def _prices(
    names: Sequence[str],
) -> tuple[dict[str, "Price"], list["Problem"], list[str]]:
    """The lowest price of each GPU on demand: as offered now, else as the catalogue lists it."""
    from launch.contract.offer import Need
    from launch.pricing import catalogue, gpus
    from launch.pricing import market as market
    from launch.pricing.catalogue import Price

    known = tuple(name for name in names if gpus.get(name) is not None)
    clouds, without = _clouds("")
    found, problems = market.collect(clouds, Need(gpus=known))
    listed, problem = catalogue.prices(without)
    prices = {price.gpu: price for price in listed}
    live: dict[str, Offer] = {}
    for offer in found:
        if not offer.spot and (offer.gpu not in live or offer.price < live[offer.gpu].price):
            live[offer.gpu] = offer
    prices |= {gpu: Price(gpu, o.price, o.provider, listed=False) for gpu, o in live.items()}
    return prices, problems, [problem] if problem else []


def _tell(problems: Sequence["Problem"], notes: Sequence[str]) -> None:
    from launch.ui.terminal import say

    for problem in problems:
        say(f"{problem.provider}: {problem.sentence}")
    for note in notes:
        say(note)


def _print(body: dict[str, Any]) -> None:
    print(json_text.dumps(body, indent=2))
