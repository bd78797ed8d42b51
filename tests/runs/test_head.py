"""HEAD's encoding, and the register against each way in which an answer can mislead."""

import json
import random
from dataclasses import replace

import pytest

from mimir.errors import BadInput, Conflict, Corrupt, Fenced, StoreDenied, StoreError
from mimir.runs import orders
from mimir.runs.head import Head, Kept, Register
from mimir.runs.order import Order
from mimir.runs.ranges import MOST_KEPT
from mimir.runs.store import Stored
from tests.runs.memory import MemoryStore

SHA = "ab" * 32
KEPT = Kept("r/a0001/s00000010-1.safetensors", 10, 1, 5, SHA, 0.5)
HEAD = Head(
    run="r",
    attempt=2,
    owner="me",
    nonce="n",
    seq=7,
    state="running",
    step=10,
    kept=(KEPT,),
    best=KEPT.key,
    lineage=((1, 0), (2, 10)),
    model=Stored("r/a0002/model-ab-x", 3, SHA),
)


def test_bytes_and_back() -> None:
    assert Head.from_bytes(HEAD.to_bytes()) == HEAD
    assert len(HEAD.to_bytes()) < 4096
    assert HEAD.to_bytes() == Head.from_bytes(HEAD.to_bytes()).to_bytes()


def test_the_encoding_is_canonical_and_small() -> None:
    assert Head(run="r").to_bytes() == (
        b'{"attempt":0,"best":null,"format":1,"kept":[],"lineage":[],"model":null,"nonce":"",'
        b'"owner":"","reason":"","run":"r","seq":0,"state":"queued","step":0}\n'
    )


def test_a_newer_format_asks_for_an_upgrade() -> None:
    data = HEAD.to_bytes().replace(b'"format":1', b'"format":2')
    with pytest.raises(BadInput, match=r"r/HEAD has format 2.*newer Mimir"):
        Head.from_bytes(data, "r/HEAD")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"format":1}',
        b"\xff\xfe",
        HEAD.to_bytes().replace(b'"running"', b'"dancing"'),
        HEAD.to_bytes().replace(b'"seq":7', b'"seq":-7'),
        HEAD.to_bytes().replace(SHA.encode(), b"short"),
        HEAD.to_bytes().replace(b'"best":"r', b'"best":"x'),
        HEAD.to_bytes().replace(b'"lineage":[[1,0],[2,10]]', b'"lineage":7'),
        HEAD.to_bytes().replace(b'"lineage":[[1,0],[2,10]]', b'"lineage":[[2,0],[1,10]]'),
        HEAD.to_bytes().replace(b'"lineage":[[1,0],[2,10]]', b'"lineage":[[1,0],[3,10]]'),
        HEAD.to_bytes().replace(b'"attempt":2', b'"attempt":1000000000'),
        HEAD.to_bytes().replace(b'"size":5', b'"size":1e3'),
        HEAD.to_bytes().replace(b'"size":5', b'"size":9999999999999'),
        HEAD.to_bytes().replace(b'"running","step":10', b'"running","step":11'),
        HEAD.to_bytes().replace(b'"model":{"key":"r/', b'"model":{"key":"other/'),
        HEAD.to_bytes().replace(b"r/a0002/model-ab-x", b"r/a0002/model-ab-../x"),
        HEAD.to_bytes().replace(b"r/a0002/model-ab-x", b"a0002/model-ab-x"),
        HEAD.to_bytes().replace(b'"format":1', b'"format":1,"more":1'),
    ],
)
def test_what_is_no_head_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Head.from_bytes(data)


@pytest.mark.parametrize(
    "key",
    [
        "other/HEAD",
        "r/HEAD",
        "other/a0001/s00000010-1.safetensors",
        "a0001/s00000010-1.safetensors",
        "r/a0002/s00000010-1.safetensors",
        "r/a0001/s00000011-1.safetensors",
        "r/a00001/s00000010-1.safetensors",
        "r/a0001/s00000010-x.safetensors",
        "r/a0001/../a0001/s00000010-1.safetensors",
        "r/a000١/s00000010-1.safetensors",
    ],
)
def test_a_head_names_only_checkpoints_of_its_run_attempt_and_step(key: str) -> None:
    data = HEAD.to_bytes().replace(KEPT.key.encode(), key.encode())
    with pytest.raises(Corrupt, match="is no checkpoint of attempt 1, step 10"):
        Head.from_bytes(data, "r/HEAD")


def test_a_head_that_has_trained_keeps_something() -> None:
    data = replace(HEAD, kept=(), best=None, step=0).to_bytes().replace(b'"step":0', b'"step":21')
    with pytest.raises(Corrupt, match="at step 21, but of its checkpoints none is kept"):
        Head.from_bytes(data)


def test_head_and_order_name_few_checkpoints() -> None:
    """Each is copied by who goes on, and looked for by who collects."""

    def kept(count: int) -> tuple[Kept, ...]:
        return tuple(
            replace(KEPT, key=f"r/a0001/s{step:08d}-1.safetensors", step=step)
            for step in range(count)
        )

    def head(count: int) -> Head:
        return replace(HEAD, kept=kept(count), best=None, step=count - 1)

    def order(count: int) -> Order:
        return replace(orders.by_hand("terminal", 1.0), kept=kept(count))

    most = MOST_KEPT
    assert Head.from_bytes(head(most).to_bytes()) == head(most)
    assert Order.from_json(json.loads(json.dumps(order(most).as_json())), "it") == order(most)
    with pytest.raises(Corrupt, match=r"kept is .*, but must be a list of at most"):
        Head.from_bytes(head(most + 1).to_bytes())
    with pytest.raises(Corrupt, match=r"kept is .*, but must be a list of at most"):
        Order.from_json(json.loads(json.dumps(order(most + 1).as_json())), "it")


