"""A fake of Lambda Cloud: virtual machines that are booted by their user data.

The capacity that it lists is advice, as the real one's is; launches are spaced by its clock; a
machine that is being ended cannot be ended again. What the document leaves open is played the
way that is harder for us: a 429 says nothing, and a machine is billed from its launch until it
is gone.
"""

import getpass
import re
import socket
import uuid
from typing import Any

from tests.clouds.service import COMMON_FAULTS, Answer, Rental, Request, Service
from tests.clouds.virtual_machine import VirtualMachine

LAUNCH_SPACING = 12.0
EARLY = 0.5
"""What part of a spacing is enough: on a slow machine the request before was long on its way."""
REGIONS = {"us-west-2": "Arizona, USA", "us-east-1": "Virginia, USA", "europe-central-1": "Germany"}
MOST_USER_DATA = 1_000_000
FAULTS = (
    *COMMON_FAULTS,
    ("no_capacity", "launch: refused for want of capacity, whatever the list says"),
    ("quota", "launch: the account's quota is used up"),
    ("inactive", "403: the account is inactive"),
    ("forbidden", "403: the key may not do this"),
    ("unknown_after", "it is done, and the answer is 400 global/unknown"),
    ("echo", "launch: refused with the whole order in the message"),
    ("nameless", "launch: it is done, and the answer holds no id"),
    ("stuck", "launch: the machine stays in booting, nothing runs"),
    ("unhealthy", "launch: the machine becomes unhealthy, nothing runs"),
    ("odd_status", "launch: the machine's status is a word that no document has"),
    ("no_gpu", "launch: nvidia-smi fails on the machine"),
    ("no_address", "launch: the machine is active before it has an address"),
    ("kept", "terminate: it says that the machine is ended, and does not end it"),
    ("not_listed", "terminate: success, but the machine is neither named nor ended"),
    ("duplicate_key", "ssh-keys: somebody else registers this name just before"),
    ("null_list", "instances: success, and data is null"),
    ("nameless_row", "instances: success, and a machine in it has no id"),
)


