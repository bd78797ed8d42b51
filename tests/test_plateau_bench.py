"""The steps after which presets hardly got better are those of kept results."""

import json
from pathlib import Path

import pytest

from bench import plateau as bench
from bench import results
from launch.pricing import plateau
from mimir.errors import BadInput


def _row(step: int, **figures: float | None) -> dict[str, float | int | None]:
    return {"step": step, "loss": 2.9, **figures}


def test_the_first_of_equal_validations_is_best_and_one_before_nearly_so() -> None:
    rows = [
        _row(10), _row(20, selection=2.5, val=2.8), _row(30, selection=2.4009),
        _row(40, selection=2.4, val_known=None), _row(50, selection=2.4), _row(60, selection=None),
    ]  # fmt: skip
    found = bench.of_rows(rows)
    assert found is not None
    assert (found["plateau"], found["best"], found["last"]) == (30, 40, 50)
    assert found["validations"][::2] == [
        {"step": 20, "selection": 2.5, "val": 2.8}, {"step": 40, "selection": 2.4},
    ]  # fmt: skip
    later = bench.of_rows([_row(10, selection=2.401), _row(20, selection=2.4)])
    assert later is not None
    assert later["plateau"] == 20
    assert bench.of_rows([_row(10), _row(20, selection=None)]) is None


def test_runs_that_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="no run is named"):
        bench.main()
    with pytest.raises(BadInput, match="there is no run x in"):
        bench.main("x", store=f"file://{tmp_path}", out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_steps_and_settings_are_those_of_the_kept_runs() -> None:
    kept = [
        run
        for path in results.FOLDER.glob("plateau-*.json")
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]
    ]
    for preset, told in plateau.MEASURED.items():
        runs = [run for run in kept if run["preset"] == preset]
        assert told.steps == max(run["plateau"] for run in runs)
        for run in runs:
            assert run["last"] > run["best"], "a run that was still getting better tells nothing"
            assert told.settings == plateau.settings_of(run["settings"])
