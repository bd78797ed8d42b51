"""Embedding, and head with loss, of the training pass that is written out in `explicit`.

By torch's operations and automatic differentiation, or by the kernels of `fused.embedding`,
`fused.head` and `fused.sums` ("ends" in `config.KERNELS`).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.model.buffers import Flat, Starts, State
from mimir.model.denoiser import Denoiser


class EmbeddingAndHead:
    """What comes before the first block and behind the last; arguments as for `Explicit`."""

    def __init__(self, model: Denoiser, flat: Flat, kernels: frozenset[str]) -> None:
        self.model, self.flat, self.kernels = model, flat, kernels
        self.layers, self.dim = model.size.layers, model.size.dim
        self._eps = model.norm.eps
        self._waves: Tensor = model.get_buffer("time_waves").to(flat.weights.dtype)
        if kernels:  # Triton is there only where they run
            from mimir.model.fused import embedding, head, products, sums, timestep

            self._embedding, self._head, self._sums = embedding, head, sums
            self._products, self._timestep = products, timestep
            at = flat.start
            self.at = Starts(
                at["letter"], at["position"], at["label"], at["target"],
                at["blocks.0.norm1.weight"], at["blocks.0.norm2.weight"],
                flat.stride("norm1.weight"), at["norm.weight"], at["head.weight"], at["head.bias"],
            )  # fmt: skip

    def embed(self, state: State) -> None:
        """The first block's input, and its norm."""
        batch, low = state.batch, self.flat.weights
        first = state.kept.views["qkv.x"][0]
        if "ends" not in self.kernels:
            with torch.enable_grad():
                condition = self.model.condition(batch.timestep, batch.label, batch.target)
                state.embedded = self.model.embed(batch.tokens, condition, batch.layout)
            state.x[0] = state.embedded
            weight, bias = self.flat.pair("blocks.0.norm1")
            out = F.layer_norm(state.x[0], (self.dim,), weight.float(), bias.float(), self._eps)
            first.copy_(out)
            return
        self._embedding.embed(
            batch.tokens, batch.layout.slot_of, batch.timestep, batch.label, batch.target,
            self.table(state), low, self.at, state.x[0], first, self._eps,
        )  # fmt: skip

    def table(self, state: State) -> Tensor:
        """The timesteps' embedding, [T, D]."""
        state.time_pre = self._waves.new_empty(self._waves.shape[0], 4 * self.dim)
        state.time_hidden = torch.empty_like(state.time_pre)
        weight, bias = self.flat.pair("time_up")
        self._products.up(self._waves, weight, bias, state.time_pre, state.time_hidden)
        return self.flat.linear(state.time_hidden, "time_down")

    def loss(self, state: State, added: Tensor) -> Tensor:
        """Loss, and the gradient of the residual stream behind the last block."""
        batch, kept, x = state.batch, state.kept.views, state.x[2 * self.layers - 1]
        if "ends" not in self.kernels:
            with torch.enable_grad():
                last = (x + added).requires_grad_()
                logits = self.model.logits(last, batch.layout, batch.bias)
                terms = F.cross_entropy(logits, batch.token_labels, reduction="none")
                loss = (terms * batch.weight).sum() / state.residues
            names = ("norm.weight", "norm.bias", "head.weight", "head.bias")
            wanted = [last, *(self.model.get_parameter(name) for name in names)]
            found = torch.autograd.grad(loss, wanted, state.scale)
            for name, value in zip(names, found[1:], strict=True):
                self.flat.grad(name).copy_(value)
            state.grad.copy_(found[0])
            kept["down.y"][self.layers - 1].copy_(found[0])
            return loss.detach()
        programs = self._head.head_programs(len(x))
        state.head = state.grad.new_empty(2, programs, self.dim)
        state.losses = state.grad.new_empty(programs)
        state.loss = state.grad.new_empty(())
        self._head.head(
            x, added, batch.token_labels, batch.weight, state.residues, state.scale,
            self.flat.weights, self.at, kept["head.x"], kept["head.y"], state.grad,
            kept["down.y"][self.layers - 1], state.head, state.losses, self._eps,
            batch.layout.slot_of, batch.bias,
        )  # fmt: skip
        return state.loss

    def embed_back(self, state: State) -> None:
        """Gradients of the embedding's tables, and of all norms, from the first block's."""
        batch, layout = state.batch, state.batch.layout
        if "ends" not in self.kernels:
            names = ("letter", "position", "label", "target", "time_up.weight", "time_up.bias",
                     "time_down.weight", "time_down.bias")  # fmt: skip
            wanted = [self.model.get_parameter(name) for name in names]
            found = torch.autograd.grad(state.embedded, wanted, state.grad)
            for name, value in zip(names, found, strict=True):
                self.flat.grad(name).copy_(value)
            for i in range(self.layers):
                for which in range(2):
                    sums = state.norms[i, which].sum(1)
                    self.flat.grad(f"blocks.{i}.norm{which + 1}.weight").copy_(sums[0])
                    self.flat.grad(f"blocks.{i}.norm{which + 1}.bias").copy_(sums[1])
            return
        assert layout.starts is not None
        assert layout.lengths is not None
        condition = self.flat.weights.new_empty(len(batch.timestep), self.dim)
        partial = state.grad.new_empty(self._embedding.GROUPS, 2, 32, self.dim)
        self._embedding.condition_back(
            state.grad, batch.tokens, layout.starts, layout.lengths, condition, partial
        )
        self.finish(state, condition, partial)

    def finish(self, state: State, condition: Tensor, partial: Tensor) -> None:
        """The gradients of all weights but those of `_products_back`."""
        batch = state.batch
        table = condition.new_empty(self._waves.shape[0], self.dim)
        self._sums.finish(
            state.norms, state.head, partial, state.losses, condition, batch.timestep, batch.label,
            batch.target, self.flat.gradient, table, state.loss, self.at, self.model.targets + 1,
        )  # fmt: skip
        self._time_back(state, table)

    def _time_back(self, state: State, flow: Tensor) -> None:
        at, grad = self.flat.start, self.flat.grad
        if len(flow) <= self._timestep.ROWS:
            self._timestep.back(
                flow, state.time_pre, state.time_hidden, self._waves, self.flat.weights,
                self.flat.gradient, at["time_up.weight"], at["time_up.bias"],
                at["time_down.weight"], at["time_down.bias"],
            )  # fmt: skip
            return
        inner = torch.mm(flow, self.flat.weight("time_down.weight"))
        inner = torch.ops.aten.gelu_backward(inner, state.time_pre)
        for name, y, x in (("time_down", flow, state.time_hidden), ("time_up", inner, self._waves)):
            torch.mm(y.t(), x, out=grad(name + ".weight"))
            grad(name + ".bias").copy_(y.float().sum(0))
