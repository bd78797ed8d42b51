"""A fake of Google Compute Engine: machines that are booted by their user data, and deleted.

An order is accepted and fails afterwards, by its operation; a name is one machine of its zone, a
request id one order; behind its longest run, which counts from when it runs, a machine is deleted
by the service, as it is by a preemption, which stops it first. One that shuts itself down is off:
it costs its disk, and the end of its run is forgotten. Operations tell what happened. What is
exchanged is held by Google's discovery document (tests/clouds/discovery.py).
"""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from launch.providers.gcp.prices import SERVICE
from tests.clouds import gcp_rights, gcp_tokens
from tests.clouds.service import COMMON_FAULTS, Answer, Rental, Request, Service
from tests.clouds.virtual_machine import VirtualMachine

PROJECT = "fake-project"
IMAGE = "common-cu128-ubuntu-2204-nvidia-570-v20261101"
ZONES = ("us-central1-a", "us-central1-b", "europe-west4-a")
DISK = 0.011
"""$/h of the disk of a machine that is off."""
STOCKOUT = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
CODES = {
    400: ("invalid", "INVALID_ARGUMENT"), 401: ("authError", "UNAUTHENTICATED"),
    403: ("forbidden", "PERMISSION_DENIED"), 404: ("notFound", "NOT_FOUND"),
    409: ("alreadyExists", "ALREADY_EXISTS"), 500: ("backendError", "INTERNAL"),
}  # fmt: skip
FAULTS = (
    *COMMON_FAULTS,
    (
        "fails",
        "insert: accepted, and the operation ends with the error `code`, or `status` alone; "
        "its machine is listed `listed` times before it vanishes",
    ),
    ("early", "wait: answered at once, and the operation goes on"),
    ("reason", "refused with `status` and `reason`"),
    ("stuck", "insert: the machine is made, and nothing runs on it"),
    ("odd_status", "insert: the machine's status is a word that no document has"),
    ("no_gpu", "insert: nvidia-smi fails on the machine"),
    ("nameless", "insert: it is done, and the answer names no operation"),
    ("kept", "delete: it is answered, and nothing is deleted"),
    ("null_list", "a list: success, and no items"),
    ("unreachable", "a list of all zones: one of them is out of reach"),
    ("nameless_row", "a list of machines: one in it has no name"),
)
KINDS = {
    "g2-standard-4": (4, 16384, "nvidia-l4", 1), "g2-standard-24": (24, 98304, "nvidia-l4", 2),
    "g4-standard-48": (48, 184320, "nvidia-rtx-pro-6000", 1),
    "n1-standard-4": (4, 15360, "", 0), "a2-highgpu-1g": (12, 87040, "nvidia-tesla-a100", 1),
}  # fmt: skip
SKUS = (
    ("G2 Instance Core running in", 0.025, 0.010), ("G2 Instance Ram running in", 0.003, 0.001),
    ("Nvidia L4 GPU running in", 0.56, 0.22), ("A2 Instance Core running in", 0.03, 0.012),
    ("A2 Instance Ram running in", 0.004, 0.002), ("Nvidia Tesla A100 GPU running in", 2.9, 1.1),
    ("N1 Predefined Instance Core running in", 0.03, 0.007), ("Sole Tenancy Premium for", 9.0, 9.0),
    ("N1 Predefined Instance Ram running in", 0.004, 0.001),
    ("Nvidia Tesla T4 GPU running in", 0.35, 0.11), ("G4 Instance Core running in", 0.02, 0.01),
    ("G4 Instance Ram running in", 0.003, 0.001),
    ("Nvidia RTX PRO 6000 GPU running in", 2.0, 0.9),
)  # fmt: skip


