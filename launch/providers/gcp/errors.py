"""What Google's refusals mean: reasons and codes as classes of the error tree, states as ours.

A request is refused by its answer (`error.errors[].reason`), and an order that was accepted by its
operation (`error.errors[].code`), after a 200. Reasons and codes are those of Google's documents
and of what users report; none of them was heard by us from the real service.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import httpx

from launch.contract.cloud import State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    Misconfigured,
    NoCapacity,
    ProviderError,
    RateLimited,
    Unclear,
    UnknownOutcome,
)
from launch.providers.http import Absent, body, retry_after
from mimir.errors import BadInput, MimirError

NAME = "gcp"
MOST_WORDS = 500
WAIT = 10.0
STATES = {
    "PENDING": State.PENDING,
    "PROVISIONING": State.PENDING,
    "STAGING": State.PENDING,
    "RUNNING": State.RUNNING,
    "REPAIRING": State.BROKEN,
    "STOPPING": State.BROKEN,
    "PENDING_STOP": State.BROKEN,
    "DEPROVISIONING": State.BROKEN,
    "SUSPENDING": State.SUSPENDED,
    "SUSPENDED": State.SUSPENDED,
    "TERMINATED": State.BROKEN,
    "STOPPED": State.BROKEN,
}
"""A machine that is stopped still has its disk, which costs; it is gone when it is not found. It
does not come back by itself: that a preemption stopped it, its operation tells (operations.py)."""
OFF = ("TERMINATED", "STOPPED")
"""States of a machine of which only the disk is paid."""
ENDING = ("STOPPING", "PENDING_STOP", "DEPROVISIONING", "TERMINATED", "STOPPED")
"""States of a machine of which operations tell why it ends. A preempted one has 30 s in the first
before it is gone."""
QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
_FULL = re.compile(r"RESOURCE_POOL_EXHAUSTED|STOCKOUT|RESOURCE_NOT_AVAILABLE|NOT_ENOUGH_RESOURCES")
_PASSES = re.compile(r"RESOURCE_NOT_READY|INTERNAL_ERROR|BACKEND_ERROR|SERVICE_UNAVAILABLE")
"""Failures that pass, or are of one place."""
_HERE = re.compile(r"UNSUPPORTED_OPERATION|CONDITION_NOT_MET")
"""Refusals of this offer, or of the request itself."""
_NETWORK = re.compile(r"projects/([a-z0-9:.-]+)/global/networks/([a-z0-9-]+)")
_MACHINE = re.compile(r"/(instances|operations)/")


def explain(response: httpx.Response) -> MimirError:
    """The error that an answer other than success stands for."""
    status, error = response.status_code, body(response).get("error")
    error = error if isinstance(error, dict) else {}
    rows = error.get("errors")
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    reason = str(first.get("reason") or error.get("status") or "")
    words = str(error.get("message") or "no reason")[:MOST_WORDS]
    told = f"Google answered {status} ({reason or 'no word why'}): {words}"
    if status == 429 or reason in ("rateLimitExceeded", "userRateLimitExceeded"):
        return RateLimited(f"{told}: asked too often", retry_after(response, WAIT))
    if reason in ("accessNotConfigured", "SERVICE_DISABLED") or "has not been used in" in words:
        return AuthFailed(f"{told}; gcloud services enable compute.googleapis.com "
                          "cloudbilling.googleapis.com --project PROJECT")  # fmt: skip
    if reason in ("billingNotEnabled", "BILLING_DISABLED", "billingDisabled"):
        return BalanceEmpty(f"{told}: link a billing account to the project")
    if reason == "quotaExceeded":
        return AccountLimit(f"{told}: ask for more at {QUOTAS}")
    if reason in ("resourceNotReady", "unsupportedOperation", "conditionNotMet"):
        return Unclear(told)
    if status == 401:
        return AuthFailed(f"{told}: the access token is not accepted, sign in again")
    if status == 403:
        return AuthFailed(f"{told}: a right is missing, docs/providers/gcp.md lists all")
    if status == 404 and _MACHINE.search(words):
        return Absent(told)
    if status == 404 and (network := _NETWORK.search(words)):
        return _without(network, told)
    if status == 404 and "projects/" in words:
        return AuthFailed(f"{told}: look at $MIMIR_GCP_PROJECT")
    if status == 409:
        return UnknownOutcome(f"{told}: there is something of this name already")
    if status == 400:
        return BadInput(told)
    return ProviderError(told)


class Failure(NamedTuple):
    """One error of an operation. zones: those that it says have room."""

    code: str
    words: str
    zones: tuple[str, ...] = ()


def of_operation(failures: Sequence[Failure], what: str) -> MimirError:
    """The error that an order's operation ended with.

    Args:
        failures: one or more.
        what: the name of what was ordered.
    """
    codes = " ".join(each.code for each in failures if each.code)
    words = "; ".join(each.words for each in failures)[:MOST_WORDS]
    told = f"Google could not make {what} ({codes or 'no word why'}): {words}"
    if _FULL.search(codes):
        room = sorted({zone for each in failures for zone in each.zones})
        named = ", ".join(room)[:MOST_WORDS]
        return NoCapacity(told + (f" (it names zones with room: {named})" if room else ""), room)
    network = _NETWORK.search(words)
    if network and "NOT_FOUND" in codes:
        return _without(network, told)
    if "ALREADY_EXISTS" in codes:
        return UnknownOutcome(f"{told}: there is something of this name already")
    if "RATE_LIMIT" in codes:
        return RateLimited(f"{told}: asked too often", WAIT)
    if "QUOTA" in codes or "LIMIT_EXCEEDED" in codes:
        return AccountLimit(f"{told}: ask for more at {QUOTAS}")
    if "PERMISSION" in codes or "FORBIDDEN" in codes:
        return AuthFailed(told)
    if _PASSES.search(codes):
        return NoCapacity(f"{told}: Google's own failure, another offer may do")
    if _HERE.search(codes) or not codes:
        return Unclear(told)
    if "INVALID" in codes:
        return BadInput(told)
    return ProviderError(told)


def _without(network: re.Match[str], told: str) -> Misconfigured:
    """That a project has no such network. network: a match of _NETWORK."""
    project, name = network.groups()
    return Misconfigured(
        f"{told}: machines run in the project's network {name}, and there is none; "
        f"`gcloud compute networks create {name} --project {project} --subnet-mode=auto` makes it"
    )