def test_a_head_stands_where_its_run_is() -> None:
    assert Head.from_bytes(HEAD.to_bytes(), "r/HEAD") == HEAD
    with pytest.raises(Corrupt, match="other/HEAD is the HEAD of another run, 'r'"):
        Head.from_bytes(HEAD.to_bytes(), "other/HEAD")


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_checkpoint_has_a_finite_loss(loss: float) -> None:
    with pytest.raises(Corrupt, match="not finite"):
        replace(KEPT, loss=loss)


class Flaky(MemoryStore):
    """Plays a script: what happens to the next swaps, and to the reads after them."""

    def __init__(self) -> None:
        super().__init__()
        self.put_if_absent("r/HEAD", Head(run="r", attempt=1, nonce="start").to_bytes())
        self.script: list[str] = []
        self.late: list[tuple[str, bytes, str]] = []
        self.swaps = 0

    def compare_and_swap(self, key, data, version):
        self.swaps += 1
        what = self.script.pop(0) if self.script else "ok"
        if what == "lost request":
            raise StoreError("timeout")
        if what == "late":
            self.late.append((key, data, version))
            raise StoreError("timeout")
        if what == "denied":
            raise StoreDenied("no")
        if what == "409":
            raise Conflict("under way")
        answer = super().compare_and_swap(key, data, version)
        if what == "lost answer":
            raise StoreError("timeout")
        if what == "hidden retry":
            return super().compare_and_swap(key, data, version)
        return answer

    def read(self, key, **limit):
        if self.script and self.script[0] == "read fails":
            self.script.pop(0)
            raise StoreError("503")
        return super().read(key, **limit)

    def head(self) -> Head:
        return Head.from_bytes(self.objects["r/HEAD"].data)


def _register(store: Flaky, tries: int = 8, seed: int = 0) -> tuple[Register, list[float]]:
    slept: list[float] = []
    register = Register(store, "r/HEAD", sleep=slept.append, rng=random.Random(seed), tries=tries)
    register.read()
    return register, slept


def _next_step(head: Head) -> Head:
    step = head.step + 1
    kept = replace(KEPT, key=f"r/a0001/s{step:08d}-1.safetensors", step=step)
    return replace(head, step=step, kept=(kept,))


@pytest.mark.parametrize(
    ("script", "swaps"),
    [
        ([], 1),
        (["lost request"], 2),
        (["lost answer"], 1),
        (["hidden retry"], 1),
        (["409"], 2),
        (["lost answer", "read fails"], 2),
        (["lost request", "read fails", "lost answer"], 2),
        (["lost request"] * 6, 7),
    ],
)
def test_a_doubtful_answer_is_resolved(script: list[str], swaps: int) -> None:
    store = Flaky()
    register, _ = _register(store)
    store.script = list(script)
    written = register.swap(_next_step)
    assert store.head() == written == register.head
    assert (written.step, written.seq) == (1, 1)
    assert store.swaps == swaps


def test_a_write_given_up_that_lands_late_is_built_upon() -> None:
    store = Flaky()
    register, _ = _register(store, tries=2)
    store.script = ["late", "lost request"]
    with pytest.raises(StoreError, match="2 tries"):
        register.swap(_next_step)
    MemoryStore.compare_and_swap(store, *store.late[0])
    written = register.swap(_next_step)
    assert (written.step, written.seq) == (2, 2)
    assert store.head() == written


def test_a_write_that_comes_too_late_changes_nothing() -> None:
    store = Flaky()
    register, _ = _register(store)
    store.script = ["late"]
    written = register.swap(_next_step)
    with pytest.raises(Conflict):
        MemoryStore.compare_and_swap(store, *store.late[0])
    assert store.head() == written


def test_another_writer_fences() -> None:
    store = Flaky()
    register, _ = _register(store)
    other, _ = _register(store, seed=1)
    other.swap(lambda head: replace(head, attempt=2, owner="other"))
    with pytest.raises(Fenced, match="now attempt 2 of owner other"):
        register.swap(_next_step)
    assert store.head().step == 0


def test_a_removed_run_fences() -> None:
    store = Flaky()
    register, _ = _register(store)
    store.delete("r/HEAD")
    with pytest.raises(Fenced, match="removed"):
        register.swap(_next_step)


def test_denied_is_not_tried_again() -> None:
    store = Flaky()
    register, slept = _register(store)
    store.script = ["denied"]
    with pytest.raises(StoreDenied):
        register.swap(_next_step)
    assert slept == []


def test_tries_are_bounded_and_jittered() -> None:
    store = Flaky()
    register, slept = _register(store)
    store.script = ["lost request"] * 20
    with pytest.raises(StoreError, match="could not be written in 8 tries: timeout"):
        register.swap(_next_step)
    assert len(slept) == 8
    assert 4 < sum(slept) < 30
    assert len(set(slept)) == 8


def test_read_outlives_an_outage(memory) -> None:
    store = Flaky()
    store.script = ["read fails"] * 3
    register, slept = _register(store)
    assert register.head.attempt == 1
    assert len(slept) == 3
    store.script = ["read fails"] * 8
    with pytest.raises(StoreError, match="could not be read in 8 tries"):
        register.read()
