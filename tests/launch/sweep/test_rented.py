"""A sweep on rented machines, on paper: what its runs are ordered for, and what they cost."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.contract.cloud import State, machine_name
from launch.pricing import budget
from launch.providers import registry
from launch.provision.liveness import Watched
from launch.supervise.watcher import Watcher
from launch.sweep.keep import Keeper, look
from mimir.config import load_preset
from mimir.runs import notes, sweep_state
from mimir.runs.attempts import AttemptStatus
from mimir.runs.commit import Attempt
from mimir.runs.notes import Outcome
from mimir.runs.order import Limits, Plan
from mimir.runs.sweep import Member, Sweep, create
from tests.launch.paper import OWNER, START, Desk, offer

STEPS = 2000
PLAN = Plan(("runpod",), Limits(max_failures=50))


@pytest.fixture
def place(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MIMIR_ROLE_ARN", "arn:aws:iam::123456789012:role/machines")
    monkeypatch.setattr(registry, "get", lambda name: desk.provider)
    return desk


def listed(desk: Desk, folder: Path, runs: int) -> Sweep:
    data = folder / "data.safetensors"
    data.write_bytes(b"peptides")
    members = tuple(Member(f"lr-{n:03d}", "smoke", {"seed": n}, STEPS) for n in range(runs))
    bases = {"smoke": load_preset("smoke").as_dict()}
    wanted = Sweep("lr", START, bases, members, PLAN, probe={"fit": True})
    return create(desk.store, wanted, data)


def start(desk: Desk, sweep: Sweep, at_once: int, max_cost: float) -> Keeper:
    number = sweep_state.say(desk.store, "lr", sweep_state.GO).number
    watcher = Watcher(
        desk.store, desk.say, provider=lambda name: desk.provider, watched=Watched(desk.clock),
        sleep=desk.clock.sleep, clock=desk.clock,
    )  # fmt: skip
    return Keeper(
        desk.store, sweep, PLAN, at_once=at_once, max_cost=max_cost, number=number, say=desk.say,
        supervisor=watcher, clock=desk.clock, again=True,
    )  # fmt: skip


class Machines:
    """Machines that work, vanish, or end themselves at their deadline, and what they cost.

    That is what their service bills: Mimir counts until it has seen that one is gone.
    """

    def __init__(self, desk: Desk, sweep: Sweep, rng: random.Random) -> None:
        self.desk, self.sweep, self.rng = desk, sweep, rng
        self.ended: dict[tuple[str, int], float] = {}

    def cost(self) -> float:
        total = 0.0
        for run, attempt in self._attempts():
            order, now = attempt.order, self.desk.clock()
            if order is None or attempt.machine is None:
                continue
            end = self.ended.get((run, attempt.attempt), now)
            total += (budget.price_of(attempt) or 0.0) * (end - order.time) / budget.HOUR
        return total

    def see_ended(self) -> None:
        """Note which of them a launcher has just ended."""
        now = self.desk.clock()
        for run, attempt in self._attempts():
            machine, order = attempt.machine, attempt.order
            if machine is not None and order is not None and not self._lives(machine.id):
                own = min(now, order.deadline or now)
                self.ended.setdefault((run, attempt.attempt), own)

    def _lives(self, id: str) -> bool:
        return id in self.desk.cloud.machines

    def work(self) -> None:
        desk, now = self.desk, self.desk.clock()
        for run, attempt in list(self._attempts()):
            key, machine, order = (run, attempt.attempt), attempt.machine, attempt.order
            if machine is None or order is None or key in self.ended:
                continue
            luck = self.rng.random()
            if order.deadline and now >= order.deadline:
                self.ended[key] = order.deadline
                its = Outcome(75, "its deadline", now, 0, "deadline")
            elif luck < 0.1:
                self.ended[key] = now
                claimed = Attempt.claim(desk.store, *key, sleep=desk.clock.sleep)
                claimed.finish("done", "finished")
                its = Outcome(0, "finished", now, 0)
            elif luck < 0.25:  # it vanishes
                self.ended[key] = now
                desk.cloud.becomes(machine.id, State.GONE)
                continue
            else:
                continue
            notes.record_outcome(desk.store, *key, its)
            desk.cloud.becomes(machine.id, State.GONE)

    def _attempts(self) -> Iterator[tuple[str, AttemptStatus]]:
        for listed in look(self.desk.store, self.sweep):
            assert listed.status is not None
            for attempt in listed.status.attempts:
                yield listed.run, attempt


def test_each_run_has_a_machine_and_its_share(place: Desk, tmp_path: Path) -> None:
    sweep = listed(place, tmp_path, 3)
    place.cloud.market = [offer(0.5)]
    keeper = start(place, sweep, 2, 6.0)
    assert keeper.round().alive == ("lr-000", "lr-001")
    names = [machine_name(f"lr-{n:03d}", 1, OWNER) for n in (0, 1)]
    assert place.cloud.alive() == names
    for run in ("lr-000", "lr-001"):
        order = notes.read_order(place.store, run, 1)
        assert order is not None
        assert order.plan.limits.max_cost == 2.0
        assert order.plan.steps == STEPS
        assert order.deadline <= START + 2.0 / 0.5 * budget.HOUR
    # A machine that is gone is replaced within the run's own limit, by the supervisor.
    (gone, *_) = place.cloud.machines
    place.cloud.becomes(gone, State.GONE)
    place.clock.now += 600
    keeper.round()
    again = notes.read_order(place.store, "lr-000", 2)
    assert again is not None
    assert again.plan.limits.max_cost == 2.0
    assert again.deadline < START + 2.0 / 0.5 * budget.HOUR


@pytest.mark.parametrize("seed", range(8))
def test_no_schedule_costs_more_than_the_limit(place: Desk, tmp_path: Path, seed: int) -> None:
    """Machines vanish, runs end or use up what they may, launchers come and go at any moment."""
    rng = random.Random(seed)
    runs, limit = rng.randrange(2, 6), rng.choice((2.0, 5.0))
    sweep = listed(place, tmp_path, runs)
    place.cloud.market = [offer(rng.choice((0.3, 1.0)), place=str(n)) for n in range(3)]
    keepers, machines = [start(place, sweep, 2, limit)], Machines(place, sweep, rng)
    for _ in range(40):
        place.clock.now += rng.uniform(30, 1500)
        machines.work()
        if rng.random() < 0.2:
            keepers.append(start(place, sweep, rng.randrange(1, 4), limit))
        rng.choice(keepers[-2:]).round()
        machines.see_ended()
        assert machines.cost() <= limit + 1e-6, f"seed {seed}"
    assert machines.cost() > 0
