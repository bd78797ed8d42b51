from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimir.config import Config, load_preset
from mimir.data.alphabet import MASK, MAX_LENGTH, N_LETTERS
from mimir.model.attention import Layout
from mimir.model.batch import exact_batch, fixed_batch, plan_training
from mimir.model.denoiser import Denoiser, initialise
from mimir.model.objective import bound
from tests import toys

Tensors = dict[str, Tensor]


@pytest.mark.parametrize(
    ("preset", "shown"), [("small", "839K"), ("medium", "3.9M"), ("large", "21.5M")]
)
def test_parameter_counts_with_804_targets(preset: str, shown: str) -> None:
    config = load_preset(preset)
    with torch.device("meta"):
        model = Denoiser(config.model, config.objective.timesteps, targets=804)
    count = sum(value.numel() for value in model.parameters())
    rounded = f"{count / 1e3:.0f}K" if count < 1e6 else f"{count / 1e6:.1f}M"
    assert rounded == shown


class Reference:
    """The same mathematics, padded, from PyTorch's own encoder layers."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model
        size = model.size
        self.layers = nn.ModuleList()
        for block in model.blocks:
            layer = nn.TransformerEncoderLayer(
                size.dim, size.heads, size.ffn * size.dim, dropout=0.0, activation="gelu",
                batch_first=True, norm_first=True,
            )  # fmt: skip
            pairs = {
                "self_attn.in_proj": block.qkv, "self_attn.out_proj": block.out,
                "linear1": block.up, "linear2": block.down,
                "norm1": block.norm1, "norm2": block.norm2,
            }  # fmt: skip
            values = {}
            for name, module in pairs.items():
                joint = "_" if name.endswith("in_proj") else "."
                values[f"{name}{joint}weight"] = module.weight.detach().clone()
                values[f"{name}{joint}bias"] = module.bias.detach().clone()
            layer.load_state_dict(values)
            self.layers.append(layer)

    def logits(self, tokens: Tensor, valid: Tensor, t: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """[B, P, V] of int64 [B, P] letters."""
        m = self.model
        time = F.linear(m.time_waves[t - 1], m.time_up.weight, m.time_up.bias)
        time = F.linear(F.gelu(time), m.time_down.weight, m.time_down.bias)
        told = time + m.label[y] + m.target[z]
        x = m.letter[tokens] + m.position + told[:, None, :]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~valid)
        x = F.layer_norm(x, (m.size.dim,), m.norm.weight, m.norm.bias)
        return F.linear(x, m.head.weight, m.head.bias)

    def gradients(self) -> Tensors:
        """By the model's own names."""
        found = {n: p.grad for n, p in self.model.named_parameters() if "blocks" not in n}
        names = {"qkv": "self_attn.in_proj_", "out": "self_attn.out_proj.", "up": "linear1.",
                 "down": "linear2.", "norm1": "norm1.", "norm2": "norm2."}  # fmt: skip
        for i, layer in enumerate(self.layers):
            grads = {n: p.grad for n, p in layer.named_parameters()}
            for ours, theirs in names.items():
                for kind in ("weight", "bias"):
                    found[f"blocks.{i}.{ours}.{kind}"] = grads[theirs + kind]
        return found


def a_model(**size: int) -> Denoiser:
    config = toys.config(**{"dim": 32, "heads": 4, "layers": 3, **size})
    model = Denoiser(config.model, 20, toys.TARGETS)
    initialise(model, 1)
    # Biases and norms begin at 0 and 1, where a mistake in their use could hide.
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=rng))
    return model


def a_plan(packed: Any = None, batch: int = 12) -> Any:
    data = toys.device_data(packed or toys.peptides(60))
    order = torch.arange(len(data))
    objective = Config("toy").objective
    return plan_training(data, order, torch.tensor([0]), batch, objective, 3, toys.TARGETS).at(0)


