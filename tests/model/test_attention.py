import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.data.alphabet import MAX_LENGTH
from mimir.model.attention import HeadIndex, Layout, attention

HEADS, WIDTH = 2, 3


def layout_of(lengths: list[int], spare: int = 0) -> Layout:
    """Peptides end to end, then `spare` places that stand for no residue."""
    size = torch.tensor(lengths)
    valid = torch.arange(MAX_LENGTH) < size[:, None]
    slot_of = valid.view(-1).nonzero().view(-1)
    row_of = (valid.view(-1).cumsum(0) - 1).clamp(min=0)
    real = torch.arange(len(slot_of) + spare) < len(slot_of)
    extra = torch.full((spare,), (len(lengths) - 1) * MAX_LENGTH)
    return Layout(torch.cat([slot_of, extra]), row_of, valid, None, real if spare else None)


def library(qkv: Tensor, lengths: list[int]) -> Tensor:
    """Each peptide by itself through PyTorch's attention."""
    out = []
    for part in qkv[: sum(lengths)].split(lengths):
        q, k, v = part.view(len(part), 3, HEADS, WIDTH).permute(1, 2, 0, 3)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out.append(mixed.transpose(0, 1).reshape(len(part), HEADS * WIDTH))
    return torch.cat(out)


def some(rows: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3 * HEADS * WIDTH, generator=rng).requires_grad_()


@pytest.mark.parametrize("lengths", [[5], [4, 20, 7], [20, 20], [4, 5, 6, 7, 8, 9]])
@pytest.mark.parametrize("spare", [0, 6])
def test_equals_the_library(lengths: list[int], spare: int) -> None:
    rows = sum(lengths)
    qkv, layout = some(rows + spare), layout_of(lengths, spare)
    mixed = attention(qkv, HeadIndex.of(layout, HEADS), HEADS)
    wanted = library(qkv, lengths)
    assert torch.allclose(mixed[:rows], wanted, atol=1e-6)
    flow = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad((mixed[:rows] * flow).sum(), qkv)
    (grad,) = torch.autograd.grad((wanted * flow).sum(), qkv)
    assert torch.allclose(found, grad, atol=1e-6)
    assert not bool(found[rows:].any())


def test_the_gradient_is_that_of_finite_differences() -> None:
    # The softmax runs in float32, so the steps must be coarse and the bounds with them.
    index = HeadIndex.of(layout_of([4, 5]), HEADS)
    qkv = some(9).double().detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: attention(x, index, HEADS), (qkv,), eps=1e-2, atol=2e-4, rtol=1e-3
    )


def test_peptides_do_not_see_each_other() -> None:
    index = HeadIndex.of(layout_of([6, 9]), HEADS)
    qkv = some(15)
    mixed = attention(qkv, index, HEADS)
    (grad,) = torch.autograd.grad(mixed[:6].sum(), qkv)
    assert bool(grad[:6].any())
    assert not bool(grad[6:].any())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_near(dtype: torch.dtype) -> None:
    index = HeadIndex.of(layout_of([6, 9, 20]), HEADS)
    qkv = some(35)
    low = attention(qkv.to(dtype), index, HEADS)
    assert low.dtype == dtype
    assert torch.allclose(low.float(), attention(qkv, index, HEADS), atol=0.03)
