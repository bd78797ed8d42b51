"""A 5xx or a lost answer on create: the run goes on, and nothing is rented twice."""

import json
from collections.abc import Callable

import pytest

from mimir.runs.status import read_head
from tests.clouds.e2e.conftest import ALL
from tests.clouds.e2e.world import CREATE, World

NOBODY_LOOKS = json.dumps({"launch.providers.rented:LOOKS": []})
"""The service's list is not asked by who ordered, so that the watcher has to find the machine."""
SOON = {("runpod", "error", False), ("runpod", "error_after", True)}
"""Those that are tried at every change."""
TOKENS = {"aws": 3, "gcp": 3}
"""Services that are asked again by the same token, and how often in all."""
CASES = [
    pytest.param(
        *case, id="-".join((*case[:2], "watched" if case[2] else "left")),
        marks=() if case in SOON else pytest.mark.long,
    )
    for provider in ALL
    for fault in ("error", "error_after", "lost_after", "hang_up")
    for case in ((provider, fault, True), (provider, fault, False))
]  # fmt: skip


@pytest.mark.parametrize(("provider", "fault", "watched"), CASES)
def test_the_run_is_whole(
    provider: str, fault: str, watched: bool, make: Callable[[str], World]
) -> None:
    world = make(provider)
    made = fault in ("error_after", "lost_after")
    world.fake.fault(fault, times=TOKENS.get(provider, 1), **CREATE[provider])
    world.env["PATCHES"] = NOBODY_LOOKS
    said = world.launch(*world.submission("r", *(("--watch",) if watched else ())),
                        code=0 if watched else 75)  # fmt: skip
    if not watched:
        assert "watch r` takes the machine if it comes up" in said
        assert read_head(world.store, "r").state in ("queued", "running", "done")
        if not made:
            assert "ordered, not answered yet" in world.launch("status", "r")
    world.finish("r")
    world.settled(1.0)
    world.whole("r")
    assert world.status("r").attempt == (1 if made else 2)
    assert len(world.fake.ledger) == 1


def test_a_service_that_is_away_for_a_while(runpod: World) -> None:
    """Whoever watches asks again; the run of who does not, has failed for it."""
    once = {"launch.providers.http:READ_TRIES": 1, "launch.provision.order:ASKED_AGAIN": 0}
    runpod.env["PATCHES"] = json.dumps(once)
    runpod.fake.fault("plain_429", times=2, **CREATE["runpod"])
    runpod.launch(*runpod.submission("r"), code=75)
    assert runpod.status("r").state == "failed"
    runpod.launch(*runpod.submission("s", "--watch"))
    runpod.settled(1.0)
    runpod.whole("s")
