"""Google's adapter against a fake: what is offered, ordered, seen and ended."""

import re
from typing import Any

import pytest

from launch.contract.cloud import ContainerSpec, Instance, State, machine_name
from launch.contract.errors import (
    AccountLimit,
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.providers.gcp import market, order
from launch.providers.gcp.adapter import Gcp
from launch.providers.rented import Rented
from mimir.errors import BadInput, MimirError
from mimir.runs.hosts import Hosts
from tests.clouds import discovery
from tests.clouds.fake_gcp import PROJECT, STOCKOUT, FakeGcp
from tests.clouds.server import Exchange
from tests.launch.providers.gcp.conftest import adapter

NAME = "mimir-r_1-a0001-o0123abcd"
SLEEP = ContainerSpec("org/image:tag", ("sleep", "60"), {"MIMIR_RUN": "r_1"}, seconds=600.0)
INSERT = {"method": "POST", "path": "/instances$"}


def spot(cloud: Gcp) -> Offer:
    return next(o for o in cloud.offers(Need(spot=True)) if o.spot and o.gpu == "L4")


def sent(service: FakeGcp) -> list[Exchange]:
    return [e for e in service.requests if e.method == "POST" and e.path.endswith("/instances")]


def test_offers(service: FakeGcp, cloud: Gcp) -> None:
    found = cloud.offers(Need(spot=True))
    assert {each.gpu for each in found} == {"L4", "T4", "A100 40GB"}
    disk = (50 + 30) * 0.1 / market.HOURS_A_MONTH
    offer = spot(cloud)
    core, ram, card = 4 * 0.010, 16 * 0.001, 0.22
    assert offer.price == pytest.approx(core + ram + card + disk + market.ADDRESS, abs=1e-5)
    assert offer.region == offer.place.rpartition("-")[0]
    assert all(not each.spot for each in cloud.offers(Need()))
    assert {each.gpu for each in cloud.offers(Need(gpus=("T4",)))} == {"T4"}
    europe = cloud.offers(Need(hosts=Hosts(regions=("europe",))))
    assert {each.place for each in europe} == {"europe-west4-a"}
    assert {each.gpu for each in europe} == {"L4"}, "no zone is offered without its GPU"


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ("T4", "no machine with one T4 there, but in us-central1: name another --gpu or --region"),
        ("H100 SXM", "no machine with one H100 SXM that Mimir rents"),
    ],
)
def test_a_region_without_the_gpu(cloud: Gcp, gpu: str, said: str) -> None:
    with pytest.raises(NoCapacity, match=said):
        cloud.offers(Need(gpus=(gpu,), hosts=Hosts(regions=("europe-west4",))))


def test_an_order_is_one_machine_that_google_deletes(service: FakeGcp, cloud: Gcp) -> None:
    """The laptop is gone, and nothing ever starts on it."""
    id = cloud.create(spot(cloud), SLEEP, NAME)
    (order_sent,) = sent(service)
    scheduling = order_sent.body["scheduling"]
    assert scheduling["maxRunDuration"] == {"seconds": "600"}
    assert scheduling["instanceTerminationAction"] == "DELETE"
    assert scheduling["provisioningModel"] == "SPOT"
    assert "serviceAccounts" not in order_sent.body
    found = cloud.get(id)
    assert found is not None
    assert (found.name, found.state) == (NAME, State.RUNNING), "the name with its _"
    assert [each.id for each in cloud.instances()] == [id]
    service.clock.advance(601.0)
    assert cloud.get(id) is None
    assert service.ledger[0].shown["deleted"] == "maxRunDuration"
    cloud.terminate(id)  # which is no error


def test_names_that_google_takes() -> None:
    names = [
        machine_name(run, 1, "0123abcd")
        for run in ("r", "r_1", "r-1", "a" * 41, "_".join("a" * 20))
    ]
    made = [order.own_name(name) for name in names]
    assert all(re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", each) for each in made)
    assert len(set(made)) == len(made)
    assert made[0] == names[0]


def test_a_lost_order_is_asked_again_and_made_once(service: FakeGcp, cloud: Gcp) -> None:
    service.fault("lost_after", **INSERT)
    id = cloud.create(spot(cloud), SLEEP, NAME)
    first, second = sent(service)
    assert first.query == second.query
    assert [rental.id for rental in service.ledger] == [id]


def test_a_machine_of_this_name_is_looked_for_and_not_made_again(
    service: FakeGcp, cloud: Gcp
) -> None:
    offer = spot(cloud)
    cloud.create(offer, SLEEP, NAME)
    service.forget()
    with pytest.raises(UnknownOutcome, match="already"):
        cloud.create(offer, SLEEP, NAME)
    assert len(service.ledger) == 1


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (STOCKOUT, NoCapacity, "zones with room: us-central1-b"),
        ("ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity, "us-central1-b"),
        ("QUOTA_EXCEEDED", AccountLimit, "iam-admin/quotas"),
        ("NOBODY_KNOWS", ProviderError, "NOBODY_KNOWS"),
    ],
)  # fmt: skip
def test_an_order_fails_after_it_was_accepted(
    service: FakeGcp, cloud: Gcp, code: str, kind: type[MimirError], said: str
) -> None:
    service.fault("fails", code=code, **INSERT)
    with pytest.raises(MimirError, match=said) as caught:
        cloud.create(spot(cloud), SLEEP, NAME)
    assert type(caught.value) is kind
    assert service.ledger == []


