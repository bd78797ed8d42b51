"""A fast path that fails or errs is found out and left."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mimir import proof, rehearsal
from mimir.engine import Engine
from mimir.errors import NonFinite
from tests import toys


def engine() -> Engine:
    return toys.engine(toys.FIXED)


def proved(fast: Engine) -> tuple[Engine, list[str]]:
    lines: list[str] = []
    return proof.proven(fast, lines.append), lines


def test_what_is_right_is_kept_as_it_was() -> None:
    fast = engine()
    chosen, lines = proved(fast)
    assert (chosen, lines, fast.step) == (fast, [], 0)
    assert not rehearsal.differing(toys.tensors(fast), toys.tensors(engine()))


def doubled(fast: Engine) -> None:
    straight = fast._loss
    fast._loss = lambda *inputs: straight(*inputs) * 2


def backwards(fast: Engine) -> None:
    straight = fast._loss

    def turned(*inputs: Any) -> torch.Tensor:
        loss = straight(*inputs)
        return 2 * loss.detach() - loss

    fast._loss = turned


def nan(fast: Engine) -> None:
    straight = fast._loss
    fast._loss = lambda *inputs: straight(*inputs) * float("nan")


def still(fast: Engine) -> None:
    straight = fast._update

    def stays(state: Any, *rest: Any) -> None:
        kept = state.master.clone()
        straight(state, *rest)
        state.master.copy_(kept)

    fast._update = stays


def forgetful(fast: Engine) -> None:
    straight = fast._update

    def stays(state: Any, *rest: Any) -> None:
        kept = state.average.clone()
        straight(state, *rest)
        state.average.copy_(kept)

    fast._update = stays


def broken(fast: Engine) -> None:
    def fails(*inputs: Any) -> torch.Tensor:
        raise RuntimeError("no kernel image is available\nfor execution")

    fast._loss = fails


@pytest.mark.parametrize(("spoil", "why"), [
    (doubled, "wrong on this machine (the losses are ["),
    (backwards, "wrong on this machine (the gradients are 2"),
    (nan, "wrong on this machine (the losses are [nan"),
    (still, "wrong on this machine (the weights moved by 0 instead of"),
    (forgetful, "wrong on this machine (the averaged weights moved by 0 instead of"),
    (broken, "fails on this machine (RuntimeError: no kernel image is available)"),
])  # fmt: skip
def test_what_is_wrong_is_left(spoil: Callable[[Engine], None], why: str) -> None:
    fast = engine()
    spoil(fast)
    chosen, lines = proved(fast)
    assert chosen is not fast
    assert len(lines) == 1
    assert why in lines[0]
    chosen.advance(5)
    straight = engine()
    straight.advance(5)
    assert not rehearsal.differing(toys.tensors(chosen), toys.tensors(straight))


def test_an_error_of_ours_is_no_reason_to_go_on() -> None:
    fast = engine()

    def fails(*inputs: Any) -> torch.Tensor:
        raise NonFinite("of the data")

    fast._loss = fails
    with pytest.raises(NonFinite):
        proved(fast)
