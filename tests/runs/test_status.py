"""What a laptop says of a run that it knows only by its store."""

import json

import pytest

from mimir.errors import BadInput, Corrupt, Fenced, OtherFormat
from mimir.runs import notes, orders
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.listing import list_names, list_runs
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome, StopRequest, Unended
from mimir.runs.ranges import TEXT
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import DISPUTED, derive, read_head
from mimir.runs.store import DOCUMENT, Store
from tests.runs.damaged import wreck
from tests.runs.memory import MemoryStore

NOW = 10_000.0
WRONG = 1e12
"""What a machine's clock may say, which nobody compares with the store's."""


def _create(store: Store, name: str = "demo") -> None:
    create_run(store, RunRecord(name, "smoke", {}, 0, 1000.0))


@pytest.fixture
def run(memory: MemoryStore) -> MemoryStore:
    _create(memory)
    return memory


def _claim(store: Store) -> Attempt:
    return Attempt.claim(store, "demo", raise_attempt(store, "demo"))


def _beat(store: Store, attempt: int, step: int) -> None:
    notes.write_heartbeat(
        store, "demo", attempt, Heartbeat(WRONG, step, 1000, epoch=1.5, rate=10.0, loss=2.5)
    )


def test_a_run_through_its_life(store: Store) -> None:
    _create(store)
    assert derive(store, "demo", NOW).state == "queued"
    attempt = _claim(store)
    attempt.commit(100, b"x", 3.0)
    _beat(store, 1, 150)
    sign = notes.read_sign(store, "demo", 1)
    assert sign is not None
    status = derive(store, "demo", sign.written + 5)
    assert (status.state, status.step, status.committed_step) == ("running", 150, 100)
    assert (status.total_steps, status.epoch, status.loss, status.val) == (1000, 1.5, 2.5, None)
    assert status.eta_s == 85.0
    attempt.commit(200, b"y", 3.0)  # the next heartbeat is yet to come
    status = derive(store, "demo", sign.written + 5)
    assert (status.step, status.epoch) == (200, 2.0)
    assert (status.silent, status.silent_s) == (False, 5.0)
    notes.record_outcome(store, "demo", 1, Outcome(75, "preempted", NOW, 200))
    status = derive(store, "demo", NOW)
    assert (status.state, status.reason, status.step) == ("interrupted", "preempted", 200)
    assert (status.rate, status.eta_s) == (None, None)
    raise_attempt(store, "demo")
    status = derive(store, "demo", NOW)
    assert (status.state, status.attempt, status.step) == ("queued", 2, 200)
    Attempt.claim(store, "demo", 2).finish("done")
    notes.record_outcome(store, "demo", 2, Outcome(0, "", NOW, 200))
    status = derive(store, "demo", NOW)
    assert status.state == "done"
    assert [(a.attempt, a.from_step, a.end, a.exit_code) for a in status.attempts] == [
        (1, 0, "preempted", 75),
        (2, 200, "exit code 0", 0),
    ]
    assert json.loads(json.dumps(status.as_json()))["kept"][0]["step"] == 100


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (75, "interrupted"),
        (76, "interrupted"),
        (77, "failed"),
        (78, "failed"),
        (137, "interrupted"),
    ],
)
def test_an_outcome_ends_an_attempt(run: MemoryStore, code: int, state: str) -> None:
    _claim(run)
    notes.record_outcome(run, "demo", 1, Outcome(code, "why", NOW, 0))
    status = derive(run, "demo", NOW)
    assert (status.state, status.reason) == (state, "why")


def test_silence_is_said_and_decides_nothing(run: MemoryStore) -> None:
    attempt = _claim(run)
    assert derive(run, "demo", NOW).silent_s is None
    run.clock = lambda: NOW
    _beat(run, 1, 10)
    for ago in (-3600, 3600):  # from the future: the clock of the store was set
        status = derive(run, "demo", NOW + ago)
        assert (status.state, status.silent, status.silent_s) == ("running", True, 3600.0)
    attempt.commit(20, b"x", None)


