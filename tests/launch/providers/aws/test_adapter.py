"""AWS's adapter against moto behind our proxy: what is offered, ordered, seen and ended."""

import base64
import gzip
import random
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec, State, machine_name
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.contract.provider import AttemptSpec, Machine
from launch.pricing.market import check_regions
from launch.providers.aws import adapter as adapter_module
from launch.providers.aws import market, order, prices
from launch.providers.aws.account import Account
from launch.providers.aws.adapter import Aws
from launch.providers.rented import Rented
from mimir.errors import BadInput, MimirError
from mimir.runs import owner
from mimir.runs.hosts import Hosts
from tests.clouds.fake_aws import IMAGE, FakeAws, ordered
from tests.launch.providers.aws.conftest import adapter
from tests.runs.memory import MemoryStore

NAME = "mimir-r-a0001-o0123abcd"
SLEEP = ContainerSpec("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"}, seconds=600.0)


def spot(cloud: Aws) -> Offer:
    return next(o for o in cloud.offers(Need(spot=True)) if o.spot and o.gpu == "L4")


def test_offers_say_the_most_that_they_can_cost(service: FakeAws, cloud: Aws) -> None:
    found = cloud.offers(Need(spot=True))
    assert {each.gpu for each in found} == {"T4", "A10G", "L4"}
    offer = spot(cloud)
    assert (offer.region, offer.place) == ("us-east-1", offer.key["zone"])
    zone = offer.place[-1]
    disk = (50 + 30) * 0.08 / market.HOURS_A_MONTH
    now = service.spot_price(offer.key["type"], zone)
    assert offer.price == pytest.approx(now * market.HEADROOM + disk + market.ADDRESS, abs=1e-3)
    (demand,) = (o for o in found if o.id == offer.id.removesuffix("-spot"))
    whole = service.prices[offer.key["type"]] + disk + market.ADDRESS
    assert demand.price == pytest.approx(whole, abs=1e-5)
    assert all(not each.spot for each in cloud.offers(Need()))
    assert {o.gpu for o in cloud.offers(Need(gpus=("T4",)))} == {"T4"}
    assert {o.gpu for o in cloud.offers(Need(memory_gb=20))} == {"A10G", "L4"}
    assert cloud.offers(Need(max_price=0.1)) == []
    assert cloud.offers(Need(hosts=Hosts(regions=("eu",)))) == []


@pytest.mark.parametrize(
    ("store", "dollars"),
    [
        ("s3://b/p?region=us-east-1", 0.0),
        ("s3://b/p?region=eu-west-1", 0.02),
        ("s3://b/p", 0.02),
        ("s3://b/p?endpoint=https://s3.us-east-1.amazonaws.com&region=us-east-1", 0.0),
        ("s3://b/p?endpoint=https://x.r2.cloudflarestorage.com&region=us-east-1", 0.09),
        ("file:///runs", 0.09),
    ],
)
def test_a_price_holds_what_uploads_cost(cloud: Aws, store: str, dollars: float) -> None:
    offers = {o.id: o.price for o in cloud.offers(Need(gpus=("L4",)))}
    for offer in cloud.offers(Need(gpus=("L4",), upload_gb=10.0, store=store)):
        assert offer.price - offers[offer.id] == pytest.approx(10.0 * dollars, abs=1e-4)
        assert offer.egress == pytest.approx(10.0 * dollars)


def test_a_zone_whose_price_jumps_is_told_from_a_calm_one(service: FakeAws, cloud: Aws) -> None:
    service.jumps["b"] = 4
    service.prices = {"g6.xlarge": 0.805}
    found = {o.place[-1]: o.outbid for o in cloud.offers(Need(spot=True)) if o.spot}
    assert found["b"] == pytest.approx(4 / market.PAST)
    assert {rate for zone, rate in found.items() if zone != "b"} == {0.0}
    assert all(o.outbid is None for o in cloud.offers(Need()))


