"""A fake of Vast.ai: a market of hosts, contracts, bids, keys of instances, rate limits.

What the documents leave open is played the way that is harder for us: containers start again
when their process exits, an outbid instance comes back (`resume`), and a key in the container
can end its own instance only. Traffic is not billed here.
"""

import base64
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from tests.clouds.service import COMMON_FAULTS, Answer, Rental, Request, Service
from tests.clouds.vast_contract import Contract
from tests.clouds.vast_market import selected, stock, variables, wrong

SPACING = {"create": 4.5, "get": 2.0, "list": 1.0, "destroy": 3.0, "manage": 1.0}
PENALTY = 12.0
SEARCHES = 10
"""Searches a minute."""
EARLY = 0.5
"""What part of a spacing is enough: on a slow machine the request before was long on its way."""
PAGE = 25
RIGHTS = ("misc", "user_read", "instance_read", "instance_write")
ENTRYPOINT = ["/opt/image/entrypoint"]
"""Of every image here; it does not exist, so nothing runs unless it is replaced."""
OCI = (
    "Error response from daemon: failed to create task for container: OCI runtime create failed: "
    "runc create failed: unable to start container process: exec: no such file or directory"
)
NO_PULL = (
    "toomanyrequests: You have reached your unauthenticated pull rate limit. "
    "https://www.docker.com/increase-rate-limit"
)
STALLS = (("stuck", "loading", None), ("oci", "created", OCI), ("no_pull", "loading", NO_PULL))
FAULTS = (
    *COMMON_FAULTS,
    ("no_such_ask_404", "create: the offer is gone, 404"),
    ("no_such_ask_410", "create: the offer is gone, 410"),
    ("no_such_ask_hidden", "create: the offer is gone, but the code is invalid_args"),
    ("leaked", "create: refused with the id of an instance that is there, stopped"),
    ("no_credit", "create: insufficient_credit"),
    ("denied", "status 200, success false, without a reason"),
    ("nameless", "create: success without new_contract, and yet it is made"),
    ("dearer", "create: the machine costs twice its offer"),
    ("stuck", "create: the machine stays in loading, nothing starts"),
    ("oci", "create: the container cannot be created, which status_msg alone tells"),
    ("no_pull", "create: the image cannot be pulled, which status_msg and the daemon's log tell"),
    ("odd_status", "create: actual_status is a word that no document has"),
    ("deprecated_list", "list: answered as the old list is, success false"),
    ("partial_list", "list: a page lacks one of its instances"),
    ("kept", "destroy: it says that the machine is ended, and does not end it"),
    ("unfiltered", "search: the filters are not applied"),
    ("search_quota", "search: the daily quota is spent"),
    ("no_log", "request_logs: the log never appears at its address"),
)


