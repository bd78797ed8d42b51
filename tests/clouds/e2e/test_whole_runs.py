"""The real worker on rented machines that break: the weights of a run that nobody disturbed."""

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import parse_name
from mimir.runs.store import open_store
from tests.clouds.e2e.conftest import ALL
from tests.clouds.e2e.test_misbehaviour import CASES, MISBEHAVIOURS, happened, watch
from tests.clouds.e2e.world import World
from tests.clouds.fake_vast import FakeVast
from tests.clouds.service import Rental
from tests.e2e import jobs
from tests.gates import HOOK
from tests.waiting import LIMIT

SEED = int(os.environ.get("MOMENTS", random.SystemRandom().randrange(2**32)))
"""Said when a test fails; as $MOMENTS it brings the same moments again."""
SHORT = 6
"""Epochs of a run in the suite; a run of the long tests has LONG."""
LONG = 40
AWAY = 4
"""Steps that an attempt may take before its machine is lost."""
HASTY = {
    "launch.contract.deadlines:SILENT_FOR": 60.0,
    "launch.contract.deadlines:BEGIN_WITHIN": 60.0,
}
"""For machines of which some never begin."""
PATIENT = {**HASTY, "launch.contract.deadlines:BEGIN_WITHIN": 4 * LIMIT}
"""Beside many other programs, a real worker was seen to take more than four minutes to begin."""


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Callable[[int], str]:
    """epochs -> sha256 of the weights that an undisturbed local run leaves."""
    store = open_store((tmp_path_factory.mktemp("alone") / "store").as_uri())
    known: dict[int, str] = {}

    def weights(epochs: int) -> str:
        if epochs not in known:
            name = f"run-{epochs}"
            jobs.submit(store, name, small, device="cpu", epochs=epochs)
            assert jobs.train(store, name)[0]
            known[epochs] = jobs.model_sha256(store, name)
        return known[epochs]

    return weights


