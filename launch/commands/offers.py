"""offers: what the providers would rent now, by what a training would cost there."""

import json as json_text
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launch.commands import options
from launch.commands.training import (
    clouds,
    forecasts,
    listed_prices,
    step_times,
    tell,
    training_of,
)
from mimir.errors import BadInput
from mimir.text import alternatives

if TYPE_CHECKING:
    from launch.contract.cloud import Cloud
    from launch.contract.offer import Need
    from launch.pricing.catalogue import Price


def offers(
    preset: str = "small",
    *,
    gpu: str = "",
    max_price: float = 0.0,
    provider: str = "",
    spot: bool = False,
    hosts: str = "",
    region: str = "",
    min_reliability: float = 0.95,
    min_download: float = 100.0,
    min_upload: float = 0.0,
    data: str = "",
    rows: int = 0,
    store: str = "",
    json: bool = False,
    **settings: object,
) -> int:
    """Show machines that can be rented now, cheapest for the whole preset first.

    Asked are all providers that have a key here. Nothing is rented.

    Args:
        preset: smoke, small, medium, large, or a YAML file of your own.
        gpu: only these, with commas between: 4090,h100 (default: any that is large enough).
        max_price: only machines up to this price, $/h; 0: no limit.
        provider: only these, with commas between (default: all that have a key here).
        spot: machines that may be taken away, too; what that costs in hours is added.
        hosts: whose machines to rent: datacenter (data centres that the service vouches for; for
            data that is not public), verified (hosts that the service has verified), any
            (default: RunPod's two clouds, Vast.ai's verified hosts; docs/concepts/trust.md).
        region: where machines may be, by the services' names, countries' codes, or eu; several as
            A,B (default: anywhere).
        min_reliability: least share of time, 0 to 1, that a host was there, where that is told
            (Vast.ai).
        min_download: least Mbit/s of a host's line down, where that is told.
        min_upload: least Mbit/s of its line up, where that is told; 0: any.
        data: a CSV (sequence,label,target) or a packed data set (default: the shipped sample).
        rows: instead of data, so many training peptides like those of the training guide
            (default: the data's).
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory); step
            times that past runs measured count before those of the model.
        json: print JSON.
        settings: any setting of the preset, such as --batch 64 or --epochs 2.

    Example:
        python -m launch offers --preset large --rows 1003470 --max-price 1.5
        python -m launch offers --gpu 4090,a100 --provider vastai --spot
    """
    from launch.contract import image
    from launch.contract.offer import Hosts, Need
    from launch.pricing import gpus, market
    from launch.pricing.forecast import ROOM, need_gb
    from launch.ui import offers as tables
    from mimir.submission import default_store

    if not 0 <= max_price < float("inf"):
        raise BadInput(f"--max-price is {max_price:g}, but must be 0 (no limit) or more")
    wanted = gpus.matching(gpu)
    asked, without_key = clouds(provider)
    options.check_settings(settings, offers)
    said_of_hosts = options.hosts_of(hosts, region, min_reliability, min_download, min_upload)
    chosen = Hosts(**said_of_hosts)  # type: ignore[arg-type]  # by name
    work, notes = training_of(preset, settings, data, rows)
    if work.config.runtime.device == "cpu":
        raise BadInput("--device cpu trains on no GPU, and offers are of GPUs: leave it out")
    starts = image.wanted("")
    need = Need(
        need_gb(work) / ROOM, wanted, spot=spot, hosts=chosen, upload_gb=work.upload_gb,
        cuda=starts.cuda, store=store or default_store(),
    )  # fmt: skip
    unchecked = market.check_regions(asked, chosen.regions)
    notes += [each for each in (starts.note, unchecked) if each]
    measured, said = step_times(work, store)
    notes += said
    found, problems = market.collect(asked, need)
    most = max_price or float("inf")
    affordable, dear = market.affordable(found, most)
    ranked, left = market.judge(affordable, work, measured, image=starts)
    left += dear
    listed, said = _catalogue(without_key, need, most)
    known, more = forecasts(work, [price.gpu for price in listed], measured)
    notes += [each for each in (*said, *more) if each not in notes]
    by_name = {what.gpu: what for what in known}
    lines = [tables.Line(by_name[p.gpu], p) for p in listed if p.gpu in by_name]
    if not asked and not listed:
        raise BadInput(_no_key(without_key))
    if json:
        body = tables.offers_json(work, ranked, left, lines, problems, notes)
        print(json_text.dumps(body, indent=2))
    else:
        print(tables.offers_text(work, ranked, left, lines))
        tell(problems, notes)
    return problems[0].exit_code if asked and len(problems) == len(asked) else 0


def _no_key(clouds: Sequence["Cloud"]) -> str:
    names = ", ".join(cloud.name for cloud in clouds)
    variables = alternatives(cloud.key_variable for cloud in clouds)
    return (
        f"there is no key here for {names}: set {variables} to see offers, or look at "
        "`python -m launch estimate`"
    )


def _catalogue(
    clouds: Sequence["Cloud"], need: "Need", most: float
) -> tuple[list["Price"], list[str]]:
    from launch.pricing import gpus

    listed, said = listed_prices(clouds)
    kept = [
        price
        for price in listed
        if price.price <= most
        and (not need.gpus or price.gpu in need.gpus)
        and gpus.find(price.gpu).memory_gb >= need.memory_gb
    ]
    return kept, said
