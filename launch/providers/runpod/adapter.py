"""RunPod: containers ("pods") in its own and in others' data centres, by REST v2.

The facts that shaped this adapter, of its documents as of August 2026; not tested on the real
service:
- an order names one kind of GPU and one of two clouds, and is placed or refused as a whole;
- a refusal for want of machines is 400, as is a broken rule: only the text tells them apart;
- a container that exits is started again, and costs on;
- a pod has a key of its own, with which it can end itself and little else;
- nothing is sold as spot.
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launch.contract import regions
from launch.contract.cloud import PREFIX, ContainerSpec, Instance, Leftover, Login, State
from launch.contract.errors import ProviderError, Unclear, UnknownOutcome
from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check
from launch.pricing import gpus
from launch.providers.adapter import Adapter
from launch.providers.http import Absent
from launch.providers.runpod import errors
from mimir.errors import BadInput, MimirError

CLOUDS = {"SECURE": "secure", "COMMUNITY": "community"}
"""As orders name them -> as the catalogue's prices do."""
STATES = {
    "PROVISIONING": State.PENDING, "STARTING": State.PENDING, "RUNNING": State.RUNNING,
    "EXITED": State.SUSPENDED, "ERROR": State.BROKEN, "TERMINATED": State.GONE,
}  # fmt: skip
LEAST_DISK_GB = 20
"""Smaller disks were refused for some pods."""
DISK = 0.10 / 730
"""$ per GB and hour of a running pod's disk, which the catalogue's prices leave out."""
MOST_VARIABLES = 50
PAGES = 400
"""After which a list that has no end is an error."""
LOG_LINES = 5000
LOG_SILENCE = 4.0
"""Seconds without a line after which a log, which stays open for more, counts as read."""


