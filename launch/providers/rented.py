"""A provider that rents: what is the same for every service whose machines cost money.

One request makes a machine. If its answer is lost, the service's list is asked for the name;
a second request is never sent. A machine has ended when the service says that there is none,
not when it has taken the order to end it. Secrets of an order are removed from what the service
says of it, whatever the adapter does.
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from launch.contract import deadlines, regions
from launch.contract.cloud import Cloud, ContainerSpec, Instance, State
from launch.contract.errors import (
    Leaked,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Check, Machine
from launch.payload import by_link, container, credentials, key_link
from launch.providers.ending import Ending, Misnamed
from launch.providers.machine_names import MachineNames
from launch.providers.pulls import Pulls
from launch.providers.readable import readable
from mimir.errors import BadInput, MimirError, StoreError
from mimir.runs.store import Store, open_store
from mimir.worker import webhook

LOOKS = (2.0, 5.0, 10.0, 20.0)
"""Seconds before each look at the list after a lost answer."""
SHOWN_WITHIN = (0.0, 2.0, 5.0)
"""Seconds before each look at a machine that was just made."""
Made = tuple[str, float | None]
PRICE_TOLERANCE = 1.05
"""A machine may cost so much more than its offer said: prices are rounded, disks are fees."""


class Rented:
    """A Provider over a Cloud.

    Args:
        cloud: the service's adapter.
        opener: opens the store of a spec, for the code and the keys that go through it.
    """

    def __init__(
        self,
        cloud: Cloud,
        *,
        opener: Callable[[str], Store] = open_store,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cloud = cloud
        self.name = cloud.name
        self.caps = cloud.caps
        self._secrets = cloud.secrets
        self._pulls = Pulls(self.output, clock)
        self._opener = opener
        self._clock = clock
        self._sleep = sleep
        self._names = MachineNames(opener)
        self._ending = Ending(cloud, clock, sleep)

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        """None: what it offers is ranked by cost (pricing/market.py)."""
        return ()

    def checks(self) -> list[Check]:
        """Keys, rights, balance, quota, as far as reading tells."""
        if not self.cloud.configured():
            return [Check(self.name, "warn", "no key here: its machines cannot be rented")]
        return [
            each
            if each.name.startswith(self.name)
            else replace(each, name=f"{self.name} {each.name}")
            for each in self.cloud.checks()
        ]

    def start(self, spec: AttemptSpec) -> Machine:
        """Order the spec's offer, once; raises as Cloud.create, but never Leaked."""
        if spec.offer is None:
            raise BadInput(f"{self.name} rents machines: an offer is needed to order one")
        if not spec.store.startswith("s3://"):
            raise BadInput(
                f"a machine of {self.name} cannot reach the store {spec.store}: use an S3 bucket, "
                "--store 's3://BUCKET/PREFIX?endpoint=…' (docs/store.md)"
            )
        self._secrets.learn_environment(spec.env)
        self._secrets.learn(spec.env.get(webhook.FROM_MACHINE, "").partition("?")[0])
        with self._secrets.guard():
            return self._start(spec)

    def _start(self, spec: AttemptSpec) -> Machine:
        store = self._opener(spec.store)
        name = self._names.to_order(spec, store)
        if self._named(name):
            raise BadInput(
                f"{self.name} has a machine {name} that this store did not order: choose another "
                "--name, or end it by `python -m launch reap`"
            )
        try:
            what = self._what(store, spec)
            number, price = self._create(spec, what, name)
        except UnknownOutcome:
            raise
        except BaseException:
            with contextlib.suppress(StoreError):  # what went wrong decides what is done next
                key_link.revoke(store, spec.run, spec.attempt)
            raise
        return self._machine(spec, number, price, what.image)

    def _what(self, store: Store, spec: AttemptSpec) -> ContainerSpec:
        """What the machine starts; all that it needs lies in the store, behind signed links."""
        keys, seconds = credentials.of_environment(spec.env), deadlines.KEYS_FETCHED_WITHIN
        link = key_link.hand_over(store, spec.run, spec.attempt, keys, seconds)
        self._secrets.learn(link)
        whole = container.of(store, spec, link, self.cloud.ending())
        if whole.login is not None:
            self._secrets.learn(whole.login.password)
        what = by_link.of(store, spec.run, spec.attempt, whole)
        self._secrets.learn(by_link.link_in(what.env), whole.env.get("MIMIR_CODE_URL", ""))
        return what

    def adopt(self, spec: AttemptSpec) -> Machine | None:
        """The attempt's machine if the service has it: its order was sent, its answer lost.

        One that costs more than its offer said is ended instead, as by `start`.
        """
        name = self._names.of(spec)
        with self._secrets.guard():
            found = self._named(name)
        if found is None or spec.offer is None:
            return None
        if self._costs_more(found, spec.offer):
            self._ending.end(found.id, name)
            return None
        return self._machine(spec, found.id, found.price, "")

    def inspect(self, machine: Machine) -> Instance | None:
        """The machine as its service shows it; None if there is none and nobody says why.

        One that does not come up is broken where the service's own log says that the image cannot
        be pulled: its state may say for ever that it is being made.
        """
        found = self._found(machine)
        if found is None or (found.state is State.GONE and found.taken is None):
            return None
        why = self._pulls.failure(machine) if found.state is State.PENDING else ""
        if why:
            found = replace(found, state=State.BROKEN, said=f"{found.said}: {why}")
        return self._shown_to_people(found)

    def _found(self, machine: Machine) -> Instance | None:
        """The machine on record as its service shows it; ProviderError while it may be unknown."""
        found = self._looked_at(machine.id)
        if found is None and self._may_be_unknown(machine):
            raise ProviderError(
                f"{self.name} does not know machine {machine.id} yet, which was ordered just now"
            )
        return found

    def _may_be_unknown(self, machine: Machine) -> bool:
        """Whether its order is so young that the service may not know its id yet. Another process
        may have ordered it, whose clock is at most slightly different."""
        return abs(self._clock() - machine.started) < self.caps.unknown_for

    def _looked_at(self, id: str) -> Instance | None:
        with self._secrets.guard():
            return self._get(id)

    def _get(self, id: str) -> Instance | None:
        with readable(self.name):
            return self.cloud.get(id)

    def _listed(self) -> Sequence[Instance]:
        with readable(self.name):
            return self.cloud.instances()

    def by_id(self, id: str) -> Instance:
        """The machine with this id, whatever its name; BadInput if the service has none."""
        found = self._looked_at(id)
        if found is None or found.state is State.GONE:
            raise BadInput(f"{self.name} has no machine {id}: look at its console")
        return self._shown_to_people(found)

    def instances(self) -> list[Instance]:
        """All machines of the account with a name of ours, complete or an error."""
        with self._secrets.guard():
            return [self._shown_to_people(each) for each in self._listed()]

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """As Cloud.billed."""
        with self._secrets.guard(), readable(self.name):
            return self.cloud.billed(ids, since, until)

    def alive(self, machine: Machine) -> bool | None:
        try:
            found = self._found(machine)
            return found is not None and found.state is not State.GONE
        except (ProviderError, BadInput):
            return None

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        """End it if the service knows it by the attempt's name; else what bears that name."""
        name = self._names.of(spec)
        try:
            self._ending.end(machine.id, name, lambda: self._may_be_unknown(machine))
        except Misnamed:
            with self._secrets.guard():
                own = self._named(name)
            if own is not None:
                self._ending.end(own.id, name)
            raise

    def end_instance(self, instance: Instance) -> None:
        """As `end`, for one that the service listed."""
        self._ending.end(instance.id, instance.name)

    def forget(self, name: str) -> None:
        """As Cloud.forget. What is left after an error is no machine, and costs nothing."""
        self._ending.forget(name)

    def output(self, machine: Machine, lines: int) -> list[str]:
        try:
            with readable(self.name):
                found = self.cloud.logs(machine.id, lines)
        except (ProviderError, BadInput):
            return []
        return self._secrets.clean("\n".join(found)).split("\n") if found else []

    def _shown_to_people(self, instance: Instance) -> Instance:
        return replace(instance, said=self._secrets.clean(instance.said))

    def _create(self, spec: AttemptSpec, what: ContainerSpec, name: str) -> "Made":
        """The id of the machine that was made, and the price that is asked for it if shown."""
        offer = spec.offer
        assert offer is not None
        try:
            with readable(self.name, ordering=True):
                number = self.cloud.create(offer, what, name)
        except Leaked as error:
            self._ending.end(error.id, "")
            raise NoCapacity(f"{error} (the machine that it made anyway is ended)") from error
        except UnknownOutcome as error:
            number = self._look_for(name, error)
        shown = self._shown(number)
        if shown is not None and self._costs_more(shown, offer):
            self._ending.end(number, name)
            raise NoCapacity(
                f"{self.name} asked ${shown.price:.3f}/h for a machine offered at "
                f"${offer.price:.3f}/h; it is ended"
            )
        if shown is not None and shown.region and not regions.within(shown.region, spec.regions):
            self._ending.end(number, name)
            raise NoCapacity(
                f"{self.name} made a machine in {shown.region}, which is none of "
                f"{', '.join(spec.regions)}; it is ended"
            )
        return number, shown.price if shown else None

    @staticmethod
    def _costs_more(shown: Instance, offer: Offer) -> bool:
        return shown.price is not None and shown.price > offer.price * PRICE_TOLERANCE

    def _look_for(self, name: str, error: UnknownOutcome) -> str:
        """The id of the machine whose order was not answered."""
        for pause in LOOKS:
            self._sleep(pause)
            try:
                found = self._named(name)
            except MimirError:
                continue
            if found is not None:
                return found.id
        raise UnknownOutcome(
            f"{self.name} did not answer the order of {name} and does not list it yet ({error})"
        ) from error

    def _shown(self, number: str) -> Instance | None:
        for pause in SHOWN_WITHIN:
            self._sleep(pause)
            try:
                found = self._get(number)
            except MimirError:
                continue
            if found is not None:
                return found
        return None

    def _named(self, name: str) -> Instance | None:
        for instance in self._listed():
            if instance.name == name and instance.state is not State.GONE:
                return instance
        return None

    def _machine(self, spec: AttemptSpec, number: str, price: float | None, image: str) -> Machine:
        offer = spec.offer
        assert offer is not None
        return Machine(
            self.name, self._clock(), number, self._names.of(spec),
            gpu=offer.gpu, price=max(offer.price, price or 0.0), region=offer.region,
            spot=offer.spot, place=offer.place, image=image, deadline=spec.deadline,
            ends_itself=self.caps.ends_itself,
        )  # fmt: skip
