import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mimir.config import Config, load_preset
from mimir.errors import BadInput, Corrupt, OtherFormat, RunExists, StoreError
from mimir.runs import layout, newest, sweep, sweep_state
from mimir.runs.listing import list_names
from mimir.runs.order import Limits, Plan
from mimir.runs.record import RunRecord, create_run, read_run
from mimir.runs.status import derive
from mimir.runs.store import Store
from mimir.runs.sweep import Member, Sweep, create, read
from mimir.runs.sweep_state import GO, REMOVED, STOP, say
from tests.runs.actors import Killed
from tests.runs.memory import MemoryStore
from tests.runs.mortal import Mortal

BASE = load_preset("smoke")


def listed(runs: int = 3, **more: Any) -> Sweep:
    members = tuple(
        Member(f"lr-{n:03d}", "smoke", {"lr": 1e-3, "seed": n}, 100) for n in range(runs)
    )
    plan = Plan(("local",), Limits(max_hours=2.0))
    given = {"at_once": 2, "max_cost": 20.0, "probe": {"fit": True}, **more}
    return Sweep("lr", 1000.0, {"smoke": BASE.as_dict()}, members, plan, **given)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.safetensors"
    path.write_bytes(b"peptides")
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mimir_peptides-0.1.0-py3-none-any.whl"
    path.write_bytes(b"wheel")
    return path


def test_a_sweep_is_a_list_of_ordinary_runs(store: Store, data: Path, code: Path) -> None:
    made = create(store, listed(), data, code)
    assert read(store, "lr") == made
    assert sweep.names(store) == ["lr"]
    assert list_names(store) == ["lr-000", "lr-001", "lr-002"]
    assert made.data is not None
    assert made.data.key.startswith("_sweeps/lr/data/")
    for member in made.members:
        record = read_run(store, member.run)
        config = Config.from_dict(record.config)
        assert (config.optimizer.lr, config.training.seed) == (1e-3, member.settings["seed"])
        assert (record.sweep, record.data, record.code) == ("lr", made.data, made.code)
        assert derive(store, member.run, store.now()).sweep == "lr"
        assert not list(store.list(layout.data_folder(member.run)))
    assert len(list(store.list("_sweeps/lr/"))) == 2, "data and code once"
    assert [run.name for run in newest.newest(store)] == ["lr-000", "lr-001", "lr-002"]
    assert made.differing() == ["lr", "seed"]
    assert made.values(made.members[2]) == {"lr": 1e-3, "seed": 2}


def test_killed_at_any_moment_of_its_creation(memory: MemoryStore, data: Path, code: Path) -> None:
    """The same list whenever it is cut off, and again at the same command's second try."""
    whole = Mortal(memory)
    create(whole, listed(), data, code)
    assert whole.moments >= 30
    for moment in range(whole.moments):
        torn = MemoryStore()
        with pytest.raises(Killed):
            create(Mortal(torn, moment), listed(), data, code)
        # A later command has another time, and perhaps another build.
        later = replace(listed(), created=2000.0)
        made = create(torn, later, data, code)
        assert made.created in (1000.0, 2000.0)
        wanted = {
            key: value.data.replace(b"1000.0", str(made.created).encode())
            for key, value in memory.objects.items()
        }
        found = {key: value.data for key, value in torn.objects.items()}
        for objects in (wanted, found):  # a copy, which no two stores write alike
            assert objects.pop(layout.newest_runs_key())
        assert found == wanted, f"moment {moment}"


def test_creating_again_changes_nothing(memory: MemoryStore, data: Path, code: Path) -> None:
    made = create(memory, listed(), data, code)
    before = dict(memory.objects)
    code.write_bytes(b"another build")
    other = replace(listed(), created=2000.0, at_once=1, max_cost=0.0, plan=Plan(("runpod",)))
    assert create(memory, other, data, code) == made
    assert memory.objects == before


def _other_lr(value: Sweep) -> Sweep:
    first = replace(value.members[0], settings={"lr": 2e-3, "seed": 0})
    return replace(value, members=(first, *value.members[1:]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_lr, r"another grid \(3 runs over lr, seed\)"),
        (lambda value: replace(value, members=value.members[:2]), "another grid"),
        (
            lambda value: replace(
                value, bases={"smoke": BASE.with_settings({"epochs": 3}).as_dict()}
            ),
            "settings that all its runs share",
        ),
    ],
)
def test_a_name_taken_by_another_grid(
    memory: MemoryStore, data: Path, change: Callable[[Sweep], Sweep], says: str
) -> None:
    create(memory, listed(), data)
    before = dict(memory.objects)
    with pytest.raises(RunExists, match=says):
        create(memory, change(listed()), data)
    assert memory.objects == before


