"""The id of a store: made once, whoever asks first."""

import pytest

from mimir.errors import Corrupt
from mimir.runs import layout, owner
from tests.runs.memory import MemoryStore


def test_it_is_made_once_and_by_who_orders(memory: MemoryStore) -> None:
    assert owner.read(memory) == ""
    assert memory.read(layout.OWNER) is None
    made = owner.identify(memory)
    assert (owner.identify(memory), owner.read(memory), len(made)) == (made, made, owner.DIGITS)
    assert owner.identify(MemoryStore()) != made


def test_who_comes_second_takes_the_first_ones(memory: MemoryStore, monkeypatch) -> None:
    real, first = memory.put_if_absent, MemoryStore()
    made = owner.identify(first)

    def slower(key: str, data: bytes) -> str:
        memory.put(key, first.get(key))
        return real(key, data)

    monkeypatch.setattr(memory, "put_if_absent", slower)
    assert owner.identify(memory) == made


@pytest.mark.parametrize("body", [b"{", b'{"format":1}', b'{"format":1,"id":"../../etc"}'])
def test_a_damaged_one_is_none(memory: MemoryStore, body: bytes) -> None:
    memory.put(layout.OWNER, body)
    with pytest.raises(Corrupt, match="owner"):
        owner.identify(memory)
