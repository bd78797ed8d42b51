"""What all providers would rent, and which of it brings a run to its end most cheaply."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from launch.contract.image import PUBLIC, Image
from launch.contract.offer import Need, Offer
from launch.pricing import gpus
from launch.pricing.budget import HOUR
from launch.pricing.forecast import Forecast, Measured, forecast, start_s
from launch.pricing.workload import Workload
from mimir.config import Config
from mimir.errors import MimirError, StoreError
from mimir.runs.store import Store

OFFERS_WITHIN = 45.0
"""Seconds that a provider has for its list: one that is down must not hold up the others."""
EVICTED_EVERY = 6.0
"""Hours after which a spot machine is taken away, as a reckoning: a cautious guess, for what
services publish goes from a few per cent a day to several an hour."""


class Seller(Protocol):
    """The part of a Cloud that is needed here."""

    @property
    def name(self) -> str: ...

    def offers(self, need: Need) -> list[Offer]: ...


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
    cost: in dollars.
    """

    offer: Offer
    forecast: Forecast
    hours: float
    cost: float

    def as_json(self) -> dict[str, Any]:
        return {
            **self.offer.as_json(), "hours": round(self.hours, 3), "cost": round(self.cost, 4),
            "step_ms": round(1e3 * self.forecast.step_s, 4), "source": self.forecast.source,
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
    return offers, problems


def rank(
    offers: Iterable[Offer],
    config: Config,
    steps: int,
    store: Store | None = None,
    image: Image = PUBLIC,
) -> list[Ranked]:
    """The offers that can take so many more steps, by expected total cost.

    `judge` tells more; what past runs of `store` measured counts before what is reckoned. A
    store that does not answer costs their figures only.
    """
    from launch.pricing import measured

    try:
        known = measured.find(config, store)
    except StoreError:
        known = measured.find(config)
    return judge(offers, Workload.of_steps(config, steps), known, image=image)[0]


def judge(
    offers: Iterable[Offer],
    work: Workload,
    measured: Mapping[str, Measured] | None = None,
    *,
    image: Image = PUBLIC,
) -> tuple[list[Ranked], list[LeftOut]]:
    """The offers by expected total cost, and those that cannot take the run.

    Ties go to the sooner end, the lower price, then provider and id: the same list always
    comes out in the same order.

    Args:
        measured: step times by canonical name (launch/pricing/measured.py).
        image: what runs there; it decides which GPUs it can use, and how fast.
    """
    ranked: list[Ranked] = []
    left: list[LeftOut] = []
    # Without a model of the GPU nothing checks what machines reported of it: do not spend by that.
    safe = {n: one for n, one in (measured or {}).items() if not one.reported or gpus.get(n)}
    for offer in offers:
        what = forecast(
            work, offer.gpu, safe, memory_gb=offer.memory_gb, start_s=start_s(image),
            compiled=image.compiles,
        )  # fmt: skip
        why = _unfit(offer, what, image.since)
        if what is None or why:
            left.append(LeftOut(offer, why))
            continue
        hours = what.hours + (_lost(what, work) if offer.spot else 0.0)
        ranked.append(Ranked(offer, what, hours, hours * offer.price))
    ranked.sort(key=lambda r: (r.cost, r.hours, r.offer.price, r.offer.provider, r.offer.id))
    left.sort(key=lambda one: (one.offer.provider, one.offer.id))
    return ranked, left


def _ask(seller: Seller, need: Need, answers: dict[str, list[Offer] | Problem]) -> None:
    name = seller.name
    try:
        answers[name] = seller.offers(need)
    except MimirError as error:
        answers[name] = Problem(name, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - an adapter's defect hides no other's offers
        answers[name] = Problem(name, f"{name} failed: {type(error).__name__}: {error}", 1)


def _unfit(offer: Offer, what: Forecast | None, since: tuple[int, int]) -> str:
    if what is None:
        return f"nothing is known of {offer.gpu or 'a GPU without a name'}"
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
    return ""


def _lost(what: Forecast, work: Workload) -> float:
    """Hours that evictions are expected to cost: each a start, and half a checkpoint's interval."""
    again = what.start_s / HOUR + work.config.runtime.checkpoint_minutes / 60 / 2
    return what.hours / EVICTED_EVERY * again
