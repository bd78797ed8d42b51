"""A fake of AWS: moto's EC2 behind a proxy that adds what moto lacks, and machines that are real.

moto answers most of EC2 by botocore's own model. Here are added: tokens that make an order one
machine (within its zone), refusals with the right status, lost answers, a lag after create, spot
prices, prices on demand, quotas, the Deep Learning image, the checks of an order that moto leaves
out, an end by shutting down, evictions with their notices, the machines' metadata service, and
rights: the key has those of docs/providers/aws.md, so that whatever runs here runs on these.
A fake that keeps to the model is no proof that the service does.
"""

import base64
import dataclasses
import gzip
import json
import logging
import random
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from typing import Any

from moto.server import ThreadedMotoServer

from launch.providers.aws import bands
from tests.clouds import aws_rights
from tests.clouds.server import Exchange
from tests.clouds.service import COMMON_FAULTS, Answer, Rental, Request, Service
from tests.clouds.virtual_machine import VirtualMachine

IMAGE = "ami-0d1ea0de1ea0de1ea"
MOST_USER_DATA = 16_384
REGIONS = {
    "us-east-1": "opt-in-not-required", "us-west-2": "opt-in-not-required",
    "eu-west-1": "opt-in-not-required", "ap-east-1": "not-opted-in",
}  # fmt: skip
XML = "text/xml"
FAULTS = (
    *COMMON_FAULTS,
    ("code", "refused by the EC2 error `code`, with its status"),
    ("lag", "RunInstances: the machine is not found for `looks` looks"),
    ("slow_group", "CreateSecurityGroup: `orders` orders do not know the group"),
    ("stuck", "RunInstances: the machine boots, and nothing runs on it"),
    ("odd_status", "RunInstances: the machine's state is a word that no document has"),
    ("no_gpu", "RunInstances: nvidia-smi fails on the machine"),
    ("kept", "TerminateInstances: it is answered, and nothing is ended"),
    ("disk_left", "TerminateInstances: the machine ends and its disk stays"),
    ("null_list", "success, and the answer holds no list"),
    ("nameless_row", "DescribeInstances: success, and a machine in it has no id"),
    ("nameless", "RunInstances: it is done, and the answer names no machine"),
)
CODES = {
    "InsufficientInstanceCapacity": 500, "UnfulfillableCapacity": 500, "InternalError": 500,
    "RequestLimitExceeded": 503, "UnauthorizedOperation": 403, "AuthFailure": 401,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": 403, "OptInRequired": 401,
}  # fmt: skip
"""Statuses of refusals; 400 for all others."""
ON_DEMAND = {"g4dn.xlarge": 0.526, "g5.xlarge": 1.006, "g6.xlarge": 0.805, "g6.2xlarge": 0.978}
JUMP = 2.0
"""By how much a price that jumps is higher, for an hour."""
SPOT = 0.4
"""A spot price as a share of that on demand; it differs a little between zones."""
QUOTAS = {
    ("L-3819A6DF", "All G and VT Spot Instance Requests"): 64.0,
    ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"): 0.0,
    ("L-C4BD4855", "All P5 Spot Instance Requests"): 0.0,
    ("L-DB2E81BA", "Running On-Demand G and VT instances"): 64.0,
    ("L-417A185B", "Running On-Demand P instances"): 0.0,
    ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"): 5.0,
}

_MOTO: list[str] = []
_GATE = threading.Lock()


def moto() -> str:
    """moto's server: one for this process, whose accounts know nothing of each other."""
    with _GATE:
        if not _MOTO:
            logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            _MOTO.append("http://{}:{}".format(*server.get_host_and_port()))
        return _MOTO[0]


