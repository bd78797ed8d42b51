"""Captured steps are eager steps. Needs a GPU: without one nothing can be captured."""

import pytest
import torch

from mimir.batch import Shelf
from mimir.engine import Engine, Machine
from tests import toys

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU is visible, and CUDA graphs exist on GPUs only"
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("steps", [3, 8, 21])
def test_captured_steps_equal_eager_steps_bitwise(dtype: torch.dtype, steps: int) -> None:
    machine = Machine(torch.device("cuda"), dtype, False, fixed=True)
    data = toys.peptides(400)
    ends = []
    for graph_steps in (0, 8):
        shelf = Shelf.of(data, torch.arange(len(data)), machine.device)
        engine = Engine(toys.config(graph_steps=graph_steps), shelf, toys.TARGETS, machine)
        while engine.step < steps:
            engine.advance(steps - engine.step)
        ends.append({name: value.cpu() for name, value in engine.state.tensors().items()})
    different = [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])]
    assert not different
