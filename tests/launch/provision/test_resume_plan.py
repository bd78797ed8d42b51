"""The plan of a resumed run: as last time, but for what is said anew."""

import pytest

from launch.pricing import budget
from launch.provision.resume_plan import Words, renewed
from mimir.errors import BadInput
from mimir.runs.hosts import Hosts
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import KeySource, Limits, Plan
from tests.launch.paper import attempt, status

BOUNDS = Limits(max_price=1.0, max_cost=9.0, max_failures=5, max_attempts=4)
RENTED = Plan(
    ("runpod", "vastai"), BOUNDS, ("L4",), True, "an image", KeySource("arn:aws:iam::1:role/r"), 77,
    Hosts("datacenter", ("eu",), 0.99),
)  # fmt: skip
LOCAL = Plan(("local",), Limits(max_hours=2.0), steps=77)
KNOWN = status(attempt(1))


def test_as_last_time() -> None:
    assert renewed(RENTED, KNOWN, Words()) == RENTED


def test_what_is_said_counts_and_the_rest_stays() -> None:
    keys = KeySource(static=True)
    plan = renewed(RENTED, KNOWN, Words("vastai", ("T4",), False, "", keys, {"max_cost": 20.0}))
    assert plan == Plan(
        ("vastai",), Limits(1.0, 0.0, 20.0, 5, 4), ("T4",), True, "", keys, 77, RENTED.hosts
    )  # an image is the providers' own: others may not start it
    anywhere = renewed(RENTED, KNOWN, Words(hosts={"regions": (), "download": 9.0}))
    assert anywhere.hosts == Hosts("datacenter", (), 0.99, 9.0)
    assert renewed(RENTED, KNOWN, Words(image="mine")).image == "mine"
    assert renewed(RENTED, KNOWN, Words(limits={"max_failures": 0})).limits.max_failures == 0


def test_limits_of_an_own_computer_do_not_count_for_rented_machines() -> None:
    assert renewed(LOCAL, KNOWN, Words("runpod")).limits == Limits()
    assert renewed(LOCAL, KNOWN, Words()).limits == Limits()
    assert renewed(RENTED, KNOWN, Words("local")).limits == Limits()
    assert renewed(RENTED, KNOWN, Words("lambda")).limits == BOUNDS


def test_without_an_order_it_goes_on_where_it_was() -> None:
    assert renewed(None, KNOWN, Words()).providers == ("local",)
    machine = Machine("docker", 1.0, image="an image")
    known = status(attempt(1, machine=machine))
    assert renewed(None, known, Words()) == Plan(("docker",), image="an image")
    assert renewed(None, known, Words("local")) == Plan(("local",))
    terminal = status(attempt(1, machine=Machine("terminal", 1.0)))
    assert renewed(None, terminal, Words()) == Plan(("local",))


def test_bad_words() -> None:
    with pytest.raises(BadInput, match="did you mean 'runpod'"):
        renewed(RENTED, KNOWN, Words("runpot"))
    with pytest.raises(BadInput, match="--max-cost is -1,"):
        renewed(RENTED, KNOWN, Words(limits={"max_cost": -1.0}))


def test_machines_that_were_had() -> None:
    refused = attempt(2, gone=Gone(1.0, "refused", "none left"))
    assert budget.machines(status(attempt(1), refused, attempt(3))) == 2
