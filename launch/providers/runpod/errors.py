"""What RunPod says: refusals as errors of the launcher, and logs as lines."""

import json
import re
from collections.abc import Iterator

import httpx

from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
)
from launch.contract.pull import SYSTEM
from launch.providers.http import Absent, body, retry_after
from mimir.errors import BadInput, MimirError

_NO_CAPACITY = re.compile(
    r"no longer any instances available"
    r"|no (free )?(instances?|machines?|gpus?|capacity)\b.*\bavailable"
    r"|not enough (free )?(gpus?|machines?|capacity)|insufficient (gpu )?(capacity|resources)"
    r"|out of (stock|capacity)|not have the resources|try a different machine"
    r"|please try again later",
    re.I,
)
_LIMIT = re.compile(r"spend(ing)? (limit|cap)|quota|limit of pods|too many pods", re.I)
_NO_MONEY = re.compile(
    r"(insufficient|not enough) (balance|funds|credit)|balance (is )?too low", re.I
)
_NOT_THIS_POOL = re.compile(r"\bpool\b|gpu type|data ?center|(secure|community) cloud", re.I)


MOST_BYTES = 102_400
"""Of a request, and of what templates make of it (RunPod's document of 2026-11; 413 beyond)."""


class Refused(BadInput):
    """400 in words that are not known: a rule that was broken, or a lack of machines."""


def explain(response: httpx.Response) -> MimirError:
    """What an answer that is no success means."""
    status, said = response.status_code, body(response)
    problems = said.get("errors") if isinstance(said.get("errors"), list) else []
    words = "; ".join(str(each) for each in (said.get("detail"), *(problems or ())) if each)
    told = f"RunPod answered {status}: {words[:400] or response.reason_phrase}"
    if status == 429:
        return RateLimited(f"{told}: asked too often", retry_after(response))
    if status == 401:
        return AuthFailed(f"{told}: RUNPOD_API_KEY is not accepted, make a new one in the console")
    if status == 402 or (status == 400 and _NO_MONEY.search(words)):
        return BalanceEmpty(f"{told}: put money on the account (console, Billing)")
    if status == 403 and _NOT_THIS_POOL.search(words):
        return NoCapacity(told)
    if status == 403:
        return AuthFailed(
            f"{told}: RUNPOD_API_KEY lacks a right, it needs Read/Write of api.runpod.io"
        )
    if status == 404 and said.get("title"):
        return Absent(told)
    if status == 400 and _LIMIT.search(words):
        return AccountLimit(f"{told}: end other pods, or have the limit raised (console, Settings)")
    if status == 400 and _NO_CAPACITY.search(words):
        return NoCapacity(told)
    if status in (400, 422):
        return Refused(told) if status == 400 else BadInput(told)
    if status == 410:
        return ProviderError(f"{told}: this version of the API is over, look for a newer Mimir")
    return ProviderError(told)


def log_lines(stream: list[str]) -> list[str]:
    """The lines of a log, a stream of server-sent events (HTML standard); RunPod's own are marked
    as contract/pull.py says."""
    return [_line(data) for data in _data(stream)]


def _data(lines: list[str]) -> Iterator[str]:
    held: list[str] = []
    for line in (*lines, ""):
        if line.startswith("data:"):
            held.append(line[5:].removeprefix(" "))
        elif not line and held:
            yield "\n".join(held)
            held = []


def _line(data: str) -> str:
    try:
        event = json.loads(data)
        mark = SYSTEM if event.get("source") == "system" else ""
        return mark + str(event["line"]).rstrip("\n")
    except (ValueError, KeyError, TypeError, AttributeError):
        return data
