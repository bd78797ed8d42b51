"""How an order ended, and how a machine did, by Google's operations of its zone."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from launch.contract.errors import ProviderError, UnknownOutcome
from launch.providers.gcp import answers, errors
from launch.providers.gcp.answers import Row
from launch.providers.gcp.project import Project
from mimir.errors import MimirError

HELD, WITHIN, PAUSE = 130.0, 480.0, 2.0
"""Seconds: Google holds a wait for an operation for two minutes at most and may answer at once, an
order is awaited for so long in all, and so long it is left alone between two looks."""
MADE = "insert"
ENDS = {
    "compute.instances.preempted": (True, "preempted by Google"),
    "compute.instances.terminateOnHostMaintenance": (True, "ended by its host's maintenance"),
    "compute.instances.hostError": (False, "its host failed"),
    "compute.instances.guestTerminate": (False, "shut down from within"),
    "delete": (False, "deleted"),
    "stop": (False, "stopped"),
    "suspend": (False, "suspended"),
}
"""Operations that end a machine -> whether Google itself took it away, in words. The earlier ones
count where there are several: what was preempted may be deleted afterwards."""
_ENDS = re.compile(r"compute\.instances\..*(delete|stop|terminat|expir|duration)", re.I)
"""Google's own ends at a machine's longest run: their name is not known, and is none of the above.
"""
FILTER = r'operationType eq "(insert|delete|stop|suspend|compute[.]instances[.].+)"'
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


class End(NamedTuple):
    """taken, at: as Instance.taken and stopped. said: how, "" where no operation tells."""

    taken: bool | None
    said: str
    at: float | None = None


def end(project: Project, zone: str, own: str) -> End:
    """How the machine of this name in this zone ended, or is about to.

    No error: that a machine is gone is certain, also where nobody tells why.
    """
    try:
        listed = [
            (answers.time(row, "insertTime", "an operation"),
             answers.needed(row, "operationType", "an operation"),
             answers.time(row, "endTime" if row.get("endTime") else "insertTime", "an operation"))
            for row in project.rows(f"zones/{zone}/operations", {"filter": FILTER})
            if answers.text(row, "targetLink", "an operation").endswith(f"/instances/{own}")
            and not _failed(row)
        ]  # fmt: skip
    except MimirError as error:
        return End(None, f"how it ended is not told ({error})")
    # A name may be used again: what ended before the newest machine of it was made counts no more.
    since = max((at for at, kind, _ in listed if kind == MADE), default=float("-inf"))
    kinds = {
        kind: done
        for at, kind, done in sorted(listed, reverse=True)
        if at >= since and (kind in ENDS or _ENDS.match(kind))
    }
    first = min(kinds.values(), default=None)
    for kind, (taken, words) in ENDS.items():
        if kind in kinds:
            return End(taken, words, first)
    other = min(kinds, default="")
    return End(False, f"ended by Google ({other})", first) if other else End(None, "")


def await_order(
    project: Project, operation: Any, zone: str, name: str,
    *, clock: Callable[[], float], sleep: Callable[[float], None],
) -> None:  # fmt: skip
    """Wait until an order's operation has ended.

    Args:
        operation: the answer to the order.
        name: of the machine, for messages.

    Raises:
        UnknownOutcome: it cannot be seen to have ended.
        MimirError: it ended without a machine, as errors.of_operation has it.
    """
    until = clock() + WITHIN
    while True:
        if _is_done(operation, name):
            return
        if clock() >= until:
            raise UnknownOutcome(f"Google accepted the order of {name}, which has not ended yet")
        path = project.path(f"zones/{zone}/operations/{operation['name']}/wait")
        asked = clock()
        try:
            operation = project.compute.read("POST", path, timeout=HELD)
        except MimirError as error:
            raise UnknownOutcome(
                f"Google accepted the order of {name}, and what became of it cannot be seen "
                f"({error})"
            ) from error
        if clock() - asked < PAUSE:
            sleep(PAUSE)


def _is_done(operation: Any, name: str) -> bool:
    """Whether an order has ended well; raises as it ended otherwise, or if it cannot be read."""
    try:
        row = answers.table(operation, "an operation")
        id, status = (answers.text(row, key, "an operation") for key in ("name", "status"))
        done = status == "DONE"
        failures = _failures(row) if done else []
    except ProviderError as error:
        raise UnknownOutcome(f"Google accepted the order of {name}, and: {error}") from error
    if not _NAME.fullmatch(id):
        raise UnknownOutcome(f"Google accepted the order of {name} without an operation")
    if failures:
        raise errors.of_operation(failures, name)
    return done


def _failed(row: Row) -> bool:
    return bool(_failures(row))


def _failures(row: Row) -> list[errors.Failure]:
    """What went wrong with an operation, [] for nothing; ProviderError if that cannot be read."""
    error = answers.inner(row, "error", "an operation")
    status = answers.number(row, "httpErrorStatusCode", "an operation")
    found = [
        errors.Failure(_word(each.get("code")), _word(each.get("message")), _with_room(each))
        for each in answers.rows(error, "errors", "an operation's error")
    ]
    if found:
        return found
    if status >= 400:
        words = _word(row.get("httpErrorMessage")) or "its operation failed"
        return [errors.Failure("", f"{words} ({status:.0f})")]
    if error:
        raise answers.odd("an operation with an error that is none")
    return []


def _with_room(row: Row) -> tuple[str, ...]:
    """Zones that a refusal for want of machines says have some; () if it cannot be read."""
    found: list[str] = []
    try:
        for detail in answers.rows(row, "errorDetails", "an error"):
            told = answers.inner(answers.inner(detail, "errorInfo", "an error"), "metadatas", "it")
            found += answers.text(told, "zonesAvailable", "an error").split(",")
    except ProviderError:
        return ()
    return tuple(zone.strip() for zone in found if _NAME.fullmatch(zone.strip()))


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
