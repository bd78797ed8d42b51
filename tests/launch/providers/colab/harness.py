"""Colab for the conformance suite: the provider with a CLI that answers as recorded."""

import os
import sys
from pathlib import Path
from typing import Any

from launch.contract.cloud import ContainerSpec
from launch.contract.errors import (
    AuthFailed,
    BalanceEmpty,
    NoCapacity,
    RateLimited,
)
from launch.contract.provider import AttemptSpec
from launch.providers.colab.cli import Cli, Said
from mimir.errors import BadInput
from tests.colab import computer, said
from tests.launch.providers.conformance.harness import (
    NAME,
    Harness,
    Place,
    register,
    row_class,
)
from tests.launch.providers.conformance.leaks import SECRETS
from tests.runs.memory import MemoryStore
from tests.waiting import wait_for

STEP = 60.0
"""Seconds that pass whenever the clock is looked at, where a limit shall be reached."""
LOST, OLD = "lost", "an old CLI"
_LISTS = "a Colab session bears no name of ours, so the provider gives no list"


@register
class ColabHarness(Harness):
    name = "colab"
    lost = (LOST,)
    unsent = (said.TIMED_OUT,)
    unended = (said.TIMED_OUT, "[colab] Session 'x' not found.", said.NO_LOGIN)
    silent = (said.NO_LOGIN, said.NONE, said.UNREACHED)
    refusals = {
        NoCapacity: said.PRECONDITION, AuthFailed: said.NO_LOGIN, BalanceEmpty: said.ACCELERATOR,
        RateLimited: said.http("Too Many Requests"), BadInput: OLD,
    }  # fmt: skip
    exceptions = {
        "a_second_start_makes_no_second_machine": (
            "a start ends what this computer has of the run first, so that there is one session"
        ),
        "an_unknown_state_is_broken_and_not_gone": "Colab's list tells no states of sessions",
        "Leaked_is_told": "a session whose order failed is ended before the refusal is told",
        "a_failed_list_shows_no_secret": _LISTS,
        "a_state_shows_no_secret": "Colab's list tells no states of sessions",
        "all_pages_are_read": _LISTS,
        "a_list_that_is_not_whole_is_an_error": _LISTS,
        "a_list_that_breaks_off_is_an_error": _LISTS,
        "strangers_are_not_listed": _LISTS,
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._computers = computer.made(place.folder, place.patch)
        self.computer = next(self._computers)
        boot = ContainerSpec("", (sys.executable, "-c", computer.WAITS), {})
        place.patch.setattr("launch.payload.container.of", lambda *a, **k: boot)
        self.fault = ""
        self.now, self.step = 1e9, 0.0
        self.waited = False
        self.another()

    def close(self) -> None:
        for _ in self._computers:
            pass

    def another(self) -> None:
        harness = self

        class Lossy(Cli):
            def ask(self, home: Path, *words: str, **how: Any) -> Said:
                answer = super().ask(home, *words, **how)
                if words[0] == "new" and harness.fault == LOST:
                    harness.fault = ""
                    return Said(1, said.TIMED_OUT)
                return answer

        self.provider = row_class(self.name)(
            Lossy(os.environ), every=600.0, opener=lambda url: MemoryStore(),
            clock=self._clock, sleep=self.computer.provider._sleep,
        )  # fmt: skip

    def spec(self, attempt: int = 1) -> AttemptSpec:
        return AttemptSpec("s3://bucket/runs?endpoint=https://s3.x", "run", attempt, env=SECRETS)

    def id_of(self, machine: Any) -> str:
        return machine.detail("endpoint")

    def asked(self) -> str:
        return "\n".join(each.details for each in self.provider.checks())

    def creates(self) -> int:
        return sum("new" in call["words"] for call in self.computer.asked())

    def machines(self) -> list[str]:
        ours = "gpu-t4-s-"
        return sorted(NAME if each.startswith(ours) else each for each in self.computer.endpoints)

    def arm_order(self, fault: str) -> None:
        if fault == OLD:
            self.computer.answer("version", 0, "Version: 0.6.0")
        elif fault == LOST:
            self.fault = LOST
        else:
            self.computer.answer("new", 1, fault)
            if fault == said.TIMED_OUT:
                self.computer.answer("sessions", 0, said.NONE)  # as with an expired login

    def arm_end(self, fault: str) -> None:
        self.computer.answer("stop", 1, fault)

    def arm_look(self, fault: str) -> None:
        self.step = STEP
        self.computer.answer_always("sessions", int(fault != said.NONE), fault)

    def disarm(self) -> None:
        self.computer.answer_nothing()

    def keep(self) -> None:
        self.step = STEP
        self.computer.answer_always("stop", 0, "[colab] Session 'x' not found.")

    def quote_order(self, text: str) -> None:
        self.computer.answer("new", 1, f"colab failed: {text}")

    def quote_all(self, text: str) -> None:
        self.step = STEP
        for command in ("stop", "sessions", "upload", "download", "usage"):
            self.computer.answer_always(command, 1, f"colab failed: {text}")

    def prints(self, machine: Any, lines: list[str]) -> None:
        path = self.computer.folder / "cli" / "content" / f"{NAME}.log"
        # The worker's own line comes first, else it would come in between.
        if not self.waited:
            wait_for(lambda: path.exists() and "it works" in path.read_text())
            self.waited = True
        path.write_text("\n".join([*lines, ""]))

    def stranger(self, name: str) -> None:
        self.computer.lose(*self.computer.endpoints, name)

    def _clock(self) -> float:
        """Stands still, so that no machine is too slow, until a limit is to be reached."""
        self.now += self.step
        return self.now
