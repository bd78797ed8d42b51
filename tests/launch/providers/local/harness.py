"""Processes of this computer for the conformance suite."""

import subprocess
import sys
from typing import Any

from launch.contract import state
from launch.contract.errors import NoCapacity
from launch.contract.provider import AttemptSpec
from launch.providers.local import provider as local
from mimir.errors import BadInput
from tests.launch.providers.conformance.harness import (
    NAME,
    Harness,
    Place,
    register,
    row_class,
)
from tests.launch.providers.conformance.leaks import SECRETS

SLEEP = (sys.executable, "-IS", "-c", "import time; time.sleep(600)")
ELSEWHERE, NO_PROGRAM, NO_FOLDER = "another computer", "no such program", "no folder"
_ANSWERS = "a process is there or not when it is begun: no answer can be lost"
_NAMES = "a process has no name; the launcher orders an attempt once, by its store"
_LISTS = "provider local looks at one process by its number, and gives no list"
_ACCOUNTS = "this computer has no accounts, no money and no limits"


@register
class LocalHarness(Harness):
    name = "local"
    silent = (ELSEWHERE,)
    refusals = {NoCapacity: NO_PROGRAM, BadInput: NO_FOLDER}
    exceptions = {
        "a_lost_answer_is_adopted": _ANSWERS,
        "an_order_that_may_have_come_is_not_sent_again": _ANSWERS,
        "another_launcher_adopts_and_orders_nothing": _NAMES,
        "a_second_start_makes_no_second_machine": _NAMES,
        "an_end_without_an_answer_is_not_taken_for_done": "a signal has no answer to be lost",
        "an_end_is_asked_for_until_it_is_seen": "a signal has no answer to be lost",
        "AuthFailed_is_told": _ACCOUNTS,
        "BalanceEmpty_is_told": _ACCOUNTS,
        "RateLimited_is_told": _ACCOUNTS,
        "Leaked_is_told": "a process that cannot be begun leaves nothing",
        "a_refused_order_shows_no_secret": "a refusal is this computer's own, and quotes no order",
        "a_failed_end_shows_no_secret": "a refusal is this computer's own, and quotes no order",
        "a_failed_list_shows_no_secret": _LISTS,
        "what_is_asked_before_an_order_shows_no_secret": "there is no market and no account to ask",
        "a_state_shows_no_secret": "the provider tells whether it runs, not the system's word",
        "all_pages_are_read": _LISTS,
        "a_list_that_is_not_whole_is_an_error": _LISTS,
        "a_list_that_breaks_off_is_an_error": _LISTS,
        "strangers_are_not_listed": _LISTS,
        "strangers_are_left_alone": f"{_NAMES}; that a number was given anew is tested beside this",
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        place.patch.setenv("XDG_STATE_HOME", str(place.folder / "state"))
        self.begun: list[subprocess.Popen[bytes]] = []
        self.now = 1000.0
        self.orders = 0
        real = subprocess.Popen

        def popen(*words: Any, **how: Any) -> Any:
            self.orders += 1
            child = real(*words, **how)
            self.begun.append(child)
            return child

        place.patch.setattr(local.subprocess, "Popen", popen)
        self.another()

    def close(self) -> None:
        for child in self.begun:
            child.kill()
            child.wait()

    def another(self) -> None:
        self.provider = row_class(self.name)(SLEEP, clock=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        """Real processes take real time to end, and less of it than passes here."""
        self.now += seconds
        for child in self.begun:
            if not self.kept:
                child.wait(60)

    kept = False

    def spec(self, attempt: int = 1) -> AttemptSpec:
        return AttemptSpec("file:///store", "run", attempt, env=SECRETS)

    def broken(self, machine: Any) -> bool:
        return self.provider.alive(machine) is True

    def id_of(self, machine: Any) -> str:
        return str(machine.pid)

    def creates(self) -> int:
        return self.orders

    def machines(self) -> list[str]:
        return [NAME for child in self.begun if child.poll() is None]

    def arm_order(self, fault: str) -> None:
        if fault == NO_PROGRAM:
            self.provider = row_class(self.name)(("/no/such/program",))
            return
        (self.place.folder / "file").write_text("")
        self.place.patch.setenv("XDG_STATE_HOME", str(self.place.folder / "file"))

    def arm_look(self, fault: str) -> None:
        self.place.patch.setattr(local.platform, "node", lambda: "elsewhere")

    def disarm(self) -> None:
        """Every harness has one fault of looks only."""

    def keep(self) -> None:
        self.kept = True
        self.place.patch.setattr(local.os, "killpg", lambda number, signal: None)
        self.place.patch.setattr(local, "_signal", lambda number, signal: True)

    def say(self, machine: Any, word: str) -> None:
        """To a launcher whose child it is not: it sees the system's word for the state."""
        self.another()
        born = machine.details["born"]
        self.place.patch.setattr(local, "_process", lambda number: (word, born))

    def prints(self, machine: Any, lines: list[str]) -> None:
        with (state.folder() / machine.detail("log")).open("a") as file:
            file.truncate(machine.number("log_from") or 0)
            file.write("\n".join([*lines, ""]))
