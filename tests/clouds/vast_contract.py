"""An instance of the fake of Vast.ai: its states, and how it is billed and shown."""

from dataclasses import dataclass
from typing import Any

from tests.clouds.service import Rental
from tests.clouds.vast_market import ports, variables


@dataclass
class Contract:
    """An instance. Times by the fake's clock.

    ask: the offer it was made of. order: the body of its create. price: $/h of the GPU.
    key: what ends this instance and no other. status, message: what is shown instead of what
    follows from the container. born, running: when its last start was asked for, and when the
    container is up then; running is 0 once that is billed.
    """

    id: int
    ask: dict[str, Any]
    order: dict[str, Any]
    rental: Rental
    key: str
    price: float
    disk: float
    intended: str = "running"
    allocation: str = "running"
    status: str | None = None
    message: str | None = None
    born: float = 0.0
    running: float = 0.0

    @property
    def storage(self) -> float:
        """$/h, from the first moment to the last, whatever the state."""
        return self.disk * float(self.ask["storage_cost"]) / 720

    def tick(self, now: float) -> "Contract":
        """Bill the GPU from the moment at which the container came up."""
        up = self.allocation == "running" and self.status is None
        if up and self.running and now >= self.running:
            self.rental.bill(self.storage + self.price, self.running)
            self.running = 0.0
        return self

    def stop(self, now: float) -> None:
        """The service takes the GPU away; the disk stays."""
        self.tick(now).intended = self.allocation = "stopped"
        self.rental.bill(self.storage, now)

    def actual(self, now: float, up: bool) -> str | None:
        """actual_status. up: whether its process is there, or will be again."""
        if self.status is not None:
            return self.status
        if self.allocation == "stopped":
            return "exited" if self.born else None
        if self.running:
            return None if now < (self.born + self.running) / 2 else "loading"
        return "running" if up else "exited"

    def row(self, now: float, up: bool) -> dict[str, Any]:
        """What the service shows of it."""
        offer, order = self.tick(now).ask, self.order
        return {
            "id": self.id, "label": order.get("label"), "machine_id": offer["machine_id"],
            "host_id": offer["host_id"], "actual_status": self.actual(now, up),
            "intended_status": self.intended, "cur_state": self.allocation,
            "next_state": self.allocation, "status_msg": self.message,
            "is_bid": self.rental.spot, "min_bid": offer["min_bid"],
            "dph_base": self.price, "dph_total": self.price + self.storage,
            "storage_cost": offer["storage_cost"], "storage_total_cost": self.storage,
            "start_date": self.rental.born, "duration": offer["duration"],
            "end_date": self.rental.born + offer["duration"], "gpu_name": offer["gpu_name"],
            "num_gpus": 1, "gpu_ram": offer["gpu_ram"], "image_uuid": order["image"],
            "image_args": order.get("args", []), "image_runtype": order.get("runtype", "ssh"),
            "extra_env": [list(each) for each in variables(order.get("env")).items()],
            "onstart": order.get("onstart"), "public_ipaddr": offer["public_ipaddr"],
            "geolocation": offer["geolocation"], "uptime_mins": None,
            "ports": ports(order.get("env"), "") if self.actual(now, up) == "running" else None,
            "ssh_host": "ssh1.invalid", "ssh_port": 10600, "ssh_idx": "1",
        }  # fmt: skip
