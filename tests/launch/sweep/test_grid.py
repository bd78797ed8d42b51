from pathlib import Path

import pytest

from launch.sweep import grid
from launch.sweep.grid import runs
from mimir.errors import BadInput
from tests.waiting import unless_it_hangs


def test_a_grid_is_every_combination_in_order() -> None:
    found = runs("lr=1e-3,3e-4 seed=0..2", 0, "", "lr")
    assert found == [{"lr": lr, "seed": seed} for lr in (1e-3, 3e-4) for seed in (0, 1, 2)]
    assert runs("seed=0..2,7 pair-share=.5", 0, "", "x") == [
        {"seed": seed, "pair_share": 0.5} for seed in (0, 1, 2, 7)
    ]
    assert runs("preset=small,medium", 0, "", "x") == [{"preset": "small"}, {"preset": "medium"}]


def test_draws_are_different_runs_and_the_same_at_every_call() -> None:
    text = "lr=1e-4..1e-2 ema=.9...99 dim=64,128 seed=0..9"
    found = runs(text, 40, "", "lr")
    assert found == runs(text, 40, "", "lr")
    assert found != runs(text, 40, "", "other")
    assert len({repr(point) for point in found}) == 40
    assert all(1e-4 <= point["lr"] <= 1e-2 and 0.9 <= point["ema"] <= 0.99 for point in found)
    below = sum(point["lr"] < 1e-3 for point in found)
    assert 10 <= below <= 30, "half of the draws lie below the middle of the logarithm"
    assert {point["dim"] for point in found} == {64, 128}
    assert all(float(f"{point['lr']:.4g}") == point["lr"] for point in found)


def test_draws_of_all_there_is() -> None:
    found = runs("dim=64,128 seed=0..2", 6, "", "x")
    assert sorted((p["dim"], p["seed"]) for p in found) == [
        (dim, seed) for dim in (64, 128) for seed in (0, 1, 2)
    ]


def test_a_file_is_combined_with_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text("- {lr: 1e-3, dim: 64}\n- {lr: 3e-4, pair-share: 0.5}\n")
    found = runs("seed=0..1", 0, str(path), "x")
    # YAML 1.1 takes 1e-3 for text; the configuration makes a number of it.
    assert [dict(point, lr=float(point["lr"])) for point in found] == [
        {"lr": 1e-3, "dim": 64, "seed": 0},
        {"lr": 1e-3, "dim": 64, "seed": 1},
        {"lr": 3e-4, "pair_share": 0.5, "seed": 0},
        {"lr": 3e-4, "pair_share": 0.5, "seed": 1},
    ]
    assert len(runs("", 0, str(path), "x")) == 2


@pytest.mark.parametrize(
    ("text", "draws", "says"),
    [
        ("", 0, "needs --grid"),
        ("lr", 0, "'lr' where NAME=VALUE"),
        ("lr=", 0, "lr has an empty value in the grid: lr="),
        ("lr=1e-3,,3e-4", 0, "lr has an empty value"),
        ("lr=1e-3 lr=3e-4", 0, "names lr twice"),
        ("sed=0..4", 0, "no setting 'sed'; did you mean 'seed'"),
        ("seed=4..0", 0, "seed=4..0 runs backwards: write seed=0..4"),
        ("lr=1e-2..1e-4", 3, "runs backwards"),
        ("seed=..4", 0, "a range is FIRST..LAST of two numbers"),
        ("seed=a..b", 0, "a range is FIRST..LAST of two numbers"),
        ("lr=1e-4..1e-2", 0, "no steps: list its values, or draw from it by --random N"),
        ("lr=1e-3,1e-4..2e-4", 2, "a range of decimals beside other values"),
        ("lr=1e-3,0.001", 0, "has the value 0.001 twice"),
        ("seed=0..500", 0, "501 runs, and a sweep has at most 500"),
        ("seed=0..9999999999", 0, "at most 500"),
        ("seed=0..99 dim=16,32,48,64,80,96", 0, "600 runs"),
        ("lr=1e-4..1e-2", 501, "501 runs"),
        ("seed=0..2", 4, "more different runs than the grid has"),
        ("lr=0.0010001..0.0010002", 2, "1 were found, as ranges are drawn from in four digits"),
        ("lr=0.001..0.001003 dim=64,128", 40, "8 were found"),
        ("seed=0..2", -1, "--random is -1,"),
    ],
)
def test_a_bad_grid(text: str, draws: int, says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        unless_it_hangs(lambda: runs(text, draws, "", "x"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("lr: 1e-3\n", "must be a list of mappings"),
        ("[]\n", "must be a list of mappings"),
        ("- {lr: 1e-3}\n- {sed: 1}\n", "run 2 names no setting 'sed'; did you mean 'seed'"),
        ("- {lr: }\n", "run 1: lr has an empty value"),
        ("- {lr: [1e-3, 3e-4]}\n", "run 1: lr has several values"),
        ("- {seed: 1}\n", "seed stands in the grid and in"),
        ("- {lr: 1e-3\n", "is not a YAML file"),
    ],
)
def test_a_bad_file(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(content)
    with pytest.raises(BadInput, match=says):
        runs("seed=0..1", 0, str(path), "x")
    with pytest.raises(BadInput, match="cannot be read"):
        runs("", 0, str(tmp_path / "nosuch.yaml"), "x")


@pytest.mark.parametrize(
    "text",
    ["RUNPOD_API_KEY=rpa_4711471147114711", "lr=AKIAABCDEFGHIJKLMNOP", "lr=my-very-own-secret"],
)
def test_a_secret_is_refused_and_not_repeated(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAST_API_KEY", "my-very-own-secret")
    path = tmp_path / "runs.yaml"
    path.write_text(f"- {{{text.replace('=', ': ')}}}\n")
    for given in ((text, ""), ("", str(path))):
        with pytest.raises(BadInput, match="looks like a secret") as error:
            runs(given[0], 0, given[1], "x")
        assert text.partition("=")[2] not in str(error.value)


def test_words_of_a_grid_are_plain_values() -> None:
    assert [grid.value_of(word) for word in ("7", "-1", "1e-3", ".5", "bf16", "nan", "1_000")] == [
        7, -1, 1e-3, 0.5, "bf16", "nan", "1_000",
    ]  # fmt: skip
