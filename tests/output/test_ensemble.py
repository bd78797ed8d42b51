"""Several models as one."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mimir.config import Config
from mimir.data.pack import pack
from mimir.errors import BadInput
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate
from mimir.output import commands, ensemble, vocabulary
from mimir.output.condition import Condition
from mimir.output.model_file import Opened
from mimir.output.sampling import Draw, sample
from mimir.runs.store import open_store
from mimir.training.figures import HeldOut
from tests import toys
from tests.e2e import jobs

DATA = toys.peptides(200)


def opened(name: str = "", **settings: Any) -> Opened:
    engine = toys.engine(data=DATA, **settings)
    engine.advance(10)
    return Opened(
        engine.model, engine.config, vocabulary.of(DATA), None, DATA.digest, name or "a model"
    )


def held(config: Config) -> HeldOut:
    return HeldOut.of(DATA, torch.device("cpu"), len(DATA), config.objective)


def nelbos(one: Opened) -> torch.Tensor:
    timesteps = one.config.objective.timesteps
    return evaluate(one.model, held(one.config).background, timesteps, repeats=3)


def test_one_model_twice_is_that_model() -> None:
    one = opened()
    assert torch.allclose(nelbos(ensemble.of([one, one])), nelbos(one), rtol=1e-5)


def test_the_mean_of_probabilities_is_a_better_bound_than_the_mean_of_bounds() -> None:
    """Of models of different widths and depths; for each peptide, not only on average."""
    several = [opened(seed=1), opened(seed=2, dim=32), opened(seed=3, layers=1)]
    joined = nelbos(ensemble.of(several))
    mean = torch.stack([nelbos(each) for each in several]).mean(0)
    assert (joined <= mean + 1e-4).all()
    assert (joined < mean - 1e-3).any()


def test_its_probabilities_are_the_mean_of_theirs() -> None:
    several = [opened(seed=1), opened(seed=2, dim=32)]
    seen: dict[str, torch.Tensor] = {}

    def noted(name: str, model: Denoiser) -> None:
        model.register_forward_hook(
            lambda module, given, found: seen.__setitem__(name, found.softmax(-1).detach())
        )

    joined = ensemble.of(several).model
    for name, model in (("a", several[0].model), ("b", several[1].model), ("both", joined)):
        noted(name, model)
    sample(joined, 4, Draw(Condition()), (0,) * 6 + (1,) * 5)
    assert torch.allclose(seen["both"], (seen["a"] + seen["b"]) / 2, atol=1e-6)


def test_models_that_do_not_go_together() -> None:
    one = opened()
    other = replace(one, config=one.config.with_settings({"timesteps": 40}), source="run b")
    with pytest.raises(BadInput, match="run b has another objective"):
        ensemble.of([one, other])
    words = replace(one.vocabulary, targets=("P1",))
    with pytest.raises(BadInput, match="run b knows other targets"):
        ensemble.of([one, replace(one, vocabulary=words, source="run b")])


def test_what_each_reaches_alone() -> None:
    several = [opened(seed=1), opened(seed=2)]
    found = ensemble.alone(several, DATA, 2)
    values = [
        float(evaluate(each.model, (data := held(each.config).background), 20, repeats=2).sum())
        / float(data.lengths.sum())
        for each in several
    ]
    assert found["background"]["mean"] == pytest.approx(sum(values) / 2)
    assert found["background"]["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert found["pairs of unseen targets"] is None
    shown = "\n".join(ensemble.lines(found, 2))
    assert f"{found['background']['mean']:.4f} ±" in shown
    assert "unseen" not in shown


def test_runs_are_evaluated_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store((tmp_path / "store").as_uri())
    data = jobs.write_data(tmp_path / "data.csv", 120)
    other = jobs.write_data(tmp_path / "other.csv", 130)
    for seed in (0, 1):
        jobs.submit(store, f"lr-{seed}", data, seed=seed, max_steps=3)
        assert jobs.train(store, f"lr-{seed}")[0]
    jobs.submit(store, "far", other, max_steps=3)
    options: dict[str, Any] = {"store": store.url, "repeats": 1, "samples": 5}
    commands.evaluate(run="lr-0,lr-1", **options)
    shown = capsys.readouterr().out
    assert "mean of 2 models: run lr-0, finished" in shown
    assert "; run lr-1, finished" in shown
    assert "each of the 2 alone" in shown
    for runs, says in (
        ("lr-0,lr-0", "name each run once"), ("lr-0,", "name each run once"),
        ("lr-0,far", "run far was trained on other data than run lr-0"),
        ("lr-0,nosuch", "there is no run nosuch"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=says):
            commands.evaluate(run=runs, **options)
    split = str(tmp_path / "split.safetensors")
    pack(data, split, validation=0.1, seed=1, progress=io.StringIO())
    with pytest.raises(BadInput, match="is not the data set that the model was trained on"):
        commands.evaluate(run="lr-0,lr-1", data=split, **options)
