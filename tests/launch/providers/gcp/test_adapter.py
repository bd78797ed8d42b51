"""Google's adapter against a fake: what is offered, ordered, seen and ended."""

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
    BalanceEmpty,
    Misconfigured,
    NoCapacity,
    ProviderError,
    UnknownOutcome,
)
from launch.contract.offer import Need, Offer
from launch.providers.gcp import market, operations, order
from launch.providers.gcp.adapter import Gcp
from mimir.errors import BadInput, MimirError
from mimir.runs.hosts import Hosts
from tests.clouds import discovery, fake_gcp
from tests.clouds.fake_gcp import PROJECT, FakeGcp
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
    assert {each.gpu for each in found} == {"L4", "T4", "A100 40GB", "RTX PRO 6000"}
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
    over = cloud.get(id)
    assert over is not None
    assert (over.state, over.taken) == (State.GONE, False)
    assert service.ledger[0].shown["deleted"] == "maxRunDuration"
    cloud.terminate(id)  # which is no error


def test_a_machine_that_comes_late_is_gone_as_soon_as_is_said(service: FakeGcp, cloud: Gcp) -> None:
    """Its longest run counts from when it runs, and Google may be late at the end, too."""
    service.provisioning, service.late = operations.WITHIN - 10.0, order.SLACK
    id = cloud.create(spot(cloud), replace(SLEEP, seconds=1800.0), NAME)
    (rental,) = service.ledger
    assert service.clock.time() >= rental.born + service.provisioning, "it was waited for"
    service.clock.advance(7200.0)
    over = cloud.get(id)
    assert over is not None
    assert over.state is State.GONE
    assert rental.ended is not None
    assert rental.ended - rental.born == pytest.approx(1800.0 + operations.WITHIN + 20.0)


def test_google_deletes_a_machine_after_its_own_ways_and_within_what_is_said() -> None:
    """The seconds of an order end so long behind its deadline (launch/payload/container.py)."""
    ways = deadlines.SHELL_OVERTIME + deadlines.KILL_AFTER + deadlines.SELF_TERMINATE_WITHIN
    assert order.longest_run(ways) >= ways, "also for a machine that comes up at once"
    latest = order.longest_run(ways) + operations.WITHIN + order.SLACK
    said = int(Gcp.caps.service_deadline.split("within ")[1].split()[0])
    assert latest / 60 <= said < latest / 60 + 1


def user_data(made: dict[str, Any]) -> dict[str, Any]:
    (text,) = [each["value"] for each in made["metadata"]["items"] if each["key"] == "user-data"]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_a_machine_knows_when_google_deletes_it(cloud: Gcp) -> None:
    """And has no timer of its own: what shuts down before is deleted by nobody."""
    made = order.order(spot(cloud), replace(SLEEP, seconds=9000.0), NAME)
    data = user_data(made)
    assert "bootcmd" not in data
    script = data["write_files"][1]["content"]
    assert made["scheduling"]["maxRunDuration"] == {"seconds": "9000"}
    assert "echo $((9000 - $(up)))" in script
    without = order.order(spot(cloud), replace(SLEEP, seconds=0.0), NAME)
    assert "maxRunDuration" not in without["scheduling"]
    assert "[ 0 != 0 ] &&" in user_data(without)["write_files"][1]["content"], "it is always off"


def test_a_machine_that_shut_itself_down_costs_its_disk(service: FakeGcp, cloud: Gcp) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    running = cloud.get(id)
    assert running is not None
    assert (running.price, running.stopped) == (None, None)
    assert cloud.leftovers() == []
    service.clock.advance(10.0)
    service.shut_down(id)
    at = service.ledger[0].shown["stopped"]
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.taken, found.address) == (State.BROKEN, False, "")
    assert found.said == "TERMINATED: shut down from within"
    assert found.price == pytest.approx(80 * 0.1 / market.HOURS_A_MONTH, abs=1e-6)
    assert found.stopped == at
    (listed,) = cloud.instances()
    assert (listed.id, listed.price, listed.stopped) == (id, found.price, found.stopped)
    (left,) = cloud.leftovers()
    assert left.remove == f"python -m launch reap --provider gcp --machine {id}"
    service.clock.advance(7200.0)
    assert cloud.get(id) is not None, "Google deletes it no more"
    cloud.terminate(id)
    over = cloud.get(id)
    assert over is not None
    assert (over.state, over.stopped) == (State.GONE, at)
    assert cloud.leftovers() == []


