"""No option is ignored in silence, whichever provider it is said for."""

import inspect
from dataclasses import replace
from typing import Any

import pytest

from launch.commands import options
from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.commands.sweep import sweep
from launch.contract.provider import Metered, TakesOptions
from launch.providers import registry
from launch.ui import confirm, no_effect
from mimir.errors import BadInput
from mimir.runs.hosts import Hosts
from mimir.runs.order import KeySource, Limits, Plan
from tests.launch.conftest import ENDLESS, World

PLACES = registry.names()
PLANS: dict[str, Plan] = {
    "spot": Plan((), spot=True),
    "hosts": Plan((), hosts=Hosts("any")),
    "region": Plan((), hosts=Hosts(regions=("eu",))),
    "min_reliability": Plan((), hosts=Hosts(reliability=0.5)),
    "min_download": Plan((), hosts=Hosts(download=5)),
    "min_upload": Plan((), hosts=Hosts(upload=5)),
    "max_price": Plan((), Limits(max_price=1)),
    "max_cost": Plan((), Limits(max_cost=1)),
    "max_failures": Plan((), Limits(max_failures=1)),
    "role": Plan((), keys=KeySource("arn:aws:iam::1:role/x")),
    "static_keys": Plan((), keys=KeySource(static=True)),
}
"""A plan for each option of a rule that a plan shows."""
HEARD: dict[str, tuple[str, ...]] = {
    "spot": ("vastai", "aws", "gcp"),
    "hosts": ("runpod", "vastai"),
    "region": ("runpod", "vastai", "lambda", "aws", "gcp"),
    "min_reliability": ("vastai",), "min_download": ("vastai",), "min_upload": ("vastai",),
    "max_price": ("colab", "runpod", "vastai", "lambda", "aws", "gcp"),
    "max_cost": ("colab", "runpod", "vastai", "lambda", "aws", "gcp"),
    "max_cost_month": ("colab", "runpod", "vastai", "lambda", "aws", "gcp"),
    "max_cost_store": ("colab", "runpod", "vastai", "lambda", "aws", "gcp"),
    "max_failures": ("colab", "slurm", "runpod", "vastai", "lambda", "aws", "gcp"),
    "role": (), "static_keys": (),
}  # fmt: skip
"""Where each option of a rule changes something, with a store that is a folder."""


@pytest.mark.parametrize("command", [submit, resume, sweep])
def test_every_option_is_accounted_for(command: Any) -> None:
    known = [*no_effect.EVERYWHERE, *no_effect.REFUSED, *no_effect.RULES]
    assert len(known) == len({*known})
    unknown = {*inspect.signature(command).parameters} - {*known}
    assert not unknown, f"say in launch/ui/no_effect.py where these have an effect: {unknown}"


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("option", no_effect.RULES)
def test_what_changes_nothing_is_said(option: str, name: str) -> None:
    plan, place = PLANS.get(option, Plan(())), registry.get(name)
    given = () if option in PLANS else (option,)
    lines = confirm.warnings([place], plan, store="file:///store", given=given)
    shown = f"--{option.replace('_', '-')} changes nothing there"
    told = [line for line in lines if line.startswith(f"note: {name} ") and shown in line]
    assert len(told) == (name not in HEARD[option])


@pytest.mark.parametrize("name", PLACES)
def test_an_option_without_a_rule_is_refused_where_it_means_nothing(name: str) -> None:
    place = registry.get(name)
    caps = place.caps
    refusals: dict[str, tuple[bool, Any]] = {
        "gpu": (caps.cards, lambda: options.check_gpu([place], ["T4"])),
        "gpu of a cluster": (caps.queues, lambda: caps.queues and place.choices(("T4",))),
        "image": (not caps.image, lambda: caps.image or options.check_image([place], "image")),
        "slurm": (
            not isinstance(place, TakesOptions),
            lambda: caps.queues or options.settled([place], "--time=1"),
        ),
        "notify_from_machine": (caps.queues, lambda: options.check_notify([place], True)),
    }
    assert {each.partition(" ")[0] for each in refusals} == no_effect.REFUSED
    for option, (refuses, check) in refusals.items():
        if refuses:
            with pytest.raises(BadInput, match=f"--{option.partition(' ')[0].replace('_', '-')}"):
                check()
        else:
            check()


def test_options_with_one_reason_are_named_together() -> None:
    plan = Plan((), Limits(1.0, 2.0, 3.0), spot=True)
    local, runpod = registry.get("local"), registry.get("runpod")
    assert no_effect.lines([local], plan, given=["max_cost_store"]) == [
        "note: local has no spot machines: --spot changes nothing there",
        "note: local has no prices: --max-price, --max-cost and --max-cost-store change nothing "
        "there",
    ]
    assert no_effect.lines([runpod], replace(plan, spot=False)) == []


def test_money_means_something_to_an_account_that_pays() -> None:
    colab, plan = registry.get("colab"), Plan((), Limits(max_cost=3))
    assert isinstance(colab, Metered)
    assert no_effect.lines([colab], plan, priced=["colab"]) == []
    assert "costs this account nothing: --max-cost" in no_effect.lines([colab], plan, priced=[])[0]


def test_keys_are_for_buckets() -> None:
    plan = Plan((), keys=KeySource(static=True))
    assert no_effect.lines([registry.get("local")], plan, store="s3://bucket/runs") == []


FREE = (
    "--region", "eu", "--hosts", "datacenter", "--min-download", "5", "--static-keys",
    "--max-failures", "2", "--max-cost-month", "5", "--spot",
)  # fmt: skip


def test_a_run_on_this_computer_tells_what_it_does_not_hear(world: World) -> None:
    _, err = world.submit("run", "--dry-run", *FREE)
    for option in FREE:
        if option.startswith("--"):
            assert option in err, option
    assert "only" not in err
    world.submit("run", STEPS=ENDLESS)
    _, err = world.launch("resume", "run", "--max-failures", "9", "--region", "eu", "--take-over")
    assert "local rents no machines: --region changes nothing there" in err
    assert "--max-failures changes nothing there" in err


def test_resume_takes_a_card_and_no_other_device(world: World) -> None:
    world.submit("run", STEPS=ENDLESS)
    _, err = world.launch("resume", "run", "--device", "cpu", "--take-over", code=78)
    assert "--device cpu: a run keeps the device" in err


@pytest.mark.parametrize(("words", "option"), [
    (("--stop", "--dry-run"), "--dry-run"), (("--max-cost", "5"), "--max-cost"),
    (("--remove", "--provider", "local"), "--provider"), (("--slurm=--time=1",), "--slurm"),
])  # fmt: skip
def test_a_sweep_that_begins_nothing_refuses_what_it_does_not_hear(
    words: tuple[str, ...], option: str, world: World
) -> None:
    _, err = world.launch("sweep", "many", *words, code=78)
    assert f"{option} changes nothing beside" in err
