"""What evictions add to a run's hours, and what is known of how often they come."""

import math
from typing import Any

import pytest

from launch.contract.offer import Offer
from launch.pricing import evictions
from launch.pricing.evictions import MOST, Seen
from mimir.runs.attempts import AttemptStatus
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from tests.launch.paper import START, attempt, offer, status

SPOT = Offer("x", "1", "L4", 24.0, 0.5, spot=True, place="here")


BAND = {"evicted": 0.01, "evicted_by": "x's bands of yesterday"}


@pytest.mark.parametrize(
    ("told", "had", "rate", "said"),
    [
        ({}, Seen(), 1 / 6, "a guess, as x publishes none"),
        ({"evicted_by": "x's bands are gone"}, Seen(), 1 / 6, "a guess, as x's bands are gone"),
        ({}, Seen(3, 1.5), 4 / 7.5, "has had 3 there in 1.5 h"),
        ({}, Seen(0, 30.0), 1 / 36, "has had 0 there in 30.0 h"),
        ({"outbid": 0.5}, Seen(), 1 / 6 + 0.5, "12.0 a day for a price above"),
        ({"outbid": 1e6}, Seen(), MOST, "a guess"),
        (BAND, Seen(), 0.01, "x's bands of yesterday"),
        (BAND, Seen(3, 1.5), 3.06 / 7.5, "x's bands of yesterday; this run has had 3 there"),
        ({**BAND, "outbid": 0.5}, Seen(), 0.51, "yesterday, and by the prices of the last days"),
    ],
)  # fmt: skip
def test_how_often_is_told_with_its_source(
    told: dict[str, Any], had: Seen, rate: float, said: str
) -> None:
    found = Offer(**{**SPOT.as_json(), **told})
    made = evictions.of(found, 3.0, 0.1, 1 / 30, {("x", "here"): had})
    assert made.an_hour == pytest.approx(rate)
    assert said in made.source
    assert made.expected == pytest.approx(rate * (3.1 + made.lost_h))


def test_hours_grow_with_the_rate_and_stay_numbers() -> None:
    """For few evictions each costs a start and half an interval; for many, nothing gets done."""
    few = evictions._hours(1e-3, 10.0, 0.1, 0.5)
    assert few - 10.1 == pytest.approx(10.0 * 1e-3 * (0.1 + 0.25), rel=1e-2)
    hours = [evictions._hours(rate, 10.0, 0.1, 0.5) for rate in (0.0, 0.1, 1.0, 10.0, MOST)]
    assert hours == sorted(hours)
    assert hours[0] == pytest.approx(10.1)
    assert hours[3] == pytest.approx(0.1 + 10 * math.e * (math.exp(5) - 1) / 5)
    assert math.isfinite(evictions._hours(MOST, 1e5, 1.0, 168.0))


def test_what_a_run_has_seen_is_that_of_its_spot_machines() -> None:
    def was(number: int, place: str, kind: str, spot: bool = True) -> AttemptStatus:
        ordered = Order("runpod", Plan(("runpod",)), START, offer(place=place, spot=spot))
        return attempt(
            number, machine=Machine("runpod", START, price=0.5, place=place), order=ordered,
            gone=Gone(START + 1800, kind, "why"),
        )  # fmt: skip

    known = status(
        was(1, "a", "eviction"), was(2, "a", "over"), was(3, "b", "failure"),
        was(4, "c", "eviction", spot=False),
    )  # fmt: skip
    found = evictions.seen(known, START + 7200)
    assert found == {("runpod", "a"): Seen(1, 1.0), ("runpod", "b"): Seen(0, 0.5)}
    assert evictions.seen(None, START) == {}