@pytest.mark.parametrize(
    ("prices", "times"),
    [([], 0), ([1.0], 0), ([1.0, 1.09, 1.0], 0), ([1.0, 1.2, 1.0, 1.2], 2), ([1.0, 0.8, 0.9], 1),
     ([1.0, 1.15, 1.3, 1.31], 2), ([2.0, 1.5, 1.0], 0)],
)  # fmt: skip
def test_a_price_takes_a_machine_where_it_rises_above_the_order(
    prices: list[float], times: int
) -> None:
    assert market.outbid(prices) == times


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("T4g", {"GpuInfo": {"Gpus": [{"Name": "T4g"}]}}),  # Arm, and a count that is not told
        ("half", {"GpuInfo": {"Gpus": [{"Name": "L4", "Count": 1, "Manufacturer": "NVIDIA",
                                        "GpuPartitionSize": 0.5}]}}),
        ("four", {"GpuInfo": {"Gpus": [{"Name": "L4", "Count": 4, "Manufacturer": "NVIDIA"}]}}),
        ("AMD", {"GpuInfo": {"Gpus": [{"Name": "V520", "Count": 1, "Manufacturer": "AMD"}]}}),
        ("none", {}),
        ("older than the driver", {"GpuInfo": {"Gpus": [
            {"Name": "V100", "Count": 1, "Manufacturer": "NVIDIA",
             "MemoryInfo": {"SizeInMiB": 16384}}]}, "SupportedUsageClasses": ["on-demand"],
            "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}}),
    ],
)  # fmt: skip
def test_machines_without_one_whole_gpu_are_left_out(kind: str, words: dict[str, object]) -> None:
    assert market._kind(words) is None, kind


