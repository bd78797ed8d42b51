import hashlib

import numpy as np
import pytest
import torch

from mimir.model import philox

# Known answers of the Random123 distribution, kat_vectors, philox4x32 with 10 rounds.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def reference(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds in unsigned 64-bit NumPy: [n, 4] to [n, 4]."""
    low = np.uint64(0xFFFFFFFF)
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k = list(key)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        shift = np.uint64(32)
        c = [
            (p1 >> shift) ^ c[1] ^ np.uint64(k[0]), p1 & low,
            (p0 >> shift) ^ c[3] ^ np.uint64(k[1]), p0 & low,
        ]  # fmt: skip
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return np.stack(c, axis=1)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    c = [torch.tensor(word) for word in hexadecimal(counter)]
    k = hexadecimal(key)
    found = philox.philox4x32_10((c[0], c[1], c[2], c[3]), (k[0], k[1]))
    assert [int(word) for word in found] == hexadecimal(answer)


def test_equals_unsigned_numpy() -> None:
    random = np.random.default_rng(1)
    counter = random.integers(0, 2**32, (1000, 4), dtype=np.uint64)
    for key in [(0, 0), (0xFFFFFFFF, 1), (0x12345678, 0xFEDCBA98)]:
        c = [torch.from_numpy(counter[:, i].astype(np.int64)) for i in range(4)]
        found = torch.stack(philox.philox4x32_10((c[0], c[1], c[2], c[3]), key), 1)
        assert np.array_equal(found.numpy().astype(np.uint64), reference(counter, key))


def test_words_are_the_lanes_of_their_counters() -> None:
    seed, step = 0xABCDEF0123456789, 77
    counter = np.array([[block, 0, step, philox.MASK] for block in range(3)], dtype=np.uint64)
    wanted = reference(counter, (seed & 0xFFFFFFFF, seed >> 32)).reshape(-1)
    found = philox.words(seed, philox.MASK, torch.tensor(step), 10)
    assert found.tolist() == wanted[:10].astype(int).tolist()


def test_a_longer_request_begins_with_the_shorter_one() -> None:
    steps = torch.tensor([[3, 4], [2**31, 2**32 - 1]])
    long = philox.words(9, philox.TIME, steps, 11)
    assert long.shape == (2, 2, 11)
    for count in range(1, 11):
        assert torch.equal(philox.words(9, philox.TIME, steps, count), long[..., :count])
    assert torch.equal(philox.words(9, philox.TIME, steps[1, 0], 11), long[1, 0])


# The compiler of torch 2.13 uses a part of torch that torch calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_compiled_gives_the_same_bits() -> None:
    def draw(step: torch.Tensor) -> torch.Tensor:
        return philox.words(2**63 - 25, philox.MASK, step, 33)

    step = torch.tensor([0, 1, 2**32 - 1])
    compiled = torch.compile(draw, fullgraph=True)
    assert torch.equal(compiled(step), draw(step))


def test_a_permutation_is_one() -> None:
    one = philox.permutation(7, philox.ORDER, torch.tensor(0), 10_000)
    assert one.sort().values.tolist() == list(range(10_000))
    assert not torch.equal(one, philox.permutation(7, philox.ORDER, torch.tensor(1), 10_000))
    assert not torch.equal(one, philox.permutation(8, philox.ORDER, torch.tensor(0), 10_000))
    # 100 fixed points in 10,000 would be no shuffle; one is expected.
    assert int((one == torch.arange(10_000)).sum()) < 10


def test_streams_are_pinned() -> None:
    """Renumbering a stream would change what every run of every user means."""
    names = ["ORDER", "TIME", "MASK", "COND", "EVAL_TIME", "EVAL_MASK", "SAMPLE_ORDER",
             "SAMPLE_TOKEN", "INIT", "LENGTH"]  # fmt: skip
    digest = hashlib.sha256()
    for name in names:
        words = philox.words(1234567890123, getattr(philox, name), torch.arange(5), 7)
        digest.update(words.numpy().astype("<i8").tobytes())
    order = philox.permutation(42, philox.ORDER, torch.tensor(3), 1000)
    digest.update(order.numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "918c5eaff9421d6dfba73ac2f30659e7f428b80a5ce8cdb64205a7ea8dce7492"
    )


def test_uniform_stays_inside_and_is_flat() -> None:
    ends = philox.uniform(torch.tensor([0, 2**32 - 1]))
    assert 0 < float(ends[0]) < 1e-9
    assert 1 - 1e-9 < float(ends[1]) < 1
    u = philox.uniform(philox.words(1, philox.MASK, torch.tensor(0), 100_000))
    cells = torch.histc(u.float(), 10, 0, 1)
    # Chi-square with 9 degrees of freedom: 27.9 is passed once in a thousand seeds.
    assert float(((cells - 10_000) ** 2 / 10_000).sum()) < 27.9
