"""What offers and estimate share: the training that is asked about, and who is asked."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mimir.errors import BadInput

if TYPE_CHECKING:
    from launch.contract.cloud import Cloud
    from launch.pricing.catalogue import Price
    from launch.pricing.forecast import Forecast, Measured
    from launch.pricing.market import Problem
    from launch.pricing.workload import Workload


def training_of(
    preset: str, settings: dict[str, object], data: str, rows: int
) -> tuple["Workload", list[str]]:
    """The training, and what to say of it."""
    from launch.pricing.workload import GUIDE_PAIRS, GUIDE_ROWS, Workload
    from mimir.config import load_preset
    from mimir.submission import prepare

    if rows < 0:
        raise BadInput(f"--rows is {rows}, but must be a number of peptides")
    if rows and data:
        raise BadInput("--rows stands for data that is not here: give one of --data and --rows")
    if rows:
        config, pairs = (
            load_preset(preset).with_settings(settings),
            rows * GUIDE_PAIRS // GUIDE_ROWS,
        )
        return Workload(config, rows, held_out=rows // 100, pairs=pairs), []
    job = prepare(preset, settings, data)
    sample = [f"the data is the shipped sample; the guide's full data set is --rows {GUIDE_ROWS}"]
    return Workload.of(job.config, job.data), [] if data else sample


def step_times(work: "Workload", store: str) -> tuple[dict[str, "Measured"], list[str]]:
    """Step times that were measured, by device, and what to say of them."""
    from launch.pricing import measured
    from mimir.errors import StoreError
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    try:
        return measured.find(work.config, opened, length=work.length), []
    except StoreError as error:
        why = f"what past runs measured is not known, for the store does not answer: {error}"
        return measured.find(work.config, length=work.length), [why]


def forecasts(
    work: "Workload", names: Sequence[str], measured: Mapping[str, "Measured"]
) -> tuple[list["Forecast"], list[str]]:
    """The forecast for each of these GPUs that is known and can run it, and what to say of them.

    The notebook tells these too, so that nobody is told two different hours.
    """
    from launch.contract import image
    from launch.pricing.forecast import forecast, start_s

    starts = image.wanted("")
    refused = {name: why for name in names if (why := refusal(work, name))}
    found = (
        forecast(work, name, measured, start_s=start_s(starts), compiled=starts.compiles)
        for name in names
        if name not in refused
    )
    notes = [starts.note] if starts.note else []
    notes += [f"left out: {'; '.join(dict.fromkeys(refused.values()))}"] if refused else []
    return [each for each in found if each is not None], notes


def refusal(work: "Workload", name: str) -> str:
    """Why training would end on this GPU at its start; "" if it would not, or is not known."""
    from launch.pricing import gpus, kernels

    card = gpus.get(name)
    return kernels.refusal(work.config, card) if card is not None else ""


def clouds(words: str) -> tuple[list["Cloud"], list["Cloud"]]:
    """Those that are named, or else all that rent: with a key here, and without one."""
    from launch.providers import registry

    named = registry.several(words) if words else registry.renting()
    found = [registry.rented(name).cloud for name in named]
    return [c for c in found if c.configured()], [c for c in found if not c.configured()]


def listed_prices(clouds: Sequence["Cloud"]) -> tuple[list["Price"], list[str]]:
    """What a public catalogue says of these services' prices, and what to say of it."""
    from launch.pricing import catalogue

    found, problem = catalogue.prices(
        {c.catalogue_name: c.name for c in clouds if c.catalogue_name}
    )
    return found, [problem] if problem else []


def tell(problems: Sequence["Problem"], notes: Sequence[str]) -> None:
    """What went wrong, and what else there is to say, for people."""
    from launch.ui.terminal import say

    for problem in problems:
        say(f"{problem.provider}: {problem.sentence}")
    for note in notes:
        say(note)
