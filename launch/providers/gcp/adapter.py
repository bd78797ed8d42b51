"""Google Compute Engine: virtual machines with one GPU, on demand or spot.

The facts that shaped this adapter, of its discovery document (revision 20261106); not tested on the
real service:
- a machine has a longest run (maxRunDuration), behind which the service deletes it, whatever became
  of it: the deadline holds with the laptop gone, also where its container never started;
- an order is accepted first and fails afterwards: a lack of machines and quotas are told by its
  operation, behind a 200;
- a name is one machine in its zone, and a request id one order;
- what is deleted, by us, by the deadline or by a preemption, is not found any more; operations tell
  for some days that a machine was preempted;
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

from launch.contract.cloud import PREFIX, ContainerSpec, Instance, Leftover, State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Hosts, Need, Offer
from launch.contract.provider import Caps, Check
from launch.providers.adapter import Adapter
from launch.providers.asked_again import asked_again
from launch.providers.gcp import errors, market, order, prices
from launch.providers.gcp.project import Project, checked
from launch.providers.gcp.token import Token
from launch.providers.http import Absent
from mimir.errors import BadInput, MimirError

FAMILY = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu128-ubuntu-2204-nvidia-570"
)
"""Google's Deep Learning VM: driver, Docker, NVIDIA's part of it. From Google's documents; not
tried on the real service."""
WAIT_WITHIN, WAIT_TIMES = 130.0, 4
"""Seconds that Google holds a wait for an operation (two minutes), and how often it is asked."""
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Gcp(Adapter):
    """A Cloud. Its key is the project; the credentials are Google's own (token.py)."""

    name = errors.NAME
    catalogue_name = "gcp"
    caps = Caps(
        paid=True, image=True, spot=True, service_deadline="deletes it, within 30 min after",
        hosts={"": "Google's own data centres"},
        egress=f"every S3 bucket lies outside Google's network, ${market.TO_INTERNET} a GB from "
        "all of its regions; fewer checkpoints (--checkpoint-minutes) cost less",
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

    def offers(self, need: Need) -> list[Offer]:
        """What has a price, a quota and a GPU in its zone.

        Raises:
            AccountLimit, NoCapacity: there is nothing, and why.
        """
        stock = self._stock()
        priced = list(market.offers(stock, need))
        said = market.problems(stock, need.spot)
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
        return sorted(str(row["name"]) for row in self._project.rows("regions"))

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
        self._finished(operation, zone, name)
        return self._id(zone, wanted["name"])

    def get(self, id: str) -> Instance | None:
        zone, own = self._parts(id)
        try:
            row = self._project.compute.read(
                "GET", self._project.path(f"zones/{zone}/instances/{own}")
            )
        except Absent:
            return self._preempted(zone, own)
        return self._instance(row)

    def instances(self) -> list[Instance]:
        """Of all zones, or an error: what of them is out of reach may hold a machine."""
        found = [
            self._instance(row)
            for row in self._project.scoped("instances", {"filter": f"labels.{order.LABEL}:*"})
        ]
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
            answer = self._project.compute.read(
                "GET", self._project.path(f"zones/{zone}/instances/{own}/serialPort")
            )
        except Absent:
            return []
        text = str(answer.get("contents") or "") if isinstance(answer, dict) else ""
        return text.splitlines()[-lines:] if lines > 0 else []

    def ending(self) -> Mapping[str, Any] | None:
        """None: a key that could delete a machine could delete all of the project's."""
        return None

    def leftovers(self) -> list[Leftover]:
        """Disks of ours that no machine has any more."""
        rows = self._project.scoped("disks", {"filter": f"labels.{order.LABEL}:*"})
        return [
            Leftover("disk", str(row["name"]), f"gcloud compute disks delete {row['name']} --zone "
                     f"{_last(row.get('zone'))} --project {self.key()}")
            for row in rows
            if not row.get("users")
        ]  # fmt: skip

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

    def _finished(self, operation: Any, zone: str, name: str) -> None:
        """Await an order's operation; raises as it ended.

        Raises:
            UnknownOutcome: it cannot be seen to have ended.
        """
        for _ in range(WAIT_TIMES):
            if not isinstance(operation, dict) or not _ID.fullmatch(str(operation.get("name"))):
                raise UnknownOutcome(f"Google accepted the order of {name} without an operation")
            if operation.get("status") == "DONE":
                error = operation.get("error")
                if isinstance(error, dict) and error.get("errors"):
                    raise errors.of_operation(error, name)
                return
            path = self._project.path(f"zones/{zone}/operations/{operation['name']}/wait")
            try:
                operation = self._project.compute.read("POST", path, timeout=WAIT_WITHIN)
            except MimirError as error:
                raise UnknownOutcome(
                    f"Google accepted the order of {name}, and what became of it cannot be seen "
                    f"({error})"
                ) from error
        raise UnknownOutcome(f"Google accepted the order of {name}, which has not ended yet")

    def _preempted(self, zone: str, own: str) -> Instance | None:
        """One that is not there any more, if Google says that it was preempted."""
        filters = {"filter": 'operationType="compute.instances.preempted"'}
        for row in self._project.rows(f"zones/{zone}/operations", filters):
            if _last(row.get("targetLink")) == own:
                return Instance(self._id(zone, own), "", State.GONE, "preempted by Google",
                                place=zone, region=zone.rpartition("-")[0], taken=True)  # fmt: skip
        return None

    def _instance(self, row: Any) -> Instance:
        own = str(row.get("name") or "") if isinstance(row, dict) else ""
        if not own:
            raise ProviderError("Google's answer holds a machine without a name: try again later")
        zone, said = _last(row.get("zone")), str(row.get("status") or "")
        state = errors.STATES.get(said, State.BROKEN)
        if row.get("statusMessage") and state is not State.RUNNING:
            said += f": {row['statusMessage']}"[: errors.MOST_WORDS]
        labels = row.get("labels") or {}
        near = (row.get("networkInterfaces") or [{}])[0].get("accessConfigs") or [{}]
        return Instance(
            self._id(zone, own), str(labels.get(order.LABEL) or own), state, said,
            address=str(near[0].get("natIP") or ""), place=zone, region=zone.rpartition("-")[0],
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

    def _stock(self) -> market.Stock:
        types: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._project.scoped("machineTypes", {"filter": f'name eq "{market.TYPES}"'}):
            types.setdefault(_last(row.get("zone")), []).append(row)
        cards: dict[str, set[str]] = {}
        for row in self._project.scoped("acceleratorTypes"):
            cards.setdefault(_last(row.get("zone")), set()).add(str(row.get("name")))
        project = self._project.compute.read("GET", self._project.path(""))
        quotas = {"": market.left(project.get("quotas") or [])}
        for row in self._project.rows("regions"):
            quotas[str(row["name"])] = market.left(row.get("quotas") or [])
        image = self._project.compute.read("GET", f"/compute/v1/{FAMILY}")
        return market.Stock(
            types, {zone: frozenset(names) for zone, names in cards.items()}, quotas,
            prices.parsed(self._project.skus()),
            market.Image(f"projects/{_after(image.get('selfLink'))}",
                         int(image.get("diskSizeGb") or 0)),
        )  # fmt: skip


def _last(link: object) -> str:
    """The last part of a resource's address."""
    return str(link or "").rpartition("/")[2]


def _after(link: object) -> str:
    return str(link or "").rpartition("/projects/")[2]
