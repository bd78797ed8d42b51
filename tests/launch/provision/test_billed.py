"""The services' own bills beside ours, or why they cannot be read."""

import pytest

from launch.contract.errors import AuthFailed
from launch.providers import registry
from launch.provision.billed import Billed, of_run
from mimir.runs.machine import Machine
from tests.launch.paper import START, Desk, attempt, status

PAID = Machine("runpod", START, "i1", price=0.5)
OTHER = Machine("runpod", START, "i2", price=0.5)
RUN = status(attempt(1, machine=PAID), attempt(2, machine=OTHER), attempt(3))


def test_what_is_billed(desk: Desk) -> None:
    desk.cloud.bill = {"i1": 0.48}
    found = of_run(RUN, lambda name: desk.provider)
    assert found == Billed(0.48, 1, 2)
    assert found.text() == "$0.48 for 1 of its 2 machines, by the services (a bill comes late)"


@pytest.mark.parametrize(
    ("bill", "words"),
    [
        (None, "runpod tells no bill: see its console"),
        (AuthFailed("no key"), "the bill of runpod cannot be read: no key"),
    ],
)
def test_what_cannot_be_read_is_said(desk: Desk, bill: Exception | None, words: str) -> None:
    desk.cloud.bill = bill
    found = of_run(RUN, lambda name: desk.provider)
    assert (found.machines, found.paid, found.problems) == (0, 2, (words,))
    assert found.text() == words


def test_a_run_that_costs_nothing_asks_nobody() -> None:
    own = status(attempt(1, machine=Machine("local", START, pid=1)), attempt(2))
    assert of_run(own, registry.get) == Billed()
    assert Billed().text() == ""
