"""The policy that docs/providers/aws.md tells a user to paste suffices, and holds nothing more."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import settings

from launch.contract.cloud import State
from launch.contract.offer import Need, Offer
from launch.providers.aws.adapter import Aws
from mimir.errors import MimirError
from tests.clouds import aws_rights
from tests.clouds.fake_aws import FakeAws, moto
from tests.launch.providers.aws.test_adapter import NAME, SLEEP, spot

ADVICE = "a right is missing, docs/providers/aws.md lists all"
MARKET, ORDER = {"offers", "doctor"}, {"doctor", "submit"}
FAILS = {
    "ec2:CreateSecurityGroup": {"submit"},
    "ec2:CreateTags": ORDER,
    "ec2:DescribeImages": MARKET,
    "ec2:DescribeInstanceTypeOfferings": MARKET,
    "ec2:DescribeInstanceTypes": MARKET,
    "ec2:DescribeInstances": {"status", "end", "reap"},
    "ec2:DescribeRegions": {"doctor"},
    "ec2:DescribeSecurityGroups": {"submit", "leftovers"},
    "ec2:DescribeSpotPriceHistory": MARKET,
    "ec2:DescribeSubnets": MARKET,
    "ec2:DescribeVolumes": {"leftovers"},
    "ec2:GetConsoleOutput": {"logs"},
    "ec2:RunInstances": ORDER,
    "ec2:TerminateInstances": {"end"},
    "iam:GetRole": {"doctor"},
    "pricing:GetProducts": MARKET,
    "servicequotas:ListServiceQuotas": MARKET,
    "ssm:GetParameter": MARKET,
}
"""Right -> the parts of Mimir's work that fail without it: one row for each of the policy's."""


def failures(service: FakeAws, cloud: Aws, policy: aws_rights.Policy) -> dict[str, list[str]]:
    """Part of the work -> what was said where it failed under this policy."""
    full, said = aws_rights.least(), {}

    def under(part: str, act: Callable[[], Iterable[str]]) -> None:
        service.policy = policy
        try:
            said[part] = list(act())
        except MimirError as error:
            said[part] = [str(error)]
        service.policy = full

    made: list[str] = []

    def submit() -> list[str]:
        made.append(cloud.create(offer, SLEEP, NAME))
        return []

    def ended() -> list[str]:
        cloud.terminate(made[0])
        found = cloud.get(made[0])
        return [] if found is not None and found.state is State.GONE else ["it is not gone"]

    def doctor() -> list[str]:
        return [each.details for each in cloud.checks() if ADVICE in each.details]

    under("offers", lambda: cloud.offers(Need(spot=True)) and [])
    under("doctor", doctor)
    offer: Offer = spot(cloud)
    under("submit", submit)
    if not made:
        submit()
    under("status", lambda: [] if cloud.get(made[0]) else ["it is not seen"])
    under("logs", lambda: cloud.logs(made[0], 1) and [])
    under("reap", lambda: [] if cloud.instances() else ["none is seen"])
    under("end", ended)
    under("leftovers", lambda: cloud.leftovers() and [])
    return {part: words for part, words in said.items() if words}


def test_the_policy_suffices(service: FakeAws, cloud: Aws) -> None:
    assert failures(service, cloud, aws_rights.least()) == {}
    asked = {each.path for each in service.requests}
    assert len(asked) > len(FAILS) - 2, "CreateTags is none, and GetCallerIdentity needs no right"


def test_each_right_of_the_policy_is_looked_at() -> None:
    assert aws_rights.actions(aws_rights.least()) == sorted(FAILS)


@pytest.mark.parametrize("action", FAILS)
def test_a_right_less_fails_with_one_sentence(action: str, service: FakeAws, cloud: Aws) -> None:
    found = failures(service, cloud, aws_rights.without(aws_rights.least(), action))
    assert set(found) == FAILS[action]
    for part, sentences in found.items():
        for words in sentences:
            assert action in words, part
            assert words.count(ADVICE) == 1, part
            assert "\n" not in words, part


# What moto's own server knows of it: actions and keys, and of resources and conditions nothing.

ASKED: dict[str, dict[str, Any]] = {
    "create_security_group": {"GroupName": "g", "Description": "d", "VpcId": "vpc-1"},
    "describe_images": {}, "describe_instance_type_offerings": {}, "describe_instance_types": {},
    "describe_instances": {}, "describe_regions": {}, "describe_security_groups": {},
    "describe_spot_price_history": {}, "describe_subnets": {}, "describe_volumes": {},
    "get_console_output": {"InstanceId": "i-0123456789abcdef0"},
    "terminate_instances": {"InstanceIds": ["i-0123456789abcdef0"]},
}  # fmt: skip
BEYOND_MOTO = {
    "ec2:RunInstances": "moto's server asks for it on *, and the policy names what it may order",
    "ec2:CreateTags": "moto's server tags what is ordered without asking for this right",
    "iam:GetRole": "asked for on *, and the policy names the one role",
    "ssm:GetParameter": "asked for on *, and the policy names public parameters",
    "pricing:GetProducts": "moto has no price list",
    "servicequotas:ListServiceQuotas": "moto has no such call",
}
"""Rights that moto's server cannot hold: only tests/clouds/aws_rights.py does."""


def test_every_right_is_tried_on_moto_or_said_why_not() -> None:
    tried = {f"ec2:{''.join(w.title() for w in name.split('_'))}" for name in ASKED}
    assert tried | set(BEYOND_MOTO) == set(FAILS)


def test_motos_own_enforcement_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server, with signatures and a user's keys: with the policy it refuses no call."""
    full = aws_rights.least()
    plain = Config(retries={"total_max_attempts": 1})
    root = boto3.client("iam", endpoint_url=moto(), region_name="us-east-1",
                        aws_access_key_id="AKIA", aws_secret_access_key="x")  # fmt: skip
    root.create_user(UserName="mimir")
    made = root.create_access_key(UserName="mimir")["AccessKey"]
    ec2 = boto3.client(
        "ec2", endpoint_url=moto(), region_name="us-east-1", config=plain,
        aws_access_key_id=made["AccessKeyId"], aws_secret_access_key=made["SecretAccessKey"],
    )  # fmt: skip

    def answered(operation: str, policy: aws_rights.Policy) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
            root.put_user_policy(
                UserName="mimir", PolicyName="least", PolicyDocument=json.dumps(policy)
            )
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
            try:
                getattr(ec2, operation)(**ASKED[operation], DryRun=True)
            except ClientError as error:
                return str(error.response["Error"]["Code"])
        return ""

    for operation in ASKED:
        action = f"ec2:{''.join(word.title() for word in operation.split('_'))}"
        assert answered(operation, full) != "AccessDenied", action
        # moto's word for all services; EC2's own is UnauthorizedOperation.
        assert answered(operation, aws_rights.without(full, action)) == "AccessDenied", action