class FakeLambda(Service):
    """The service.

    types: as /instance-types lists them. keys: SSH keys of the account, name -> public key.
    boots_in, ends_in: seconds by the clock in `booting` and in `terminating`.
    """

    FAULTS = FAULTS

    def __init__(self, token: str = "account-key") -> None:
        self.types = stock()
        self.keys: dict[str, str] = {}
        self.boots_in = 0.0
        self.ends_in = 0.0
        self.spacing = LAUNCH_SPACING
        self.vms: dict[str, VirtualMachine] = {}
        self.ssh_port = _free_port()
        self._launched = float("-inf")
        super().__init__(token)

    def environ(self) -> dict[str, str]:
        """What makes an adapter talk to it."""
        return {
            "LAMBDA_API_KEY": self.token,
            "MIMIR_LAMBDA_URL": self.url,
            "MIMIR_LAMBDA_SSH_PORT": str(self.ssh_port),
            "MIMIR_LAMBDA_SSH_USER": getpass.getuser(),
        }

    def complaints(self) -> list[str]:
        """What was wrong with user data."""
        return [each for vm in self.vms.values() for each in vm.complaints]

    def alive(self) -> list[Rental]:
        with self.lock:
            self._settle()
            return super().alive()

    def say(self, id: str, status: str) -> None:
        """From now on the machine is shown so: the service's own doing."""
        with self.lock:
            self.rental(id).shown["status"] = status

    def reboot(self, id: str) -> None:
        self.vms[id].reboot()

    def broken(self) -> Answer:
        return failure(500, "global/internal-error", "An internal server error occurred.", "Wait.")

    def refusal(self, status: int, text: str) -> Answer:
        return failure(status, "global/invalid-parameters", text)

    def handle(self, request: Request) -> Answer:
        if request.token != self.token:
            return failure(
                401, "global/invalid-api-key", "API key was invalid, expired, or deleted.",
                "Check your API key or create a new one, then try again.",
            )  # fmt: skip
        if self.take("inactive", request) is not None:
            return failure(
                403, "global/account-inactive", "Your account is inactive.", "Check your email."
            )
        if self.take("forbidden", request) is not None:
            return failure(403, "global/forbidden", "Your role does not allow this.")
        self._settle()
        path, post = request.path.removeprefix("/api/v1"), request.method == "POST"
        body = request.body if isinstance(request.body, dict) else {}
        if post and path == "/instance-operations/launch":
            given = self._launch(request, body)
        elif post and path == "/instance-operations/terminate":
            given = self._terminate(request, body)
        elif post and path == "/instance-operations/restart":
            given = self._restart(body)
        elif post and path.startswith("/instances/"):
            given = self._rename(path.removeprefix("/instances/"), body)
        elif post and path == "/ssh-keys":
            given = self._add_key(request, body)
        elif request.method != "GET":
            given = failure(404, "global/not-found", "The requested resource was not found.")
        elif path == "/instance-types":
            given = Answer(200, {"data": self.types})
        elif path == "/images":
            given = Answer(200, {"data": [_image(region) for region in REGIONS]})
        elif path == "/regions":
            rows = [{"name": name, "description": told} for name, told in REGIONS.items()]
            given = Answer(200, {"data": rows})
        elif path == "/ssh-keys":
            given = Answer(200, {"data": [_key(*each) for each in self.keys.items()]})
        elif path == "/instances":
            given = self._list(request)
        elif path.startswith("/instances/"):
            found = self._found(path.removeprefix("/instances/"))
            given = Answer(200, {"data": self._shown(found)}) if found else _no_machine()
        else:
            given = failure(404, "global/not-found", "The requested resource was not found.")
        if self.take("unknown_after", request) is not None:
            return failure(400, "global/unknown", "An unknown error occurred.")
        return given

    def _launch(self, request: Request, body: dict[str, Any]) -> Answer:
        now = self.clock.time()
        if now - self._launched < self.spacing * EARLY:
            return Answer(429, "Too Many Requests", content_type="text/plain")
        self._launched = now
        wrong = _wrong(body)
        if wrong:
            return failure(400, "global/invalid-parameters", wrong)
        kind, region = body["instance_type_name"], body["region_name"]
        if kind not in self.types or region not in REGIONS:
            return _absent(f"{kind} in {region}")
        (key,) = body["ssh_key_names"]
        if key not in self.keys:
            return _absent(f"SSH key {key}")
        if self.take("echo", request) is not None:
            return failure(400, "global/invalid-parameters", body["user_data"])
        if self.take("quota", request) is not None:
            return failure(
                400, "global/quota-exceeded", "Quota exceeded.", "Contact Support for more."
            )
        capacity = [each["name"] for each in self.types[kind]["regions_with_capacity_available"]]
        if self.take("no_capacity", request) is not None or region not in capacity:
            return failure(
                400, "instance-operations/launch/insufficient-capacity",
                "Not enough capacity to fulfill launch request.", "Try another region.",
            )  # fmt: skip
        rental = self._rent(request, body, now)
        if self.take("nameless", request) is not None:
            return Answer(200, {"data": {"instance_ids": []}})
        return Answer(200, {"data": {"instance_ids": [rental.id]}})

    def _rent(self, request: Request, body: dict[str, Any], now: float) -> Rental:
        kind = self.types[body["instance_type_name"]]["instance_type"]
        price = kind["price_cents_per_hour"] / 100
        status = next(
            (
                shown
                for fault, shown in (
                    ("stuck", "booting"), ("unhealthy", "unhealthy"), ("odd_status", "hibernating")
                )
                if self.take(fault, request) is not None
            ),
            "",
        )  # fmt: skip
        rental = Rental(uuid.uuid4().hex, body.get("name", ""), price, now)
        taken = {each.shown["ip"] for each in self.ledger if each.ended is None}
        address = next(ip for n in range(1, 255) if (ip := f"127.0.0.{n}") not in taken)
        rental.shown = {
            "type": kind, "region": body["region_name"], "tags": body.get("tags", []),
            "keys": body["ssh_key_names"], "ip": address, "status": status,
            "no_address": self.take("no_address", request) is not None,
        }  # fmt: skip
        rental.bill(price, now)
        self.ledger.append(rental)
        keys = [self.keys[name] for name in body["ssh_key_names"]]
        vm = VirtualMachine(
            body.get("user_data", "#cloud-config\n{}"), self._folder / rental.id,
            lambda argv, env: self.runs(argv, env), keys,
            address, self.ssh_port,
        )  # fmt: skip
        vm.has_gpu = self.take("no_gpu", request) is None
        self.vms[rental.id] = vm
        self.machines[rental.id] = vm  # type: ignore[assignment]
        if not status:
            vm.start()
        return rental

    def _terminate(self, request: Request, body: dict[str, Any]) -> Answer:
        ids = body.get("instance_ids")
        if not isinstance(ids, list) or not ids:
            return failure(400, "global/invalid-parameters", "instance_ids is required.")
        chosen = [self._found(str(each)) for each in ids]
        if None in chosen:
            return _no_machine()
        if any(self._status(each) in ("terminating", "terminated") for each in chosen if each):
            return failure(400, "global/unknown", "An unknown error occurred.")
        if self.take("not_listed", request) is not None:
            return Answer(200, {"data": {"terminated_instances": []}})
        for rental in chosen:
            assert rental is not None
            if self.take("kept", request) is not None:
                continue
            rental.shown["ending"] = self.clock.time()
            self.vms[rental.id].destroy()
        ended = [self._shown(rental) for rental in chosen if rental]
        return Answer(200, {"data": {"terminated_instances": ended}})

    def _restart(self, body: dict[str, Any]) -> Answer:
        chosen = [self._found(str(each)) for each in body.get("instance_ids") or ()]
        if None in chosen:
            return _no_machine()
        for rental in chosen:
            assert rental is not None
            self.reboot(rental.id)
        shown = [self._shown(rental) for rental in chosen if rental]
        return Answer(200, {"data": {"restarted_instances": shown}})

    def _rename(self, id: str, body: dict[str, Any]) -> Answer:
        found = self._found(id)
        if found is None:
            return _no_machine()
        if len(body.get("name", "")) > 64:
            return failure(400, "global/invalid-parameters", "name must be 64 characters or fewer.")
        found.name = body.get("name", found.name)
        return Answer(200, {"data": self._shown(found)})

    def _add_key(self, request: Request, body: dict[str, Any]) -> Answer:
        name, public = body.get("name"), body.get("public_key")
        if not name or not public or not re.match(r"(ssh|ecdsa)-\S+ \S+", public):
            return failure(400, "global/invalid-parameters", "name and public_key are required.")
        if self.take("duplicate_key", request) is not None:
            self.keys[name] = "ssh-ed25519 AAAA of-somebody-else"
        if name in self.keys:
            return failure(400, "global/duplicate", f"An SSH key named {name} exists.")
        self.keys[name] = public
        return Answer(200, {"data": _key(name, public)})

    def _list(self, request: Request) -> Answer:
        if self.take("null_list", request) is not None:
            return Answer(200, {"data": None})
        rows = [self._shown(each) for each in self.ledger if each.ended is None]
        if self.take("nameless_row", request) is not None:
            rows = [{key: row[key] for key in row if key != "id"} for row in rows]
        return Answer(200, {"data": rows})

    def _settle(self) -> None:
        """What has become of machines by the clock."""
        now = self.clock.time()
        for rental in self.ledger:
            since = rental.shown.get("ending")
            if rental.ended is None and since is not None and now - since >= self.ends_in:
                rental.end(since + self.ends_in)

    def _found(self, id: str) -> Rental | None:
        return next((each for each in self.ledger if each.id == id and each.ended is None), None)

    def _status(self, rental: Rental) -> str:
        if "ending" in rental.shown:
            return "terminating"
        if rental.shown["status"]:
            return str(rental.shown["status"])
        return "booting" if self.clock.time() - rental.born < self.boots_in else "active"

    def _shown(self, rental: Rental) -> dict[str, Any]:
        status = self._status(rental)
        region = rental.shown["region"]
        row = {
            "id": rental.id, "name": rental.name, "status": status,
            "ssh_key_names": rental.shown["keys"], "file_system_names": [],
            "region": {"name": region, "description": REGIONS[region]},
            "instance_type": rental.shown["type"], "is_reserved": False,
            "tags": rental.shown["tags"],
            "actions": {
                action: {"available": status == "active"}
                for action in ("migrate", "rebuild", "restart", "cold_reboot", "terminate")
            },
        }  # fmt: skip
        if status != "booting" and not rental.shown["no_address"]:
            row |= {"ip": rental.shown["ip"], "private_ip": "10.0.2.100"}
        return row


