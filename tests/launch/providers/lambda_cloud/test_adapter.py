"""Lambda Cloud: its adapter against its fake, whose machines boot what user data says."""

from pathlib import Path

import httpx
import pytest

from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
)
from launch.contract.offer import Hosts, Need
from launch.providers.lambda_cloud.adapter import Lambda
from mimir.errors import BadInput
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.server import PLAIN
from tests.launch.providers.lambda_cloud.case import NAME, OFFER, SLEEP, adapter, sent


def test_offers_are_single_amd64_gpus_where_they_are(cloud: Lambda) -> None:
    found = {offer.id: offer for offer in cloud.offers(Need())}
    assert set(found) == {
        "gpu_1x_a10@us-west-2", "gpu_1x_a10@us-east-1", "gpu_1x_a100_sxm4@us-west-2",
        "gpu_1x_h100_sxm5@europe-central-1",
    }  # fmt: skip
    assert found["gpu_1x_a10@us-west-2"] == OFFER
    large = found["gpu_1x_a100_sxm4@us-west-2"]
    assert (large.gpu, large.memory_gb, large.price, large.spot) == ("A100 40GB", 40, 1.99, False)


@pytest.mark.parametrize(
    ("need", "types"),
    [
        (Need(memory_gb=25), {"gpu_1x_a100_sxm4", "gpu_1x_h100_sxm5"}),
        (Need(max_price=1.99), {"gpu_1x_a10", "gpu_1x_a100_sxm4"}),
        (Need(gpus=("H100 SXM", "H100 PCIe")), {"gpu_1x_h100_sxm5"}),
        (Need(hosts=Hosts("datacenter", ("europe-central-1",))), {"gpu_1x_h100_sxm5"}),
        (Need(hosts=Hosts(regions=("eu",))), set()),
        (Need(disk_gb=2000), {"gpu_1x_h100_sxm5"}),
        (Need(memory_gb=100), set()),
    ],
)
def test_offers_meet_the_need(cloud: Lambda, need: Need, types: set[str]) -> None:
    assert {offer.key["type"] for offer in cloud.offers(need)} == types


def test_regions_are_all_that_there_are(cloud: Lambda) -> None:
    assert {"us-west-2", "europe-central-1"} < set(cloud.regions())


@pytest.mark.parametrize(
    ("name", "described"),
    [("gpu_1x_gh200_sxm", "H200 (96 GB)"), ("gpu_1x_new", "GH200 (96 GB)"), ("x-gb300-1", "")],
)
def test_arm_machines_are_told_by_either_name(
    service: FakeLambda, cloud: Lambda, name: str, described: str
) -> None:
    each = service.types["gpu_1x_a10"]
    service.types = {name: each}
    each["instance_type"]["gpu_description"] = described
    assert cloud.offers(Need()) == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("no_capacity", NoCapacity), ("quota", AccountLimit), ("inactive", BalanceEmpty),
        ("forbidden", AuthFailed), ("plain_429", RateLimited),
    ],
)  # fmt: skip
def test_refused(
    service: FakeLambda, cloud: Lambda, tmp_path: Path, fault: str, error: type[Exception]
) -> None:
    service.fault(fault, path="launch")
    with pytest.raises(error) as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert type(caught.value) is error
    assert list((tmp_path / "lambda/hosts").iterdir()) == []


def test_capacity_is_advice(service: FakeLambda, cloud: Lambda) -> None:
    (offer, *_) = cloud.offers(Need())
    service.types["gpu_1x_a10"]["regions_with_capacity_available"] = []
    with pytest.raises(NoCapacity, match="Not enough capacity"):
        cloud.create(offer, SLEEP, NAME)


def test_a_type_that_is_no_more(service: FakeLambda, cloud: Lambda) -> None:
    del service.types["gpu_1x_a10"]
    with pytest.raises(BadInput, match="does not exist"):
        cloud.create(OFFER, SLEEP, NAME)


