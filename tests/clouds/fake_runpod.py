"""A fake of RunPod's REST API v2, as far as Mimir and RunPod's own client use it.

Made from its published document (August 2026, and what it has added by November 2026: `entrypoint`,
`cmd`, `minRamPerGpu`, 413) and from field notes (what a pod is given, how capacity is refused, what
a pod's own key may do); it was never compared with the real service. A container runs per pod.
"""

import json
import re
import secrets
import shlex
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.clouds.runpod_words import (
    CAPACITY,
    CENTRES,
    FAULTS,
    MISBEHAVIOURS,
    NO_PULL,
    PULLING,
    centre,
    gpu,
    problem,
    stamp,
)
from tests.clouds.service import Answer, Rental, Request, Service

PERMITTED = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
}
FIELDS = {
    "name", "image", "gpu", "cpu", "cloud", "dataCenterIds", "disk", "args", "env", "ports",
    "registry", "entrypoint", "cmd", "mounts", "startSsh", "startJupyter", "globalNetworking",
    "templateId",
}  # fmt: skip
OF_GPU = {"id", "count", "minCudaVersion", "minRamPerGpu", "minVcpuCountPerGpu"}
DISK = 0.10 / 730
MOST_BYTES = 102_400
PRIVATE = "private/"
"""How images begin that nobody pulls without a login."""


