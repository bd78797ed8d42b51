"""The probe refuses every store that ignores a condition, and lets the fit ones pass."""

from dataclasses import replace

import pytest

from mimir.errors import Conflict, StoreError, StoreUnfit
from mimir.runs.probe import probe
from tests.runs.memory import MemoryStore


def test_fit_stores_pass_and_stay_clean(store, request: pytest.FixtureRequest) -> None:
    found = probe(store, "demo")
    assert found["compare_and_swap"] == "refused when stale or deleted"
    # Ceph compares the ETag without quotes.
    wanted = {"s3": "quoted", "rgw": "bare"}
    backend = request.node.callspec.params["store"]
    assert found["if_match"] == wanted.get(backend, found["if_match"])
    assert list(store.list("")) == []


class CreatesTwice(MemoryStore):
    def put_if_absent(self, key, data):
        return self._set(key, data)


class SwapsStale(MemoryStore):
    def compare_and_swap(self, key, data, version):
        return (
            self._set(key, data)
            if key in self.objects
            else super().compare_and_swap(key, data, version)
        )


class SwapsMissing(MemoryStore):
    def compare_and_swap(self, key, data, version):
        return (
            self._set(key, data)
            if key not in self.objects
            else super().compare_and_swap(key, data, version)
        )


class RefusesYetWrites(MemoryStore):
    def put_if_absent(self, key, data):
        if key in self.objects:
            self._set(key, data)
            raise Conflict("exists")
        return self._set(key, data)


class RefusesStaleYetWrites(MemoryStore):
    def compare_and_swap(self, key, data, version):
        if key in self.objects and self.objects[key].version != version:
            self._set(key, data)
        return super().compare_and_swap(key, data, version)


class RefusesAll(MemoryStore):
    def compare_and_swap(self, key, data, version):
        raise Conflict("never")


class AcceptsAndForgets(MemoryStore):
    def compare_and_swap(self, key, data, version):
        super().compare_and_swap(key, b"old", version)
        return self.objects[key].version


class OneVersion(MemoryStore):
    def _set(self, key, data):
        super()._set(key, data)
        self.objects[key] = replace(self.objects[key], version="v")
        return "v"


class ListsLate(MemoryStore):
    def list(self, prefix):
        return iter(())


class KeepsDeleted(MemoryStore):
    def delete(self, key):
        self.objects[key] = replace(self.objects[key], version="gone")


class NotImplementedHere(MemoryStore):
    def put_if_absent(self, key, data):
        raise StoreUnfit("cannot create it: the server does not offer this operation")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (CreatesTwice, "accepted a second create"),
        (SwapsStale, "accepted a write over a stale version"),
        (SwapsMissing, "accepted a write over a deleted object"),
        (RefusesYetWrites, "a refused create changed"),
        (RefusesStaleYetWrites, "a refused replacement changed"),
        (RefusesAll, "refused a write over the right version"),
        (AcceptsAndForgets, "was not applied"),
        (OneVersion, "same version"),
        (ListsLate, "listing"),
        (KeepsDeleted, "deleted object"),
        (NotImplementedHere, "does not offer"),
    ],
)
def test_unfit_stores_are_refused_with_ways_out(kind: type[MemoryStore], says: str) -> None:
    with pytest.raises(StoreUnfit, match=says) as caught:
        probe(kind(), "demo")
    assert str(caught.value).count("Ways out: ") == 1
    assert "file:///" in str(caught.value)


def test_an_outage_is_not_a_verdict(memory, monkeypatch) -> None:
    def away(key: str, data: bytes) -> str:
        raise StoreError("timeout")

    monkeypatch.setattr(memory, "put_if_absent", away)
    with pytest.raises(StoreError) as caught:
        probe(memory, "demo")
    assert not isinstance(caught.value, StoreUnfit)
