"""AWS EC2: virtual machines with one GPU, on demand or spot.

The facts that shaped this adapter, of AWS's documents and of boto3's own model; not tested on the
real service:
- a machine that shuts down terminates (InstanceInitiatedShutdownBehavior), so that a healthy one
  ends its own bill without any key; nothing at EC2 ends one that hangs;
- an order has a token, by which the service makes one machine however often it is asked;
- what was just made may not be found for some seconds;
- a terminated machine stays listed for about an hour, with the reason for its end;
- everything is of one account and one region, so a machine's id here is "account/region/i-…":
  another account would say of it that it is gone.
"""

import base64
import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from launch.contract import deadlines, regions
from launch.contract.cloud import PREFIX, ContainerSpec, Instance, Leftover, State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.contract.provider import Caps, Check
from launch.providers.adapter import Adapter
from launch.providers.asked_again import asked_again
from launch.providers.aws import bands, doctor, egress, errors, market, network, order, shown
from launch.providers.aws.account import Account, check_region, held, named, texts, whole
from launch.providers.aws.bands import Bands
from launch.providers.http import Absent
from mimir.errors import BadInput, MimirError

T = TypeVar("T")
PAGE = 500
"""Machines of a page."""
SETTLES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try with what was just made: EC2 may not know it for a while."""
SHOWN_WITHIN = 120.0
"""Seconds in which a machine that was just made must be found. Until then it may be there, and
cost, though EC2 does not know its id."""


class Aws(Adapter):
    """A Cloud. `transport` is for others: boto3 has its own."""

    name = errors.NAME
    catalogue_name = "aws"
    caps = Caps(
        paid=True, image=True, spot=True, ends_itself=True, turns_off=True,
        # By the clocks of two computers; EC2 refuses who is off by more than that.
        unknown_for=SHOWN_WITHIN + deadlines.CLOCKS_APART,
        hosts={"": "AWS's own data centres"},
        egress=egress.WORDS,
    )  # fmt: skip
    title = "AWS"
    url = ""
    url_variable = "MIMIR_AWS_URL"
    key_variable = "MIMIR_AWS_PROFILE"
    key_advice = (
        "set MIMIR_AWS_PROFILE to a profile of ~/.aws/config, or to `environment` for the keys in "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/providers/aws.md)"
    )

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        given = {} if environ is None else {"environ": environ}
        super().__init__(transport=transport, clock=clock, sleep=sleep, **given)
        self._opened: Account | None = None
        self._fresh: dict[str, float] = {}  # machines that were made here, and not yet shown
        self._left_out: tuple[str, ...] = ()

    def offers(self, need: Need) -> list[Offer]:
        """What has a price, a network, an image and a quota. One region that fails hides no other.

        Raises:
            AccountLimit, NoCapacity: there is nothing, and why.
        """
        asked = [r for r in self.regions() if regions.within(r, need.hosts.regions)]
        with ThreadPoolExecutor(1) as pool:
            # Asked for meanwhile; they matter to spot machines only.
            told = pool.submit(bands.read, self._base, self.secrets) if need.spot else None
            found = self._account.each(
                asked, lambda region: market.look(self._account, region, need)
            )
        known = told.result() if told else Bands()
        answered = [each for each in found.values() if isinstance(each, market.Region)]
        failed = {r: each for r, each in found.items() if isinstance(each, MimirError)}
        if failed and not answered:
            raise next(iter(failed.values()))
        priced = [offer for each in answered for offer in market.offers(each, need, known)]
        made = [offer for offer in priced if offer.price <= need.max_price]
        said = [f"{region}: {error}" for region, error in failed.items()]
        said += market.problems(answered, need.spot)
        if any(each.spot for each in priced):
            said += doctor.missing_role(self._account)
        self._left_out = tuple(said) if priced else ()
        if not priced and said:
            kind = AccountLimit if market.limited(answered, need.spot) else NoCapacity
            raise kind(f"AWS rents this account no such machine now: {'; '.join(said[:3])}")
        if not priced and asked and need.gpus and need.hosts.regions:
            where = ", ".join(asked[:5]) + (f" and {len(asked) - 5} more" if asked[5:] else "")
            raise NoCapacity(
                f"AWS has no machine with one {' or '.join(need.gpus)} in {where}: name another "
                "--gpu or --region"
            )
        return made

    def left_out(self) -> Sequence[str]:
        """As Partial.left_out."""
        return self._left_out

    def regions(self) -> list[str]:
        return self._account.regions()

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        """As Cloud.create. An order without an answer is asked for again, by the same token: EC2
        gives what it made before, and makes nothing twice."""
        region = check_region(str(offer.key.get("region") or ""))
        account = self._account.number  # asked before there is a machine whose id needs it
        vpc = str(offer.key.get("network") or "")
        group = network.group(self._account, region, vpc)
        wanted = order.order(offer, boot, name, group)

        def send() -> str:
            return _made_by(self._account.send("ec2", region, "run_instances", **wanted), name)

        def settled() -> str:
            for pause in SETTLES:  # what the order names may not be known yet
                with contextlib.suppress(errors.Unseen):
                    return send()
                self._sleep(pause)
            return send()

        id = f"{account}/{region}/{asked_again(settled, self._sleep)}"
        self._fresh[id] = self._clock()
        return id

    def get(self, id: str) -> Instance | None:
        """One that was just made may be unknown for some seconds, so None takes several looks.

        Raises:
            ProviderError: it was made here, was never seen, and may yet come.
        """
        region, number = self._parts(id)
        for pause in (0.0, *SETTLES):
            self._sleep(pause)
            try:
                rows = self._rows(region, InstanceIds=[number])
            except Absent:
                continue
            for row in rows:
                if row.get("InstanceId") == number:
                    self._fresh.pop(id, None)
                    return self._with_volumes(shown.instance(self._account.number, region, row))
        if self._clock() - self._fresh.get(id, float("-inf")) < SHOWN_WITHIN:
            raise ProviderError(f"EC2 does not know machine {id} yet, which it has just made")
        return None

    def instances(self) -> list[Instance]:
        """Of all regions of the account, or an error: those that are gone are left out.

        Also of regions that $MIMIR_AWS_REGIONS does not name: it may have named them when a machine
        was ordered. One that these keys may not ask is left out if it is not named: nothing could
        be ordered there either.
        """
        filters = [
            named([f"{PREFIX}*"], "tag:Name"),
            named(["pending", "running", "shutting-down", "stopping", "stopped"],
                  "instance-state-name"),
        ]  # fmt: skip

        account = self._account.number

        def listed(region: str) -> list[Instance]:
            rows = self._rows(region, Filters=filters, MaxResults=PAGE)
            return [shown.instance(account, region, row) for row in rows]

        found = whole(self._everywhere(listed))
        return [one for each in found for one in each if one.name.startswith(PREFIX)]

    def terminate(self, id: str) -> None:
        region, number = self._parts(id)
        with contextlib.suppress(Absent):
            self._account.send("ec2", region, "terminate_instances", InstanceIds=[number])

    def logs(self, id: str, lines: int) -> list[str]:
        """The end of the machine's console, which has the last lines of its container too."""
        region, number = self._parts(id)
        try:
            answer = self._account.read("ec2", region, "get_console_output", InstanceId=number)
        except Absent:
            return []
        text = str(answer.get("Output") or "")  # boto3 has decoded it, if it was base64
        with contextlib.suppress(ValueError):
            text = base64.b64decode(text, validate=True).decode(errors="replace") or text
        return text.splitlines()[-lines:] if lines > 0 else []

    def ending(self) -> Mapping[str, Any] | None:
        """None: a machine ends itself by turning itself off (launch/payload/cloud_init.py)."""
        return None

    def leftovers(self) -> list[Leftover]:
        """Our security groups, and disks of ours that no machine has any more."""
        found: list[Leftover] = []
        for each in whole(self._everywhere(self._left_in)):
            found += each
        return found

    def closed(self) -> Mapping[str, str]:
        """As Closes.closed: regions that the account has not opted in to."""
        return doctor.closed_regions(self._account)

    def _everywhere(self, ask: Callable[[str], T]) -> dict[str, T | MimirError]:
        every, own = self._account.every_region(), set(self.regions())
        found = self._account.each(every, ask)
        return {r: e for r, e in found.items() if r in own or not isinstance(e, AuthFailed)}

    def _left_in(self, region: str) -> list[Leftover]:
        groups = self._account.pages(
            "ec2", region, "describe_security_groups", "SecurityGroups",
            Filters=[named([network.GROUP], "group-name")],
        )  # fmt: skip
        disks = self._volumes(region, named([f"{PREFIX}*"], "tag:Name"),
                              named(["available", "error"], "status"))  # fmt: skip
        found = []
        for word, noun, names in (
            ("security-group --group-id", "security group", texts(groups, "GroupId")),
            ("volume --volume-id", "disk", disks),
        ):
            found += [
                Leftover(noun, name, f"aws ec2 delete-{word} {name} --region {region}")
                for name in names
            ]
        return found

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        """None: bills by machine need Cost Explorer's resource data, which accounts must switch on
        and which comes a day late."""
        return None

    def checks(self) -> list[Check]:
        """Keys, rights, networks, quotas, as far as reading and dry runs tell."""
        return doctor.checks(self._account, self.offers, self.left_out)

    @property
    def _account(self) -> Account:
        if self._opened is None:
            profile = self.key()
            if not profile:
                raise AuthFailed(f"there is no key for AWS: {self.key_advice}")
            self._opened = Account(profile, self._environ, self._base, self.secrets, self._sleep)
        return self._opened

    def _rows(self, region: str, **params: Any) -> list[dict[str, Any]]:
        rows = self._account.pages("ec2", region, "describe_instances", "Reservations", **params)
        return [each for row in rows for each in held(row, "Instances")]

    def _with_volumes(self, found: Instance) -> Instance:
        """A terminated machine is gone with its disk, which costs as long as it is there."""
        if found.state is not State.GONE or not found.name.startswith(PREFIX):
            return found
        try:
            left = self._volumes(found.region, named([found.name], "tag:Name"))
        except AuthFailed:
            return replace(found, said=f"{found.said}; whether its disk is gone may not be seen")
        if not left:
            return found
        said = f"{found.said}; its disk {left[0]} is still there"
        return replace(found, state=State.BROKEN, said=said)

    def _volumes(self, region: str, *filters: Mapping[str, Any]) -> list[str]:
        rows = self._account.pages(
            "ec2", region, "describe_volumes", "Volumes", Filters=list(filters)
        )
        return texts(rows, "VolumeId")

    def _parts(self, id: str) -> tuple[str, str]:
        """(region, id there) of a machine's id. AuthFailed if it is of another account."""
        account, _, rest = id.partition("/")
        region, _, number = rest.partition("/")
        if not re.fullmatch(r"i-[0-9a-f]{1,40}", number):
            raise BadInput(f"{id!r} is not the id of a machine at AWS: it is ACCOUNT/REGION/i-…")
        if account != self._account.number:
            raise AuthFailed(
                f"machine {id!r} is not in AWS account {self._account.number}, so nothing is known "
                "of it: look at $MIMIR_AWS_PROFILE"
            )
        return check_region(region), number


def _made_by(answer: Mapping[str, Any], name: str) -> str:
    """EC2's id of the machine that an order made."""
    rows = answer.get("Instances")
    number = str(rows[0].get("InstanceId") or "") if isinstance(rows, list) and rows else ""
    if not number:
        raise UnknownOutcome(f"AWS accepted the order of {name} without naming a machine")
    return number
