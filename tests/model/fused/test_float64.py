"""Each kernel by itself against the same in float64, on shapes that go through its loops.

Several turns of every loop over rows, columns, peptides and partial sums; last tiles that are not
full; memory that no kernel may read (NaN) or write. In Triton's interpreter, in one process.
"""

import subprocess
import sys
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.model.buffers import LINE, Kept, Starts
from tests.waiting import LIMIT

PROGRAM = """
from tests.model.fused import test_float64
for check in test_float64.CHECKS:
    check()
"""
EPS = 1e-5
NEAR = {torch.float32: 5e-6, torch.float16: 2e-3}
"""Relative distance, float64 being exact: of sums in float32, and of results in float16."""
DTYPES = tuple(NEAR)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=rng).to(dtype)


def nothing(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """NaN: what is not written is seen, and what is read spoils the result."""
    return torch.full(shape, float("nan"), dtype=dtype)


def same(found: Tensor, wanted: Tensor, what: object) -> None:
    """Within the rounding of what is found."""
    near, exact = NEAR[found.dtype], wanted.double()
    apart = float((found.double() - exact).norm())
    assert apart < near * float(exact.norm()), (what, apart, float(exact.norm()))


def unwritten(vector: Tensor, written: list[tuple[int, int]], what: object) -> None:
    """Only these parts, (start, length), of a vector of `nothing` were written."""
    untouched = torch.isnan(vector)
    for start, length in written:
        assert not untouched[start : start + length].any(), (what, start, "not written")
        untouched[start : start + length] = True
    assert untouched.all(), (what, (~untouched).nonzero().flatten()[:5].tolist())


def peptides(lengths: list[int]) -> tuple[Tensor, Tensor]:
    size = torch.tensor(lengths)
    return size.cumsum(0) - size, size


def batch_of(count: int) -> list[int]:
    return [4 + (7 * i) % (MAX_LENGTH - 3) for i in range(count)]


def sorted_starts(*sizes: int) -> tuple[list[int], int]:
    """Where parts of these sizes lie in a vector, 16 apart, and how long that is."""
    starts = [16]
    for size in sizes:
        starts.append(starts[-1] + -(-size // 16) * 16 + 16)
    return starts[:-1], starts[-1]


def norm_of(value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(value, value.shape[-1:], weight.double(), bias.double(), EPS)


def check_norms() -> None:
    from mimir.model.fused import norms

    norms.PROGRAMS = 3  # else a program would have a second tile from 128 tiles on
    for (rows, dim), dtype in product(((41, 300), (150, 40)), DTYPES):
        height, tiles, programs = norms.tiles(rows, dim)
        assert tiles >= 2
        assert rows % height
        x, grad = drawn(rows, dim), drawn(rows, dim, seed=1)
        added, flow = (drawn(rows, dim, dtype=dtype, seed=seed) for seed in (2, 3))
        weight, bias = (drawn(dim, dtype=dtype, seed=seed) for seed in (4, 5))
        total, out = nothing(rows, dim), nothing(rows, dim, dtype=dtype)
        norms.forward(x, added, weight, bias, total, out, EPS)
        what = ("norms", rows, dim, dtype)
        same(total, x.double() + added.double(), what)
        same(out, norm_of(total.double(), weight, bias), what)

        to, low = nothing(rows, dim), nothing(rows, dim, dtype=dtype)
        partial = nothing(2, programs, dim)
        norms.backward(flow, grad, total, weight, to, low, partial, EPS)
        exact = [value.double().requires_grad_() for value in (total, weight, bias)]
        slopes = torch.autograd.grad(norm_of(*exact), exact, flow.double())
        same(to, grad.double() + slopes[0], what)
        same(low, to.double(), what)
        same(partial[0].sum(0), slopes[1], what)
        same(partial[1].sum(0), slopes[2], what)


def check_gelu_products() -> None:
    """K of several BK, whole ones (of 64) and not (of 32); both sizes of tile."""
    from mimir.model.fused import products

    chosen = products.tile
    for tile, dtype in product((None, (128, 128, 8)), DTYPES):
        products.tile = chosen if tile is None else lambda *_: (128, 128, 8)
        for rows, inner, columns in ((21, 80, 72), (150, 80, 136), (70, 192, 136)):
            what = ("products", tile, rows, inner, columns, dtype)
            x, bias = drawn(rows, inner, dtype=dtype), drawn(columns, dtype=dtype, seed=1)
            weight = drawn(columns, inner, dtype=dtype, seed=2) / inner**0.5
            pre, out = (nothing(rows, columns, dtype=dtype) for _ in range(2))
            products.up(x, weight, bias, pre, out)
            same(pre, x.double() @ weight.double().t() + bias.double(), what)
            same(out, F.gelu(pre.double()), what)

            flow, across = drawn(rows, inner, dtype=dtype, seed=3), weight.t().contiguous()
            back, before = nothing(rows, columns, dtype=dtype), pre.double().requires_grad_()
            products.down_back(flow, across, pre, back)
            whole = flow.double() @ across.double()
            same(back, torch.autograd.grad(F.gelu(before), before, whole)[0], what)
    products.tile = chosen


def check_weight_gradients() -> None:
    """Several tiles each way, the last ones not full; rows behind the last peptide hold NaN."""
    from mimir.model.fused import products

    chosen, names = products.gradient_tile, ("qkv", "out", "up", "down")
    starts, lengths = peptides(batch_of(9))
    real = int(lengths.sum())
    rows, layers, dim, wide, letters = real + 13, 2, 80, 160, len(LETTERS)
    assert real > 64
    sizes = {"qkv": (3 * dim, dim), "out": (dim, dim), "up": (wide, dim), "down": (dim, wide)}
    for tile, dtype in product(((64, 64, 4), (128, 128, 4)), DTYPES):
        products.gradient_tile = lambda *_, tile=tile: tile
        kept = Kept.of(torch.empty(0, dtype=dtype), layers, rows, dim, wide)
        kept.buffer.copy_(drawn(len(kept.buffer), dtype=dtype))
        for view in kept.views.values():
            view[..., real:, :] = float("nan")
        kept.views["head.y"][:, letters:] = 0
        at, size = sorted_starts(*(m * n for m, n in sizes.values()),
                                 *(m for m, _ in sizes.values()))  # fmt: skip
        head, bias = layers * size + 16, layers * size + 32 + letters * dim
        keys = (*names, "head")
        places = products.Places(
            tuple(kept.start[key + ".y"] for key in keys),
            tuple(kept.start[key + ".x"] for key in keys),
            (*at[:4], head), (*at[4:], bias), size, size,
        )  # fmt: skip
        gradient = nothing(bias + letters + 16, dtype=dtype)
        products.weight_gradients(
            kept.buffer, gradient, places, starts, lengths, rows, layers, dim, wide, letters, LINE
        )
        parts = [
            (at[i] + layer * size, at[4 + i] + layer * size, *(
                kept.views[name + end][layer, :real] for end in (".y", ".x")))
            for layer in range(layers) for i, name in enumerate(names)
        ]  # fmt: skip
        parts.append((head, bias, kept.views["head.y"][:real, :letters],
                      kept.views["head.x"][:real]))  # fmt: skip
        written = []
        for number, (to, side, y, x) in enumerate(parts):
            wanted, what = y.double().t() @ x.double(), ("wgrad", tile, dtype, number)
            same(gradient[to : to + wanted.numel()], wanted.flatten(), what)
            same(gradient[side : side + y.shape[1]], y.double().sum(0), what)
            written += [(to, wanted.numel()), (side, y.shape[1])]
        unwritten(gradient, written, ("wgrad", tile, dtype))
    products.gradient_tile = chosen


def check_embedding() -> None:
    """More peptides than groups, more columns than a program's, rows of no whole tile."""
    from mimir.model.fused import embedding
    from mimir.model.fused.sums import COLUMNS

    timesteps, targets, dim = 20, 40, 80
    lengths = batch_of(37)
    starts, size = peptides(lengths)
    rows, batch = int(size.sum()), len(lengths)
    assert dim > COLUMNS
    assert batch > 2 * embedding.GROUPS
    assert rows % embedding.height(dim)
    rng = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, MASK + 1, (rows,), generator=rng)
    slots = torch.cat([MAX_LENGTH * i + torch.arange(n) for i, n in enumerate(lengths)])
    ends = ((1, timesteps + 1), (0, 3), (0, targets))
    timestep, label, target = (torch.randint(*end, (batch,), generator=rng) for end in ends)
    starts_of, end = sorted_starts(*(n * dim for n in (MASK + 1, MAX_LENGTH, 3, targets, 2)))
    letter, position, of_label, of_target, norm = starts_of
    at = Starts(letter, position, of_label, of_target, norm, 0, 0, 0, 0, 0)
    for dtype in DTYPES:
        low, table = drawn(end, dtype=dtype), drawn(timesteps, dim, dtype=dtype, seed=1)
        x, out = nothing(rows, dim), nothing(rows, dim, dtype=dtype)
        embedding.embed(tokens, slots, timestep, label, target, table, low, at, x, out, EPS)

        def rows_of(start: int, index: Tensor, low: Tensor = low) -> Tensor:
            return low[start:].double()[index[:, None] * dim + torch.arange(dim)]

        condition = table.double()[timestep - 1] + rows_of(of_label, label)
        condition += rows_of(of_target, target)
        exact = condition[slots // MAX_LENGTH] + rows_of(position, slots % MAX_LENGTH)
        exact += rows_of(letter, tokens)
        same(x.to(dtype), exact, ("embed", dtype))
        weight, bias = low[norm : norm + dim], low[norm + dim : norm + 2 * dim]
        same(out, norm_of(x.double(), weight, bias), ("embed", dtype))

        grad = drawn(rows, dim, seed=2)
        sums, partial = nothing(batch, dim, dtype=dtype), nothing(embedding.GROUPS, 2, 32, dim)
        embedding.condition_back(grad, tokens, starts, size, sums, partial)
        exact = grad.double()
        same(sums, torch.stack([part.sum(0) for part in exact.split(lengths)]), ("sums", dtype))
        found = partial.sum(0)
        same(found[0].to(dtype), added_up(tokens, exact, 32), ("letters", dtype))
        same(found[1], added_up(slots % MAX_LENGTH, exact, 32), ("places", dtype))


def added_up(index: Tensor, values: Tensor, rows: int) -> Tensor:
    """Sums of the values that have the same index, [rows, D]."""
    return torch.zeros(rows, values.shape[1], dtype=values.dtype).index_add(0, index, values)


def check_head() -> None:
    """Rows of no whole tile, with and without a bias of the peptides."""
    from mimir.model.fused import head

    lengths, letters, dim = batch_of(7), len(LETTERS), 72
    rows = sum(lengths) + 3
    assert rows % head.HEAD_ROWS
    slots = torch.cat([MAX_LENGTH * i + torch.arange(n) for i, n in enumerate([*lengths, 3])])
    rng = torch.Generator().manual_seed(3)
    answers = torch.randint(0, letters, (rows,), generator=rng)
    weights = torch.rand(rows, generator=rng)
    weights[::3] = 0.0
    residues, programs = torch.tensor(rows - 3), head.head_programs(rows)
    (norm, of_head, of_bias), end = sorted_starts(2 * dim, letters * dim, letters)
    at = Starts(0, 0, 0, 0, 0, 0, 0, norm, of_head, of_bias)
    for biased, dtype in product((True, False), DTYPES):
        scale = torch.tensor(64.0 if dtype == torch.float16 else 1.0)
        low, x = drawn(end, dtype=dtype) / 4, drawn(rows, dim)
        added = drawn(rows, dim, dtype=dtype, seed=1)
        bias = drawn(len(lengths) + 1, letters, seed=2) if biased else None
        normed, logits = nothing(rows, dim, dtype=dtype), nothing(rows, LINE, dtype=dtype)
        to, to_low = nothing(rows, dim), nothing(rows, dim, dtype=dtype)
        partial, losses = nothing(2, programs, dim), nothing(programs)
        head.head(x, added, answers, weights, residues, scale, low, at, normed, logits, to, to_low,
                  partial, losses, EPS, slots, bias)  # fmt: skip

        last = (x + added).double().requires_grad_()
        own = low[norm : norm + 2 * dim].double().view(2, dim).requires_grad_()
        hidden = norm_of(last, own[0], own[1])
        matrix = low[of_head : of_head + letters * dim].double().view(letters, dim)
        exact = hidden @ matrix.t() + low[of_bias : of_bias + letters].double()
        exact.retain_grad()
        shown = exact if bias is None else exact + bias.double()[slots // MAX_LENGTH]
        terms = F.cross_entropy(shown, answers, reduction="none") * weights.double()
        loss = terms.sum() / residues
        (loss * scale).backward()
        what = ("head", biased, dtype)
        same(normed, hidden.detach(), what)
        near, worth = NEAR[dtype], float(loss.detach())
        assert abs(float(losses.sum()) - worth) < near * worth, what
        assert exact.grad is not None
        assert last.grad is not None
        assert own.grad is not None
        same(logits[:, :letters], exact.grad, what)
        assert not logits[:, letters:].any(), what
        for found, wanted in ((to, last.grad), (partial.sum(1), own.grad)):
            same(found.to(dtype), wanted, what)
        same(to_low, to.double(), what)


def check_sums() -> None:
    """Partial sums, peptides, timesteps and targets that take more than one turn of 32."""
    from mimir.model.fused import sums

    layers, programs, ends, groups, dim = 2, 37, 70, 5, 80
    batch, timesteps, targets = 71, 40, 67
    assert dim > sums.COLUMNS
    norms, head = drawn(layers, 2, 2, programs, dim), drawn(2, ends, dim)
    embedding, losses = drawn(groups, 2, 32, dim), drawn(ends)
    rng = torch.Generator().manual_seed(3)
    whole = ((1, timesteps + 1), (0, 3), (0, targets))
    timestep, label, target = (torch.randint(*end, (batch,), generator=rng) for end in whole)
    target[0], timestep[0] = targets - 1, timesteps
    parts = (MASK + 1, MAX_LENGTH, 3, targets, 2, 2, 2)
    (letter, position, of_label, of_target, one, two, last), size = sorted_starts(
        *(n * dim for n in parts)
    )
    at = Starts(letter, position, of_label, of_target, one, two, size, last, 0, 0)
    for dtype in DTYPES:
        condition = drawn(batch, dim, dtype=dtype)
        gradient, table = nothing(2 * size, dtype=dtype), nothing(timesteps, dim, dtype=dtype)
        loss = nothing()
        sums.finish(norms, head, embedding, losses, condition, timestep, label, target, gradient,
                    table, loss, at, targets)  # fmt: skip
        exact = condition.double()
        same(table, added_up(timestep - 1, exact, timesteps), ("timesteps", dtype))
        same(loss, losses.double().sum(), ("loss", dtype))
        wanted = [
            (letter, embedding.double().sum(0)[0, : MASK + 1]),
            (position, embedding.double().sum(0)[1, :MAX_LENGTH]),
            (of_label, added_up(label, exact, 3)), (of_target, added_up(target, exact, targets)),
            (last, head.double().sum(1)),
            *((start + i * size, norms[i, which].double().sum(1))
              for i in range(layers) for which, start in enumerate((one, two))),
        ]  # fmt: skip
        for start, value in wanted:
            same(gradient[start : start + value.numel()], value.flatten(), (start, dtype))
        unwritten(gradient, [(start, value.numel()) for start, value in wanted], dtype)


def check_timestep() -> None:
    """Columns of two turns, hidden ones of no whole program, fewer timesteps than rows."""
    from mimir.model.fused import timestep

    steps, dim = 20, 82
    wide = 4 * dim
    assert wide % timestep.HIDDEN
    sizes = (wide * dim, wide, dim * wide, dim)
    at, end = sorted_starts(*sizes)
    for dtype in DTYPES:
        flow, waves = drawn(steps, dim, dtype=dtype), drawn(steps, dim, dtype=dtype, seed=1)
        pre, low = drawn(steps, wide, dtype=dtype, seed=2), drawn(end, dtype=dtype) / dim**0.5
        hidden, gradient = F.gelu(pre.double()).to(dtype), nothing(end, dtype=dtype)
        timestep.back(flow, pre, hidden, waves, low, gradient, *at)
        before = pre.double().requires_grad_()
        down = low[at[2] : at[2] + dim * wide].double().view(dim, wide)
        (back,) = torch.autograd.grad(F.gelu(before), before, flow.double() @ down)
        wanted = (
            back.t() @ waves.double(), back.sum(0), flow.double().t() @ hidden.double(),
            flow.double().sum(0),
        )  # fmt: skip
        for start, value in zip(at, wanted, strict=True):
            found = gradient[start : start + value.numel()]
            same(found, value.flatten(), ("timestep", start, dtype))
        unwritten(gradient, list(zip(at, sizes, strict=True)), ("timestep", dtype))


CHECKS = (
    check_norms, check_gelu_products, check_weight_gradients, check_embedding, check_head,
    check_sums, check_timestep,
)  # fmt: skip


def test_each_kernel_is_that_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
