from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mimir.config import Config
from mimir.data.pack import TRAIN
from mimir.errors import BadInput
from mimir.model.batch import exact_batch, plan_training
from mimir.model.denoiser import Denoiser, initialise
from mimir.model.objective import bound, learning_rate, mean_bound
from mimir.training import compiler
from mimir.training import device as gpu
from mimir.training.engine import Engine
from mimir.training.machine import Machine
from tests import toys

CPU = torch.device("cpu")

NEVER = torch.tensor(-1)


def reference(engine: Engine, steps: int) -> tuple[dict[str, Any], dict[str, Any], list[float]]:
    """The same training by torch's AdamW, a tensor for each parameter: weights, average, losses."""
    config = engine.config
    settings, training = config.optimizer, config.training
    model = Denoiser(config.model, config.objective.timesteps, engine.targets)
    initialise(model, training.seed)
    named = dict(model.named_parameters())
    matrices = [v for n, v in named.items() if v.dim() == 2 and n.endswith("weight")]
    others = [v for n, v in named.items() if not (v.dim() == 2 and n.endswith("weight"))]
    adamw = torch.optim.AdamW(
        [{"params": matrices}, {"params": others, "weight_decay": 0.0}],
        betas=(settings.beta1, settings.beta2), eps=settings.eps,
        weight_decay=settings.weight_decay, foreach=False, fused=False,
    )  # fmt: skip
    ema = {name: value.detach().clone() for name, value in named.items()}
    losses = []
    for step in range(steps):
        plan = plan_training(
            engine.data, engine.order, torch.tensor([step]), training.batch, config.objective,
            training.seed, engine.targets,
        ).at(0)  # fmt: skip
        adamw.zero_grad()
        loss = bound(model, exact_batch(plan)).sum() / plan.length.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip, foreach=False)
        for group in adamw.param_groups:
            group["lr"] = float(learning_rate(torch.tensor(step), settings, engine.total, NEVER))
        adamw.step()
        decay = min(settings.ema, (2 + step) / (11 + step))
        for name, value in named.items():
            ema[name] += (1 - decay) * (value.detach() - ema[name])
        losses.append(loss.item())
    return {n: v.detach() for n, v in named.items()}, ema, losses


# eps well above rounding: by Adam's division a gradient of 1e-9 would be as loud as one of 1.
@pytest.mark.parametrize("settings", [
    {"eps": 1e-4}, {"eps": 1e-4, "clip": 0.05, "weight_decay": 0.3, "ema": 0.5},
])  # fmt: skip
def test_twenty_updates_equal_the_librarys(settings: dict[str, float]) -> None:
    data = toys.peptides(300)
    engine = toys.engine(data=data, log_every=20, **settings)
    engine.advance(20)
    weights, ema, losses = reference(engine, 20)
    state = engine.state.tensors()
    for name, value in weights.items():
        assert torch.allclose(state[f"model.{name}"], value, rtol=0, atol=1e-6), name
        assert torch.allclose(state[f"ema.{name}"], ema[name], rtol=0, atol=1e-6), name
    assert engine.state.losses.tolist() == pytest.approx(losses, abs=1e-5)
    clipped = (engine.state.norms > engine.config.optimizer.clip).sum()
    assert int(clipped) > 0


def test_how_often_one_asks_changes_nothing() -> None:
    # 70 steps an epoch: a block of plans, and the epoch itself, end inside.
    data = toys.peptides(630)
    one, two = toys.engine(data=data, layers=1), toys.engine(data=data, layers=1)
    while one.step < 75:
        one.advance(1)
    while two.step < 75:
        two.advance(min(20, 75 - two.step))
    assert one.steps_per_epoch == 70
    left, right = toys.tensors(one), toys.tensors(two)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_fixed_shapes_train_to_the_same_weights() -> None:
    exact, fixed = toys.engine(toys.EXACT, log_every=20), toys.engine(toys.FIXED, log_every=20)
    for engine in (exact, fixed):
        while engine.step < 20:
            engine.advance(20 - engine.step)
    assert fixed._capacity % 64 == 0
    assert torch.allclose(exact.state.losses, fixed.state.losses, atol=1e-4)
    assert torch.allclose(exact.state.norms, fixed.state.norms, atol=1e-3)


