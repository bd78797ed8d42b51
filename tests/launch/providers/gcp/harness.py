"""Google Compute Engine for the conformance suite."""

from typing import Any

from launch.contract.errors import AuthFailed, BalanceEmpty, NoCapacity, RateLimited
from mimir.errors import BadInput
from tests.clouds.fake_gcp import STOCKOUT, FakeGcp
from tests.clouds.virtual_machine import VirtualMachine
from tests.launch.providers.conformance.harness import Place, register
from tests.launch.providers.conformance.services import ServiceHarness, Still


@register
class GcpHarness(ServiceHarness):
    name = "gcp"
    fake = FakeGcp
    service: FakeGcp
    create = {"method": "POST", "path": r"/instances$"}
    listing = {"method": "GET", "path": r"/aggregated/instances$"}
    look = {"method": "GET", "path": r"/instances/[^/]+$"}
    ending = {"method": "DELETE", "path": r"/instances/[^/]+$"}
    next_page = "pageToken"
    lost = (*ServiceHarness.lost, "nameless")
    broken_lists = (*ServiceHarness.broken_lists, "null_list", "unreachable", "nameless_row")
    broken_pages = (*ServiceHarness.broken_pages, "unreachable")
    refusals = {
        NoCapacity: f"fails {STOCKOUT}", AuthFailed: "quoted 403",
        BalanceEmpty: "reason billingNotEnabled", RateLimited: "plain_429",
        BadInput: "quoted 400",
    }  # fmt: skip
    exceptions = {
        "an_order_that_may_have_come_is_not_sent_again": "Google knows an order by its request id, "
        "so that the same one is asked again and makes one machine",
        "Leaked_is_told": "what Google accepts is one machine or an operation that failed",
    }

    def __init__(self, place: Place) -> None:
        self.starts: list[int] = []
        place.patch.setattr(VirtualMachine, "start", lambda self: None)
        super().__init__(place)

    def environ(self) -> dict[str, str]:
        return self.service.environ()

    def start(self, attempt: int = 1) -> Any:
        """The suite orders one attempt again and again; for Google each is another one."""
        self.service.forget()
        self.starts.append(len(self.service.requests))
        return super().start(attempt)

    def creates(self) -> int:
        """Orders by their request ids: one that is asked again is the same one."""
        found = set()
        for index, each in enumerate(self.service.requests):
            if each.method == "POST" and each.path.endswith("/instances"):
                start = sum(at <= index for at in self.starts)
                found.add((start, each.query["requestId"]))
        return len(found)

    def arm_order(self, fault: str) -> None:
        name, _, word = fault.partition(" ")
        more: dict[str, Any] = {
            "quoted": {"status": word.isdigit() and int(word), "text": "no"},
            "reason": {"status": 403, "reason": word}, "fails": {"code": word},
        }.get(name, {})  # fmt: skip
        self.service.fault(name, **self.create, **more)

    def say(self, machine: Any, word: str) -> None:
        self.service.say(machine.id, word)

    def prints(self, machine: Any, lines: list[str]) -> None:
        still = Still()
        still.lines = lines
        self.service.machines[machine.id] = still  # type: ignore[assignment]

    def paged(self) -> list[str]:
        self.service.page_size = 2
        for attempt in range(1, 6):
            self.start(attempt)
        return self.machines()