def test_a_name_taken_by_other_data_or_another_run(memory: MemoryStore, data: Path) -> None:
    create_run(memory, RunRecord("lr-001", "smoke", BASE.as_dict(), 1, 1.0))
    with pytest.raises(RunExists, match="run lr-001 exists already"):
        create(memory, listed(), data)
    assert list_names(memory) == ["lr-001"]
    other = MemoryStore()
    create(other, listed(), data)
    data.write_bytes(b"others")
    with pytest.raises(RunExists, match="with other data"):
        create(other, listed(), data)


def test_a_run_by_hand_does_not_take_the_place_of_a_sweeps(memory: MemoryStore, data: Path) -> None:
    made = create(memory, listed(), data)
    alone = replace(made.record(made.members[0]), sweep="", data=None)
    with pytest.raises(RunExists, match="another sweep"):
        create_run(memory, alone, data)


def test_a_name_that_is_none(memory: MemoryStore, data: Path) -> None:
    create(memory, listed(), data)
    with pytest.raises(BadInput, match=r"there is no sweep lt .*did you mean lr"):
        read(memory, "lt")
    for name in ("Lr", "_lr", "l/r", "a" * 37, ""):
        with pytest.raises(BadInput, match="is not allowed"):
            layout.check_sweep(name)
    assert layout.parse_sweep("_sweeps/lr.json") == "lr"
    assert layout.parse_sweep("_sweeps/lr/data/0-x.json") is None


def test_a_damaged_list_is_refused(memory: MemoryStore, data: Path) -> None:
    create(memory, listed(), data)
    key = layout.sweep_key("lr")
    whole = json.loads(memory.objects[key].data)
    shared = whole["data"]["key"]
    for change, error in (
        ({"name": "other"}, Corrupt),
        ({"members": whole["members"][1:]}, Corrupt),
        ({"members": [{**each, "preset": "large"} for each in whole["members"]]}, Corrupt),
        ({"members": [{**each, "steps": 0} for each in whole["members"]]}, Corrupt),
        ({"data": {**whole["data"], "key": shared.replace("lr", "other")}}, Corrupt),
        ({"max_cost": -1}, Corrupt),
        ({"more": 1}, Corrupt),
        ({"format": 2}, OtherFormat),
    ):
        memory.put(key, json.dumps({**whole, **change}).encode())
        with pytest.raises(error, match=r"_sweeps/lr\.json"):
            read(memory, "lr")


def test_the_last_word_counts(memory: MemoryStore) -> None:
    assert sweep_state.read(memory, "lr").word == GO
    assert [say(memory, "lr", word).number for word in (GO, STOP, GO, STOP)] == [1, 2, 3, 4]
    assert sweep_state.read(memory, "lr").word == STOP


def test_a_word_whose_answer_is_lost_is_said_once(memory: MemoryStore) -> None:
    class Lost(MemoryStore):
        fails = True

        def _set(self, key: str, data: bytes) -> str:
            version = super()._set(key, data)
            if self.fails:
                self.fails = False
                raise StoreError("timeout")
            return version

    lossy = Lost()
    assert say(lossy, "lr", GO).number == 1
    lossy.fails = True
    assert say(lossy, "lr", STOP).number == 2
    assert sweep_state.read(lossy, "lr").number == 2


def test_two_words_at_once_both_count(memory: MemoryStore) -> None:
    """Each meets the other's swap, and goes on from it."""
    calls = iter([STOP])

    class Overtaken(Mortal):
        def _pass(self) -> None:
            super()._pass()
            if self.moments == 2:  # after it has read
                for word in calls:
                    say(memory, "lr", word)

    assert say(Overtaken(memory), "lr", GO).number == 2  # type: ignore[arg-type]
    assert sweep_state.read(memory, "lr").word == GO


def test_removed_is_for_good(memory: MemoryStore, data: Path) -> None:
    create(memory, listed(), data)
    say(memory, "lr", REMOVED)
    for act in (lambda: say(memory, "lr", GO), lambda: create(memory, listed(), data)):
        with pytest.raises(BadInput, match=r"is being removed.*--remove"):
            act()
