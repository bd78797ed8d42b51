"""What the fake of RunPod can be told to do, and how it says things."""

import time
from collections.abc import Mapping
from typing import Any

from tests.clouds.service import COMMON_FAULTS, Answer

CAPACITY = (
    "There are no longer any instances available with the requested specifications. "
    "Please refresh and try again."
)
CREATE, LIST, ONE = r"^/v2/pods$", r"^/v2/pods$", r"^/v2/pods/[^/]+$"
PULLING = "create container: pulling image"
NO_PULL = (
    "error pulling image: toomanyrequests: You have reached your unauthenticated pull rate limit. "
    "https://www.docker.com/increase-rate-limit"
)
FAULTS = (
    *COMMON_FAULTS,
    ("capacity", "400: an order is refused for want of machines"),
    ("rule", "400: an order is refused because it breaks a rule"),
    ("invalid", "422: an order is refused because of its form"),
    ("pool", "403: the account may not use the pool"),
    ("no_balance", "402: not enough money"),
    ("unauthorized", "401"),
    ("rate_limited", "429, with Retry-After if `retry_after` is given"),
    ("vanish", "a pod is made, and is destroyed at once"),
    ("stuck", "a pod stays PROVISIONING, and nothing starts"),
    ("no_pull", "a pod stays PROVISIONING, its image cannot be pulled, and its log says so"),
    ("unknown_status", "one look at a pod shows a status that no document knows"),
    ("exited", "the host ends the newest pod: it is EXITED when it is looked at next"),
    ("broken_page", "500 for one page of the list that is not the first"),
    ("torn_list", "a list whose last pod is cut short"),
    ("kept", "DELETE: it says that the machine is ended, and does not end it"),
    ("scoped_refused", "403 for a pod's own key"),
    ("zero_balance", "the money is gone when the next request comes"),
)
MISBEHAVIOURS: Mapping[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "timeout after a create that succeeded": (("lost_after", {"method": "POST", "path": CREATE}),),
    "500 after a create that succeeded": (("error_after", {"method": "POST", "path": CREATE}),),
    "no capacity": (("capacity", {}),),
    "HTML 403 on create": (("html_403", {"method": "POST", "path": CREATE}),),
    "HTML 403 on a look": (("html_403", {"method": "GET"}),),
    "vanishing pod": (("vanish", {}),),
    "DELETE 500 then 404": (("error_after", {"method": "DELETE"}),),
    "DELETE lost": (("hang_up", {"method": "DELETE"}),),
    "429 with Retry-After": (("rate_limited", {"retry_after": 1, "method": "GET"}),),
    "429 without Retry-After": (("rate_limited", {"method": "GET"}),),
    "429 in plain text": (("plain_429", {"method": "GET"}),),
    "unknown status": (("unknown_status", {}),),
    "stuck provisioning": (("stuck", {}),),
    "list fails": (("error", {"method": "GET", "path": LIST}),),
    "list torn": (("torn_list", {}),),
    "ended by the host": (("exited", {}),),
    "the pod's key is refused": (("scoped_refused", {}),),
}
"""None of these should lose a run. Not in it, for they end one: rule, invalid, no_balance,
unauthorized, zero_balance."""


CENTRES = {"US-TX-3": "US Texas 3", "EU-RO-1": "EU Romania 1", "EUR-IS-1": "EUR Iceland 1"}


def centre(id: str, name: str) -> dict[str, Any]:
    """A row of the list of data centres."""
    return {
        "id": id, "name": name, "region": "NORTH_AMERICA" if id[:2] == "US" else "EUROPE",
        "networkVolumeTypes": [], "compliance": [], "globalNetwork": False,
    }  # fmt: skip


def gpu(
    id: str, name: str, memory: int, secure_price: float, community_price: float, *,
    secure: str = "HIGH", community: str = "LOW", maker: str = "NVIDIA",
    centres: tuple[str, ...] = ("US-TX-3",),
) -> dict[str, Any]:  # fmt: skip
    """A row of the catalogue; secure, community: how many there are (NONE to HIGH)."""
    return {
        "id": id, "name": name, "pool": None, "manufacturer": maker, "memory": memory,
        "secure": secure_price > 0, "community": community_price > 0,
        "price": {"secure": secure_price, "community": community_price},
        "maxCount": {"secure": 8, "community": 8 if community_price > 0 else 0},
        "levels": {"secure": secure, "community": community}, "centres": list(centres),
    }  # fmt: skip


def problem(status: int, detail: str, errors: list[str] | None = None) -> Answer:
    """An error as v2 writes it (RFC 9457)."""
    titles = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    title = titles.get(status, "Error")
    body = {"title": title, "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return Answer(status, body, content_type="application/problem+json")


def stamp(seconds: float) -> str:
    """Unix s as RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
