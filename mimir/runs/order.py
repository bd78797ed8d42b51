"""order.json: the intent to order a machine, written before any request is sent.

It holds all that a watcher on another computer needs to go on with the run: where to look,
what it may cost, which image, whose keys. Nothing in it is secret. It lies where no machine can
write, so that it also remembers which checkpoints HEAD named.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from mimir.errors import BadInput
from mimir.runs import codec, layout
from mimir.runs.head import Checkpoints
from mimir.runs.hosts import Hosts
from mimir.runs.promised import Promised
from mimir.runs.ranges import (
    AtMost,
    Between,
    Card,
    Hours,
    Number,
    NumberOrNone,
    Price,
    Step,
    Time,
)

MOST_SHARING = 16
"""Runs that one job of a cluster may train side by side."""


@dataclass(frozen=True)
class Limits:
    """A run's limits over all its attempts; 0 for none.

    max_price: $/h of one machine. max_hours: hours of machines. max_cost: dollars.
    max_failures: attempts that broke, evictions and refusals apart. max_attempts: machines.
    max_cost_month, max_cost_store: dollars of all runs of the store, in a calendar month (UTC) and
    ever: where they are reached, this run orders nothing more.
    """

    max_price: float = 0.0
    max_hours: float = 0.0
    max_cost: float = 0.0
    max_failures: int = 3
    max_attempts: int = 0
    max_cost_month: float = 0.0
    max_cost_store: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not (0 <= value < float("inf"))
            ):
                shown = f"{value:g}" if isinstance(value, float) else repr(value)
                option = "max-sessions" if name == "max_attempts" else name.replace("_", "-")
                raise BadInput(f"--{option} is {shown}, but must be a number, 0 (no limit) or more")
        for name, value in (("failures", self.max_failures), ("sessions", self.max_attempts)):
            if not isinstance(value, int):
                raise BadInput(f"--max-{name} is {value!r}, but must be a whole number")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Offer:
    """A machine with one GPU that a service would rent now.

    id: what tells it from the service's other offers. gpu: as launch/pricing/gpus.py names it, else
    the service's own name. memory_gb: of the GPU, 1e9 bytes. price: $/h for all of it: GPU, disk,
    fees. size: the service's name of its kind of machine, "" where it has none; limits of an
    account are counted by it. vcpus: of such a machine, 0 if that is not told. place: the failure
    domain, what to avoid after a failure there (a machine, a data centre, a region). kind: of its
    host, in the service's word. host: the one computer that it is on, "" if that is not told.
    driver: NVIDIA's version there, upload: Mbit/s of its line, as the service tells them. egress:
    what of the price is for checkpoints on their way to the store. outbid: how often in an hour the
    market's price of a spot machine has risen above the most that its order allows, None where no
    prices of the past are told. evicted: evictions an hour of such spot machines as their service
    publishes them, None where it does not or they cannot be read; evicted_by: which publication, or
    why there is none, "" if the service has none. key: what the adapter needs to order it, plain
    JSON without secrets.
    """

    provider: str
    id: str
    gpu: str
    memory_gb: Annotated[float, Between(0, 1e6)]
    price: Price
    region: str = ""
    spot: bool = False
    place: str = ""
    kind: str = ""
    host: str = ""
    size: str = ""
    vcpus: Annotated[int, Between(0, 10**6)] = 0
    driver: str = ""
    upload: Annotated[float, Between(0, 1e9)] = 0.0
    egress: Price = 0.0
    outbid: Annotated[float, Between(0, 1e6)] | None = None
    evicted: Annotated[float, Between(1e-9, 1e6)] | None = None
    evicted_by: str = ""
    key: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "key": dict(self.key)}


@dataclass(frozen=True)
class KeySource:
    """Where a machine's keys to the store come from, as the user said.

    role: the ARN of a role to assume, "" for none. static: hand over one's own keys.
    """

    role: str = ""
    static: bool = False


@dataclass(frozen=True)
class Plan:
    """How a run gets its machines, until somebody says otherwise.

    providers: where, in no order for those that rent (the cheapest offer counts). gpus: names,
    () for any. spot: machines that may be taken away, too. image: a container image, "" for the
    provider's own. steps: of the whole run, 0 if that is not known. hosts: whose machines. card:
    which of this computer's GPUs, counted from 0; None for what the worker takes. options: in the
    provider's own words, for one that takes some.
    """

    providers: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    gpus: tuple[str, ...] = ()
    spot: bool = False
    image: str = ""
    keys: KeySource = field(default_factory=KeySource)
    steps: Step = 0
    hosts: Hosts = field(default_factory=Hosts)
    card: Card | None = None
    options: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "providers": list(self.providers), "limits": self.limits.as_json(),
            "gpus": list(self.gpus), "spot": self.spot, "image": self.image,
            "role": self.keys.role, "static_keys": self.keys.static, "steps": self.steps,
            "hosts": self.hosts.as_json(), "card": self.card, "options": list(self.options),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "Plan":
        """Corrupt, naming `where`, if it is no plan."""
        rest = {name: each for name, each in value.items() if name not in ("role", "static_keys")}
        keys = KeySource(
            codec.one(str, value.get("role", ""), f"{where}: role"),
            codec.one(bool, value.get("static_keys", False), f"{where}: static_keys"),
        )
        return codec.typed(cls, rest, where, keys=keys)


@dataclass(frozen=True)
class Expected:
    """What the forecast counted on. step_s: seconds of a step there.

    measured: on a card of that kind, by Mimir's own bench; else it is a model's, or reported.
    """

    step_s: Annotated[float, Between(1e-9, 1e6)]
    measured: bool = False


@dataclass(frozen=True)
class Shared:
    """A job that trains several runs side by side, each with an attempt of its own.

    job: of what it is named, as a job of one run is of its attempt. runs: all that it was meant
    for; which of them it serves, the machine of each one's newest attempt tells.
    """

    job: str
    runs: Annotated[tuple[str, ...], AtMost(MOST_SHARING)]

    def __post_init__(self) -> None:
        for each in (self.job, *self.runs):
            layout.check_run(each)


@dataclass(frozen=True)
class Order:
    """One machine for one attempt. time and deadline in unix s by the store's clock.

    since: the attempt that a person ordered, of which this one is a replacement, or
    this one itself; 0 where no watcher looks after it. What was asked and what broke since then
    counts for this attempt too. looked: up to this
    attempt there was no request to stop when HEAD had gone past it, so that none can be there.
    refused: (first, last) of older attempts that never had a machine. earlier: attempts up to this
    one were those of a removed run of the same name. by: who ordered it, for people. step, kept
    and lineage: what HEAD named when the order was written. promised: what the worker checks
    before data moves, expected: with what it compares its steps before it trains; None where
    nothing was. shared: the job that it shares with other runs, None for one of its own.
    """

    provider: str
    plan: Plan
    time: Time
    offer: Offer | None = None
    deadline: Time = 0.0
    estimate_hours: Hours | None = None
    since: NumberOrNone = 0
    looked: NumberOrNone = 0
    refused: tuple[tuple[Number, Number], ...] = ()
    by: str = ""
    step: Step = 0
    kept: Checkpoints = ()
    lineage: tuple[tuple[Number, Step], ...] = ()
    promised: Promised | None = None
    expected: Expected | None = None
    earlier: NumberOrNone = 0
    shared: Shared | None = None

    @property
    def attended(self) -> bool:
        """Whether a watcher looks after the attempt: not where a person began it by hand."""
        return bool(self.plan.providers)

    @property
    def asked_from(self) -> int:
        """The oldest attempt to which a request to stop may have been written."""
        return max(self.since, self.looked + 1)

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider, "plan": self.plan.as_json(), "time": self.time,
            "offer": self.offer.as_json() if self.offer else None, "deadline": self.deadline,
            "estimate_hours": self.estimate_hours, "since": self.since,
            "looked": self.looked, "refused": [list(each) for each in self.refused],
            "by": self.by, "step": self.step, "kept": [asdict(each) for each in self.kept],
            "lineage": [list(each) for each in self.lineage],
            "promised": asdict(self.promised) if self.promised else None,
            "expected": asdict(self.expected) if self.expected else None,
            **({"earlier": self.earlier} if self.earlier else {}),
            **({"shared": asdict(self.shared)} if self.shared else {}),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "Order":
        """Corrupt, naming `where`, if it is no order."""
        plan = Plan.from_json(codec.child(value, "plan", where), f"{where}: plan")
        return codec.typed(cls, value, where, plan=plan)
