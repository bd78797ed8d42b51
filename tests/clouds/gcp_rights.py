"""Which of Google's permissions each of our requests needs, and those that the docs tell to grant.

By Google's reference of Compute Engine's API and of IAM, from memory: the discovery documents name
methods and hold no permissions, and Google itself was not asked. Ids are those documents'.
"""

import functools
import re
from typing import Any, NamedTuple

from launch.providers.gcp.prices import SERVICE
from tests import ROOT
from tests.clouds.server import Request

PAGE = ROOT / "docs" / "providers" / "gcp.md"


class Method(NamedTuple):
    """A method of an API. path: a regular expression, behind the project if it is of one."""

    id: str
    verb: str
    path: str
    rights: tuple[str, ...]


OURS, ZONE = "/compute/v1/projects/[^/]+", "/zones/[^/]+"
METHODS = (
    Method("compute.projects.get", "GET", OURS, ("compute.projects.get",)),
    Method("compute.regions.list", "GET", f"{OURS}/regions", ("compute.regions.list",)),
    Method("compute.networks.get", "GET", f"{OURS}/global/networks/[^/]+",
           ("compute.networks.get",)),
    Method("compute.machineTypes.aggregatedList", "GET", f"{OURS}/aggregated/machineTypes",
           ("compute.machineTypes.list",)),
    Method("compute.acceleratorTypes.aggregatedList", "GET", f"{OURS}/aggregated/acceleratorTypes",
           ("compute.acceleratorTypes.list",)),
    Method("compute.disks.aggregatedList", "GET", f"{OURS}/aggregated/disks",
           ("compute.disks.list",)),
    Method("compute.instances.aggregatedList", "GET", f"{OURS}/aggregated/instances",
           ("compute.instances.list",)),
    Method("compute.instances.insert", "POST", f"{OURS}{ZONE}/instances",
           ("compute.instances.create",)),
    Method("compute.instances.get", "GET", f"{OURS}{ZONE}/instances/[^/]+",
           ("compute.instances.get",)),
    Method("compute.instances.delete", "DELETE", f"{OURS}{ZONE}/instances/[^/]+",
           ("compute.instances.delete",)),
    Method("compute.instances.getSerialPortOutput", "GET",
           f"{OURS}{ZONE}/instances/[^/]+/serialPort", ("compute.instances.getSerialPortOutput",)),
    Method("compute.zoneOperations.list", "GET", f"{OURS}{ZONE}/operations",
           ("compute.zoneOperations.list",)),
    Method("compute.zoneOperations.wait", "POST", f"{OURS}{ZONE}/operations/[^/]+/wait",
           ("compute.zoneOperations.get",)),
    # Whoever has signed in may read public images.
    Method("compute.images.getFromFamily", "GET",
           "/compute/v1/projects/deeplearning-platform-release/global/images/family/[^/]+", ()),
    Method("cloudbilling.services.skus.list", "GET", f"/v1/services/{SERVICE}/skus",
           ("serviceusage.services.use",)),
)  # fmt: skip
FIELDS: dict[str, tuple[str, ...]] = {
    "name": (), "machineType": (), "scheduling": (), "guestAccelerators": (),
    "labels": ("compute.instances.setLabels",),
    "metadata": ("compute.instances.setMetadata",),
    "disks": ("compute.disks.create", "compute.disks.setLabels", "compute.images.useReadOnly"),
    "networkInterfaces": ("compute.subnetworks.use", "compute.subnetworks.useExternalIp"),
}  # fmt: skip
"""What each field of an order needs beside the order itself."""


@functools.cache
def page() -> tuple[str, ...]:
    """The permissions that the docs tell a user to grant."""
    found = re.findall(r"--permissions (\S+)\n", PAGE.read_text())
    assert len(found) == 1, f"{PAGE} must list the permissions once"
    return tuple(found[0].split(","))


def method(verb: str, path: str) -> Method | None:
    """The method that a request calls, None if it stands in no row."""
    return next((m for m in METHODS if m.verb == verb and re.fullmatch(m.path, path)), None)


def wanted(request: Request) -> set[str]:
    """The permissions that a request needs; a name that nobody has for what stands in no row."""
    called = method(request.method, request.path)
    if called is None:
        return {f"{request.method} {request.path}, which is in no row of {__name__}"}
    needed = set(called.rights)
    if called.id == "compute.instances.insert":
        body: dict[str, Any] = request.body
        for field in body:
            needed |= set(FIELDS.get(field, (f"the field {field} of no row of {__name__}",)))
    return needed
