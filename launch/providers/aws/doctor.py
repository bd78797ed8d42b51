"""What `doctor` says of an AWS account: keys, rights, networks, quotas, the role for spot."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from launch.contract.cloud import ContainerSpec
from launch.contract.offer import Need, Offer
from launch.contract.provider import Check
from launch.providers.aws import errors, order
from launch.providers.aws.account import REGIONS, Account, held, texts
from mimir.errors import MimirError

NOTHING = ContainerSpec("doctor", ("true",), {})
DRY = "mimir-doctor-a0001"
"""The name in an order that is only tried."""
NO_ROLE = (
    "the account has never rented spot machines; if its first order is refused for a role: "
    f"{errors.SPOT_ROLE}"
)
SHOWN = 4
"""Problems of regions that are told one by one."""


def checks(
    account: Account, offers: Callable[[Need], list[Offer]], left_out: Callable[[], Sequence[str]]
) -> list[Check]:
    """Nothing is rented: an order is tried with DryRun, which AWS answers by rights alone.

    offers, left_out: as the adapter's.
    """
    found: list[Check] = []
    try:
        me = account.read("sts", account.home, "get_caller_identity")
        found.append(Check("key", "ok", f"account {me.get('Account')}, {me.get('Arn')}"))
    except MimirError as error:
        return [Check("key", "fail", str(error))]
    return [
        *found,
        *_told("regions", lambda: _regions(account)),
        *_told("machines", lambda: _offers(account, offers, left_out)),
        *_told("spot role", lambda: _spot_role(account)),
        Check(
            "ends machines", "warn",
            "a machine turns itself off at its end or deadline, which ends its bill; one that "
            "hangs is ended by no one but a computer of yours: keep `python -m launch watch` "
            "running, or `watch --install`",
        ),
    ]  # fmt: skip


def _told(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    try:
        return list(look())
    except MimirError as error:
        return [Check(name, "fail", str(error))]


def _regions(account: Account) -> Iterator[Check]:
    used, closed = account.regions(), closed_regions(account)
    first = min(closed, default="")
    more = (
        f"; {len(closed)} more must be opted in to first, such as {first}: {closed[first]}"
        if closed
        else ""
    )
    yield Check("regions", "ok", f"{len(used)} are used (${REGIONS} names others){more}")


def closed_regions(account: Account) -> dict[str, str]:
    """Regions that the account has not opted in to, with the command that does."""
    answer = account.read("ec2", account.home, "describe_regions", AllRegions=True)
    shut = [row for row in held(answer, "Regions") if row.get("OptInStatus") == "not-opted-in"]
    command = "aws account enable-region --region-name"
    return {name: f"{command} {name}" for name in texts(shut, "RegionName")}


def missing_role(account: Account) -> list[str]:
    """That the account has not the role which spot machines need; [] if it has, or if that cannot
    be seen: an order tells."""
    with contextlib.suppress(MimirError):
        if not _has_spot_role(account):
            return [NO_ROLE]
    return []


def _offers(
    account: Account, ask: Callable[[Need], list[Offer]], left_out: Callable[[], Sequence[str]]
) -> Iterator[Check]:
    offers = ask(Need(spot=True))
    problems = left_out()
    spot = [each for each in offers if each.spot]
    yield Check("machines", "ok" if offers else "fail",
                f"{len(offers)} offers with one GPU, {len(spot)} of them spot")  # fmt: skip
    for each in problems[:SHOWN]:
        yield Check("region", "warn", each)
    if len(problems) > SHOWN:
        yield Check("region", "warn", f"and {len(problems) - SHOWN} more such")
    for what, one in (("spot", spot[:1]), ("on demand", [o for o in offers if not o.spot][:1])):
        if one:
            yield _may_order(account, what, order.order(one[0], NOTHING, DRY, ""), one[0].region)


def _may_order(account: Account, what: str, words: dict[str, Any], region: str) -> Check:
    network = words["NetworkInterfaces"][0]
    del network["Groups"]  # there may be none yet, and a dry run makes none
    name = f"may order {what}"
    try:
        account.send("ec2", region, "run_instances", **words, DryRun=True)
    except MimirError as error:
        if "DryRunOperation" in str(error):
            return Check(name, "ok", f"tried in {region} with a dry run")
        return Check(name, "fail", str(error))
    return Check(name, "warn", "AWS answered a dry run as if it had ordered: look at its console")


def _spot_role(account: Account) -> Iterator[Check]:
    try:
        has = _has_spot_role(account)
    except MimirError as error:
        yield Check("spot role", "warn", f"not known whether there is one: {error}")
        return
    told = "the account has the role that spot machines need"
    yield Check("spot role", "ok", told) if has else Check("spot role", "warn", NO_ROLE)


def _has_spot_role(account: Account) -> bool:
    """Whether the account has the role that spot machines need; MimirError if that is not told."""
    try:
        account.read("iam", "us-east-1", "get_role", RoleName="AWSServiceRoleForEC2Spot")
    except MimirError as error:
        if "NoSuchEntity" in str(error):
            return False
        raise
    return True
