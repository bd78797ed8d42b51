"""What all providers would rent, and which of it brings a run to its end most cheaply."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from launch.contract import regions
from launch.contract.cloud import Closes, Partial
from launch.contract.image import PUBLIC, Image
from launch.contract.offer import Need, Offer
from launch.pricing import evictions, gpus
from launch.pricing.budget import HOUR
from launch.pricing.evictions import Evictions, Places
from launch.pricing.forecast import Forecast, Measured, forecast, pessimistic, start_s
from launch.pricing.kernels import refusal
from launch.pricing.workload import Workload
from mimir.config import Config
from mimir.errors import BadInput, MimirError, StoreError
from mimir.runs.store import Store
from mimir.text import near, nearest

OFFERS_WITHIN = 45.0
"""Seconds that a provider has for its list: one that is down must not hold up the others."""
REASONS_SHOWN = 6
"""Reasons why offers are left out, in a sentence."""
REGIONS_SHOWN = 12
"""Names of regions in an error."""


class Seller(Protocol):
    """The part of a Cloud that is needed here."""

    @property
    def name(self) -> str: ...

    def offers(self, need: Need) -> list[Offer]: ...

    def regions(self) -> list[str]: ...


@dataclass(frozen=True)
class Problem:
    """Why a provider has no offers in the list."""

    provider: str
    sentence: str
    exit_code: int


@dataclass(frozen=True)
class Ranked:
    """An offer with what the run is expected to take there.

    hours: of the machine, from its order to the end of the run, with what evictions cost.
    cost: in dollars. known: whether the GPU is in the table or was measured; others come last.
    evictions: of a spot machine, None for others.
    """

    offer: Offer
    forecast: Forecast
    hours: float
    cost: float
    known: bool = True
    evictions: Evictions | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            **self.offer.as_json(), "hours": round(self.hours, 3), "cost": round(self.cost, 4),
            "step_ms": round(1e3 * self.forecast.step_s, 4), "source": self.forecast.source,
            "known": self.known,
            "evictions": self.evictions.as_json(self.offer.price) if self.evictions else None,
        }  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """An offer that cannot take the run, and why."""

    offer: Offer
    why: str


def collect(
    sellers: Sequence[Seller],
    need: Need,
    *,
    within: float = OFFERS_WITHIN,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Offer], list[Problem]]:
    """Ask all at once; a provider that fails costs a sentence and hides no other's offers."""
    answers: dict[str, list[Offer] | Problem] = {}
    threads = []
    for seller in sellers:
        # Daemons: one that hangs must not keep the program from its end.
        thread = threading.Thread(target=_ask, args=(seller, need, answers), daemon=True)
        thread.start()
        threads.append(thread)
    until = clock() + within
    for thread in threads:
        thread.join(max(0.0, until - clock()))
    offers: list[Offer] = []
    problems: list[Problem] = []
    for seller in sellers:
        late = Problem(seller.name, f"{seller.name} did not answer within {within:.0f} s", 75)
        answer = answers.get(seller.name, late)
        if isinstance(answer, Problem):
            problems.append(answer)
        else:
            offers += answer
            if isinstance(seller, Partial):
                problems += [Problem(seller.name, each, 75) for each in seller.left_out()]
    return offers, problems


def check_regions(sellers: Sequence[Seller], words: Sequence[str]) -> str:
    """Whether each word names a region somewhere; "", or a sentence if that cannot be told now.

    Raises:
        BadInput: with the nearest names, for a word that names none.
    """
    if not words or not sellers:
        return ""
    known: list[str] = []
    unasked: list[str] = []
    for seller in sellers:
        try:
            known += seller.regions()
        except MimirError as error:
            unasked.append(f"{seller.name}'s regions are not known now: {error}")
    strange = regions.unknown(words, known)
    if strange and not unasked:
        _must_be_open(sellers, strange[0])
        names = [part.lower() for name in known for part in (name, *_areas(name))]
        where = " or ".join(seller.name for seller in sellers)
        hint = nearest(strange[0], names) if near(strange[0], names) else _some(known)
        raise BadInput(f"there is no region {strange[0]!r} at {where}{hint}")
    return "; ".join(unasked)


def _must_be_open(sellers: Sequence[Seller], word: str) -> None:
    """BadInput with the command that opens the region, for one that an account must open first."""
    for seller in sellers:
        shut: Mapping[str, str] = {}
        with contextlib.suppress(MimirError):
            shut = seller.closed() if isinstance(seller, Closes) else {}
        for name, command in shut.items():
            if regions.within(name, (word,)):
                raise BadInput(f"region {name} of {seller.name} must be opened first: {command}")


def _areas(region: str) -> list[str]:
    """What a region's name begins with: "eu" and "eu-ro" of "EU-RO-1"."""
    parts = region.split("-")
    return ["-".join(parts[:n]) for n in range(1, len(parts))]


def _some(known: Sequence[str]) -> str:
    names = {name for name in known if len(name) > 2}
    if not names:
        return ": write a country's code, such as SE, or eu"
    return f"; known are {', '.join(sorted(names)[:REGIONS_SHOWN])}"