def test_an_order_is_one_machine(service: FakeAws, cloud: Aws) -> None:
    """The fake complains of an order that EC2 would not take, or that we must never send."""
    offer = spot(cloud)
    id = cloud.create(offer, SLEEP, NAME)
    assert re.fullmatch(rf"{service.account}/us-east-1/i-[0-9a-f]+", id)
    (sent,) = ordered(service.requests)
    assert sent.query["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    assert sent.query["ImageId"] == offer.key["image"] == IMAGE, "frozen in the order's record"
    told = gzip.decompress(base64.b64decode(sent.query["UserData"])).decode()
    value = yaml.safe_load(told)
    assert next(iter(value)) == "bootcmd", "the timer is armed before anything else"
    assert "shutdown -h now" in value["bootcmd"][0][2]
    found = cloud.get(id)
    assert found is not None
    assert (found.name, found.state, found.region) == (NAME, State.RUNNING, "us-east-1")
    assert found.place == offer.place
    assert [each.id for each in cloud.instances()] == [id]
    group = sent.query["NetworkInterface.1.SecurityGroupId.1"]
    assert [left.name for left in cloud.leftovers()] == [group]
    cloud.create(offer, SLEEP, NAME.replace("a0001", "a0002"))
    assert sum(e.path.endswith("CreateSecurityGroup") for e in service.requests) == 1
    cloud.terminate(id)
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.GONE
    assert found.taken is None, "a person's end is no eviction"
    cloud.terminate(id)  # which is no error


def test_a_lost_order_is_asked_again_and_made_once(service: FakeAws, cloud: Aws) -> None:
    service.fault("lost_after", path="/RunInstances$")
    id = cloud.create(spot(cloud), SLEEP, NAME)
    assert len(ordered(service.requests)) == 2
    assert [rental.id for rental in service.ledger] == [id]


def test_a_refusal_after_a_lost_answer_tells_nothing_of_the_first(
    service: FakeAws, cloud: Aws
) -> None:
    service.fault("hang_up", path="/RunInstances$")
    service.fault("code", path="/RunInstances$", code="InsufficientInstanceCapacity")
    with pytest.raises(UnknownOutcome, match="asked again"):
        cloud.create(spot(cloud), SLEEP, NAME)


def test_the_same_attempt_in_other_words_makes_no_second_machine(
    service: FakeAws, cloud: Aws
) -> None:
    offer = spot(cloud)
    cloud.create(offer, SLEEP, NAME)
    with pytest.raises(UnknownOutcome, match="IdempotentParameterMismatch"):
        cloud.create(offer, replace(SLEEP, env={"MIMIR_RUN": "s"}), NAME)
    assert len(service.ledger) == 1


def test_a_machine_that_is_not_found_yet_is_not_gone(service: FakeAws, cloud: Aws) -> None:
    service.fault("lag", path="/RunInstances$", looks=3)
    id = cloud.create(spot(cloud), SLEEP, NAME)
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING
    assert cloud.get(f"{service.account}/us-east-1/i-0123456789abcdef0") is None
    with pytest.raises(BadInput, match="ACCOUNT/REGION/i-"):
        cloud.get("us-east-1/i-0123456789abcdef0")


def test_another_account_says_nothing_of_a_machine(service: FakeAws, cloud: Aws) -> None:
    """The machine runs, and costs: it must not be taken for gone."""
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.account = "111111111111"
    other = adapter(service)
    for ask in (other.get, other.terminate, lambda id: other.logs(id, 1)):
        with pytest.raises(AuthFailed, match=f"{id}' is not in AWS account 111111111111"):
            ask(id)
    asked = [each.path.rpartition("/")[2] for each in service.requests]
    assert asked.count("GetCallerIdentity") == 2, "once for each account"


def test_an_eviction_is_told_by_its_reason(service: FakeAws, cloud: Aws) -> None:
    ids = [cloud.create(spot(cloud), SLEEP, f"mimir-r-a000{n}") for n in (1, 2)]
    service.evict(ids[0])
    (service.vms[ids[1]].folder / "off").touch()
    seen = [cloud.get(id) for id in ids]
    assert [each.taken for each in seen if each] == [True, False]
    assert "Server.SpotInstanceTermination" in (seen[0].said if seen[0] else "")


def test_an_eviction_is_told_while_it_happens(service: FakeAws, cloud: Aws) -> None:
    service.closing = 2
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.evict(id)
    seen = [cloud.get(id) for _ in range(3)]
    assert [(each.state, each.taken) for each in seen if each] == [
        (State.BROKEN, True), (State.BROKEN, True), (State.GONE, True),
    ]  # fmt: skip


def test_a_machine_that_was_made_and_never_seen_is_not_gone(service: FakeAws, cloud: Aws) -> None:
    service.fault("lag", path="/RunInstances$", looks=12)
    id = cloud.create(spot(cloud), SLEEP, NAME)
    with pytest.raises(ProviderError, match=r"does not know machine .* yet"):
        cloud.get(id)
    service.clock.advance(adapter_module.SHOWN_WITHIN)
    assert cloud.get(id) is None, "it would have been shown by now"
    assert cloud.get(id) is not None


def watched(service: FakeAws, cloud: Aws, looks: int) -> tuple[Rented, MemoryStore, Machine]:
    """A machine that one process ordered and EC2 does not know for some looks, seen by another."""
    service.fault("lag", path="/RunInstances$", looks=looks)
    offer, at = spot(cloud), service.clock.time()
    store = MemoryStore()
    name = machine_name("r", 1, owner.identify(store))
    id = cloud.create(offer, SLEEP, name)
    other = Rented(
        adapter(service), opener=lambda url: store, clock=lambda: service.clock.time() + 130.0,
        sleep=service.clock.advance,
    )  # fmt: skip
    return other, store, Machine("aws", at, id, name)


def test_another_process_takes_no_young_machine_for_gone(service: FakeAws, cloud: Aws) -> None:
    """Else it would order a second one beside it. Its computer's clock is two minutes ahead."""
    other, _, machine = watched(service, cloud, looks=12)
    with pytest.raises(ProviderError, match=r"does not know machine .* yet"):
        other.inspect(machine)
    assert other.alive(machine) is None
    service.clock.advance(adapter_module.SHOWN_WITHIN)
    found = other.inspect(machine)
    assert found is not None
    assert found.state is State.RUNNING
    service.clock.advance(deadlines.CLOCKS_APART)
    absent = replace(machine, id=f"{service.account}/us-east-1/i-0123456789abcdef0")
    assert other.inspect(absent) is None, "it would be known by now"


def test_another_process_ends_a_young_machine(service: FakeAws, cloud: Aws) -> None:
    """When EC2 knows it, and not by an answer that it has none."""
    other, store, machine = watched(service, cloud, looks=12)
    other.end(AttemptSpec(store.url, "r", 1), machine)
    assert service.alive() == []


def test_a_group_that_ec2_does_not_know_yet_is_waited_for(service: FakeAws, cloud: Aws) -> None:
    service.fault("slow_group", path="/CreateSecurityGroup$", orders=3)
    id = cloud.create(spot(cloud), SLEEP, NAME)
    sent = ordered(service.requests)
    assert len(sent) == 4
    assert len({each.query["ClientToken"] for each in sent}) == 1
    assert [rental.id for rental in service.ledger] == [id]


def test_a_group_that_stays_unknown_lets_the_next_offer_be_tried(
    service: FakeAws, cloud: Aws
) -> None:
    service.fault("slow_group", path="/CreateSecurityGroup$", orders=99)
    with pytest.raises(NoCapacity, match=r"InvalidGroup\.NotFound"):
        cloud.create(spot(cloud), SLEEP, NAME)
    assert service.ledger == []


def test_a_group_that_lets_somebody_in_is_not_used(service: FakeAws, cloud: Aws) -> None:
    offer = spot(cloud)
    cloud.create(offer, SLEEP, NAME)
    client = cloud._account._client("ec2", "us-east-1")
    service.policy["Statement"].append(
        {"Effect": "Allow", "Action": "ec2:AuthorizeSecurityGroupIngress", "Resource": "*"}
    )
    (group,) = client.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["mimir"]}]
    )["SecurityGroups"]
    client.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    with pytest.raises(BadInput, match=f"{group['GroupId']}.*lets connections in"):
        cloud.create(offer, SLEEP, "mimir-r-a0002")
    assert len(service.ledger) == 1


