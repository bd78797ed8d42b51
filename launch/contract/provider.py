"""What the launcher wants of a provider: start a machine, ask for it, end it.

A provider holds no policy: what to order, whether to try again and when to give up is the
launcher's. Nor does it know what becomes of a run; its word tells only whether a machine
is there, and with it whether money is being spent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from launch.contract.offer import Offer
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs.machine import Machine

if TYPE_CHECKING:
    from mimir.config import Config

__all__ = [
    "Adopts", "AttemptSpec", "Caps", "Check", "ImageFiles", "Machine", "Metered", "OnThisComputer",
    "Provider", "ShutDown", "TakesOptions", "TrainsHere",
]  # fmt: skip


@dataclass(frozen=True)
class ShutDown:
    """What a machine costs that has shut itself down after its work, and is still there.

    paid: what is paid then, and until when, in words. price: of that, $/h. idle: seconds at most
    for which a machine stays on after its work and is paid whole, because its service deletes it.
    """

    paid: str
    price: float
    idle: float


@dataclass(frozen=True)
class Caps:
    """What a provider can do.

    paid: its machines cost money, so orders are confirmed first. image: its machines start a
    container image, which the user may name. spot: it also rents machines that may be taken
    away. ends_itself: its machines hold a key with which they can end themselves, so that a
    deadline holds with the laptop gone. foreign: its machines are somebody else's though they
    cost no money, so keys are cut down for them too. max_sessions: machines that a run may use
    one after the other unless the user allows more, 0 for any number. runs_installed_code: its
    workers run the Mimir that is installed here, not the code that the run was submitted with.
    service_ends: at what the service itself ends or stops a machine, "" for nothing.
    turns_off: a machine that shuts down is ended, and its timer shuts it down some minutes after
    the deadline, whatever became of its container. service_deadline: what the service itself does
    to a machine some minutes after the deadline, "" for nothing. shuts_down: what becomes of its
    machines after their work, where they shut themselves down and are not gone thereby.
    egress: what the service asks for checkpoints on their way to a store, and what would cost less,
    in one sentence; "" for nothing.
    cards: its machine is this computer, of whose GPUs an attempt may be given one.
    unknown_for: seconds after its order in which the service may not know the id of a machine that
    it made.
    hosts: who runs its machines, by Hosts.kind; "" for kinds that change nothing there.
    rates_hosts: it tells how reliable its hosts are and how fast their lines.
    queues: its machines are jobs that wait for their turn, for days perhaps, and that go on by
    themselves after an interruption: nobody else orders the run's next attempt. They use the
    account's own configuration: no keys are made for them. shares: such a job may train several
    runs.
    """

    paid: bool
    image: bool = False
    spot: bool = False
    ends_itself: bool = False
    foreign: bool = False
    max_sessions: int = 0
    runs_installed_code: bool = False
    service_ends: str = ""
    turns_off: bool = False
    service_deadline: str = ""
    shuts_down: ShutDown | None = None
    egress: str = ""
    unknown_for: float = 0.0
    hosts: Mapping[str, str] = field(default_factory=dict)
    rates_hosts: bool = False
    cards: bool = False
    queues: bool = False
    shares: bool = False

    def whose(self, kind: str) -> str:
        """Who runs its machines if this kind of host is asked for, "" if it does not say."""
        return self.hosts.get(kind) or self.hosts.get("", "")

    @property
    def remote(self) -> bool:
        """Whether its machines are somebody else's."""
        return self.paid or self.foreign


@dataclass(frozen=True)
class Check:
    """One line of `doctor`. status: "ok", "warn" or "fail"; what to do is in details."""

    name: str
    status: str
    details: str = ""


