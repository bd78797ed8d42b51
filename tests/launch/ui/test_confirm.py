"""What the plan says before money is spent."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.contract import deadlines
from launch.pricing.budget import Remaining
from launch.pricing.evictions import Evictions
from launch.pricing.forecast import forecast
from launch.pricing.market import Ranked
from launch.pricing.workload import Workload
from launch.providers import registry
from launch.provision.choose import Found, Market
from launch.ui import confirm
from mimir.config import load_preset
from mimir.runs.hosts import Hosts
from mimir.runs.order import Limits, Offer, Plan
from mimir.submission import Job

PLACES = [registry.get(name) for name in ("local", "runpod", "vastai", "lambda")]


@pytest.mark.parametrize(
    ("hosts", "shown"),
    [
        (
            Hosts(),
            [
                "runpod: data centres (secure cloud) and private hosts (community cloud)",
                "vastai: hosts that Vast.ai has verified, private ones too",
                "lambda: Lambda's own data centres",
            ],
        ),
        (
            Hosts("datacenter", ("eu", "us-west-1")),
            [
                "local: this computer",
                "runpod: data centres only (secure cloud)",
                "vastai: data centres that Vast.ai has verified",
                "lambda: Lambda's own data centres",
                "runpod, vastai, lambda: in eu, us-west-1 only",
            ],
        ),
    ],
)
def test_whose_machines(hosts: Hosts, shown: list[str]) -> None:
    assert confirm.hosts(PLACES, Plan(("any",), hosts=hosts)) == shown


@pytest.mark.parametrize(
    ("asked", "noted"), [({}, False), ({"kind": "any"}, False), ({"upload": 5.0}, True)]
)
def test_what_a_service_does_not_tell_is_said(asked: dict[str, Any], noted: bool) -> None:
    lines = confirm.warnings(PLACES, Plan(("any",), hosts=Hosts(**asked)))
    noting = [line.split()[1] for line in lines if "--min-upload" in line]
    assert noting == (["local", "runpod", "lambda"] if noted else [])


def test_dollars_that_hold_nothing_are_told() -> None:
    for limits, options in (
        (Limits(), ""), (Limits(max_hours=2, max_cost_month=5), ""),
        (Limits(max_cost=15), "--max-cost"), (Limits(1.0, 2.0, 3.0), "--max-price and --max-cost"),
    ):  # fmt: skip
        lines = confirm.warnings(PLACES, Plan(("any",), limits))
        found = [line for line in lines if "has no prices" in line]
        ending = "" if " and " in options else "s"
        wanted = f"note: local has no prices: {options} change{ending} nothing there"
        assert found == ([wanted] if options else [])


OFFER = Offer("runpod", "x", "H200", 141.0, 2.0)


def ranked(job: Job) -> Ranked:
    what = forecast(Workload.of_steps(job.config, job.steps), "H200")
    assert what is not None
    return Ranked(OFFER, what, what.hours, OFFER.price * what.hours)


def test_ceiling_and_expected_end_stand_side_by_side(tmp_path: Path) -> None:
    packed = tmp_path / "data"
    packed.write_bytes(b"x" * 1000)
    job = Job(load_preset("small"), packed, 10**6, 627_160, 2600, 11, 13_000)
    found = Found((), (ranked(job),), Remaining(9.0, 9.0), Market())
    rows = confirm.rows(job, "run", "file:///s", Plan(("runpod",)), found, 0.0)
    text = "\n".join(f"{what} {value}" for what, value in rows)
    assert "steps 627,160 (20 epochs in batches of 32)" in text
    assert (
        "at most; early stopping is expected to end the run at step 13,000 or so (a guess: " in text
    )
    offer = next(value for what, value in rows if what == "offer")
    hours, cost = (float(part) for part in re.findall(r"expected ([\d.]+) h, \$([\d.]+)", offer)[0])
    assert 0 < hours < found.ranked[0].hours
    assert cost < found.ranked[0].cost
    body = confirm.as_json(job, "run", "file:///s", Plan(("runpod",)), found)
    assert (body["steps"], body["expected_end"]) == (627_160, 13_000)
    assert body["offers"][0]["expected_hours"] < body["offers"][0]["hours"]
    # The limit that a run gets by itself is that of all its steps.
    limits = confirm.limited(Plan(("runpod",)), found.ranked).limits
    assert limits.max_cost == round(max(confirm.LEAST, confirm.SPARE * found.ranked[0].cost), 2)
    without = replace(job, expected_end=None)
    rows = confirm.rows(without, "run", "file:///s", Plan(("runpod",)), found, 0.0)
    assert "expected" not in "\n".join(value for _, value in rows)


@pytest.mark.parametrize(
    ("provider", "store", "shown"),
    [
        ("aws", "s3://b/p?region=us-east-1", ["eu-west-1 to a bucket in us-east-1", "--region"]),
        ("gcp", "s3://b/p?region=us-east-1", ["bucket in us-east-1", "outside Google's network"]),
        ("vastai", "file:///s", ["GB/h"]),
    ],
)  # fmt: skip
def test_what_leaves_for_the_store_is_shown_with_its_price_and_a_hint(
    tmp_path: Path, provider: str, store: str, shown: list[str]
) -> None:
    job = Job(load_preset("small"), tmp_path, 10**6, 627_160, 2600, None, 13_000)
    first = ranked(job)
    away = replace(first, offer=replace(OFFER, provider=provider, region="eu-west-1", egress=0.25))
    lines = confirm.egress(job, store, Found((), (away,), Remaining(9.0, 9.0), Market()))
    assert f"$0.250/h of the first offer, ${0.25 * first.hours:.2f} in all" in lines[0]
    for word in shown:
        assert word in " ".join(lines)
    assert confirm.egress(job, store, Found((), (first,), Remaining(9.0, 9.0), Market())) == []


@pytest.mark.parametrize(
    ("provider", "shown"),
    [
        ("gcp", f"${2.0 * (deadlines.LEFT_ON + 30) / 3600:.2f} at most, where the machine is left "
         "on after the run's end because its service deletes it soon; else it shuts itself down: "
         "only its disk is paid then, about $0.26 a day, until `watch` or `reap` deletes it"),
        ("lambda", "$2.00 for each hour from the run's end until a computer of yours ends the "
         "machine"),
        ("aws", ""), ("runpod", ""), ("local", ""),
    ],
)  # fmt: skip
def test_what_is_paid_after_a_runs_end_is_shown(tmp_path: Path, provider: str, shown: str) -> None:
    packed = tmp_path / "data"
    packed.write_bytes(b"x")
    job = Job(load_preset("small"), packed, 10**6, 627_160, 2600, None, 13_000)
    each = replace(ranked(job), offer=replace(OFFER, provider=provider))
    found = Found((), (each,), Remaining(9.0, 9.0), Market())
    rows = confirm.rows(job, "run", "file:///s", Plan((provider,)), found, 0.0)
    assert [value for what, value in rows if what == "idle"] == ([shown] if shown else [])
    body = confirm.as_json(job, "run", "file:///s", Plan((provider,)), found)
    assert body["idle"] == ([shown] if shown else [])


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("gcp", "shuts itself down if its run ends while no computer of yours watches: only its "
         "disk is paid then"),
        ("lambda", "cannot end itself, and shutting it down does not end the bill"), ("aws", ""),
    ],
)  # fmt: skip
def test_what_becomes_of_a_machine_that_is_left_alone(provider: str, said: str) -> None:
    lines = confirm.warnings([registry.get(provider)], Plan((provider,)))
    notes = [str(line) for line in lines if "note: a machine of" in line]
    assert len(notes) == (1 if said else 0)
    assert said in "".join(notes)


def test_what_evictions_are_expected_to_cost_is_shown(tmp_path: Path) -> None:
    packed = tmp_path / "data"
    packed.write_bytes(b"x")
    job = Job(load_preset("small"), packed, 10**6, 627_160, 2600, 11, 13_000)
    taken = Evictions(0.5, "a guess", 4.0, 1.5)
    spot = replace(ranked(job), evictions=taken)
    found = Found((), (ranked(job), spot), Remaining(9.0, 9.0), Market())
    rows = confirm.rows(job, "run", "file:///s", Plan(("runpod",)), found, 0.0)
    (line,) = (value for what, value in rows if what == "evictions")
    assert "about 4.0 evictions, which cost 1.5 h and $3.00" in line
    assert "(one every 2.0 h: a guess)" in line
    body = confirm.as_json(job, "run", "file:///s", Plan(("runpod",)), found)
    assert [each["evictions"] for each in body["offers"]] == [None, taken.as_json(2.0)]
