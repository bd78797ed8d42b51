"""The one request that makes a machine at EC2, and the words that are in it.

The same attempt in the same zone is always asked for by the same token, so that a lost answer can
be asked for again: EC2 gives the machine that it made, and makes no second one. A token counts in
its zone only, which is why an order names exactly one.
"""

import gzip
import hashlib
from typing import Any

from launch.contract.cloud import ContainerSpec, parse_name
from launch.contract.offer import Offer
from launch.payload import cloud_init
from mimir.errors import BadInput

MOST_USER_DATA = 16_384
"""Bytes of user data before they are encoded in base64."""
WATCHES = "MIMIR_NOTICES"
"""Tells the worker whose notices of an eviction it is to look for (mimir/worker/notices.py)."""
KEYS = ("type", "region", "zone", "network", "subnet", "image", "root", "disk")


def token(name: str, zone: str) -> str:
    """What tells EC2 that it is asked for the same machine again: 64 characters."""
    return hashlib.sha256(f"{name} {zone}".encode()).hexdigest()


def user_data(boot: ContainerSpec) -> bytes:
    """The machine's first instructions, gzipped, as cloud-init takes them.

    Raises:
        BadInput: they are larger than EC2 takes.
    """
    told = ContainerSpec(
        boot.image, boot.command, {**boot.env, WATCHES: "aws"}, boot.disk_gb, boot.seconds,
        boot.image_elsewhere, boot.login,
    )  # fmt: skip
    # Without a time: an order that is asked again must be the same to the last byte.
    once_done = cloud_init.OnceDone(cloud_init.TURN_OFF, timer=True)
    made = gzip.compress(cloud_init.text(told, once_done=once_done).encode(), 9, mtime=0)
    if len(made) > MOST_USER_DATA:
        raise BadInput(
            f"the machine's first instructions are {len(made):,} bytes, and AWS takes "
            f"{MOST_USER_DATA:,}: use a shorter store URL or fewer variables"
        )
    return made


def order(offer: Offer, boot: ContainerSpec, name: str, group: str) -> dict[str, Any]:
    """RunInstances for one machine. group: the security group, which lets nothing in."""
    key = offer.key
    missing = [word for word in KEYS if not key.get(word)]
    if missing:
        raise BadInput(f"the offer {offer.id} names no {missing[0]}: ask for offers again")
    made: dict[str, Any] = {
        "ImageId": key["image"],
        "InstanceType": key["type"],
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": token(name, str(key["zone"])),
        "UserData": user_data(boot),
        "InstanceInitiatedShutdownBehavior": "terminate",
        # Two hops, because the worker reads notices from inside a container.
        "MetadataOptions": {
            "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2,
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": key["root"],
                "Ebs": {
                    "VolumeSize": int(key["disk"]), "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                },
            }
        ],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0, "SubnetId": key["subnet"], "Groups": [group],
                "AssociatePublicIpAddress": True, "DeleteOnTermination": True,
            }
        ],
        "TagSpecifications": [
            {"ResourceType": each, "Tags": tags(name)}
            for each in (
                "instance", "volume", "network-interface",
                *(["spot-instances-request"] if offer.spot else []),
            )
        ],
    }  # fmt: skip
    if offer.spot:
        made["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate",
                "MaxPrice": str(key["most"]),
            },
        }  # fmt: skip
    return made


def tags(name: str) -> list[dict[str, str]]:
    """As EC2 writes them. They name run and attempt; the least-rights policy goes by them."""
    run, attempt = parse_name(name) or ("", 0)
    found = {"Name": name, "mimir-run": run, "mimir-attempt": str(attempt)}
    return [{"Key": key, "Value": value} for key, value in found.items()]