class RunPod(Adapter):
    """A Cloud."""

    name = "runpod"
    catalogue_name = "runpod"
    caps = Caps(
        paid=True, image=True, ends_itself=True, service_ends="an empty balance",
        hosts={
            "": "data centres (secure cloud) and private hosts (community cloud)",
            "verified": "data centres only (secure cloud)",
            "datacenter": "data centres only (secure cloud)",
        },
    )  # fmt: skip
    title = "RunPod"
    url = "https://api.runpod.io"
    url_variable = "MIMIR_RUNPOD_URL"
    key_variable = "RUNPOD_API_KEY"
    key_advice = (
        "make one in its console under Settings, API keys (Restricted, with Read/Write of "
        "api.runpod.io), and set RUNPOD_API_KEY"
    )
    explain = staticmethod(errors.explain)

    def offers(self, need: Need) -> list[Offer]:
        """A price is that of one GPU and of the disk."""
        found: list[Offer] = []
        secure = need.hosts.kind in ("verified", "datacenter")
        for cloud in ("SECURE",) if secure else CLOUDS:
            found += self._offers(cloud, need)
        return found

    def regions(self) -> list[str]:
        answer = self._http.read("GET", "/v2/catalog/datacenters")
        rows = answer.get("dataCenters") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise ProviderError("RunPod's list of data centres cannot be read: ask again")
        return [str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")]

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        order = _order(offer, boot, name)
        if boot.login is not None:
            order["registry"] = self._keep_login(boot.login, name)
        try:
            pod = self._http.send("POST", "/v2/pods", json=order)
        except MimirError as error:
            if boot.login is not None and not isinstance(error, UnknownOutcome):
                with contextlib.suppress(MimirError):
                    self.forget(name)
            if isinstance(error, Absent):
                raise BadInput(f"{error}: something that the order names is not there") from error
            if isinstance(error, errors.Refused):
                raise Unclear(str(error)) from error
            raise
        made = pod.get("id") if isinstance(pod, dict) else None
        if not isinstance(made, str) or not made:
            raise UnknownOutcome(f"RunPod accepted the order of {name} without naming a pod")
        return made

    def forget(self, name: str) -> None:
        """Delete the logins that were kept for this machine."""
        for each in self._logins():
            if each.get("name") == name:
                self._http.send("DELETE", f"/v2/registries/{_id(str(each.get('id')))}")

    def leftovers(self) -> list[Leftover]:
        how = "delete it in RunPod's console under Settings, unless its machine is coming up"
        names = (str(each.get("name")) for each in self._logins())
        return [Leftover("registry login", n, how) for n in names if n.startswith(PREFIX)]

    def _logins(self) -> list[dict[str, Any]]:
        answer = self._http.read("GET", "/v2/registries")
        kept = answer.get("registries") if isinstance(answer, dict) else None
        return [each for each in kept if isinstance(each, dict)] if isinstance(kept, list) else []

    def _keep_login(self, login: Login, name: str) -> str:
        """Give the login to the account under the machine's name; its id. No pod is ordered yet."""
        body = {"name": name, "username": login.user, "password": login.password}
        try:
            made = self._http.send("POST", "/v2/registries", json=body)
        except UnknownOutcome as error:
            raise ProviderError(f"{error}: the login was not taken, and nothing ordered") from error
        id = made.get("id") if isinstance(made, dict) else None
        if not isinstance(id, str) or not id:
            raise ProviderError(
                "RunPod took the registry's login without an id: nothing is ordered"
            )
        return id

    def get(self, id: str) -> Instance | None:
        try:
            return _instance(self._http.read("GET", f"/v2/pods/{_id(id)}"))
        except Absent:
            return None

    def instances(self) -> list[Instance]:
        return [_instance(pod) for pod in self._pods() if pod["name"].startswith(PREFIX)]

    def terminate(self, id: str) -> None:
        try:
            self._http.send("DELETE", f"/v2/pods/{_id(id)}")
        except Absent:
            return

    def logs(self, id: str, lines: int) -> list[str]:
        if lines < 1:
            return []
        # Without `source` they are the container's and RunPod's own, such as a pull that fails.
        params = {"tail": min(lines, LOG_LINES)}
        try:
            events = self._http.lines(
                f"/v2/pods/{_id(id)}/logs", params=params, silence=LOG_SILENCE
            )
        except Absent:
            return []
        return errors.log_lines(events)[-lines:]

    def ending(self) -> Mapping[str, Any] | None:
        return {
            "method": "POST",
            "url": f"{self._base}/v2/pods/{{RUNPOD_POD_ID}}/action",
            "token": "RUNPOD_API_KEY",
            "body": {"action": "terminate"},
        }

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        params = {"startTime": _stamp(since), "endTime": _stamp(until), "bucketSize": "day"}
        if len(ids) == 1:
            params["podId"] = ids[0]
        answer = self._http.read("GET", "/v2/billing/pods", params=params)
        records = answer.get("records") if isinstance(answer, dict) else None
        if not isinstance(records, list):
            raise ProviderError("RunPod's bill cannot be read: ask again")
        found: dict[str, float] = {}
        for record in filter(lambda each: isinstance(each, dict), records):
            pod, amount = str(record.get("podId")), record.get("totalAmount")
            if pod in ids and isinstance(amount, int | float):
                found[pod] = found.get(pod, 0.0) + amount
        return found

    def checks(self) -> list[Check]:
        try:
            pods = self._pods()
        except MimirError as error:
            return [Check("key", "fail", str(error))]
        cost = sum(pod["cost"] for pod in pods if isinstance(pod.get("cost"), int | float))
        ours = sum(pod["name"].startswith(PREFIX) for pod in pods)
        found = [
            Check(
                "key", "ok",
                f"accepted, may read pods: {len(pods)} on the account at ${cost:.2f}/h in all, "
                f"{ours} of them Mimir's",
            )
        ]  # fmt: skip
        try:
            stock = len(self.offers(Need()))
            found.append(Check("catalogue", "ok", f"{stock} kinds of machine in stock"))
        except MimirError as error:
            found.append(Check("catalogue", "fail", str(error)))
        return [
            *found,
            Check(
                "may create and destroy", "warn",
                "no request tells this without renting: in the console, under Settings, API keys, "
                "the key must be Restricted, with Read/Write of api.runpod.io (All works, too)",
            ),
            Check(
                "balance and quota", "warn",
                "the API tells neither: see the console's Billing page; an order needs credit for "
                "an hour, at $0 pods are stopped, and an account may spend $80/h unless that was "
                "changed",
            ),
        ]  # fmt: skip

    def _offers(self, cloud: str, need: Need) -> Iterator[Offer]:
        params = {
            "include": "AVAILABILITY", "product": "POD", "count": 1, "cloud": cloud,
            "minCudaVersion": f"{need.cuda}",
        }  # fmt: skip
        answer = self._http.read("GET", "/v2/catalog/gpus", params=params)
        rows = answer.get("gpus") if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise ProviderError("RunPod answered its catalogue without GPUs in it: ask again")
        disk = max(need.disk_gb, LEAST_DISK_GB) * DISK
        for row in rows:
            offer = _offer(row, cloud, disk, need)
            if (
                offer is not None
                and offer.memory_gb >= need.memory_gb
                and offer.price <= need.max_price
                and (not need.gpus or offer.gpu in need.gpus)
            ):
                yield offer

    def _pods(self) -> list[dict[str, Any]]:
        """All pods of the account, every page; an error if that cannot be said of them."""
        found: list[dict[str, Any]] = []
        cursor, seen = "", {""}
        for _ in range(PAGES):
            params = {"cursor": cursor} if cursor else None
            answer = self._http.read("GET", "/v2/pods", params=params)
            pods = answer.get("pods") if isinstance(answer, dict) else None
            if not isinstance(pods, list) or not all(map(_is_pod, pods)):
                raise ProviderError("RunPod's list of pods cannot be read: ask again")
            found += pods
            # Pages are newer than the service's published document, which has a whole list.
            pages = answer.get("pagination") or {}
            if not pages.get("hasNextPage"):
                return found
            cursor = str(pages.get("nextCursor") or pages.get("cursor") or "")
            if cursor in seen:
                break
            seen.add(cursor)
        raise ProviderError("RunPod's list of pods has no end, and is not taken for whole")


def _order(offer: Offer, boot: ContainerSpec, name: str) -> dict[str, Any]:
    places = {"dataCenterIds": offer.key["places"]} if offer.key.get("places") else {}
    if len(boot.env) > MOST_VARIABLES:
        raise BadInput(
            f"RunPod takes {MOST_VARIABLES} variables, and the machine would get {len(boot.env)}"
        )
    order = {
        "name": name,
        "image": boot.image,
        "gpu": {"id": offer.key["gpu"], "count": 1, "minCudaVersion": offer.key["cuda"]},
        "cloud": offer.key["cloud"],
        **places,
        "disk": max(boot.disk_gb, LEAST_DISK_GB),
        # A plain string replaces docker's CMD and is given to the image's ENTRYPOINT, whatever
        # that is; written as JSON it replaces both.
        "args": json.dumps({"entrypoint": boot.command[:1], "cmd": boot.command[1:]}),
        "env": dict(boot.env),
    }
    size = len(json.dumps(order).encode())
    if size > errors.MOST_BYTES:
        raise BadInput(
            f"the order of {name} is {size:,} bytes, but RunPod takes {errors.MOST_BYTES:,}: give "
            "the run fewer or shorter variables"
        )
    return order


def _offer(row: Any, cloud: str, disk: float, need: Need) -> Offer | None:
    """A row of the catalogue as an offer of this cloud; None if there is none now.

    need: where it wants regions, the offer names the data centres for its order.
    """
    wanted = need.hosts.regions
    try:
        price = float(row["price"][CLOUDS[cloud]])
        memory = float(row["memory"])
        if not row[CLOUDS[cloud]] or row["manufacturer"] != "NVIDIA" or price <= 0:
            return None
        if row.get("availability", "NONE") == "NONE":
            return None
        places = [
            place["id"]
            for place in row.get("dataCenters") or ()
            if place.get("availability") != "NONE" and regions.within(place["id"], wanted)
        ]
        if wanted and not places:
            return None
        shown = places if wanted else {place.split("-")[0] for place in places}
        return Offer(
            provider="runpod", id=f"{row['id']}/{cloud}",
            gpu=gpus.canonical(row["id"], memory), memory_gb=memory, price=price + disk,
            region=", ".join(sorted(shown)), place=cloud, kind=CLOUDS[cloud],
            key={
                "gpu": row["id"], "cloud": cloud, "cuda": f"{need.cuda}",
                **({"places": places} if wanted else {}),
            },
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # a row of a kind to come hides no other


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _is_pod(pod: Any) -> bool:
    return isinstance(pod, dict) and all(
        isinstance(pod.get(key), str) and pod[key] for key in ("id", "name", "status")
    )


def _instance(pod: Any) -> Instance:
    if not _is_pod(pod):
        raise ProviderError("RunPod's answer about a pod cannot be read: ask again")
    cost = pod.get("cost")
    return Instance(
        id=pod["id"], name=pod["name"], state=STATES.get(pod["status"], State.BROKEN),
        said=pod["status"], price=float(cost) if isinstance(cost, int | float) else None,
        place=str(pod.get("cloud") or ""), region=str(pod.get("dataCenterId") or ""),
    )  # fmt: skip


def _id(id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id):
        raise BadInput(f"{id!r} is not the id of a pod")
    return id
