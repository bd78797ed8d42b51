"""A new provider is a folder and a row of the registry: a toy one passes the suite so.

And each property of the suite is broken once in the toy, and the suite notices it.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import PREFIX, ContainerSpec, Instance, State
from launch.contract.errors import ProviderError, UnknownOutcome
from launch.contract.offer import Offer
from launch.contract.redaction import Secrets
from launch.providers import registry
from launch.providers.ending import Ending
from launch.providers.http import Absent, Http
from launch.providers.rented import Rented
from mimir.errors import MimirError
from tests.launch.providers.conformance.harness import Place
from tests.launch.providers.conformance.properties import PROPERTIES
from tests.launch.providers.conformance.toy import adapter
from tests.launch.providers.conformance.toy.adapter import Toy
from tests.launch.providers.conformance.toy.harness import ROW, ToyHarness

Patch = pytest.MonkeyPatch


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: Patch) -> Iterator[ToyHarness]:
    monkeypatch.setitem(registry.ROWS, "toy", ROW)
    registry.get.cache_clear()
    made = ToyHarness(Place(tmp_path, monkeypatch))
    yield made
    made.close()
    registry.get.cache_clear()


@pytest.mark.parametrize("each", [name for name in PROPERTIES if name not in ToyHarness.exceptions])
def test_conforms(toy: ToyHarness, each: str) -> None:
    PROPERTIES[each](toy)


def test_the_row_is_enough(toy: ToyHarness) -> None:
    assert "toy" in registry.names()
    assert registry.several("toy,local") == ("toy", "local")
    assert isinstance(registry.get("toy"), Rented)
    assert registry.rented("toy").cloud.name == "toy"
    assert "toy" in registry.renting(), "any, offers, reap and doctor go by it"


# Each property, broken once


def ordered_twice(patch: Patch) -> None:
    create = Toy.create

    def twice(self: Toy, offer: Offer, boot: ContainerSpec, name: str) -> str:
        create(self, offer, boot, name)
        return create(self, offer, boot, name)

    patch.setattr(Toy, "create", twice)


def ordered_again_after_a_lost_answer(patch: Patch) -> None:
    create = Toy.create

    def stubborn(self: Toy, offer: Offer, boot: ContainerSpec, name: str) -> str:
        try:
            return create(self, offer, boot, name)
        except UnknownOutcome:
            return create(self, offer, boot, name)

    patch.setattr(Toy, "create", stubborn)


def nothing_is_looked_for(patch: Patch) -> None:
    patch.setattr(Rented, "_named", lambda self, name: None)


def an_end_is_believed(patch: Patch) -> None:
    patch.setattr(Ending, "end", lambda self, number, *how: self._cloud.terminate(number))


def an_end_is_tried_once(patch: Patch) -> None:
    terminate = Toy.terminate

    def once(self: Toy, id: str) -> None:
        if id in vars(self).setdefault("asked", set()):
            return
        vars(self)["asked"].add(id)
        terminate(self, id)

    patch.setattr(Toy, "terminate", once)


def ending_twice_is_an_error(patch: Patch) -> None:
    def strict(self: Toy, id: str) -> None:
        self._http.send("DELETE", f"/boxes/{id}")

    patch.setattr(Toy, "terminate", strict)
    patch.setattr(Ending, "end", lambda self, number, *how: self._cloud.terminate(number))


def an_error_is_gone(patch: Patch) -> None:
    get = Toy.get

    def hasty(self: Toy, id: str) -> Instance | None:
        try:
            return get(self, id)
        except MimirError:
            return None

    patch.setattr(Toy, "get", hasty)


def any_404_is_gone(patch: Patch) -> None:
    def hasty(response: Any) -> MimirError:
        return Absent("404") if response.status_code == 404 else adapter.explain(response)

    patch.setattr(Toy, "explain", staticmethod(hasty))


def an_unknown_word_is_gone(patch: Patch) -> None:
    get = Toy.get

    def sure(self: Toy, id: str) -> Instance | None:
        found = get(self, id)
        return found and (replace(found, state=State.GONE) if found.said != "on" else found)

    patch.setattr(Toy, "get", sure)


def every_refusal_is_the_same(patch: Patch) -> None:
    def vague(response: Any) -> MimirError:
        return (Absent if response.status_code == 404 else ProviderError)("Toy said no")

    patch.setattr(Toy, "explain", staticmethod(vague))


def secrets_stay(patch: Patch) -> None:
    patch.setattr(Secrets, "clean", lambda self, text: text)


def only_whole_secrets_go(patch: Patch) -> None:
    def whole(self: Secrets, text: str) -> str:
        for value in (*self._keys, *self._values):
            text = text.replace(value, "…")
        return text

    patch.setattr(Secrets, "clean", whole)


def the_service_s_words_are_not_cleaned(patch: Patch) -> None:
    patch.setattr(Http, "_cleaned", lambda self, response: response)
    patch.setattr(Secrets, "scrub", lambda self, error: None)


def only_rented_cleans(patch: Patch) -> None:
    patch.setattr(Http, "_cleaned", lambda self, response: response)


def states_are_not_cleaned(patch: Patch) -> None:
    patch.setattr(Rented, "_shown_to_people", lambda self, instance: instance)


def output_is_not_cleaned(patch: Patch) -> None:
    patch.setattr(Rented, "output", lambda self, machine, lines: self.cloud.logs(machine.id, lines))


def one_page_is_the_list(patch: Patch) -> None:
    def short(self: Toy) -> list[Instance]:
        rows = self._http.read("GET", "/boxes")["boxes"]
        return [each for each in map(adapter._instance, rows) if each.name.startswith(PREFIX)]

    patch.setattr(Toy, "instances", short)


def a_broken_page_ends_the_list(patch: Patch) -> None:
    def lax(self: Toy) -> list[Instance]:
        found: list[Instance] = []
        at: int | None = 0
        while at is not None:
            try:
                page = self._http.read("GET", "/boxes", params={"from": at} if at else None)
            except ProviderError:
                break
            found += map(adapter._instance, page["boxes"])
            at = page["next"]
        return [each for each in found if each.name.startswith(PREFIX)]

    patch.setattr(Toy, "instances", lax)


def everybody_s_machines_are_listed(patch: Patch) -> None:
    patch.setattr(adapter, "PREFIX", "")


def any_machine_is_adopted(patch: Patch) -> None:
    patch.setattr(adapter, "PREFIX", "")
    patch.setattr(Rented, "_named", lambda self, name: (self.cloud.instances() or [None])[0])


BROKEN: list[tuple[Callable[[Patch], None], tuple[str, ...]]] = [
    (ordered_twice, ("an_order_is_one_request", "another_launcher_adopts_and_orders_nothing")),
    (
        ordered_again_after_a_lost_answer,
        ("a_lost_answer_is_adopted", "an_order_that_may_have_come_is_not_sent_again"),
    ),
    (nothing_is_looked_for, ("a_lost_answer_is_adopted", "a_second_start_makes_no_second_machine")),
    (an_end_is_believed, ("what_stays_is_not_gone", "silence_is_not_gone")),
    (
        an_end_is_tried_once,
        (
            "an_end_is_asked_for_until_it_is_seen",
            "an_end_without_an_answer_is_not_taken_for_done",
        ),
    ),
    (ending_twice_is_an_error, ("what_has_ended_is_gone",)),
    (any_404_is_gone, ("silence_is_not_gone",)),
    (an_error_is_gone, ("silence_is_not_gone",)),
    (an_unknown_word_is_gone, ("an_unknown_state_is_broken_and_not_gone",)),
    (
        every_refusal_is_the_same,
        (
            "NoCapacity_is_told", "AuthFailed_is_told", "BalanceEmpty_is_told",
            "RateLimited_is_told", "BadInput_is_told",
        ),
    ),
    (
        secrets_stay,
        ("a_refused_order_shows_no_secret", "a_failed_end_shows_no_secret",
         "a_failed_list_shows_no_secret", "a_state_shows_no_secret", "output_shows_no_secret"),
    ),
    (only_whole_secrets_go, ("a_refused_order_shows_no_secret", "output_shows_no_secret")),
    (the_service_s_words_are_not_cleaned, ("a_refused_order_shows_no_secret",)),
    (only_rented_cleans, ("what_is_asked_before_an_order_shows_no_secret",)),
    (states_are_not_cleaned, ("a_state_shows_no_secret",)),
    (output_is_not_cleaned, ("output_shows_no_secret",)),
    (one_page_is_the_list, ("all_pages_are_read", "a_list_that_breaks_off_is_an_error")),
    (
        a_broken_page_ends_the_list,
        ("a_list_that_breaks_off_is_an_error", "a_list_that_is_not_whole_is_an_error"),
    ),
    (everybody_s_machines_are_listed, ("strangers_are_not_listed",)),
    (any_machine_is_adopted, ("strangers_are_left_alone",)),
]  # fmt: skip
CASES = [
    pytest.param(breaks, each, id=f"{breaks.__name__}-{each}")
    for breaks, seen in BROKEN
    for each in seen
]


@pytest.mark.parametrize(("breaks", "each"), CASES)
def test_a_broken_provider_is_noticed(
    toy: ToyHarness, monkeypatch: Patch, breaks: Callable[[Patch], None], each: str
) -> None:
    breaks(monkeypatch)
    toy.another()
    with pytest.raises((AssertionError, MimirError, pytest.fail.Exception)):
        PROPERTIES[each](toy)


def test_every_property_is_broken_once() -> None:
    broken = {each for _, seen in BROKEN for each in seen}
    assert broken == PROPERTIES.keys() - ToyHarness.exceptions.keys()