def failure(status: int, code: str, message: str, suggestion: str = "") -> Answer:
    """An error as the service writes it."""
    error = {"code": code, "message": message}
    return Answer(status, {"error": error | ({"suggestion": suggestion} if suggestion else {})})


def stock() -> dict[str, Any]:
    """Types and where they are available: one with too many GPUs, one whose CPU is arm64."""
    rows = (
        ("gpu_1x_a10", "A10 (24 GB PCIe)", 75, 1, 1400, ("us-west-2", "us-east-1")),
        ("gpu_1x_a100_sxm4", "A100 (40 GB SXM4)", 199, 1, 512, ("us-west-2",)),
        ("gpu_1x_h100_pcie", "H100 (80 GB PCIe)", 329, 1, 1024, ()),
        ("gpu_1x_h100_sxm5", "H100 (80 GB SXM5)", 429, 1, 2816, ("europe-central-1",)),
        ("gpu_1x_gh200", "GH200 (96 GB)", 229, 1, 4096, ("us-east-1",)),
        ("gpu_8x_h100_sxm5", "H100 (80 GB SXM5)", 3192, 8, 22528, ("us-east-1",)),
    )
    return {
        name: {
            "instance_type": {
                "name": name, "description": f"{gpus}x {gpu}", "gpu_description": gpu,
                "price_cents_per_hour": cents,
                "specs": {"vcpus": 30, "memory_gib": 200, "storage_gib": disk, "gpus": gpus},
            },
            "regions_with_capacity_available": [
                {"name": region, "description": REGIONS[region]} for region in regions
            ],
        }
        for name, gpu, cents, gpus, disk, regions in rows
    }  # fmt: skip


