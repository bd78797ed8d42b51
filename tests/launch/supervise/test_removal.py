"""Runs are removed: killed at any moment, and beside everybody who may come in between."""

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from launch.commands.prune import prune
from launch.contract.errors import NotGone
from launch.provision import ledger
from launch.provision import order as ordering
from launch.provision.choice import Choice
from launch.provision.wait import retire
from launch.supervise import removal
from launch.supervise.watcher import Watcher
from mimir.errors import BadInput, Fenced, MimirError
from mimir.runs import about, layout, notes, orders, remove, sweep_state, tombstone
from mimir.runs.commit import Attempt
from mimir.runs.head import REMOVED, find_head
from mimir.runs.listing import list_runs
from mimir.runs.order import Plan
from mimir.runs.record import RunRecord, create_run, find_run, read_run
from mimir.runs.status import derive
from tests.launch.paper import CONFIG, START, Desk, named, offer
from tests.runs.actors import Killed
from tests.runs.mortal import Mortal, Overtaken

PLAN = Plan(("runpod",))
KILLS = 30
EVERY = {"state": "finished,interrupted,queued", "older_than": "0s"}
"""What prune may remove at most."""
OLD = {"state": "finished", "older_than": "30d"}
"""What it removes without other words: no run of these tests."""


class Scene:
    """A run whose machine was taken away at step 5, though its service still has it."""

    def __init__(self, desk: Desk, files: Path) -> None:
        self.desk, self.store, self.said = desk, desk.store, desk.said
        self.data, self.code = files / "data.safetensors", files / "mimir.whl"
        self.data.write_bytes(b"peptides")
        self.code.write_bytes(b"a wheel")
        self.store.delete(layout.record_key("run"))
        self.store.delete(layout.head_key("run"))
        self.create(self.store)
        self.order(self.store)
        self.zombie = desk.work(1, 5)
        desk.end(1, 75, "signal")
        about.label(self.store, "run", {"project": "binders"})
        about.note(self.store, "run", "taken away at step 5")
        for key in (
            layout.start_key("run", "f" * 64, "weights.safetensors"), layout.replay_key("run"),
            layout.alerts_key("run", 1), layout.handover_key("run", 1, "nonce"),
        ):  # fmt: skip
            self.store.put(key, b"another kind of object that a run may have")
        self.start = dict(self.store.objects), dict(desk.cloud.machines)

    def again(self) -> None:
        """As it was at first."""
        self.store.objects, self.desk.cloud.machines = dict(self.start[0]), dict(self.start[1])

    def create(self, store: Any) -> RunRecord:
        record = RunRecord("run", "smoke", CONFIG.as_dict(), 0, START, probe={"fit": True})
        return create_run(store, record, self.data, self.code)

    def order(self, store: Any) -> int:
        retire(store, derive(store, "run", store.now()), self.desk.say)
        choices = [Choice(self.desk.provider, offer(), START + 86_400)]
        return ordering.order(store, "run", choices, PLAN, self.desk.say).attempt

    def submit(self, store: Any) -> None:
        self.create(store)
        self.order(store)

    def watch(self, store: Any) -> None:
        desk = self.desk
        Watcher(
            store, desk.say, choose=lambda *_: [Choice(desk.provider, offer(), START + 86_400)],
            provider=lambda _: desk.provider, sleep=desk.clock.sleep, clock=desk.clock,
        ).round("run")  # fmt: skip

    def trespass(self, store: Any) -> None:
        """What the old machine writes, whatever became of its run."""
        notes.write_heartbeat(store, "run", 1, notes.Heartbeat(5.0, 6, 100))
        store.put(f"{layout.attempt_prefix('run', 1)}/log/000009.txt", b"still here")
        self.zombie.commit(6, b"state of step 6", None)

    def remove(self, store: Any) -> int:
        desk = self.desk
        leaving = removal.look(store, "run", desk.say, lambda _: desk.provider)
        return removal.carry_out(store, leaving, "rm", desk.say, lambda _: desk.provider)

    def prune(self, store: Any, **words: Any) -> int:
        return prune(yes=True, store=store, json=True, **{**EVERY, **words})

    def finish(self) -> None:
        """The same command again, if a removal was begun."""
        for _ in range(4):
            head, made = find_head(self.store, "run"), tombstone.find(self.store, "run")
            begun = (head is not None and head.state == REMOVED) or (
                made is not None and made.word == tombstone.DELETING
            )
            if not begun:
                return
            self.desk.clock.now += 200.0  # an order without an answer is too young before
            self.remove(self.store)
        raise AssertionError("the removal does not come to its end")

    def begin_anew(self) -> None:
        """A new run of the name knows nothing of the one that was removed."""
        self.desk.clock.now += 200.0
        self.submit(self.store)
        self.check()
        assert about.read(self.store, "run").labels == {}
        status = derive(self.store, "run", self.store.now())
        claimed = Attempt.claim(self.store, "run", status.attempt, sleep=self.desk.clock.sleep)
        assert claimed.load_newest(bytes) is None
        assert claimed.commit(2, b"state of step 2", None).step == 2

    def check(self) -> None:
        """What is there is whole, and what costs is known to it."""
        record = find_run(self.store, "run")
        alive = self.desk.cloud.alive()
        if record is None:
            assert not alive
            assert find_head(self.store, "run") is None
            assert not [key for key in self.left() if layout.parse_attempt("run", key) is None]
            return
        status = derive(self.store, "run", self.store.now())
        assert status.state != "disputed", status.reason
        for stored in (record.data, record.code):
            assert stored is not None
            self.store.get(stored.key, size=stored.size, sha256=stored.sha256)
        assert find_head(self.store, "run") is not None
        assert set(alive) <= {named("run", status.attempt)}
        assert not alive or notes.read_machine(self.store, "run", status.attempt) is not None

    def left(self) -> list[str]:
        return list(self.store.list("run/")) + list(self.store.list(layout.HANDOVER))


