"""A trained model is used on a GPU that works, else on the CPU, and a full GPU is one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mimir import api
from mimir.errors import BadInput, GpuUnusable
from mimir.output import benchmark, commands, device
from mimir.training import device as gpu
from tests import toys
from tests.output.test_export import folder_of
from tests.output.test_interaction import write

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
BROKEN = [
    (GpuUnusable("the GPU of this machine cannot be used: Xid 79", "mend it"), "Xid 79"),
    (BadInput("this PyTorch has no code for a GPU of 3.5; use another"), "no code for a GPU"),
    (FULL, "the memory of the GPU does not suffice (CUDA out of memory"),
]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(folder_of(toys.engine(), tmp_path / "m"))


def answering(monkeypatch: pytest.MonkeyPatch, answer: bool | Exception) -> None:
    def usable() -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(gpu, "usable", usable)


def test_what_is_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for there in (True, False):
        answering(monkeypatch, there)
        assert device.chosen("auto").type == ("cuda" if there else "cpu")
        assert device.chosen("cpu").type == "cpu"
    with pytest.raises(BadInput, match="no GPU is visible here; use --device cpu or auto"):
        device.chosen("cuda")
    answering(monkeypatch, True)
    assert device.chosen("cuda").type == "cuda"
    with pytest.raises(BadInput, match="--device is 'gpu', but must be auto, cpu or cuda"):
        device.chosen("gpu")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("error", "words"), BROKEN)
def test_a_gpu_that_cannot_be_used_is_one_sentence_and_the_cpu(
    error: Exception, words: str, folder: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # As torch says it: there is a GPU.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    answering(monkeypatch, error)
    some = tmp_path / "peptides.txt"
    some.write_text("ACDEF\n")
    rows = str(write(tmp_path / "PpI"))
    monkeypatch.setattr("mimir.output.given.peptides_of", lambda *words: toys.peptides(300))
    commands.sample(model=folder, n=2, repeats=0, format="json")
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.endswith("; taken is the CPU\n")
    assert told.err.count("\n") == 1
    assert json.loads(told.out)["headers"][0]["settings"]["device"] == "cpu"
    commands.score(model=folder, peptides=str(some), json=True)
    told = capsys.readouterr()
    assert words in told.err
    assert json.loads(told.out)["device"] == "cpu"
    commands.evaluate(model=folder, repeats=1, samples=0, json=True)
    told = capsys.readouterr()
    assert words in told.err
    assert json.loads(told.out)["device"] == "cpu"
    benchmark.pepbenchmark(rows, model=folder, repeats=2, json=True)
    told = capsys.readouterr()
    assert words in told.err
    assert json.loads(told.out)["device"] == "cpu"
    for use in (
        lambda: benchmark.pepbenchmark(rows, model=folder, device="cuda"),
        lambda: commands.sample(model=folder, n=2, device="cuda"),
        lambda: commands.score(model=folder, peptides=str(some), device="cuda"),
        lambda: commands.evaluate(model=folder, device="cuda"),
        lambda: api.evaluate(model=folder, device="cuda"),
    ):
        with pytest.raises(BadInput):
            use()
    assert capsys.readouterr().err == ""
    for use in (
        lambda: benchmark.pepbenchmark(rows, model=folder, repeats=2, device="cpu"),
        lambda: commands.sample(model=folder, n=2, repeats=0, device="cpu"),
        lambda: api.sample(model=folder, n=2, repeats=0, device="cpu"),
    ):
        use()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["stream", "Scorer", "measure"])
def test_a_gpu_that_fills_up_is_one_sentence(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(*words: object, **more: object) -> Any:
        raise FULL

    monkeypatch.setattr("mimir.output.given.peptides_of", lambda *words: toys.peptides(300))
    where = {"stream": "sampling.stream", "Scorer": "score.Scorer.scores",
             "measure": "evaluation.measure"}[name]  # fmt: skip
    monkeypatch.setattr(f"mimir.output.{where}", fills)
    words = r"the memory of the GPU does not suffice .*; end what else runs on it, or use the CPU"
    use: Any = commands.evaluate if name == "measure" else commands.sample
    with pytest.raises(GpuUnusable, match=words):
        use(model=folder)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), device.memory():
        raise RuntimeError("shape '[3]' is invalid")
    with pytest.raises(GpuUnusable), device.memory():
        raise RuntimeError("CUDA error: out of memory")