def rank(
    offers: Iterable[Offer],
    config: Config,
    steps: int,
    store: Store | None = None,
    image: Image = PUBLIC,
    had: Places | None = None,
) -> tuple[list[Ranked], list[LeftOut]]:
    """As `judge`, for so many more steps.

    What past runs of `store` measured counts before the model's estimate. A store that does not
    answer costs their figures only.
    """
    from launch.pricing import measured

    try:
        known = measured.find(config, store)
    except StoreError:
        known = measured.find(config)
    return judge(offers, Workload.of_steps(config, steps), known, image=image, had=had)


def judge(
    offers: Iterable[Offer],
    work: Workload,
    measured: Mapping[str, Measured] | None = None,
    *,
    image: Image = PUBLIC,
    had: Places | None = None,
) -> tuple[list[Ranked], list[LeftOut]]:
    """The offers by expected total cost, evictions included, and those that cannot take the run.

    A GPU that is not in the table comes after all that are, whatever it costs.

    Ties go to the sooner end, the lower price, then provider and id: the same list always
    comes out in the same order.

    Args:
        measured: step times by canonical name (launch/pricing/measured.py).
        image: what runs there; it decides which GPUs it can use, and how fast.
        had: the evictions that the run has had, by place.
    """
    ranked: list[Ranked] = []
    left: list[LeftOut] = []
    # Without a model of the GPU nothing checks what machines reported of it: do not spend by that.
    safe = {n: one for n, one in (measured or {}).items() if not one.reported or gpus.get(n)}
    for offer in offers:
        found = forecast(
            work, offer.gpu, safe, memory_gb=offer.memory_gb, start_s=start_s(image),
            compiled=image.compiles,
        )  # fmt: skip
        what = found or pessimistic(work, offer.gpu, offer.memory_gb, image)
        why = _unfit(offer, what, image.since, work.config)
        if why:
            left.append(LeftOut(offer, why))
            continue
        taken = _evictions(offer, what, work, had or {}) if offer.spot else None
        hours = what.hours + (taken.lost_h if taken else 0.0)
        ranked.append(Ranked(offer, what, hours, hours * offer.price, found is not None, taken))
    ranked.sort(
        key=lambda r: (not r.known, r.cost, r.hours, r.offer.price, r.offer.provider, r.offer.id)
    )
    left.sort(key=lambda one: (one.offer.provider, one.offer.id))
    return ranked, left


def affordable(offers: Iterable[Offer], most: float) -> tuple[list[Offer], list[LeftOut]]:
    """Those up to this price ($/h), and the others with the price from which there are some."""
    kept: list[Offer] = []
    dear: list[Offer] = []
    for offer in offers:
        (kept if offer.price <= most else dear).append(offer)
    least = min((offer.price for offer in dear), default=0.0)
    why = f"they cost more than ${most:g}/h (the cheapest of them ${least:.3f}/h)"
    return kept, [LeftOut(offer, why) for offer in dear]


def grouped(left: Iterable[LeftOut]) -> list[tuple[int, str]]:
    """(how many, why) of offers that were left out, most first."""
    return [(count, why) for why, count in Counter(one.why for one in left).most_common()]


def left_out(groups: Sequence[tuple[int, str]]) -> str:
    """A sentence about them, "" for none."""
    if not groups:
        return ""
    total = sum(count for count, _ in groups)
    offers = "1 offer is" if total == 1 else f"{total} offers are"
    if len(groups) == 1:
        return f"{offers} left out, because {groups[0][1]}"
    reasons = [f"{count} because {why}" for count, why in groups[:REASONS_SHOWN]]
    rest = len(groups) - REASONS_SHOWN
    more = [f"and others for {rest} more reasons: `offers --json` has them all"] if rest > 0 else []
    return f"{offers} left out: {'; '.join([*reasons, *more])}"


def _ask(seller: Seller, need: Need, answers: dict[str, list[Offer] | Problem]) -> None:
    name = seller.name
    try:
        answers[name] = seller.offers(need)
    except MimirError as error:
        answers[name] = Problem(name, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - an adapter's defect hides no other's offers
        answers[name] = Problem(name, f"{name} failed: {type(error).__name__}: {error}", 1)


def _unfit(offer: Offer, what: Forecast, since: tuple[int, int], config: Config) -> str:
    if not offer.gpu:
        return "the service does not name its GPU"
    if not offer.memory_gb > 0:
        return f"the service does not tell how much memory {offer.gpu} has"
    if not what.fits:
        return (
            f"{offer.gpu} with {offer.memory_gb:g} GB is too small: {what.need_gb:.1f} GB are "
            "needed (--accumulate 2 halves most of it)"
        )
    gpu = gpus.get(offer.gpu)
    if gpu is not None and gpu.capability < since:
        return (
            f"{offer.gpu} (compute capability {gpu.capability[0]}.{gpu.capability[1]}) is too old "
            "for the image's CUDA"
        )
    return refusal(config, gpu) if gpu is not None else ""


def _evictions(offer: Offer, what: Forecast, work: Workload, had: Places) -> Evictions:
    interval = work.config.runtime.checkpoint_minutes / 60
    return evictions.of(offer, what.train_hours, what.start_s / HOUR, interval, had)
