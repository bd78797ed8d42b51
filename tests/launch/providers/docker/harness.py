"""The local container engine for the conformance suite."""

import subprocess
from typing import Any

from launch.contract.errors import NoCapacity
from launch.contract.provider import AttemptSpec
from launch.providers.docker.cli import Engine
from mimir.errors import BadInput
from tests.launch.providers.conformance.harness import (
    Harness,
    Place,
    register,
    row_class,
)
from tests.launch.providers.conformance.leaks import SECRETS
from tests.launch.providers.docker.paper import Paper

DOWN = "Cannot connect to the Docker daemon at unix:///x.sock."
NO_GPU = 'could not select device driver "" with capabilities: [[gpu]]'
SLOW, LOST = "slow", "lost"
_LISTS = "provider docker looks at one container by its name, and gives no list"
_ACCOUNTS = "the engine of this computer has no accounts, no money and no limits"


@register
class DockerHarness(Harness):
    name = "docker"
    lost = (LOST,)
    unsent = (SLOW,)
    unended = (SLOW, LOST, DOWN)
    silent = (SLOW, DOWN)
    refusals = {NoCapacity: NO_GPU, BadInput: DOWN}
    exceptions = {
        "AuthFailed_is_told": _ACCOUNTS,
        "BalanceEmpty_is_told": _ACCOUNTS,
        "RateLimited_is_told": _ACCOUNTS,
        "Leaked_is_told": "what an engine has made and cannot start is removed before the refusal",
        "an_end_is_asked_for_until_it_is_seen": (
            "the engine is on this computer: its silence is told, and the launcher asks again"
        ),
        "a_failed_list_shows_no_secret": _LISTS,
        "what_is_asked_before_an_order_shows_no_secret": "there is no market and no account to ask",
        "a_state_shows_no_secret": "the provider tells whether it runs, not the engine's word",
        "all_pages_are_read": _LISTS,
        "a_list_that_is_not_whole_is_an_error": _LISTS,
        "a_list_that_breaks_off_is_an_error": _LISTS,
        "strangers_are_not_listed": _LISTS,
    }

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        place.patch.setenv("XDG_STATE_HOME", str(place.folder / "state"))
        self.paper = Paper()
        self.words: list[str] = []
        self.once: dict[str, str] = {}
        self.always: dict[str, str] = {}
        self.another()

    def another(self) -> None:
        engine = Engine(self._run, which=lambda name: f"/bin/{name}")
        self.provider = row_class(self.name)(engine, has_gpu=lambda: False, clock=lambda: 1000.0)

    def spec(self, attempt: int = 1) -> AttemptSpec:
        store = "s3://bucket/runs?endpoint=https://s3.example.org"
        return AttemptSpec(store, "run", attempt, env=SECRETS)

    def adopt(self) -> Any:
        """An order of the same name finds what is there."""
        return self.start()

    def broken(self, machine: Any) -> bool:
        return self.provider.alive(machine) is True

    def creates(self) -> int:
        return self.words.count("create")

    def machines(self) -> list[str]:
        return sorted(self.paper.containers)

    def arm_order(self, fault: str) -> None:
        self.once["start" if fault == NO_GPU else "create"] = fault

    def arm_end(self, fault: str) -> None:
        self.once["stop"] = fault

    def arm_look(self, fault: str) -> None:
        self.always["container"] = fault

    def disarm(self) -> None:
        self.always.clear()
        self.paper.immortal = False

    def keep(self) -> None:
        self.paper.immortal = True

    def quote_order(self, text: str) -> None:
        self.once["create"] = f"Error: {text}"

    def quote_all(self, text: str) -> None:
        self.always = {"stop": f"Error: {text}", "container": f"Error: {text}"}

    def say(self, machine: Any, word: str) -> None:
        self.paper.found(self.id_of(machine))["State"]["Status"] = word

    def prints(self, machine: Any, lines: list[str]) -> None:
        self.paper.lines = lines

    def stranger(self, name: str) -> None:
        self.paper.containers[name] = {
            "Id": f"id-{name}", "Image": "sha256:1", "State": {"Status": "running"},
            "Config": {"Labels": None},
        }  # fmt: skip

    def _run(self, command: list[str], **how: Any) -> "subprocess.CompletedProcess[str]":
        word = command[1]
        self.words.append(word)
        fault = self.once.pop(word, None) or self.always.get(word)
        if fault not in (None, SLOW, LOST):
            return subprocess.CompletedProcess(command, 1, "", fault)
        if fault != SLOW:
            done = self.paper(command, **how)
        if fault is not None:
            raise subprocess.TimeoutExpired(command, how["timeout"])
        return done