def test_a_machine_in_a_region_that_is_not_named_any_more_is_listed(service: FakeAws) -> None:
    id = adapter(service).create(spot(adapter(service)), SLEEP, NAME)
    cloud = adapter(service, MIMIR_AWS_REGIONS="eu-west-1")
    assert [each.id for each in cloud.instances()] == [id]
    assert {each.region for each in cloud.offers(Need())} == {"eu-west-1"}
    service.fault("code", 9, path="us-east-1/DescribeInstances$", code="UnauthorizedOperation")
    assert cloud.instances() == [], "what these keys may not ask, they could not order in"
    with pytest.raises(BadInput, match="'us east/1' is not the name of an AWS region"):
        adapter(service, MIMIR_AWS_REGIONS="us east/1").instances()


def test_a_machine_is_gone_though_its_disk_may_not_be_looked_for(
    service: FakeAws, cloud: Aws
) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    cloud.terminate(id)
    service.fault("code", 9, path="/DescribeVolumes$", code="UnauthorizedOperation")
    found = cloud.get(id)
    assert found is not None
    assert (found.state, "may not be seen" in found.said) == (State.GONE, True)


def test_a_machine_whose_disk_stays_is_not_gone(service: FakeAws, cloud: Aws) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.fault("disk_left", path="/TerminateInstances$")
    cloud.terminate(id)
    found = cloud.get(id)
    assert found is not None
    assert (found.state, "disk vol-" in found.said) == (State.BROKEN, True)
    assert [left.kind for left in cloud.leftovers()] == ["security group"]
    del service.rental(id).shown["disk"]
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.GONE


def test_user_data_has_a_limit() -> None:
    rng = random.Random(1)
    noise = {f"V{n}": f"{rng.getrandbits(8000):x}" for n in range(20)}
    with pytest.raises(BadInput, match="AWS takes 16,384"):
        order.user_data(replace(SLEEP, env=noise))