class FakeGcp(Service):
    """The service.

    quotas: region ("" for the project) -> metric -> (limit, usage). page_size: rows of a page, 0
    for what is asked for. stopping: looks at a preempted machine before it is gone, for 30 s at
    most. network: whether the project has one. unlisted: descriptions that lack in the price list.
    provisioning: s from an order until its machine runs. late: s by which a machine is deleted too
    late. preempted: names that the service took away. rights: of who asks. minted: what was claimed
    for each access token that Google's libraries got.
    """

    FAULTS = FAULTS

    def __init__(self, token: str = "account-key") -> None:
        self.quotas: dict[str, dict[str, tuple[float, float]]] = {
            "": {"GPUS_ALL_REGIONS": (4, 0)},
            "us-central1": {"NVIDIA_L4_GPUS": (4, 0), "PREEMPTIBLE_NVIDIA_L4_GPUS": (4, 0)},
        }
        self.page_size = 0
        self.stopping = 2
        self.provisioning = self.late = 0.0
        self.network = True
        self.unlisted = re.compile("Nothing of it")
        self.preempted: list[str] = []
        self.rights = frozenset(gcp_rights.page())
        self.minted: list[dict[str, Any]] = []
        self.vms: dict[str, VirtualMachine] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._vanishing: list[tuple[dict[str, Any], list[int]]] = []
        self._operations: dict[str, dict[str, Any]] = {}
        super().__init__(token)

    def environ(self) -> dict[str, str]:
        """What makes an adapter talk to it."""
        return {
            "MIMIR_GCP_PROJECT": PROJECT, "MIMIR_GCP_URL": self.url,
            "CLOUDSDK_AUTH_ACCESS_TOKEN": self.token,
        }  # fmt: skip

    def rental(self, id: str) -> Rental:
        """The newest of this name: a name may be used again."""
        return next(rental for rental in reversed(self.ledger) if rental.id == id)

    def complaints(self) -> list[str]:
        return [each for vm in self.vms.values() for each in vm.complaints]

    def alive(self) -> list[Rental]:
        with self.lock:
            self._settle()
            return super().alive()

    def say(self, id: str, status: str) -> None:
        with self.lock:
            self.rental(id).shown["status"] = status

    def preempt(self, id: str) -> None:
        """Google takes the machine away, now. Nothing runs on it any more; a few looks find it
        stopping before it is gone."""
        with self.lock:
            self.preempted.append(id)
            self.happens(id, "compute.instances.preempted")
            rental = self.rental(id)
            rental.shown.update(status="STOPPING", looks=self.stopping)
            rental.shown["until"] = self.clock.time() + 30.0
            machine = self.machines.get(id)
        if machine is not None:
            machine.stop()
        with self.lock:
            self._settle()

    def happens(self, id: str, kind: str) -> dict[str, Any]:
        """An operation of this kind is on the machine; it."""
        _, zone, name = id.split("/")
        return self._new_operation(zone, kind, name)

    kill = preempt

    def notice(self, id: str) -> None:
        """From now on the metadata server says that the machine is preempted."""
        with self.lock:
            self.rental(id).shown["preempted"] = True

    def broken(self) -> Answer:
        return _refused(500, "an internal error")

    def refusal(self, status: int, text: str) -> Answer:
        return _refused(status, text)

    def answer(self, request: Request) -> Answer:
        found = re.fullmatch(r"/metadata/(.+)/computeMetadata/v1/instance/preempted",
                             request.path)  # fmt: skip
        if found is None:
            about_tokens = gcp_tokens.answer(request, self.token, self.minted)
            return about_tokens or super().answer(request)
        assert request.headers.get("metadata-flavor") == "Google"
        with self.lock:
            gone = "preempted" in self.rental(found[1]).shown
        return Answer(200, "TRUE" if gone else "FALSE", content_type="text/plain")

    def handle(self, request: Request) -> Answer:
        if request.token != self.token:
            return _refused(401, "Request had invalid authentication credentials.")
        self._settle()
        lacking = gcp_rights.wanted(request) - self.rights
        if lacking:
            return _refused(403, f"Required '{min(lacking)}' permission for 'projects/{PROJECT}'")
        told = self.take("reason", request)
        if told is not None:
            return _refused(told["status"], told.get("text", "no"), told["reason"])
        if request.path == f"/v1/services/{SERVICE}/skus":
            if request.headers.get("x-goog-user-project") != PROJECT:
                text = "The cloudbilling.googleapis.com API requires a quota project"
                return _refused(403, text, "accessNotConfigured")
            return Answer(200, {"skus": [_sku(*each) for each in _listed()
                                        if not self.unlisted.search(each[0])]})  # fmt: skip
        path = request.path.removeprefix("/compute/v1/projects/")
        project, _, rest = path.partition("/")
        if project == "deeplearning-platform-release":
            link = f"https://www.googleapis.com/compute/v1/projects/{project}/global/images/{IMAGE}"
            return Answer(200, {"kind": "compute#image", "selfLink": link, "diskSizeGb": "50"})
        if project != PROJECT:
            return _refused(404, f"The resource 'projects/{project}' was not found")
        if not rest:
            return Answer(200, {"kind": "compute#project", "name": PROJECT,
                                "quotas": _quotas(self.quotas.get("", {}))})  # fmt: skip
        if rest == "regions":
            names = sorted({zone.rpartition("-")[0] for zone in ZONES})
            return self._page(request, "compute#regionList", "items", [
                {"name": name, "quotas": _quotas(self.quotas.get(name, {}))} for name in names
            ])  # fmt: skip
        if rest == "global/networks/default":
            if not self.network:
                return self._no_network()
            return Answer(200, {"kind": "compute#network", "name": "default",
                                "autoCreateSubnetworks": True})  # fmt: skip
        if rest.startswith("aggregated/"):
            return self._aggregated(request, rest.removeprefix("aggregated/"))
        _, zone, kind, *more = rest.split("/")
        if kind == "operations":
            return self._operation(request, zone, more)
        return self._instances(request, zone, more)

    def _no_network(self) -> Answer:
        where = f"projects/{PROJECT}/global/networks/default"
        return _refused(404, f"The resource '{where}' was not found")

    def _operation(self, request: Request, zone: str, more: list[str]) -> Answer:
        if more:
            found = self._operations.get(more[0])
            if found is None:
                return _refused(404, f"The resource '…/operations/{more[0]}' was not found")
            if self.take("early", request) is None and not self._is_coming(found):
                found["status"] = "DONE"
            return Answer(200, found)
        wanted = re.fullmatch(r'operationType( eq |=)"(.+)"', request.query.get("filter", ""))
        if wanted is None:
            return _refused(400, "Invalid value for field 'filter'")
        pattern = wanted[2] if wanted[1] == " eq " else re.escape(wanted[2])
        rows = [
            each for each in self._operations.values()
            if each["zone"].endswith(f"/{zone}") and re.fullmatch(pattern, each["operationType"])
        ]  # fmt: skip
        return self._page(request, "compute#operationList", "items", rows)

    def _is_coming(self, operation: dict[str, Any]) -> bool:
        """Whether it is an order whose machine does not run yet."""
        if operation.get("operationType") != "insert":
            return False
        made = datetime.fromisoformat(operation["insertTime"]).timestamp()
        return self.clock.time() < made + self.provisioning

    def _instances(self, request: Request, zone: str, more: list[str]) -> Answer:
        if not more:
            return self._insert(request, zone)
        found = next(
            (r for r in self.ledger if r.id == f"{PROJECT}/{zone}/{more[0]}" and not r.ended), None
        )
        if found is None:
            where = f"projects/{PROJECT}/zones/{zone}/instances/{more[0]}"
            return _refused(404, f"The resource '{where}' was not found")
        if more[1:] == ["serialPort"]:
            vm: Any = self.machines[found.id]
            lines = vm.console() if isinstance(vm, VirtualMachine) else vm.output()
            return Answer(200, {"kind": "compute#serialPortOutput", "contents": "\n".join(lines)})
        if request.method == "DELETE":
            if self.take("kept", request) is None:
                self.end(found.id)
            return Answer(200, self.happens(found.id, "delete"))
        shown = self._shown(found)
        if "looks" in found.shown:
            found.shown["looks"] -= 1
        return Answer(200, shown)

    def _insert(self, request: Request, zone: str) -> Answer:
        body = request.body
        known = self._orders.get(request.query.get("requestId", ""))
        if known is not None:
            return Answer(200, known)
        name = body["name"]
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
            return _refused(400, f"Invalid value for field 'resource.name': '{name}'")
        if any(r.id == f"{PROJECT}/{zone}/{name}" and not r.ended for r in self.ledger):
            where = f"projects/{PROJECT}/zones/{zone}/instances/{name}"
            return _refused(409, f"The resource '{where}' already exists")
        if not self.network:
            return self._no_network()
        operation = self._new_operation(zone, "insert", name)
        fails = self.take("fails", request)
        if fails is not None:
            room = {"zonesAvailable": fails.get("zones", "us-central1-b")}
            details = [{"errorInfo": {"metadatas": room}}]
            told = {"message": fails.get("text", "no"), "errorDetails": details}
            if "code" in fails:
                operation["error"] = {"errors": [{"code": fails["code"], **told}]}
            if "status" in fails:
                operation["httpErrorStatusCode"] = fails["status"]
            row = {
                "kind": "compute#instance", "name": name, "zone": f"https://…/zones/{zone}",
                "status": "PROVISIONING", "labels": body["labels"],
            }  # fmt: skip
            self._vanishing.append((row, [int(fails.get("listed", 0))]))
        else:
            self._rent(request, zone, body)
        if self.take("nameless", request) is not None:
            return Answer(200, {"kind": "compute#operation"})
        self._orders[request.query.get("requestId", "")] = operation
        return Answer(200, operation)

    def _rent(self, request: Request, zone: str, body: dict[str, Any]) -> None:
        now, id = self.clock.time(), f"{PROJECT}/{zone}/{body['name']}"
        spot = body["scheduling"]["provisioningModel"] == "SPOT"
        rental = Rental(id, body["labels"]["mimir-name"], 0.5, now, spot)
        rental.bill(0.25 if spot else 0.9, now)
        most = body["scheduling"].get("maxRunDuration")
        rental.shown = {"labels": body["labels"], "status": "RUNNING"}
        if most and body["scheduling"].get("instanceTerminationAction") == "DELETE":
            runs = now + self.provisioning
            rental.shown["until"] = runs + float(most["seconds"]) + self.late
        if self.take("odd_status", request) is not None:
            rental.shown["status"] = "HIBERNATING"
        self.ledger.append(rental)
        text = next(i["value"] for i in body["metadata"]["items"] if i["key"] == "user-data")
        host = self.url.removeprefix("http://")
        vm = VirtualMachine(
            text, self._folder / uuid.uuid4().hex, lambda argv, env: self.runs(argv, env), (),
            f"127.0.2.{len(self.ledger) % 250 + 1}", 0,
            settings={"GCE_METADATA_HOST": f"{host}/metadata/{id}"},
        )  # fmt: skip
        vm.has_gpu = self.take("no_gpu", request) is None
        self.vms[id] = vm
        self.machines[id] = vm  # type: ignore[assignment]
        if self.take("stuck", request) is None and rental.shown["status"] == "RUNNING":
            vm.start()

    def forget(self) -> None:
        """The request ids that were used."""
        self._orders.clear()

    def _settle(self) -> None:
        """The service deletes what has run for as long as it may, and what it has stopped; what has
        shut itself down is off."""
        now = self.clock.time()
        for rental in self.ledger:
            vm = self.vms.get(rental.id)
            if vm is not None and vm.turned_off and rental.shown["status"] == "RUNNING":
                self.shut_down(rental.id)
            stopped = rental.shown.get("looks", 1) <= 0
            if rental.ended is None and (stopped or now >= rental.shown.get("until", now + 1)):
                if "looks" not in rental.shown:
                    rental.shown["deleted"] = "maxRunDuration"
                    self.happens(rental.id, "delete")
                    rental.end(rental.shown["until"])  # which a test's clock may have skipped
                self.end(rental.id)

    def shut_down(self, id: str) -> None:
        """The machine shuts itself down, now."""
        with self.lock:
            rental = self.rental(id)
            if rental.ended is not None:
                return
            operation = self.happens(id, "compute.instances.guestTerminate")
            now = datetime.fromisoformat(operation["insertTime"]).timestamp()
            rental.shown.update(status="TERMINATED", stopped=now)
            rental.shown.pop("until", None)
            rental.bill(DISK, now)
            self.machines[id].stop()

    def _new_operation(self, zone: str, what: str, name: str) -> dict[str, Any]:
        at = datetime.fromtimestamp(self.clock.time(), UTC)
        link = f"https://…/projects/{PROJECT}/zones/{zone}/instances/{name}"
        made = {
            "kind": "compute#operation", "name": f"operation-{uuid.uuid4().hex}",
            "operationType": what, "status": "RUNNING", "zone": f"https://…/zones/{zone}",
            "targetLink": link, "insertTime": at.isoformat(timespec="milliseconds"),
        }  # fmt: skip
        self._operations[made["name"]] = made
        return made

    def _aggregated(self, request: Request, kind: str) -> Answer:
        rows = {
            "machineTypes": lambda: [_type(n, z) for z in ZONES for n in KINDS],
            "acceleratorTypes": lambda: [
                {"name": name, "zone": f"https://…/zones/{zone}"}
                for zone in ZONES for name in ("nvidia-l4", "nvidia-tesla-t4", "nvidia-tesla-a100",
                                               "nvidia-rtx-pro-6000")
                if zone != "europe-west4-a" or name == "nvidia-l4"
            ],
            "instances": lambda: [
                *(self._shown(r) for r in self.ledger if r.ended is None), *self._still_listed(),
            ],
            "disks": lambda: [
                {"name": r.id.rpartition("/")[2], "zone": f"https://…/zones/{r.id.split('/')[1]}",
                 "users": [r.id]} for r in self.ledger if r.ended is None
            ],
        }[kind]()  # fmt: skip
        if kind == "machineTypes":
            wanted = re.fullmatch(r'name eq "(.+)"', request.query.get("filter", ""))
            rows = [row for row in rows if wanted is None or re.fullmatch(wanted[1], row["name"])]
        if self.take("null_list", request) is not None:
            return Answer(200, {"kind": "compute#list"})
        size = self.page_size or int(request.query.get("maxResults", 500))
        at = int(request.query.get("pageToken", 0))
        shown = rows[at : at + size]
        if kind == "instances" and shown and self.take("nameless_row", request) is not None:
            shown = [{k: v for k, v in row.items() if k != "name"} for row in shown]
        nothing = {"code": "NO_RESULTS_ON_PAGE", "message": "nothing here"}
        scopes: dict[str, Any] = {f"zones/{zone}": {"warning": nothing} for zone in ZONES}
        for row in shown:
            zone = f"zones/{row['zone'].rpartition('/')[2]}"
            if "warning" in scopes[zone]:
                scopes[zone] = {kind: []}
            scopes[zone][kind].append(row)
        if self.take("unreachable", request) is not None:
            scopes["zones/us-central1-b"] = {"warning": {"code": "UNREACHABLE", "message": "no"}}
        words = {"instances": "instanceAggregatedList", "disks": "diskAggregatedList",
                 "machineTypes": "machineTypeAggregatedList",
                 "acceleratorTypes": "acceleratorTypeAggregatedList"}  # fmt: skip
        answer = {"kind": f"compute#{words[kind]}", "items": scopes}
        if at + size < len(rows):
            answer["nextPageToken"] = str(at + size)
        return Answer(200, answer)

    def _page(self, request: Request, kind: str, key: str, rows: list[Any]) -> Answer:
        size = self.page_size or int(request.query.get("maxResults", 500))
        at = int(request.query.get("pageToken", 0))
        shown = rows[at : at + size]
        more = {"nextPageToken": str(at + size)} if at + size < len(rows) else {}
        return Answer(200, {"kind": kind, **({key: shown} if shown else {}), **more})

    def _still_listed(self) -> list[dict[str, Any]]:
        """Machines whose order failed and that are listed once more."""
        found = []
        for row, left in self._vanishing:
            if left[0] > 0:
                left[0] -= 1
                found.append(row)
        return found

    def _shown(self, rental: Rental) -> dict[str, Any]:
        _, zone, name = rental.id.split("/")
        address: dict[str, Any] = {"natIP": "203.0.113.7"}
        times = {}
        if "stopped" in rental.shown:
            address = {}  # which was its own only while it ran
            stopped = datetime.fromtimestamp(rental.shown["stopped"], UTC)
            times = {"lastStopTimestamp": stopped.isoformat(timespec="milliseconds")}
        return {
            "kind": "compute#instance", "name": name, "zone": f"https://…/zones/{zone}",
            "status": rental.shown["status"],
            "labels": {**rental.shown["labels"], "mimir-name": rental.name},
            "networkInterfaces": [{"accessConfigs": [address]}], **times,
        }  # fmt: skip