def submission(
    world: World, epochs: int, *words: str, watched: tuple[str, ...] = ("--watch",)
) -> tuple[str, ...]:
    settings: dict[str, Any] = {**jobs.TINY, "device": "cpu", "epochs": epochs}
    options = [w for k, v in settings.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    return (
        "submit", "r", "--preset", "smoke", "--provider", world.provider, "--yes", *watched,
        "--max-cost", "5", "--max-failures", "50", "--data", str(world.data), *options, *words,
    )  # fmt: skip


def real(world: World) -> World:
    """Machines run what was ordered, and ask for their end a little sooner. A gate holds them.

    They begin more slowly than a stand-in, and give a sign every five seconds only.
    """
    world.gate.open()
    held = {"PYTHONPATH": str(HOOK), "MIMIR_TEST_GATE": str(world.gate.path)}
    told = [f"{name}={value}" for name, value in held.items()]
    world.env["PATCHES"] = json.dumps(PATIENT)

    def patient(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        return ["/usr/bin/env", "MIMIR_END_PATIENCE=2", *told, *argv]

    world.fake.runs = patient
    return world


def pulled(world: World) -> str:
    """sha256 of the weights that `pull` brings."""
    out = world.folder / "pulled"
    world.launch("pull", "r", "--out", str(out))
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def whole(world: World, weights: str) -> None:
    world.finish("r")
    world.settled(5.0)
    assert world.status("r").state == "done", world.story()
    assert pulled(world) == weights


def again(world: World, how: Callable[[Rental], None], times: int, rng: random.Random) -> None:
    """Do it to the newest machine at so many random moments of its work on the run.

    Every second one has left a new step before: two in a row without any end a run.
    """
    hit: set[str] = set()
    before = 0
    while len(hit) < times:
        world.gate.open(before + AWAY)

        def working(before: int = before) -> Rental | None:
            rental = world.machine("r")
            if rental is None or rental.id in hit:
                return None
            place = parse_name(rental.name)
            assert place is not None
            number = place[1]
            at_work = world.begun("r", number) and world.step("r") >= before + len(hit) % 2
            return rental if at_work else None

        rental = world.until(working)
        time.sleep(rng.uniform(0.0, 1.0))
        before = world.step("r")
        assert world.status("r").state != "done", f"seed {SEED}: done after {len(hit)} times"
        print(f"seed {SEED}: at step {before}")
        how(rental)
        hit.add(rental.id)
    world.gate.open()


@pytest.mark.parametrize("provider", ["runpod", "lambda"])
def test_from_submit_to_a_pulled_model(
    provider: str, make: Callable[[str], World], alone: Callable[[int], str]
) -> None:
    world = real(make(provider))
    weights = alone(SHORT)
    world.launch(*submission(world, SHORT))
    whole(world, weights)
    assert len(world.fake.ledger) == 1


def test_from_submit_to_a_pulled_model_on_vast_where_it_is_outbid(
    vast: World, alone: Callable[[int], str]
) -> None:
    world = real(vast)
    weights = alone(SHORT)
    command = world.spawn(*submission(world, SHORT, "--spot"))
    again(world, lambda rental: vast.fake.outbid(rental.id), 1, random.Random(SEED))  # type: ignore[attr-defined]
    assert command.wait() == 0, command.said
    whole(world, weights)
    assert len(world.fake.ledger) == 2


SMI = """#!/bin/sh
[ "$MIMIR_ATTEMPT" = 1 ] && card=3090 || card=4090
echo "NVIDIA GeForce RTX $card, 24564, 580.65.06"
"""


def test_a_machine_that_is_not_what_was_ordered_costs_its_host_the_run(
    vast: World, alone: Callable[[int], str]
) -> None:
    """Its worker finds another card than the one of the offer, and the next host is taken."""
    world = real(vast)
    tool = world.folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(SMI)
    tool.chmod(0o755)
    patient = world.fake.runs

    def shown(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        path = f"PATH={tool.parent}:{Path(sys.executable).parent}:{os.defpath}"
        return ["/usr/bin/env", path, *patient(argv, env)]

    world.fake.runs = shown
    world.launch(*submission(world, SHORT, "--gpu", "4090"))
    whole(world, alone(SHORT))
    first, second = world.status("r").attempts
    assert first.gone is not None
    assert (first.gone.kind, first.from_step) == ("placement", None)
    assert "its GPU is NVIDIA GeForce RTX 3090, and not the RTX 4090 that" in first.end
    assert len(world.fake.ledger) == 2
    hosts = [each.order.offer.host for each in (first, second) if each.order and each.order.offer]
    assert hosts[0] != hosts[1]
    known = json.loads(world.store.get("_launcher/failed_hosts.json"))["hosts"]
    assert [each["host"] for each in known] == hosts[:1]


@pytest.mark.long
@pytest.mark.parametrize("provider", ALL)
def test_killed_at_ten_moments(
    provider: str, make: Callable[[str], World], alone: Callable[[int], str]
) -> None:
    world = real(make(provider))
    weights = alone(LONG)
    command = world.spawn(*submission(world, LONG))
    again(world, world.lose, 10, random.Random(SEED))
    assert command.wait() == 0, command.said
    whole(world, weights)


@pytest.mark.long
@pytest.mark.parametrize("back", [False, True], ids=["for good", "and back"])
def test_outbid_every_twenty_steps(back: bool, vast: World, alone: Callable[[int], str]) -> None:
    world = real(vast)
    assert isinstance(world.fake, FakeVast)
    weights = alone(LONG // 2)
    command = world.spawn(*submission(world, LONG // 2, "--spot"))
    times = 0
    while command.code is None:
        at = world.step("r")
        world.gate.open(at + 25)
        world.until(lambda at=at: command.ended() or world.step("r") >= at + 20)
        rental = world.machine("r")
        if rental is None or command.ended():
            continue
        world.fake.outbid(rental.id)
        times += 1
        if back:
            time.sleep(random.Random(SEED).uniform(0.0, 0.5))
            if int(rental.id) in world.fake.contracts:
                world.fake.resume(rental.id)
    assert command.code == 0, command.said
    assert all(rental.spot for rental in world.fake.ledger)
    assert times > 2
    # One that is back before anybody has looked goes on with the same attempt.
    assert len(world.fake.ledger) > (0 if back else 2)
    whole(world, weights)


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "words"), [pytest.param(*case.values, id=case.id) for case in CASES]
)
def test_each_misbehaviour(
    provider: str, words: str, make: Callable[[str], World], alone: Callable[[int], str]
) -> None:
    world = real(make(provider))
    world.env["PATCHES"] = json.dumps(HASTY)
    weights = alone(SHORT)
    for name, details in MISBEHAVIOURS[provider][words]:
        world.fake.fault(name, **details)
    command = world.spawn(*submission(world, SHORT, watched=watch(words)))
    code = command.wait()
    happened(world, words)
    if code and world.step("r") < 0:
        world.launch(*submission(world, SHORT))
    elif world.status("r").state == "failed":
        world.launch("resume", "r", "--yes", "--watch")
    whole(world, weights)
    assert world.fake.armed() == [], "it never happened"
