"""Every attack on paper: the laptop's commands before and after its machine dies."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimir.errors import StoreDenied
from mimir.runs import codec, layout, notes
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.ground import (
    NEIGHBOURS,
    ROLE,
    VICTIM,
    Ground,
    Machine2,
    heartbeat,
    populate,
    standing,
)
from tests.hostile.policy import CutDown
from tests.launch.paper import URL
from tests.runs.memory import MemoryStore


@pytest.fixture
def ground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Ground]:
    store = MemoryStore()
    store.url = URL

    def read() -> str:
        out, err = capsys.readouterr()
        return out + err

    with standing(Ground(store, tmp_path, read), monkeypatch) as ground:
        store.clock = lambda: time.time() - 900  # so that no order counts as being placed just now
        populate(ground, lambda attempt: CutDown(store, VICTIM, attempt))
        store.clock = time.time
        for run, attempt in (("alpha", 1), (VICTIM, 2), ("zulu", 1)):
            ground.beat(run, attempt)
        ground.remember()
        yield ground


@pytest.fixture
def machine(ground: Ground) -> Machine2:
    return Machine2(CutDown(ground.store, VICTIM, 2), CutDown(ground.store, VICTIM, 1))


REFUSED = [each for each in ATTACKS if each.refused]
WRITTEN = [each for each in ATTACKS if not each.refused]


@pytest.mark.parametrize("attack", REFUSED, ids=lambda each: each.name)
def test_what_the_policy_refuses(ground: Ground, machine: Machine2, attack: Attack) -> None:
    with pytest.raises(StoreDenied):
        attack.act(machine)


def test_unharmed(ground: Ground) -> None:
    """Without an attack: what the other tests look at does happen."""
    ground.look()
    assert ground.newest(VICTIM) == 2
    ground.evict()
    ground.round()
    ground.check()
    assert ground.newest(VICTIM) == 3
    assert len(ground.alive(VICTIM)) == 1


# A HEAD of another format may be a newer build's: it is left alone, and a person ends the machine.
FOREIGN = "HEAD: another format"


@pytest.mark.parametrize(
    "attack", [each for each in WRITTEN if each.name != FOREIGN], ids=lambda each: each.name
)
def test_no_machine_is_paid_for_ever(ground: Ground, machine: Machine2, attack: Attack) -> None:
    """It beats on after what its run may cost is used up; then the watcher has ended it."""
    _play(attack, ground, machine)
    ground.days_later(lambda now: machine.own("heartbeat.json", heartbeat(time=now)))
    ground.check()
    assert not ground.alive(VICTIM), "\n".join(ground.told[-3:])


@pytest.mark.parametrize("attack", WRITTEN, ids=lambda each: each.name)
def test_what_it_may_write(ground: Ground, machine: Machine2, attack: Attack) -> None:
    _play(attack, ground, machine)
    ground.look()
    ground.check()
    ground.evict()
    ground.round()
    ground.round()
    ground.check()
    if attack.spares:
        assert ground.newest(VICTIM) == 3
    ground.launch("resume", VICTIM, "--take-over", "--yes")
    attack.act(machine)  # its keys outlive its attempt
    ground.look()
    ground.launch("stop", VICTIM, "--no-wait")
    ground.check()
    assert ground.newest(VICTIM) <= 6
    assert all(ground.newest(name) == 2 for name in NEIGHBOURS)
    assert re.search(attack.tells, "\n".join(ground.told))


@pytest.mark.parametrize("endpoint", ["abc.r2.cloudflarestorage.com", "s3.example.org"])
def test_a_machine_with_the_users_keys_denies_that_it_had_them(
    ground: Ground, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order was --static-keys, on another computer; it writes one that was not, and dies."""
    monkeypatch.delenv("MIMIR_ROLE_ARN", raising=False)
    ground.store.url = f"s3://bucket/runs?endpoint=https://{endpoint}"
    key = layout.order_key(VICTIM, 2)
    forged = json.loads(ground.store.get(key))
    forged["plan"]["image"] = "evil/image"
    ground.store.put(key, codec.sealed(forged, notes.FORMAT))
    ground.evict()
    _, said = ground.launch("watch", "--once")
    assert "nothing is ordered from here, because keys to this store can" in said
    assert not ground.cloud.alive()
    assert not ground.wrong
    ground.launch("resume", VICTIM, "--yes", "--role", ROLE)
    assert len(ground.alive(VICTIM)) == 1
    placed = notes.read_order(ground.store, VICTIM, 3)
    assert placed is not None
    assert placed.plan.image == ""  # the one that Mimir chooses


def _play(attack: Attack, ground: Ground, machine: Machine2) -> None:
    if attack.old:
        ground.forget(f"{VICTIM}/a0001/")
    attack.act(machine)
