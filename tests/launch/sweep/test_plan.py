"""Which runs are listed, and what each may cost."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.pricing import budget
from launch.pricing.budget import UsedUp
from launch.providers import registry
from launch.provision import choose
from launch.sweep import plan as plans
from launch.sweep import proposal
from launch.sweep.plan import listed, share
from mimir.data.opened import Data, open_data
from mimir.errors import BadInput
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Limits, Order, Plan
from mimir.runs.status import Status
from tests.launch.conftest import write_data
from tests.launch.paper import START, Desk, attempt, offer, status

HOUR = 3600.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        return open_data(str(write_data(folder / "data.csv")))


def made(rows: list[dict[str, Any]], data: Data, **shared: Any) -> Any:
    return listed("lr", "smoke", shared, rows, data, Plan(("local",)), 1, 0.0, START)


def test_each_run_is_checked_and_typed(data: Data) -> None:
    found = made([{"lr": 1, "seed": 3}, {"lr": "2e-3", "preset": "small"}], data, epochs=4, batch=4)
    one, other = found.members
    assert (one.run, one.preset, one.settings) == ("lr-000", "smoke", {"lr": 1.0, "seed": 3})
    assert (other.preset, other.settings) == ("small", {"lr": 2e-3})
    assert found.config(other).training.epochs == found.config(one).training.epochs == 4
    assert found.config(other).model.dim == 128
    assert one.steps == other.steps > 0
    assert found.values(other) == {"preset": "small", "lr": 2e-3, "seed": 0}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"lr": "fast"}], "lr is 'fast', but must be a number"),
        ([{"lr": -1.0}], "lr is -1.0, but must be"),
        ([{"preset": "smal"}], "no preset 'smal'; did you mean 'small'"),
        ([{"batch": 4096}], "batch is 4096, but"),
        ([{"lr": 1e-3}, {"seed": 1}, {"lr": 0.001}], "lr-000 and lr-002 would have the same"),
        ([{"seed": 1}, {"heads": 3}], r"run lr-001 \(heads=3\): dim is 64, but"),
    ],
)
def test_a_run_that_cannot_be(rows: list[dict[str, Any]], says: str, data: Data) -> None:
    with pytest.raises(BadInput, match=says):
        made(rows, data, batch=4) if "batch" not in rows[0] else made(rows, data)


def ran(
    run: str, state: str, hours: float, price: float = 1.0, gone: bool = True, most: float = 2.0
) -> Status:
    """A run whose one machine was ordered so many hours ago, and may cost so many dollars."""
    order = Order("runpod", Plan(("runpod",), Limits(max_cost=most)), START - hours * HOUR,
                  offer(price))  # fmt: skip
    end = Gone(START, "over", "done") if gone else None
    its = attempt(1, order=order, machine=Machine("runpod", order.time, price=price), gone=end)
    return status(its, run=run, state=state, sweep="lr")


def test_a_run_gets_its_share_of_what_the_finished_ones_leave() -> None:
    todo = [status(run=f"lr-{n}", state="queued") for n in range(3)]
    assert share(0.0, todo, 3, START) == 0.0
    assert share(10.0, todo, 3, START) == 3.33
    assert share(10.0, [ran("a", "done", 1.0), *todo], 4, START) == 3.0
    # What may still be paid, or goes on, has a share of its own.
    assert share(10.0, [ran("a", "done", 1.0, gone=False), *todo], 4, START) == 2.5
    assert share(10.0, [ran("a", "running", 1.0), *todo], 4, START) == 2.5
    assert share(10.0, [ran("a", "failed", 1.0), *todo], 4, START) == 2.5
    assert share(10.0, [ran("a", "done", 1.0)], 1, START) == 0.0
    with pytest.raises(UsedUp, match=r"\$1.00 of the sweep are used up"):
        share(1.0, [ran("a", "done", 2.0), *todo], 4, START)


def test_launchers_that_look_at_any_moments_keep_the_limit_together() -> None:
    """Runs begin under shares of any earlier moment, and cost up to them."""
    for seed in range(200):
        rng = random.Random(seed)
        count, limit = rng.randrange(2, 12), rng.uniform(1, 50)
        shares: dict[int, float] = {}
        statuses = [status(run=f"lr-{n}", state="queued") for n in range(count)]
        known = [share(limit, statuses, count, START)]
        cost = 0.0
        for n in rng.sample(range(count), count):
            shares[n] = rng.choice(known)
            paid = shares[n] * rng.choice((0.0, rng.random(), 1.0))
            cost += paid
            statuses[n] = ran(f"lr-{n}", "done", paid)
            if n < count - 1 and len(shares) < count:
                known.append(share(limit, statuses, count, START))
        assert cost <= limit + 1e-6, f"seed {seed}"
        assert known == sorted(known), f"seed {seed}: shares only grow"


@pytest.mark.parametrize("state", ["queued", "running", "interrupted", "disputed"])
def test_a_lowered_limit_needs_a_stop_first(state: str) -> None:
    """An evicted run is interrupted, and goes on under its old limit like the others."""
    alive = ran("lr-001", state, 0.1, gone=state == "interrupted")
    plans.must_hold(2.0, [alive, ran("lr-002", "stopped", 0.1)], 20.0)
    plans.must_hold(0.0, [alive], 0.0)
    with pytest.raises(BadInput, match=r"lr-001 works under a limit of \$2.00.*sweep lr --stop"):
        plans.must_hold(1.5, [alive], 15.0)
    plans.must_hold(1.5, [ran("lr-001", "failed", 0.1), status(state="queued")], 15.0)


def test_a_paid_run_without_a_limit_is_above_any() -> None:
    with pytest.raises(BadInput, match=r"lr-001 works without a limit.*sweep lr --stop"):
        plans.must_hold(9.0, [ran("lr-001", "running", 0.1, most=0.0)], 90.0)
    plans.must_hold(9.0, [ran("lr-001", "running", 0.1, price=0.0, most=0.0)], 90.0)


@pytest.fixture
def rented(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr("launch.provision.choose.registry.get", lambda name: desk.provider)
    return desk


def cost_of(desk: Desk, sweep: Any, limits: Limits, left: Mapping[str, int] | None = None) -> Any:
    plan = Plan(("runpod",), limits)
    steps = left or {each.run: each.steps for each in sweep.members}
    return plans.cost(desk.store, sweep, plan, steps, START)


def test_the_whole_cost_before_the_order(rented: Desk, data: Data) -> None:
    rows = [{"lr": lr, "seed": seed} for lr in (1e-3, 3e-4) for seed in range(3)]
    total = cost_of(rented, made(rows, data, batch=4), Limits())
    assert len(rented.cloud.needs) == 1, "seeds and rates do not change what is asked for"
    (found,) = total.found
    assert total.dollars == pytest.approx(6 * found.ranked[0].cost)
    assert total.dearest == found.ranked[0].cost
    sizes = cost_of(rented, made([{"dim": 64}, {"dim": 128}], data, batch=4), Limits())
    assert len(sizes.found) == 2
    with pytest.raises(BadInput, match=r"--max-cost .* say at least"):
        plans.must_fit(total, total.dollars / 12, total.dollars / 2, 6)
    uneven = replace(total, dearest=total.dollars / 2)
    with pytest.raises(BadInput, match="say at least"):  # enough together, not for the dearest
        plans.must_fit(uneven, total.dollars / 6, total.dollars, 6)
    plans.must_fit(total, total.dollars / 3, 2 * total.dollars, 6)


def test_the_budget_of_the_month_counts_for_the_whole_sweep(
    rented: Desk, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made([{"seed": seed} for seed in range(50)], data, batch=4)
    one = cost_of(rented, made([{"seed": 0}], data, batch=4), Limits())
    enough = Limits(max_cost_month=one.dollars * 49)
    assert budget.remaining(enough, status(), START).why == ""
    monkeypatch.setattr(choose, "_fits", lambda ranked, left: True)
    with pytest.raises(BadInput, match=r"the sweep would cost about .* leave"):
        cost_of(rented, sweep, enough)


def test_packed_data_is_opened_once(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimir.data.pack.load", lambda path: pytest.fail("it is open"))
    assert len(made([{"seed": n} for n in range(100)], data, batch=4).members) == 100
    assert Path(data.packed).is_file()


@pytest.mark.parametrize(
    ("per_job", "at_once", "provider", "says"),
    [
        (4, 2, "slurm", "--at-once 2 is less than the 4 runs that --per-job puts into one job"),
        (-1, 0, "slurm", "--per-job is -1, but must be a number of runs, 1 to 16"),
        (17, 0, "slurm", "per-job is 17"),
        (2, 0, "local", "not for local: say --at-once"),
        (2, 0, "runpod", "not for runpod: each rented machine trains one run"),
        (2, 2, "slurm", ""), (2, 0, "slurm", ""), (1, 0, "runpod", ""),
    ],
)  # fmt: skip
def test_who_may_share_a_job(per_job: int, at_once: int, provider: str, says: str) -> None:
    places = [registry.get(provider)]
    if not says:
        plans.must_share(per_job, at_once, places)
        return
    with pytest.raises(BadInput, match=says):
        plans.must_share(per_job, at_once, places)


@pytest.mark.parametrize(
    ("gres", "per_job", "says"),
    [
        ("gpu:t4:1", 16, "and T4 has 16 GB: workers would fail"), ("gpu:h100:1", 2, ""),
        ("gpu:1", 2, "How much the job's GPU has is not known here"), ("gpu:h100:1", 1, None),
    ],
)  # fmt: skip
def test_the_memory_that_runs_share(
    gres: str, per_job: int, says: str | None, data: Data
) -> None:  # fmt: skip
    sweep = made([{"seed": n} for n in range(16)], data, batch=4)
    left = {each.run: each.steps for each in sweep.members}
    wanted = Plan(("slurm",), options=(f"--gres={gres}",))
    told = proposal.shared(sweep, wanted, [registry.get("slurm")], left, per_job)
    if says is None:
        assert not told
        return
    assert "by a factor that nobody has measured" in told[0]
    assert len(told) == (2 if says else 1)
    assert says in told[-1]
