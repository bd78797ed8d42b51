"""What the plan says before money is spent."""

from typing import Any

import pytest

from launch.providers import registry
from launch.ui import confirm
from mimir.runs.hosts import Hosts
from mimir.runs.order import Plan

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
                "in eu, us-west-1 only",
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
    noting = [line.split()[1] for line in lines if "--min-reliability" in line]
    assert noting == (["runpod", "lambda"] if noted else [])
