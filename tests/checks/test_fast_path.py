"""A fast path that fails or errs is found out and left."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mimir.checks import dry_run, fast_path
from mimir.errors import NonFinite
from mimir.training.engine import Engine
from mimir.training.machine import Machine
from tests import toys


def engine() -> Engine:
    """Stands for a compiled one; compiling as such is tested elsewhere."""
    fast = toys.engine(toys.FIXED, lr=1e-4)
    fast.machine = replace(fast.machine, compiled=True)
    return fast


def proved(fast: Engine) -> tuple[Engine, list[str]]:
    lines: list[str] = []
    return fast_path.compared(fast, lines.append), lines


def test_what_is_right_is_kept_as_it_was() -> None:
    fast = engine()
    chosen, lines = proved(fast)
    assert (chosen, lines, fast.step) == (fast, [], 0)
    assert not dry_run.differing(toys.tensors(fast), toys.tensors(engine()))


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


def put_back(fast: Engine, vector: str, share: float) -> None:
    """After each update, `share` of the way that a vector of the state moved is taken back."""
    straight = fast._update

    def undone(state: Any, *rest: Any) -> None:
        live = getattr(state, vector)
        kept = live.clone()
        straight(state, *rest)
        live.copy_(live + share * (kept - live) if share != 1 else kept)

    fast._update = undone


def still(fast: Engine) -> None:
    put_back(fast, "master", 1)


def forgetful(fast: Engine) -> None:
    put_back(fast, "ema", 1)


def elsewhere(fast: Engine) -> None:
    put_back(fast, "master", 2)


def miscounted(fast: Engine) -> None:
    straight = fast._update

    def twice(state: Any, *rest: Any) -> None:
        straight(state, *rest)
        state.nonfinite += 1

    fast._update = twice


def broken(fast: Engine) -> None:
    def fails(*inputs: Any) -> torch.Tensor:
        raise RuntimeError("no kernel image is available\nfor execution")

    fast._loss = fails


@pytest.mark.parametrize(("spoil", "why"), [
    (doubled, "is wrong (the losses are ["),
    (backwards, "is wrong (the gradients are 2"),
    (nan, "is wrong (the losses are [nan"),
    (still, "is wrong (the weights moved by 0 instead of"),
    (forgetful, "is wrong (the averaged weights moved by 0 instead of"),
    (elsewhere, "is wrong (the weights moved elsewhere)"),
    (miscounted, "is wrong (loop.nonfinite is 2 instead of 0)"),
    (broken, "fails (RuntimeError: no kernel image is available)"),
])  # fmt: skip
def test_what_is_wrong_is_left(spoil: Callable[[Engine], None], why: str) -> None:
    fast = engine()
    spoil(fast)
    chosen, lines = proved(fast)
    assert chosen is not fast
    assert len(lines) == 1
    assert lines[0].startswith(f"compiled training {why}")
    chosen.advance(5)
    straight = engine()
    straight.advance(5)
    assert not dry_run.differing(toys.tensors(chosen), toys.tensors(straight))


def test_kernels_that_fail_are_left_and_compilation_stays() -> None:
    """Without a GPU, Triton's kernels cannot be launched."""
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    kernels = replace(toys.FIXED, kernels=frozenset({"update"}))
    chosen, lines = proved(toys.engine(kernels, lr=1e-4))
    assert chosen.machine == toys.FIXED
    (line,) = lines
    assert line.startswith("training with our kernels update fails (")
    assert line.endswith("on this machine; going on without it")
    assert chosen.execution.why == line.partition(" on this machine")[0]


def test_an_error_of_ours_is_no_reason_to_go_on() -> None:
    fast = engine()

    def fails(*inputs: Any) -> torch.Tensor:
        raise NonFinite("of the data")

    fast._loss = fails
    with pytest.raises(NonFinite):
        proved(fast)


def test_graphs_that_fail_too_are_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fast_path._plain

    def spoilt(fast: Engine, *, graphs: bool) -> Engine:
        made = plain(fast, graphs=graphs)
        if graphs:
            broken(made)
        return made

    monkeypatch.setattr(fast_path, "_plain", spoilt)
    fast = engine()
    doubled(fast)
    chosen, lines = proved(fast)
    assert chosen.config.runtime.graph_steps == 0
    assert [line.split(" on this machine")[1] for line in lines] == [
        "; going on without it", "; going on step by step, which is slow",
    ]  # fmt: skip
    chosen.advance(3)
    assert chosen.step == 3


def full(*inputs: Any, graphs: bool = False) -> Engine:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_without_memory_for_both_the_fast_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "_plain", full)
    fast = engine()
    chosen, lines = proved(fast)
    assert chosen is fast
    assert lines == [
        "the fast way of training is not compared with the plain one: no memory for both"
    ]
    broken(fast)
    with pytest.raises(torch.OutOfMemoryError):
        proved(fast)


def test_a_run_that_is_not_finite_anyhow_is_not_the_machines_fault() -> None:
    fast = engine()
    with torch.no_grad():
        fast.state.master.fill_(float("nan"))
    chosen, lines = proved(fast)
    assert (chosen, lines) == (fast, [])


@pytest.mark.parametrize("scale", [2.0**16, 2.0**40])
def test_fp16_is_compared_as_far_as_its_scale_allows(scale: float) -> None:
    """With the larger scale each step overflows and is skipped: the moments stay at zero."""
    half = Machine(torch.device("cpu"), torch.float16, compiled=True, fixed=True)
    fast = toys.engine(replace(half, compiled=False))
    fast.machine = half
    fast.state.scale.fill_(scale)
    chosen, lines = proved(fast)
    assert (chosen, lines) == (fast, [])
