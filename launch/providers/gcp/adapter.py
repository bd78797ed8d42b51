"""Google Compute Engine: virtual machines with one GPU, on demand or spot.

The facts that shaped this adapter, of its discovery document (revision 20261106); not tested on the
real service:
- a machine has a longest run (maxRunDuration), behind which the service deletes it, whatever became
  of it: the deadline holds with the laptop gone, also where its container never started;
- an order is accepted first and fails afterwards: a lack of machines and quotas are told by its
  operation, behind a 200;
- a name is one machine in its zone, and a request id one order;
- a machine that shuts itself down is stopped: its GPU is paid no more, its disk is, and Google
  forgets that it was to delete it;
- what is deleted, by us, by the deadline or by a preemption, is not found any more; operations tell
  for some days how a machine ended, and do so from the moment that it stops;
- everything is of one project and one zone, so a machine's id here is "project/zone/name": another
  project would say of it that it is gone.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from launch.contract import deadlines
from launch.contract.cloud import PREFIX, ContainerSpec, Instance, Leftover, State
from launch.contract.errors import AccountLimit, AuthFailed, NoCapacity, ProviderError
from launch.contract.offer import Hosts, Need, Offer
from launch.contract.provider import Caps, Check, ShutDown
from launch.providers.adapter import Adapter
from launch.providers.asked_again import asked_again
from launch.providers.gcp import answers, egress, errors, market, operations, order, token
from launch.providers.gcp.answers import Row
from launch.providers.gcp.project import Project, checked
from launch.providers.gcp.stock import read
from launch.providers.gcp.token import Token
from launch.providers.http import Absent
from mimir.errors import OPTIONAL, BadInput, MimirError

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Gcp(Adapter):
    """A Cloud. Its key is the project; the credentials are Google's own (token.py)."""

    name = errors.NAME
    catalogue_name = "gcp"
    caps = Caps(
        paid=True, image=True, spot=True, service_deadline="deletes it, within 35 min after",
        shuts_down=ShutDown(
            f"only its disk is paid then, about ${24 * market.USUAL_DISK:.2f} a day, until `watch` "
            "or `reap` deletes it",
            market.USUAL_DISK, deadlines.LEFT_ON + order.SLACK,
        ),
        hosts={"": "Google's own data centres"},
        egress=egress.WORDS,
    )  # fmt: skip
    title = "Google Cloud"
    url = "https://compute.googleapis.com"
    url_variable = "MIMIR_GCP_URL"
    key_variable = "MIMIR_GCP_PROJECT"
    key_advice = (
        "set MIMIR_GCP_PROJECT to the id of the project whose machines are rented, and sign in "
        "(docs/providers/gcp.md)"
    )
    explain = staticmethod(errors.explain)

    def __init__(
        self,
        *,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(environ=environ, transport=transport, clock=clock, sleep=sleep)
        self._project = Project(
            self.key(), self._base, self.explain, Token(environ, self.secrets), self.secrets,
            transport=transport, clock=clock, sleep=sleep,
        )  # fmt: skip
        self._left_out: tuple[str, ...] = ()

    def fleeting(self) -> str:
        """As Fleeting.fleeting."""
        if not self._environ.get(token.VARIABLE, "").strip() or token.lasts(self._environ):
            return ""
        return (
            f"${token.VARIABLE} is the only credential for {self.title} here, ends within the hour "
            f"and is not passed on, so the rounds can end no machine there: {token.ADVICE} (with "
            f"`python -m pip install '{OPTIONAL['google']}'`)"
        )

    def offers(self, need: Need) -> list[Offer]:
        """What has a price, a quota and a GPU in its zone.

        Raises:
            AccountLimit, NoCapacity: there is nothing, and why.
            Misconfigured: the project has no network in which machines could run.
        """
        self._project.one(self._project.path(order.NETWORK))
        stock = read(self._project)
        priced = list(market.offers(stock, need))
        said = market.problems(stock, need)
        self._left_out = tuple(said) if priced else ()
        if not priced and said:
            raise AccountLimit(f"Google rents this project no such machine now: {'; '.join(said)}")
        if not priced and not need.gpus and not need.hosts.regions:
            raise NoCapacity("Google lists no machine with one GPU and a price: try again later")
        if not priced and need.gpus and need.hosts.regions:
            anywhere = market.offers(stock, replace(need, hosts=Hosts()))
            there = sorted({offer.region for offer in anywhere})
            raise NoCapacity(
                f"Google has no machine with one {' or '.join(need.gpus)} "
                + (f"there, but in {', '.join(there[:5])}: name another --gpu or --region" if there
                   else "that Mimir rents (docs/providers/gcp.md): name another --gpu")
            )  # fmt: skip
        return [offer for offer in priced if offer.price <= need.max_price]

    def left_out(self) -> Sequence[str]:
        """As Partial.left_out."""
        return self._left_out

    def regions(self) -> list[str]:
        """As Cloud.regions."""
        rows = self._project.rows("regions")
        return sorted(answers.needed(row, "name", "a region") for row in rows)

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        """As Cloud.create. An order without an answer is asked for again by the same request id;
        then its operation is awaited, which tells whether there is a machine."""
        zone = checked(str(offer.key.get("zone") or ""))
        wanted = order.order(offer, boot, name)
        path = self._project.path(f"zones/{zone}/instances")
        params = {"requestId": order.request_id(name, zone)}
        compute = self._project.compute
        operation = asked_again(
            lambda: compute.send("POST", path, json=wanted, params=params), self._sleep
        )
        operations.await_order(
            self._project, operation, zone, name, clock=self._clock, sleep=self._sleep
        )
        return self._id(zone, wanted["name"])

    def get(self, id: str) -> Instance | None:
        """As Cloud.get. Why it stops, or has ended, is told by the zone's operations."""
        zone, own = self._parts(id)
        try:
            row = self._project.one(self._project.path(f"zones/{zone}/instances/{own}"))
        except Absent:
            end = operations.end(self._project, zone, own)
            if not end.said:
                return None
            return Instance(self._id(zone, own), "", State.GONE, end.said, place=zone,
                            region=zone.rpartition("-")[0], taken=end.taken,
                            stopped=end.at)  # fmt: skip
        found = self._instance(zone, row)
        if row["status"] not in errors.ENDING:
            return found
        end = operations.end(self._project, zone, own)
        return replace(found, said=f"{found.said}: {end.said}".rstrip(": "), taken=end.taken)

    def instances(self) -> list[Instance]:
        """Of all zones, or an error: what of them is out of reach may hold a machine."""
        rows = self._project.scoped("instances", {"filter": f"labels.{order.LABEL}:*"})
        found = [self._instance(zone, row) for zone, row in rows]
        return [each for each in found if each.name.startswith(PREFIX)]

    def terminate(self, id: str) -> None:
        zone, own = self._parts(id)
        try:
            self._project.compute.send(
                "DELETE", self._project.path(f"zones/{zone}/instances/{own}")
            )
        except Absent:
            return

    def logs(self, id: str, lines: int) -> list[str]:
        """The end of the machine's serial console, while it is there."""
        zone, own = self._parts(id)
        try:
            answer = self._project.one(
                self._project.path(f"zones/{zone}/instances/{own}/serialPort")
            )
        except Absent:
            return []
        text = answers.text(answer, "contents", "the serial console")
        return text.splitlines()[-lines:] if lines > 0 else []

    def ending(self) -> Mapping[str, Any] | None:
        """None: a key that could delete a machine could delete all of the project's."""
        return None

    def leftovers(self) -> list[Leftover]:
        """Machines of ours that are off, and disks that no machine has any more."""
        off = [
            Leftover("machine that is off, and its disk", each.name,
                     f"python -m launch reap --provider {self.name} --machine {each.id}")
            for each in self.instances()
            if each.said.partition(":")[0] in errors.OFF
        ]  # fmt: skip
        rows = self._project.scoped("disks", {"filter": f"labels.{order.LABEL}:*"})
        names = [
            (zone, answers.needed(row, "name", "a disk"))
            for zone, row in rows
            if not answers.words(row, "users", "a disk")
        ]
        return [*off, *(
            Leftover("disk", name, f"gcloud compute disks delete {name} --zone {zone} "
                     f"--project {self.key()}")
            for zone, name in names
        )]  # fmt: skip

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """None: Google tells costs of single machines in an export to BigQuery only."""
        return None

    def checks(self) -> list[Check]:
        """Credentials, project, quotas, prices, as far as reading tells."""
        try:
            count = len(self.instances())
        except MimirError as error:
            return [Check("key", "fail", str(error))]
        found = [Check("key", "ok", f"project {self.key()}; {count} machines are Mimir's")]
        try:
            offered = self.offers(Need(spot=True))
            spot = sum(each.spot for each in offered)
            words = f"{len(offered)} offers with one GPU, {spot} of them spot"
            found.append(Check("machines", "ok", words))
            found += [Check("quota", "warn", each) for each in self.left_out()]
        except MimirError as error:
            found.append(Check("machines", "fail", str(error)))
        return [
            *found,
            Check(
                "may create and destroy", "warn",
                "Google tells this by an order alone; docs/providers/gcp.md lists the rights",
            ),
        ]  # fmt: skip

    def _instance(self, zone: str, row: Row) -> Instance:
        own = answers.needed(row, "name", "a machine")
        said = answers.needed(row, "status", own)
        state = errors.STATES.get(said, State.BROKEN)
        why = answers.text(row, "statusMessage", own)
        if why and state is not State.RUNNING:
            said += f": {why}"[: errors.MOST_WORDS]
        labels = answers.inner(row, "labels", own)
        label = answers.text(labels, order.LABEL, own)
        off = said.partition(":")[0] in errors.OFF
        near = answers.rows(row, "networkInterfaces", own)
        outside = answers.rows(near[0], "accessConfigs", own) if near else []
        return Instance(
            self._id(zone, own), label or own, state, said,
            address=answers.text(outside[0], "natIP", own) if outside else "", place=zone,
            region=zone.rpartition("-")[0], price=_disk_price(labels) if off else None,
            stopped=_stopped(row, own) if off else None,
        )  # fmt: skip

    def _id(self, zone: str, own: str) -> str:
        return f"{self._project.id}/{zone}/{own}"

    def _parts(self, id: str) -> tuple[str, str]:
        """(zone, name there) of a machine's id. AuthFailed if it is of another project."""
        self._project.path("")  # there is a project
        project, _, rest = id.partition("/")
        zone, _, own = rest.partition("/")
        if not _ID.fullmatch(own):
            raise BadInput(f"{id!r} is not the id of a machine at Google: it is PROJECT/ZONE/NAME")
        if project != self._project.id:
            raise AuthFailed(
                f"machine {id!r} is not in Google's project {self._project.id}, so nothing is "
                "known of it: look at $MIMIR_GCP_PROJECT"
            )
        return checked(zone), own


def _disk_price(labels: Row) -> float | None:
    """$/h of the disk of a machine that is off, as its order said; None for an older order, or if
    somebody has changed the label since."""
    told = labels.get(order.DISK)
    if not isinstance(told, str) or not order.DISK_PRICE.fullmatch(told):
        return None
    return int(told) / 1e6 or None


def _stopped(row: Row, own: str) -> float | None:
    """Since when it is off, unix s; None if Google does not tell."""
    try:
        return answers.time(row, "lastStopTimestamp", own)
    except ProviderError:
        return None