def test_several_steps_at_once_are_the_single_steps() -> None:
    """What a graph captures, run as it is captured."""
    runs = []
    for pattern in ([6], [1] * 6, [2, 1, 3]):
        engine = toys.engine(toys.FIXED)
        engine._begin_epoch(0)
        for count in pattern:
            engine._several(count)
        runs.append(toys.tensors(engine))
    planned = toys.engine(toys.FIXED)
    planned.advance(6)
    runs.append(toys.tensors(planned))
    for other in runs[1:]:
        assert all(torch.equal(runs[0][name], other[name]) for name in runs[0])


class NoQuestions(TorchDispatchMode):
    """Fails on operations that make the host wait for a value or a shape of the device."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "item", "equal",
              "unique", "_unique", "_unique2", "unique_dim", "unique_consecutive",
              "repeat_interleave", "bincount")  # fmt: skip
    INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        self.seen += 1
        assert name not in self.ASKING, f"{name} asks the device"
        if name in self.INDEXING:
            kinds = [index.dtype for index in args[1] if index is not None]
            assert torch.bool not in kinds, "an index by a mask asks for its number of places"
            assert torch.uint8 not in kinds
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_of_fixed_shapes_asks_the_device_nothing(
    dtype: torch.dtype, accumulate: int
) -> None:
    machine = Machine(CPU, dtype, compiled=False, fixed=True)
    engine = toys.engine(machine, accumulate=accumulate)
    engine._begin_epoch(0)
    with NoQuestions() as watch:
        engine._several(2)
    assert watch.seen > 500


def test_that_watch_would_find_a_question() -> None:
    engine = toys.engine(toys.EXACT)
    engine._begin_epoch(0)
    with pytest.raises(AssertionError, match="nonzero asks the device"), NoQuestions():
        engine._several(1)
    for question in (
        lambda x: x[x > 0], lambda x: x.sum().item(), lambda x: bool(x.any()),
        lambda x: x.unique(), lambda x: torch.masked_select(x, x > 0),
    ):  # fmt: skip
        with pytest.raises(AssertionError), NoQuestions():
            question(torch.ones(3))


# The compiler of torch 2.13 uses a part of torch that torch calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.long
def test_compiled_equals_eager_on_fixed_shapes() -> None:
    plain = toys.engine(toys.FIXED, layers=1)
    machine = Machine(CPU, torch.float32, compiled=True, fixed=True)
    compiled = toys.engine(machine, layers=1)
    for engine in (plain, compiled):
        engine.advance(5)
    assert compiled._loss is not mean_bound
    assert torch.allclose(plain.state.losses, compiled.state.losses, atol=1e-5)
    assert torch.allclose(plain.state.norms, compiled.state.norms, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fixed", [False, True])
def test_low_precision_learns(dtype: torch.dtype, fixed: bool) -> None:
    engine = toys.engine(Machine(CPU, dtype, compiled=False, fixed=fixed), log_every=40, lr=0.01)
    losses: list[float] = []
    while engine.step < 40:
        engine.advance(40)
    losses = engine.state.losses.tolist()
    assert all(loss == loss and loss < 10 for loss in losses)
    assert sum(losses[-10:]) < sum(losses[:10])
    assert int(engine.state.nonfinite) == 0
    assert engine.state.master.dtype == torch.float32
    assert engine.model.head.weight.dtype == dtype
    assert torch.equal(engine.state.low, engine.state.master.to(dtype))


@pytest.mark.parametrize("machine", [toys.EXACT, toys.FIXED])
def test_nan_is_counted(machine: Machine) -> None:
    engine = toys.engine(machine)
    engine.advance(2)
    assert int(engine.state.nonfinite) == 0
    with torch.no_grad():
        engine.model.norm.weight[0] = float("nan")
    engine.advance(2)
    assert int(engine.state.nonfinite) == 2


def test_accumulation_trains_alike() -> None:
    finals = []
    for slices in (1, 2, 4):
        engine = toys.engine(accumulate=slices, eps=1e-4)
        engine.advance(8)
        finals.append(engine.state.master.clone())
    assert torch.allclose(finals[0], finals[1], atol=1e-5)
    assert torch.allclose(finals[0], finals[2], atol=1e-5)


def test_the_end_of_training() -> None:
    data = toys.peptides(100)
    assert len(data.subset(TRAIN)) == 90
    engine = toys.engine(data=data, epochs=3)
    assert (engine.steps_per_epoch, engine.total) == (11, 33)
    assert toys.engine(data=data, epochs=3, max_steps=20).total == 20
    assert toys.engine(data=data, epochs=3, max_steps=99).total == 33
    engine.advance(50)
    assert engine.step == 11
    assert int(engine.state.step) == 11


def test_a_batch_larger_than_the_data() -> None:
    with pytest.raises(BadInput, match="batch is 128, but there are only 90 training peptides"):
        toys.engine(batch=128)


def choose(**settings: Any) -> Machine:
    return Machine.choose(Config("toy").with_settings(settings))


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)]
)
def test_the_machine_decides_what_is_auto(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    token_labels: Callable[[], bool] = lambda: True  # noqa: E731
    monkeypatch.setattr(gpu, "usable", token_labels)
    monkeypatch.setattr(compiler, "lack", lambda device: "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    ampere = capability >= (8, 0)
    wanted = Machine(torch.device("cuda"), dtype, compiled=True, fixed=True, fused=ampere)
    assert choose() == wanted
    assert not choose(compile="off").fused
    if ampere:
        assert choose(kernels="norm,update").kernels == {"norm", "update"}
        with pytest.raises(BadInput, match="update knows no loss scale"):
            choose(kernels="norm,update", precision="fp16")
        with pytest.raises(BadInput, match="peptide takes models of dim 128 at most"):
            choose(kernels="peptide,ends,wgrad", dim=256)
        with pytest.raises(BadInput, match="wgrad loads 16 numbers at once, and dim is 72"):
            choose(kernels="wgrad", dim=72, heads=4)
        with pytest.raises(BadInput, match="peptide computes attention itself"):
            choose(kernels="peptide,ends,wgrad,attention")
    else:
        with pytest.raises(BadInput, match=r"gelu needs compute capability 8\.0 or later, and"):
            choose(kernels="attention,gelu")
    by_sums = frozenset({"attention"})
    assert choose(kernels="attention") == replace(wanted, fused=True, kernels=by_sums)
    assert ("--kernels attention" in choose().why) is not ampere
    assert not choose(kernels="attention").why
    with pytest.raises(BadInput, match="heads of at most 128"):
        choose(kernels="attention", dim=512, heads=2)
    for settings in ({"compile": "off"}, {"device": "cpu"}) if ampere else ({},):
        with pytest.raises(BadInput, match="kernels is 'gelu', but kernels need compiled training"):
            choose(kernels="gelu", **settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose() == replace(wanted, fused=False)
    assert choose(device="cpu") == Machine(CPU, torch.float32, compiled=False, fixed=False)
    assert choose(precision="fp32", compile="off").dtype == torch.float32
    monkeypatch.setattr(gpu, "usable", lambda: False)
    assert choose() == Machine(CPU, torch.float32, compiled=False, fixed=False)
    with pytest.raises(BadInput, match="no GPU is visible"):
        choose(device="cuda")


def test_a_capture_meets_only_shapes_that_were_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of steps is compiled anew, and compiling breaks a capture off."""

    class Nothing:
        def __init__(self, *inputs: object) -> None:
            self.wait_stream = lambda stream: None

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    capturing: list[bool] = []

    class Capture(Nothing):
        def __enter__(self) -> None:
            capturing.append(True)

    for name in ("Stream", "stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, Nothing)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    for count in (1, 8):
        capturing.clear()
        engine = toys.engine(toys.FIXED)
        engine._begin_epoch(0)
        before, seen = toys.tensors(engine), {False: set(), True: set()}
        straight = engine._batches

        def spy(steps: torch.Tensor, straight=straight, seen=seen) -> Any:  # type: ignore[no-untyped-def]
            seen[bool(capturing)].add(steps.shape)
            return straight(steps)

        engine._batches = spy
        engine._capture(count)
        assert seen[True] == {(count,)}
        assert seen[True] <= seen[False]
        after = toys.tensors(engine)
        assert all(torch.equal(before[name], after[name]) for name in before)
