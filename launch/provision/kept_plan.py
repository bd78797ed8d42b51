"""The plan of a run whose keys may not have been cut down, as this computer keeps it.

Where a machine holds the user's own keys, it can write all that they reach, also the orders by
which a watcher goes on, and what an order says of its keys. Then what is in the store decides
nothing about money and keys: a later attempt is ordered by the plan that this computer kept when a
person ordered the run here, within what that plan allows for all that was ordered since, or by a
person's command line. Whether a machine may have held such keys is judged by the store's URL and by
this computer's settings, which no machine can write:

    AWS           an order that says that its keys were cut down is believed
    other S3      the same, but only where a role is set here: $MIMIR_ROLE_ARN, or a role that a
                  person named when they ordered the run on this computer
    R2            never: it makes no keys for one attempt
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from launch.contract import state
from launch.contract.provider import Provider
from launch.pricing.budget import HOUR
from mimir import atomic_file
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.order import KeySource, Plan
from mimir.runs.ranges import Price, Time
from mimir.runs.record import record_sha256
from mimir.runs.s3_url import parse_url
from mimir.runs.store import DOCUMENT, Store, too_large

FORMAT = 1
_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_UNCUT = (".r2.cloudflarestorage.com",)
"""Hosts of services whose keys cannot be cut down for one attempt."""

Cut = Literal["always", "by role", "never"]


def cut_down(store: str) -> Cut:
    """Whether a stranger's machine gets keys to this store that are cut down for its attempt.

    "always" means unless a person said --static-keys; a folder needs no keys.
    """
    if not store.startswith("s3://"):
        return "always"
    host = f".{urlsplit(parse_url(store).endpoint).hostname or 'amazonaws.com'}"
    if host.endswith(_UNCUT):
        return "never"
    return "always" if host.endswith(_AWS) else "by role"


@dataclass(frozen=True)
class KeptPlan:
    """record: SHA-256 of run.json when the run was ordered here. orders: (unix s, $/h) of each
    machine that was ordered here under it."""

    plan: Plan
    record: str
    orders: tuple[tuple[Time, Price], ...] = ()

    def used_up(self, now: float) -> str:
        """Why no further machine is to be ordered, by what this computer knows itself, or "".

        Each machine counts from its order to the next one: more than it can have cost. Where
        machines had no keys of the user's, the store's bill counts, and this is "".
        """
        if not self.plan.keys.static:
            return ""
        ends = [*(time for time, _ in self.orders[1:]), now]
        spans = [max(0.0, end - time) for (time, _), end in zip(self.orders, ends, strict=True)]
        hours = sum(spans) / HOUR
        prices = [price for _, price in self.orders]
        dollars = sum(s * p for s, p in zip(spans, prices, strict=True)) / HOUR
        limits = self.plan.limits
        if limits.max_attempts and len(self.orders) >= limits.max_attempts:
            return f"{len(self.orders)} machines were ordered from here"
        if limits.max_hours and hours >= limits.max_hours:
            return f"{hours:.1f} h of machines were ordered from here"
        if limits.max_cost and dollars >= limits.max_cost:
            return f"machines for ${dollars:.2f} were ordered from here"
        return ""


def is_needed(plan: Plan, places: Sequence[Provider]) -> bool:
    """Whether a stranger's machine gets keys that cannot be cut down."""
    return plan.keys.static and any(place.caps.remote for place in places)


def keep(store: Store, run: str, plan: Plan, places: Sequence[Provider]) -> None:
    """Keep the plan that a person just ordered by, or forget an older one that is not needed.

    Raises:
        BadInput: it cannot be written.
    """
    path = _path(store.url, run)
    try:
        if is_needed(plan, places) or cut_down(store.url) != "always":
            _write(path, KeptPlan(plan, record_sha256(store, run)))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"cannot keep the run's plan in {path}: {error.strerror}; set XDG_STATE_HOME to a "
            "folder that can be written to"
        ) from error


def forget(store: str, run: str) -> None:
    """Keep no plan of the run any more, which was removed. What cannot be deleted does no harm: it
    is of another run.json than the next one's."""
    with contextlib.suppress(OSError):
        _path(store, run).unlink(missing_ok=True)


def note_order(store: str, run: str, time: float, price: float | None) -> None:
    """Count a machine that this computer ordered, if it keeps the run's plan."""
    kept = read(store, run)
    if kept is not None:
        _write(_path(store, run), replace(kept, orders=(*kept.orders, (time, price or 0.0))))


def read(store: str, run: str) -> KeptPlan | None:
    """What this computer keeps of the run; None if it keeps nothing.

    Raises:
        Corrupt: it was damaged.
        BadInput: it cannot be read, or is of another format.
    """
    path = _path(store, run)
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # without it, what a machine wrote would count
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    try:
        if len(data) > DOCUMENT:
            raise too_large(str(path), None, DOCUMENT)
        value = codec.unsealed(data, FORMAT, str(path))
        plan = Plan.from_json(codec.child(value, "plan", str(path)), f"{path}: plan")
        return codec.typed(KeptPlan, value, str(path), plan=plan)
    except Corrupt as error:
        raise Corrupt(f"{error}: `resume` writes a new one") from error


def governing(store: str, run: str) -> KeptPlan | None:
    """What is kept here, if it counts instead of the orders in the store. Raises as `read`."""
    kept = read(store, run)
    if kept is None or not (kept.plan.keys.static or cut_down(store) == "never"):
        return None
    return kept


def must_be_as_submitted(store: str, run: str, record: str) -> None:
    """BadInput if run.json is another one than when the run was ordered here."""
    kept = read(store, run)
    if kept is not None and kept.record != record:
        raise BadInput(
            f"run.json of run {run} is not the one that was submitted: a machine with your keys "
            "may have written it; submit under another name"
        )


def doubt(store: str, run: str, ordered: Plan) -> str:
    """Why a machine may have written the run's newest order, "" if none can have.

    ordered: the plan of that order. Raises as `read`.
    """
    cut = cut_down(store)
    if cut == "never":
        return "keys to this store cannot be cut down"
    if ordered.keys.static:
        return "its machines had keys that could not be cut down"
    if cut == "by role" and not os.environ.get("MIMIR_ROLE_ARN") and read(store, run) is None:
        return "keys to this store can be cut down by a role only, and MIMIR_ROLE_ARN is not set"
    return ""


def going_on(store: str, run: str, ordered: Plan) -> Plan | None:
    """The plan by which a watcher goes on; None if this computer must not order by itself.

    ordered: of the newest order in the store, which counts unless there is a doubt.
    """
    kept = governing(store, run)
    if kept is not None:
        return kept.plan
    return None if doubt(store, run, ordered) else ordered


def before(store: str, run: str, ordered: Plan | None) -> Plan | None:
    """The plan from which a person's `resume` takes what they do not say.

    Where a machine may have written it, and no plan is kept here, neither keys nor image are taken
    from the store: a person says them anew.
    """
    kept = governing(store, run)
    if kept is not None:
        return kept.plan
    if ordered is None or not doubt(store, run, ordered):
        return ordered
    return replace(ordered, keys=KeySource(), image="")


def _path(store: str, run: str) -> Path:
    path = state.of_run("plans", store, run)
    return path.with_name(f"{path.name}.json")


def _write(path: Path, kept: KeptPlan) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    value = {"plan": kept.plan.as_json(), "record": kept.record, "orders": kept.orders}
    atomic_file.write(path, codec.sealed(value, FORMAT), 0o600)