def test_attempts_without_an_outcome_are_told_apart(run: MemoryStore) -> None:
    raise_attempt(run, "demo")
    _claim(run)
    machine = Machine("local", NOW, price=0.0)
    notes.record_machine(run, "demo", 2, machine)
    _claim(run)
    status = derive(run, "demo", NOW)
    assert [(a.attempt, a.end) for a in status.attempts] == [
        (1, "never began"),
        (2, "lost without a word"),
        (3, ""),
    ]
    assert status.attempts[1].machine == machine


def test_a_stop_belongs_to_its_attempt(run: MemoryStore) -> None:
    _claim(run)
    assert orders.request_stop(run, "demo", StopRequest(NOW, "enough")) == 1
    assert orders.request_stop(run, "demo", StopRequest(NOW + 1, "again")) == 1
    assert notes.stop_requested(run, "demo", 1) == StopRequest(NOW, "enough")
    status = derive(run, "demo", NOW)
    assert (status.state, status.stop_requested) == ("running", True)
    notes.record_outcome(run, "demo", 1, Outcome(75, "asked to stop", NOW, 0))
    assert derive(run, "demo", NOW).state == "stopped"
    _claim(run)
    assert notes.stop_requested(run, "demo", 2) is None
    status = derive(run, "demo", NOW)
    assert (status.state, status.stop_requested) == ("running", False)


def test_a_stop_follows_a_run_that_just_moved_on(run: MemoryStore, monkeypatch) -> None:
    _claim(run)
    create = run.put_if_absent

    def moving(key: str, data: bytes) -> str:
        monkeypatch.setattr(run, "put_if_absent", create)
        version = create(key, data)
        raise_attempt(run, "demo")
        return version

    monkeypatch.setattr(run, "put_if_absent", moving)
    assert orders.request_stop(run, "demo", StopRequest(NOW)) == 2
    assert notes.stop_requested(run, "demo", 2) is not None


def test_there_must_be_something_to_stop(run: MemoryStore) -> None:
    with pytest.raises(BadInput, match="no attempt yet"):
        orders.request_stop(run, "demo", StopRequest(NOW))
    with pytest.raises(BadInput, match="there is no run other"):
        orders.request_stop(run, "other", StopRequest(NOW))
    _claim(run).finish("done")
    with pytest.raises(BadInput, match="is done"):
        orders.request_stop(run, "demo", StopRequest(NOW))


def test_the_first_outcome_stays(run: MemoryStore) -> None:
    first = Outcome(75, "preempted", NOW, 5)
    assert notes.record_outcome(run, "demo", 1, first)
    assert notes.record_outcome(run, "demo", 1, first)
    assert not notes.record_outcome(run, "demo", 1, Outcome(0, "", NOW, 9))
    assert notes.read_outcome(run, "demo", 1) == first


def test_an_attempt_ends_by_the_clock_of_the_store(run: MemoryStore) -> None:
    _claim(run)
    run.clock = lambda: NOW
    assert notes.record_outcome(run, "demo", 1, Outcome(1, "crashed", 5.0, 0))
    assert derive(run, "demo", NOW).attempts[0].ended_at == NOW


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"format": notes.FORMAT + 1}, "format 3.*newer Mimir, update"),
        ({"time": 1, "step": 2, "total_steps": 3}, "no format number"),
        ({"format": notes.FORMAT, "time": 1}, "lacks a field: step"),
        ({"format": notes.FORMAT, "time": 1, "step": 2, "total_steps": 3, "new": 4}, "'new'"),
        ({"format": notes.FORMAT, "time": 1, "step": True, "total_steps": 3}, "step is True"),
        ({"format": notes.FORMAT, "time": -1, "step": -2, "total_steps": 3}, "step is -2"),
    ],
)
def test_notes_that_are_none(run: MemoryStore, body: dict, says: str) -> None:
    run.put("demo/a0001/heartbeat.json", json.dumps(body).encode())
    with pytest.raises(Corrupt, match=says):
        notes.read_heartbeat(run, "demo", 1)


