"""The request that makes a machine at Google, and names as Google takes them.

The same attempt in the same zone is always asked for under the same name and request id, so that a
lost answer can be asked for again: the service makes one machine.

Google deletes a machine at its longest run, if it is on. One that shuts itself down is stopped: it
costs its disk alone, but Google forgets its longest run, so that only the launcher deletes it. So a
machine shuts itself down only where that end is far away (cloud_init.OnceDone).
"""

import hashlib
import re
import uuid
from typing import Any

from launch.contract.cloud import ContainerSpec, parse_name
from launch.contract.offer import Offer
from launch.payload import cloud_init
from mimir.errors import BadInput

LABEL = "mimir-name"
"""The label with the machine's name as all of Mimir writes it: labels may hold a `_`."""
DISK = "mimir-disk"
"""The label with what the machine's disk costs, in millionths of a dollar an hour."""
DISK_PRICE = re.compile(r"[0-9]{1,8}")
"""What that label may be: below $100 an hour."""
WATCHES = "MIMIR_NOTICES"
"""Tells the worker whose notices it is to look for (mimir/worker/notices.py)."""
NETWORK = "global/networks/default"
"""Of the project, in which its machines run."""
SHORTEST, LONGEST = 30, 120 * 86400
"""Seconds: what Google takes as maxRunDuration."""
SLACK = 30.0
"""Seconds by which Google may be late in deleting a machine."""
_SPACE = uuid.UUID("6d696d69-7200-5000-8000-000000000000")
_TAKEN = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def own_name(name: str) -> str:
    """A machine's name at Google: 63 characters, no `_`. A digest tells apart what else would be
    the same."""
    if _TAKEN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.replace('_', '-')[:54].rstrip('-')}-{digest}"


def request_id(name: str, zone: str) -> str:
    """What tells Google that it is asked for the same machine again."""
    return str(uuid.uuid5(_SPACE, f"{name} {zone}"))


def longest_run(seconds: float) -> int:
    """maxRunDuration, in s, of a machine whose own ways to end are over so long after its order.

    Google counts from the moment at which the machine runs (operations.WITHIN after its order at
    most), and may be late at the end, by SLACK. None of it is taken off: a machine that comes up at
    once would be deleted while its worker still commits. A time of day instead (terminationTime)
    would be counted between the clocks of two computers.
    """
    return min(max(round(seconds), SHORTEST), LONGEST)


def order(offer: Offer, boot: ContainerSpec, name: str) -> dict[str, Any]:
    """The body of instances.insert."""
    key = offer.key
    missing = [word for word in ("type", "zone", "card", "image", "disk") if not key.get(word)]
    if missing:
        raise BadInput(f"the offer {offer.id} names no {missing[0]}: ask for offers again")
    zone = str(key["zone"])
    run, attempt = parse_name(name) or ("", 0)
    labels = {LABEL: name, "mimir-run": run, "mimir-attempt": str(attempt)}
    if key.get("disk_price"):
        labels[DISK] = str(round(1e6 * float(key["disk_price"])))
    deletes = longest_run(boot.seconds) if boot.seconds else 0
    told = ContainerSpec(
        boot.image, boot.command, {**boot.env, WATCHES: "gcp"}, boot.disk_gb, boot.seconds,
        boot.image_elsewhere, boot.login,
    )  # fmt: skip
    scheduling: dict[str, Any] = {
        "provisioningModel": "SPOT" if offer.spot else "STANDARD",
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }
    if deletes:
        scheduling["maxRunDuration"] = {"seconds": str(deletes)}
    if deletes or offer.spot:
        scheduling["instanceTerminationAction"] = "DELETE"
    once_done = cloud_init.OnceDone(cloud_init.TURN_OFF, deletes=deletes)
    made: dict[str, Any] = {
        "name": own_name(name),
        "machineType": f"zones/{zone}/machineTypes/{key['type']}",
        "labels": labels,
        "scheduling": scheduling,
        "disks": [
            {
                "boot": True, "autoDelete": True,
                "initializeParams": {
                    "sourceImage": key["image"], "diskSizeGb": str(int(key["disk"])),
                    "diskType": f"zones/{zone}/diskTypes/{key.get('disk_type') or 'pd-balanced'}",
                    "labels": labels,
                },
            }
        ],
        "networkInterfaces": [
            {
                "network": NETWORK,
                "accessConfigs": [{"type": "ONE_TO_ONE_NAT", "name": "External NAT"}],
            }
        ],
        "metadata": {
            "items": [
                {"key": "user-data", "value": cloud_init.text(told, once_done=once_done)},
                {"key": "block-project-ssh-keys", "value": "true"},
            ]
        },
    }  # fmt: skip
    if key.get("own"):
        made["guestAccelerators"] = [
            {"acceleratorType": f"zones/{zone}/acceleratorTypes/{key['card']}",
             "acceleratorCount": 1}
        ]  # fmt: skip
    return made
