"""A machine as EC2 shows it, in the words that all services share."""

from collections.abc import Mapping
from typing import Any

from launch.contract.cloud import Instance, State
from launch.contract.errors import ProviderError
from launch.providers.aws import errors

STATES = {
    "pending": State.PENDING,
    "running": State.RUNNING,
    "shutting-down": State.BROKEN,
    "stopping": State.SUSPENDED,
    "stopped": State.SUSPENDED,
    "terminated": State.GONE,
}
TAKEN = {
    "Server.SpotInstanceTermination": True,
    "Server.SpotInstanceShutdown": True,
    "Server.InsufficientInstanceCapacity": True,  # accepted, and then there was no room for it
    "Client.InstanceInitiatedShutdown": False,
    "Server.InternalError": False,
}
"""Reasons for a machine's end: whether the service took it away. A person's act is neither."""


def instance(account: str, region: str, row: Mapping[str, Any]) -> Instance:
    """A row of DescribeInstances, which also tells the reason while the machine is ending.

    Raises:
        ProviderError: it has no id.
    """
    if not isinstance(row.get("InstanceId"), str) or not row["InstanceId"]:
        raise ProviderError("AWS's answer holds a machine without an id: try again later")
    said = str(row.get("State", {}).get("Name") or "")
    state = STATES.get(said, State.BROKEN)
    reason = row.get("StateReason") or {}
    code = str(reason.get("Code") or "")
    if code and state is not State.RUNNING:
        said += f", {code}: {reason.get('Message') or 'no reason'}"[: errors.MOST_WORDS]
    name = next((t.get("Value") for t in row.get("Tags") or () if t.get("Key") == "Name"), "")
    return Instance(
        f"{account}/{region}/{row['InstanceId']}", str(name or ""), state, said,
        address=str(row.get("PublicIpAddress") or ""),
        place=str(row.get("Placement", {}).get("AvailabilityZone") or ""), region=region,
        taken=None if state in (State.PENDING, State.RUNNING) else TAKEN.get(code),
    )  # fmt: skip
