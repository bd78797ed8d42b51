"""Vast.ai: orders, ends and logs, against its fake."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mimir.worker.self_terminate
from launch.contract import pull
from launch.contract.cloud import ContainerSpec, Login, State
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Leaked,
    NoCapacity,
    ProviderError,
    RateLimited,
)
from launch.providers.vastai.adapter import Vast
from mimir.errors import BadInput
from tests.clouds import contract, documents
from tests.clouds.fake_vast import FakeVast
from tests.launch.providers.vastai.case import (
    NAME,
    ON_DEMAND,
    SLEEP,
    SPOT,
    adapter,
    sent,
    up,
)
from tests.waiting import wait_for


def test_the_bill_of_contracts_on_all_pages(service: FakeVast, cloud: Vast) -> None:
    since, ids = service.clock.time(), []
    for ask in (101, 102, 103):
        ids.append(up(service, cloud, replace(ON_DEMAND, key={"ask": ask})))
        service.clock.advance(10)
    service.clock.advance(3600)
    found = cloud.billed([ids[0], ids[2], "1"], since, service.clock.time())
    assert found is not None
    assert sorted(found) == sorted([ids[0], ids[2]])
    assert all(dollars > 0 for dollars in found.values())
    pages = sent(service, "GET", "/charges/")
    assert [page.query.get("after_token") for page in pages] == [None, "2"]
    day = json.loads(pages[0].query["select_filters"])["day"]
    assert day["gte"] % 86400 == day["lte"] % 86400 == 0
    assert day["gte"] <= since < day["lte"]


def test_an_order_runs_its_command_whatever_the_entry_point(service: FakeVast, cloud: Vast) -> None:
    text = "a b'c\"; $HOME `x`\n*"
    script = "import os,sys; print(sys.argv[1:], os.environ['CONTAINER_ID'], os.environ['MORE'])"
    boot = ContainerSpec(
        "org/image:tag", (sys.executable, "-c", script, text), {"MORE": "x y"}, disk_gb=40
    )
    service.restarts = False
    id = cloud.create(ON_DEMAND, boot, NAME)
    assert wait_for(service.machines[id].output) == [f"{[text]} {id} x y"]
    (order,) = sent(service, "PUT", "/api/v0/asks/101/")
    wanted = {"image": "org/image:tag", "label": NAME, "disk": 40, "env": {"MORE": "x y"}}
    wanted |= {"runtype": "args", "cancel_unavail": True, "target_state": "running"}
    assert order.body.items() >= wanted.items()
    assert "price" not in order.body
    (rental,) = service.alive()
    assert (rental.id, rental.name, rental.spot, rental.price) == (id, NAME, False, 0.4)


def test_a_spot_machine_is_ordered_with_its_bid(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud, SPOT)
    (rental,) = service.alive()
    assert (rental.id, rental.spot, rental.price) == (id, True, 0.2)
    found = cloud.get(id)
    assert found is not None
    assert found.price == pytest.approx(0.2 + 30 * 0.15 / 720)
    # Without a bid the service would rent it on demand, at the full price.
    with pytest.raises(BadInput, match="no bid"):
        cloud.create(replace(SPOT, key={"ask": 102}), SLEEP, NAME)
    assert len(service.ledger) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("no_such_ask_404", NoCapacity), ("no_such_ask_410", NoCapacity),
        ("no_such_ask_hidden", NoCapacity), ("no_credit", BalanceEmpty), ("denied", ProviderError),
    ],
)  # fmt: skip
def test_refused(service: FakeVast, cloud: Vast, fault: str, error: type[Exception]) -> None:
    service.fault(fault)
    with pytest.raises(error) as caught:
        cloud.create(ON_DEMAND, SLEEP, NAME)
    assert type(caught.value) is error
    assert service.ledger == []


def test_an_offer_that_another_has_taken(service: FakeVast, cloud: Vast) -> None:
    up(service, cloud)
    with pytest.raises(NoCapacity):
        cloud.create(ON_DEMAND, SLEEP, "mimir-r-a0002")
    with pytest.raises(NoCapacity):  # the least bid has risen since
        cloud.create(replace(SPOT, key={"ask": 102, "bid": 0.1}), SLEEP, "mimir-r-a0002")
    assert len(service.ledger) == 1


def test_a_refusal_that_names_an_instance(service: FakeVast, cloud: Vast) -> None:
    service.fault("leaked")
    with pytest.raises(Leaked) as caught:
        cloud.create(SPOT, SLEEP, NAME)
    (rental,) = service.alive()
    assert caught.value.id == rental.id
    found = cloud.get(rental.id)
    assert found is not None
    assert found.state is State.SUSPENDED
    cloud.terminate(caught.value.id)
    assert service.alive() == []


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        (replace(SLEEP, command=("sh", "-c", "x" * 4100)), "command for .* 4048"),
        (replace(SLEEP, env={"A": "x" * 33000}), "33003 bytes.*32768"),
        (replace(SLEEP, env={"-p 22:22": "hidden-value"}), "'-p 22:22' is no name"),
    ],
)
def test_an_order_that_no_machine_would_take(
    service: FakeVast, cloud: Vast, boot: ContainerSpec, words: str
) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        cloud.create(ON_DEMAND, boot, NAME)
    assert "hidden-value" not in str(caught.value)
    assert service.requests == []


def test_orders_keep_their_distance(service: FakeVast, cloud: Vast) -> None:
    begin = service.clock.time()
    for number, each in enumerate((101, 102, 103, 104), 1):
        cloud.create(replace(ON_DEMAND, key={"ask": each}), SLEEP, f"mimir-r-a{number:04d}")
    assert 13.5 <= service.clock.time() - begin < 20
    assert {each.status for each in service.requests} == {200}


def test_the_fake_refuses_what_comes_too_early(service: FakeVast) -> None:
    hasty = [adapter(service, VAST_API_KEY=service.token) for _ in range(2)]
    hasty[0].create(ON_DEMAND, SLEEP, NAME)
    with pytest.raises(RateLimited) as caught:
        hasty[1].create(replace(ON_DEMAND, key={"ask": 102}), SLEEP, NAME)
    assert caught.value.retry_after >= 12
    service.clock.advance(5.0)  # less than the penalty
    with pytest.raises(RateLimited):
        adapter(service, VAST_API_KEY=service.token).create(
            replace(ON_DEMAND, key={"ask": 102}), SLEEP, NAME
        )


def test_a_machine_ends_itself_with_the_key_that_it_finds(service: FakeVast, cloud: Vast) -> None:
    env = {"MIMIR_END": json.dumps(cloud.ending()), "MIMIR_END_PATIENCE": "0.1"}
    boot = replace(
        SLEEP, command=("python", str(Path(mimir.worker.self_terminate.__file__)), "0"), env=env
    )
    up(service, cloud, boot=boot)
    wait_for(lambda: sent(service, "DELETE", "/api/v0/instances/"))
    assert service.alive() == []
    (end,) = sent(service, "DELETE", "/api/v0/instances/")
    assert end.status == 200


def test_the_key_of_a_machine_ends_no_other(service: FakeVast, cloud: Vast) -> None:
    ids = [up(service, cloud)]
    ids.append(cloud.create(replace(ON_DEMAND, key={"ask": 102}), SLEEP, "mimir-r-a0002"))
    thief = adapter(service, VAST_API_KEY=service.contracts[int(ids[0])].key)
    with pytest.raises(AuthFailed):
        thief.terminate(ids[1])
    with pytest.raises(AuthFailed):
        thief.instances()
    thief.terminate(ids[0])
    assert [each.id for each in service.alive()] == [ids[1]]


def test_logs_come_from_where_the_service_puts_them(service: FakeVast, cloud: Vast) -> None:
    service.restarts = False
    id = up(service, cloud, boot=replace(SLEEP, command=("seq", "1", "9")))
    wait_for(lambda: len(service.machines[id].output()) == 9)
    assert cloud.logs(id, 3) == ["7", "8", "9"]
    assert len(sent(service, "GET", "/logs/")) > 1  # it was not there at once


def test_a_log_that_does_not_come(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.fault("no_log", times=2)  # the container's, and then the daemon's
    begin = service.clock.time()
    assert cloud.logs(id, 3) == []
    assert service.clock.time() - begin < 40
    cloud.terminate(id)
    assert cloud.logs(id, 3) == []


def test_the_daemon_tells_of_a_container_that_printed_nothing(
    service: FakeVast, cloud: Vast
) -> None:
    service.fault("no_pull")
    id = up(service, cloud)
    lines = cloud.logs(id, 9)
    assert lines[0] == "system: docker pull org/image:tag"
    assert "pull rate limit" in pull.failure(lines)
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.said[:24]) == (State.BROKEN, "loading: toomanyrequests")


def test_a_registrys_login_goes_with_the_order(service: FakeVast, cloud: Vast) -> None:
    login = Login("docker.io", "me", "token-of-a-person")
    up(service, cloud, boot=replace(SLEEP, login=login))
    (order,) = sent(service, "PUT", "/asks/")
    assert order.body["image_login"] == "-u me -p token-of-a-person docker.io"


# The document


def test_what_leaves_the_vendors_document_is_noticed(service: FakeVast, cloud: Vast) -> None:
    document = contract.document("vast.yaml")
    up(service, cloud)
    order = service.requests[0]
    wrong = [
        order._replace(body={**order.body, "runtype": "shell"}),
        order._replace(answer={**order.answer, "new_contract": "7"}),
    ]
    found = contract.check(document, [order, *wrong], documents.VAST)
    assert len(found) == 2
    assert "$.runtype" in found[0]
    assert "$.new_contract" in found[1]
