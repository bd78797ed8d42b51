"""RunPod's adapter against its fake, and both against the vendor's document where it is."""

import json
import sys

import httpx
import pytest

from launch.contract.cloud import ContainerSpec
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    Unclear,
)
from launch.contract.offer import Hosts, Need, Offer
from launch.providers.runpod.adapter import RunPod
from mimir.errors import BadInput
from mimir.runs import codec
from tests.clouds import contract
from tests.clouds.fake_runpod import FakeRunPod
from tests.launch.providers.runpod.case import NAME, adapter, boot, offer, rent, sent
from tests.waiting import wait_for


def test_offers_are_what_both_clouds_have_now(cloud: RunPod) -> None:
    found = {each.id: each for each in cloud.offers(Need(disk_gb=73))}
    assert sorted(found) == [
        "NVIDIA A100 80GB PCIe/COMMUNITY",
        "NVIDIA A100 80GB PCIe/SECURE",
        "NVIDIA GeForce RTX 4090/COMMUNITY",
        "NVIDIA GeForce RTX 4090/SECURE",
        "NVIDIA H100 80GB HBM3/SECURE",
        "NVIDIA L4/SECURE",
    ]
    one = found["NVIDIA GeForce RTX 4090/COMMUNITY"]
    assert (one.gpu, one.memory_gb, one.place, one.region) == ("RTX 4090", 24, "COMMUNITY", "US")
    assert one.price == pytest.approx(0.34 + 0.01)
    assert not one.spot
    assert codec.typed(Offer, json.loads(json.dumps(one.as_json())), "an offer") == one


@pytest.mark.parametrize(
    ("need", "left"),
    [
        (Need(memory_gb=80), {"A100 80GB", "H100 SXM"}),
        (Need(max_price=0.5), {"RTX 4090", "L4"}),
        (Need(gpus=("L4", "T4")), {"L4"}),
        (Need(memory_gb=300), set()),
    ],
)
def test_offers_meet_the_need(cloud: RunPod, need: Need, left: set[str]) -> None:
    assert {each.gpu for each in cloud.offers(need)} == left


@pytest.mark.parametrize("kind", ["verified", "datacenter"])
def test_verified_hosts_are_those_of_the_secure_cloud(
    fake: FakeRunPod, cloud: RunPod, kind: str
) -> None:
    found = cloud.offers(Need(hosts=Hosts(kind)))
    assert {each.kind for each in found} == {"secure"}
    assert [each.query["cloud"] for each in fake.requests] == ["SECURE"]
    cloud.create(found[0], boot(), NAME)
    assert sent(fake, "POST")[0].body["cloud"] == "SECURE"
    both = {each.kind for each in cloud.offers(Need(hosts=Hosts("any")))}
    assert both == {"secure", "community"}


def test_a_region_names_the_data_centres_of_the_order(fake: FakeRunPod, cloud: RunPod) -> None:
    fake.stock[0]["centres"] = ["US-TX-3", "EU-RO-1", "EUR-IS-1"]
    (one,) = {
        each.key["gpu"]: each for each in cloud.offers(Need(hosts=Hosts(regions=("eu",))))
    }.values()
    assert (one.gpu, one.region, one.key["places"]) == ("RTX 4090", "EU-RO-1", ["EU-RO-1"])
    number = cloud.create(one, boot(), NAME)
    assert sent(fake, "POST")[0].body["dataCenterIds"] == ["EU-RO-1"]
    shown = cloud.get(number)
    assert shown is not None
    assert shown.region == "EU-RO-1"
    assert cloud.regions() == ["US-TX-3", "EU-RO-1", "EUR-IS-1"]


def test_the_bill_of_pods(fake: FakeRunPod, cloud: RunPod) -> None:
    first, second, third = (rent(cloud) for _ in range(3))
    since = fake.clock.time()
    fake.clock.advance(3600)
    found = cloud.billed([first, third, "gone"], since, fake.clock.time())
    assert found == {first: pytest.approx(0.3441, abs=1e-3), third: pytest.approx(0.3441, abs=1e-3)}
    (only,) = cloud.billed([second], since, fake.clock.time()).items()
    assert only[0] == second
    assert fake.requests[-1].query["podId"] == second


def test_a_row_of_a_kind_to_come_hides_no_other(fake: FakeRunPod, cloud: RunPod) -> None:
    rows = len(cloud.offers(Need()))
    fake.stock.append({"id": "new", "levels": {"secure": "HIGH", "community": "HIGH"}})
    assert len(cloud.offers(Need())) == rows
    fake.requests.clear()  # it does not keep to the document


def test_hosts_are_chosen_by_the_image_that_starts(fake: FakeRunPod, cloud: RunPod) -> None:
    found = cloud.offers(Need(cuda=13.0))
    assert {each.key["cuda"] for each in found} == {"13.0"}
    cloud.create(found[0], boot("true"), NAME)
    assert sent(fake, "POST")[-1].body["gpu"]["minCudaVersion"] == "13.0"


