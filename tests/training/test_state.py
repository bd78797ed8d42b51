import pytest
import torch

from mimir.config import Optimizer
from mimir.errors import BadInput
from mimir.training import state as states
from mimir.training import update
from mimir.training.engine import Update
from tests import toys
from tests.training.test_update import fused


def test_the_model_lives_in_the_flat_vectors() -> None:
    engine = toys.engine()
    state, model = engine.state, engine.model
    names = dict(model.named_parameters())
    assert sum(value.numel() for value in names.values()) == len(state.master)
    with torch.no_grad():
        state.master.fill_(7.0)
    assert all(bool((value == 7).all()) for value in names.values())
    for span in state.spans:
        assert torch.equal(state.tensors()[f"model.{span.name}"], names[span.name].detach())
        assert names[span.name].grad is not None


def test_biases_norms_and_embeddings_do_not_decay() -> None:
    state = toys.engine().state
    for span in state.spans:
        matrix = len(span.shape) == 2 and span.name.endswith("weight")
        assert (span.start < state.border) == matrix, span.name
    before = state.master.clone()
    settings = Optimizer(lr=0.5, weight_decay=0.1, warmup_steps=0)
    update.unfused(state, torch.tensor(1.0), settings, 9)  # by a gradient of 0
    left = 1 - 0.1 * float(state.rate)
    assert torch.allclose(state.master[: state.border], left * before[: state.border])
    assert torch.equal(state.master[state.border :], before[state.border :])


def test_a_state_at_step_0_has_every_tensor() -> None:
    fresh, trained = toys.engine(), toys.engine()
    trained.advance(3)
    assert toys.tensors(fresh).keys() == toys.tensors(trained).keys()
    names = {span.name for span in fresh.state.spans}
    for prefix in ("model", "ema", "best", "adamw.exp_avg", "adamw.exp_avg_sq"):
        assert {f"{prefix}.{name}" for name in names} <= toys.tensors(fresh).keys()


def test_everything_moves_but_what_must_not() -> None:
    engine = toys.engine()
    engine.advance(5)
    before = toys.tensors(engine)
    engine.advance(5)
    after = toys.tensors(engine)
    still = {name for name in before if torch.equal(before[name], after[name])}
    # Only validations move the best weights and what leads to early stopping.
    judged = {f"best.{span.name}" for span in engine.state.spans}
    judged |= {f"loop.{name}" for name in (
        "best_step", "best_figure", "best_before", "stale", "cooldown",
    )}  # fmt: skip
    assert still == {"loop.nonfinite", "scaler.scale", "scaler.growth_tracker", *judged}


def test_load_puts_everything_back_in_place() -> None:
    engine = toys.engine()
    engine.advance(5)
    kept = toys.tensors(engine)
    addresses = {name: value.data_ptr() for name, value in engine.state.tensors().items()}
    other = toys.engine()
    other.advance(7)
    other.resume(kept)
    assert other.step == 5
    engine.advance(6)
    other.advance(6)
    one, two = toys.tensors(engine), toys.tensors(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    engine.resume(kept)
    assert addresses == {n: value.data_ptr() for n, value in engine.state.tensors().items()}
    assert all(torch.equal(kept[name], value) for name, value in toys.tensors(engine).items())


def test_load_refreshes_the_low_precision_copy() -> None:
    machine = toys.Machine(torch.device("cpu"), torch.bfloat16, compiled=False, fixed=False)
    kept = toys.tensors(toys.engine(machine, seed=1))
    engine = toys.engine(machine, seed=2)
    engine.resume(kept)
    assert torch.equal(engine.state.low, engine.state.master.bfloat16())


def test_flat_vectors_are_padded_on_a_gpu_only() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    # The large preset with 748 targets, and a length that needs nothing.
    assert [states.padded(size, cuda) for size in (21_436_441, 1 << 20)] == [21_446_656, 1 << 20]
    assert states.padded(21_436_441, cpu) == 21_436_441


@pytest.mark.parametrize("how", [update.unfused, fused])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padding_changes_no_training_and_no_checkpoint(
    how: Update, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried on the CPU, where vectors are not padded by themselves."""
    machine = toys.Machine(torch.device("cpu"), dtype, compiled=False, fixed=True)
    settings = {"accumulate": 2, "weight_decay": 0.3, "eps": 1e-4}
    plain = toys.engine(machine, **settings)
    padded, cuda = states.padded, torch.device("cuda")
    monkeypatch.setattr(states, "padded", lambda size, device: padded(size, cuda))
    other = toys.engine(machine, **settings)
    for engine in (plain, other):
        engine._update = how
        if dtype == torch.float16:
            toys.overflowing(engine, {3})
        engine.advance(6)
    state = other.state
    assert len(state.master) % states.MULTIPLE == 0
    assert len(state.master) > len(plain.state.master) == state.size == plain.state.size
    for vector in (state.master, state.ema, state.exp_avg, state.exp_avg_sq, state.low,
                   state.low_grad, state.grad):  # fmt: skip
        assert len(vector) == len(state.master)
        assert not vector[state.size :].any()
    one, two = toys.tensors(plain), toys.tensors(other)
    assert one.keys() == two.keys()
    # The norm may be summed in another order.
    near = 1e-6 if dtype == torch.float32 else 1e-3
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=near, rtol=1e-3, equal_nan=True), name
    other.resume(one)
    for name, value in toys.tensors(other).items():
        assert torch.allclose(one[name], value, atol=0, rtol=0, equal_nan=True), name


NAME = "model.blocks.0.up.weight"


def _missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[NAME]


def _unknown(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.more"] = torch.zeros(1)


def _reshaped(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NAME] = tensors[NAME].reshape(-1)


def _cast(tensors: dict[str, torch.Tensor]) -> None:
    tensors[NAME] = tensors[NAME].double()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_missing, f"no tensor {NAME}"),
        (_unknown, "unknown tensor model.more"),
        (_reshaped, rf"{NAME} is torch.float32 \(1024,\)"),
        (_cast, f"{NAME} is torch.float64"),
    ],
)
def test_a_foreign_checkpoint_is_refused_whole(spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    engine = toys.engine()
    tensors = toys.tensors(toys.engine(seed=3))
    spoil(tensors)
    before = toys.tensors(engine)
    with pytest.raises(BadInput, match=words):
        engine.state.load(tensors)
    after = toys.tensors(engine)
    assert all(torch.equal(before[name], after[name]) for name in before)
