"""Captured steps are eager steps. Needs a GPU: without one nothing can be captured."""

import pytest
import torch

from mimir.batch import Shelf
from mimir.engine import Engine, Machine
from tests import toys

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU is visible, and CUDA graphs exist on GPUs only"
)


def ends(machine: Machine, steps: int, graph_steps: int) -> dict[str, torch.Tensor]:
    """The whole state after some steps."""
    data = toys.peptides(400)
    shelf = Shelf.of(data, torch.arange(len(data)), machine.device)
    engine = Engine(toys.config(graph_steps=graph_steps), shelf, toys.TARGETS, machine)
    while engine.step < steps:
        engine.advance(steps - engine.step)
    return {name: value.cpu() for name, value in engine.state.tensors().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if not torch.equal(one[name], other[name])]


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
