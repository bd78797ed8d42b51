"""What Lambda's answers mean: refusals as classes of the error tree, states as our states.

A refusal is told by its code alone; messages are for people. Codes and states are those of the
service's OpenAPI document, version 1.10.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from launch.contract.cloud import Instance, State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.contract.regions import within
from launch.pricing.gpus import canonical
from launch.providers.http import Absent, body, retry_after
from mimir.errors import BadInput, MimirError

NAME = "lambda"
MOST_WORDS = 500
"""Characters of a refusal's reason that are shown."""
LAUNCH_PAUSE = 12.0
"""Seconds from one launch to the next that the service allows."""
GIB = 2**30 / 1e9
"""A GiB in GB."""
STATES = {
    "booting": State.PENDING,
    "active": State.RUNNING,
    "unhealthy": State.BROKEN,
    "preempted": State.BROKEN,
    "terminating": State.BROKEN,
    "terminated": State.GONE,
}
"""`terminating` may still cost: a machine is gone when it is `terminated`, or not shown."""
_MEMORY = re.compile(r"\(\s*(\d+(?:\.\d+)?)\s*GB")
_FILE_SYSTEM = "instance-operations/launch/file-system"
_ARM = re.compile(r"(?<![a-z0-9])g[bh]\d{3}", re.I)
"""GH200, GB200: their CPUs are arm64, and images are amd64."""


class Duplicate(ProviderError):
    """There is something of this name already."""


def explain(response: httpx.Response) -> MimirError:
    """The error that an answer other than success stands for."""
    status, error = response.status_code, body(response).get("error")
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code") or "")
    words = ": ".join(filter(None, (code, str(error.get("message") or "")[:MOST_WORDS])))
    told = f"Lambda answered {status}: {words or 'no reason'}"
    told += f" ({error['suggestion']})" if error.get("suggestion") else ""
    if status == 429:
        # It says neither how long to wait nor, in its document, that it answers so at all.
        return RateLimited(f"{told}: asked too often", retry_after(response, LAUNCH_PAUSE))
    if code == "instance-operations/launch/insufficient-capacity":
        return NoCapacity(told)
    if code == "global/quota-exceeded":
        return AccountLimit(f"{told}: end other machines, or ask Lambda for a larger quota")
    if code in ("global/account-inactive", "global/invalid-address"):
        return BalanceEmpty(f"{told}: see Billing in Lambda's console")
    if status == 401 or code == "global/invalid-api-key":
        return AuthFailed(f"{told}: LAMBDA_API_KEY is not accepted, make a new one in the console")
    if status == 403:
        return AuthFailed(f"{told}: LAMBDA_API_KEY may not do this")
    if status == 404 and code in ("global/object-does-not-exist", "global/not-found"):
        return Absent(told)
    if code in ("global/duplicate", "global/conflict"):
        return Duplicate(told)
    if code in ("global/unknown", "global/internal-error") or code.startswith("provider/"):
        return UnknownOutcome(f"{told}: it may or may not have been done")
    wrong = ("global/invalid-parameters", "global/object-does-not-exist", _FILE_SYSTEM)
    if code.startswith(wrong):
        return BadInput(told)
    return ProviderError(told)


def data(answer: Any, kind: type, what: str) -> Any:
    """What an answer holds; ProviderError if it is not of this kind: no list is no empty list."""
    held = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(held, kind):
        raise ProviderError(f"Lambda's answer holds no {what}: try again later")
    return held


def offers(types: Mapping[str, Any], need: Need) -> Iterator[Offer]:
    """One for each type with one GPU that meets the need, and each region that has it.

    types: of /instance-types. A price is that of the whole machine, its disk included.
    """
    for name, each in types.items():
        try:
            kind = each["instance_type"]
            specs, described = kind["specs"], str(kind["gpu_description"])
            price = float(kind["price_cents_per_hour"]) / 100
            gpus, disk = int(specs["gpus"]), float(specs["storage_gib"]) * GIB
            regions = [str(region["name"]) for region in each["regions_with_capacity_available"]]
        except (KeyError, TypeError, ValueError):
            continue  # of a kind that this Mimir does not know
        memory = _memory(described) or _memory(str(kind.get("description", "")))
        gpu = canonical(described, memory)
        if (
            gpus != 1 or price <= 0 or price > need.max_price
            or _ARM.search(name) or _ARM.search(described)
            or memory < need.memory_gb or disk < need.disk_gb
            or (need.gpus and gpu not in need.gpus)
        ):  # fmt: skip
            continue
        for region in regions:
            if not within(region, need.hosts.regions):
                continue
            yield Offer(
                NAME, f"{name}@{region}", gpu, memory, price, region=region, place=region,
                kind="datacenter", size=name, key={"type": name, "region": region},
            )  # fmt: skip


def instance(row: Any) -> Instance:
    """A machine as we write it; ProviderError for what is none."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
        raise ProviderError("Lambda's answer holds a machine without an id: try again later")
    said = str(row.get("status") or "")
    kind, region = row.get("instance_type") or {}, row.get("region") or {}
    cents = kind.get("price_cents_per_hour")
    return Instance(
        row["id"], str(row.get("name") or ""), STATES.get(said, State.BROKEN), said,
        cents / 100 if isinstance(cents, int | float) else None,
        str(row.get("ip") or ""), str(region.get("name") or ""),
    )  # fmt: skip


def _memory(description: str) -> float:
    """GB of "A100 (40 GB SXM4)"; 0 if it is not told."""
    found = _MEMORY.search(description)
    return float(found[1]) if found else 0.0