def _wrong(body: dict[str, Any]) -> str:
    """What is wrong with a launch, or ""."""
    known = {
        "region_name", "instance_type_name", "ssh_key_names", "file_system_names", "hostname",
        "file_system_mounts", "name", "image", "quantity", "user_data", "tags", "firewall_rulesets",
    }  # fmt: skip
    keys = body.get("ssh_key_names")
    if not body.get("region_name") or not body.get("instance_type_name"):
        return "region_name and instance_type_name are required."
    if not isinstance(keys, list) or len(keys) != 1:
        return "exactly one SSH key must be specified."
    if set(body) - known:
        return f"unknown fields: {sorted(set(body) - known)}."
    # Of an older document, which clients still send; more than one was seen to be refused.
    if body.get("quantity", 1) != 1:
        return "Requested too many instances."
    if len(body.get("name", "")) > 64:
        return "name must be 64 characters or fewer."
    if len(body.get("user_data", "").encode()) > MOST_USER_DATA:
        return "user_data cannot exceed 1MB."
    for tag in body.get("tags", []):
        if not re.fullmatch(r"[a-z][a-z0-9-:]+", tag["key"]) or len(tag["key"]) > 55:
            return f"tag key {tag['key']} is not allowed."
        if len(tag["value"]) > 128:
            return f"the value of tag {tag['key']} is too long."
    return ""


def _key(name: str, public: str) -> dict[str, str]:
    return {"id": uuid.uuid5(uuid.NAMESPACE_DNS, name).hex, "name": name, "public_key": public}


def _image(region: str) -> dict[str, Any]:
    made = "2026-05-01T00:00:00+00:00"
    return {
        "id": uuid.uuid5(uuid.NAMESPACE_DNS, region).hex, "created_time": made,
        "updated_time": made, "name": "lambda-stack-22-04", "description": "Lambda Stack",
        "family": "lambda-stack-22-04", "version": "22.4.5", "architecture": "x86_64",
        "region": {"name": region, "description": REGIONS[region]},
    }  # fmt: skip


def _absent(what: str) -> Answer:
    return failure(400, "global/object-does-not-exist", f"{what} does not exist.", "Check it.")


def _no_machine() -> Answer:
    return failure(404, "global/object-does-not-exist", "Specified instance does not exist.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
