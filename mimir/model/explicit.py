"""One training pass written out: loss and gradient without automatic differentiation.

It computes what `objective.mean_bound` and its gradient are, for batches of fixed shape, and
decides itself which kernel does what: gradients are written straight into the flat vector,
nothing is gathered afterwards. Each name in `config.KERNELS` replaces some of torch's operations
by a kernel of `mimir.model.fused`; without any, the pass runs everywhere and is what they are
tested against. The library's matrix products stay where they are as fast.

Sizes as in `denoiser`; F is the width of the feed-forward layers, L the number of layers.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.data.alphabet import LETTERS
from mimir.model.batch import Batch
from mimir.model.buffers import LINE, Flat, Kept, State
from mimir.model.denoiser import Denoiser
from mimir.model.embedding_and_head import EmbeddingAndHead
from mimir.model.kernel_limits import takes

LINEARS = ("qkv", "out", "up", "down")


class Explicit:
    """Loss and gradient of a model for batches of fixed shape.

    Args:
        model: its parameters are views of `flat`.
        kernels: names in `config.KERNELS`.
        attention: the module whose kernels compute attention; not used without `kernels`.
    """

    def __init__(
        self, model: Denoiser, flat: Flat, kernels: frozenset[str], attention: Any = None
    ) -> None:
        self.model, self.flat, self.kernels, self._attend = model, flat, kernels, attention
        size = model.size
        self.layers, self.dim, self.wide = size.layers, size.dim, size.ffn * size.dim
        self._eps = model.norm.eps
        apart = {"branch", "ends"} <= kernels and flat.weights.is_cuda
        self._side = torch.cuda.Stream() if apart else None
        self._ends = EmbeddingAndHead(model, flat, kernels)
        if kernels:  # Triton is there only where they run
            from mimir.model.fused import norms, peptide, products

            self._norms, self._peptide, self._products = norms, peptide, products
            at = flat.start
            self._blocks = peptide.Blocks(
                tuple(at[f"blocks.0.{name}.weight"] for name in LINEARS),
                flat.stride("qkv.weight"),
                tuple(at[f"blocks.0.{name}.bias"] for name in LINEARS),
            )  # fmt: skip

    @torch.no_grad()
    def __call__(self, batch: Batch, residues: Tensor, scale: Tensor) -> Tensor:
        """Write the gradient of `scale` times the loss into the flat gradient; return the loss.

        Args:
            residues: 0-d int64, those of the step; scale: 0-d float32.
        """
        rows, dim = len(batch.tokens), self.dim
        weights = self.flat.weights
        kept = Kept.of(weights, self.layers, rows, dim, self.wide)
        state = State(kept, batch, residues, scale)
        state.x = weights.new_empty(2 * self.layers, rows, dim, dtype=torch.float32)
        state.qkv = weights.new_empty(self.layers, rows, 3 * dim)
        state.pre = weights.new_empty(self.layers, rows, self.wide)
        state.grad = weights.new_empty(rows, dim, dtype=torch.float32)
        if self._narrow(len(batch.timestep)):
            return self._whole(state)
        programs = self._norms.tiles(rows, dim)[2] if "norm" in self.kernels else 1
        state.norms = weights.new_empty(self.layers, 2, 2, programs, dim, dtype=torch.float32)
        self._ends.embed(state)
        added = None
        for layer in range(self.layers):
            added = self._layer(state, layer, added)
        assert added is not None
        loss = self._ends.loss(state, added)
        for layer in reversed(range(self.layers)):
            self._layer_back(state, layer)
        with self._branch():
            self._ends.embed_back(state)
        self._products_back(state)
        self._join()
        return loss

    def _branch(self) -> Any:
        """Until `_join`, a stream beside the current one: small kernels beside a long one."""
        if self._side is None:
            return nullcontext()
        self._side.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._side)

    def _join(self) -> None:
        if self._side is not None:
            torch.cuda.current_stream().wait_stream(self._side)

    def _narrow(self, batch: int) -> bool:
        return {"peptide", "ends", "wgrad"} <= self.kernels and takes(
            self.dim, self.model.size.heads, self.wide, batch
        )

    def _whole(self, state: State) -> Tensor:
        """The pass with one kernel each way for everything that goes on within a peptide."""
        batch, layout, kept = state.batch, state.batch.layout, state.kept.views
        assert layout.starts is not None
        assert layout.lengths is not None
        own = (layout.starts, layout.lengths)
        low, count, heads = self.flat.weights, len(batch.timestep), self.model.size.heads
        new = state.grad.new_empty
        state.norms = new(self.layers, 2, 2, count, self.dim)
        state.head, state.losses, state.loss = new(2, count, self.dim), new(count), new(())
        self._peptide.forward(
            batch.tokens, *own, batch.timestep, batch.label, batch.target, self._ends.table(state),
            batch.token_labels, batch.weight, state.residues, state.scale, low, self._ends.at,
            self._blocks, state.x, state.qkv, state.pre,
            tuple(kept[name + ".x"] for name in LINEARS), kept["head.x"], kept["head.y"],
            state.grad, state.head, state.losses, heads, self._eps, batch.bias,
        )  # fmt: skip
        condition, embedding = low.new_empty(count, self.dim), new(count, 2, 32, self.dim)
        self._peptide.backward(
            batch.tokens, *own, low, self._ends.at, self._blocks, state.x, state.qkv, state.pre,
            state.grad, tuple(kept[name + ".y"] for name in LINEARS), state.norms, condition,
            embedding, heads, self._eps,
        )  # fmt: skip
        with self._branch():
            self._ends.finish(state, condition, embedding)
        self._products_back(state)
        self._join()
        return state.loss

    # Each block, forward and backward.

    def _layer(self, state: State, i: int, added: Tensor | None) -> Tensor:
        """One block but for its last addition, which belongs to the next norm."""
        kept, name = state.kept.views, f"blocks.{i}."
        if added is not None:
            self._norm(state.x[2 * i - 1], added, name + "norm1", state.x[2 * i], kept["qkv.x"][i])
        self.flat.linear(kept["qkv.x"][i], name + "qkv", state.qkv[i])
        self._attention(state, i)
        mixed = self.flat.linear(kept["out.x"][i], name + "out")
        self._norm(state.x[2 * i], mixed, name + "norm2", state.x[2 * i + 1], kept["up.x"][i])
        if "gelu" in self.kernels:
            weight, bias = self.flat.pair(name + "up")
            self._products.up(kept["up.x"][i], weight, bias, state.pre[i], kept["down.x"][i])
        else:
            self.flat.linear(kept["up.x"][i], name + "up", state.pre[i])
            kept["down.x"][i].copy_(F.gelu(state.pre[i]))
        return self.flat.linear(kept["down.x"][i], name + "down")

    def _layer_back(self, state: State, i: int) -> None:
        kept, name, weight = state.kept.views, f"blocks.{i}.", self.flat.weight
        coming, before = kept["down.y"][i], kept["up.y"][i]
        if "gelu" in self.kernels:
            self._products.down_back(coming, weight(name + "down.weight"), state.pre[i], before)
        else:
            flow = torch.mm(coming, weight(name + "down.weight"))
            before.copy_(torch.ops.aten.gelu_backward(flow, state.pre[i]))
        flow = torch.mm(before, weight(name + "up.weight"))
        self._norm_back(state, flow, i, 1, kept["out.y"][i])
        flow = torch.mm(kept["out.y"][i], weight(name + "out.weight"))
        self._attention_back(state, i, flow)
        flow = torch.mm(kept["qkv.y"][i], weight(name + "qkv.weight"))
        low = kept["down.y"][i - 1] if i else torch.empty_like(flow)
        self._norm_back(state, flow, i, 0, low)

    def _attention(self, state: State, i: int) -> None:
        layout, to = state.batch.layout, state.kept.views["out.x"][i]
        heads = self.model.size.heads
        if self.kernels and layout.starts is not None:
            assert layout.lengths is not None
            self._attend.forward(state.qkv[i], to, layout.starts, layout.lengths, heads)
            return
        with torch.enable_grad():
            qkv = state.qkv[i].detach().requires_grad_()
            mixed = self.model.attend(layout)(qkv)
        state.attended[i] = (qkv, mixed)
        to.copy_(mixed)

    def _attention_back(self, state: State, i: int, flow: Tensor) -> None:
        layout, to = state.batch.layout, state.kept.views["qkv.y"][i]
        if i in state.attended:
            qkv, mixed = state.attended[i]
            to.copy_(torch.autograd.grad(mixed, qkv, flow)[0])
            return
        assert layout.starts is not None
        assert layout.lengths is not None
        heads = self.model.size.heads
        self._attend.backward(flow, state.qkv[i], to, layout.starts, layout.lengths, heads)

    def _norm(self, x: Tensor, added: Tensor, name: str, total: Tensor, out: Tensor) -> None:
        weight, bias = self.flat.pair(name)
        if "norm" in self.kernels:
            self._norms.forward(x, added, weight, bias, total, out, self._eps)
            return
        torch.add(x, added, out=total)
        out.copy_(F.layer_norm(total, (self.dim,), weight.float(), bias.float(), self._eps))

    def _norm_back(self, state: State, flow: Tensor, i: int, which: int, low: Tensor) -> None:
        x, grad, partial = state.x[2 * i + which], state.grad, state.norms[i, which]
        weight, bias = self.flat.pair(f"blocks.{i}.norm{which + 1}")
        if "norm" in self.kernels:
            self._norms.backward(flow, grad, x, weight, grad, low, partial, self._eps)
            return
        mean = x.mean(1, keepdim=True)
        scale = torch.rsqrt(x.var(1, unbiased=False, keepdim=True) + self._eps)
        inner, to_weight, to_bias = torch.ops.aten.native_layer_norm_backward(
            flow.float(), x, (self.dim,), mean, scale, weight.float(), bias.float(), [True] * 3
        )
        grad += inner
        low.copy_(grad)
        partial[0, 0], partial[1, 0] = to_weight, to_bias

    # Products.

    def _products_back(self, state: State) -> None:
        """Gradients of the linear layers, from their inputs and those of their outputs."""
        ends, kept, at = "ends" in self.kernels, state.kept, self.flat.start
        if "wgrad" in self.kernels:
            layout = state.batch.layout
            assert layout.starts is not None
            assert layout.lengths is not None
            names = (*(f"blocks.0.{name}" for name in LINEARS), "head")
            keys = (*LINEARS, "head")
            places = self._products.Places(
                tuple(kept.start[key + ".y"] for key in keys),
                tuple(kept.start[key + ".x"] for key in keys),
                tuple(at[name + ".weight"] for name in names),
                tuple(at[name + ".bias"] for name in names), self.flat.stride("qkv.weight"),
                self.flat.stride("qkv.bias"),
            )  # fmt: skip
            self._products.weight_gradients(
                kept.buffer, self.flat.gradient, places, layout.starts, layout.lengths,
                state.x.shape[1], self.layers, self.dim, self.wide, len(LETTERS) if ends else 0,
                LINE,
            )  # fmt: skip
            return
        pairs = [
            (f"blocks.{i}.{name}", kept.views[name + ".y"][i], kept.views[name + ".x"][i])
            for i in range(self.layers) for name in LINEARS
        ]  # fmt: skip
        if ends:
            pairs.append(("head", kept.views["head.y"][:, : len(LETTERS)], kept.views["head.x"]))
        for name, y, x in pairs:
            torch.mm(y.t(), x, out=self.flat.grad(name + ".weight"))
            self.flat.grad(name + ".bias").copy_(y.sum(0, dtype=torch.float32))
