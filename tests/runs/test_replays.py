import pytest

from mimir.errors import Corrupt
from mimir.runs import codec, layout, replays
from mimir.runs.replays import Replay
from tests.runs.memory import MemoryStore

SAME = Replay(1.8e9, 600, 635, "0" * 64, "a CPU", "2.13", "a CPU", "2.13", True, 130, 0)


def test_the_last_result_is_kept() -> None:
    store = MemoryStore()
    assert replays.read(store, "r") is None
    other = Replay(1.8e9, 1, 2, "", "L4", "2.9", "T4", "2.8", False, 130, 3, "ema.letter", 1e-7)
    for each in (SAME, other):
        replays.write(store, "r", each)
        assert replays.read(store, "r") == each
    assert SAME.sentence == (
        "steps 600 to 635 replayed on 2027-01-15 (a CPU, torch 2.13): identical"
    )
    assert other.sentence == (
        "steps 1 to 2 replayed on 2027-01-15 (L4, torch 2.9; the run: T4, torch 2.8, so it may "
        "round otherwise): different in 3 of 130 tensors, first by name ema.letter by up to 1e-07"
    )
    store.put(layout.replay_key("r"), codec.sealed({"time": "x"}, replays.FORMAT))
    with pytest.raises(Corrupt, match=r"replay\.json"):
        replays.read(store, "r")
