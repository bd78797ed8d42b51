"""What this computer keeps of a run whose machines hold keys that cannot be cut down."""

import stat
from dataclasses import replace
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
    plan = Plan(("runpod",), limits, keys=KeySource(static=True))
    kept = KeptPlan(plan, "", ((START, 0.5), (START + HOUR, 0.7381)))
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


AWS = "s3://bucket/runs?region=eu-west-1"
AWS_HOST = "s3://bucket/runs?endpoint=https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"
LOOKALIKE = "s3://bucket/runs?endpoint=https://notamazonaws.com"
CEPH = "s3://bucket/runs?endpoint=https://s3.example.org"
R2 = "s3://bucket/runs?endpoint=https://abc.eu.R2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("store", "role", "ordered_here", "believed"),
    [
        ("file:///runs", False, False, True),
        (AWS, False, False, True),
        (AWS_HOST, False, False, True),
        (LOOKALIKE, False, False, False),
        (CEPH, False, False, False),
        (CEPH, True, False, True),
        (CEPH, False, True, True),
        (R2, False, False, False),
        (R2, True, False, False),
    ],
)
def test_an_order_is_believed_only_where_no_machine_may_have_written_it(
    store: str, role: bool, ordered_here: bool, believed: bool, desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A machine that holds the user's own keys rewrites its order: that it never had them."""
    monkeypatch.delenv("MIMIR_ROLE_ARN", raising=False)
    if role:
        monkeypatch.setenv("MIMIR_ROLE_ARN", "arn:aws:iam:::role/mimir")
    desk.store.url = store
    newest = Plan(("runpod",), Limits(max_cost=9.0), image="its own")
    if ordered_here:  # and later by a person at another computer, with more money
        kept_plan.keep(desk.store, "run", CUT, [desk.provider])
    assert kept_plan.going_on(store, "run", newest) == (newest if believed else None)
    assert bool(kept_plan.doubt(store, "run", newest)) is not believed
    resumed = newest if believed else replace(newest, image="")
    assert kept_plan.before(store, "run", newest) == resumed


def test_where_keys_are_never_cut_down_what_was_ordered_here_counts_with_any_keys(
    desk: Desk,
) -> None:
    """A run that trains on this computer has the user's own keys, and no stranger has them yet."""
    desk.store.url = R2
    here = Plan(("local",), Limits(max_hours=1.0))
    kept_plan.keep(desk.store, "run", here, [])
    forged = Plan(("docker",), image="evil")
    assert kept_plan.going_on(R2, "run", forged) == here
    assert kept_plan.before(R2, "run", forged) == here
    kept_plan.note_order(R2, "run", START, None)
    kept = kept_plan.governing(R2, "run")
    assert kept is not None
    assert kept.used_up(START + 5 * HOUR) == ""  # by the store's bill, as anywhere


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
