"""The adapter of Vast.ai against its fake: what it asks for, what it makes of the answers."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import mimir.ending
from launch.errors import (
    AuthFailed,
    BalanceEmpty,
    Leaked,
    NoCapacity,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.providers import vastai_market, vastai_words
from launch.providers.cloud import Boot, State
from launch.providers.offer import Need, Offer
from launch.providers.vastai import Vast
from mimir.errors import BadInput
from tests.clouds.fake_vast import FakeVast
from tests.clouds.vast_market import ask

SLEEP = Boot("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r"})
NAME = "mimir-r-a0001"
PLAIN = httpx.HTTPTransport(verify=False)
"""Loopback needs no certificates: to load them takes ten times as long as a request."""
ON_DEMAND = Offer("vastai", "101", "RTX 4090", 25.8, 0.5, key={"ask": 101})
SPOT = Offer("vastai", "101-spot", "RTX 4090", 25.8, 0.3, spot=True, key={"ask": 101, "bid": 0.2})


@pytest.fixture
def service() -> Iterator[FakeVast]:
    with FakeVast() as made:
        yield made


@pytest.fixture
def cloud(service: FakeVast) -> Vast:
    return adapter(service, VAST_API_KEY=service.token)


def adapter(service: FakeVast, **environ: str) -> Vast:
    return Vast(
        environ={"MIMIR_VAST_URL": service.url, **environ},
        transport=PLAIN, clock=service.clock.time, sleep=service.clock.advance,
    )  # fmt: skip


def until(there: Callable[[], Any]) -> Any:
    for _ in range(500):
        found = there()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come")


def sent(service: FakeVast, method: str, path: str) -> list[Any]:
    return [each for each in service.requests if each.method == method and path in each.path]


def up(service: FakeVast, cloud: Vast, offer: Offer = ON_DEMAND, boot: Boot = SLEEP) -> str:
    """A machine that works."""
    id = cloud.create(offer, boot, NAME)
    service.clock.advance(1.0)
    return id


# Offers


def test_an_offer_costs_gpu_disk_and_traffic(service: FakeVast, cloud: Vast) -> None:
    service.asks = [ask(9, "RTX 4090", 24564, 0.4, 0.1, storage_cost=0.72, inet_up_cost=0.01,
                        inet_down_cost=0.02, geolocation="Sweden, SE")]  # fmt: skip
    (offer,) = cloud.offers(Need(disk_gb=30, hours=4))
    # 30 GB of 0.72 $ a month, 10 GB up an hour, and 4 GB down once in 4 hours.
    assert offer.price == pytest.approx(0.4 + 0.03 + 0.1 + 0.02)
    assert (offer.id, offer.gpu, offer.place, offer.region) == (
        "9",
        "RTX 4090",
        "50009",
        "Sweden, SE",
    )
    assert offer.memory_gb == 25.8
    assert not offer.spot
    assert Offer.from_json(json.loads(json.dumps(offer.as_json()))) == offer


def test_spot_offers_bid_more_than_the_least_and_no_more_than_on_demand(
    service: FakeVast, cloud: Vast
) -> None:
    service.asks = [
        ask(1, "RTX 4090", 24564, 0.40, 0.16), ask(2, "RTX 4090", 24564, 0.40, 0.39),
        ask(3, "RTX 4090", 24564, 0.40, 0.40), ask(4, "RTX 4090", 24564, 0.40, None),
    ]  # fmt: skip
    assert not [offer for offer in cloud.offers(Need()) if offer.spot]
    spot = {offer.key["ask"]: offer for offer in cloud.offers(Need(spot=True)) if offer.spot}
    assert {number: offer.key["bid"] for number, offer in spot.items()} == {1: 0.2, 2: 0.4}
    plain = {offer.key["ask"]: offer for offer in cloud.offers(Need(spot=True)) if not offer.spot}
    assert spot[1].price - 0.2 == pytest.approx(plain[1].price - 0.4)
    assert len({offer.id for offer in cloud.offers(Need(spot=True))}) == 6


@pytest.mark.parametrize(
    ("least", "on_demand", "price"),
    [(0.16, 0.4, 0.2), (0.1001, 0.4, 0.126), (0.0001, 0.4, 0.001), (0.35, 0.4, 0.4),
     (0.4, 0.4, None), (0.5, 0.4, None), (0.0, 0.4, None), (0.08, 1.0, 0.1)],
)  # fmt: skip
def test_bid(least: float, on_demand: float, price: float | None) -> None:
    assert vastai_market.bid(least, on_demand) == price


@pytest.mark.parametrize(
    "wrong",
    [
        {"verification": "unverified"}, {"rentable": False}, {"rented": True}, {"num_gpus": 2},
        {"reliability2": 0.94}, {"cuda_max_good": 12.1}, {"disk_space": 20.0},
        {"duration": 3 * 3600.0}, {"gpu_arch": "amd"}, {"cpu_arch": "arm64"}, {"inet_down": 20.0},
        {"gpu_ram": 8192}, {"dph_base": 0}, {"dph_base": "0.4"}, {"machine_id": None},
        {"dph_base": 5.0}, {"gpu_name": "RTX 3090"},
    ],
)  # fmt: skip
def test_what_the_search_lets_through_is_checked_again(
    service: FakeVast, cloud: Vast, wrong: dict[str, Any]
) -> None:
    need = Need(memory_gb=20, gpus=("RTX 4090",), max_price=1.0, disk_gb=30, hours=4)
    good = ask(1, "RTX 4090", 24564, 0.4, 0.16)
    service.asks = [good, {**good, "id": 2, **wrong}]
    service.fault("unfiltered")
    assert [offer.id for offer in cloud.offers(need)] == ["1"]


def test_the_search_asks_for_what_is_needed(service: FakeVast, cloud: Vast) -> None:
    need = Need(memory_gb=10, gpus=("A100 80GB", "H100 SXM"), hours=5, disk_gb=50)
    assert {offer.gpu for offer in cloud.offers(need)} == {"A100 80GB", "H100 SXM"}
    (search,) = sent(service, "POST", "/api/v0/bundles/")
    assert search.body["gpu_ram"]["gte"] == pytest.approx(72e9 / 2**20, abs=1)
    assert search.body["duration"] == {"gte": 5 * 3600}
    assert search.body["disk_space"] == {"gte": 50}
    assert search.body["allocated_storage"] == 50


@pytest.mark.parametrize("answer", ["html_200", "denied"])
def test_a_search_without_offers_in_it_is_an_error(
    service: FakeVast, cloud: Vast, answer: str
) -> None:
    service.fault(answer, times=4)
    with pytest.raises(ProviderError):
        cloud.offers(Need())


def test_the_daily_quota_of_searches_is_not_waited_for(service: FakeVast, cloud: Vast) -> None:
    service.fault("search_quota")
    with pytest.raises(RateLimited) as caught:
        cloud.offers(Need())
    assert caught.value.retry_after > 600
    assert len(service.requests) == 1


# Create


def test_an_order_runs_its_command_whatever_the_entry_point(service: FakeVast, cloud: Vast) -> None:
    text = "a b'c\"; $HOME `x`\n*"
    script = "import os,sys; print(sys.argv[1:], os.environ['CONTAINER_ID'], os.environ['MORE'])"
    boot = Boot("org/image:tag", (sys.executable, "-c", script, text), {"MORE": "x y"}, disk_gb=40)
    service.restarts = False
    id = cloud.create(ON_DEMAND, boot, NAME)
    assert until(service.machines[id].output) == [f"{[text]} {id} x y"]
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
        ("no_such_ask_hidden", NoCapacity), ("no_credit", BalanceEmpty), ("plain_429", RateLimited),
        ("html_403", ProviderError), ("denied", ProviderError),
    ],
)  # fmt: skip
def test_refused(service: FakeVast, cloud: Vast, fault: str, error: type[Exception]) -> None:
    service.fault(fault)
    with pytest.raises(error) as caught:
        cloud.create(ON_DEMAND, SLEEP, NAME)
    assert type(caught.value) is error
    assert service.ledger == []
    assert len(service.requests) == 1


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


@pytest.mark.parametrize("fault", ["lost_after", "error_after", "nameless", "html_200"])
def test_a_lost_answer_is_an_unknown_outcome_of_one_request(
    service: FakeVast, cloud: Vast, fault: str
) -> None:
    service.fault(fault)
    with pytest.raises(UnknownOutcome):
        cloud.create(ON_DEMAND, SLEEP, NAME)
    assert len(service.requests) == 1
    made = [NAME] if fault != "html_200" else []
    assert [each.name for each in cloud.instances()] == made


@pytest.mark.parametrize(
    ("boot", "words"),
    [
        (replace(SLEEP, command=("sh", "-c", "x" * 4100)), "command for .* 4048"),
        (replace(SLEEP, env={"A": "x" * 33000}), "33003 bytes.*32768"),
        (replace(SLEEP, env={"-p 22:22": "hidden-value"}), "'-p 22:22' is no name"),
    ],
)
def test_an_order_that_no_machine_would_take(
    service: FakeVast, cloud: Vast, boot: Boot, words: str
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


# What there is


def test_a_list_has_all_pages_and_only_our_names(service: FakeVast, cloud: Vast) -> None:
    service.spacing.clear()
    service.asks = [ask(n, "RTX 4090", 24564, 0.4, 0.2) for n in range(1, 61)]
    service.runs = lambda argv, env: ["true"]
    service.restarts = False
    for n in range(1, 61):
        label = "their-machine" if n in (1, 30, 60) else f"mimir-r-a{n:04d}"
        body = {"image": "i", "label": label, "runtype": "args", "onstart": "/bin/true"}
        path = f"{service.url}/api/v0/asks/{n}/"
        headers = {"Authorization": f"Bearer {service.token}"}
        with httpx.Client(transport=PLAIN, headers=headers) as client:
            assert client.put(path, json=body).status_code == 200
    names = [each.name for each in cloud.instances()]
    assert names == [f"mimir-r-a{n:04d}" for n in range(1, 61) if n not in (1, 30, 60)]
    assert len(sent(service, "GET", "/api/v1/instances/")) == 3


@pytest.mark.parametrize(
    "fault", ["deprecated_list", "partial_list", "denied", "html_200", "error"]
)
def test_a_list_that_failed_is_not_an_empty_one(service: FakeVast, cloud: Vast, fault: str) -> None:
    up(service, cloud)
    service.fault(fault, times=4, path="/instances/")
    with pytest.raises(ProviderError):
        cloud.instances()


def test_a_list_is_asked_for_again_after_a_busy_moment(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.fault("error", path="/instances/")
    service.fault("plain_429", path="/instances/")
    assert [each.id for each in cloud.instances()] == [id]


def test_a_list_without_end(service: FakeVast) -> None:
    page = {"success": True, "instances": [], "next_token": "same"}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=page))
    cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
    with pytest.raises(ProviderError, match="no end"):
        cloud.instances()


def test_a_machine_from_order_to_end(service: FakeVast, cloud: Vast) -> None:
    service.provisioning = 100.0
    id = cloud.create(ON_DEMAND, SLEEP, NAME)

    def seen() -> tuple[State, str]:
        found = cloud.get(id)
        assert found is not None
        assert (found.id, found.name, found.place, found.address) == (
            id,
            NAME,
            "50101",
            "192.0.2.45",
        )
        return found.state, found.said

    assert seen() == (State.PENDING, "no status")
    service.clock.advance(60)
    assert seen() == (State.PENDING, "loading")
    service.clock.advance(60)
    assert seen() == (State.RUNNING, "running")
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert service.alive() == []


def test_outbid_and_back_again(service: FakeVast, cloud: Vast) -> None:
    script = "echo up >> here; echo begun; exec sleep 60"
    id = up(service, cloud, SPOT, replace(SLEEP, command=("sh", "-c", script)))
    machine = service.machines[id]
    until(lambda: machine.output() == ["begun"])
    service.clock.advance(3600)
    running = service.spent()
    assert running == pytest.approx(0.2 + 30 * 0.15 / 720, rel=0.01)
    service.outbid(id)
    assert not machine.working
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.said) == (State.SUSPENDED, "stopped (exited)")
    assert found.price == pytest.approx(30 * 0.15 / 720)
    service.clock.advance(3600)
    assert service.spent() - running == pytest.approx(30 * 0.15 / 720, rel=0.05)
    service.resume(id)
    service.clock.advance(1)
    until(lambda: machine.output() == ["begun", "begun"])
    assert (machine.disk / "here").read_text() == "up\nup\n"
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [("stuck", State.PENDING, "loading"), ("oci", State.BROKEN, "OCI runtime create failed"),
     ("odd_status", State.BROKEN, "hibernating")],
)  # fmt: skip
def test_a_machine_that_does_not_come_up(
    service: FakeVast, cloud: Vast, fault: str, state: State, words: str
) -> None:
    service.fault(fault)
    id = up(service, cloud)
    service.clock.advance(1800)
    for found in (cloud.get(id), *cloud.instances()):
        assert found is not None
        assert found.state is state
        assert words in found.said


def test_a_host_that_is_gone(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.offline(id)
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.said) == (State.BROKEN, "offline")


def test_a_container_that_exits_is_started_again_or_shown_as_exited(
    service: FakeVast, cloud: Vast
) -> None:
    short = replace(SLEEP, command=("echo", "ran"))
    id = up(service, cloud, boot=short)
    until(lambda: len(service.machines[id].output()) >= 2)
    service.restarts = False
    other = cloud.create(replace(ON_DEMAND, key={"ask": 102}), short, NAME)
    service.clock.advance(1)
    until(lambda: service.machines[other].exits)
    found = cloud.get(other)
    assert found is not None
    assert found.state is State.BROKEN
    assert len(service.alive()) == 2  # its end ends no bill


RUNNING = {"actual_status": "running", "cur_state": "running", "next_state": "running"}


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (RUNNING, State.RUNNING),
        ({"actual_status": None, "cur_state": "unloaded", "next_state": "running"}, State.PENDING),
        ({**RUNNING, "actual_status": "rebooting"}, State.PENDING),
        ({**RUNNING, "actual_status": "loading", "status_msg": "Pull complete"}, State.PENDING),
        ({**RUNNING, "actual_status": "loading", "status_msg": "manifest unknown"}, State.BROKEN),
        ({**RUNNING, "actual_status": "exited"}, State.BROKEN),
        ({**RUNNING, "actual_status": "unknown"}, State.BROKEN),
        ({**RUNNING, "actual_status": "offline"}, State.BROKEN),
        ({**RUNNING, "actual_status": "destroyed"}, State.BROKEN),
        ({**RUNNING, "actual_status": 7}, State.PENDING),
        ({"actual_status": "exited", "cur_state": "stopped", "next_state": "stopped",
          "intended_status": "stopped", "is_bid": True}, State.SUSPENDED),
        ({"actual_status": "running", "cur_state": "stopped", "next_state": "stopped"},
         State.SUSPENDED),
        ({"actual_status": "stopped", "cur_state": "stopped", "next_state": "running"},
         State.PENDING),
        ({"actual_status": "frozen", "intended_status": "frozen"}, State.SUSPENDED),
    ],
)  # fmt: skip
def test_states(row: dict[str, Any], state: State) -> None:
    assert vastai_words.state(row) is state


@pytest.mark.parametrize("answer", [{}, {"instances": []}, {"instances": {"label": "x"}}, []])
def test_gone_is_only_what_is_said_to_be_gone(answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
    with pytest.raises(ProviderError):
        cloud.get("7")


def test_a_404_of_another_kind_is_not_gone(service: FakeVast) -> None:
    for body in ("404: Not Found", '{"error": "no_route"}', ""):
        transport = httpx.MockTransport(lambda request, body=body: httpx.Response(404, text=body))
        cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
        with pytest.raises(ProviderError, match="404"):
            cloud.get("7")
        with pytest.raises(ProviderError, match="404"):
            cloud.terminate("7")


@pytest.mark.parametrize("id", ["", "x", "7/../8", "-1", "0"])
def test_an_id_that_is_none(service: FakeVast, cloud: Vast, id: str) -> None:
    for act in (cloud.get, cloud.terminate, lambda each: cloud.logs(each, 5)):
        with pytest.raises(BadInput):
            act(id)
    assert service.requests == []


# The end


def test_ending_what_is_gone_is_no_error(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    cloud.terminate(id)
    cloud.terminate(id)
    assert [each.status for each in sent(service, "DELETE", id)] == [200, 404]


def test_a_500_that_ended_it(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.fault("error_after", method="DELETE")
    with pytest.raises(UnknownOutcome):
        cloud.terminate(id)
    assert len(sent(service, "DELETE", id)) == 1
    cloud.terminate(id)
    assert cloud.get(id) is None


def test_an_end_that_is_denied(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.fault("denied", method="DELETE")
    with pytest.raises(ProviderError):
        cloud.terminate(id)
    assert len(service.alive()) == 1


def test_a_machine_ends_itself_with_the_key_that_it_finds(service: FakeVast, cloud: Vast) -> None:
    env = {"MIMIR_END": json.dumps(cloud.ending()), "MIMIR_END_PATIENCE": "0.1"}
    boot = replace(SLEEP, command=("python", str(Path(mimir.ending.__file__)), "0"), env=env)
    up(service, cloud, boot=boot)
    until(lambda: not service.alive())
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


# Logs


def test_logs_come_from_where_the_service_puts_them(service: FakeVast, cloud: Vast) -> None:
    service.restarts = False
    id = up(service, cloud, boot=replace(SLEEP, command=("seq", "1", "9")))
    until(lambda: len(service.machines[id].output()) == 9)
    assert cloud.logs(id, 3) == ["7", "8", "9"]
    assert len(sent(service, "GET", "/logs/")) > 1  # it was not there at once


def test_a_log_that_does_not_come(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.fault("no_log")
    begin = service.clock.time()
    assert cloud.logs(id, 3) == []
    assert service.clock.time() - begin < 20
    cloud.terminate(id)
    assert cloud.logs(id, 3) == []


# Keys


def test_no_key(service: FakeVast) -> None:
    cloud = adapter(service, HOME="/nowhere")
    with pytest.raises(AuthFailed, match=r"VAST_API_KEY") as caught:
        cloud.instances()
    assert "manage-keys" in str(caught.value)
    assert "instance_write" in str(caught.value)
    assert [(each.name, each.status) for each in cloud.checks()] == [("key", "fail")]
    assert service.requests == []


def test_the_key_of_the_vendors_tool(service: FakeVast, tmp_path: Path) -> None:
    file = tmp_path / ".config/vastai/vast_api_key"
    file.parent.mkdir(parents=True)
    file.write_text(service.token + "\n")
    assert adapter(service, HOME=str(tmp_path)).instances() == []


@pytest.mark.parametrize("key", ["no-such-key", "with space", "böse"])
def test_a_wrong_key_is_named_but_not_shown(service: FakeVast, key: str) -> None:
    cloud = adapter(service, VAST_API_KEY=key)
    acts: list[Callable[[], Any]] = [
        lambda: cloud.offers(Need()), cloud.instances, lambda: cloud.get("7"),
        lambda: cloud.create(ON_DEMAND, SLEEP, NAME), lambda: cloud.terminate("7"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(AuthFailed) as caught:
            act()
        assert key not in str(caught.value)
    assert key not in repr(vars(cloud).get("_made"))


def test_a_key_goes_to_no_plain_http_address() -> None:
    cloud = Vast(environ={"VAST_API_KEY": "k", "MIMIR_VAST_URL": "http://vast.invalid"})
    with pytest.raises(BadInput, match="https"):
        cloud.instances()


def test_checks(service: FakeVast, cloud: Vast) -> None:
    def found() -> dict[str, str]:
        return {each.name: each.status for each in cloud.checks()}

    fine = {"key": "ok", "credit": "ok", "rights": "ok", "machines": "ok"}
    assert found() == fine
    service.credit = 2.0
    assert found() == {**fine, "credit": "warn"}
    service.credit = 0.0
    assert found() == {**fine, "credit": "fail"}
    service.credit = 50.0
    service.rights.discard("instance_write")
    assert found() == {**fine, "rights": "fail"}
    assert any("instance_write" in each.details for each in cloud.checks())
    service.fault("html_403", path="apikeys")
    assert found() == {**fine, "rights": "warn"}
    assert service.ledger == []


def test_a_key_without_the_right_to_create(service: FakeVast, cloud: Vast) -> None:
    service.rights.discard("instance_write")
    with pytest.raises(AuthFailed, match=r"lacks a right.*instance_write"):
        cloud.create(ON_DEMAND, SLEEP, NAME)


def test_what_is_asked_for_stays_in_one_line(service: FakeVast) -> None:
    error = vastai_words.refusal(400, {"error": "x", "msg": "a\n" * 900})
    assert re.fullmatch(r"[^\n]{1,400}", str(error))