def test_a_preemption_is_told_from_an_end(service: FakeGcp, cloud: Gcp) -> None:
    offer = spot(cloud)
    one, two = (cloud.create(offer, SLEEP, f"mimir-r-a000{n}") for n in (1, 2))
    service.preempt(one)
    found = cloud.get(one)
    assert found is not None
    assert (found.state, found.taken) == (State.GONE, True)
    rented = Rented(cloud, clock=service.clock.time, sleep=service.clock.advance)
    rented.end_instance(Instance(one, "mimir-r-a0001", State.RUNNING))  # gone, though nameless
    cloud.terminate(two)
    assert cloud.get(two) is None


def test_a_list_without_a_zone_is_not_whole(service: FakeGcp, cloud: Gcp) -> None:
    service.fault("unreachable", path="aggregated/instances")
    with pytest.raises(ProviderError, match="could not reach zones/us-central1-b"):
        cloud.instances()


REFUSED: dict[str, tuple[dict[str, Any], type[MimirError], str]] = {
    "disabled API": ({"status": 403, "reason": "accessNotConfigured"}, AuthFailed,
                     "gcloud services enable compute.googleapis.com"),
    "no right": ({"status": 403, "reason": "forbidden"}, AuthFailed, "a right is missing"),
    "no billing": ({"status": 403, "reason": "billingNotEnabled"}, BalanceEmpty, "billing account"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "kind", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_user_must_mend(
    service: FakeGcp, cloud: Gcp, fault: dict[str, Any], kind: type[MimirError], said: str
) -> None:
    service.fault("reason", 50, **fault)
    with pytest.raises(kind, match=said):
        cloud.offers(Need())
    assert [(each.status, said in each.details) for each in cloud.checks()] == [("fail", True)]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MIMIR_GCP_PROJECT": ""}, "set MIMIR_GCP_PROJECT"),
        ({"MIMIR_GCP_PROJECT": "another"}, "look at .MIMIR_GCP_PROJECT"),
        ({"MIMIR_GCP_PROJECT": "No Project"}, "is not the id of a project"),
        ({"CLOUDSDK_AUTH_ACCESS_TOKEN": "wrong"}, "is not accepted"),
        ({"CLOUDSDK_AUTH_ACCESS_TOKEN": "two words"}, "characters that no key has"),
    ],
)  # fmt: skip
def test_wrong_settings(service: FakeGcp, environ: dict[str, str], said: str) -> None:
    cloud = adapter(service, **environ)
    for ask in (cloud.instances, lambda: cloud.get(f"{PROJECT}/us-central1-a/mimir-r")):
        with pytest.raises(MimirError, match=said) as caught:
            ask()  # type: ignore[operator]
        assert caught.value.exit_code == 78


def test_another_project_says_nothing_of_a_machine(service: FakeGcp, cloud: Gcp) -> None:
    """The machine runs, and costs: it must not be taken for gone."""
    id = cloud.create(spot(cloud), SLEEP, NAME)
    other = adapter(service, MIMIR_GCP_PROJECT="another")
    before = len(service.requests)
    for ask in (other.get, other.terminate, lambda id: other.logs(id, 1)):
        with pytest.raises(AuthFailed, match=f"{id}' is not in Google's project another"):
            ask(id)
    assert len(service.requests) == before
    with pytest.raises(BadInput, match="PROJECT/ZONE/NAME"):
        cloud.get("us-central1-a/mimir-r")


def test_quotas_are_told_before_an_order(service: FakeGcp, cloud: Gcp) -> None:
    service.quotas["us-central1"]["NVIDIA_L4_GPUS"] = (0, 0)
    found = cloud.offers(Need(spot=True))
    assert {o.spot for o in found if o.gpu == "L4" and o.region == "us-central1"} == {True}
    assert "NVIDIA_L4_GPUS" in " ".join(cloud.left_out())
    service.quotas[""]["GPUS_ALL_REGIONS"] = (1, 1)
    with pytest.raises(AccountLimit, match="GPUS_ALL_REGIONS is used up or 0: ask for 1"):
        cloud.offers(Need(spot=True))
    assert any(each.status == "fail" for each in cloud.checks())


def test_the_discovery_document_holds_the_fake(service: FakeGcp, cloud: Gcp) -> None:
    cloud.create(spot(cloud), SLEEP, NAME)
    if discovery.violations(sent(service)) or not discovery._documents():
        pytest.skip("Google's discovery documents are not here: set MIMIR_OPENAPI to their folder")
    (right,) = sent(service)
    wrong = right._replace(body={**right.body, "shape": 1})
    assert ["there is no such field" in each for each in discovery.violations([wrong])] == [True]
    elsewhere = right._replace(path="/compute/v1/nowhere")
    assert ["has such a request" in each for each in discovery.violations([elsewhere])] == [True]
