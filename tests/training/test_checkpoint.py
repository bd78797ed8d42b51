import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save

from mimir.data.files import canonical_json
from mimir.errors import BadInput, Corrupt, MimirError, NonFinite
from mimir.training import checkpoint
from mimir.training.checkpoint import Record, decode, decode_committed, take
from tests import ROOT, toys

CONFIG, DATA = "a" * 64, "b" * 64
RECORD = Record(5, CONFIG, DATA, 2, "2.0", "cpu", evaluated=4, val=2.9, selected=2.8)


def trained() -> toys.Engine:
    engine = toys.engine()
    engine.advance(5)
    return engine


def test_round_trip_is_identical_in_bytes() -> None:
    engine = trained()
    content = take(engine.state, RECORD).encode()
    record, tensors = decode(content, CONFIG, DATA)
    assert record == RECORD
    live = engine.state.tensors()
    assert tensors.keys() == live.keys()
    assert all(torch.equal(tensors[name], live[name]) for name in live)
    assert checkpoint.Snapshot(record, tensors).encode() == content
    other = toys.engine(seed=4)
    other.resume(tensors)
    assert take(other.state, RECORD).encode() == content


def test_metadata_is_one_key_of_canonical_json() -> None:
    content = take(trained().state, RECORD).encode()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    assert list(header["__metadata__"]) == ["mimir"]
    text = header["__metadata__"]["mimir"]
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_snapshot_does_not_follow_training() -> None:
    engine = trained()
    snapshot = take(engine.state, RECORD)
    content = snapshot.encode()
    engine.advance(3)
    assert snapshot.encode() == content
    assert take(engine.state, RECORD).encode() != content


def test_memory_that_was_released_takes_the_next_copy() -> None:
    """As on a GPU, whose pinned memory is slow to make."""
    engine = trained()
    live, kept = engine.state.tensors(), engine.state.buffers
    snapshot = checkpoint.Snapshot(RECORD, checkpoint._copied(live, kept), home=kept)
    content = snapshot.encode()
    assert content == take(engine.state, RECORD).encode()
    other = checkpoint._copied(live, kept)  # while the first is still being encoded
    assert all(other[name] is not snapshot.tensors[name] for name in live)
    snapshot.release()
    engine.advance(3)
    again = checkpoint.Snapshot(RECORD, checkpoint._copied(live, kept), home=kept)
    assert all(again.tensors[name] is snapshot.tensors[name] for name in live)
    assert again.encode() == take(engine.state, RECORD).encode() != content
    assert not kept


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("vector", ["master", "ema", "best", "exp_avg", "exp_avg_sq"])
def test_what_is_not_finite_is_never_committed(vector: str, value: float) -> None:
    engine = trained()
    with torch.no_grad():
        getattr(engine.state, vector)[-3] = value
    with pytest.raises(NonFinite, match="not finite at step 5"):
        take(engine.state, RECORD).encode()


def test_a_skipped_step_in_the_windows_is_no_damage() -> None:
    engine = trained()
    engine.state.norms[2] = float("inf")
    engine.state.losses[1] = float("nan")
    content = take(engine.state, RECORD).encode()
    assert float(decode(content, CONFIG, DATA)[1]["loop.norms"][2]) == float("inf")


@pytest.mark.parametrize(("name", "value"), [("best.", float("nan")), ("loop.step", -(10**6))])
def test_what_no_run_commits(name: str, value: float) -> None:
    tensors = {key: tensor.clone() for key, tensor in trained().state.tensors().items()}
    assert decode_committed(checkpoint.Snapshot(RECORD, tensors).encode(), CONFIG, DATA)
    changed = next(key for key in tensors if key.startswith(name))
    tensors[changed].fill_(value)
    content = save(tensors, {"mimir": canonical_json(asdict(RECORD))})
    with pytest.raises(Corrupt, match=f"not a whole checkpoint .*{name}"):
        decode_committed(content, CONFIG, DATA)


def test_of_another_run() -> None:
    content = take(trained().state, RECORD).encode()
    with pytest.raises(BadInput, match="another configuration"):
        decode(content, "c" * 64, DATA)
    with pytest.raises(BadInput, match="another data set"):
        decode(content, CONFIG, "c" * 64)


@pytest.mark.parametrize(
    ("other", "words"),
    [(99, "format 99, this Mimir knows up to 3"), (2, "format 2, .* use that one for this run")],
    ids=["newer", "best figure of pairs alone"],
)
def test_of_another_format(other: int, words: str) -> None:
    content = take(trained().state, replace(RECORD, format=other)).encode()
    with pytest.raises(Corrupt, match=words):
        decode(content, CONFIG, DATA)


@pytest.mark.parametrize("tenth", range(10))
def test_truncated(tenth: int) -> None:
    content = take(trained().state, RECORD).encode()
    with pytest.raises(Corrupt, match="not a whole checkpoint"):
        decode(content[: len(content) * tenth // 10], CONFIG, DATA)
    with pytest.raises(Corrupt):
        decode(content[:-1], CONFIG, DATA)


def test_a_flipped_bit_in_the_header_never_escapes_the_error_tree() -> None:
    """Flips inside tensors are found by the store's digest; here the header must hold up."""
    engine = trained()
    content = take(engine.state, RECORD).encode()
    end = 8 + int.from_bytes(content[:8], "little")
    refused = tried = 0
    for place in [*range(80), *range(80, end, 13)]:
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << (place % 8)
        tried += 1
        try:
            _, tensors = decode(bytes(spoiled), CONFIG, DATA)
            engine.state.load(tensors)
        except MimirError:
            refused += 1
    # What is accepted are digits and words of the record, such as the torch version.
    assert refused > 0.9 * tried


@pytest.mark.parametrize("body", ["[]", "3", "{}", '{"format": 1}', '{"format": 1, "x": 2}', "{"])
def test_a_record_that_is_none(body: str) -> None:
    content = save({"a": torch.zeros(1)}, {"mimir": body})
    with pytest.raises(Corrupt, match="checkpoint"):
        decode(content, CONFIG, DATA)
    with pytest.raises(Corrupt, match="not a whole checkpoint"):
        decode(save({"a": torch.zeros(1)}), CONFIG, DATA)


def test_no_pickle_anywhere() -> None:
    """Nothing in the tree can execute what a store holds."""
    root = ROOT
    words = ("pickle", "torch.load", "torch.save", "joblib", "marshal.load", "allow_pickle=True")
    for folder in ("mimir", "launch", "bench", "scripts"):
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text()
            assert not any(word in text for word in words), path