class FakeVast(Service):
    """The service. asks: its market. credit: dollars at the start. spacing: seconds, per kind.

    provisioning: seconds by the clock until a container runs. log_delay: until a log is there.
    """

    FAULTS = FAULTS
    restarts = True

    def __init__(self, token: str = "vast-account-key") -> None:
        super().__init__(token)
        self.asks = stock()
        self.credit = 100.0
        self.rights = set(RIGHTS)
        self.spacing = dict(SPACING)
        self.provisioning = 0.3
        self.log_delay = 2.0
        self.contracts: dict[int, Contract] = {}
        self._logs: dict[str, tuple[float, str]] = {}
        self._last: dict[tuple[str, str], float] = {}
        self._searches: list[float] = []
        self._number = 7000
        self._routes: tuple[tuple[str, str, str, str, Callable[..., Answer]], ...] = (
            ("POST", r"/api/v0/bundles/?", "search", "misc", self._search),
            ("PUT", r"/api/v0/asks/(\d+)/?", "create", "instance_write", self._create),
            ("GET", r"/api/v1/instances/?", "list", "instance_read", self._list),
            ("GET", r"/api/v0/instances/?", "list", "instance_read", _deprecated),
            ("GET", r"/api/v0/instances/(\d+)/?", "get", "instance_read", self._get),
            ("PUT", r"/api/v0/instances/(\d+)/?", "manage", "instance_write", self._manage),
            ("DELETE", r"/api/v0/instances/(\d+)/?", "destroy", "instance_write", self._destroy),
            ("PUT", r"/api/v0/instances/request_logs/(\d+)/?", "logs", "instance_read", self._log),
            ("GET", r"/api/v0/users/current/?", "account", "user_read", self._user),
            ("GET", r"/api/v0/auth/apikeys/?", "keys", "user_read", self._keys),
            ("GET", r"/api/v0/charges/?", "charges", "user_read", self._charges),
        )

    def outbid(self, id: str) -> None:
        """Someone bids more: the processes are killed without notice; the disk stays, and costs."""
        with self.lock:
            self.contracts[int(id)].stop(self.clock.time())
            if id in self.machines:
                self.kill(id)

    def resume(self, id: str) -> None:
        """Its priority is back: the same command runs again on the same disk."""
        with self.lock:
            self._start(self.contracts[int(id)])

    def offline(self, id: str) -> None:
        """Its host is gone."""
        with self.lock:
            contract = self.contracts[int(id)].tick(self.clock.time())
            contract.status = "offline"
            contract.rental.bill(contract.storage, self.clock.time())
            self.kill(id)

    def spent(self) -> float:
        with self.lock:
            for contract in self.contracts.values():
                contract.tick(self.clock.time())
            return super().spent()

    def handle(self, request: Request) -> Answer:
        if request.path.startswith("/logs/"):
            return self._stored_log(request)
        for method, pattern, kind, right, answer in self._routes:
            match = re.fullmatch(pattern, request.path)
            if match and method == request.method:
                refused = self._refused(request, kind, right, *match.groups())
                return refused or answer(request, *(int(each) for each in match.groups()))
        return Answer(404, "404: Not Found", content_type="text/plain")

    def broken(self) -> Answer:
        return Answer(500, {"success": False, "error": "server_error", "msg": "try again later"})

    def refusal(self, status: int, text: str) -> Answer:
        return _no(status, "refused", text)

    def _refused(self, request: Request, kind: str, right: str, *ids: str) -> Answer | None:
        """The answer to who may not ask this, or not now."""
        owner = next((c for c in self.contracts.values() if c.key == request.token), None)
        if owner is not None:
            if kind not in ("destroy", "manage") or ids != (str(owner.id),):
                return _no(403, "not_authorized", "error 403: this key is not for that")
        elif kind == "search" and not request.token:
            right = ""  # it is public
        elif request.token != self.token:
            return _no(404 if kind == "search" else 401, "auth_error", "Invalid user key")
        elif right not in self.rights:
            return _no(403, "not_authorized", f"error 403: the key lacks {right}")
        now, who = self.clock.time(), (request.token, kind)
        if kind == "search":
            self._searches = [each for each in self._searches if each > now - 60] + [now]
            if len(self._searches) > SEARCHES:
                return Answer(429, {"detail": "API requests too frequent endpoint threshold=6.0"})
        least = self.spacing.get(kind, 0.0)
        if now - self._last.get(who, float("-inf")) < EARLY * least:
            if kind == "create":
                self._last[who] = now + PENALTY - least
            return Answer(429, {"detail": f"API requests too frequent endpoint threshold={least}"})
        self._last[who] = now
        if self.take("denied", request) is not None:
            return Answer(200, {"success": False, "error": "unknown", "msg": ""})
        return None

    def _search(self, request: Request) -> Answer:
        query = request.body
        if not isinstance(query, dict):
            return _no(400, "invalid_request", "Invalid json body")
        if self.take("search_quota", request) is not None:
            return Answer(429, {"success": False, "error": "search_quota_exceeded", "msg": "daily"})
        taken = {contract.ask["id"] for contract in self.contracts.values()}
        disk = float(query.get("allocated_storage", 8))
        rows = []
        for each in self.asks:
            hourly = each["min_bid"] if query.get("type") == "bid" else each["dph_base"]
            total = float(hourly) + disk * each["storage_cost"] / 720
            rows.append(
                {**each, "dph_total": total, "rented": each["rented"] or each["id"] in taken}
            )
        if self.take("unfiltered", request) is None:
            rows = [row for row in rows if selected(row, query)]
        for column, direction in reversed(query.get("order", [])):
            rows.sort(key=lambda row: row.get(column) or 0, reverse=direction == "desc")
        return Answer(200, {"offers": rows[: query.get("limit", 64)]})

    def _create(self, request: Request, number: int) -> Answer:
        order = request.body
        fault = wrong(order)
        if fault:
            return _no(400, "invalid_args", f"error 400/3467: Invalid args: {fault}", number)
        taken = {contract.ask["id"] for contract in self.contracts.values()}
        offer = next((each for each in self.asks if each["id"] == number), None)
        gone = f"error 404/3603: no_such_ask Instance type by id {number} is not available."
        if self.take("no_such_ask_hidden", request) is not None:
            return _no(404, "invalid_args", gone, number)
        if offer is None or number in taken or self.take("no_such_ask_404", request) is not None:
            return _no(404, "no_such_ask", gone, number)
        price = order.get("price")
        low = price is not None and price < offer["min_bid"] and order.get("cancel_unavail")
        if self.take("no_such_ask_410", request) is not None or low:
            gone = f"error 410/3907: no_such_ask Instance type {number} is no longer available."
            return _no(410, "no_such_ask", gone, number)
        if self.take("no_credit", request) is not None or self._left() <= 0:
            return _no(400, "insufficient_credit", "error 400: Your account lacks credit.", number)
        contract = self._rent(offer, order)
        if self.take("leaked", request) is not None:
            contract.stop(self.clock.time())
            no = {"success": False, "error": "invalid_price", "msg": "The bid is too low to start."}
            return Answer(400, {**no, "ask_id": number, "new_contract": contract.id})
        for fault, status, message in STALLS:
            if self.take(fault, request) is not None:
                contract.status, contract.message = status, message
                break
        else:
            self._start(contract)
            if self.take("odd_status", request) is not None:
                contract.status = "hibernating"
        if self.take("nameless", request) is not None:
            return Answer(200, {"success": True})
        made = {"success": True, "new_contract": contract.id, "instance_api_key": contract.key}
        return Answer(200, made)

    def _rent(self, offer: dict[str, Any], order: dict[str, Any]) -> Contract:
        self._number += 1
        price = order.get("price")
        now = self.clock.time()
        hourly = offer["dph_base"] if price is None else price
        if self.take("dearer") is not None:
            hourly *= 2
        rental = Rental(
            str(self._number), order.get("label", ""), hourly, now, spot=price is not None
        )
        contract = Contract(
            self._number, offer, order, rental, uuid.uuid4().hex, hourly, order.get("disk", 8)
        )
        rental.bill(contract.storage, now)
        self.ledger.append(rental)
        self.contracts[contract.id] = contract
        return contract

    def _start(self, contract: Contract) -> None:
        contract.intended = contract.allocation = "running"
        contract.status = None
        contract.born, contract.running = self.clock.time(), self.clock.time() + self.provisioning
        machine = self.machines.get(str(contract.id))
        if machine is not None:
            machine.start()
            return
        order = contract.order
        entry = [order["onstart"]] if order.get("onstart") else ENTRYPOINT
        argv = (
            [*entry, *order.get("args", ())] if order.get("runtype") == "args" else ["sleep", "1"]
        )
        env = {**variables(order.get("env")), "CONTAINER_ID": str(contract.id)}
        env |= {"CONTAINER_API_KEY": contract.key, "VAST_CONTAINERLABEL": f"C.{contract.id}"}
        self.boot(contract.rental, argv, env)

    def _list(self, request: Request) -> Answer:
        if self.take("deprecated_list", request) is not None:
            return _deprecated(request)
        try:
            filters = json.loads(request.query.get("select_filters", "{}"))
            after = _after(request.query.get("after_token"))
        except ValueError:
            return _no(400, "invalid_token", "the token or the filters cannot be read")
        rows = [self._row(each) for _, each in sorted(self.contracts.items())]
        rows = [row for row in rows if selected(row, filters)]
        limit = int(request.query.get("limit", PAGE))
        limit = min(limit, PAGE) if limit > 0 else 5
        labels: dict[str, int] = {}
        for row in rows:
            labels[row["label"] or ""] = labels.get(row["label"] or "", 0) + 1
        page = rows[after : after + limit]
        more = after + limit < len(rows)
        token = base64.b64encode(json.dumps({"after": after + limit}).encode()).decode()
        if page and self.take("partial_list", request) is not None:
            page = page[:-1]
        return Answer(
            200,
            {
                "success": True, "instances_found": len(page), "total_instances": len(rows),
                "label_counts": labels, "next_token": token if more else None, "instances": page,
            },
        )  # fmt: skip

    def _get(self, request: Request, id: int) -> Answer:
        contract = self.contracts.get(id)
        return Answer(200, {"instances": self._row(contract) if contract else None})

    def _manage(self, request: Request, id: int) -> Answer:
        contract = self.contracts.get(id)
        if contract is None:
            return _no(404, "no_such_instance", f"Instance {id} not found.")
        if "label" in request.body:
            contract.order["label"] = request.body["label"]
        if request.body.get("state") == "stopped":
            self.outbid(str(id))
        elif request.body.get("state") == "running":
            self._start(contract)
        return Answer(200, {"success": True})

    def _destroy(self, request: Request, id: int) -> Answer:
        if id not in self.contracts:
            return _no(404, "no_such_instance", f"Instance {id} not found.")
        if self.take("kept", request) is None:
            self.contracts.pop(id).tick(self.clock.time())
            self.end(str(id))
        return Answer(200, {"success": True})

    def _log(self, request: Request, id: int) -> Answer:
        if id not in self.contracts:
            return Answer(404, {"error": "invalid_id", "msg": "Invalid instance id."})
        machine = self.machines.get(str(id))
        lines = machine.output() if machine else []
        if (request.body or {}).get("daemon_logs") == "true":
            contract = self.contracts[id]
            lines = [f"docker pull {contract.order['image']}", contract.message or "Pull complete"]
        name = f"/logs/{uuid.uuid4().hex}.log"
        text = "\n".join(lines[-int((request.body or {}).get("tail", "1000")) :])
        late = float("inf") if self.take("no_log", request) is not None else self.log_delay
        self._logs[name] = (self.clock.time() + late, text)
        return Answer(200, {"success": True, "result_url": self.url + name})

    def _stored_log(self, request: Request) -> Answer:
        """The store of logs is not this service: it knows no keys of it, and refuses them."""
        ready, text = self._logs.get(request.path, (float("inf"), ""))
        if request.headers.get("authorization"):
            return Answer(
                400, "<Error><Code>InvalidArgument</Code></Error>", content_type="text/xml"
            )
        if self.clock.time() < ready:
            return Answer(403, "<Error><Code>AccessDenied</Code></Error>", content_type="text/xml")
        return Answer(200, text or "\n", content_type="text/plain")

    def _user(self, request: Request) -> Answer:
        return Answer(
            200, {"id": 31, "key_id": 5, "email": "a@b.invalid", "balance": 0.0,
                  "credit": self._left(), "ssh_key": "", "sid": "1"},
        )  # fmt: skip

    def _charges(self, request: Request) -> Answer:
        """A row for each contract, two of them on a page."""
        day = json.loads(request.query["select_filters"])["day"]
        start, now = int(request.query.get("after_token", 0)), self.clock.time()
        rows = [
            {
                "start": int(each.born), "end": int(each.ended or now), "type": "instance",
                "source": f"instance-{each.id}", "description": f"Instance {each.id} Charges",
                "amount": round(each.cost(now), 3), "metadata": {"label": each.name}, "items": [],
            }
            for each in self.ledger
            if day["gte"] <= each.born <= day["lte"]
        ]  # fmt: skip
        more = str(start + 2) if start + 2 < len(rows) else None
        page = rows[start : start + 2]
        return Answer(200, {"success": True, "count": len(page), "total": len(rows),
                            "next_token": more, "results": page})  # fmt: skip

    def _keys(self, request: Request) -> Answer:
        granted = {"api": {right: {} for right in sorted(self.rights)}}
        return Answer(200, {"apikeys": [{"id": 5, "user_id": 31, "permissions": granted}]})

    def _row(self, contract: Contract) -> dict[str, Any]:
        machine = self.machines.get(str(contract.id))
        up = self.restarts or (machine is not None and machine.working)
        return contract.row(self.clock.time(), up)

    def _left(self) -> float:
        return self.credit - self.spent()


def _no(status: int, code: str, said: str, ask: int | None = None) -> Answer:
    body: dict[str, Any] = {"success": False, "error": code, "msg": said}
    return Answer(status, body if ask is None else {**body, "ask_id": ask})


def _deprecated(_: Request) -> Answer:
    return _no(200, "deprecated_endpoint", "use /api/v1/instances/")


def _after(token: str | None) -> int:
    return int(json.loads(base64.b64decode(token))["after"]) if token else 0
