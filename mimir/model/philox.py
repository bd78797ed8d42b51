"""Philox4x32-10: randomness as a pure function of a counter.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Written in int64 tensor operations, so that every device, and torch.compile, gives the
same bits; a saved generator state would not (the same CUDA seed yields other numbers on
another GPU model). A resumed run therefore has no random state to restore.
"""

import torch
from torch import Tensor

# The multipliers less 2**32. With these no product leaves int64: a wrapped one is undefined
# in C++, and there torch.compile gave other bits.
_M0, _M1 = 0xD2511F53 - 2**32, 0xCD9E8D57 - 2**32
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = 0xFFFFFFFF

# Stream numbers are part of the meaning of a run: never renumber.
ORDER, TIME, MASK, COND, EVAL_TIME, EVAL_MASK, SAMPLE_ORDER, SAMPLE_TOKEN, INIT, LENGTH = range(10)
PAIRS, HIDDEN = 10, 11

Word = int | Tensor


def philox4x32_10(
    counter: tuple[Word, Word, Word, Word], key: tuple[Word, Word]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ten Philox rounds.

    Args:
        counter: four words in [0, 2**32), int64 tensors (broadcast against each other) or
            integers; at least one is a tensor.
        key: two words in [0, 2**32).

    Returns:
        Four int64 tensors of the broadcast shape, each word in [0, 2**32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # The missing c * 2**32 is c in the upper word and nothing in the lower one.
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (
            ((p1 >> 32) + c2) ^ c1 ^ k0,
            p1 & _LOW,
            ((p0 >> 32) + c0) ^ c3 ^ k1,
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    out = torch.broadcast_tensors(*(torch.as_tensor(c) for c in (c0, c1, c2, c3)))
    return out[0], out[1], out[2], out[3]


def words(seed: int, stream: int, step: Tensor, count: int) -> Tensor:
    """Random words of a stream at a step.

    Args:
        seed: the run's seed, in [0, 2**64).
        stream: one of this module's stream numbers.
        step: int64, any shape S: step, epoch or sample number, in [0, 2**32).
        count: how many words at each step.

    Returns:
        int64 [*S, count], each in [0, 2**32). Word i is lane i % 4 of counter
        (i // 4, 0, step, stream): a longer request begins with the shorter one's words.
    """
    # The mask changes nothing, but keeps torch.compile from making the first product the
    # arange's stride, which it computes in 32 bits (torch 2.13).
    blocks = torch.arange((count + 3) // 4, device=step.device, dtype=torch.int64) & _LOW
    lanes = philox4x32_10((blocks, 0, step.unsqueeze(-1), stream), (seed & _LOW, seed >> 32))
    return torch.stack(lanes, dim=-1).flatten(-2)[..., :count]


def permutation(seed: int, stream: int, epoch: Tensor, count: int) -> Tensor:
    """The order of epochs of any shape S: int64 [*S, count], permutations of range(count).

    64-bit keys sorted stably, so the order depends on no library's shuffle, and ties are decided.
    """
    pair = words(seed, stream, epoch, 2 * count).unflatten(-1, (count, 2))
    return torch.argsort((pair[..., 0] << 32) | pair[..., 1], dim=-1, stable=True)


def uniform(bits: Tensor) -> Tensor:
    """Words in [0, 2**32) to float64 in (0, 1): the midpoint of each of the 2**32 cells."""
    return (bits.to(torch.float64) + 0.5) * 2.0**-32