def close(found: Tensors, wanted: Tensors, within: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        scale = max(1.0, float(wanted[name].abs().max()))
        assert float((found[name] - wanted[name]).abs().max()) < within * scale, name
    assert all(bool(value.any()) for value in wanted.values())


@pytest.mark.parametrize("capacity", [None, 0, 57])
def test_packed_equals_padded_reference(capacity: int | None) -> None:
    model, plan = a_model(), a_plan()
    reference = Reference(model)
    residues = int(plan.length.sum())
    logits = reference.logits(
        torch.where(plan.masked, MASK, plan.tokens) * plan.valid, plan.valid, plan.timestep,
        plan.label, plan.target,
    ) + plan.bias[:, None]  # fmt: skip
    weight = (plan.length / plan.count)[:, None].expand_as(plan.masked)
    masked = plan.masked
    loss = (F.cross_entropy(logits[masked], plan.tokens[masked], reduction="none")
            * weight[masked]).sum() / residues  # fmt: skip
    loss.backward()
    wanted = {name: grad.clone() for name, grad in reference.gradients().items()}
    model.zero_grad()

    batch = exact_batch(plan) if capacity is None else fixed_batch(plan, residues + capacity)
    packed = bound(model, batch).sum() / residues
    packed.backward()
    assert abs(packed.item() - loss.item()) < 1e-5
    found = {name: value.grad for name, value in model.named_parameters()}
    close(found, wanted)


def test_logits_of_every_residue_equal_the_reference() -> None:
    model, plan = a_model(), a_plan()
    slot_of = plan.valid.view(-1).nonzero().view(-1)
    layout = Layout(slot_of, (plan.valid.view(-1).cumsum(0) - 1).clamp(min=0), plan.valid)
    with torch.no_grad():
        condition = model.condition(plan.timestep, plan.label, plan.target)
        packed = model(plan.tokens.view(-1)[slot_of], condition, layout)
        padded = Reference(model).logits(
            plan.tokens * plan.valid, plan.valid, plan.timestep, plan.label, plan.target
        )
    assert packed.shape == (int(plan.length.sum()), N_LETTERS)
    assert torch.allclose(packed, padded.view(-1, N_LETTERS)[slot_of], atol=1e-5)


@pytest.mark.parametrize("lengths", [[20] * 40, [4] * 40, list(range(4, 21)) * 3])
@pytest.mark.parametrize("spare", [0, 1, 64])
def test_fixed_shapes_give_the_exact_loss_and_gradients(lengths: list[int], spare: int) -> None:
    model, plan = a_model(layers=2), a_plan(toys.peptides(lengths=lengths))
    residues = int(plan.length.sum())
    losses, gradients = [], []
    for batch in (exact_batch(plan), fixed_batch(plan, residues + spare)):
        model.zero_grad()
        terms = bound(model, batch)
        losses.append(float(terms.sum().detach()))
        terms.sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
    assert fixed_batch(plan, residues + spare).tokens.shape == (residues + spare,)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    close(gradients[1], gradients[0])


def test_nothing_leaks_between_peptides_or_from_under_a_mask() -> None:
    model, plan = a_model(), a_plan()
    batch = exact_batch(plan)
    with torch.no_grad():
        before = bound(model, batch)
        other = plan.tokens.clone()
        other[3] = (other[3] + 1) % N_LETTERS
        after = bound(model, exact_batch(type(plan)(other, *list(vars(plan).values())[1:])))
    assert batch.layout.predict is not None
    owner = batch.layout.slot_of[batch.layout.predict] // MAX_LENGTH
    assert torch.equal(before[owner != 3], after[owner != 3])
    # All letters of a wholly hidden peptide may change: only the answers do, not the logits.
    assert not bool((batch.tokens[batch.layout.predict] != MASK).any())


def test_initial_weights_follow_from_the_seed_and_begin_near_uniform() -> None:
    config = toys.config(dim=32, heads=2)
    models = [Denoiser(config.model, 20, 3) for _ in range(3)]
    for model, seed in zip(models, (4, 4, 5), strict=True):
        torch.manual_seed(seed + id(model) % 7)
        initialise(model, seed)
    one, two, three = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["blocks.0.up.weight"], three["blocks.0.up.weight"])
    assert not torch.equal(one["blocks.0.up.weight"], one["blocks.1.up.weight"])
    assert one["blocks.0.up.weight"].std().item() == pytest.approx(32**-0.5, rel=0.05)
    batch = exact_batch(a_plan())
    per_place = bound(models[0], batch).detach() / batch.weight
    assert float(per_place.mean()) == pytest.approx(float(torch.tensor(25.0).log()), abs=0.1)
