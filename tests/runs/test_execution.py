"""How steps are executed, as a machine tells it: typed, bounded, and told everywhere."""

import json
from dataclasses import replace
from typing import Any

import pytest

from launch.ui.runs import status_text
from mimir.errors import Corrupt
from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.execution import WHY, Execution, same_speed, shortened
from mimir.runs.notes import Heartbeat
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from tests.runs.memory import MemoryStore

FAST = Execution("cuda", "bf16", True, True, 8, ("norm", "update"))
SLOW = Execution("cuda", "fp16", graph_steps=0, why="there is no C compiler")


def test_it_says_what_runs_and_why_no_faster_way() -> None:
    assert (
        FAST.words == "bf16, compiled, fused attention, our kernels norm, update, 8 steps a graph"
    )
    assert SLOW.words == "fp16, not compiled, no graphs (there is no C compiler)"
    assert Execution("cpu", "fp32").words == "fp32, not compiled"
    assert SLOW.as_row() == {"compiled": 0, "fused": 0, "graph_steps": 0, "mantissa_bits": 10}


def test_a_reason_is_one_line_of_bounded_length() -> None:
    assert shortened("a\nb\tc") == "a b c"
    assert len(shortened("x" * 9999)) == WHY


def test_the_status_shows_it() -> None:
    store = MemoryStore()
    create_run(store, RunRecord("r", "smoke", {}, 0, 1.0))
    Attempt.claim(store, "r", raise_attempt(store, "r"))
    evil = replace(SLOW, why="\x1b]52;c;x\x07")
    notes.write_heartbeat(store, "r", 1, Heartbeat(1.0, 5, 50, execution=evil))
    status = derive(store, "r", 1.0)
    assert status.execution == evil
    assert "  steps        fp16, not compiled, no graphs (\\u001b]52" in status_text(status)
    assert json.loads(json.dumps(status.as_json()))["execution"]["precision"] == "fp16"


def test_the_status_says_what_is_done_after_the_last_step() -> None:
    store = MemoryStore()
    create_run(store, RunRecord("r", "smoke", {}, 0, 1.0))
    Attempt.claim(store, "r", raise_attempt(store, "r"))
    for step, after in [(49, False), (50, True)]:
        notes.write_heartbeat(store, "r", 1, Heartbeat(1.0, step, 50, rate=2.0))
        text = status_text(derive(store, "r", 1.0))
        assert ("making samples, uploading the model" in text) is after
        assert ("0:00:00 left" in text) is not after


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": "tpu"}, {"precision": "fp8"}, {"compiled": 1}, {"graph_steps": -1},
        {"graph_steps": 10**9}, {"kernels": ["x"] * 17}, {"kernels": ["x" * 33]},
        {"kernels": "norm"}, {"why": "x" * (WHY + 1)}, {"why": None}, {"more": 1},
    ],
)  # fmt: skip
def test_what_a_machine_may_not_say(wrong: dict[str, Any]) -> None:
    beat = {"format": notes.FORMAT, "time": 1.0, "step": 5, "total_steps": 50}
    good = {"device": "cuda", "precision": "bf16", "compiled": True}
    store, key = MemoryStore(), layout.heartbeat_key("r", 1)
    store.put(key, json.dumps({**beat, "execution": good}).encode())
    found = notes.read_heartbeat(store, "r", 1)
    assert found is not None
    assert found.execution == Execution("cuda", "bf16", compiled=True)
    store.put(key, json.dumps({**beat, "execution": {**good, **wrong}}).encode())
    with pytest.raises(Corrupt, match="execution"):
        notes.read_heartbeat(store, "r", 1)


def test_a_rate_tells_only_of_steps_that_are_executed_alike() -> None:
    fast = replace(FAST, kernels=())
    assert same_speed(FAST, compiled=True, kernels=set(FAST.kernels))
    assert not same_speed(FAST, compiled=True)
    assert same_speed(fast, compiled=True)
    assert not same_speed(fast, compiled=False)
    assert same_speed(SLOW, compiled=False)
    assert same_speed(None, compiled=True)
    assert same_speed(Execution("cpu", "fp32"), compiled=True)
    assert same_speed(fast, compiled=True, precision="bf16", fused=True)
    assert not same_speed(fast, compiled=True, precision="fp32")
    assert not same_speed(fast, compiled=True, fused=False)
    assert not same_speed(fast, compiled=True, kernels={"norm"})
    assert same_speed(None, compiled=True, precision="fp16", kernels={"norm"})
    assert not same_speed(Execution("cpu", "fp32"), compiled=True, precision="bf16")
