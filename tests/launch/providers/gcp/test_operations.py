"""How orders and machines end at Google, as their zone's operations tell it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from launch.contract.cloud import Instance, State
from launch.contract.errors import (
    AccountLimit,
    Misconfigured,
    NoCapacity,
    ProviderError,
    RateLimited,
    Unclear,
    UnknownOutcome,
)
from launch.providers.gcp import errors, operations
from launch.providers.gcp.adapter import Gcp
from launch.providers.rented import Rented
from mimir.errors import BadInput, MimirError
from tests.clouds.fake_gcp import PROJECT, STOCKOUT, FakeGcp
from tests.launch.providers.gcp.test_adapter import INSERT, NAME, SLEEP, spot

LISTED = {"method": "GET", "path": "/operations$"}
WAIT = {"method": "POST", "path": "/wait$"}


def look(cloud: Gcp, id: str) -> Instance:
    found = cloud.get(id)
    assert found is not None
    return found


def test_a_preemption_is_seen_while_the_machine_stops(service: FakeGcp, cloud: Gcp) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    assert look(cloud, id).taken is None
    service.preempt(id)
    seen = [look(cloud, id) for _ in range(4)]
    assert [each.state for each in seen] == [State.BROKEN] * 2 + [State.GONE] * 2
    assert [each.taken for each in seen] == [True] * 4
    assert seen[0].said == "STOPPING: preempted by Google"
    assert seen[2].said == "preempted by Google"
    rented = Rented(cloud, clock=service.clock.time, sleep=service.clock.advance)
    rented.end_instance(Instance(id, NAME, State.RUNNING))  # gone, though nameless


def test_a_stopping_machine_is_gone_within_its_notice(service: FakeGcp, cloud: Gcp) -> None:
    service.stopping = 1000
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.preempt(id)
    assert look(cloud, id).state is State.BROKEN
    service.clock.advance(31.0)
    assert (look(cloud, id).state, look(cloud, id).taken) == (State.GONE, True)
    assert "deleted" not in service.ledger[0].shown


ENDS = [
    ("compute.instances.preempted", True),
    ("compute.instances.terminateOnHostMaintenance", True),
    ("compute.instances.hostError", False),
    ("compute.instances.guestTerminate", False),
    ("compute.instances.someTimeLimitTerminated", False),
    ("delete", False),
    ("stop", False),
    ("compute.instances.migrateOnHostMaintenance", None),
    ("setLabels", None),
]


@pytest.mark.parametrize(("kind", "taken"), ENDS)
@pytest.mark.parametrize("status", ["STOPPING", "DEPROVISIONING", "TERMINATED", "PENDING_STOP", ""])
def test_how_a_machine_ends(
    service: FakeGcp, cloud: Gcp, status: str, kind: str, taken: bool | None
) -> None:
    """A machine that stopped without a preemption broke: it is no eviction."""
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.happens(id, kind)
    if status:
        service.say(id, status)
        found = look(cloud, id)
        assert (found.state, found.taken) == (State.BROKEN, taken)
        assert found.said.startswith(status)
        return
    service.end(id)
    over = cloud.get(id)
    assert (over.taken if over else None) is taken
    assert over is None or (over.state is State.GONE and over.said)


def test_what_was_preempted_may_be_deleted_afterwards(service: FakeGcp, cloud: Gcp) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.preempt(id)
    cloud.terminate(id)
    assert look(cloud, id).taken is True


def test_another_machine_of_this_name_is_another(service: FakeGcp, cloud: Gcp) -> None:
    """Operations stay for days, longer than a machine."""
    offer = spot(cloud)
    id = cloud.create(offer, SLEEP, NAME)
    service.preempt(id)
    service.clock.advance(60.0)
    service.forget()
    assert cloud.create(offer, SLEEP, NAME) == id
    service.say(id, "TERMINATED")
    assert look(cloud, id).taken is None
    other = cloud.create(offer, SLEEP, "mimir-r-a0002")
    service.happens(id, "delete")
    service.say(other, "TERMINATED")
    assert look(cloud, other).taken is None


def test_an_operation_that_failed_ended_nothing(service: FakeGcp, cloud: Gcp) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    service.happens(id, "stop")["httpErrorStatusCode"] = 503
    service.say(id, "TERMINATED")
    assert look(cloud, id).taken is None


@pytest.mark.parametrize("fault", ["error", "html_403", "quoted"])
def test_a_machine_is_gone_though_nobody_tells_why(
    service: FakeGcp, cloud: Gcp, fault: str
) -> None:
    id = cloud.create(spot(cloud), SLEEP, NAME)
    told = {"status": 403, "text": "no"} if fault == "quoted" else {}
    service.fault(fault, 50, **LISTED, **told)
    service.say(id, "TERMINATED")
    assert (look(cloud, id).state, look(cloud, id).taken) == (State.BROKEN, None)
    rented = Rented(cloud, clock=service.clock.time, sleep=service.clock.advance)
    rented.end_instance(Instance(id, NAME, State.RUNNING))
    found = look(cloud, id)
    assert (found.state, found.taken) == (State.GONE, None)
    assert "how it ended is not told" in found.said


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (STOCKOUT, NoCapacity, "zones with room: us-central1-b"),
        ("ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity, "us-central1-b"),
        ("QUOTA_EXCEEDED", AccountLimit, "iam-admin/quotas"),
        ("NOBODY_KNOWS", ProviderError, "NOBODY_KNOWS"),
        ("RATE_LIMIT_EXCEEDED", RateLimited, "asked too often"),
        ("RESOURCE_NOT_READY", NoCapacity, "another offer"),
        ("INTERNAL_ERROR", NoCapacity, "another offer"),
        ("UNSUPPORTED_OPERATION", Unclear, "UNSUPPORTED_OPERATION"),
        ("CONDITION_NOT_MET", Unclear, "CONDITION_NOT_MET"),
        ("INVALID_FIELD_VALUE", BadInput, "INVALID"),
        ("RESOURCE_ALREADY_EXISTS", UnknownOutcome, "already"),
    ],
)
def test_an_order_fails_after_it_was_accepted(
    service: FakeGcp, cloud: Gcp, code: str, kind: type[MimirError], said: str
) -> None:
    service.fault("fails", code=code, **INSERT)
    with pytest.raises(MimirError, match=said) as caught:
        cloud.create(spot(cloud), SLEEP, NAME)
    assert type(caught.value) is kind
    if "zones with room" in str(caught.value):
        assert isinstance(caught.value, NoCapacity)
        assert caught.value.places == {"us-central1-b"}
    assert service.ledger == []


def test_zones_with_room_are_names_and_their_list_is_bounded(service: FakeGcp, cloud: Gcp) -> None:
    many = [f"us-zone{number}-a" for number in range(200)]
    zones = ",".join([" us-west1-b ", "", "../us-west1-c", "a b", "Us-west1-d", "a" * 99, *many])
    service.fault("fails", code=STOCKOUT, zones=zones, **INSERT)
    with pytest.raises(NoCapacity) as caught:
        cloud.create(spot(cloud), SLEEP, NAME)
    assert caught.value.places == {"us-west1-b", *many}
    assert len(str(caught.value)) < 2 * errors.MOST_WORDS


def test_a_machine_that_was_never_made_vanishes_from_the_list(service: FakeGcp, cloud: Gcp) -> None:
    """Who ends what is listed is told that it is gone."""
    service.fault("fails", code=STOCKOUT, listed=1, **INSERT)
    with pytest.raises(NoCapacity):
        cloud.create(spot(cloud), SLEEP, NAME)
    (listed,) = cloud.instances()
    assert (listed.name, listed.state) == (NAME, State.PENDING)
    assert cloud.get(listed.id) is None
    rented = Rented(cloud, clock=service.clock.time, sleep=service.clock.advance)
    rented.end_instance(listed)
    assert cloud.instances() == []


def test_an_end_stands_on_any_page_of_the_operations(service: FakeGcp, cloud: Gcp) -> None:
    service.page_size = 1
    ids = [cloud.create(spot(cloud), SLEEP, f"mimir-r-a000{n}-o0123abcd") for n in (1, 2, 3)]
    service.stopping = 0
    for id in ids:
        service.preempt(id)
    assert [look(cloud, id).taken for id in ids] == [True] * 3


@pytest.mark.parametrize("reason", ["resourceNotReady", "unsupportedOperation", "conditionNotMet"])
def test_a_refusal_of_one_offer_lets_the_next_be_tried(
    service: FakeGcp, cloud: Gcp, reason: str
) -> None:
    offer = spot(cloud)
    service.fault("reason", status=400, reason=reason, **INSERT)
    with pytest.raises(Unclear, match=reason):
        cloud.create(offer, SLEEP, NAME)


def test_an_order_without_a_network_fails_after_it_was_accepted(
    service: FakeGcp, cloud: Gcp
) -> None:
    words = f"The resource 'projects/{PROJECT}/global/networks/default' was not found"
    service.fault("fails", code="RESOURCE_NOT_FOUND", text=words, **INSERT)
    with pytest.raises(Misconfigured, match="gcloud compute networks create default --project"):
        cloud.create(spot(cloud), SLEEP, NAME)


@pytest.mark.parametrize("status", [400, 403, 409, 503])
def test_a_failed_operation_without_a_word_is_no_success(
    service: FakeGcp, cloud: Gcp, status: int
) -> None:
    service.fault("fails", status=status, **INSERT)
    with pytest.raises(Unclear, match=str(status)):
        cloud.create(spot(cloud), SLEEP, NAME)


def test_a_wait_that_returns_early_is_asked_again(service: FakeGcp, cloud: Gcp) -> None:
    """Google may answer a wait after no time at all; so long an order is awaited by the clock."""
    offer = spot(cloud)
    service.fault("early", 30, **WAIT)
    began = service.clock.time()
    cloud.create(offer, SLEEP, NAME)
    assert 30 * operations.PAUSE <= service.clock.time() - began < 120
    assert len(service.ledger) == 1


def test_an_order_that_does_not_end_may_have_made_a_machine(service: FakeGcp, cloud: Gcp) -> None:
    offer = spot(cloud)
    service.fault("early", 1000, **WAIT)
    began = service.clock.time()
    with pytest.raises(UnknownOutcome, match="has not ended yet"):
        cloud.create(offer, SLEEP, NAME)
    assert operations.WITHIN <= service.clock.time() - began < operations.WITHIN + 60


def test_an_operation_that_ended_by_the_last_look_has_ended(
    service: FakeGcp, cloud: Gcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "WITHIN", 0.001)
    offer = spot(cloud)
    project: Any = cloud._project
    operation = {"name": "operation-1", "status": "RUNNING"}
    service._operations["operation-1"] = {"kind": "compute#operation", **operation}
    ticks = iter([0.0, 0.0, 0.0, 5.0])
    operations.await_order(
        project, operation, offer.place, NAME, clock=lambda: next(ticks), sleep=lambda _: None
    )


def test_since_when_a_machine_is_off_is_told_by_its_first_end(service: FakeGcp, cloud: Gcp) -> None:
    """Until an operation has ended, its machine is paid."""
    id = cloud.create(spot(cloud), SLEEP, NAME)
    down = service.happens(id, "compute.instances.guestTerminate")
    down["endTime"] = "2026-11-29T12:00:00.000+00:00"
    service.happens(id, "delete")["endTime"] = "2026-12-05T12:00:00.000+00:00"
    service.end(id)
    assert look(cloud, id).stopped == datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
