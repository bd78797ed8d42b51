"""What a run left is sealed once, and no machine changes it afterwards."""

from dataclasses import replace

import pytest

from mimir.errors import BadInput, StoreDenied
from mimir.runs import final, layout, notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head
from mimir.runs.machine import Machine
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive, final_head, read_head, seal_if_done
from tests.runs.memory import MemoryStore

NOW = 1_000_000.0


@pytest.fixture
def done() -> tuple[MemoryStore, Head]:
    """The run `r`, which its first attempt has just brought to its end, and its HEAD."""
    store = MemoryStore()
    create_run(store, RunRecord("r", "smoke", {}, 0, NOW))
    raise_attempt(store, "r", orders.by_hand("terminal", NOW), clock=lambda: NOW)
    attempt = Attempt.claim(store, "r", 1)
    attempt.commit(9, b"state", 0.5)
    return store, attempt.finish("done", model=attempt.put_model("model.safetensors", b"weights"))


def forge(store: MemoryStore, **what: object) -> None:
    head = replace(read_head(store, "r"), nonce="forged", **what)  # type: ignore[arg-type]
    store.put("r/HEAD", head.to_bytes())


def test_it_is_sealed_once_by_who_sees_it_done(done: tuple[MemoryStore, Head]) -> None:
    store, head = done
    assert final.read(store, "r") is None
    status = derive(store, "r", NOW)
    assert (status.state, status.sealed) == ("done", False)
    seal_if_done(store, status, NOW)
    sealed = store.objects[layout.final_key("r")]
    forge(store, model=replace(head.model, sha256="0" * 64) if head.model else None)
    assert final_head(store, "r", NOW + 1) == head
    assert store.objects[layout.final_key("r")] == sealed


@pytest.mark.parametrize("forged", [{"state": "running"}, {"attempt": 7}, {"kept": (), "step": 0}])
def test_what_a_machine_writes_afterwards_is_told_and_nothing_more(
    done: tuple[MemoryStore, Head], forged: dict[str, object]
) -> None:
    store, head = done
    final_head(store, "r", NOW)
    forge(store, **({"best": None} if "kept" in forged else {}), **forged)
    status = derive(store, "r", NOW + 999)
    assert (status.state, status.committed_step, status.attempt) == ("done", 9, 1)
    assert "was changed after the run was seen done" in status.warning
    assert final_head(store, "r", NOW) == head
    with pytest.raises(BadInput, match="is done"):
        raise_attempt(store, "r")


def test_what_is_not_done_or_not_believed_is_not_sealed(done: tuple[MemoryStore, Head]) -> None:
    store, head = done
    notes.record_order(store, "r", 2, orders.by_hand("terminal", NOW - 999))
    notes.record_machine(store, "r", 2, Machine("terminal", NOW))
    assert final_head(store, "r", NOW) == head  # as it stands, put back by an older attempt
    store.delete(layout.order_key("r", 2))
    forge(store, state="failed")
    final_head(store, "r", NOW)
    assert final.read(store, "r") is None


def test_keys_that_only_read_see_it_all_the_same(
    done: tuple[MemoryStore, Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, head = done

    def denied(key: str, data: bytes) -> str:
        raise StoreDenied("no")

    monkeypatch.setattr(store, "put_if_absent", denied)
    assert final_head(store, "r", NOW) == head
