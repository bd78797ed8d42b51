"""sweep, from outside, with a stand-in for the worker."""

import csv
import io
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launch.commands import stop as stopping
from launch.commands import sweep_steps
from launch.commands.pull import pull
from launch.commands.runs import runs
from launch.commands.sweep import sweep
from launch.contract.provider import Caps
from launch.providers import registry
from launch.sweep.keep import Round
from mimir.errors import BadInput, RunExists, StoreDenied, StoreError, StoreUnfit
from mimir.runs import layout, notes
from mimir.runs import sweep as lists
from mimir.runs.listing import list_names
from mimir.runs.order import Plan
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests.launch.conftest import ENDLESS, SETTINGS, Fake, World, write_data
from tests.waiting import LIMIT, wait_for

GRID = "lr=1e-3,3e-4 seed=0..1"


def words(world: World, *more: str) -> tuple[str, ...]:
    return ("sweep", "lr", "--preset", "smoke", "--grid", GRID, "--data", str(world.data),
            *SETTINGS, *more)  # fmt: skip


def states(store: Store) -> dict[str, str]:
    return {name: derive(store, name, store.now()).state for name in list_names(store)}


def test_a_sweep_to_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = world.launch(*words(world, "--at-once", "2"))
    assert "sweep     lr, 4 runs" in err
    assert "this command begins the next runs" in err
    assert "sweep lr: 4 done" in out
    assert "lr-000 *" in out, "what a finished run leaves still ranks it"
    assert "3.1000 ± 0.0000" in out
    assert states(world.store) == {f"lr-{n:03d}": "done" for n in range(4)}
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    shared = {"batch": 4, "dim": 16, "heads": 2, "layers": 1}
    given: dict[str, Any] = {"preset": "smoke", "data": str(world.data), **shared}
    assert sweep("lr", grid=GRID, at_once=2, **given) == 0
    again, err = capsys.readouterr()
    assert again == out, "nothing is begun twice"
    assert "4 runs, 0 to do" in err
    for other in ({"grid": "lr=1e-3 seed=0..1"}, {"grid": GRID, "epochs": 3}):
        with pytest.raises(RunExists, match=r"sweep lr exists .* another"):
            sweep("lr", **{**given, **other})
    sweep("lr", csv=True)
    sheet = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["lr"], row["seed"]) for row in sheet][:2] == [("0.001", "0"), ("0.001", "1")]
    sweep("lr", json=True)
    body = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in body["runs"]] == ["done"] * 4
    runs()
    assert "SWEEP" in capsys.readouterr().out.splitlines()[0]
    pull("lr-003", out=str(world.folder / "out"))
    assert sweep("lr", remove=True, yes=True) == 0
    # What stays: a note for each name, from which a run of that name counts on.
    left = [layout.newest_runs_key(), *(f"{layout.TOMBSTONES}/lr-00{n}.json" for n in range(4))]
    assert list(world.store.list("")) == left


def test_a_sweep_that_has_the_name_of_a_word_for_help_stays_within_reach(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="help is no name for a sweep"):
        sweep("help", grid="seed=0..1", preset="smoke", dry_run=True, store=store.url)
    made = lists.Sweep("help", store.now(), {}, (), Plan(("local",)))
    store.put(layout.sweep_key("help"), made.to_bytes())
    assert sweep("help", store=store.url) == 0
    assert "sweep help: " in capsys.readouterr().out


def test_everything_is_killed_in_the_middle(world: World) -> None:
    process = under_way(world)
    process.kill()
    process.wait()
    for run in BEGUN:
        os.killpg(_pid(world, run), signal.SIGKILL)
    world.env["STEPS"] = "20"
    out, _ = world.launch("sweep", "lr", "--resume", "--at-once", "2")
    assert "sweep lr: 4 done" in out
    for run, attempts in (("lr-000", 2), ("lr-001", 2), ("lr-002", 1), ("lr-003", 1)):
        status = derive(world.store, run, world.store.now())
        assert status.attempt == attempts
        assert (status.attempts[-1].from_step or 0) >= 5 * (attempts - 1), "it went on"


