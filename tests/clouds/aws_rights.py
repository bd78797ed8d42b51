"""What an AWS account's policy allows, for the fake: docs/providers/aws.md's own policy by default.

moto's IAM engine says whether a statement is about an action and a resource. Around it stands what
moto leaves out: the resources of a request (moto's server asks for "*"), an order's right on each
of them, the tagging inside of an order, and conditions (moto takes StringLike for fulfilled). By
AWS's Service Authorization Reference, as far as Mimir's requests go; AWS itself was not asked.
"""

import copy
import fnmatch
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from moto.iam.access_control import IAMPolicy, PermissionResult

from tests import ROOT

Policy = dict[str, Any]
PAGE = ROOT / "docs" / "providers" / "aws.md"
NEVER_REFUSED = ("sts:GetCallerIdentity",)
"""AWS answers it whatever a policy says."""
TAG = re.compile(r"TagSpecification\.(\d+)\.Tag\.(\d+)\.Key")


class Demand(NamedTuple):
    """One thing that must be allowed. context: condition keys of the request, by name."""

    action: str
    resource: str
    context: Mapping[str, str]


@functools.cache
def page() -> str:
    """The policy that the docs tell a user to paste."""
    found = re.findall(r"```json\n(.+?)```", PAGE.read_text(), re.S)
    assert len(found) == 1, f"{PAGE} must hold exactly one policy"
    return str(found[0])


def least() -> Policy:
    """A copy of the page's policy."""
    found: Policy = json.loads(page())
    return found


def actions(policy: Policy) -> list[str]:
    """All actions that it allows, each once."""
    named = (each["Action"] for each in policy["Statement"])
    return sorted({a for each in named for a in ([each] if isinstance(each, str) else each)})


def without(policy: Policy, action: str) -> Policy:
    """The policy, less this action."""
    made = copy.deepcopy(policy)
    for each in made["Statement"]:
        named = each["Action"] if isinstance(each["Action"], list) else [each["Action"]]
        each["Action"] = [word for word in named if word != action]
    made["Statement"] = [each for each in made["Statement"] if each["Action"]]
    return made


def refused(policy: Policy, demands: Iterator[Demand]) -> Demand | None:
    """The first demand that the policy does not allow."""
    return next((each for each in demands if not allowed(policy, each)), None)


def allowed(policy: Policy, demand: Demand) -> bool:
    """Whether the policy allows it. Statements whose conditions do not hold do not count."""
    if demand.action in NEVER_REFUSED:
        return True
    held = [each for each in policy["Statement"] if _holds(each.get("Condition", {}), demand)]
    bare = [{k: v for k, v in each.items() if k != "Condition"} for each in held]
    found = IAMPolicy(json.dumps({**policy, "Statement": bare}))
    return found.is_action_permitted(demand.action, demand.resource) is PermissionResult.PERMITTED


def demands(
    service: str,
    action: str,
    region: str,
    account: str,
    words: Mapping[str, Any],
    tags: Mapping[str, str],
) -> Iterator[Demand]:
    """What a request needs. words: its parameters. tags: of the machine that it is about."""
    name, here = f"{service}:{action}", f"arn:aws:ec2:{region}:{account}"
    if name == "ec2:RunInstances":
        yield from _order(region, here, words)
    elif name == "ec2:TerminateInstances":
        context = {f"ec2:ResourceTag/{key}": value for key, value in tags.items()}
        yield Demand(name, f"{here}:instance/{words['InstanceId.1']}", context)
    elif name == "ec2:CreateSecurityGroup":
        yield Demand(name, f"{here}:security-group/*", {})
        yield Demand(name, f"{here}:vpc/{words['VpcId']}", {})
        tagging = {"ec2:CreateAction": "CreateSecurityGroup"}
        yield Demand("ec2:CreateTags", f"{here}:security-group/*", tagging)
    elif name == "ssm:GetParameter":
        owner = "" if words["Name"].startswith("/aws/service/") else account
        yield Demand(name, f"arn:aws:ssm:{region}:{owner}:parameter{words['Name']}", {})
    elif name == "iam:GetRole":
        for path in ("", "aws-service-role/spot.amazonaws.com/"):  # it has one once it is there
            yield Demand(name, f"arn:aws:iam::{account}:role/{path}{words['RoleName']}", {})
    else:
        yield Demand(name, "*", {})


def _order(region: str, here: str, words: Mapping[str, Any]) -> Iterator[Demand]:
    """An order needs its right on all that it makes or uses, and the right to tag what it makes."""
    asked: dict[str, dict[str, str]] = {}
    for key, value in words.items():
        found = TAG.fullmatch(key)
        if found:
            kind = words[f"TagSpecification.{found[1]}.ResourceType"]
            tag = words[key.removesuffix("Key") + "Value"]
            asked.setdefault(kind, {})[f"aws:RequestTag/{value}"] = tag
    made = ["instance", "volume", "network-interface"]
    if "InstanceMarketOptions.MarketType" in words:
        made.append("spot-instances-request")
    yield Demand("ec2:RunInstances", f"arn:aws:ec2:{region}::image/{words['ImageId']}", {})
    for kind, key in (("subnet", "SubnetId"), ("security-group", "SecurityGroupId.1")):
        id = words.get(f"NetworkInterface.1.{key}", "sg-default")
        yield Demand("ec2:RunInstances", f"{here}:{kind}/{id}", {})
    for kind in made:
        yield Demand("ec2:RunInstances", f"{here}:{kind}/*", asked.get(kind, {}))
    for kind, context in asked.items():
        tagging = {**context, "ec2:CreateAction": "RunInstances"}
        yield Demand("ec2:CreateTags", f"{here}:{kind}/*", tagging)


def _holds(condition: Mapping[str, Mapping[str, str | list[str]]], demand: Demand) -> bool:
    for operator, each in condition.items():
        assert operator in ("StringLike", "StringEquals"), f"{operator} is not known here"
        for key, wanted in each.items():
            value = demand.context.get(key)
            same = fnmatch.fnmatchcase if operator == "StringLike" else str.__eq__
            each_of = [wanted] if isinstance(wanted, str) else wanted  # any of them will do
            if value is None or not any(same(value, one) for one in each_of):
                return False
    return True
