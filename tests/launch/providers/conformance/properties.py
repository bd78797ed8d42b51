"""The suite: what every provider must do. Each function takes a fresh harness of one provider."""

from collections.abc import Callable

import pytest

from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    Leaked,
    NoCapacity,
    NotGone,
    ProviderError,
    RateLimited,
    UnknownOutcome,
)
from launch.contract.provider import Adopts
from mimir.errors import BadInput, MimirError
from tests.launch.providers.conformance import leaks
from tests.launch.providers.conformance.harness import NAME, Harness

Property = Callable[[Harness], None]
PROPERTIES: dict[str, Property] = {}
"""By name; the name is what stands in a harness's exceptions."""


def prop(check: Property) -> Property:
    PROPERTIES[check.__name__] = check
    return check


# One order


@prop
def an_order_is_one_request(harness: Harness) -> None:
    machine = harness.start()
    assert harness.creates() == 1
    assert harness.machines() == [NAME]
    assert harness.provider.alive(machine) is True


@prop
def a_lost_answer_is_adopted(harness: Harness) -> None:
    assert harness.lost, "name the faults, or the exception"
    for count, fault in enumerate(harness.lost, 1):
        harness.arm_order(fault)
        machine = harness.started()
        assert machine is not None, fault
        assert harness.creates() == count, f"{fault}: it was ordered twice"
        assert harness.machines() == [NAME], fault
        assert harness.provider.alive(machine) is True, fault
        harness.provider.end(harness.spec(), machine)
        assert harness.machines() == [], fault


@prop
def an_order_that_may_have_come_is_not_sent_again(harness: Harness) -> None:
    assert harness.unsent, "name the faults, or the exception"
    for count, fault in enumerate(harness.unsent, 1):
        harness.arm_order(fault)
        with pytest.raises(UnknownOutcome):
            harness.start()
        assert harness.creates() == count, f"{fault}: it was ordered twice"
        assert harness.machines() == [], fault
        if isinstance(harness.provider, Adopts):
            assert harness.adopt() is None, fault


@prop
def another_launcher_adopts_and_orders_nothing(harness: Harness) -> None:
    made = harness.start()
    harness.another()
    found = harness.adopt()
    assert found is not None
    assert harness.id_of(found) == harness.id_of(made)
    assert harness.creates() == 1
    assert harness.machines() == [NAME]


@prop
def a_second_start_makes_no_second_machine(harness: Harness) -> None:
    made = harness.start()
    harness.another()
    try:
        again = harness.start()
    except BadInput:
        pass  # there is a machine of this name already
    else:
        assert harness.id_of(again) == harness.id_of(made)
    assert harness.creates() == 1
    assert harness.machines() == [NAME]


# The end


@prop
def what_has_ended_is_gone(harness: Harness) -> None:
    machine = harness.start()
    harness.provider.end(harness.spec(), machine)
    assert harness.machines() == []
    assert harness.provider.alive(machine) is False
    harness.provider.end(harness.spec(), machine)  # which is no error


@prop
def an_end_without_an_answer_is_not_taken_for_done(harness: Harness) -> None:
    assert harness.unended, "name the faults, or the exception"
    for fault in harness.unended:
        machine = harness.start()
        harness.arm_end(fault)
        try:
            harness.provider.end(harness.spec(), machine)
        except NotGone:
            harness.provider.end(harness.spec(), machine)  # asked again, it ends
        assert harness.machines() == [], f"{fault}: it returned, and the machine is there"


@prop
def an_end_is_asked_for_until_it_is_seen(harness: Harness) -> None:
    assert harness.unended, "name the faults, or the exception"
    for fault in harness.unended:
        machine = harness.start()
        harness.arm_end(fault)
        harness.provider.end(harness.spec(), machine)
        assert harness.machines() == [], fault


@prop
def what_stays_is_not_gone(harness: Harness) -> None:
    machine = harness.start()
    harness.keep()
    with pytest.raises(NotGone):
        harness.provider.end(harness.spec(), machine)
    assert harness.machines() == [NAME]
    assert harness.provider.alive(machine) is not False


@prop
def silence_is_not_gone(harness: Harness) -> None:
    assert harness.silent, "name the faults, or the exception"
    machine = harness.start()
    harness.keep()
    for fault in harness.silent:
        harness.arm_look(fault)
        assert harness.provider.alive(machine) is None, fault
        with pytest.raises(NotGone):
            harness.provider.end(harness.spec(), machine)
        harness.disarm()
        harness.keep()
    assert harness.machines() == [NAME]


@prop
def an_unknown_state_is_broken_and_not_gone(harness: Harness) -> None:
    machine = harness.start()
    for word in ("hibernating", "TERMINATING_SOON", "gone?"):
        harness.say(machine, word)
        assert harness.broken(machine), word
        assert harness.provider.alive(machine) is True, word


# Refusals