def test_a_sweep_is_stopped_elsewhere(world: World) -> None:
    process = under_way(world)
    out, _ = world.launch("sweep", "lr", "--stop")
    assert "sweep lr (asked to stop): 2 stopped, 2 not begun" in out
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 75
    assert "sweep lr was stopped: this command begins no more runs" in err


BEGUN = ("lr-000", "lr-001")


def under_way(world: World) -> "subprocess.Popen[str]":
    """A sweep whose first two runs train on without an end."""
    world.env["STEPS"] = ENDLESS
    process = world.spawn(*words(world, "--at-once", "2"))
    for run in BEGUN:
        wait_for(lambda: _step(world, run) >= 5, f"step 5 of {run}")  # noqa: B023
    return process


def _pid(world: World, run: str) -> int:
    machine = notes.read_machine(world.store, run, 1)
    assert machine is not None
    assert machine.pid is not None
    return machine.pid


def _step(world: World, run: str) -> int:
    if not any(True for _ in world.store.list(layout.record_key(run))):
        return 0
    return read_head(world.store, run).step


Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command itself, with a store and data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = write_data(tmp_path / "data.csv")

    def call(name: str = "lr", **options: Any) -> int:
        given = {"preset": "smoke", "data": str(data), "batch": 4} if "grid" in options else {}
        return sweep(name, store=(tmp_path / "store").as_uri(), **{**given, **options})

    return call


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"grid": "sed=0..4"}, "no setting 'sed'; did you mean 'seed'"),
        ({"grid": "lr="}, "lr has an empty value"),
        ({"grid": "seed=4..0"}, "runs backwards"),
        ({"grid": "seed=0..9999"}, "at most 500"),
        ({"grid": "api_key=rpa_4711471147114711"}, "looks like a secret"),
        ({"grid": "API_KEY=rpa_4711471147114711"}, "looks like a secret"),
        (
            {"grid": "lr=1e-3", "run_name": "AKIAABCDEFGHIJKLMNOP"},
            "no option or setting --run",
        ),
        ({"grid": "lr=1e-3", "precision": "AKIAABCDEFGHIJKLMNOP"}, "looks like a secret"),
        ({"grid": "lr=1e-3", "lr": 1e-3}, "--lr is a setting of all runs, and in the grid"),
        (
            {"grid": "lr=1e-3", "resume": True},
            "give one of --grid, --resume, --stop, --remove, not several",
        ),
        ({"grid": "lr=1e-3", "json": True, "csv": True}, "give --csv or --json, not both"),
        ({"grid": "lr=1e-3", "name": "L R"}, "sweep name 'L R' is not allowed"),
        ({"grid": "lr=1e-3", "at_once": -1}, "--at-once is -1,"),
        ({"grid": "lr=1e-3", "at_once": 0}, "--at-once is 0, but must be from 1 to 500"),
        ({"grid": "lr=1e-3", "at_once": 501}, "at-once is 501"),
        ({"grid": "lr=1e-3", "per_job": 0}, "--per-job is 0,"),
        ({"max_cost": 0.0}, "--max-cost changes nothing beside a sweep's name alone"),
        ({"at_once": 0}, "--at-once changes nothing beside"),
        ({"per_job": 0}, "--per-job changes nothing beside"),
        ({"grid": "lr=1e-3", "max_cost": -1.0}, "--max-cost is -1,"),
        ({"grid": "lr=1e-3", "provider": "runpot"}, "no provider 'runpot'"),
        ({"grid": "lr=1e-3", "provider": "runpod"}, "cannot reach the store"),
        ({"grid": "lr=1e-3", "data": "nosuch.csv"}, "no data file nosuch.csv"),
        (
            {"stop": True, "resume": True},
            "give one of --grid, --resume, --stop, --remove, not several",
        ),
        ({"lr": 1e-3}, "--lr is for a new sweep"),
        ({"random": 3}, "--random is for a new sweep"),
        ({}, "there is no sweep lr"),
        ({"resume": True}, "there is no sweep lr"),
        ({"stop": True}, "there is no sweep lr"),
        ({"remove": True, "yes": True}, "there is no sweep lr"),
    ],
)
def test_bad_input_is_one_sentence_and_submits_nothing(
    call: Call, options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=says) as error:
        call(**options)
    assert "\n" not in str(error.value)
    assert "4711" not in str(error.value)
    assert "AKIA" not in str(error.value)
    assert not list(open_store((tmp_path / "store").as_uri()).list(""))


