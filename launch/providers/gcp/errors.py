"""What Google's refusals mean: reasons and codes as classes of the error tree, states as ours.

A request is refused by its answer (`error.errors[].reason`), and an order that was accepted by its
operation (`error.errors[].code`), after a 200. Reasons and codes are those of Google's documents
and of what users report; none of them was heard by us from the real service.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from launch.contract.cloud import State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
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
    "TERMINATED": State.SUSPENDED,
    "STOPPED": State.SUSPENDED,
}
"""A machine that is stopped still has its disk, which costs; it is gone when it is not found."""
QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
_FULL = re.compile(r"RESOURCE_POOL_EXHAUSTED|STOCKOUT|RESOURCE_NOT_AVAILABLE|NOT_ENOUGH_RESOURCES")
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
    if status == 401:
        return AuthFailed(f"{told}: the access token is not accepted, sign in again")
    if status == 403:
        return AuthFailed(f"{told}: a right is missing, docs/providers/gcp.md lists all")
    if status == 404 and _MACHINE.search(words):
        return Absent(told)
    if status == 404 and "projects/" in words:
        return AuthFailed(f"{told}: look at $MIMIR_GCP_PROJECT")
    if status == 409:
        return UnknownOutcome(f"{told}: there is something of this name already")
    if status == 400:
        return BadInput(told)
    return ProviderError(told)


def of_operation(error: Mapping[str, Any], what: str) -> MimirError:
    """The error that an operation ended with."""
    rows = [row for row in error.get("errors") or () if isinstance(row, dict)]
    codes = " ".join(str(row.get("code") or "") for row in rows)
    words = "; ".join(str(row.get("message") or "") for row in rows)[:MOST_WORDS]
    told = f"Google could not make {what} ({codes or 'no word why'}): {words}"
    if _FULL.search(codes):
        room = sorted(_with_room(rows))
        return NoCapacity(
            told + (f" (it names zones with room: {', '.join(room)})" if room else "")
        )
    if "QUOTA" in codes or "LIMIT_EXCEEDED" in codes:
        return AccountLimit(f"{told}: ask for more at {QUOTAS}")
    if "PERMISSION" in codes or "FORBIDDEN" in codes:
        return AuthFailed(told)
    if "INVALID" in codes:
        return BadInput(told)
    return ProviderError(told)


def _with_room(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Zones that a refusal for want of machines says have some."""
    found: set[str] = set()
    for row in rows:
        for detail in row.get("errorDetails") or ():
            info = detail.get("errorInfo") if isinstance(detail, dict) else None
            told = info.get("metadatas") if isinstance(info, dict) else None
            zones = told.get("zonesAvailable", "") if isinstance(told, dict) else ""
            found |= {zone.strip() for zone in str(zones).split(",") if zone.strip()}
    return found
