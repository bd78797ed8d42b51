"""The options that submit, resume and sweep share."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from launch.commands import rent_options
from launch.commands.rent_options import RentOptions, shared
from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.commands.sweep import sweep
from mimir import cli
from mimir.errors import BadInput
from mimir.runs.hosts import Hosts
from mimir.runs.order import KeySource, Limits, Plan

SHARED = inspect.signature(RentOptions).parameters
NOT_OF_SWEEP = {"max_cost", "max_sessions", "watch", "notify", "notify_from_machine"}


@pytest.mark.parametrize("command", [submit, resume, sweep])
def test_they_cannot_drift(command: Any) -> None:
    own = inspect.signature(command).parameters
    assert rent_options.PARAMETER not in own
    expected = {*SHARED} - (NOT_OF_SWEEP if command is sweep else set())
    assert expected <= {*own}
    wanted = cli.sections(inspect.getdoc(RentOptions) or "")[1]
    told = cli.sections(inspect.getdoc(command) or "")[1]
    for name in expected:
        assert (own[name].default, own[name].annotation) == (
            SHARED[name].default, SHARED[name].annotation,
        )  # fmt: skip
        assert told[name].partition(" (default")[0] == wanted[name].partition(" (default")[0]


def test_what_holds_where_an_option_is_not_said() -> None:
    told = [cli.sections(inspect.getdoc(each) or "")[1] for each in (submit, resume, sweep)]
    assert [each["gpu"].partition(" (default: ")[2] for each in told] == [
        "the cheapest way).", "as last time).",
        "the cheapest way; of an existing sweep, as before).",
    ]  # fmt: skip
    assert told[0]["spot"] == told[1]["spot"] == "rent machines that may be taken away, too."


def test_what_holds_beside_the_last_order_is_told() -> None:
    told = [cli.sections(inspect.getdoc(each) or "")[1] for each in (submit, resume, sweep)]
    assert told[0]["max_sessions"].endswith("no limit, but on Colab one: its free sessions are not "
                                            "chained unless you say so).")  # fmt: skip
    assert told[1]["max_sessions"].partition(" (default: ")[2] == (
        "as last time where machines are rented, else no limit, but on Colab one more)."
    )
    month = [each["max_cost_month"].partition(" (default: ")[2] for each in told]
    assert month == [
        "$MIMIR_MAX_COST_MONTH).",
        "as last time, or $MIMIR_MAX_COST_MONTH where that was no limit).",
        "$MIMIR_MAX_COST_MONTH; of an existing sweep, as before, or $MIMIR_MAX_COST_MONTH where "
        "that was no limit).",
    ]


def test_a_limit_of_0_dollars_is_told_as_it_counts() -> None:
    """As `confirm.limited`, which gives a rented run a limit in any case."""
    for command, default in ((submit, "as 0"), (resume, "as last time")):
        told = cli.sections(inspect.getdoc(command) or "")[1]["max_cost"]
        assert told == (
            "dollars of a run over all its attempts; 0: twice the forecast beside what is spent, "
            f"where machines are rented without --max-hours, else no limit (default: {default})."
        )


def test_a_command_gets_them_as_one_object() -> None:
    heard: list[Any] = []

    @shared(without=("notify",))
    def bake(name: str, *, rent: RentOptions, notify: int = 0, **settings: object) -> int:
        """Bake.

        Args:
            name: of it.
            notify: its own.
            settings: any.
        """
        heard.append((name, rent, notify, settings))
        return 7

    assert bake("plum", gpu="T4", max_hours=2.0, notify=3, lr=1) == 7
    assert heard == [("plum", RentOptions(gpu="T4", max_hours=2.0), 3, {"lr": 1})]
    words = ["plum", "--max-hours", "90m", "--max-failures", "2", "--min-upload=0"]
    bound = cli.check_words("bake", bake, words)
    assert bake(*bound.args, **bound.kwargs) == 7
    assert heard[1][1] == RentOptions(max_hours=1.5, max_failures=2, min_upload=0.0)
    assert "its own" in cli.command_help("bake", bake)


@pytest.mark.parametrize("command", [submit, resume, sweep])
def test_their_object_is_no_option(command: Any) -> None:
    with pytest.raises(BadInput, match=r"there is no option or setting --rent$"):
        command("plum", rent=1)


def test_what_was_not_said_stays_as_it_is() -> None:
    before = Plan(
        ("runpod",), Limits(1.0, 2.0, 3.0, max_failures=9), ("H100",), True, "an/image",
        KeySource("arn:aws:iam::1:role/x"), 5, Hosts("any", ("eu",), 0.5),
    )  # fmt: skip
    assert RentOptions().onto(before) == before
    plan = RentOptions(provider="vastai", max_price=0, min_upload=7, region="any").onto(before)
    assert plan.providers == ("vastai",)
    assert plan.limits == Limits(0, 2.0, 3.0, max_failures=9)
    assert plan.hosts == Hosts("any", (), 0.5, upload=7)


def test_what_a_program_gives_for_text() -> None:
    assert RentOptions(gpu=None, role=None, region=None) == RentOptions()  # type: ignore[arg-type]
    listed: dict[str, Any] = {"region": ["eu", "US"], "provider": ("runpod", "vastai"), "gpu": []}
    found = RentOptions(**listed, image=Path("a.sif"))  # type: ignore[arg-type]
    assert found == RentOptions(region="eu,US", provider="runpod,vastai", image="a.sif")
    assert found.of_hosts["regions"] == RentOptions(region="eu,US").of_hosts["regions"]


@pytest.mark.parametrize("value", [{"a": "b"}, 7, True, [None], b"eu"])
def test_what_is_no_text_is_refused(value: object) -> None:
    for name in ("gpu", "region", "provider", "role"):
        with pytest.raises(BadInput, match=f"--{name} is .* but must be text, or a list of texts"):
            RentOptions(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"--label is .* but must be text"):
        submit("plum", preset="smoke", label=value)


@pytest.mark.parametrize(("said", "told"), [
    ({"max_hours": -1.0}, "--max-hours is -1, but must be a number, 0 (no limit) or more"),
    ({"max_failures": -1}, "--max-failures is -1, but"),
    ({"min_reliability": 1.5}, "--min-reliability is 1.5, but must be a number from 0 to 1"),
    ({"min_upload": -1.0}, "--min-upload is -1, but"),
])  # fmt: skip
def test_no_number_means_not_said(said: dict[str, Any], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        RentOptions(**said).onto(Plan(("local",)))
    assert told in str(raised.value)