@pytest.fixture
def scene(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("launch.providers.registry.get", lambda name: desk.provider)
    # The command takes a store in the place of its URL, and the desk's provider.
    monkeypatch.setattr("mimir.runs.store.open_store", lambda store: store)
    look, carry_out = removal.look, removal.carry_out

    def looked(store: Any, run: str, say: Any, provider: Any = lambda _: desk.provider) -> Any:
        return look(store, run, say, provider)

    def carried_out(
        store: Any, leaving: Any, why: str, say: Any, provider: Any = lambda _: desk.provider
    ) -> int:
        return carry_out(store, leaving, why, say, provider)

    monkeypatch.setattr(removal, "look", looked)
    monkeypatch.setattr(removal, "carry_out", carried_out)
    for module in ("head", "begin"):
        monkeypatch.setattr(f"mimir.runs.{module}.pauses", lambda rng, tries: iter([0.0] * tries))
    return Scene(desk, tmp_path)


def test_all_goes_and_the_numbers_stay(scene: Scene) -> None:
    before = ledger.read(scene.store, scene.store.now(), provider=lambda _: scene.desk.provider)
    scene.desk.clock.now += 3600.0
    count = scene.remove(scene.store)
    assert count > 8
    assert scene.left() == []
    assert scene.desk.cloud.alive() == []
    assert list_runs(scene.store, scene.store.now()) == []
    with pytest.raises(BadInput, match="run run was removed on 2027-01-15"):
        read_run(scene.store, "run")
    after = ledger.read(scene.store, scene.store.now())
    assert before.month == 0.5 * 24  # until its deadline
    assert after.month == after.total == pytest.approx(0.5)  # an hour, at its end
    scene.submit(scene.store)
    status = derive(scene.store, "run", scene.store.now())
    assert (status.attempt, status.state, len(status.attempts)) == (2, "queued", 1)
    order = notes.read_order(scene.store, "run", 2)
    assert order is not None
    assert (order.earlier, order.since, order.kept) == (1, 2, ())
    scene.check()
    # The old worker's number is no longer anybody's.
    with pytest.raises(Fenced):
        scene.zombie.commit(6, b"state of step 6", None)
    with pytest.raises(Fenced, match="attempt 2"):
        Attempt.claim(scene.store, "run", 1, sleep=scene.desk.clock.sleep)
    fresh = Attempt.claim(scene.store, "run", 2, sleep=scene.desk.clock.sleep)
    fresh.commit(3, b"state of step 3", None)
    removed = scene.store.objects.keys()
    scene.store.put(f"{layout.attempt_prefix('run', 1)}/log/000001.txt", b"still here")
    assert remove.collect(scene.store, "run") >= 1
    assert scene.store.objects.keys() == removed
    scene.check()


@pytest.mark.parametrize("looked", ["before", "after"])
def test_a_machine_that_ended_itself_counts_until_then(scene: Scene, looked: str) -> None:
    """Whether it is seen to be gone by who looks, or only by who removes."""
    desk, store = scene.desk, scene.store
    scene.zombie.finish("done")
    leaving = removal.look(store, "run", desk.say, lambda _: desk.provider)
    desk.cloud.machines.clear()
    desk.clock.now += 25 * 86_400.0
    objects = dict(store.objects)
    expected = ledger.read(store, store.now(), provider=lambda _: desk.provider).total
    store.objects = objects
    if looked == "after":
        leaving = removal.look(store, "run", desk.say, lambda _: desk.provider)
        assert leaving.dollars == pytest.approx(expected)
    removal.carry_out(store, leaving, "rm", desk.say, lambda _: desk.provider)
    made = tombstone.find(store, "run")
    assert made is not None
    assert sum(made.spent.values()) == pytest.approx(expected)
    assert 0 < expected < 1.0


@pytest.mark.parametrize(("act", "kills"), [
    ("remove", KILLS), ("prune", 6), pytest.param("prune", KILLS, marks=pytest.mark.long),
])  # fmt: skip
def test_killed_at_random_moments(scene: Scene, act: str, kills: int) -> None:
    counted = Mortal(scene.store)
    getattr(scene, act)(counted)
    assert scene.left() == []
    assert counted.moments > 100
    for moment in random.Random(1).sample(range(counted.moments), kills):
        scene.again()
        with pytest.raises(Killed):
            getattr(scene, act)(Mortal(scene.store, moment))
        if scene.desk.cloud.alive():  # whoever comes next can find it
            assert notes.read_machine(scene.store, "run", 1) is not None, moment
        made = tombstone.find(scene.store, "run")
        if made is not None and made.word == tombstone.DELETING:
            with pytest.raises(BadInput, match=r"is being removed: finish that by .* rm run"):
                scene.create(scene.store)
            assert removal.cut_off(scene.store, scene.desk.say) == (["run"], [])
        if act == "remove":
            scene.finish()
        if act == "prune" or find_run(scene.store, "run") is not None:  # killed before it wrote
            getattr(scene, act)(scene.store)
        scene.check()
        assert scene.left() == [], moment


ACTS = ("remove", "prune", "submit", "order", "watch", "trespass")
PAIRS = [("remove", other) for other in ACTS] + [(one, "remove") for one in ACTS[1:]]
PAIRS += [("prune", other) for other in ACTS[1:]] + [(one, "prune") for one in ACTS[2:]]


@pytest.mark.parametrize("dense", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_one_comes_between_the_requests_of_another(
    scene: Scene, one: str, other: str, dense: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """At some or all of them in turn; a removal is then begun again until it comes to its end."""
    refusals: set[str] = set()

    def act(name: str, store: Any) -> None:
        try:
            getattr(scene, name)(store)
        except MimirError as error:
            refusals.add(str(error))

    counted = Overtaken(scene.store, None, lambda: None)
    act(one, counted)
    stride = 3 if "watch" in (one, other) or one == other else 2
    stride *= 6 if "prune" in (one, other) else 1
    for moment in range(0, counted.moments, 1 if dense else stride):
        scene.again()
        act(one, Overtaken(scene.store, moment, lambda: act(other, scene.store)))
        scene.finish()
        scene.check()
        remove.collect(scene.store, "run")
        scene.check()
        if find_run(scene.store, "run") is None:
            scene.begin_anew()
    # `prune` says what it could not remove, and goes on.
    said = capsys.readouterr()
    assert not [each for each in (*refusals, said.out, said.err) if "fault of Mimir's" in each]


@pytest.mark.parametrize("dense", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(("one", "other"), [("submit", "prune"), ("prune", "submit")])
def test_prune_takes_nothing_from_a_submit_that_has_no_record_yet(
    scene: Scene, one: str, other: str, dense: bool
) -> None:
    """The name is that of a removed run, whose machine has written since: only that goes."""
    desk, store = scene.desk, scene.store
    scene.remove(store)
    for key in (
        f"{layout.attempt_prefix('run', 1)}/log/000009.txt",
        layout.heartbeat_key("run", 1),
    ):
        store.put(key, b"still here")
    before = dict(store.objects)
    acts = {"submit": scene.submit, "prune": lambda it: scene.prune(it, **OLD)}
    counted = Overtaken(store, None, lambda: None)
    acts[one](counted)
    begun = []  # moments at which there was data, and no record
    for moment in range(0, counted.moments, 1 if dense else 3):
        store.objects = dict(before)
        desk.cloud.machines.clear()

        def come(moment: int = moment) -> None:
            data = list(store.list(f"{layout.data_folder('run')}/"))
            if data and find_run(store, "run") is None:
                begun.append(moment)
            acts[other](store)

        acts[one](Overtaken(store, moment, come))
        scene.check()
        assert find_run(store, "run") is not None
        assert derive(store, "run", store.now()).attempt == 2
        assert desk.cloud.alive() == [named("run", 2)]
        scene.prune(store, **OLD)
        scene.check()
        made = tombstone.find(store, "run")
        assert made is not None
        assert remove.left(store, made) == []
    assert bool(begun) == (one == "submit")


@pytest.mark.parametrize("one", ["submit", "order", "watch"])
def test_who_read_head_before_it_was_marked_is_told(scene: Scene, one: str) -> None:
    """They meet HEAD as it is, the tombstone, or nothing; never a fault, nor another's words."""
    leaving = removal.look(scene.store, "run", scene.desk.say, lambda _: scene.desk.provider)
    remove.mark(scene.store, leaving.target, "rm")
    if one == "watch":
        scene.watch(scene.store)  # it ends the machine, and begins nothing
        assert scene.desk.cloud.alive() == []
    else:
        with pytest.raises(BadInput, match="run run is being removed: finish that by"):
            getattr(scene, one)(scene.store)
    assert derive(scene.store, "run", scene.store.now()).state == REMOVED
    with pytest.raises(Fenced, match="run run was removed: this process stops"):
        scene.zombie.commit(6, b"state of step 6", None)
    assert orders.newest_order(scene.store, "run") == 1


def test_what_is_at_work_is_refused(scene: Scene) -> None:
    scene.order(scene.store)
    scene.desk.work(2, 6)
    before = dict(scene.store.objects)
    with pytest.raises(
        BadInput, match=r"run run is running \(attempt 2 gave a sign 0 s ago\): stop"
    ):
        scene.remove(scene.store)
    assert scene.store.objects == before


def test_nothing_is_deleted_before_the_machine_is_gone(scene: Scene) -> None:
    scene.desk.cloud.immortal = True
    before = scene.store.objects.keys()
    with pytest.raises(NotGone):
        scene.remove(scene.store)
    assert scene.store.objects.keys() == before
    assert derive(scene.store, "run", scene.store.now()).state == REMOVED
    scene.desk.cloud.immortal = False
    scene.remove(scene.store)
    assert (scene.left(), scene.desk.cloud.alive()) == ([], [])


def test_an_order_that_may_have_brought_a_machine_is_waited_for(scene: Scene) -> None:
    scene.desk.order(2)  # its launcher dies before it raises HEAD
    with pytest.raises(BadInput, match="attempt 2 of run run is being ordered"):
        scene.remove(scene.store)
    scene.desk.clock.now += orders.RESERVED
    scene.desk.cloud.make(offer(), named("run", 2))
    scene.remove(scene.store)
    assert (scene.left(), scene.desk.cloud.alive()) == ([], [])


def test_one_who_sleeps_while_others_remove_and_submit_deletes_nothing(scene: Scene) -> None:
    """Anywhere but between the look at the tombstone and a deletion: see `mimir.runs.remove`."""

    def others() -> None:
        scene.remove(scene.store)
        scene.submit(scene.store)

    counted = Overtaken(scene.store, None, lambda: None)
    scene.remove(counted)
    for moment in range(0, counted.moments, 2):
        scene.again()
        with contextlib.suppress(MimirError):
            scene.remove(Overtaken(scene.store, moment, others, never="delete"))
        scene.finish()
        scene.check()


@pytest.mark.parametrize("begun", ["", "marked", "buried"])
def test_who_waits_at_the_prompt_ends_no_machine_of_a_new_run(scene: Scene, begun: str) -> None:
    """Others finish the removal, submit the name again, and train."""
    desk, store = scene.desk, scene.store

    def provider(_: str) -> Any:
        return desk.provider

    target = remove.target(store, "run")
    if begun:
        remove.mark(store, target, "rm")
    if begun == "buried":
        removal.end_machines(store, target, provider)
        remove.bury(store, target, {})
    waiting = removal.look(store, "run", desk.say, provider)
    assert waiting.target.deleting == (begun == "buried")
    scene.remove(store)
    scene.create(store)
    scene.order(store)
    desk.work(2, 3)
    before, alive = dict(store.objects), desk.cloud.alive()
    with pytest.raises(Fenced, match="look at it again"):
        removal.carry_out(store, waiting, "rm", desk.say, provider)
    # Also if it had looked at HEAD before all of that.
    with pytest.raises(Fenced, match="run run is another one by now: look at it again"):
        removal.end_machines(store, waiting.target, provider)
    with pytest.raises(Fenced, match="run run was changed"):
        remove.bury(store, waiting.target, {})
    assert (store.objects, desk.cloud.alive()) == (before, alive)
    assert alive == [named("run", 2)]


def test_a_run_of_a_sweep_goes_with_the_sweep_only(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimir.runs.sweep.find", lambda store, name: object())
    record = RunRecord("lr-000", "smoke", CONFIG.as_dict(), 0, START, sweep="lr")
    create_run(scene.store, record)
    leaving = removal.look(scene.store, "lr-000", scene.desk.say)
    with pytest.raises(BadInput, match=r"of sweep lr: `python -m launch sweep lr --remove`"):
        removal.carry_out(scene.store, leaving, "rm", scene.desk.say)
    assert sweep_state.read(scene.store, "lr").word == sweep_state.GO


ORDER, MACHINE = "launcher/a0001/order.json", "launcher/a0001/machine.json"


@pytest.mark.parametrize(
    ("spoilt", "seen"),
    [
        (["run.json"], True),
        (["HEAD"], False),  # its status can be read, and it is not at work
        (["run.json", "HEAD"], True),
        ([ORDER], True),
        ([MACHINE], True),
        ([ORDER, MACHINE], False),
    ],
)
def test_a_damaged_run_can_be_removed(scene: Scene, spoilt: list[str], seen: bool) -> None:
    """Unless its machine is seen; what is then not known is told."""
    scene.desk.clock.now += 600.0
    for name in spoilt:
        scene.store.put(f"run/{name}", b"{")
    if seen:
        with pytest.raises(BadInput, match=r"its attempt 1 is there .* end it first"):
            scene.remove(scene.store)
        scene.desk.cloud.machines.clear()
    scene.remove(scene.store)
    assert scene.left() == []
    told = [each for each in scene.desk.said if "`python -m launch reap` finds that" in each]
    assert len(told) == (spoilt[0] in (ORDER, MACHINE))
    assert all("what its attempt 1 cost is not known" in each for each in told)
    assert all(name in each for each in told for name in spoilt)
