"""What an adapter translates: offers, one create, a list, a look, one terminate.

A cloud adapter knows one service's HTTP and nothing of policy. It sends what it is told to
send once, reads the answer, and raises a class of contract/errors.py. When to order, what to try
next and when a machine counts as gone is decided by providers/rented.py and the launcher.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check, Machine
from launch.contract.redaction import Secrets
from mimir.runs import layout

PREFIX = "mimir-"
"""Every machine that we order has a name that begins with it; nothing else is ever touched."""
_NAME = re.compile(r"mimir-([a-z0-9][a-z0-9_-]{0,40})-a(\d{4,})(?:-o([0-9a-f]{8}))?")


class State(StrEnum):
    """A machine's state in words that all services share.

    pending: it is being made. running: it is there; whether it works, only its store tells.
    suspended: stopped by the service (outbid, end of a contract, no balance), may come back,
    and may cost. broken: it will not work again by itself, and may cost. gone: it is no more
    and costs nothing. A word that the adapter does not know is broken, never gone.
    """

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    BROKEN = "broken"
    GONE = "gone"


@dataclass(frozen=True)
class Login:
    """A login at a registry of images. The repr shows no secret."""

    registry: str
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ContainerSpec:
    """What a machine starts: a container of `image` with this command instead of its own.

    command: argv. env: its variables; nothing in it is secret for longer than a machine takes
    to come up (payload/key_link.py). seconds: after which everything is ended from outside the
    container where the service's machines allow that (Lambda's cloud-init), 0 for never.
    image_elsewhere: a name of the same image at another registry, "" for none. login: for the
    image's registry, which the service must forget with the machine (Cloud.forget).
    """

    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    disk_gb: int = 30
    seconds: float = 0.0
    image_elsewhere: str = ""
    login: Login | None = None


@dataclass(frozen=True)
class Instance:
    """A machine as its service shows it. said: the service's own word for its state.

    price: $/h now, None if it is not told. place: as Offer.place. region: as Offer.region, "" if
    it is not told. stuck: why one that waits will not begin by itself, "" if it may. taken: of one
    that is ending or gone, whether the service itself took it away; None if that is not told.
    stopped: since when (unix s) it has been off or gone, so that its price is paid no more; None if
    it is on, or if that is not told.
    """

    id: str
    name: str
    state: State
    said: str = ""
    price: float | None = None
    address: str = ""
    place: str = ""
    region: str = ""
    stuck: str = ""
    taken: bool | None = None
    stopped: float | None = None


@dataclass(frozen=True)
class Leftover:
    """Something of ours in an account that is no machine, or one that is off.

    kind: in words; remove: how to.
    """

    kind: str
    name: str
    remove: str


@runtime_checkable
class Inspects(Protocol):
    """A provider that tells the state of a machine, and not only whether it is there."""

    def inspect(self, machine: Machine) -> Instance | None:
        """The machine as it is now; None if there is none. ProviderError if nobody tells."""


class Cloud(Protocol):
    """A service. Every method may raise ProviderError, and sends no request twice by itself
    except reads, which may be tried again after a 429 or 5xx.

    title: its name for people. key_variable: the environment variable with its key.
    catalogue_name: what gpuhunt's catalogue of prices calls it, "" if it is not in there.
    secrets: what is removed from its errors and texts: its key, and what Rented adds.
    """

    name: str
    title: str
    key_variable: str
    catalogue_name: str
    caps: Caps
    secrets: Secrets

    def configured(self) -> bool:
        """Whether there is a key for it here; no request is sent."""

    def offers(self, need: Need) -> list[Offer]:
        """What it would rent now and meets the need, in any order."""

    def regions(self) -> list[str]:
        """The names of all its regions, whether there are machines now or not."""

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        """Order it under this name, by one request; the id.

        Raises:
            NoCapacity: it is not available; another offer may be.
            Leaked: refused, and yet there is an instance, which must be ended.
            UnknownOutcome: the answer was lost; there may be an instance of this name.
            AuthFailed, BalanceEmpty, RateLimited, BadInput (the request itself is wrong).
        """

    def get(self, id: str) -> Instance | None:
        """The machine as it is now; None if the service says that there is no such machine."""

    def instances(self) -> list[Instance]:
        """All machines of the account whose name begins with PREFIX, complete or an error."""

    def terminate(self, id: str) -> None:
        """Ask to destroy it, by one request; no error if it is gone already."""

    def forget(self, name: str) -> None:
        """Remove what the account keeps for a machine of this name that is gone: its login."""

    def logs(self, id: str, lines: int) -> list[str]:
        """The last lines that its container printed, and what the service says of its start,
        marked as contract/pull.py says; [] if the service keeps neither."""

    def ending(self) -> Mapping[str, Any] | None:
        """How a machine ends itself with a key that the service puts into it, None if it cannot.

        {"method", "url", "token", "body"}: url and body may hold {VARIABLE} of the machine's
        own environment; token names the variable with the bearer token
        (mimir/worker/self_terminate.py).
        """

    def leftovers(self) -> list[Leftover]:
        """What we made in the account beside machines, and what stays there."""

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """Dollars billed for these machines from `since` to `until` (unix s), as far as it is told.

        None if the service has no request that tells it. A machine that is not billed yet is
        missing. Whole days may be counted at both ends: an id is used once.
        """

    def checks(self) -> list[Check]:
        """Keys, permissions, balance, quota: as far as reading tells. Nothing is rented."""


@runtime_checkable
class Partial(Protocol):
    """A Cloud whose list of offers may lack some that the user could do something about."""

    def left_out(self) -> Sequence[str]:
        """What the last `offers` left out, a sentence each with what mends it."""


@runtime_checkable
class Closes(Protocol):
    """A Cloud with regions that an account must open before it can rent there."""

    def closed(self) -> Mapping[str, str]:
        """Those that are not open, each with the command that opens it."""


@runtime_checkable
class Fleeting(Protocol):
    """A Cloud whose credentials may be of a kind that ends within hours."""

    def fleeting(self) -> str:
        """Why a timer's rounds could not use them, and what would last, in one sentence; "" if they
        can. No request is sent."""


def machine_name(run: str, attempt: int, owner: str = "") -> str:
    """The name of an attempt's machine, at most 63 characters: mimir-<run>-a0001-o<owner>.

    owner: the store's id (mimir.runs.owner); "" where an account is the user's own computer.
    """
    layout.attempt_prefix(run, attempt)
    return f"{PREFIX}{run}-a{attempt:04d}" + (f"-o{owner}" if owner else "")


def shared_name(job: str, owner: str = "") -> str:
    """The name of a job that several runs share: as that of a first attempt of a run `job`."""
    return machine_name(job, 1, owner)


def parse_name(name: str) -> tuple[str, int] | None:
    """(run, attempt) of such a name, None for any other name."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def owner_of(name: str) -> str:
    """The id of the store that ordered a machine of this name, "" if the name does not tell."""
    match = _NAME.fullmatch(name)
    return (match[3] or "") if match else ""


def without_owner(name: str) -> str:
    """The same name without the store's id."""
    place = parse_name(name)
    return machine_name(*place) if place else name
