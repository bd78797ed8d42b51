"""What a run may cost, whatever happens to it."""

import json
from collections.abc import Callable

import pytest

from mimir.runs import notes
from tests.clouds.e2e.test_laptop_gone import BRIEF
from tests.clouds.e2e.world import World


def dear(world: World, price: float) -> None:
    """All that there is costs this, in $/h; the account is rich."""
    world.fake.balance = 1e6  # type: ignore[attr-defined]
    for row in world.fake.stock:  # type: ignore[attr-defined]
        row["price"] = {"secure": price, "community": price}


def test_too_little_money_is_refused_before_any_order(runpod: World) -> None:
    said = runpod.launch(*runpod.submission("r", "--max-cost", "0.01"), code=78)
    assert "the limits are too small for the forecast: --max-cost 0.01" in said
    assert runpod.fake.ledger == []
    assert not [e for e in runpod.fake.requests if e.method != "GET"]


def test_a_run_ends_before_its_money_does(runpod: World) -> None:
    """At $200 an hour a dollar is 18 s: two machines share it, the first of which is lost."""
    dear(runpod, 200.0)
    runpod.steps, runpod.pace = 100_000, 0.3
    runpod.env["PATCHES"] = json.dumps(BRIEF)
    command = runpod.spawn(*runpod.submission("r", "--watch", "--max-cost", "1"))
    # Where this computer is so slow that the first has used up its part before, none is lost.
    runpod.until(lambda: runpod.step("r") >= 3 or len(runpod.fake.ledger) > 1 or command.ended())
    if (rental := runpod.machine("r")) is not None:
        runpod.fake.kill(rental.id)
    assert command.wait() != 0
    assert runpod.status("r").state == "stopped"
    assert "in which no machine gets anything done" in command.said or "used up" in command.said
    assert 1 <= len(runpod.fake.ledger) <= 3
    runpod.settled(1.0)


@pytest.mark.parametrize("provider", ["runpod", pytest.param("lambda", marks=pytest.mark.long)])
def test_workers_that_die_unheard_are_counted(provider: str, make: Callable[[str], World]) -> None:
    """Each ends before it has claimed its attempt, and RunPod's machines then end themselves."""
    world = make(provider)
    world.acts = dict.fromkeys(range(1, 20), "dead")
    world.env["PATCHES"] = json.dumps({"launch.contract.deadlines:BEGIN_WITHIN": 5.0})
    command = world.spawn(*world.submission("r", "--watch", "--max-failures", "2"))
    assert command.wait() != 0
    assert world.status("r").state == "failed", world.story()
    assert len(world.fake.ledger) <= 3
    world.settled(1.0)


@pytest.mark.long
def test_two_attempts_without_a_new_step(runpod: World) -> None:
    runpod.acts = dict.fromkeys(range(1, 20), "idle")
    command = runpod.spawn(*runpod.submission("r", "--watch", "--max-failures", "9"))
    for attempt in (1, 2):
        runpod.until(lambda attempt=attempt: runpod.begun("r", attempt))
        rental = runpod.machine("r")
        assert rental is not None
        runpod.fake.kill(rental.id)
    assert command.wait() != 0
    assert "two attempts have left no new step" in command.said
    assert runpod.status("r").state == "failed"
    assert len(runpod.fake.ledger) == 2
    runpod.settled(1.0)


def test_a_stop_holds_over_the_machine_that_is_replaced(runpod: World) -> None:
    runpod.steps, runpod.pace = 100_000, 0.3
    runpod.launch(*runpod.submission("r"))
    runpod.launch("stop", "r")
    runpod.until(lambda: notes.read_outcome(runpod.store, "r", 1))
    said = runpod.launch("watch", "r", "--once")
    assert runpod.status("r").state == "stopped"
    assert "run r is stopped at step " in said
    assert "of machines and $0.00 (estimated at first: " in said
    assert "all 1 runs have ended" in runpod.launch("watch")
    assert len(runpod.fake.ledger) == 1
    runpod.settled(1.0)


@pytest.mark.long
def test_replacements_that_die_unheard_are_counted(runpod: World) -> None:
    """Each ends before it has claimed its attempt, and its machine then ends itself."""
    runpod.steps, runpod.pace = 1000, 0.2
    runpod.acts = dict.fromkeys(range(2, 50), "dead")
    command = runpod.spawn(*runpod.submission("r", "--watch", "--max-failures", "2"))
    # Where this computer is so slow that the first has used up its part before, none is lost.
    runpod.until(lambda: runpod.step("r") >= 3 or len(runpod.fake.ledger) > 1 or command.ended())
    if (rental := runpod.machine("r")) is not None:
        runpod.fake.kill(rental.id)
    assert command.wait() != 0
    assert runpod.status("r").state == "failed"
    assert len(runpod.fake.ledger) == 3
    runpod.settled(1.0)


def test_submit_ends_a_machine_that_gives_no_sign(runpod: World) -> None:
    """It says why; the run goes on where somebody watches it."""
    runpod.fake.fault("stuck")
    runpod.env["PATCHES"] = json.dumps({"launch.contract.deadlines:BEGIN_WITHIN": 2.0})
    said = runpod.launch(*runpod.submission("r"), code=75)
    assert (
        "it gave no sign within 0 min (its service says PROVISIONING); its machine is ended, and "
        "seen to be gone"
    ) in said
    assert not runpod.fake.alive()
    del runpod.env["PATCHES"]
    runpod.finish("r")
    assert len(runpod.fake.ledger) == 2
    runpod.settled(1.0)
    runpod.whole("r")