PROBLEMS = {
    "quota 0": (
        {("L-3819A6DF", "All G and VT Spot Instance Requests"): 0.0,
         ("L-DB2E81BA", "Running On-Demand G and VT instances"): 0.0},
        AccountLimit, "aws service-quotas request-service-quota-increase --service-code ec2 "
        "--quota-code L-DB2E81BA --desired-value 4",
    ),
    "quota too small for some": (
        {("L-3819A6DF", "All G and VT Spot Instance Requests"): 0.0}, None, "L-3819A6DF"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("quotas", "kind", "said"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_quota_is_told_before_an_order(
    service: FakeAws, cloud: Aws, quotas: dict[tuple[str, str], float],
    kind: type[MimirError] | None, said: str,
) -> None:  # fmt: skip
    service.quotas |= quotas
    if kind is None:
        assert cloud.offers(Need(spot=True))
        assert said in " ".join(cloud.left_out())
        assert said in " ".join(each.details for each in cloud.checks())
        return
    with pytest.raises(kind, match=re.escape(said)):
        cloud.offers(Need(spot=True))
    assert any(each.status == "fail" and said in each.details for each in cloud.checks())


def test_one_region_that_fails_hides_no_other(service: FakeAws) -> None:
    cloud = adapter(service, MIMIR_AWS_REGIONS="us-east-1,us-west-2")
    service.fault("code", 9, path="us-west-2/DescribeInstanceTypes$", code="UnauthorizedOperation")
    assert {each.region for each in cloud.offers(Need())} == {"us-east-1"}
    assert any(each.startswith("us-west-2: AWS refused") for each in cloud.left_out())
    service.fault("code", 9, path="us-west-2/DescribeInstances$", code="UnauthorizedOperation")
    with pytest.raises(AuthFailed):
        cloud.instances()  # a list must be whole


def test_a_region_whose_answer_is_strange_hides_no_other(
    service: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = adapter(service, MIMIR_AWS_REGIONS="us-east-1,us-west-2")
    read = Account.read

    def strange(self: Account, service: str, region: str, operation: str, **more: Any) -> Any:
        found = read(self, service, region, operation, **more)
        if (region, operation) == ("us-west-2", "describe_subnets"):
            del found["Subnets"][0]["VpcId"]
        return found

    monkeypatch.setattr(Account, "read", strange)
    assert {each.region for each in cloud.offers(Need())} == {"us-east-1"}
    assert any("KeyError" in each for each in cloud.left_out() if each.startswith("us-west-2"))


def test_a_region_that_is_not_opened_is_told_with_its_command(cloud: Aws) -> None:
    with pytest.raises(BadInput, match="aws account enable-region --region-name ap-east-1"):
        check_regions([cloud], ("ap-east-1",))
    with pytest.raises(BadInput, match="there is no region 'mars'"):
        check_regions([cloud], ("mars",))


def test_offers_tell_that_the_role_for_spot_is_missing(service: FakeAws, cloud: Aws) -> None:
    def told(need: Need) -> bool:
        assert cloud.offers(need)
        return any("create-service-linked-role" in each for each in cloud.left_out())

    assert not told(Need(spot=True))
    service.spot_role = False
    assert told(Need(spot=True))
    assert not told(Need())


def test_the_image_is_found_by_its_name_where_its_parameter_is_missing(
    service: FakeAws, cloud: Aws
) -> None:
    service.parameter = False
    assert spot(cloud).key["image"] == IMAGE
    asked = [each for each in service.requests if each.path.endswith("/DescribeImages")]
    assert asked[-1].query["Owner.1"] == "amazon"


def row(attributes: dict[str, str], unit: str, dollars: float) -> dict[str, Any]:
    dimension = {"unit": unit, "pricePerUnit": {"USD": str(dollars)}}
    return {"product": {"attributes": attributes},
            "terms": {"OnDemand": {"a": {"priceDimensions": {"b": dimension}}}}}  # fmt: skip


def test_of_several_prices_the_highest_counts_and_only_on_demand() -> None:
    kind = {"instanceType": "p5.4xlarge"}
    rows = [
        row({**kind, "marketoption": "OnDemand"}, "Hrs", 6.88), row(kind, "Hrs", 6.5),
        row({**kind, "marketoption": "CapacityBlock"}, "Hrs", 9.0), row(kind, "Quantity", 99.0),
    ]  # fmt: skip
    assert prices.hourly(rows) == {"p5.4xlarge": 6.88}
    with pytest.raises(ProviderError, match="no price of a disk"):
        prices.disk([row({"volumeApiName": "gp3"}, "GB-Mo", 0.0)])


def test_no_refusal_shows_a_key_of_the_session(service: FakeAws) -> None:
    token = "FwoGZXIvYXdzEBYaDHsecretsessiontoken"
    cloud = adapter(service, AWS_SESSION_TOKEN=token)
    service.fault("code", 9, path="/RunInstances$", code="Unsupported", text=f"with {token} in it")
    with pytest.raises(NoCapacity) as caught:
        cloud.create(spot(cloud), SLEEP, NAME)
    assert token not in str(caught.value)


def test_a_region_without_the_gpu(cloud: Aws) -> None:
    for gpu in ("H200", "RTX 4090"):
        with pytest.raises(NoCapacity, match=f"no machine with one {gpu} in us-east-1: name"):
            cloud.offers(Need(gpus=(gpu,), hosts=Hosts(regions=("us-east-1",))))


def test_a_region_without_a_default_network(service: FakeAws, cloud: Aws) -> None:
    service.networks = False
    with pytest.raises(NoCapacity, match="aws ec2 create-default-vpc --region us-east-1"):
        cloud.offers(Need())


def test_doctor(service: FakeAws, cloud: Aws) -> None:
    service.spot_role = False
    found = {each.name: each for each in cloud.checks()}
    assert found["key"].status == found["machines"].status == "ok"
    assert found["may order spot"].status == found["may order on demand"].status == "ok"
    assert "create-service-linked-role" in found["spot role"].details
    assert "enable-region" in found["regions"].details
    assert ordered(service.requests) == []
    service.fault("code", 9, path="/RunInstances$", code="UnauthorizedOperation")
    failed = {each.name for each in cloud.checks() if each.status == "fail"}
    assert failed == {"may order spot", "may order on demand"}


KEYS = {
    "no profile": ({"MIMIR_AWS_PROFILE": ""}, "set MIMIR_AWS_PROFILE"),
    "no keys": ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY is not set"),
    "a line's end": ({"AWS_SECRET_ACCESS_KEY": "a b"}, "characters that no key has"),
    "another profile": ({"MIMIR_AWS_PROFILE": "nobody"}, "profile (nobody) could not be found"),
}


@pytest.mark.parametrize(("environ", "said"), KEYS.values(), ids=KEYS.keys())
def test_who_has_no_key_is_told_how_to_get_one(
    service: FakeAws, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(AuthFailed, match=re.escape(said)) as caught:
        adapter(service, **environ).instances()
    assert service.requests == []
    assert service.token not in str(caught.value)


CODES = {
    "UnfulfillableCapacity": NoCapacity, "Unsupported": NoCapacity,
    "SpotMaxPriceTooLow": NoCapacity, "MaxSpotInstanceCountExceeded": AccountLimit,
    "VcpuLimitExceeded": AccountLimit, "AuthFailure": AuthFailed, "OptInRequired": AuthFailed,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": AuthFailed, "Blocked": AuthFailed,
    "RequestExpired": AuthFailed, "InternalError": UnknownOutcome,
    "InvalidSubnetID.Malformed": BadInput, "NobodyKnowsThis": ProviderError,
}  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), CODES.items())
def test_a_refusal_has_its_class(
    service: FakeAws, cloud: Aws, code: str, kind: type[MimirError]
) -> None:
    offer = spot(cloud)
    times = 3 if kind is UnknownOutcome else 1
    service.fault("code", times, path="/RunInstances$", code=code)
    with pytest.raises(MimirError, match=code) as caught:
        cloud.create(offer, SLEEP, NAME)
    assert type(caught.value) is kind
    assert len(ordered(service.requests)) == times, "boto3 itself tries nothing again"
    if "Role" in code:
        assert "create-service-linked-role" in str(caught.value)


def test_a_full_zone_names_those_that_have_room(service: FakeAws, cloud: Aws) -> None:
    words = (
        "We currently do not have sufficient g6.xlarge capacity in the Availability Zone you "
        "requested (us-east-1c). You can currently get g6.xlarge capacity by not specifying an "
        "Availability Zone in your request or choosing us-east-1a, us-east-1f."
    )
    service.fault("code", 1, path="/RunInstances$", code="InsufficientInstanceCapacity", text=words)
    with pytest.raises(NoCapacity) as caught:
        cloud.create(spot(cloud), SLEEP, NAME)
    assert caught.value.places == {"us-east-1a", "us-east-1f"}


def test_the_console_is_shown_when_the_machine_is_gone(service: FakeAws, cloud: Aws) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    console = service.vms[id].root / "dev/console"
    console.write_text("booting\nthe image cannot be pulled\n")
    assert cloud.logs(id, 1) == ["the image cannot be pulled"]
