"""What a provider's tests contribute, so that the suite can run on it."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launch.contract.errors import UnknownOutcome
from launch.contract.provider import AttemptSpec
from launch.providers import registry
from mimir.errors import MimirError
from tests.launch import providers
from tests.launch.providers.conformance.leaks import SECRETS

NAME = "mimir-run-a0001"
FOREVER = 400
"""Times that a fault is armed for which shall not end."""
REGISTERED: dict[str, type["Harness"]] = {}


@dataclass(frozen=True)
class Place:
    """What a test has: a folder of its own, and what undoes changes."""

    folder: Path
    patch: pytest.MonkeyPatch


class Harness:
    """One provider, made as the registry's row has it, against its fake.

    name: of the registry's row. exceptions: property -> why this provider does not have it.
    lost: faults by which an order is carried out and its answer lost. unsent: faults by which an
    order is not carried out, and nobody says so. unended: faults of one request for an end.
    silent: faults by which looks tell nothing. broken_lists: faults by which a list is not whole.
    broken_pages: the same for a page that is not the first.
    refusals: class of error -> the fault by which the provider meets it.
    secrets: what must not be shown.
    """

    name: ClassVar[str]
    exceptions: ClassVar[Mapping[str, str]] = {}
    lost: ClassVar[tuple[str, ...]] = ()
    unsent: ClassVar[tuple[str, ...]] = ()
    unended: ClassVar[tuple[str, ...]] = ()
    silent: ClassVar[tuple[str, ...]] = ()
    broken_lists: ClassVar[tuple[str, ...]] = ()
    broken_pages: ClassVar[tuple[str, ...]] = ()
    refusals: ClassVar[Mapping[type[MimirError], str]] = {}
    secrets: Mapping[str, str] = SECRETS

    def __init__(self, place: Place) -> None:
        self.place = place
        self.provider: Any = None

    def close(self) -> None:
        """End all that the harness has begun."""

    # What is asked of the provider

    def spec(self, attempt: int = 1) -> AttemptSpec:
        raise NotImplementedError

    def start(self, attempt: int = 1) -> Any:
        return self.provider.start(self.spec(attempt))

    def started(self) -> Any:
        """A machine that is ordered, or adopted where the answer to its order was lost."""
        try:
            return self.start()
        except UnknownOutcome:
            return self.adopt()

    def adopt(self) -> Any:
        """What a launcher does that finds an order without an answer; None for no machine."""
        return self.provider.adopt(self.spec())

    def id_of(self, machine: Any) -> str:
        """The id that the provider has for a machine."""
        return machine.id

    def another(self) -> None:
        """From now on `provider` is that of another launcher process."""
        raise NotImplementedError

    def broken(self, machine: Any) -> bool:
        """Whether the provider shows the machine as broken."""
        raise NotImplementedError

    def listed(self) -> list[str]:
        """The names of the machines that the provider lists."""
        raise NotImplementedError

    def asked(self) -> str:
        """All that the provider says to who looks for offers, and to `doctor`."""
        raise NotImplementedError

    # What the fake says and does

    def creates(self) -> int:
        """How many orders the fake has received."""
        raise NotImplementedError

    def machines(self) -> list[str]:
        """The names of all machines that exist, by the fake's own books."""
        raise NotImplementedError

    def arm_order(self, fault: str) -> None:
        """Let the next order go wrong so: `lost`, `unsent` or a refusal's."""
        raise NotImplementedError

    def arm_end(self, fault: str) -> None:
        """Let the next request for an end go wrong so: one of `unended`."""
        raise NotImplementedError

    def arm_look(self, fault: str) -> None:
        """Let all looks at a machine go wrong so: one of `silent`."""
        raise NotImplementedError

    def arm_list(self, fault: str) -> None:
        """Let all lists go wrong so: one of `broken_lists`."""
        raise NotImplementedError

    def arm_page(self, fault: str) -> None:
        """Let all pages but the first go wrong so: one of `broken_pages`."""
        raise NotImplementedError

    def disarm(self) -> None:
        """Let nothing go wrong any more."""
        raise NotImplementedError

    def keep(self) -> None:
        """From now on, machines stay whatever is asked."""
        raise NotImplementedError

    def quote_order(self, text: str) -> None:
        """The next order is refused with this text in the reason."""
        raise NotImplementedError

    def quote_all(self, text: str) -> None:
        """From now on, everything is refused with this text in the reason."""
        raise NotImplementedError

    def say(self, machine: Any, word: str) -> None:
        """From now on, the machine's state is this word."""
        raise NotImplementedError

    def prints(self, machine: Any, lines: list[str]) -> None:
        """The machine has printed these lines."""
        raise NotImplementedError

    def stranger(self, name: str) -> None:
        """Somebody else makes a machine in the same account."""
        raise NotImplementedError

    def paged(self) -> list[str]:
        """Make more machines than one page of the list has; their names."""
        raise NotImplementedError


def register(harness: type[Harness]) -> type[Harness]:
    """Let the suite run on this provider."""
    assert harness.name not in REGISTERED, f"two harnesses for {harness.name}"
    REGISTERED[harness.name] = harness
    return harness


def find() -> dict[str, type[Harness]]:
    """All harnesses: those of the folders beside this one."""
    for module in pkgutil.iter_modules(providers.__path__):
        if module.ispkg and (Path(providers.__path__[0]) / module.name / "harness.py").exists():
            importlib.import_module(f"{providers.__name__}.{module.name}.harness")
    return dict(REGISTERED)


def row_class(name: str) -> Any:
    """The class that the registry's row names."""
    path, _, attribute = registry.ROWS[name].where.partition(":")
    return getattr(importlib.import_module(path), attribute)