def test_long_reasons_are_cut_to_what_is_read(run: MemoryStore) -> None:
    notes.record_outcome(run, "demo", 1, Outcome(1, "x" * 10_000, NOW, 0))
    found = notes.read_outcome(run, "demo", 1)
    assert found is not None
    assert found.reason == "x" * (TEXT - 1) + "…"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"format": 99}'])
def test_what_a_machine_wrote_wrong_counts_as_not_written(run: MemoryStore, body: bytes) -> None:
    _claim(run)
    for name in ("heartbeat", "outcome", "unended"):
        run.put(f"demo/a0001/{name}.json", body)
    found = derive(run, "demo", NOW)
    assert (found.state, found.silent_s, found.attempts[0].exit_code) == ("running", None, None)
    assert "a0001/heartbeat.json" in found.damage
    assert all(f"a0001/{n}.json" in found.attempts[0].damage for n in ("outcome", "unended"))
    assert orders.request_stop(run, "demo", StopRequest(NOW)) == 1


NO_HEADS = {
    "not JSON": b"{",
    "NaN": b'{"format": 1, "run": "demo", "step": NaN}',
    "another run's": Head("other", 1).to_bytes(),
    "best of another run": Head("demo", 1).to_bytes().replace(b"null", b'"zulu/HEAD"', 1),
    "no state": Head("demo", 1).to_bytes().replace(b"queued", b"paused"),
    "too large": b" " * (DOCUMENT + 1),
    "missing": b"",
}
"""What a machine may put in HEAD's place."""


@pytest.mark.parametrize("how", NO_HEADS)
def test_a_head_that_is_none_is_disputed_and_put_right(memory: MemoryStore, how: str) -> None:
    _put_right(memory, NO_HEADS[how])


@pytest.mark.parametrize("how", ["too large", "missing"])
def test_each_store_lets_a_head_that_is_none_be_put_right(store: Store, how: str) -> None:
    _put_right(store, NO_HEADS[how])


def _put_right(store: Store, body: bytes) -> None:
    """Attempt 2 went on from step 100, which its order remembers, and has committed step 200."""
    _create(store)
    _claim(store).commit(100, b"x", 3.0)
    before = read_head(store, "demo")
    _claim(store).commit(200, b"y", 2.0)
    newest, order = read_head(store, "demo"), notes.read_order(store, "demo", 2)
    assert order is not None
    notes.record_machine(store, "demo", 2, Machine("terminal", NOW))
    wreck(store, "demo", body)
    found = derive(store, "demo", NOW)
    assert (found.state, found.attempt, found.committed_step) == (DISPUTED, 2, 100)
    assert (found.kept, found.best) == (before.kept, before.kept[0].key)
    assert "demo/HEAD" in found.reason
    assert [one.status.state for one in list_runs(store, NOW) if one.status] == [DISPUTED]
    assert orders.request_stop(store, "demo", StopRequest(NOW)) == 2
    with pytest.raises(Corrupt):
        read_head(store, "demo")  # as a machine reads it
    assert raise_attempt(store, "demo", after=2) == 3
    now = read_head(store, "demo")
    assert (now.attempt, now.state, now.step, now.kept) == (3, "queued", 100, before.kept)
    assert now.lineage == before.lineage
    assert now.seq > newest.seq
    wreck(store, "demo", body)
    notes.record_machine(store, "demo", 3, Machine("terminal", NOW))
    assert end_attempt(store, "demo", 3, "stopped", "enough").state == "stopped"
    assert derive(store, "demo", NOW).state == "stopped"


