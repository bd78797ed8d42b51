"""AWS for the conformance suite."""

from typing import Any

from launch.contract.errors import AuthFailed, NoCapacity, RateLimited
from launch.providers.aws import adapter
from mimir.errors import BadInput
from tests.clouds.fake_aws import FakeAws
from tests.clouds.virtual_machine import VirtualMachine
from tests.launch.providers.conformance.harness import FOREVER, Place, register
from tests.launch.providers.conformance.services import ServiceHarness, Still


@register
class AwsHarness(ServiceHarness):
    name = "aws"
    fake = FakeAws
    service: FakeAws
    create = {"method": "POST", "path": r"/RunInstances$"}
    listing = {"method": "POST", "path": r"/DescribeInstances$", "query": "Filter.1.Name"}
    look = {"method": "POST", "path": r"/DescribeInstances$", "query": "InstanceId.1"}
    ending = {"method": "POST", "path": r"/TerminateInstances$"}
    next_page = "NextToken"
    lost = (*ServiceHarness.lost, "nameless")
    broken_lists = (*ServiceHarness.broken_lists, "null_list", "nameless_row")
    broken_pages = (*ServiceHarness.broken_pages, "null_list")
    refusals = {
        NoCapacity: "code InsufficientInstanceCapacity", AuthFailed: "code UnauthorizedOperation",
        RateLimited: "code RequestLimitExceeded", BadInput: "code InvalidParameterValue",
    }  # fmt: skip
    exceptions = {
        "an_order_that_may_have_come_is_not_sent_again": "EC2 knows an order by its token, so that "
        "the same one is asked again and makes one machine",
        "Leaked_is_told": "an order of one machine at EC2 is refused as a whole",
        "BalanceEmpty_is_told": "AWS bills afterwards and knows no balance that could be empty",
    }

    def __init__(self, place: Place) -> None:
        self.starts: list[int] = []
        place.patch.setattr(VirtualMachine, "start", lambda self: None)
        place.patch.setattr(adapter, "PAGE", 5)
        super().__init__(place)

    def environ(self) -> dict[str, str]:
        return self.service.environ()

    def start(self, attempt: int = 1) -> Any:
        """The suite orders one attempt again and again; for EC2 each is another one."""
        self.service.tokens.clear()
        self.starts.append(len(self.service.requests))
        return super().start(attempt)

    def creates(self) -> int:
        """Orders by their tokens: one that is asked again is the same one."""
        found = set()
        for index, each in enumerate(self.service.requests):
            if each.path.endswith("/RunInstances"):
                start = sum(at <= index for at in self.starts)
                found.add((start, each.query["ClientToken"]))
        return len(found)

    def arm_order(self, fault: str) -> None:
        name, _, code = fault.partition(" ")
        self.service.fault(name, **self.create, **({"code": code} if code else {}))

    def arm_page(self, fault: str) -> None:
        self.service.fault(fault, FOREVER, **{**self.listing, "query": self.next_page})

    def say(self, machine: Any, word: str) -> None:
        self.service.say(machine.id, word)

    def prints(self, machine: Any, lines: list[str]) -> None:
        still = Still()
        still.lines = lines
        self.service.machines[machine.id] = still  # type: ignore[assignment]

    def paged(self) -> list[str]:
        for attempt in range(1, 8):
            self.start(attempt)
        return self.machines()
