"""What resume counts of the machine that it replaces, without a machine."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from launch.commands import begin
from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.pricing.budget import HOUR
from launch.providers import registry
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.machine import Machine
from mimir.runs.order import Limits, Plan
from mimir.runs.status import Status
from mimir.submission import Entry
from tests.launch.paper import START, Desk, named, offer


@pytest.fixture
def known(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Status]:
    """What the attempts that resume begins know of the run."""
    begun: list[Status] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("mimir.runs.store.open_store", lambda url: desk.store)
    monkeypatch.setattr(registry, "get", {"runpod": desk.provider}.__getitem__)
    monkeypatch.setattr(
        begin.Start, "begin", lambda self, known, found: begun.append(known) or len(found.choices)
    )
    return begun


def crashed(desk: Desk, limits: Limits) -> None:
    """Attempt 1 at $0.50/h, allowed 20 h, crashed after ten minutes."""
    plan = Plan(("runpod",), limits, steps=4_000_000)
    desk.begin(deadline=START + 20 * HOUR, plan=plan)
    desk.cloud.make(offer(), named("run", 1))
    made = Machine("runpod", START, "i1", price=0.5, ends_itself=True)
    notes.record_machine(desk.store, "run", 1, made)
    desk.clock.now += HOUR / 6
    desk.work(1)
    desk.end(1)


def is_there(desk: Desk) -> None:
    """It could not end itself."""


def is_gone_for_long(desk: Desk) -> None:
    desk.cloud.machines.clear()
    desk.clock.now += 25 * 24 * HOUR


@pytest.mark.parametrize("then", [is_there, is_gone_for_long])
@pytest.mark.parametrize("limits", [Limits(max_cost_month=9.0), Limits(max_cost=9.0)])
def test_what_the_replaced_machine_was_allowed_is_not_spent(
    desk: Desk, known: list[Status], then: Callable[[Desk], None], limits: Limits
) -> None:
    crashed(desk, limits)
    then(desk)
    assert resume("run", store=desk.store.url, yes=True) == 1
    (status,) = known
    assert (status.attempts[0].gone is not None) == (then is is_gone_for_long)


def test_nor_where_submit_goes_on_with_the_run(
    desk: Desk, known: list[Status], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimir.submission.enter", lambda *a, **k: None)
    entry = "mimir.submission.check_enterable"
    monkeypatch.setattr(entry, lambda store, name, job, *a: Entry(job.config, name))
    monkeypatch.setattr("launch.payload.code_in_store.file", nullcontext)
    crashed(desk, Limits())
    its = {"name": "run", "provider": "runpod", "max_cost_month": 9.0}
    assert submit(preset="smoke", store=desk.store.url, yes=True, **its) == 1  # type: ignore[arg-type]
    assert len(known) == 1


def test_a_refusal_names_what_nobody_has_seen_to_be_gone(desk: Desk, known: list[Status]) -> None:
    crashed(desk, Limits(max_cost_store=9.0))
    desk.clock.now += 25 * 24 * HOUR
    with pytest.raises(BadInput, match=r"attempt 1 of run run: its machine is still there.*watch"):
        resume("run", store=desk.store.url, yes=True)
    assert known == []
