"""What Vast.ai's answers mean: refusals as classes of the error tree, states as our states.

Refusals are told by their code, not by their status alone: the service answers 404 for an offer
that is gone, an instance that is gone and, at the search, a wrong key. Some codes stand in the
text only, and some refusals come with status 200 and success false.
"""

import re
from collections.abc import Mapping
from typing import Any

import httpx

from launch.contract import pull
from launch.contract.cloud import State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Leaked,
    NoCapacity,
    ProviderError,
    RateLimited,
)
from launch.providers.http import Absent, body, retry_after
from mimir.errors import BadInput, MimirError

RIGHTS = ("misc", "user_read", "instance_read", "instance_write")
"""The rights that a key needs, by the service's names: search, balance, look, create and end."""
_PENALTY = 12.0
"""Seconds that a create which came too early costs, the longest penalty of the service."""
_DAILY = 3600.0
"""Seconds for a spent quota of searches, which is full again at midnight UTC."""
_NO_OFFER = re.compile(
    r"no_such_ask|invalid_price|is not your own|already rented|no longer available|is not available"
)
_NO_INSTANCE = re.compile(r"no_such_instance|instance( \d+)? not found|invalid instance id")
_NO_MONEY = re.compile(r"insufficient_credit|missing_billing|no_credit")
_NO_KEY = re.compile(r"auth_error|invalid user key|api key not (provided|found)|unauthorized")
_WRONG = re.compile(r"invalid_args|invalid_request|label_too_long|no_ssh_key_for_vm")
_FAILED = re.compile(
    r"oci runtime|error response from daemon|failed to create|no space left on device|"
    + pull.FAILED.pattern,
    re.IGNORECASE,
)
"""status_msg of a container that will not start; the service goes on calling it loading."""
_MAKING = ("", "created", "loading", "rebooting")
_HALTED = ("stopped", "frozen")


def explain(response: httpx.Response) -> MimirError:
    """The error that an answer other than success stands for."""
    wait = retry_after(response, default=-1.0)
    fields = body(response) or {"msg": response.text}
    return refusal(response.status_code, fields, wait if wait >= 0 else None)


def refusal(status: int, fields: Mapping[str, Any], wait: float | None = None) -> MimirError:
    """The error that an answer other than success stands for.

    fields: the JSON object in it; of a bare text, {"msg": text}. wait: the seconds that its
    headers ask for, None if they ask for none.
    """
    code = _text(fields.get("error"))
    said = _text(fields.get("msg") or fields.get("message") or fields.get("detail"))
    words = f"{code} {said}".lower()
    shown = f"Vast.ai answered {status}" + (f" {code}" if code else "") + _colon(said)
    made = number(fields.get("new_contract"))
    if made is not None:
        return Leaked(f"{shown}, and yet it made instance {made}", str(made))
    if status == 429:
        return RateLimited(f"{shown}: wait before the next request", wait or _pause(words))
    if status == 402 or _NO_MONEY.search(words):
        return BalanceEmpty(f"{shown}: add credit at cloud.vast.ai/billing, then submit again")
    if status == 401 or _NO_KEY.search(words):
        return AuthFailed(f"{shown}: $VAST_API_KEY is not a key of Vast.ai (any more)")
    if status == 410 or _NO_OFFER.search(words):
        return NoCapacity(f"{shown}: this offer is not available any more")
    if status == 404 and (code == "not_found" or _NO_INSTANCE.search(words)):
        return Absent(shown)
    if status == 403:
        return AuthFailed(f"{shown}: the key lacks a right; it needs {', '.join(RIGHTS)}")
    if status in (400, 422) or _WRONG.search(words):
        return BadInput(f"{shown}: the request itself is wrong, no other offer will take it")
    if code == "deprecated_endpoint":
        return ProviderError(f"{shown}: a newer Mimir is needed, this way of asking is closed")
    return ProviderError(shown)


def state(row: Mapping[str, Any]) -> State:
    """The state of an instance as the service shows it.

    The allocation comes before the container: a stopped instance shows the status in which
    its container was left, such as exited, and would come back when its priority returns.
    """
    actual = _text(row.get("actual_status")).lower()
    allocation = (row.get("cur_state"), row.get("next_state"))
    if allocation == ("stopped", "stopped") or row.get("intended_status") == "frozen":
        return State.SUSPENDED
    if actual in _HALTED:
        return State.PENDING if row.get("next_state") == "running" else State.SUSPENDED
    if actual == "running":
        return State.RUNNING
    if actual in _MAKING:
        return State.BROKEN if failure(row) else State.PENDING
    return State.BROKEN


def said(row: Mapping[str, Any]) -> str:
    """The service's own words for the state, with the host's message until it runs."""
    actual, current = _text(row.get("actual_status")) or "no status", _text(row.get("cur_state"))
    words = actual if current in ("", "running", actual) else f"{current} ({actual})"
    message = failure(row) or (_text(row.get("status_msg")) if actual != "running" else "")
    return words + (f": {message}" if message else "")


def failure(row: Mapping[str, Any]) -> str:
    """Why the container of an instance does not start, "" if nothing says that it does not."""
    message = _text(row.get("status_msg"))
    return message if _FAILED.search(message) else ""


def number(value: object) -> int | None:
    """The id in `value`, None if it is none. true is no id, although Python counts it as 1."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def real(value: object) -> float | None:
    """The finite number in `value`, None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def _pause(words: str) -> float:
    if "search_quota_exceeded" in words:
        return _DAILY
    spacing = re.search(r"threshold=(\d+(?:\.\d+)?)", words)
    return max(_PENALTY, float(spacing[1])) if spacing else _PENALTY


def _text(value: object) -> str:
    """One line of at most 200 characters."""
    return " ".join(str(value).split())[:200] if isinstance(value, str) else ""


def _colon(said: str) -> str:
    return f" ({said})" if said else ""
