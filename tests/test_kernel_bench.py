"""What `bench.kernels` concludes, on figures that are made up: only a GPU measures them."""

from typing import Any

import pytest

from bench import kernels


def case(ms: float, **own: Any) -> dict[str, Any]:
    return {"equal": True, "near": True, "median_ms": ms} | own


def test_only_what_is_sound_and_faster_may_be_switched_on() -> None:
    figures = {
        "off": case(1.0), "all": case(0.8), "only norm": case(1.1),
        "only gelu": case(0.5, near=False), "only wgrad": case(0.5, equal=False),
        "only ends": {"error": "…"}, "only update": {"equal": True, "near": True},
    }  # fmt: skip
    assert kernels.verdict(figures) == [
        "all: x1.250 against none, may be switched on",
        "only norm: x0.909 against none, stays off, it is not faster",
        "only gelu: stays off, it failed a check (above)",
        "only wgrad: stays off, it failed a check (above)",
        "only ends: stays off, it failed a check (above)",
        "only update: stays off, it was not timed",
    ]


def test_without_the_step_of_before_nothing_is_faster() -> None:
    (line,) = kernels.verdict({"off": {"error": "…"}, "all": case(0.8)})
    assert line.startswith("nothing can be said")


@pytest.mark.parametrize(
    ("small", "whole"),
    [
        ({"off": case(1.0), "all": case(0.8)}, True),
        ({"off": case(1.0), "all": case(0.8, near=False)}, False),
        ({"off": case(1.0), "all": {"error": "…"}}, False),
        ({}, False),  # no time was left
    ],
)
def test_a_preset_that_was_not_checked_is_no_success(small: dict[str, Any], whole: bool) -> None:
    assert kernels.passed({"large": {"off": case(1.0)}, "small": small}) is whole
