"""RunPod for the conformance suite."""

from typing import Any

from launch.contract.errors import AuthFailed, BalanceEmpty, NoCapacity, RateLimited
from mimir.errors import BadInput
from tests.clouds.fake_runpod import FakeRunPod
from tests.launch.providers.conformance.harness import register
from tests.launch.providers.conformance.services import ServiceHarness

ONE = r"^/v2/pods/[^/]+$"


@register
class RunPodHarness(ServiceHarness):
    name = "runpod"
    fake = FakeRunPod
    service: FakeRunPod
    create = {"method": "POST", "path": r"^/v2/pods$"}
    listing = {"method": "GET", "path": r"^/v2/pods$"}
    look = {"method": "GET", "path": ONE}
    ending = {"method": "DELETE", "path": ONE}
    broken_lists = (*ServiceHarness.broken_lists, "torn_list", "unauthorized")
    next_page = "cursor"
    refusals = {
        NoCapacity: "capacity", AuthFailed: "unauthorized", BalanceEmpty: "no_balance",
        RateLimited: "rate_limited", BadInput: "invalid",
    }  # fmt: skip
    exceptions = {
        "Leaked_is_told": "an order at RunPod is placed or refused as a whole",
    }

    def say(self, machine: Any, word: str) -> None:
        self.rental(machine).shown["status"] = word

    def paged(self) -> list[str]:
        self.service.page_size = 2
        for attempt in range(1, 6):
            self.start(attempt)
        return self.machines()
