"""The harness of a service's adapter: a provider by Rented, against a fake of the service.

Nothing runs on the fake's machines, and time passes by the fake's clock.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from launch.contract.cloud import State, owner_of, without_owner
from launch.contract.offer import Need
from launch.contract.provider import AttemptSpec
from launch.payload import key_link
from launch.providers.rented import Rented
from mimir.errors import MimirError
from mimir.runs import owner
from mimir.runs.store import Stored
from tests.clouds.server import PLAIN
from tests.clouds.service import Exchange, Rental, Service
from tests.launch.providers.conformance import leaks
from tests.launch.providers.conformance.harness import FOREVER, Harness, Place, row_class
from tests.launch.providers.conformance.leaks import KEY, LINK, SECRETS, SIGNED
from tests.runs.memory import MemoryStore

Route = Mapping[str, str]
"""{"method", "path"}: which requests are meant; path is a regular expression."""


class Still:
    """A machine of the fake on which nothing runs."""

    working = True

    def __init__(self) -> None:
        self.lines: list[str] = []

    def output(self) -> list[str]:
        return self.lines

    def start(self) -> None: ...

    def stop(self, grace: float = 0.0) -> None: ...

    def destroy(self) -> None: ...


class ServiceHarness(Harness):
    """create, look, listing, ending: the requests that do so. next_page: the parameter of a page
    that is not the first. Faults are the fake's own; "quoted 401" is a refusal with that status.
    """

    fake: ClassVar[type[Service]]
    create: ClassVar[Route]
    look: ClassVar[Route]
    listing: ClassVar[Route]
    ending: ClassVar[Route]
    next_page: ClassVar[str]
    lost = ("lost_after", "error_after", "torn")
    unsent = ("hang_up", "error", "html_200")
    unended = (
        "plain_404",
        "lost_after",
        "error_after",
        "hang_up",
        "error",
        "html_403",
        "html_200",
        "plain_429",
    )
    silent = ("plain_404", "hang_up", "error", "html_403", "html_200", "plain_429", "torn")
    broken_lists = ("hang_up", "error", "html_403", "html_200", "plain_429", "torn")
    broken_pages = broken_lists
    secrets: Mapping[str, str] = {**SECRETS, "link": SIGNED, "key": KEY}

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.service = self.fake(KEY)
        self.store = MemoryStore()
        self.strangers = 0
        place.patch.setattr(self.service, "boot", self._boot)
        place.patch.setattr(key_link, "leave", lambda *a: LINK)
        place.patch.setattr(key_link, "revoke", lambda *a: None)
        stored = Stored("code.whl", 1, "0" * 64)
        place.patch.setattr("launch.payload.code_in_store.of_run", lambda *a: stored)
        self.stock()
        self.another()
        found = self.provider.cloud.offers(Need())
        self.offers = sorted(found, key=lambda offer: offer.price)

    def close(self) -> None:
        self.service.close()

    def stock(self) -> None:
        """Let the fake have all that the suite orders at once."""

    def environ(self) -> dict[str, str]:
        """What makes the adapter talk to the fake."""
        adapter = row_class(self.name)
        return {adapter.key_variable: KEY, adapter.url_variable: self.service.url}

    def options(self) -> dict[str, Any]:
        """What else the adapter is made with."""
        return {}

    def another(self) -> None:
        clock = self.service.clock
        cloud = row_class(self.name)(
            environ=self.environ(), transport=PLAIN, clock=clock.time, sleep=clock.advance,
            **self.options(),
        )  # fmt: skip
        self.provider = Rented(
            cloud, opener=lambda url: self.store, clock=clock.time, sleep=clock.advance
        )  # fmt: skip
        self.service.clock.advance(60.0)  # the launcher before it has just made its requests

    def spec(self, attempt: int = 1) -> AttemptSpec:
        return AttemptSpec(
            "s3://bucket/runs?endpoint=https://s3.example", "run", attempt,
            env={**SECRETS, "OFFLINE": "yes"}, offer=self.offers[attempt % len(self.offers)],
        )  # fmt: skip

    def broken(self, machine: Any) -> bool:
        found = self.provider.inspect(machine)
        return found is not None and found.state is State.BROKEN

    def listed(self) -> list[str]:
        return sorted(self._short(each.name) for each in self.provider.instances())

    def asked(self) -> str:
        try:
            said = [str(self.provider.cloud.offers(Need()))]
        except MimirError as error:
            said = [leaks.of_error(error)]
        return "\n".join([*said, *(each.details for each in self.provider.cloud.checks())])

    def creates(self) -> int:
        return sum(_is(each, self.create) for each in self.service.requests)

    def machines(self) -> list[str]:
        return sorted(self._short(rental.name) for rental in self.service.alive())

    def _short(self, name: str) -> str:
        """Without the id of the harness's store, which the names of its machines bear."""
        return without_owner(name) if owner_of(name) == owner.read(self.store) else name

    def arm_order(self, fault: str) -> None:
        name, _, status = fault.partition(" ")
        more = {"status": int(status), "text": "no"} if status else {}
        self.service.fault(name, **self.create, **more)

    def arm_end(self, fault: str) -> None:
        self.service.fault(fault, **self.ending)

    def arm_look(self, fault: str) -> None:
        self.service.fault(fault, FOREVER, **self.look)

    def arm_list(self, fault: str) -> None:
        self.service.fault(fault, FOREVER, **self.listing)

    def arm_page(self, fault: str) -> None:
        self.service.fault(fault, FOREVER, **self.listing, query=self.next_page)

    def disarm(self) -> None:
        self.service.disarm()

    def keep(self) -> None:
        self.service.fault("kept", FOREVER, **self.ending)

    def quote_order(self, text: str) -> None:
        self.service.fault("quoted", text=text, **self.create)

    def quote_all(self, text: str) -> None:
        self.service.fault("quoted", FOREVER, text=text)

    def rental(self, machine: Any) -> Rental:
        return self.service.rental(self.id_of(machine))

    def prints(self, machine: Any, lines: list[str]) -> None:
        self.service.machines[self.id_of(machine)].lines = lines  # type: ignore[attr-defined]

    def stranger(self, name: str) -> None:
        """Made as one of ours, and then renamed in the fake's books."""
        self.strangers += 1
        self.rename(self.rental(self.start(attempt=10 + self.strangers)), name)

    def rename(self, rental: Rental, name: str) -> None:
        """Give a machine another name, in the books and in what is shown."""
        rental.name = name

    def _boot(self, rental: Rental, argv: object, env: object) -> Still:
        machine = Still()
        self.service.machines[rental.id] = machine  # type: ignore[assignment]
        return machine


def _is(exchange: Exchange, route: Route) -> bool:
    return exchange.method == route["method"] and bool(re.search(route["path"], exchange.path))
