"""The comparing part of bench/compare_revisions.py; what it compares takes minutes to train."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from bench import compare_revisions, digests
from bench.checkouts import Tree


def checkpoint(**changed: float) -> bytes:
    names = ("model.w", "ema.w", "adamw.exp_avg.w", "loop.losses")
    values = {name: torch.zeros(3) for name in names}
    for name, value in changed.items():
        values[name.replace("_", ".", 1) + ".w"][1] = value
    return save(values, {"mimir": "{}"})


@pytest.mark.parametrize(
    ("name", "what"), [("model", "weights"), ("ema", "averages"), ("adamw_exp_avg", "moments")]
)
def test_a_changed_tensor_changes_the_digest_of_its_group(name: str, what: str) -> None:
    one, other = digests.of_checkpoint(checkpoint()), digests.of_checkpoint(checkpoint(**{name: 1}))
    assert set(one) == {
        "checkpoint, averages", "checkpoint, moments", "checkpoint, rest", "checkpoint, weights",
    }  # fmt: skip
    assert [key for key in one if one[key] != other[key]] == [f"checkpoint, {what}"]


def test_a_tensor_of_another_shape_or_type_is_another_one() -> None:
    values = (torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32))
    found_digests = {digests.digest(digests.tensors(save({"w": value}))) for value in values}
    assert len(found_digests) == 3


def test_metrics_are_compared_without_what_depends_on_the_clock() -> None:
    row = {"step": 5, "loss": 3.1, "time": 1.0, "steps_per_s": 9.0, "tokens_per_s": 80.0}
    later = {**row, "time": 2.0, "steps_per_s": 5.0, "tokens_per_s": 44.0}
    worse = {**row, "loss": 3.2}
    one, same, other = (digests.of_metrics(json.dumps(each)) for each in (row, later, worse))
    assert one == same != other


def found(**changed: str) -> dict[tuple[str, str, str], str]:
    return {
        (store, run, what): changed.get(f"{store}_{run}_{what}", f"digest of {what}")
        for store in compare_revisions.STORES
        for run in compare_revisions.RUNS
        for what in ("model", "metrics")
    }


def test_a_changed_digest_is_reported() -> None:
    one, other = found(), found(s3_torn_model="another")
    assert digests.differences(one, found()) == []
    sentences = digests.differences(one, other)
    assert sentences[0] == "model of the torn run on the s3 store"
    assert sentences[1].startswith("model within the second")
    assert len(sentences) == 2
    trees = [Tree(title, Path()) for title in ("one", "other")]
    lines = compare_revisions.table(trees, [one, other]).splitlines()
    assert [line.split()[:3] for line in lines if line.endswith("DIFFERENT")] == [
        ["s3", "torn", "model"]
    ]
    assert sum(line.endswith("same") for line in lines) == 7


def test_what_is_missing_and_what_differs_in_both_trees_is_reported() -> None:
    less = found()
    del less["file", "whole", "metrics"]
    assert digests.differences(found(), less) == ["metrics of the whole run on the file store"]
    both = found(file_torn_model="another")
    assert [each.split(":")[0] for each in digests.differences(both, both)] == [
        "model within the first", "model within the second",
    ]  # fmt: skip


@pytest.mark.parametrize(("one", "code"), [("same", 0), ("other", 1)])
def test_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, one: str, code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def tried(tree: object, *_: object) -> dict[tuple[str, str, str], str]:
        first = str(getattr(tree, "title", "")) == "HEAD"
        return {("file", "whole", "model"): one if first else "same"}

    monkeypatch.setattr(compare_revisions, "tried", tried)
    monkeypatch.setattr(compare_revisions, "tree_of", lambda word, scratch: Tree(word, scratch))
    assert compare_revisions.main(["HEAD", "other", "--stores", "file"]) == code
    assert ("DIFFERENT" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere", "--stores", "file"], "'nowhere' is neither a folder nor a git revision"),
        (["{folder}", "--stores", "file"], "holds no checkout of Mimir"),
        (["--stores", "ftp"], "--stores is 'ftp', but must be file, s3 or file,s3"),
        (["--steps", "3"], "--steps is 3, but must be at least 30"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, words: list[str], says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert compare_revisions.main([word.format(folder=tmp_path) for word in words]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
