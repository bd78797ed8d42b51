"""The permissions that docs/providers/gcp.md lists: they suffice, and none is too many."""

import re
from collections.abc import Callable, Iterable

import pytest

from launch.contract.cloud import State
from launch.contract.offer import Need
from launch.providers.gcp.adapter import Gcp
from mimir.errors import MimirError
from tests.clouds import discovery, gcp_rights
from tests.clouds.fake_gcp import FakeGcp
from tests.launch.providers.gcp.test_adapter import NAME, SLEEP, spot

ADVICE = "a right is missing, docs/providers/gcp.md lists all"


def failures(service: FakeGcp, cloud: Gcp, rights: Iterable[str]) -> dict[str, list[str]]:
    """Part of the work -> what was said where it failed with these rights."""
    full, said = service.rights, {}

    def under(part: str, act: Callable[[], Iterable[str]]) -> None:
        service.rights = frozenset(rights)
        try:
            said[part] = list(act())
        except MimirError as error:
            said[part] = [str(error)]
        service.rights = full

    made: list[str] = []

    def submit() -> list[str]:
        made.append(cloud.create(spot(cloud), SLEEP, NAME))
        return []

    def gone() -> list[str]:
        """What is said instead of how it ended."""
        found = cloud.get(made[0])
        assert found is not None
        assert found.state is State.GONE, "which is certain without any right"
        return [found.said] if found.taken is None else []

    under("offers", lambda: cloud.offers(Need(spot=True)) and [])
    under("doctor", lambda: [c.details for c in cloud.checks() if ADVICE in c.details])
    under("submit", submit)
    if not made:
        service.forget()
        service.ledger.clear()
        submit()
    under("status", lambda: [] if cloud.get(made[0]) else ["it is not seen"])
    under("logs", lambda: cloud.logs(made[0], 1) and [])
    under("reap", lambda: [] if cloud.instances() else ["none is seen"])
    under("end", lambda: cloud.terminate(made[0]) or [])
    service.end(made[0])
    service.happens(made[0], "delete")
    under("gone", gone)
    under("leftovers", cloud.leftovers)  # type: ignore[arg-type]
    return {part: words for part, words in said.items() if words}


def test_the_permissions_suffice(service: FakeGcp, cloud: Gcp) -> None:
    assert failures(service, cloud, gcp_rights.page()) == {}
    called = {gcp_rights.method(each.method, each.path) for each in service.requests}
    assert called == set(gcp_rights.METHODS), "every row is of a request that is sent"


def test_each_permission_is_needed_by_a_row() -> None:
    rows = (*(m.rights for m in gcp_rights.METHODS), *gcp_rights.FIELDS.values())
    assert {right for row in rows for right in row} == set(gcp_rights.page())


@pytest.mark.parametrize("right", gcp_rights.page())
def test_a_right_less_fails_with_one_sentence(right: str, service: FakeGcp, cloud: Gcp) -> None:
    found = failures(service, cloud, set(gcp_rights.page()) - {right})
    assert found
    for part, sentences in found.items():
        for words in sentences:
            assert right in words, part
            assert words.count(ADVICE) == 1, part
            assert "\n" not in words, part


def test_a_new_request_or_field_has_no_right_yet(service: FakeGcp, cloud: Gcp) -> None:
    with pytest.raises(MimirError, match="in no row"):
        cloud._project.rows("zones/us-central1-a/reservations")
    offer = spot(cloud)
    body = {"name": "n", "tags": {}}
    with pytest.raises(MimirError, match="the field tags"):
        cloud._project.compute.send(
            "POST", cloud._project.path(f"zones/{offer.place}/instances"), json=body
        )


def test_ids_are_those_of_the_discovery_documents() -> None:
    known = {
        each["id"]: (each["httpMethod"], f"/{document.get('servicePath', '')}{path}")
        for document in discovery.needed()
        for each in discovery._methods(document["resources"])
        for path in [each.get("flatPath") or each["path"]]
    }
    for row in gcp_rights.METHODS:
        verb, path = known[row.id]
        filled = re.sub(r"\{[^}]*\}", "x", path)
        filled = filled.replace("services/x/", f"services/{gcp_rights.SERVICE}/")
        filled = filled.replace("x/global", "deeplearning-platform-release/global")
        assert (verb, bool(re.fullmatch(row.path, filled))) == (row.verb, True), row.id