@dataclass(frozen=True)
class AttemptSpec:
    """What a machine is started for.

    store: URL that opens the store there. deadline: unix seconds, by the store's
    clock, at which the worker commits and ends, 0 for none. env: environment variables of the
    worker, beside the provider's own.
    image: a container image, for providers whose caps have it; "" for the provider's own.
    offer: the machine to rent, for providers that have offers. regions: where it may be, () for
    anywhere. card: which GPU of this computer, None for any. record: SHA-256 (hex) of run.json,
    by which the worker knows that it reads what was submitted; "" if it is not told. sweep: to
    which the run belongs and whose data and code it reads, "" for none. options: as
    TakesOptions.settle has them. behind: name of jobs after whose end it may begin, for a provider
    that queues; "" for none. job: of a job that several runs share, what names it, "" for one of
    the attempt's own; beside: (run, attempt, record) of the others that are to begin in it.
    """

    store: str
    run: str
    attempt: int
    deadline: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # it holds keys
    image: str = ""
    offer: Offer | None = None
    regions: tuple[str, ...] = ()
    card: int | None = None
    record: str = ""
    sweep: str = ""
    options: tuple[str, ...] = ()
    behind: str = ""
    job: str = ""
    beside: tuple[tuple[str, int, str], ...] = ()

    def __post_init__(self) -> None:
        layout.attempt_prefix(self.run, self.attempt)
        if not self.deadline >= 0:
            raise BadInput(f"the deadline is {self.deadline}, but must be a unix time or 0")

    def worker_options(self) -> tuple[str, ...]:
        """The options of `python -m mimir.worker`."""
        record = ("--record", self.record) if self.record else ()
        deadline = ("--deadline", repr(self.deadline)) if self.deadline else ()
        whose = ("--store", self.store, "--run", self.run, "--attempt", str(self.attempt))
        return (*whose, *record, *deadline)


class Provider(Protocol):
    """A place where attempts run. All methods may raise ProviderError."""

    name: str
    caps: Caps

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        """What it would start for these GPUs (() for any), best first; None: all it has.

        Not asked of a provider that rents: its offers are ranked by cost.

        Raises:
            BadInput: it has no such GPU.
        """

    def checks(self) -> list[Check]:
        """For `doctor`: whether it can be used from here. Nothing is started."""

    def start(self, spec: AttemptSpec) -> Machine:
        """Start a machine that runs the worker, at most one; returns without waiting for it."""

    def alive(self, machine: Machine) -> bool | None:
        """Whether the machine is there; None if this provider cannot tell from here."""

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        """End the attempt's machine; returns only when it is verified gone, else NotGone.

        `machine` comes from a store and is no proof of whose it is: what is ended or deleted is
        what bears the name that follows from the spec's store, run and attempt. NotGone, naming
        it and the command that ends it, for a machine with another name.
        """

    def output(self, machine: Machine, lines: int) -> list[str]:
        """The last lines that the machine itself printed; [] if they cannot be read.

        For attempts that ended before they could write to the store.
        """


@runtime_checkable
class Adopts(Protocol):
    """A provider that can find a machine whose order was sent and whose answer was lost."""

    def adopt(self, spec: AttemptSpec) -> Machine | None:
        """The attempt's machine, None if there is none."""


@runtime_checkable
class TakesOptions(Protocol):
    """A provider to which the user says more, in its own words."""

    def settle(self, words: str, before: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The options from these words and the user's settings, checked; nothing is started.

        before: those of the run's last order, which hold where nothing is said.

        Raises:
            BadInput: it would refuse them, or is not there.
        """

    def gpu_of(self, options: tuple[str, ...]) -> str:
        """What these options call the GPU that they ask for, "" if they name none."""


@runtime_checkable
class ImageFiles(Protocol):
    """A provider whose images are files or folders, and not names at a registry."""

    def image_file(self, image: str) -> str:
        """The path by which its machines find the image.

        Raises:
            BadInput: there is no such file, or none that they could start.
        """


@runtime_checkable
class OnThisComputer(Protocol):
    """A provider whose machine is this computer, so that whether it can start is known at once."""

    def must_work(self) -> None:
        """Try whether an attempt could start; nothing is started.

        Raises:
            BadInput: it could not; the sentence says what to mend.
        """


@runtime_checkable
class TrainsHere(Protocol):
    """A provider whose workers are processes of this computer, with the torch that is here."""

    def refusals(self, configs: "Sequence[Config]", card: int | None) -> list[str]:
        """Try whether training could begin with these settings; nothing is started.

        card: of this computer, None for any.

        Returns:
            for each of them a sentence that says what to change, or "".
        """


@runtime_checkable
class Metered(Protocol):
    """A provider whose machines cost money for some accounts and nothing for others."""

    def priced(self, gpus: tuple[str, ...]) -> tuple[Sequence[Offer], str]:
        """What it would start for these GPUs at a price, and how that is known; ((), "") for an
        account to which its machines cost nothing."""
