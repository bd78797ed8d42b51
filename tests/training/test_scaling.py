"""The fp16 loss scale: what overflows is skipped, and the scale follows."""

import pytest
import torch

from mimir.training import update
from tests import toys


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    engine = toys.engine(toys.HALF)
    toys.overflowing(engine, {3})
    engine.advance(3)
    before = toys.tensors(engine)
    engine.advance(1)
    after = toys.tensors(engine)
    for prefix in ("model.", "adamw."):
        names = [name for name in before if name.startswith(prefix)]
        assert names
        assert all(torch.equal(before[name], after[name]) for name in names)
    assert float(after["scaler.scale"]) == float(before["scaler.scale"]) / 2
    assert int(before["scaler.growth_tracker"]) == 3
    assert int(after["scaler.growth_tracker"]) == 0
    assert int(after["loop.step"]) == 4
    assert int(after["loop.nonfinite"]) == 0
    engine.advance(1)
    later = toys.tensors(engine)
    assert float(later["adamw.step"]) == 4
    assert float(engine.state._updates_too) == 4
    assert not torch.equal(later["model.head.weight"], after["model.head.weight"])
    assert all(bool(torch.isfinite(v).all()) for n, v in later.items() if n[:5] != "loop.")


def test_the_scale_grows_after_calm_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "GROWTH_INTERVAL", 4)
    engine = toys.engine(toys.HALF, lr=1e-4)
    toys.overflowing(engine, {0, 1, 2, 3, 4, 5})
    engine.advance(6)
    assert float(engine.state.scale) == 2.0**10
    engine.advance(3)
    assert (float(engine.state.scale), int(engine.state.growth)) == (2.0**10, 3)
    engine.advance(1)
    assert (float(engine.state.scale), int(engine.state.growth)) == (2.0**11, 0)


def test_endless_overflow_is_reported() -> None:
    engine = toys.engine(toys.HALF)
    toys.overflowing(engine, set(range(100)))
    while engine.step < 30:
        engine.advance(30)
    assert int(engine.state.nonfinite) > 0


def test_the_scale_does_not_enter_the_update() -> None:
    finals = []
    for scale in (2.0**8, 2.0**14):
        engine = toys.engine(toys.HALF, eps=1e-4)
        engine.state.scale.fill_(scale)
        engine.advance(5)
        finals.append(engine.state.master.clone())
    assert torch.allclose(finals[0], finals[1], atol=2e-3)
    assert not torch.equal(finals[0], toys.engine(toys.HALF).state.master)
