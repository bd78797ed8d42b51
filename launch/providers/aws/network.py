"""The security group of our machines: one a network, and nothing may come in."""

from typing import Any

from launch.contract.errors import AuthFailed, ProviderError, RateLimited
from launch.providers.aws.account import Account, named, texts
from mimir.errors import BadInput, MimirError

GROUP = "mimir"
"""Its name in every network."""


def group(account: Account, region: str, network: str) -> str:
    """The id of the network's group, which is made if it is not there.

    Raises:
        BadInput: there is one, and it lets connections in.
        ProviderError: it can be neither found nor made.
    """
    wanted = [named([GROUP], "group-name"), named([network], "vpc-id")]
    found = _there(account, region, wanted)
    if found:
        return found
    try:
        made = account.send(
            "ec2", region, "create_security_group", GroupName=GROUP, VpcId=network,
            Description="Machines of Mimir: nothing may come in",
            TagSpecifications=[
                {"ResourceType": "security-group", "Tags": [{"Key": "Name", "Value": GROUP}]}
            ],
        )  # fmt: skip
        return texts([made], "GroupId")[0]  # which an order may not know for some seconds
    except (AuthFailed, RateLimited):
        raise
    except MimirError as error:  # somebody else was faster, or the answer was lost
        found = _there(account, region, wanted)
        if not found:
            raise ProviderError(
                f"AWS made no security group {GROUP} in {region} ({error}): nothing was "
                "ordered; try again"
            ) from error
        return found


def _there(account: Account, region: str, wanted: list[dict[str, Any]]) -> str:
    rows = account.pages(
        "ec2", region, "describe_security_groups", "SecurityGroups", Filters=wanted
    )
    if not rows:
        return ""
    id = texts(rows, "GroupId")[0]
    if rows[0].get("IpPermissions"):
        raise BadInput(
            f"the security group {GROUP} ({id}) in {region} lets connections in, and no machine of "
            "Mimir's takes any: remove its inbound rules in AWS's console (EC2, Security Groups)"
        )
    return id
