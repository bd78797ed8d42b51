"""Two stores of one account: what either of them may end, on the fake of each service."""

from pathlib import Path

import pytest

from launch.commands.reap import reap
from launch.contract.cloud import ContainerSpec, owner_of
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec
from launch.doctor import leftovers
from launch.providers import registry
from launch.providers.rented import Rented
from mimir.runs import owner
from mimir.runs.begin import raise_attempt
from mimir.runs.order import Order, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store
from tests.launch.paper import CONFIG
from tests.launch.providers.conformance import harness as harnesses
from tests.launch.providers.conformance.harness import Place
from tests.launch.providers.conformance.leaks import SECRETS
from tests.launch.providers.conformance.services import ServiceHarness
from tests.runs.memory import MemoryStore

LEFT = {
    "runpod": "registry login mimir-run-a0001-o12345678: delete it", "vastai": "nothing of ours",
    "lambda": "SSH key mimir: delete it", "aws": "security group sg-",
    "gcp": "nothing of ours",
}  # fmt: skip
STORES = ("s3://a/runs", "s3://b/runs")


@pytest.mark.parametrize("name", registry.renting())
def test_reap_ends_nothing_of_another_store(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Both have a run of the same name; a third machine is an older Mimir's and tells no store."""
    harness = harnesses.find()[name](Place(tmp_path, monkeypatch))
    assert isinstance(harness, ServiceHarness)
    stores: dict[str, Store] = {url: MemoryStore() for url in STORES}
    clock = harness.service.clock
    rented = Rented(
        harness.provider.cloud, opener=stores.__getitem__, clock=clock.time, sleep=clock.advance
    )
    monkeypatch.setattr(registry, "rented", lambda _: rented)
    monkeypatch.setattr(registry, "renting", lambda: (name,))
    monkeypatch.setattr("mimir.runs.store.open_store", stores.__getitem__)
    its = {
        url: ordered(rented, offer, url, stores[url])
        for url, offer in zip(STORES, harness.offers, strict=False)
    }
    assert sorted(harness.machines()) == sorted(its.values())
    old = "mimir-run-a0009"
    rented.cloud.create(harness.offers[-1], ContainerSpec("image", ("true",), {}), old)

    def reaped(url: str, **words: bool) -> tuple[list[str], str]:
        """Machines that are left, and what was said."""
        clock.advance(60.0)
        reap(provider=name, yes=True, store=url, **words)
        return sorted(harness.machines()), "".join(capsys.readouterr())

    a, b = STORES
    left, said = reaped(b)  # at work for run "run" of its own store, each of them
    assert left == sorted([*its.values(), old])
    assert "not touched" in said
    assert all(name in said for name in (its[a], old))
    raise_attempt(stores[b], "run")
    left, _ = reaped(b)
    assert left == sorted([its[a], old])
    left, said = reaped(a)
    assert left == sorted([its[a], old])
    assert "1 at work for a run" in said
    left, _ = reaped(b, foreign=True)
    assert left == []
    if name == "runpod":  # a login whose machine was never seen to be gone, and a person's own
        for login in ("mimir-run-a0001-o12345678", "theirs"):
            body = {"name": login, "username": "u", "password": "p"}
            rented.cloud._http.send("POST", "/v2/registries", json=body)  # type: ignore[attr-defined]
    found = [each.details for each in leftovers()]
    assert len(found) == 1
    assert LEFT[name] in found[0]
    harness.close()


def ordered(rented: Rented, offer: Offer, url: str, store: Store) -> str:
    """Attempt 1 of run "run" of this store, with its machine; that one's name."""
    create_run(
        store, RunRecord("run", "smoke", CONFIG.as_dict(), 0, store.now(), probe={"fit": True})
    )
    raise_attempt(store, "run", Order(rented.name, Plan((rented.name,)), store.now()))
    spec = AttemptSpec(url, "run", 1, env=SECRETS, offer=offer)
    machine = rented.start(spec)
    assert owner_of(machine.name) == owner.read(store)
    return machine.name