def test_a_machine_of_an_older_order_tells_no_price(service: FakeGcp, cloud: Gcp) -> None:
    offer = spot(cloud)
    old = replace(offer, key={k: v for k, v in offer.key.items() if k != "disk_price"})
    id = cloud.create(old, SLEEP, NAME)
    service.say(id, "TERMINATED")
    found = cloud.get(id)
    assert found is not None
    assert (found.price, found.stopped) == (None, None)


@pytest.mark.parametrize("label", ["-11000", "0", "999999999", "a-few", ""])
def test_a_label_that_somebody_changed_tells_no_price(
    service: FakeGcp, cloud: Gcp, label: str
) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.say(id, "TERMINATED")
    labels = service.ledger[0].shown["labels"]
    assert int(labels[order.DISK]) > 0
    labels[order.DISK] = label
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.price) == (State.BROKEN, None)


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
    def ways() -> set[bool]:
        found = cloud.offers(Need(spot=True))
        return {o.spot for o in found if o.gpu == "L4" and o.region == "us-central1"}

    own, temporary = "NVIDIA_L4_GPUS", "PREEMPTIBLE_NVIDIA_L4_GPUS"
    for empty, other in ((own, temporary), (temporary, own)):
        service.quotas["us-central1"] |= {empty: (0, 0), other: (4, 0)}
        assert ways() == {False, True}, "a machine that does not stay may draw on either"
        assert not cloud.left_out()
    service.quotas["us-central1"] |= {own: (0, 0), temporary: (0, 0)}
    assert ways() == set()
    assert "NVIDIA_L4_GPUS" in " ".join(cloud.left_out())
    service.quotas[""]["GPUS_ALL_REGIONS"] = (1, 1)
    with pytest.raises(AccountLimit, match="GPUS_ALL_REGIONS is used up or 0: one machine"):
        cloud.offers(Need(spot=True))
    assert any(each.status == "fail" for each in cloud.checks())


def test_the_processors_of_a_whole_project(service: FakeGcp, cloud: Gcp) -> None:
    """Its larger machines are barred alone, until there is no room for the least one."""
    service.quotas[""]["CPUS_ALL_REGIONS"] = (12, 8)
    found = cloud.offers(Need())
    assert found
    assert max(each.vcpus for each in found) <= 4
    service.quotas[""]["CPUS_ALL_REGIONS"] = (12, 9)
    with pytest.raises(AccountLimit, match=r"CPUS_ALL_REGIONS leaves .*: one machine takes 4 of"):
        cloud.offers(Need())


def test_a_quota_stands_on_any_page_of_the_regions(service: FakeGcp, cloud: Gcp) -> None:
    none = {"NVIDIA_L4_GPUS": (0.0, 0.0), "PREEMPTIBLE_NVIDIA_L4_GPUS": (0.0, 0.0)}
    service.quotas |= {"europe-west4": dict(none), "us-central1": dict(none)}
    service.page_size = 1
    assert "L4" not in {each.gpu for each in cloud.offers(Need(spot=True))}


def test_a_project_without_its_network(service: FakeGcp, cloud: Gcp) -> None:
    """Said before an order, and by the refusal of one; it is no other project's name."""
    offer = spot(cloud)
    service.network = False
    made = f"gcloud compute networks create default --project {PROJECT} --subnet-mode=auto"
    for ask in (lambda: cloud.offers(Need()), lambda: cloud.create(offer, SLEEP, NAME)):
        with pytest.raises(Misconfigured, match=made) as caught:
            ask()
        assert "MIMIR_GCP_PROJECT" not in str(caught.value)
    _, machines, _ = cloud.checks()
    assert (machines.status, made in machines.details) == ("fail", True)


G4 = Need(gpus=("RTX PRO 6000",))


def test_g4_takes_hyperdisk(service: FakeGcp, cloud: Gcp) -> None:
    offer = min(cloud.offers(G4), key=lambda each: each.price)
    whole = 48 * 0.02 + 180 * 0.003 + 2.0 + market.ADDRESS + 80 * 0.2 / market.HOURS_A_MONTH
    assert offer.price == pytest.approx(whole, abs=1e-5)
    for each, kind in ((offer, "hyperdisk-balanced"), (spot(cloud), "pd-balanced")):
        (disk,) = order.order(each, SLEEP, NAME)["disks"]
        at = disk["initializeParams"]["diskType"]
        assert at == f"zones/{each.place}/diskTypes/{kind}"
    old = replace(spot(cloud), key={k: v for k, v in offer.key.items() if k != "disk_type"})
    (disk,) = order.order(old, SLEEP, NAME)["disks"]
    assert disk["initializeParams"]["diskType"].endswith("/pd-balanced"), "of an older Mimir's plan"