def test_the_command_runs_whatever_the_entrypoint_of_the_image(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    args = "import sys, os; print(sys.argv[1:], os.environ['A'])"
    id = rent(cloud, sys.executable, "-c", args, "two words", '"', A="b=c")
    wait_for(lambda: fake.machines[id].output())
    assert fake.machines[id].output()[0] == "['two words', '\"'] b=c"
    order = sent(fake, "POST")[0].body
    assert order["disk"] == 30
    assert order["gpu"]["minCudaVersion"] == "12.8"
    assert "ports" not in order


def test_a_small_disk_is_made_larger(fake: FakeRunPod, cloud: RunPod) -> None:
    cloud.create(offer(cloud), ContainerSpec("image", ("sleep", "60"), {}, disk_gb=5), NAME)
    assert sent(fake, "POST")[0].body["disk"] == 20


def test_too_many_variables_are_not_sent(fake: FakeRunPod, cloud: RunPod) -> None:
    with pytest.raises(BadInput, match="50 variables"):
        rent(cloud, **{f"V{i}": "" for i in range(50)})
    assert sent(fake, "POST") == []


def test_too_large_an_order_is_not_sent(fake: FakeRunPod, cloud: RunPod) -> None:
    with pytest.raises(BadInput, match=r"bytes, but RunPod takes 102,400"):
        rent(cloud, A="x" * 102_400)
    assert sent(fake, "POST") == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("capacity", NoCapacity),
        ("pool", NoCapacity),
        ("rule", Unclear),
        ("invalid", BadInput),
        ("no_balance", BalanceEmpty),
        ("zero_balance", BalanceEmpty),
        ("unauthorized", AuthFailed),
        ("rate_limited", RateLimited),
    ],
)
def test_a_refusal_is_named(
    fake: FakeRunPod, cloud: RunPod, fault: str, error: type[Exception]
) -> None:
    chosen = offer(cloud)
    fake.fault(fault)
    with pytest.raises(error) as caught:
        cloud.create(chosen, boot(), NAME)
    assert type(caught.value) is error


@pytest.mark.parametrize("after", [None, 7])
def test_how_long_to_wait_is_told(fake: FakeRunPod, cloud: RunPod, after: int | None) -> None:
    chosen = offer(cloud)
    fake.fault("rate_limited", retry_after=after)
    with pytest.raises(RateLimited) as caught:
        cloud.create(chosen, boot(), NAME)
    assert caught.value.retry_after == (10.0 if after is None else after)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(404, json={})])
def test_a_404_in_other_words_is_not_gone(answer: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: answer)
    cloud = RunPod(environ={"RUNPOD_API_KEY": "k"}, transport=transport)
    with pytest.raises(ProviderError):
        cloud.get("abc")
    with pytest.raises(ProviderError):
        cloud.terminate("abc")


def test_a_list_without_an_end_is_an_error(fake: FakeRunPod) -> None:
    page = {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "x"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=page))
    cloud = RunPod(environ={"RUNPOD_API_KEY": "k"}, transport=transport)
    with pytest.raises(ProviderError, match="no end"):
        cloud.instances()


def test_a_spent_quota_is_waited_for(fake: FakeRunPod, cloud: RunPod) -> None:
    fake.quota = 5
    for _ in range(12):
        cloud.instances()
    assert {each.status for each in fake.requests} == {200}


def test_checks_tell_what_can_be_known(fake: FakeRunPod, cloud: RunPod) -> None:
    rent(cloud)
    found = {each.name: each for each in cloud.checks()}
    assert found["key"].status == "ok"
    assert "1 of them Mimir's" in found["key"].details
    assert found["catalogue"].status == "ok"
    assert found["may create and destroy"].status == "warn"
    assert found["balance and quota"].status == "warn"
    assert {each.method for each in fake.requests[2:] if each.method != "GET"} == {"POST"}
    (wrong,) = adapter(fake, RUNPOD_API_KEY="wrong").checks()
    assert (wrong.status, "401" in wrong.details) == ("fail", True)


def test_without_a_key_one_sentence_says_how_to_get_one(fake: FakeRunPod) -> None:
    cloud = adapter(fake, RUNPOD_API_KEY="")
    assert not cloud.configured()
    assert adapter(fake).configured()
    with pytest.raises(AuthFailed, match=r"set RUNPOD_API_KEY"):
        cloud.offers(Need())
    assert [each.status for each in cloud.checks()] == ["fail"]
    assert fake.requests == []


@pytest.mark.parametrize("id", ["", "a/b", "../x", "a?b", "None of these"])
def test_what_is_no_id_is_not_asked_for(fake: FakeRunPod, cloud: RunPod, id: str) -> None:
    with pytest.raises(BadInput):
        cloud.get(id)
    with pytest.raises(BadInput):
        cloud.terminate(id)
    assert fake.requests == []


def test_the_document_is_checked_where_it_is(fake: FakeRunPod, cloud: RunPod) -> None:
    """The other tests' exchanges are checked too, when they end."""
    path = contract.document("runpod-v2.json")
    rent(cloud)
    cloud.instances()
    assert len(fake.requests) == 4
    assert contract.check(path, fake.requests) == []
    spoilt = [each._replace(body={**each.body, "ttl": 1}) for each in sent(fake, "POST")]
    assert contract.check(path, spoilt)
    shown = [each._replace(answer={"pods": [{}]}) for each in sent(fake, "GET")[-1:]]
    assert contract.check(path, shown)


def test_every_misbehaviour_is_armed(fake: FakeRunPod) -> None:
    for words in fake.MISBEHAVIOURS:
        fake.misbehave(words)
    assert len(fake.armed()) == len(fake.MISBEHAVIOURS)