def advisor(by: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The spot advisor's file, in the form of the public one. by: region -> type -> band."""
    labels = (("<5%", 5), ("5-10%", 11), ("10-15%", 16), ("15-20%", 22), (">20%", 100))
    return {
        "ranges": [
            {"index": n, "label": label, "dots": n, "max": most}
            for n, (label, most) in enumerate(labels)
        ],
        "instance_types": {},
        "spot_advisor": {
            region: {
                "Linux": {name: {"s": 60, "r": band} for name, band in types.items()},
                "Windows": {name: {"s": 20, "r": 4} for name in types},
            }
            for region, types in by.items()
        },
    }


class FakeAws(Service):
    """The service: an account of its own in each.

    zones, prices: what the market is made of. quotas: (code, name) -> vCPUs, in all regions.
    jumps: zone's letter -> how often its spot prices have doubled for an hour in the last days.
    spot_role: whether the account has the role that spot machines need. networks: whether its
    regions have a default network. closing: looks for which a machine that was taken away is shown
    as shutting down. parameter: whether the image's public parameter is there. tokens: what was
    ordered by each, with its answer. identity: id of the key. policy: what the key may do.
    advisor: the public file of the spot advisor, which takes no key (None: it is not there), with
    its advisor_headers; asked: how often.
    """

    FAULTS = FAULTS

    def __init__(self, token: str = "account-key") -> None:
        self.prices = dict(ON_DEMAND)
        self.quotas = dict(QUOTAS)
        self.jumps: dict[str, int] = {}
        self.spot_role = self.networks = self.parameter = True
        self.closing = 0
        self._unknown_groups: dict[str, int] = {}
        self.identity = "AKIATESTTESTTEST"
        self.policy = aws_rights.least()
        self.tokens: dict[tuple[str, str], tuple[Any, Answer]] = {}
        self.account = f"{random.randrange(10**11, 10**12)}"
        self.vms: dict[str, VirtualMachine] = {}
        self.wrong: list[str] = []
        self.ends_in = 0.0
        self.advisor_headers = {"Last-Modified": "Fri, 27 Nov 2026 08:00:00 GMT"}
        self.advisor: Any = advisor({"us-east-1": {"g4dn.xlarge": 1, "g6.xlarge": 2}})
        self.asked = 0
        self._hidden: dict[str, int] = {}
        self._here = threading.local()
        super().__init__(token)

    def environ(self, regions: str = "us-east-1") -> dict[str, str]:
        """What makes an adapter talk to it."""
        return {
            "MIMIR_AWS_PROFILE": "environment", "MIMIR_AWS_URL": self.url,
            "MIMIR_AWS_REGIONS": regions, "AWS_ACCESS_KEY_ID": self.identity,
            "AWS_SECRET_ACCESS_KEY": self.token,
        }  # fmt: skip

    def complaints(self) -> list[str]:
        """What was wrong with orders and user data."""
        return self.wrong + [each for vm in self.vms.values() for each in vm.complaints]

    def alive(self) -> list[Rental]:
        with self.lock:
            self._settle()
            return super().alive()

    def say(self, id: str, word: str) -> None:
        """From now on the machine's state is shown as this word."""
        with self.lock:
            self.rental(id).shown["said"] = word

    def notice(self, id: str, seconds: float = 120.0, kind: str = "action") -> None:
        """The machine's metadata service tells that it will be taken away ("rebalance": may be)."""
        with self.lock:
            self.rental(id).shown[kind] = self.clock.time() + seconds

    def evict(self, id: str) -> None:
        """AWS takes the machine away, now."""
        with self.lock:
            self.rental(id).shown["reason"] = "Server.SpotInstanceTermination"
            self.rental(id).shown["closing"] = self.closing
            self._end(id)

    def end(self, id: str) -> None:
        with self.lock:
            self._end(id)

    def kill(self, id: str) -> None:
        """The host dies: EC2 ends the machine."""
        with self.lock:
            self.rental(id).shown["reason"] = "Server.InternalError"
            self._end(id)

    def answer(self, request: Request) -> Answer:
        """Requests are told apart by path: /ec2/us-east-1/RunInstances."""
        if request.path.startswith("/metadata/"):
            return self._metadata(request)
        if request.path == bands.PATH:
            self.asked += 1
            if request.headers.get("accept-encoding") != "identity":
                return Answer(406, None)
            return Answer(200 if self.advisor else 403, self.advisor, headers=self.advisor_headers)
        return super().answer(self._named(request))

    def _named(self, request: Request) -> Request:
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/",
                          request.headers.get("authorization", ""))  # fmt: skip
        region, service = (scope[2], scope[3]) if scope else ("", "")
        target = request.headers.get("x-amz-target", "")
        words: dict[str, Any] = {}
        if target:
            words = request.body if isinstance(request.body, dict) else {}
            action = target.rpartition(".")[2]
        else:
            words = dict(urllib.parse.parse_qsl(str(request.body or ""), keep_blank_values=True))
            action = words.get("Action", "")
        self._here.now = service, target != "", request
        return dataclasses.replace(
            request, path=f"/{service}/{region}/{action}", query={k: str(v) for k, v in
            words.items()}, body=words,
        )  # fmt: skip

    def broken(self) -> Answer:
        return self._refused(500, "InternalError", "An internal error has occurred")

    def refusal(self, status: int, text: str) -> Answer:
        code = "UnauthorizedOperation" if status in (401, 403) else "InvalidParameterValue"
        return self._refused(status, code, text)

    def _refused(self, status: int, code: str, text: str) -> Answer:
        """As the service that is asked writes it: EC2, others with XML, others with JSON."""
        service, as_json, _ = self._here.now
        if as_json:
            return Answer(status, {"__type": code, "message": text})
        root = ET.Element("Response" if service == "ec2" else "ErrorResponse")
        inner = ET.SubElement(root, "Errors") if service == "ec2" else root
        error = ET.SubElement(inner, "Error")
        ET.SubElement(error, "Code").text = code
        ET.SubElement(error, "Message").text = text
        ET.SubElement(root, "RequestID").text = "r-1"
        return Answer(status, ET.tostring(root, encoding="unicode"), content_type=XML)

    def handle(self, request: Request) -> Answer:
        self._settle()
        scope = request.headers.get("authorization", "")
        if f"Credential={self.identity}/" not in scope:
            return self._refused(401, "AuthFailure", "AWS was not able to validate the key")
        lacking = self._lacking(request)
        if lacking is not None:
            return self._denied(lacking)
        armed = self.take("code", request)
        if armed is not None:
            code = armed["code"]
            return self._refused(CODES.get(code, 400), code, armed.get("text", "for a reason"))
        if self.take("null_list", request) is not None:
            return Answer(200, "<Response><requestId>r-1</requestId></Response>", content_type=XML)
        _, _, region, action = request.path.split("/")
        own = getattr(self, f"_{action}", None)
        return own(request, region) if own else self._pass_on()

    def _lacking(self, request: Request) -> aws_rights.Demand | None:
        """What the request needs and the policy does not allow."""
        _, service, region, action = request.path.split("/")
        id = f"{self.account}/{region}/{request.query.get('InstanceId.1', '')}"
        tags: dict[str, str] = {}
        for rental in self.ledger:
            if rental.id == id:
                tags = rental.shown["tags"]
        wanted = aws_rights.demands(service, action, region, self.account, request.query, tags)
        return aws_rights.refused(self.policy, wanted)

    def _denied(self, lacking: aws_rights.Demand) -> Answer:
        """As each service words it: EC2 has its own code, XML has "AccessDenied"."""
        service, as_json, _ = self._here.now
        code = "AccessDeniedException" if as_json else "AccessDenied"
        text = (
            f"User: arn:aws:iam::{self.account}:user/mimir is not authorized to perform: "
            f"{lacking.action} on resource: {lacking.resource} because no identity-based policy "
            f"allows the {lacking.action} action"
        )
        if service == "ec2":
            code = "UnauthorizedOperation"
            text = f"You are not authorized to perform this operation. {text}"
        return self._refused(400 if as_json else 403, code, text)

    # What moto has not

    def _DescribeRegions(self, request: Request, region: str) -> Answer:
        q = request.query
        asked = [v for k, v in q.items() if re.fullmatch(r"Filter\.1\.Value\.\d+", k)]
        every = q.get("AllRegions") == "true"
        items = "".join(
            f"<item><regionName>{name}</regionName><optInStatus>{state}</optInStatus></item>"
            for name, state in REGIONS.items()
            if (every or state != "not-opted-in") and (not asked or state in asked)
        )
        return Answer(200, f"<R><regionInfo>{items}</regionInfo></R>", content_type=XML)

    def _CreateSecurityGroup(self, request: Request, region: str) -> Answer:
        given = self._pass_on()
        found = re.search(r"<groupId>(sg-[0-9a-f]+)</groupId>", str(given.body))
        slow = self.take("slow_group", request)
        if found and slow:
            self._unknown_groups[found[1]] = int(slow["orders"])
        tags = [v for k, v in request.query.items() if k.startswith("TagSpecification.")]
        self.wrong += [] if "security-group" in tags else ["a security group without tags"]
        return given

    def _GetProducts(self, request: Request, region: str) -> Answer:
        wanted = {each["Field"]: each["Value"] for each in request.body["Filters"]}
        if wanted.get("productFamily") == "Storage":
            rows = [_listed({"volumeApiName": "gp3"}, "GB-Mo", 0.08)]
        else:
            rows = [_listed({"instanceType": k}, "Hrs", v) for k, v in self.prices.items()]
        return Answer(200, {"FormatVersion": "aws_v1", "PriceList": [json.dumps(r) for r in rows]})

    def _ListServiceQuotas(self, request: Request, region: str) -> Answer:
        rows = [
            {"ServiceCode": "ec2", "QuotaCode": code, "QuotaName": name, "Value": value}
            for (code, name), value in self.quotas.items()
        ]
        return Answer(200, {"Quotas": rows})

    def _GetParameter(self, request: Request, region: str) -> Answer:
        if not self.parameter or "/deeplearning/ami/x86_64/" not in request.body.get("Name", ""):
            return self._refused(400, "ParameterNotFound", "no such parameter")
        return Answer(200, {"Parameter": {"Name": request.body["Name"], "Value": IMAGE}})

    def _GetRole(self, request: Request, region: str) -> Answer:
        if not self.spot_role:
            return self._refused(404, "NoSuchEntity", "The role cannot be found.")
        inner = "<GetRoleResult><Role><RoleName>AWSServiceRoleForEC2Spot</RoleName></Role>"
        text = f"<GetRoleResponse>{inner}</GetRoleResult></GetRoleResponse>"
        return Answer(200, text, content_type=XML)

    def _DescribeImages(self, request: Request, region: str) -> Answer:
        text = (
            f"<DescribeImagesResponse><imagesSet><item><imageId>{IMAGE}</imageId>"
            "<rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping><item>"
            "<deviceName>/dev/sda1</deviceName><ebs><volumeSize>50</volumeSize></ebs></item>"
            "</blockDeviceMapping></item></imagesSet></DescribeImagesResponse>"
        )
        return Answer(200, text, content_type=XML)

    def _DescribeSubnets(self, request: Request, region: str) -> Answer:
        if self.networks:
            return self._pass_on()
        return Answer(200, "<R><subnetSet/></R>", content_type=XML)

    def _DescribeSpotPriceHistory(self, request: Request, region: str) -> Answer:
        kinds = [v for k, v in request.query.items() if k.startswith("InstanceType.")]
        items = "".join(
            f"<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX"
            f"</productDescription><spotPrice>{self.spot_price(kind, zone) * times:.6f}</spotPrice>"
            f"<timestamp>2026-11-27T{hour:02}:00:00.000Z</timestamp><availabilityZone>{region}"
            f"{zone}</availabilityZone></item>"
            for kind in kinds for zone in "abcdef" if kind in self.prices
            # The newest first, as EC2 has it.
            for hour, times in [*((2 * n, n % 2 * (JUMP - 1) + 1)
                                  for n in range(2 * self.jumps.get(zone, 0), 0, -1)), (0, 1.0)]
        )  # fmt: skip
        text = f"<R><spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken/></R>"
        return Answer(200, text, content_type=XML)

    def spot_price(self, kind: str, zone: str) -> float:
        """$/h now, of a zone by its letter."""
        return self.prices.get(kind, 0.0) * (SPOT + 0.01 * "abcdef".index(zone))

    # What moto does differently

    def _RunInstances(self, request: Request, region: str) -> Answer:
        q = request.query
        if q.get("DryRun") == "true":
            return self._refused(412, "DryRunOperation", "Request would have succeeded.")
        key = (q.get("ClientToken", ""), q.get("NetworkInterface.1.SubnetId", ""))
        if key in self.tokens:
            asked, given = self.tokens[key]
            if asked != q:
                return self._refused(
                    400, "IdempotentParameterMismatch", "Arguments are inconsistent"
                )
            return given
        self.wrong += [f"order: {each}" for each in _wrong(q)]
        group = q.get("NetworkInterface.1.SecurityGroupId.1", "")
        if self._unknown_groups.get(group, 0) > 0:
            self._unknown_groups[group] -= 1
            return self._refused(400, "InvalidGroup.NotFound", f"The group '{group}' is not there")
        kind = q["InstanceType"]
        if kind not in self.prices:
            return self._refused(400, "Unsupported", f"{kind} is not supported here")
        spot = q.get("InstanceMarketOptions.MarketType") == "spot"
        given = self._pass_on()
        if given.status != 200:
            return given
        id = re.search(r"<instanceId>(i-[0-9a-f]+)</instanceId>", given.body)
        zone = re.search(r"<availabilityZone>(.+?)</availabilityZone>", given.body)
        assert id is not None
        assert zone is not None
        price = self.spot_price(kind, zone[1][-1]) if spot else self.prices[kind]
        most = q.get("InstanceMarketOptions.SpotOptions.MaxPrice")
        if spot and most and float(most) < price:
            self._here_end(id[1], region)
            return self._refused(400, "SpotMaxPriceTooLow", "Your Spot request price is too low.")
        self._rent(request, f"{self.account}/{region}/{id[1]}", price, spot)
        lag = self.take("lag", request)
        self._hidden[id[1]] = int(lag["looks"]) if lag else 0
        if self.take("nameless", request) is not None:
            given = Answer(200, "<R><instancesSet/></R>", content_type=XML)
        self.tokens[key] = (dict(q), given)
        return given

    def _rent(self, request: Request, id: str, price: float, spot: bool) -> None:
        q, now = request.query, self.clock.time()
        tags = {
            v: q[k.replace(".Key", ".Value")]
            for k, v in q.items()
            if re.fullmatch(r"TagSpecification\.1\.Tag\.\d+\.Key", k)
        }
        rental = Rental(id, tags["Name"], price, now, spot, shown={"tags": tags})
        rental.bill(price, now)
        self.ledger.append(rental)
        if self.take("odd_status", request) is not None:
            rental.shown["said"] = "hibernating"
        address = f"127.0.1.{len(self.ledger) % 250 + 1}"
        text = gzip.decompress(base64.b64decode(q["UserData"])).decode()
        vm = VirtualMachine(
            text, self._folder / id.replace("/", "-"),
            lambda argv, env: self.runs(argv, env), (), address, 0,
            settings={"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.url}/metadata/{id}"},
        )  # fmt: skip
        vm.has_gpu = self.take("no_gpu", request) is None
        self.vms[id] = vm
        self.machines[id] = vm  # type: ignore[assignment]
        if self.take("stuck", request) is None and "said" not in rental.shown:
            vm.start()

    def _TerminateInstances(self, request: Request, region: str) -> Answer:
        number = request.query["InstanceId.1"]
        if self._is_hidden(number):
            return self._unknown(number)
        if self.take("kept", request) is not None:
            return Answer(200, "<R><instancesSet/></R>", content_type=XML)
        known = {rental.id for rental in self.ledger}
        if f"{self.account}/{region}/{number}" not in known:
            return self._unknown(number)
        rental = self.rental(f"{self.account}/{region}/{number}")
        rental.shown.setdefault("reason", "Client.UserInitiatedShutdown")
        if self.take("disk_left", request) is not None:
            rental.shown["disk"] = self.clock.time()
        self._end(rental.id)
        return Answer(200, "<R><instancesSet/></R>", content_type=XML)

    def _DescribeInstances(self, request: Request, region: str) -> Answer:
        number = request.query.get("InstanceId.1", "")
        if number and self._is_hidden(number):
            return self._unknown(number)
        given = self._pass_on()
        if given.status != 200:
            return given
        root = ET.fromstring(re.sub(r' xmlns="[^"]+"', "", given.body, count=1))
        for row in root.iter("item"):
            id = row.find("instanceId")
            if id is not None and row.find("instanceState") is not None:
                self._show(row, f"{self.account}/{region}/{id.text}")
                if self.take("nameless_row", request) is not None:
                    row.remove(id)
        return Answer(200, ET.tostring(root, encoding="unicode"), content_type=XML)

    def _show(self, row: ET.Element, id: str) -> None:
        rental = next((each for each in self.ledger if each.id == id), None)
        if rental is None:
            return
        state = row.find("instanceState/name")
        assert state is not None
        if "said" in rental.shown and rental.ended is None:
            state.text = rental.shown["said"]
        for tag in row.iter("item"):
            if tag.findtext("key") == "Name":
                value = tag.find("value")
                assert value is not None
                value.text = rental.name
        if rental.ended is not None:
            old = row.find("stateReason")
            if old is not None:
                row.remove(old)
            reason = ET.SubElement(row, "stateReason")
            ET.SubElement(reason, "code").text = rental.shown.get("reason", "")
            ET.SubElement(reason, "message").text = "its reason in words"
            if rental.shown.get("closing", 0) > 0:
                rental.shown["closing"] -= 1
                state.text = "shutting-down"

    def _DescribeVolumes(self, request: Request, region: str) -> Answer:
        names = [v for k, v in request.query.items() if re.fullmatch(r"Filter\.\d+\.Value\.1", k)]
        left = [r for r in self.ledger if r.name in names and "disk" in r.shown]
        items = "".join(f"<item><volumeId>vol-{r.id[-8:]}</volumeId></item>" for r in left)
        return Answer(200, f"<R><volumeSet>{items}</volumeSet></R>", content_type=XML)

    def _GetConsoleOutput(self, request: Request, region: str) -> Answer:
        id = f"{self.account}/{region}/{request.query['InstanceId']}"
        machine: Any = self.machines.get(id)
        if machine is None:
            return self._unknown(request.query["InstanceId"])
        lines = machine.console() if isinstance(machine, VirtualMachine) else machine.output()
        text = base64.b64encode("\n".join(lines).encode()).decode()
        return Answer(200, f"<R><output>{text}</output></R>", content_type=XML)

    # The rest

    def _metadata(self, request: Request) -> Answer:
        """IMDSv2, as far as notices need it: a token by PUT, then what is to come, or 404."""
        _, _, _, region, number, *path = request.path.split("/")
        what = "/".join(path)
        if request.method == "PUT" and what == "latest/api/token":
            return Answer(200, "imds-token", content_type="text/plain")
        if request.headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return Answer(401, "Unauthorized", content_type="text/plain")
        with self.lock:
            shown = self.rental(f"{self.account}/{region}/{number}").shown
            if what == "latest/meta-data/spot/instance-action" and "action" in shown:
                return Answer(200, {"action": "terminate", "time": "2026-11-28T00:02:00Z"})
            if what.endswith("events/recommendations/rebalance") and "rebalance" in shown:
                return Answer(200, {"noticeTime": "2026-11-28T00:00:00Z"})
        return Answer(404, "not found", content_type="text/plain")

    def _settle(self) -> None:
        """Machines that have turned themselves off are terminated: so was their order."""
        for rental in self.ledger:
            vm = self.vms.get(rental.id)
            if rental.ended is None and vm is not None and vm.turned_off:
                rental.shown.setdefault("reason", "Client.InstanceInitiatedShutdown")
                self._end(rental.id)

    def _end(self, id: str) -> None:
        rental = self.rental(id)
        if rental.ended is None:
            _, region, number = id.split("/")
            self._here_end(number, region)
        super().end(id)

    def _here_end(self, number: str, region: str) -> None:
        words = {"Action": "TerminateInstances", "Version": "2016-11-15", "InstanceId.1": number}
        scope = f"AWS4-HMAC-SHA256 Credential=AKIA/20261128/{region}/ec2/aws4_request, "
        self._moto(urllib.parse.urlencode(words).encode(), {
            "authorization": f"{scope}SignedHeaders=host, Signature=0",
            "content-type": "application/x-www-form-urlencoded",
        })  # fmt: skip

    def _is_hidden(self, number: str) -> bool:
        left = self._hidden.get(number, 0)
        self._hidden[number] = max(0, left - 1)
        return left > 0

    def _unknown(self, number: str) -> Answer:
        text = f"The instance ID '{number}' does not exist"
        return self._refused(400, "InvalidInstanceID.NotFound", text)

    def _pass_on(self) -> Answer:
        _, as_json, request = self._here.now
        body = json.dumps(request.body) if as_json else str(request.body or "")
        return self._moto(body.encode(), request.headers)

    def _moto(self, body: bytes, headers: Any) -> Answer:
        kept = ("authorization", "content-type", "x-amz-date", "x-amz-target")
        words = {name: value for name, value in headers.items() if name in kept}
        asked = urllib.request.Request(
            moto(), data=body, headers={**words, "x-moto-account-id": self.account}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(asked) as found:
                return Answer(found.status, found.read().decode(), content_type=XML)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), content_type=XML)


