"""The measurement of an attempt's start."""

import json
from pathlib import Path

import pytest

from bench import start_up
from mimir.errors import BadInput


def test_figures_are_medians_of_each_part_and_of_the_sum() -> None:
    rows = [{"a": (1.0, 0.5), "b": (4.0, 1.0)}, {"a": (3.0, 0.1), "b": (2.0, 1.0)},
            {"a": (2.0, 0.2), "b": (9.0, 3.0)}]  # fmt: skip
    assert start_up._figures(rows) == {
        "clock_and_processor_s": {"a": [2.0, 0.2], "b": [4.0, 1.0], "in all": [5.0, 1.5]}
    }


def test_one_start_is_too_few() -> None:
    with pytest.raises(BadInput, match="--times is 1, but must be at least 2"):
        start_up.measure(times=1)


@pytest.mark.long
def test_a_start_is_measured_part_by_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_up.measure(presets="smoke", times=2, out=str(tmp_path))
    (result,) = tmp_path.glob("start-up-*.json")
    (start,) = json.loads(result.read_text())["starts"]
    parts = start["clock_and_processor_s"]
    told = {"the worker", "the claim", "data and model", "the first step", "the first commit"}
    assert told < parts.keys()
    assert parts["Python and its modules"][1] > 0.1
    assert "smoke of" in capsys.readouterr().out