def _refused(kind: type[MimirError]) -> Property:
    def check(harness: Harness) -> None:
        assert kind in harness.refusals, f"name the fault that is {kind.__name__}, or the exception"
        harness.arm_order(harness.refusals[kind])
        # What Leaked says of an order is ended by the provider, so another offer may be taken.
        with pytest.raises(NoCapacity if kind is Leaked else kind) as caught:
            harness.start()
        assert harness.creates() <= 1
        assert harness.machines() == []
        if kind is RateLimited:
            assert isinstance(caught.value, RateLimited)
            assert 0 < caught.value.retry_after < 86400
        if kind is Leaked:
            assert "ended" in str(caught.value)

    check.__name__ = f"{kind.__name__}_is_told"
    return check


REFUSALS: tuple[type[MimirError], ...] = (
    NoCapacity, AuthFailed, BalanceEmpty, RateLimited, Leaked, BadInput,
)  # fmt: skip
for _kind in REFUSALS:
    prop(_refused(_kind))


# Secrets


def _clean(harness: Harness, text: str, what: str) -> None:
    assert not leaks.shown(text, harness.secrets), f"{what} is shown: {text[-300:]}"


@prop
def a_refused_order_shows_no_secret(harness: Harness) -> None:
    for name, secret in harness.secrets.items():
        for form, written in leaks.FORMS.items():
            harness.quote_order(f"cannot take {written(secret)} here")
            with pytest.raises(MimirError) as caught:
                harness.start()
            text = leaks.of_error(caught.value)
            assert "here" in text or "cannot" in text, f"the reason is not told: {text}"
            _clean(harness, text, f"{name}, {form}")


def _failures_show_nothing(harness: Harness, act: Callable[[], object]) -> None:
    for name, secret in harness.secrets.items():
        harness.quote_all(f"cannot take {secret} here")
        with pytest.raises(MimirError) as caught:
            act()
        _clean(harness, leaks.of_error(caught.value), name)
        harness.disarm()


@prop
def a_failed_end_shows_no_secret(harness: Harness) -> None:
    machine = harness.start()
    _failures_show_nothing(harness, lambda: harness.provider.end(harness.spec(), machine))


@prop
def a_failed_list_shows_no_secret(harness: Harness) -> None:
    harness.start()
    _failures_show_nothing(harness, harness.listed)


@prop
def what_is_asked_before_an_order_shows_no_secret(harness: Harness) -> None:
    harness.start()
    for name, secret in harness.secrets.items():
        harness.quote_all(f"cannot take {secret} here")
        text = harness.asked()
        assert "cannot take" in text
        _clean(harness, text, name)
        harness.disarm()


@prop
def a_state_shows_no_secret(harness: Harness) -> None:
    machine = harness.start()
    for name, secret in harness.secrets.items():
        harness.say(machine, f"no space left on device {secret}")
        found = harness.provider.inspect(machine)
        assert found is not None
        assert "no space left" in found.said
        _clean(harness, found.said, name)
        _clean(harness, str(harness.provider.instances()), name)


@prop
def output_shows_no_secret(harness: Harness) -> None:
    machine = harness.start()
    for name, secret in harness.secrets.items():
        lines = [f"before {written(secret)} after" for written in leaks.FORMS.values()]
        harness.prints(machine, ["the first line", *lines, "the last line"])
        found = harness.provider.output(machine, 50)
        # A service may add lines of its own about the start.
        printed = found[found.index("the first line") :]
        assert printed[-1] == "the last line"
        assert len(printed) == len(lines) + 2
        _clean(harness, "\n".join(found), name)


# Lists


@prop
def all_pages_are_read(harness: Harness) -> None:
    made = harness.paged()
    assert len(made) > 2
    assert harness.listed() == made


@prop
def a_list_that_is_not_whole_is_an_error(harness: Harness) -> None:
    assert harness.broken_lists, "name the faults, or the exception"
    machine = harness.start()
    for fault in harness.broken_lists:
        harness.arm_list(fault)
        with pytest.raises(ProviderError):
            harness.listed()
        with pytest.raises(ProviderError):
            harness.adopt()  # None would say that there is no machine
        harness.disarm()
    assert harness.provider.alive(machine) is True
    assert harness.listed() == [NAME]


@prop
def a_list_that_breaks_off_is_an_error(harness: Harness) -> None:
    assert harness.broken_pages, "name the faults, or the exception"
    names = harness.paged()
    for fault in harness.broken_pages:
        harness.arm_page(fault)
        with pytest.raises(ProviderError):
            harness.listed()
        harness.disarm()
    assert harness.listed() == names


STRANGERS = ("somebody-elses", "mimi", "Mimir-run-a0001", "x-mimir-run-a0001")


@prop
def strangers_are_not_listed(harness: Harness) -> None:
    for name in STRANGERS:
        harness.stranger(name)
    assert harness.listed() == []
    harness.start()
    assert harness.listed() == [NAME]


@prop
def strangers_are_left_alone(harness: Harness) -> None:
    for name in STRANGERS:
        harness.stranger(name)
    if isinstance(harness.provider, Adopts):
        assert harness.adopt() is None, "a stranger was adopted"
    machine = harness.start()
    harness.provider.end(harness.spec(), machine)
    assert harness.machines() == sorted(STRANGERS)