def test_g4_without_a_price_of_its_disk_is_left_out(service: FakeGcp, cloud: Gcp) -> None:
    service.unlisted = re.compile("Hyperdisk")
    assert "RTX PRO 6000" not in {each.gpu for each in cloud.offers(Need())}
    (said,) = cloud.left_out()
    assert "one RTX PRO 6000 take a disk hyperdisk-balanced only, which has no price in 1" in said
    assert cloud.offers(Need(gpus=("L4",)))
    assert not cloud.left_out(), "who wants another GPU need not know"
    with pytest.raises(NoCapacity, match="has no price"):
        cloud.offers(G4)


SMALL: dict[str, tuple[dict[str, float], str, bool]] = {
    "processors": ({"CPUS": 3}, "T4", False),
    "processors, and others left": ({"CPUS": 3, "PREEMPTIBLE_CPUS": 4}, "T4", True),
    "processors of one kind": ({"CPUS": 4, "PREEMPTIBLE_CPUS": 0}, "T4", True),
    "of a family": ({"A2_CPUS": 11, "PREEMPTIBLE_CPUS": 0}, "A100 40GB", False),
    "another family's": ({"CPUS": 0, "PREEMPTIBLE_CPUS": 0}, "A100 40GB", True),
    "addresses": ({"IN_USE_ADDRESSES": 0}, "L4", False),
    "one address": ({"IN_USE_ADDRESSES": 1}, "L4", True),
    "disks": ({"SSD_TOTAL_GB": 79}, "L4", False),
    "just enough disk": ({"SSD_TOTAL_GB": 80}, "L4", True),
    "disks of G4": ({"HDB_TOTAL_GB": 79}, "RTX PRO 6000", False),
    "disks of others": ({"SSD_TOTAL_GB": 79}, "RTX PRO 6000", True),
}


@pytest.mark.parametrize(("left", "gpu", "there"), SMALL.values(), ids=SMALL.keys())
def test_quotas_beside_those_of_gpus(
    service: FakeGcp, cloud: Gcp, left: dict[str, float], gpu: str, there: bool
) -> None:
    more = {metric: (value + 7.0, 7.0) for metric, value in left.items()}
    service.quotas["us-central1"] |= {"PREEMPTIBLE_CPUS": (0.0, 0.0), **more}
    found = {o.spot for o in cloud.offers(Need(spot=True))
             if (o.gpu, o.region) == (gpu, "us-central1")}  # fmt: skip
    assert found == ({False, True} if there else set())
    if not there:
        assert any(next(iter(left)) in each for each in cloud.left_out())


def test_a_quota_that_bars_the_larger_machines_only_is_no_problem(
    service: FakeGcp, cloud: Gcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fake_gcp.KINDS, "n1-standard-8", (8, 30720, "", 0))
    service.quotas["us-central1"]["CPUS"] = (7, 0)
    types = {each.key["type"] for each in cloud.offers(Need(gpus=("T4",)))}
    assert types == {"n1-standard-4"}
    assert not cloud.left_out()
    service.quotas["us-central1"]["CPUS"] = (3, 0)
    with pytest.raises(AccountLimit, match=r"CPUS leaves too little in 1 regions.*: .* takes 4"):
        cloud.offers(Need(gpus=("T4",)))


def test_the_discovery_document_holds_the_fake(service: FakeGcp, cloud: Gcp) -> None:
    discovery.needed()
    cloud.create(spot(cloud), SLEEP, NAME)
    assert discovery.violations(service.requests) == []
    (right,) = sent(service)
    wrong = right._replace(body={**right.body, "shape": 1})
    assert ["there is no such field" in each for each in discovery.violations([wrong])] == [True]
    elsewhere = right._replace(path="/compute/v1/nowhere")
    assert ["has such a request" in each for each in discovery.violations([elsewhere])] == [True]
    refused = wrong._replace(status=400, answer={"error": {"message": "no"}})
    assert len(discovery.violations([refused])) == 1, "what was refused was sent, too"