class FakeRunPod(Service):
    """Attributes that tests set:

    stock: rows of the catalogue. balance: dollars at the start. entrypoint: of every image, so
    that a plain string as `args` goes where it would go. page_size: pods on a page of the list,
    0 for all, as in the published document. boots_in: seconds by the fake's clock that a pod
    shows as PROVISIONING while its container is running already. log_held: Answer.held of logs.
    logins: registry logins of the account by id. unpullable: images that no pod can pull.
    """

    FAULTS = FAULTS
    MISBEHAVIOURS = MISBEHAVIOURS
    restarts = True

    def __init__(self, token: str = "account-key") -> None:
        self.stock: list[dict[str, Any]] = [
            gpu("NVIDIA GeForce RTX 4090", "RTX 4090", 24, 0.69, 0.34),
            gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", 80, 1.79, 1.19),
            gpu("NVIDIA H100 80GB HBM3", "H100 SXM", 80, 3.99, 2.69, community="NONE"),
            gpu("NVIDIA L4", "L4", 24, 0.43, 0.0, community="NONE"),
            gpu("AMD Instinct MI300X OAM", "MI300X", 192, 2.49, 0.0, maker="AMD"),
        ]
        self.balance = 100.0
        self.entrypoint: tuple[str, ...] = ("/opt/entrypoint-of-the-image",)
        self.page_size = 0
        self.boots_in = 0.0
        self.log_held = 0.0
        self.quota = 100_000
        self.logins: dict[str, dict[str, str]] = {}
        self.unpullable: set[str] = set()
        self._window: tuple[int, int] = (0, 0)
        super().__init__(token)

    def handle(self, request: Request) -> Answer:
        if self.take("zero_balance", request) is not None:
            self.run_dry()
        left, reset = self._left()
        headers = {
            "RateLimit": f'"minute";r={max(left, 0)};t={reset}',
            "RateLimit-Policy": f'"minute";q={self.quota};w=60',
        }
        limited = self.take("rate_limited", request)
        if limited is not None or left < 0:
            after = reset if limited is None else limited.get("retry_after")
            extra = {} if after is None else {"Retry-After": str(after)}
            given = problem(429, "rate limit exceeded for the minute window")
            return Answer(429, given.body, {**headers, **extra}, given.content_type)
        given = self._allowed(request) or self._route(request)
        return Answer(
            given.status, given.body, {**headers, **given.headers}, given.content_type, given.held
        )

    def broken(self) -> Answer:
        return problem(500, "internal server error")

    def refusal(self, status: int, text: str) -> Answer:
        return problem(status, text)

    def kill(self, id: str) -> None:
        """The host dies, and the service has seen it: EXITED."""
        super().kill(id)
        self._show(self.rental(id), "EXITED")

    def freeze(self, id: str) -> None:
        """The host dies, and the service has not seen it: still RUNNING, and billed."""
        super().kill(id)

    def run_dry(self) -> None:
        """The money is gone: pods without a network volume, as all are here, are destroyed."""
        self.balance = self.spent()
        for rental in self.alive():
            self.end(rental.id)

    def _left(self) -> tuple[int, int]:
        """(requests left in this minute, seconds to the next), this one counted."""
        minute, second = divmod(int(self.clock.time()), 60)
        used = self._window[1] + 1 if self._window[0] == minute else 1
        self._window = (minute, used)
        return self.quota - used, 60 - second

    def _allowed(self, request: Request) -> Answer | None:
        if self.take("unauthorized", request) is not None:
            return problem(401, "invalid bearer token")
        if not request.token:
            return problem(401, "missing bearer token")
        if request.token == self.token:
            return None
        owner = next((each for each in self.alive() if each.shown["key"] == request.token), None)
        if owner is None:
            return problem(401, "invalid bearer token")
        action = isinstance(request.body, dict) and request.body.get("action")
        own = request.path in (f"/v2/pods/{owner.id}", f"/v2/pods/{owner.id}/action")
        ends = request.method == "DELETE" or action in ("terminate", "stop")
        if not (own and ends) or self.take("scoped_refused", request) is not None:
            return problem(403, "access denied")
        return None

    def _route(self, request: Request) -> Answer:
        routes: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
            ("GET", r"/v2/catalog/gpus", self._catalog),
            ("GET", r"/v2/account/ssh-keys", lambda _: Answer(200, {"keys": []})),
            ("GET", r"/v2/network-volumes", lambda _: Answer(200, {"networkVolumes": []})),
            ("GET", r"/v2/registries", self._registries),
            ("POST", r"/v2/registries", self._log_in),
            ("GET", r"/v2/catalog/datacenters", self._centres),
            ("GET", r"/v2/billing/pods", self._billing),
            ("POST", r"/v2/pods", self._create),
            ("GET", r"/v2/pods", self._list),
            ("GET", r"/v2/pods/([^/]+)", self._get),
            ("DELETE", r"/v2/pods/([^/]+)", self._delete),
            ("PATCH", r"/v2/pods/([^/]+)", self._change),
            ("POST", r"/v2/pods/([^/]+)/action", self._action),
            ("GET", r"/v2/pods/([^/]+)/logs", self._logs),
        )
        for method, pattern, answer in routes:
            match = re.fullmatch(pattern, request.path)
            if match and method == request.method:
                if not match.groups():
                    return answer(request)
                for rental in self.alive():
                    if rental.id == match[1]:
                        return answer(request, rental)
                return problem(404, "pod not found")
        kind, _, id = request.path.removeprefix("/v2/").rpartition("/")
        if kind == "registries":
            return self._login(request, id)
        row = next((row for row in self.stock if row["id"] == id), None)
        if (request.method, kind) == ("GET", "catalog/gpus") and row is not None:
            return Answer(200, {key: value for key, value in row.items() if key != "levels"})
        return problem(404, "resource not found")

    def _registries(self, request: Request) -> Answer:
        shown = [{"id": id, "name": each["name"]} for id, each in self.logins.items()]
        return Answer(200, {"registries": shown})

    def _log_in(self, request: Request) -> Answer:
        body = request.body
        wanted = {"name", "username", "password"}
        if not isinstance(body, dict) or set(body) != wanted or not all(body.values()):
            return problem(422, "Request validation failed.", [f"$: {sorted(wanted)} are required"])
        id = secrets.token_hex(4)
        self.logins[id] = dict(body)
        return Answer(201, {"id": id, "name": body["name"]})

    def _login(self, request: Request, id: str) -> Answer:
        found = self.logins.get(id)
        if found is None:
            return problem(404, "registry not found")
        if request.method == "GET":
            return Answer(200, {"id": id, "name": found["name"]})
        del self.logins[id]
        return Answer(204)

    def _catalog(self, request: Request) -> Answer:
        query = request.query
        asked = query.get("include") == "AVAILABILITY"
        if asked != ("product" in query) or (not asked and set(query) - {"product"}):
            return problem(400, "include=AVAILABILITY and product come together")
        cloud = query.get("cloud", "SECURE").lower()
        rows = []
        for row in self.stock:
            shown = {key: value for key, value in row.items() if key not in ("levels", "centres")}
            if asked:
                level = row["levels"][cloud]
                shown["availability"] = level
                if level != "NONE":
                    shown["dataCenters"] = [
                        {"id": id, "name": name, "availability": level}
                        for id, name in CENTRES.items()
                        if id in row.get("centres", ())
                    ]
                    shown["cudaVersions"] = [{"version": "12.8", "available": True}]
            rows.append(shown)
        return Answer(200, {"gpus": rows})

    def _billing(self, request: Request) -> Answer:
        """A record for each pod of the account, whatever the buckets: only its sum is imitated."""
        query, now = request.query, self.clock.time()
        window = {
            "startTime": query.get("startTime") or stamp(now - 30 * 86400.0),
            "endTime": query.get("endTime") or stamp(now),
        }
        records: list[dict[str, Any]] = [
            {
                **window, "podId": each.id, "totalAmount": each.cost(now),
                "gpuAmount": each.cost(now), "cpuAmount": 0.0, "diskAmount": 0.0,
            }
            for each in self.ledger
            if query.get("podId") in (None, each.id)
        ]  # fmt: skip
        totals = {
            name: sum(record[name] for record in records)
            for name in ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")
        }
        query = {**window, "bucketSize": query.get("bucketSize", "day")}
        metadata = {
            "query": query, "recordCount": len(records), "uniquePodCount": len(records),
            "totals": totals,
        }  # fmt: skip
        return Answer(200, {"records": records, "metadata": metadata})

    def _centres(self, request: Request) -> Answer:
        return Answer(200, {"dataCenters": [centre(*each) for each in CENTRES.items()]})

    def _create(self, request: Request) -> Answer:
        order = request.body
        refused = self._refused(order, request)
        if refused is not None:
            return refused
        cloud = order.get("cloud", "SECURE")
        row = next((row for row in self.stock if row["id"] == order["gpu"]["id"]), None)
        if row is None or row["levels"][cloud.lower()] == "NONE":
            return problem(400, CAPACITY)
        now = self.clock.time()
        price = row["price"][cloud.lower()] + order.get("disk", 20) * DISK
        if self.balance - self.spent() < price:
            return problem(402, "insufficient balance")
        rental = Rental(secrets.token_hex(7), order["name"], round(price, 4), now)
        rental.shown = {
            "order": order, "cloud": cloud, "key": f"rpa_pod_{secrets.token_hex(20)}",
            "centre": (order.get("dataCenterIds") or row["centres"])[0],
            "status": "RUNNING", "ready": now + self.boots_in, "started": now,
        }  # fmt: skip
        self.ledger.append(rental)
        rental.bill(rental.price, now)
        rental.shown["system"] = [f"{PULLING} {order['image']}"]
        if self.take("stuck", request) is not None:
            rental.shown["ready"] = float("inf")
        elif self._unpulled(order, request):
            rental.shown["ready"] = float("inf")
            rental.shown["system"].append(NO_PULL)
        elif self.take("vanish", request) is not None:
            given = self._pod(rental)
            self.end(rental.id)
            return Answer(201, given)
        else:
            self.boot(rental, self._argv(order), self._env(order, rental))
        return Answer(201, {**self._pod(rental), "status": "PROVISIONING", "runtime": None})

    def _unpulled(self, order: Mapping[str, Any], request: Request) -> bool:
        image, login = order["image"], self.logins.get(order.get("registry") or "")
        fault = self.take("no_pull", request) is not None
        return fault or image in self.unpullable or (image.startswith(PRIVATE) and not login)

    def _refused(self, order: Any, request: Request) -> Answer | None:
        if self.take("capacity", request) is not None:
            return problem(400, CAPACITY)
        if self.take("rule", request) is not None:
            return problem(400, "mounts.persistent is not possible here")
        if self.take("pool", request) is not None:
            return problem(403, "your account cannot access the requested pool")
        if self.take("no_balance", request) is not None:
            return problem(402, "insufficient balance")
        if len(json.dumps(order)) > MOST_BYTES:
            return problem(413, f"request is larger than {MOST_BYTES} bytes")
        if not isinstance(order, dict):
            return problem(422, "Request validation failed.", ["$: an object is expected"])
        errors = [
            f"$: additional properties '{name}' not allowed"
            for name in sorted(order.keys() - FIELDS)
        ]
        errors += [f"$: '{name}' is required" for name in ("name", "image") if not order.get(name)]
        asked = order.get("gpu") or {}
        errors += [f"$.gpu.{name}: not allowed" for name in sorted(set(asked) - OF_GPU)]
        errors += [
            f"$.{name}: an array is expected"
            for name in ("entrypoint", "cmd")
            if not isinstance(order.get(name, []), list)
        ]
        env = order.get("env", {})
        if len(env) > 50 or not all(isinstance(value, str) for value in env.values()):
            errors.append("$.env: at most 50 strings")
        if self.take("invalid", request) is not None:
            errors.append(f"$.env: cannot take {env}")
        if errors:
            return problem(422, "Request validation failed.", errors)
        if ("gpu" in order) == ("cpu" in order):
            return problem(400, "exactly one of gpu and cpu must be set")
        if order.get("registry") and order["registry"] not in self.logins:
            return problem(404, "registry not found")
        return None

    def _list(self, request: Request) -> Answer:
        start = int(request.query.get("cursor", 0))
        if start and self.take("broken_page", request) is not None:
            return self.broken()
        pods = [self._looked_at(rental, request) for rental in self.alive()]
        if pods and self.take("torn_list", request) is not None:
            pods[-1] = {"id": pods[-1]["id"]}
        if not self.page_size:
            return Answer(200, {"pods": pods})
        end = start + self.page_size
        pages: dict[str, Any] = {"hasNextPage": end < len(pods)}
        if pages["hasNextPage"]:
            pages["nextCursor"] = str(end)
        return Answer(200, {"pods": pods[start:end], "pagination": pages})

    def _get(self, request: Request, rental: Rental) -> Answer:
        return Answer(200, self._looked_at(rental, request))

    def _delete(self, request: Request, rental: Rental) -> Answer:
        if self.take("kept", request) is None:
            self.end(rental.id)
        return Answer(204)

    def _change(self, request: Request, rental: Rental) -> Answer:
        if not isinstance(request.body, dict) or set(request.body) != {"name"}:
            return problem(422, "Request validation failed.", ["$: only a name is imitated"])
        rental.name = request.body["name"]
        return Answer(200, self._pod(rental))

    def _action(self, request: Request, rental: Rental) -> Answer:
        action = request.body.get("action") if isinstance(request.body, dict) else None
        if action not in ("start", "stop", "restart", "terminate"):
            return problem(422, "Request validation failed.", ["$.action: is not an action"])
        if action not in PERMITTED[self._status(rental)]:
            return problem(409, f"pod cannot {action} now")
        if action == "terminate":
            self.end(rental.id)
            return Answer(204)
        machine = self.machines.get(rental.id)
        if action == "stop":
            self._show(rental, "EXITED")
            if machine is not None:
                # Its own processes may have asked: the answer comes before their end.
                threading.Thread(target=machine.stop, args=(5.0,), daemon=True).start()
        elif machine is not None:
            machine.stop()
            machine.wipe()
            machine.start()
            self._show(rental, "RUNNING")
        return Answer(200, self._pod(rental))

    def _logs(self, request: Request, rental: Rental) -> Answer:
        machine = self.machines.get(rental.id)
        printed = machine.output() if machine is not None else []
        lines = [("system", line) for line in rental.shown["system"]]
        lines += [("container", line) for line in printed]
        wanted = request.query.get("source")
        lines = [each for each in lines if wanted in (None, each[0])]
        tail = int(request.query.get("tail", 100))
        events = []
        for number, (source, line) in enumerate(lines[-tail:] if tail else []):
            when = f"{stamp(rental.born)}/{number:012d}"
            data = json.dumps({"ts": when, "source": source, "line": line})
            events.append(f"id: {when}\ndata: {data}\n\n")
        # A comment first, so that there is a body even where nothing was printed.
        return Answer(
            200, ": log\n\n" + "".join(events), content_type="text/event-stream", held=self.log_held
        )

    def _argv(self, order: Mapping[str, Any]) -> list[str]:
        """What a container of the order runs: the arrays, or else args, which is docker's CMD, or
        both as JSON."""
        if order.get("entrypoint") or order.get("cmd"):
            return [*(order.get("entrypoint") or self.entrypoint), *order.get("cmd", ())]
        args = order.get("args", "")
        try:
            both = json.loads(args)
        except ValueError:
            both = None
        if isinstance(both, dict):
            return [*both.get("entrypoint", self.entrypoint), *both.get("cmd", ())]
        return [*self.entrypoint, *shlex.split(args)]

    def _env(self, order: Mapping[str, Any], rental: Rental) -> dict[str, str]:
        given = {"RUNPOD_POD_ID": rental.id, "RUNPOD_API_KEY": rental.shown["key"]}
        return {**order.get("env", {}), **given, "RUNPOD_GPU_COUNT": "1"}

    def _status(self, rental: Rental) -> str:
        if self.clock.time() < rental.shown["ready"]:
            return "PROVISIONING"
        return str(rental.shown["status"])

    def _show(self, rental: Rental, status: str) -> None:
        now = self.clock.time()
        rental.shown["status"] = status
        rental.shown["ready"] = now
        rental.bill(rental.price if status == "RUNNING" else 0.0, now)

    def _looked_at(self, rental: Rental, request: Request) -> dict[str, Any]:
        newest = self.alive()[-1] is rental
        if newest and self.take("exited", request) is not None:
            self.kill(rental.id)
        pod = self._pod(rental)
        if newest and self.take("unknown_status", request) is not None:
            pod["status"] = "HIBERNATING"
        return pod

    def _pod(self, rental: Rental) -> dict[str, Any]:
        order, status = rental.shown["order"], self._status(rental)
        running = status == "RUNNING"
        runtime = {
            "uptime": int(self.clock.time() - rental.shown["started"]),
            "gpus": [{"util": 90, "memoryUtil": 50}],
            "cpu": {"util": 10}, "memory": {"util": 10}, "ports": [],
        }  # fmt: skip
        return {
            "id": rental.id, "name": rental.name, "status": status,
            "actions": list(PERMITTED.get(status, ())), "image": order["image"],
            "args": order.get("args", ""), "disk": order.get("disk", 20),
            "ports": order.get("ports", []), "env": order.get("env", {}),
            "registry": order.get("registry"),
            "mounts": {}, "gpu": {"id": order["gpu"]["id"], "count": 1},
            "cloud": rental.shown["cloud"], "dataCenterId": rental.shown["centre"],
            "cudaVersion": "12.8",
            "ssh": {"proxy": None, "direct": None}, "template": None, "locked": False,
            "globalNetworking": {"enabled": False},
            "cost": 0.0 if status == "EXITED" else rental.price,
            "runtime": runtime if running else None, "createdAt": stamp(rental.born),
            "startedAt": stamp(rental.shown["started"]) if running else None,
        }  # fmt: skip
