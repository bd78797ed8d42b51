"""What only a GPU can show: captured steps are eager steps, bit for bit (`make test-gpu`)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimir.checks import fast_path
from mimir.config import KERNELS
from mimir.model.attention import HeadIndex, attention
from mimir.model.batch import DeviceData
from mimir.training import own_kernels
from mimir.training.engine import Engine
from mimir.training.machine import Machine
from tests import toys
from tests.gpu import needs_gpu
from tests.model.test_attention import layout_of

pytestmark = needs_gpu


def ends(machine: Machine, steps: int, graph_steps: int) -> dict[str, torch.Tensor]:
    """The whole state after some steps; after the first eight a cooldown begins."""
    packed = toys.peptides(400)
    config = toys.config(graph_steps=graph_steps, cooldown_steps=10)
    data = DeviceData.of(packed, np.arange(len(packed)), machine.device, config.objective)
    engine = Engine(config, data, toys.TARGETS, machine)
    while engine.step < steps:
        engine.advance(min(8, steps - engine.step))
        if engine.step == 8:
            engine.begin_cooldown()
    return {name: value.cpu() for name, value in engine.state.tensors().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if not torch.equal(one[name], other[name])]


def without(*names: str) -> tuple[str, ...]:
    return tuple(each for each in KERNELS if each not in names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("steps", [3, 8, 21])
def test_captured_steps_equal_eager_steps_bitwise(dtype: torch.dtype, steps: int) -> None:
    machine = Machine(torch.device("cuda"), dtype, False, fixed=True)
    assert not differing(ends(machine, steps, 0), ends(machine, steps, 8))


@pytest.mark.filterwarnings("ignore")  # of torch's compiler and of its libraries
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_compiled_captured_steps_equal_compiled_steps_bitwise(
    dtype: torch.dtype, fused: bool
) -> None:
    machine = Machine(torch.device("cuda"), dtype, compiled=True, fixed=True, fused=fused)
    torch.compiler.reset()
    one, other = ends(machine, 21, 0), ends(machine, 21, 8)
    assert not differing(one, other)
    plain = ends(Machine(torch.device("cuda"), dtype, False, fixed=True), 21, 8)
    assert torch.allclose(one["loop.losses"], plain["loop.losses"], atol=2e-2)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler and of its libraries
@pytest.mark.parametrize(
    "kernels",
    [(each,) for each in KERNELS if each not in ("peptide", "branch")]
    + [without("peptide", "attention"), without("attention")],
    ids="+".join,
)
def test_steps_with_our_kernels_are_the_same_captured_repeated_and_eager(
    kernels: tuple[str, ...],
) -> None:
    machine = Machine(
        torch.device("cuda"), torch.bfloat16, compiled=True, fixed=True, fused=True,
        kernels=frozenset(kernels),
    )  # fmt: skip
    torch.compiler.reset()
    one = ends(machine, 21, 8)
    assert not differing(one, ends(machine, 21, 0))
    assert not differing(one, ends(machine, 21, 8))
    plain = ends(replace(machine, kernels=frozenset()), 21, 8)
    assert torch.allclose(one["loop.losses"], plain["loop.losses"], atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("heads", "width"), [(4, 16), (4, 32), (8, 64)])
@pytest.mark.parametrize("names", [frozenset(), frozenset({"attention"})])
def test_the_kernel_is_the_plain_attention(
    dtype: torch.dtype, heads: int, width: int, names: frozenset[str]
) -> None:
    kernels = own_kernels.attention(names)

    lengths, spare = [4, 20, 7, 13, 20, 5], 70
    size = torch.tensor(lengths, device="cuda")
    rng = torch.Generator("cuda").manual_seed(0)
    qkv = torch.randn(sum(lengths) + spare, 3 * heads * width, generator=rng, device="cuda")
    flow = torch.randn(len(qkv), heads * width, generator=rng, device="cuda")
    low = qkv.to(dtype).requires_grad_()
    mixed = kernels.attention(low, size.cumsum(0) - size, size, heads)
    (grad,) = torch.autograd.grad(mixed, low, flow.to(dtype))
    exact = low.detach().double().cpu().requires_grad_()
    index = HeadIndex.of(layout_of(lengths, spare), heads)
    wanted = attention(exact, index, heads)
    (slope,) = torch.autograd.grad(wanted, exact, flow.to(dtype).double().cpu())
    near = 1e-5 if dtype == torch.float32 else 1e-2
    real = sum(lengths)
    for mine, other in ((mixed, wanted), (grad, slope)):
        mine, other = mine.double().cpu()[:real], other[:real]
        assert float((mine - other).norm()) < near * float(other.norm())
    assert not mixed[real:].any()
    assert not grad[real:].any()


@pytest.mark.filterwarnings("ignore")
def test_the_fast_mode_passes_the_parity_check() -> None:
    packed = toys.peptides(400)
    torch.compiler.reset()
    config = toys.config(dim=64, heads=4, batch=32, device="cuda")
    machine = Machine.choose(config)
    assert machine.compiled
    data = DeviceData.of(packed, np.arange(len(packed)), machine.device, config.objective)
    lines: list[str] = []
    engine = Engine(config, data, toys.TARGETS, machine)
    assert fast_path.parity_checked(engine, lines.append) is engine, lines
