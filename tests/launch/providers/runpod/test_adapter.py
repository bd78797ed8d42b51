"""RunPod's adapter against its fake, and both against the vendor's document where it is."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from launch.contract.cloud import Boot, State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    RateLimited,
    Unclear,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.providers.rented import Rented
from launch.providers.runpod import adapter as runpod
from launch.providers.runpod.adapter import RunPod
from mimir.errors import BadInput
from tests.clouds import contract, documents
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.machines import ROOT

KEY = "account-key-of-a-person"
LINK = "https://bucket.example/keys?signature=planted-secret-text"
NAME = "mimir-run-a0001"
PRINTS = ("sh", "-c", "echo one; echo two; sleep 60")


@pytest.fixture
def fake() -> Iterator[FakeRunPod]:
    with FakeRunPod(KEY) as service:
        yield service
        assert documents.violations("runpod", service.requests) == []


@pytest.fixture
def cloud(fake: FakeRunPod) -> RunPod:
    return adapter(fake)


def adapter(fake: FakeRunPod, **environ: str) -> RunPod:
    given = {"RUNPOD_API_KEY": KEY, "MIMIR_RUNPOD_URL": fake.url, **environ}
    return RunPod(environ=given, sleep=fake.clock.advance, clock=fake.clock.time)


def boot(*command: str, **env: str) -> Boot:
    return Boot("image:tag", command or ("sleep", "60"), {"LINK": LINK, **env})


def offer(cloud: RunPod) -> Offer:
    return min(cloud.offers(Need()), key=lambda each: each.price)


def rent(cloud: RunPod, *command: str, **env: str) -> str:
    return cloud.create(offer(cloud), boot(*command, **env), NAME)


def soon(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def sent(fake: FakeRunPod, method: str) -> list[Any]:
    return [each for each in fake.requests if each.method == method]


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
    assert Offer.from_json(json.loads(json.dumps(one.as_json()))) == one


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


def test_a_row_of_a_kind_to_come_hides_no_other(fake: FakeRunPod, cloud: RunPod) -> None:
    rows = len(cloud.offers(Need()))
    fake.stock.append({"id": "new", "levels": {"secure": "HIGH", "community": "HIGH"}})
    assert len(cloud.offers(Need())) == rows
    fake.requests.clear()  # it does not keep to the document


def test_from_order_to_end(fake: FakeRunPod, cloud: RunPod) -> None:
    id = rent(cloud, *PRINTS, A="1")
    (rental,) = fake.alive()
    assert (rental.id, rental.name) == (id, NAME)
    found = cloud.get(id)
    assert found is not None
    assert (found.name, found.state, found.place) == (NAME, State.RUNNING, "COMMUNITY")
    assert found.price == pytest.approx(rental.price)
    assert cloud.instances() == [found]
    soon(lambda: len(cloud.logs(id, 9)) == 2)
    assert cloud.logs(id, 9) == ["one", "two"]
    assert cloud.logs(id, 1) == ["two"]
    assert cloud.logs(id, 0) == []
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert cloud.instances() == []
    assert fake.alive() == []
    assert cloud.logs(id, 9) == []
    cloud.terminate(id)
    assert len(sent(fake, "POST")) == 1


def test_the_command_runs_whatever_the_entrypoint_of_the_image(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    args = "import sys, os; print(sys.argv[1:], os.environ['A'])"
    id = rent(cloud, sys.executable, "-c", args, "two words", '"', A="b=c")
    soon(lambda: fake.machines[id].output())
    assert fake.machines[id].output()[0] == "['two words', '\"'] b=c"
    order = sent(fake, "POST")[0].body
    assert order["disk"] == 30
    assert "ports" not in order


def test_a_small_disk_is_made_larger(fake: FakeRunPod, cloud: RunPod) -> None:
    cloud.create(offer(cloud), Boot("image", ("sleep", "60"), {}, disk_gb=5), NAME)
    assert sent(fake, "POST")[0].body["disk"] == 20


def test_too_many_variables_are_not_sent(fake: FakeRunPod, cloud: RunPod) -> None:
    with pytest.raises(BadInput, match="50 variables"):
        rent(cloud, **{f"V{i}": "" for i in range(50)})
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
        ("plain_429", RateLimited),
        ("html_403", ProviderError),
        ("html_200", UnknownOutcome),
        ("hang_up", UnknownOutcome),
        ("error", UnknownOutcome),
    ],
)
def test_a_refused_order_is_asked_once_and_named(
    fake: FakeRunPod, cloud: RunPod, fault: str, error: type[Exception]
) -> None:
    chosen = offer(cloud)
    fake.fault(fault)
    with pytest.raises(error) as caught:
        cloud.create(chosen, boot(), NAME)
    assert type(caught.value) is error
    assert len(sent(fake, "POST")) == 1
    assert fake.alive() == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("fault", ["lost_after", "error_after"])
def test_a_pod_whose_order_was_not_answered_is_found(
    fake: FakeRunPod, cloud: RunPod, fault: str
) -> None:
    chosen = offer(cloud)
    fake.fault(fault)
    with pytest.raises(UnknownOutcome):
        cloud.create(chosen, boot(), NAME)
    assert [each.name for each in cloud.instances()] == [NAME]
    assert len(sent(fake, "POST")) == 1


@pytest.mark.parametrize("after", [None, 7])
def test_how_long_to_wait_is_told(fake: FakeRunPod, cloud: RunPod, after: int | None) -> None:
    chosen = offer(cloud)
    fake.fault("rate_limited", retry_after=after)
    with pytest.raises(RateLimited) as caught:
        cloud.create(chosen, boot(), NAME)
    assert caught.value.retry_after == (10.0 if after is None else after)


@pytest.mark.parametrize("fault", ["rate_limited", "plain_429", "error", "html_200", "hang_up"])
def test_a_look_is_tried_again(fake: FakeRunPod, cloud: RunPod, fault: str) -> None:
    id = rent(cloud)
    fake.fault(fault, times=2)
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING
    assert fake.armed() == []


@pytest.mark.parametrize(
    "fault", ["error", "html_200", "html_403", "torn_list", "unauthorized", "broken_page"]
)
def test_a_failed_list_is_no_empty_list(fake: FakeRunPod, cloud: RunPod, fault: str) -> None:
    rent(cloud)
    rent(cloud)
    fake.page_size = 1
    fake.fault(fault, times=4)
    with pytest.raises(ProviderError):
        cloud.instances()


def test_a_web_page_for_a_look_says_nothing_of_the_pod(fake: FakeRunPod, cloud: RunPod) -> None:
    id = rent(cloud)
    fake.fault("html_403")
    with pytest.raises(ProviderError, match="web page"):
        cloud.get(id)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(404, json={})])
def test_a_404_in_other_words_is_not_gone(answer: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: answer)
    cloud = RunPod(environ={"RUNPOD_API_KEY": "k"}, transport=transport)
    with pytest.raises(ProviderError):
        cloud.get("abc")
    with pytest.raises(ProviderError):
        cloud.terminate("abc")


def test_all_pages_of_the_list_and_ours_alone(fake: FakeRunPod, cloud: RunPod) -> None:
    chosen = offer(cloud)
    for number in range(5):
        cloud.create(chosen, boot(), f"mimir-run-a000{number}")
    cloud.create(chosen, boot(), "somebody-elses")
    fake.page_size = 2
    assert len(cloud.instances()) == 5


def test_a_list_without_an_end_is_an_error(fake: FakeRunPod) -> None:
    page = {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": "x"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=page))
    cloud = RunPod(environ={"RUNPOD_API_KEY": "k"}, transport=transport)
    with pytest.raises(ProviderError, match="no end"):
        cloud.instances()


def test_states(fake: FakeRunPod, cloud: RunPod) -> None:
    fake.fault("stuck")
    id = rent(cloud)

    def state() -> State | None:
        found = cloud.get(id)
        return None if found is None else found.state

    fake.clock.advance(24 * 3600)
    assert state() is State.PENDING
    cloud.terminate(id)
    id = rent(cloud)
    assert state() is State.RUNNING
    fake.fault("unknown_status")
    assert state() is State.BROKEN
    assert state() is State.RUNNING
    fake.fault("exited")
    assert state() is State.SUSPENDED
    found = cloud.get(id)
    assert found is not None
    assert found.price == 0
    assert not fake.machines[id].working
    fake.rental(id).shown["status"] = "ERROR"
    assert state() is State.BROKEN


def test_a_pod_that_vanishes_is_gone_and_was_billed_for_nothing(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    fake.fault("vanish")
    id = rent(cloud)
    assert cloud.get(id) is None
    assert cloud.instances() == []
    assert fake.ledger[0].ended is not None


def test_a_container_that_exits_is_started_again_and_costs_on(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    id = rent(cloud, "sh", "-c", "echo again")
    soon(lambda: len(fake.machines[id].exits) >= 2)
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING
    fake.clock.advance(3600)
    assert fake.spent() == pytest.approx(fake.ledger[0].price, rel=0.01)


def test_a_delete_that_was_done_and_not_said(fake: FakeRunPod, cloud: RunPod) -> None:
    id = rent(cloud)
    fake.fault("error_after", method="DELETE")
    with pytest.raises(UnknownOutcome):
        cloud.terminate(id)
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert len(sent(fake, "DELETE")) == 2


def test_rented_ends_what_is_not_said_to_be_ended(fake: FakeRunPod, cloud: RunPod) -> None:
    rented = Rented(cloud, clock=fake.clock.time, sleep=fake.clock.advance)
    for fault in ("error_after", "hang_up", "error", "html_403", "rate_limited"):
        id = rent(cloud)
        fake.fault(fault, method="DELETE")
        rented.end({"id": id, "name": NAME})
        assert fake.alive() == []


def test_a_pod_ends_itself_with_its_own_key(fake: FakeRunPod, cloud: RunPod) -> None:
    script = str(ROOT / "mimir" / "worker" / "self_terminate.py")
    id = rent(cloud, sys.executable, script, "0", MIMIR_END=json.dumps(cloud.ending()))
    soon(lambda: fake.alive() == [])
    assert cloud.get(id) is None


def test_a_pods_key_ends_that_pod_and_does_nothing_else(fake: FakeRunPod, cloud: RunPod) -> None:
    id, other = rent(cloud), rent(cloud)
    thief = adapter(fake, RUNPOD_API_KEY=fake.rental(id).shown["key"])
    for forbidden in (
        lambda: thief.get(id),
        lambda: thief.instances(),
        lambda: thief.terminate(other),
        lambda: thief.create(offer(cloud), boot(), NAME),
    ):
        with pytest.raises(AuthFailed, match="403"):
            forbidden()
    fake.fault("scoped_refused")
    with pytest.raises(AuthFailed):
        thief.terminate(id)
    thief.terminate(id)
    assert [each.id for each in fake.alive()] == [other]


def test_a_log_that_stays_open_is_read(
    fake: FakeRunPod, cloud: RunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runpod, "LOG_SILENCE", 0.3)
    id = rent(cloud, *PRINTS)
    soon(lambda: len(fake.machines[id].output()) == 2)
    fake.log_held = 20.0
    began = time.monotonic()
    assert cloud.logs(id, 9) == ["one", "two"]
    assert time.monotonic() - began < 5


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
