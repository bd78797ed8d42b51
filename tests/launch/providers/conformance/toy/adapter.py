"""A toy service's adapter: all that a new provider needs in launch/providers/ is such a module."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from launch.contract.cloud import PREFIX, ContainerSpec, Instance, State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check
from launch.providers.adapter import Adapter
from launch.providers.http import Absent, body, retry_after
from mimir.errors import BadInput, MimirError

STATES = {"on": State.RUNNING, "making": State.PENDING}


def explain(response: httpx.Response) -> MimirError:
    why = f"Toy answered {response.status_code}: {body(response).get('why')}"
    if response.status_code == 429:
        return RateLimited(why, retry_after(response))
    if response.status_code == 404 and body(response).get("why"):
        return Absent(why)
    kinds: dict[int, type[MimirError]] = {
        400: BadInput, 401: AuthFailed, 402: BalanceEmpty, 409: NoCapacity,
    }  # fmt: skip
    return kinds.get(response.status_code, ProviderError)(why)


class Toy(Adapter):
    name = "toy"
    caps = Caps(paid=True)
    title = "Toy"
    catalogue_name = ""
    url = "https://toy.invalid"
    url_variable = "MIMIR_TOY_URL"
    key_variable = "TOY_API_KEY"
    key_advice = "make one, and set TOY_API_KEY"
    explain = staticmethod(explain)

    def offers(self, need: Need) -> list[Offer]:
        rows = self._http.read("GET", "/offers")["offers"]
        return [Offer("toy", row["gpu"], row["gpu"], row["memory"], row["price"]) for row in rows]

    def regions(self) -> list[str]:
        return []

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        made = self._http.send("POST", "/boxes", json={"name": name, "env": dict(boot.env)})
        if not isinstance(made, dict) or not isinstance(made.get("id"), str):
            raise UnknownOutcome("Toy does not name what it made")
        return str(made["id"])

    def get(self, id: str) -> Instance | None:
        try:
            return _instance(self._http.read("GET", f"/boxes/{id}"))
        except Absent:
            return None

    def instances(self) -> list[Instance]:
        found: list[Instance] = []
        at: int | None = 0
        while at is not None:
            page = self._http.read("GET", "/boxes", params={"from": at} if at else None)
            if not isinstance(page, dict) or not isinstance(page.get("boxes"), list):
                raise ProviderError("Toy's list cannot be read")
            found += map(_instance, page["boxes"])
            at = page.get("next")
        return [each for each in found if each.name.startswith(PREFIX)]

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        return None

    def terminate(self, id: str) -> None:
        try:
            self._http.send("DELETE", f"/boxes/{id}")
        except Absent:
            return

    def logs(self, id: str, lines: int) -> list[str]:
        return list(self._http.read("GET", f"/boxes/{id}/log")["lines"])

    def ending(self) -> Mapping[str, Any] | None:
        return None

    def checks(self) -> list[Check]:
        return []


def _instance(row: Any) -> Instance:
    if not isinstance(row, dict) or not row.get("id"):
        raise ProviderError("Toy's answer about a box cannot be read")
    state = STATES.get(row["state"], State.BROKEN)
    return Instance(row["id"], row["name"], state, row["state"], row["price"])