def ordered(exchanges: list[Exchange]) -> list[Exchange]:
    """The requests that would make a machine."""
    return [
        each for each in exchanges
        if each.path.endswith("/RunInstances") and each.query.get("DryRun") != "true"
    ]  # fmt: skip


def _listed(attributes: dict[str, str], unit: str, dollars: float) -> dict[str, Any]:
    """A row of the price list."""
    dimension = {"unit": unit, "pricePerUnit": {"USD": f"{dollars:.10f}"}}
    terms = {"OnDemand": {"a.b": {"priceDimensions": {"a.b.c": dimension}}}}
    return {"product": {"attributes": attributes}, "terms": terms}


def _wrong(q: Any) -> list[str]:
    """What of an order EC2 would not take, or we must never send."""
    found = []
    data = base64.b64decode(q.get("UserData", ""))
    if len(data) > MOST_USER_DATA:
        found.append(f"user data of {len(data)} bytes")
    wanted = {
        "MinCount": "1", "MaxCount": "1", "ImageId": IMAGE,
        "InstanceInitiatedShutdownBehavior": "terminate", "MetadataOptions.HttpTokens": "required",
        "MetadataOptions.HttpPutResponseHopLimit": "2",
        "BlockDeviceMapping.1.Ebs.DeleteOnTermination": "true",
        "NetworkInterface.1.AssociatePublicIpAddress": "true",
    }  # fmt: skip
    found += [f"{k} is {q.get(k)}, not {v}" for k, v in wanted.items() if q.get(k) != v]
    found += [f"{k} is given" for k in q if k.startswith(("KeyName", "IamInstanceProfile"))]
    if len(q.get("ClientToken", "")) not in range(1, 65):
        found.append(f"token {q.get('ClientToken')!r}")
    kinds = [v for k, v in q.items() if re.fullmatch(r"TagSpecification\.\d+\.ResourceType", k)]
    spot = ["spot-instances-request"] if "InstanceMarketOptions.MarketType" in q else []
    if sorted(kinds) != sorted(["instance", "volume", "network-interface", *spot]):
        found.append(f"tags on {kinds}")
    return found
