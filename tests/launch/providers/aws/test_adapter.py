"""AWS's adapter against moto behind our proxy: what is offered, ordered, seen and ended."""

import base64
import gzip
import random
import re
from dataclasses import replace

import pytest
import yaml

from launch.contract.cloud import ContainerSpec, State
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.providers.aws import market, order
from launch.providers.aws.adapter import Aws
from mimir.errors import BadInput, MimirError
from mimir.runs.hosts import Hosts
from tests.clouds.fake_aws import IMAGE, FakeAws, ordered
from tests.launch.providers.aws.conftest import adapter

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
    "InvalidSubnetID.NotFound": BadInput, "NobodyKnowsThis": ProviderError,
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


def test_the_console_is_shown_when_the_machine_is_gone(service: FakeAws, cloud: Aws) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    console = service.vms[id].root / "dev/console"
    console.write_text("booting\nthe image cannot be pulled\n")
    assert cloud.logs(id, 1) == ["the image cannot be pulled"]