def _refused(status: int, text: str, reason: str = "") -> Answer:
    short, word = CODES.get(status, ("backendError", "UNKNOWN"))
    errors = [{"message": text, "domain": "global", "reason": reason or short}]
    return Answer(status, {"error": {"code": status, "message": text, "errors": errors,
                                     "status": word}})  # fmt: skip


def _type(name: str, zone: str) -> dict[str, Any]:
    cpus, memory, card, count = KINDS[name]
    cards = [{"guestAcceleratorType": card, "guestAcceleratorCount": count}] if card else []
    made = {"name": name, "zone": zone, "guestCpus": cpus, "memoryMb": memory}
    return {**made, **({"accelerators": cards} if cards else {})}


def _quotas(values: dict[str, tuple[float, float]]) -> list[dict[str, Any]]:
    return [{"metric": m, "limit": limit, "usage": used} for m, (limit, used) in values.items()]


def _listed() -> list[tuple[str, float, str, bool]]:
    """(description, $, region, spot) of all prices."""
    rows = []
    for region in ("us-central1", "europe-west4"):
        for text, demand, spot in SKUS:
            rows.append((f"{text} Americas", demand, region, False))
            cheap = text.replace("GPU running", "GPU attached to Spot Preemptible VMs running")
            cheap = cheap if cheap != text else f"Spot Preemptible {text}"
            rows.append((f"{cheap} Americas", spot, region, True))
        rows.append(("Balanced PD Capacity in Americas", 0.1, region, False))
        rows.append(("Hyperdisk Balanced Capacity in Americas", 0.2, region, False))
    return rows


def _sku(text: str, dollars: float, region: str, spot: bool) -> dict[str, Any]:
    unit = {"currencyCode": "USD", "units": str(int(dollars)), "nanos": round(dollars % 1 * 1e9)}
    rates = [{"startUsageAmount": 0, "unitPrice": unit}]
    usage = "Preemptible" if spot else "OnDemand"
    per = "GiBy.h" if " Ram " in text else "GiBy.mo" if " Capacity " in text else "h"
    return {
        "skuId": uuid.uuid5(uuid.NAMESPACE_DNS, text + region).hex, "description": text,
        "category": {"resourceFamily": "Compute", "usageType": usage},
        "serviceRegions": [region],
        "pricingInfo": [{"pricingExpression": {"usageUnit": per, "tieredRates": rates}}],
    }  # fmt: skip
