"""A machine that is paid for nothing is named by every command that a person calls."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.commands.logs import logs
from launch.commands.pull import pull
from launch.commands.runs import runs
from launch.commands.status import status
from launch.report.download import Download
from launch.ui.still_paid import still_paid
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, open_store
from tests.launch import paper
from tests.launch.paper import CONFIG, START

LAMBDA = Machine("lambda", START - 7200, "i-123", gpu="A10", price=0.75)
GONE = Gone(START, "over", "seen")
END = {"end": "75: deadline", "exit_code": 75}


@pytest.mark.parametrize(
    ("attempts", "state", "named"),
    [
        ([{"machine": LAMBDA}], "done", [1]),
        ([{"machine": LAMBDA}], "failed", [1]),
        ([{"machine": LAMBDA}], "stopped", [1]),
        ([{"machine": LAMBDA, **END}], "interrupted", [1]),
        ([{"machine": LAMBDA}], "running", []),
        ([{"machine": LAMBDA}], "queued", []),
        ([{"machine": LAMBDA}, {"machine": LAMBDA}], "running", [1]),
        ([{"machine": LAMBDA}, {"machine": LAMBDA}], "done", [1, 2]),
        ([{"machine": LAMBDA, "gone": GONE}], "done", []),
        ([{"machine": Machine("local", START, pid=1)}], "done", []),
        ([{}], "failed", []),
    ],
)  # fmt: skip
def test_which_machines(attempts: list[dict[str, Any]], state: str, named: list[int]) -> None:
    each = [paper.attempt(n, **more) for n, more in enumerate(attempts, 1)]
    assert [p.attempt for p in still_paid(paper.status(*each, state=state))] == named


def test_which_command_ends_it_and_what_it_costs() -> None:
    """Where the run has ended, `watch`; before that `watch` would order the next machine."""
    attempt = paper.attempt(machine=LAMBDA, **END)
    (over,) = still_paid(paper.status(attempt, state="done"), "s3://b/p")
    assert over.ends == "python -m launch watch run --once --store s3://b/p"
    assert over.dollars == pytest.approx(1.5)
    (going,) = still_paid(paper.status(attempt, state="interrupted"))
    assert going.ends == "python -m launch reap --provider lambda --machine i-123"
    for word in ("lambda A10 i-123 $0.75/h since 2027-01-15 06:00 UTC, $1.50 so far", going.ends):
        assert word in going.sentence


@pytest.mark.parametrize(
    ("ended", "price", "dollars"),
    [(60.0, 0.8, 1.6), (5400.0, 0.0110, 0.8 * (1800 + 3630) / 3600 + 0.0110 * 1770 / 3600)],
)  # fmt: skip
def test_a_machine_that_was_to_shut_down_costs_what_is_left_of_it(
    ended: float, price: float, dollars: float
) -> None:
    """From when it has no reason any more to stay on."""
    machine = replace(LAMBDA, provider="gcp", price=0.8)
    attempt = paper.attempt(machine=machine, end="0: done", exit_code=0, ended_at=START - ended)
    (one,) = still_paid(paper.status(attempt, state="done"))
    assert one.price == pytest.approx(price, rel=0.01)
    assert one.dollars == pytest.approx(dollars, rel=0.01)
    disk = "if it has shut itself down, as it was to: only its disk is paid then, about $0.26 a day"
    assert (disk in one.sentence) is (price < 0.1)
    assert one.ends == "python -m launch watch run --once"


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The run is done, and nobody has ended its machine. What is pulled of it is of no matter."""
    monkeypatch.setattr("launch.report.download.collect", lambda *_: Download(False, 0, {}))
    store = open_store((tmp_path / "store").as_uri())
    create_run(store, RunRecord("run", "smoke", CONFIG.as_dict(), 0, 1.0))
    raise_attempt(store, "run", Order("lambda", Plan(("lambda",)), store.now()))
    Attempt.claim(store, "run", 1).finish("done", "finished")
    notes.record_machine(store, "run", 1, LAMBDA)
    return store


@pytest.mark.parametrize("command", [status, runs, pull, logs])
def test_every_command_says_so(
    command: Callable[..., Any], finished: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = () if command is runs else ("run",)
    out = {"out": str(tmp_path / "out")} if command is pull else {}
    command(*names, store=finished.url, **out)
    said = "".join(capsys.readouterr())
    ends = f"watch run --once --store {finished.url}"
    assert "has not been seen to be gone" in said
    assert "lambda A10 i-123 $0.75/h since" in said
    assert ends in said
    if command is not logs:
        command(*names, store=finished.url, json=True, **out)
        body = json.loads(capsys.readouterr().out)
        assert ends in (body[0] if command is runs else body)["still_paid"][0]["ends"]
    notes.record_gone(finished, "run", 1, GONE)
    command(*names, store=finished.url, **out)
    assert "has not been seen to be gone" not in "".join(capsys.readouterr())