def test_a_dry_run_orders_nothing(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = "lr=1e-3,3e-4 seed=0..1"
    assert call(grid=grid, at_once=3, max_cost=8.0, dry_run=True, json=True) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in plan["runs"]] == [f"lr-{n:03d}" for n in range(4)]
    assert (plan["at_once"], plan["run_max_cost"], plan["max_cost"]) == (3, 2.0, 8.0)
    assert call(grid=grid, dry_run=True) == 0
    assert "4 runs" in capsys.readouterr().err
    assert not list(open_store((tmp_path / "store").as_uri()).list(""))


def test_a_limit_of_0_takes_the_sweeps_own_away(
    call: Call, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.ROWS, "fake", registry.ROWS["local"])
    fake.caps = Caps(paid=False, queues=True)
    assert call(grid="seed=0..1", provider="fake", max_cost=8.0) == 0
    for said, most, each in ((None, 8.0, 4.0), (9.0, 9.0, 4.5), (0.0, 0.0, 0.0)):
        capsys.readouterr()
        assert call(resume=True, max_cost=said, dry_run=True, json=True) == 0
        plan = json.loads(capsys.readouterr().out)
        assert (plan["max_cost"], plan["run_max_cost"]) == (most, each)


def test_where_jobs_queue_all_are_begun_at_once(
    call: Call, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setitem(registry.ROWS, "fake", registry.ROWS["local"])
    fake.caps = Caps(paid=False, queues=True)
    assert call(grid="seed=0..3", provider="fake") == 0, "nobody needs to stay"
    assert [spec.run for spec in fake.orders] == [f"lr-{n:03d}" for n in range(4)]
    err = capsys.readouterr().err
    assert "at once   all: they wait in its queue" in err
    assert "this command begins the next runs" not in err
    store = open_store((tmp_path / "store").as_uri())
    monkeypatch.setattr(stopping, "take_off_queue", lambda store, run: taken.append(run) or True)
    taken: list[str] = []
    assert call(stop=True) == 0
    assert taken == [f"lr-{n:03d}" for n in range(4)], "no worker would obey a request"
    assert notes.stop_requested(store, "lr-003", 1) is not None


def test_what_was_listed_of_runs_at_once_binds_those_that_share_a_job(
    call: Call, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.ROWS, "fake", registry.ROWS["local"])
    fake.caps = Caps(paid=False, queues=True, shares=True)
    assert call(grid="seed=0..3", provider="fake", at_once=2) == 0
    with pytest.raises(BadInput, match="--at-once 2 is less than the 3 runs that --per-job"):
        call(resume=True, per_job=3)


def test_a_store_that_does_not_answer_does_not_end_the_supervision(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*errors: Exception) -> Round:
        all_of: list[Exception | Round] = [*errors, Round(alive=("lr-000",)), Round()]
        answers = iter(all_of)

        def answer() -> Round:
            found = next(answers)
            if isinstance(found, Exception):
                raise found
            return found

        keeper, work = SimpleNamespace(round=answer), SimpleNamespace(places=[fake])
        return sweep_steps._keep(keeper, work, "lr")  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_steps, "ROUND_LOCAL", 0.0)
    monkeypatch.setattr(sweep_steps, "ROUND_REMOTE", 0.0)
    assert keep(StoreError("timeout"), StoreError("timeout")).over
    for kind in (StoreDenied, StoreUnfit):
        with pytest.raises(kind):
            keep(kind("a person must act"))
