"""Lambda Cloud for the conformance suite."""

from typing import Any

import pytest

from launch.contract.errors import AuthFailed, BalanceEmpty, NoCapacity, RateLimited
from launch.providers import ssh
from mimir.errors import BadInput
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.virtual_machine import VirtualMachine
from tests.launch.providers.conformance.harness import Place, register
from tests.launch.providers.conformance.services import ServiceHarness


@register
class LambdaHarness(ServiceHarness):
    name = "lambda"
    fake = FakeLambda
    service: FakeLambda
    create = {"method": "POST", "path": r"/instance-operations/launch$"}
    listing = {"method": "GET", "path": r"/instances$"}
    look = {"method": "GET", "path": r"/instances/\w+$"}
    ending = {"method": "POST", "path": r"/instance-operations/terminate$"}
    lost = (*ServiceHarness.lost, "unknown_after", "nameless")
    unended = (*ServiceHarness.unended, "not_listed", "unknown_after")
    broken_lists = (*ServiceHarness.broken_lists, "null_list", "nameless_row")
    refusals = {
        NoCapacity: "no_capacity", AuthFailed: "forbidden", BalanceEmpty: "inactive",
        RateLimited: "plain_429", BadInput: "quoted 400",
    }  # fmt: skip
    exceptions = {
        "Leaked_is_told": "a launch at Lambda is refused as a whole",
        "all_pages_are_read": "Lambda's list of machines is one answer without pages",
        "a_list_that_breaks_off_is_an_error": "Lambda's list of machines has no pages",
    }

    def __init__(self, place: Place) -> None:
        pytest.importorskip("paramiko", reason="an order has a host key: pip install paramiko")
        place.patch.setattr(VirtualMachine, "start", lambda self: None)
        super().__init__(place)

    def options(self) -> dict[str, Any]:
        return {"folder": self.place.folder}

    def say(self, machine: Any, word: str) -> None:
        self.rental(machine).shown["status"] = word

    def prints(self, machine: Any, lines: list[str]) -> None:
        self.place.patch.setattr(ssh, "run", lambda door, command: "\n".join(lines))
