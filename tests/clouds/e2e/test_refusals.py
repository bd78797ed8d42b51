"""What cannot be had or must not be done: one clear sentence, and nothing rented."""

from collections.abc import Callable

import pytest

from launch.contract.cloud import owner_of, parse_name
from mimir.runs import notes
from tests.clouds.e2e import world as worlds
from tests.clouds.e2e.world import World

WRONG: dict[str, str] = {
    "runpod": "RUNPOD_API_KEY", "vastai": "VAST_API_KEY", "lambda": "LAMBDA_API_KEY",
    "aws": "AWS_ACCESS_KEY_ID", "gcp": "CLOUDSDK_AUTH_ACCESS_TOKEN",
}  # fmt: skip


def last(said: str) -> str:
    """The line that tells what was wrong."""
    lines = [line for line in said.splitlines() if line.startswith("python -m launch: ")]
    assert len(lines) == 1, said
    return lines[0]


def ordered(world: World) -> list[str]:
    """Requests that would make a machine."""
    paths = ("/v2/pods", "/launch", "/RunInstances", "/instances")
    asked = [e for e in world.fake.requests if e.method in ("POST", "PUT")]
    return [e.path for e in asked if e.path.endswith(paths) or "/asks/" in e.path]


def test_offers_that_are_gone_when_they_are_ordered(runpod: World) -> None:
    runpod.fake.fault("capacity", times=100)
    said = runpod.launch(*runpod.submission("r"), code=75)
    assert "offers was available" in last(said)
    assert 1 < len(ordered(runpod)) <= 8
    assert runpod.status("r").state == "failed"
    runpod.fake.disarm()
    runpod.launch("resume", "r", "--yes", "--watch")
    runpod.settled(1.0)
    runpod.whole("r")


def test_a_refusal_in_unknown_words(runpod: World) -> None:
    """RunPod says a broken rule and a lack of machines by one status: the next offer tells."""
    runpod.fake.fault("rule")
    runpod.launch(*runpod.submission("r", "--watch"))
    assert len(ordered(runpod)) == 2
    runpod.settled(1.0)
    runpod.whole("r")
    runpod.fake.fault("rule", times=100)
    said = runpod.launch(*runpod.submission("s"), code=78)
    assert "the request itself may be wrong" in last(said)
    assert "mounts.persistent is not possible here" in last(said)
    assert runpod.status("s").state == "failed"
    said = runpod.launch(*runpod.submission("t", "--watch"), code=75)
    assert "the request itself may be wrong" in last(said), "or there are no machines now"


def test_no_money_stops_everything(runpod: World) -> None:
    """The other provider that was named is not asked instead: the user wants to know."""
    with worlds.service("vastai") as vast:
        runpod.env |= worlds.environment("vastai", vast)
        vast.asks = [each | {"dph_base": 9.0} for each in vast.asks]  # type: ignore[attr-defined]
        runpod.fake.fault("no_balance")
        words = runpod.submission("r")
        words = tuple("runpod,vastai" if word == "runpod" else word for word in words)
        said = runpod.launch(*words, code=78)
        assert "insufficient balance" in last(said)
        assert len(ordered(runpod)) == 1
        assert vast.ledger == []
    assert runpod.status("r").state == "failed"
    runpod.settled(0.0)


def test_money_that_runs_out_in_the_middle(runpod: World) -> None:
    runpod.steps, runpod.pace = 1000, 0.2
    command = runpod.spawn(*runpod.submission("r", "--watch"))
    runpod.until(lambda: runpod.step("r") >= 3)
    runpod.fake.run_dry()  # type: ignore[attr-defined]
    assert command.wait() == 75
    assert "insufficient balance" in runpod.status("r").reason
    assert runpod.status("r").state == "failed"
    assert len(runpod.fake.ledger) == 1
    runpod.settled(1.0)


def test_a_wrong_key(world: World) -> None:
    variable = WRONG[world.provider]
    said = world.launch(*world.submission("r"), code=78, **{variable: "another"})
    assert "key" in last(said).lower() or "token" in last(said)
    assert "another" not in said
    assert world.step("r") == -1, "nothing was written"
    assert ordered(world) == []


def test_a_store_that_machines_cannot_reach(world: World) -> None:
    store = (world.folder / "store").as_uri()
    said = world.launch(*world.submission("r", "--store", store), code=78)
    assert "cannot reach the store" in last(said)
    assert world.fake.requests == []


def test_a_name_that_is_taken(make: Callable[[str], World]) -> None:
    """By a run of this store that works. Another store may have one of the same name."""
    world = make("runpod")
    world.steps, world.pace = 1000, 0.2
    world.launch(*world.submission("r"))
    said = world.launch(*world.submission("r"), code=78)
    assert "run r is running already" in last(said)
    other = world.env["MIMIR_STORE"].replace("/runs?", "/others?")
    world.launch(*world.submission("r"), MIMIR_STORE=other)
    first, second = world.fake.ledger
    assert parse_name(first.name) == parse_name(second.name)
    assert owner_of(first.name) != owner_of(second.name)
    world.launch("reap", "--foreign", "--yes")
    assert (first.ended, second.ended is None) == (None, False)
    world.fake.ledger.remove(second)
    world.launch("stop", "r")
    world.until(lambda: notes.read_outcome(world.store, "r", 1))
    world.finish("r")
    world.settled(1.0)


@pytest.mark.parametrize("others", [False, True], ids=["of this store", "of another"])
def test_reap_touches_what_is_ours_alone(others: bool, runpod: World) -> None:
    """A machine of another store is listed and stays, unless the user says that it is meant."""
    runpod.steps, runpod.pace = 1000, 0.2
    store = runpod.env["MIMIR_STORE"].replace("/runs?", "/others?")
    where = {"MIMIR_STORE": store} if others else {}
    runpod.launch(*runpod.submission("r"), **where)
    with runpod.fake.lock:
        (rental,) = runpod.fake.ledger
        kept = type(rental)("theirs", "train-job", 1.0, rental.born, shown=dict(rental.shown))
        runpod.fake.ledger.append(kept)
    said = runpod.launch("reap", "--yes")
    assert ("not touched, because another store may have" in said) is others
    assert (rental.name in said) is others
    assert rental.ended is None
    said = runpod.launch("reap", "--foreign", code=78 if others else 0)
    assert ("say --yes" in said) is others
    assert rental.ended is None
    runpod.launch("reap", "--foreign", "--yes")
    assert (rental.ended is not None) is others
    assert kept.ended is None
    runpod.fake.end("theirs")