def test_a_head_of_another_format_is_left_as_it_is(run: MemoryStore) -> None:
    _claim(run)
    run.put(
        "demo/HEAD", newer := run.objects["demo/HEAD"].data.replace(b'"format":1', b'"format":2')
    )
    for act in (derive, orders.request_stop, end_attempt):
        more = {derive: (NOW,), orders.request_stop: (StopRequest(NOW),)}.get(
            act, (1, "failed", "")
        )
        with pytest.raises(OtherFormat, match="demo/HEAD has format 2"):
            act(run, "demo", *more)
    with pytest.raises(OtherFormat):
        raise_attempt(run, "demo")
    assert run.objects["demo/HEAD"].data == newer


def test_a_head_that_is_none_while_its_attempt_is_ordered_is_left_to_who_orders(
    run: MemoryStore,
) -> None:
    raise_attempt(run, "demo", orders.by_hand("terminal", NOW))
    wreck(run, "demo", b"{")
    with pytest.raises(Fenced, match="being ordered by somebody else"):
        raise_attempt(run, "demo", clock=lambda: NOW + 1)
    assert raise_attempt(run, "demo", clock=lambda: NOW + orders.RESERVED) == 2


def test_one_bad_run_does_not_hide_the_others(run: MemoryStore) -> None:
    _create(run, "apple")
    _create(run, "zebra")
    _create(run, "lost")
    run.put("apple/HEAD", b"rubbish")
    run.delete("lost/run.json")
    for foreign in ("no-run/file", "lost+found/run.json", "_keys/demo/a0001-0.json", "Data/HEAD"):
        run.put(foreign, b"")
    listed = list_runs(run, NOW)
    assert [line.run for line in listed] == list_names(run) == ["apple", "demo", "lost", "zebra"]
    assert [line.status is None for line in listed] == [True, False, True, False]
    assert "apple/HEAD is not JSON" in listed[0].problem
    assert "lost/run.json is missing" in listed[2].problem


def test_a_missing_run(run: MemoryStore) -> None:
    with pytest.raises(BadInput, match="did you mean demo"):
        derive(run, "demos", NOW)
    run.delete("demo/HEAD")
    assert derive(run, "demo", NOW).state == "queued"
    run.put("demo/a0001/heartbeat.json", b"")
    with pytest.raises(Corrupt, match="demo/HEAD is missing although the run has attempts"):
        derive(run, "demo", NOW)


def test_a_machine_that_could_not_end_itself_is_shown(run: MemoryStore) -> None:
    for number in (1, 2):
        raise_attempt(run, "demo")
        notes.record_outcome(run, "demo", number, Outcome(75, "the deadline has come", 9.0, 0))
        notes.record_unended(run, "demo", number, Unended(10.0, "HTTP 403"))
    notes.record_gone(run, "demo", 1, Gone(11.0, "over", "it had ended"))
    first, second = derive(run, "demo", 12.0).attempts
    assert (first.gone is not None, first.unended, second.unended) == (True, "HTTP 403", "HTTP 403")


def test_where_patience_would_end_a_run_is_shown_while_it_runs(store: Store) -> None:
    _create(store)
    attempt = _claim(store)
    beat = Heartbeat(WRONG, 5000, 600_000, rate=10.0, loss=2.5, expected_end=13_000)
    notes.write_heartbeat(store, "demo", 1, beat)
    assert notes.read_heartbeat(store, "demo", 1) == beat
    sign = notes.read_sign(store, "demo", 1)
    assert sign is not None
    assert derive(store, "demo", sign.written).expected_end == 13_000
    attempt.commit(6000, b"x", 3.0)
    attempt.finish("failed", "it broke")
    assert derive(store, "demo", sign.written).expected_end is None


def test_shortened_checkpoints_are_told_while_the_attempt_runs(run: MemoryStore) -> None:
    attempt = _claim(run)
    beat = Heartbeat(WRONG, 5, 10, checkpoint_s=60.0, commit_s=28.0)
    notes.write_heartbeat(run, "demo", 1, beat)
    status = derive(run, "demo", NOW)
    assert (status.checkpoint_s, status.commit_s) == (60.0, 28.0)
    attempt.finish("done")
    assert derive(run, "demo", NOW).checkpoint_s is None