def test_a_slow_launch_is_waited_for(service: FakeLambda, tmp_path: Path) -> None:
    class Slow(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked = request.extensions["timeout"]["read"]
            times[request.url.path] = asked
            return PLAIN.handle_request(request)

    times: dict[str, float] = {}
    cloud = Lambda(
        environ=service.environ(), transport=Slow(), clock=service.clock.time,
        sleep=service.clock.advance, folder=tmp_path,
    )  # fmt: skip
    cloud.create(OFFER, SLEEP, NAME)
    assert times["/api/v1/instance-operations/launch"] == 120
    assert times["/api/v1/ssh-keys"] == 30


def test_launches_keep_their_distance(service: FakeLambda, cloud: Lambda) -> None:
    for number in (1, 2, 3):
        cloud.create(OFFER, SLEEP, f"mimir-r-a000{number}")
    assert [each.status for each in sent(service, "launch")] == [200] * 3
    assert service.clock.offset > 20


def test_launches_of_two_launchers_are_refused(service: FakeLambda, tmp_path: Path) -> None:
    adapter(service, tmp_path / "1").create(OFFER, SLEEP, NAME)
    with pytest.raises(RateLimited) as caught:
        adapter(service, tmp_path / "2").create(OFFER, SLEEP, "mimir-s-a0001")
    assert caught.value.retry_after == 12


def test_no_key_and_a_wrong_one(service: FakeLambda, tmp_path: Path) -> None:
    cloud = adapter(service, tmp_path, LAMBDA_API_KEY="")
    assert not cloud.configured()
    with pytest.raises(AuthFailed, match="LAMBDA_API_KEY"):
        cloud.offers(Need())
    cloud = adapter(service, tmp_path, LAMBDA_API_KEY="wrong-key-of-mine")
    assert cloud.configured()
    with pytest.raises(AuthFailed, match="not accepted") as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert "wrong-key-of-mine" not in str(caught.value)
    assert [check.status for check in cloud.checks()] == ["fail"]


def test_an_ssh_key_is_registered_once(service: FakeLambda, tmp_path: Path) -> None:
    for number, folder in enumerate(("mine", "mine", "other")):
        cloud = adapter(service, tmp_path / folder)
        service.clock.advance(20)
        cloud.create(OFFER, SLEEP, f"mimir-r-a000{number}")
    assert len(sent(service, "ssh-keys")) == 1
    private = tmp_path / "mine/lambda/id_ed25519"
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in service.keys["mimir"]


@pytest.mark.parametrize("fault", ["duplicate_key", "lost_after"])
def test_an_ssh_key_that_is_there_after_all(service: FakeLambda, cloud: Lambda, fault: str) -> None:
    service.fault(fault, path="ssh-keys", method="POST")
    cloud.create(OFFER, SLEEP, NAME)
    assert len(service.alive()) == 1


def test_an_ssh_key_that_is_not_taken_orders_nothing(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("error", path="ssh-keys", method="POST")
    with pytest.raises(ProviderError, match="nothing was ordered") as caught:
        cloud.create(OFFER, SLEEP, NAME)
    assert type(caught.value) is ProviderError, "no machine may be looked for"
    assert sent(service, "launch") == []


def test_a_refusal_does_not_repeat_the_host_key(service: FakeLambda, cloud: Lambda) -> None:
    service.fault("echo", path="launch")
    with pytest.raises(BadInput) as caught:
        cloud.create(OFFER, SLEEP, NAME)
    (launch,) = sent(service, "launch")
    assert "PRIVATE KEY" in launch.body["user_data"]
    assert "PRIVATE KEY" not in str(caught.value)
    assert "b3BlbnNzaC1rZXktdjE" not in str(caught.value), "how such keys begin"


def test_checks_rent_nothing(service: FakeLambda, cloud: Lambda) -> None:
    found = {check.name: check for check in cloud.checks()}
    assert {check.status for check in found.values()} == {"ok", "warn"}
    assert "first order" in found["ssh"].details
    assert {each.method for each in service.requests} == {"GET"}
    service.fault("html_403", path="instance-types")
    assert [each.status for each in cloud.checks()].count("fail") == 1
