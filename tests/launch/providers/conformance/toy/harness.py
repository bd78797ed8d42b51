"""The toy service for the conformance suite; it is no row of the registry, so not registered."""

from typing import Any

from launch.contract.errors import AuthFailed, BalanceEmpty, NoCapacity, RateLimited
from launch.providers.registry import Row
from mimir.errors import BadInput
from tests.launch.providers.conformance.services import ServiceHarness
from tests.launch.providers.conformance.toy.fake import FakeToy

ROW = Row("tests.launch.providers.conformance.toy.adapter:Toy", rents=True)


class ToyHarness(ServiceHarness):
    name = "toy"
    fake = FakeToy
    create = {"method": "POST", "path": r"^/boxes$"}
    listing = {"method": "GET", "path": r"^/boxes$"}
    look = {"method": "GET", "path": r"^/boxes/\w+$"}
    ending = {"method": "DELETE", "path": r"^/boxes/\w+$"}
    next_page = "from"
    refusals = {
        NoCapacity: "sold_out", AuthFailed: "quoted 401", BalanceEmpty: "poor",
        RateLimited: "plain_429", BadInput: "quoted 400",
    }  # fmt: skip
    exceptions = {"Leaked_is_told": "an order at the toy is placed or refused as a whole"}

    def say(self, machine: Any, word: str) -> None:
        self.rental(machine).shown["state"] = word

    def paged(self) -> list[str]:
        for attempt in range(1, 6):
            self.start(attempt)
        return self.machines()
