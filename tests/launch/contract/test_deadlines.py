"""The limits that modules must agree on: their relations, and one machine seen by all of them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.commands import options
from launch.contract import deadlines
from launch.contract.cloud import State
from launch.provision import liveness
from launch.supervise.diagnosis import Observation, diagnose
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.commit import raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.status import derive
from tests import ROOT
from tests.launch.paper import START, Desk

MINUTES = range(41)


def test_relations() -> None:
    own = deadlines.SHELL_OVERTIME + deadlines.KILL_AFTER + deadlines.SELF_TERMINATE_WITHIN
    assert own < deadlines.WATCH_OVERTIME
    assert max(deadlines.ORDER_RESERVED, deadlines.LISTED_WITHIN) < deadlines.UNRECORDED_FOR
    assert deadlines.LISTED_WITHIN < deadlines.SILENT_FOR < deadlines.BEGIN_WITHIN
    assert deadlines.BEGIN_WITHIN < deadlines.KEYS_FETCHED_WITHIN
    assert deadlines.COMMIT_BEFORE_KEYS_END < deadlines.KEYS_OUTLIVE


def never_begins(desk: Desk, minute: int) -> None:
    """Its machine is there and gives no sign."""


def works_for_ten_minutes(desk: Desk, minute: int) -> None:
    """It gives signs until minute 15, then none."""
    if minute == 5:
        desk.work(1, 3)
    elif 5 < minute <= 15:
        desk.beat(1, 3)


@pytest.mark.parametrize("lives", [never_begins, works_for_ten_minutes])
def test_watch_resume_and_submit_agree_about_a_machine_at_each_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, lives: Callable[[Desk, int], None]
) -> None:
    """A machine that `watch` calls starting or working is not replaced by the others unasked."""
    order = desk.order(1)
    raise_attempt(desk.store, "run")
    notes.record_machine(desk.store, "run", 1, Machine("runpod", START, "i1", price=0.5))
    monkeypatch.setattr(liveness, "alive", lambda machine: True)
    monkeypatch.setattr(options.time, "time", desk.clock)
    said: set[str] = set()
    for minute in MINUTES:
        desk.clock.now = START + 60 * minute
        lives(desk, minute)
        status = derive(desk.store, "run", desk.clock())
        found = diagnose(Observation(status, order, State.RUNNING, "", desk.clock()))
        said.add(found.kind)
        assert bool(liveness.busy(status, desk.clock())) == (found.kind == "fine"), minute
        try:  # what both submit and resume ask before they begin an attempt
            options.check_free(desk.store, "run", "")
            free = True
        except BadInput:
            free = False
        assert free == (found.kind == "lost"), minute
    assert said == {"fine", "lost"}


def test_a_limit_has_one_name_and_one_home() -> None:
    """No other module of launch defines a constant of a name that stands in deadlines."""
    names = {name for name in vars(deadlines) if name.isupper()}
    home = Path(deadlines.__file__)
    for path in (ROOT / "launch").rglob("*.py"):
        found = set(re.findall(r"^([A-Z][A-Z_]+)\b.* = ", path.read_text(), re.M))
        assert path == home or not names & found, path
