"""What this computer keeps of a run whose machines hold keys that cannot be cut down."""

import stat
from pathlib import Path

import pytest

from launch.provision import kept_plan
from launch.provision.kept_plan import KeptPlan
from launch.ui import confirm
from mimir.errors import BadInput, Corrupt
from mimir.runs.order import KeySource, Limits, Plan
from mimir.runs.record import record_sha256
from tests.launch.paper import START, URL, Desk

HOUR = 3600.0
UNCUT = Plan(("runpod",), Limits(max_cost=2.0), keys=KeySource(static=True))
CUT = Plan(("runpod",))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mimir" / "plans"


def test_it_is_kept_where_it_is_needed_and_for_its_owner_alone(desk: Desk, state: Path) -> None:
    kept_plan.keep(desk.store, "run", UNCUT, [desk.provider])
    (path,) = state.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept_plan.note_order(URL, "run", START, 0.5)
    assert kept_plan.read(URL, "run") == KeptPlan(
        UNCUT, record_sha256(desk.store, "run"), ((START, 0.5),)
    )
    assert kept_plan.read("s3://other/runs", "run") is None
    kept_plan.keep(
        desk.store, "run", CUT, [desk.provider]
    )  # by a later `resume` with keys for each
    assert kept_plan.read(URL, "run") is None
    kept_plan.note_order(URL, "run", START, 0.5)
    assert not list(state.iterdir())
    assert confirm.UNCUT in confirm.warnings([desk.provider], UNCUT)
    assert confirm.UNCUT not in confirm.warnings([desk.provider], CUT)


@pytest.mark.parametrize(
    ("limits", "hours", "says"),
    [
        (Limits(), 100.0, ""),
        (Limits(max_cost=2.0), 2.9, ""),
        (Limits(max_cost=2.0), 3.1, "$2.05 were ordered from here"),
        (Limits(max_hours=3.0), 3.1, "3.1 h of machines"),
        (Limits(max_attempts=2), 1.0, "2 machines were ordered"),
        (Limits(max_attempts=3), 1.0, ""),
    ],
)
def test_what_was_ordered_here_counts_whatever_the_store_says(
    limits: Limits, hours: float, says: str
) -> None:
    kept = KeptPlan(Plan(("runpod",), limits), "", ((START, 0.5), (START + HOUR, 0.7381)))
    said = kept.used_up(START + hours * HOUR)
    assert (says in said) if says else not said


def test_what_a_person_does_not_say_is_not_taken_from_a_store_that_a_machine_writes(
    desk: Desk,
) -> None:
    forged = Plan(("runpod",), image="evil", keys=KeySource(static=True), gpus=("RTX 4090",))
    found = kept_plan.before(URL, "run", forged)
    assert found == Plan(("runpod",), gpus=("RTX 4090",))
    assert kept_plan.before(URL, "run", CUT) == CUT
    kept_plan.keep(desk.store, "run", UNCUT, [desk.provider])
    assert kept_plan.before(URL, "run", forged) == UNCUT


def test_a_run_that_was_edited_is_not_ordered(desk: Desk) -> None:
    kept_plan.keep(desk.store, "run", UNCUT, [desk.provider])
    kept_plan.must_be_as_submitted(URL, "run", record_sha256(desk.store, "run"))
    desk.store.put("run/run.json", b"{}")
    with pytest.raises(BadInput, match="not the one that was submitted"):
        kept_plan.must_be_as_submitted(URL, "run", record_sha256(desk.store, "run"))
    kept_plan.must_be_as_submitted("s3://other/runs", "run", "anything")


def test_a_damaged_or_unwritable_file(desk: Desk, state: Path) -> None:
    kept_plan.keep(desk.store, "run", UNCUT, [desk.provider])
    (path,) = state.iterdir()
    whole = path.read_text()
    for damage, error, says in (
        (('"format":1', '"format":2'), BadInput, "has format 2"),
        (('"orders":[]', '"orders":[["x",1]]'), Corrupt, "orders is 'x'"),
        (('"orders":[]', '"orders":[[1,-1]]'), Corrupt, "`resume` writes a new one"),
        (('"providers"', '"others"'), Corrupt, "not known: 'others'"),
    ):
        assert damage[0] in whole
        path.write_text(whole.replace(*damage))
        with pytest.raises(error, match=says):
            kept_plan.read(URL, "run")
    path.unlink()
    state.rmdir()
    state.write_text("")
    with pytest.raises(BadInput, match="XDG_STATE_HOME"):
        kept_plan.keep(desk.store, "run", UNCUT, [desk.provider])
