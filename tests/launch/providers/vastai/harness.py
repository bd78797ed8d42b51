"""Vast.ai for the conformance suite."""

from typing import Any

from launch.contract.errors import AuthFailed, BalanceEmpty, Leaked, NoCapacity, RateLimited
from mimir.errors import BadInput
from tests.clouds.fake_vast import FakeVast
from tests.clouds.service import Rental
from tests.clouds.vast_market import ask
from tests.launch.providers.conformance.harness import register
from tests.launch.providers.conformance.services import ServiceHarness

ONE = r"^/api/v0/instances/\d+/?$"


@register
class VastHarness(ServiceHarness):
    name = "vastai"
    fake = FakeVast
    service: FakeVast
    create = {"method": "PUT", "path": r"^/api/v0/asks/"}
    listing = {"method": "GET", "path": r"^/api/v1/instances/"}
    look = {"method": "GET", "path": ONE}
    ending = {"method": "DELETE", "path": ONE}
    next_page = "after_token"
    lost = (*ServiceHarness.lost, "nameless")
    unended = (*ServiceHarness.unended, "denied")
    silent = (*ServiceHarness.silent, "denied")
    broken_lists = (*ServiceHarness.broken_lists, "deprecated_list", "partial_list", "denied")
    broken_pages = (*ServiceHarness.broken_pages, "partial_list", "denied")
    refusals = {
        NoCapacity: "no_such_ask_410", AuthFailed: "quoted 401", BalanceEmpty: "no_credit",
        RateLimited: "plain_429", Leaked: "leaked", BadInput: "quoted 400",
    }  # fmt: skip

    def stock(self) -> None:
        self.service.asks = [ask(n, "RTX 4090", 24564, 0.4, 0.2) for n in range(1, 41)]

    def say(self, machine: Any, word: str) -> None:
        """A reason is told of a container that is still being made."""
        contract = self.service.contracts[int(self.id_of(machine))]
        contract.status = "loading" if " " in word else word
        contract.message = word

    def rename(self, rental: Rental, name: str) -> None:
        super().rename(rental, name)
        self.service.contracts[int(rental.id)].order["label"] = name

    def paged(self) -> list[str]:
        for attempt in range(1, 31):
            self.start(attempt)
        return self.machines()
