"""One suite that every backend passes: what the commit and its callers rely on."""

import contextlib
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from mimir.errors import BadInput, Conflict, Corrupt, NotFound, StoreDenied, StoreError
from mimir.runs import file_store, s3_clock
from mimir.runs.store import DOCUMENT, Store, create_once, open_store


def test_nothing_is_there_before_it_is_written(store: Store) -> None:
    assert store.read("run/HEAD") is None
    assert list(store.list("")) == []
    assert list(store.folders()) == []
    with pytest.raises(NotFound):
        store.get("run/missing")
    store.delete("run/missing")


@pytest.mark.parametrize("skew", [0.0, -7200.0, 7200.0, 90.0])
def test_ages_are_by_the_stores_clock_whatever_this_computers_says(
    store: Store, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    wrong = SimpleNamespace(time=lambda: time.time() + skew, monotonic=time.monotonic)
    for module in (file_store, s3_clock):
        monkeypatch.setattr(module, "time", wrong)
    store.put("run/first", b"1")
    before = store.now()
    store.put("run/second", b"2")
    first, second, after = store.read("run/first"), store.read("run/second"), store.now()
    assert first is not None
    assert second is not None
    # To the second, as S3 tells times.
    assert first.written - 1 <= before <= second.written + 1 <= after + 2
    assert sorted(store.folders()) == ["run"]
    assert list(store.list("")) == ["run/first", "run/second"]


def test_create_only_once(store: Store) -> None:
    version = store.put_if_absent("run/HEAD", b"one")
    with pytest.raises(Conflict):
        store.put_if_absent("run/HEAD", b"two")
    found = store.read("run/HEAD")
    assert found is not None
    assert (found.data, found.version) == (b"one", version)


def test_swap_follows_versions(store: Store) -> None:
    first = store.put_if_absent("run/HEAD", b"one")
    second = store.compare_and_swap("run/HEAD", b"two", first)
    assert second != first
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"three", first)
    found = store.read("run/HEAD")
    assert found is not None
    assert (found.data, found.version) == (b"two", second)
    third = store.compare_and_swap("run/HEAD", b"three", found.version)
    store.delete("run/HEAD")
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"four", third)
    assert store.read("run/HEAD") is None


def test_swap_of_what_never_was(store: Store) -> None:
    version = store.put_if_absent("run/other", b"body")
    with pytest.raises(Conflict):
        store.compare_and_swap("run/HEAD", b"one", version)


def test_sixteen_creators_one_winner(store: Store) -> None:
    barrier = threading.Barrier(16)

    def create(n: int) -> bool:
        barrier.wait()
        try:
            store.put_if_absent("run/HEAD", f"{n}".encode())
            return True
        except Conflict:
            return False

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(16)))
    assert won.count(True) == 1
    found = store.read("run/HEAD")
    assert found is not None
    assert found.data == str(won.index(True)).encode()


def test_concurrent_swaps_lose_no_update(store: Store) -> None:
    store.put_if_absent("run/marks", b"start")

    def add(mark: bytes) -> None:
        while True:
            found = store.read("run/marks")
            assert found is not None
            if mark in found.data.split():
                return  # it had landed, although the answer was lost
            with contextlib.suppress(StoreError):
                # Ceph answers contention with 500 at times: only a look tells what became of it.
                store.compare_and_swap("run/marks", found.data + b" " + mark, found.version)
                return

    with ThreadPoolExecutor(4) as pool:
        marks = [f"{n}.{m}".encode() for m in range(3) for n in range(4)]
        list(pool.map(add, marks))
    found = store.read("run/marks")
    assert found is not None
    assert sorted(found.data.split()) == sorted([b"start", *marks])


@pytest.mark.parametrize("size", [0, 1, 100_000, (16 << 20) + 5])
def test_content_comes_back(store: Store, size: int, tmp_path) -> None:
    if size > 1 << 20 and store.url.startswith("s3:") and "127.0.0.1" not in store.url:
        pytest.skip("large uploads cost time and money")
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    done: list[int] = []
    lock = threading.Lock()

    def progress(count: int) -> None:
        with lock:
            done.append(count)

    stored = store.put_content("run/a0001/content", content, progress)
    assert stored.size == size
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert sum(done) == size
    done.clear()
    assert store.get(stored.key, size=size, sha256=stored.sha256) == content
    path = tmp_path / "content"
    path.write_bytes(content)
    assert store.put_content("run/path", path).sha256 == stored.sha256
    assert store.put_content("run/view", memoryview(content)).sha256 == stored.sha256
    assert store.get("run/view", size=size) == content


def test_get_verifies(store: Store) -> None:
    stored = store.put_content("run/content", b"content")
    with pytest.raises(Corrupt, match="7 bytes"):
        store.get("run/content", size=8)
    with pytest.raises(Corrupt, match="SHA-256"):
        store.get("run/content", size=7, sha256="0" * 64)
    assert store.get("run/content", size=7, sha256=stored.sha256) == b"content"


def test_write_overwrites(store: Store) -> None:
    store.put("run/heartbeat.json", b"one")
    store.put("run/heartbeat.json", b"two")
    assert store.get("run/heartbeat.json") == b"two"


def test_list_is_sorted_and_bound_to_the_prefix(store: Store) -> None:
    for key in ("run/a0002/x", "run/a0001/y", "run/HEAD", "run-b/HEAD", "other/HEAD", "top"):
        store.put(key, b"")
    assert list(store.list("run/")) == ["run/HEAD", "run/a0001/y", "run/a0002/x"]
    assert list(store.list("run/a0")) == ["run/a0001/y", "run/a0002/x"]
    assert list(store.list("run/a0001/y")) == ["run/a0001/y"]
    assert list(store.list("none/")) == []
    assert list(store.folders()) == ["other", "run", "run-b"]


def test_delete_is_idempotent(store: Store) -> None:
    store.put("run/x", b"x")
    store.delete("run/x")
    store.delete("run/x")
    assert list(store.list("run/")) == []


@pytest.mark.parametrize(
    "key", ["", "/x", "x/", "../x", "x/../../y", "x//y", ".hidden", "a\\b", "a\nb"]
)
def test_keys_stay_below_the_root(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="illegal key"):
        store.put(key, b"")
    with pytest.raises(ValueError, match="illegal key"):
        store.read(key)


def test_create_once(store: Store) -> None:
    assert create_once(store, "run/outcome.json", b"first")
    assert create_once(store, "run/outcome.json", b"first")
    assert not create_once(store, "run/outcome.json", b"second")


def test_create_once_sees_that_a_lost_answer_had_landed(memory, monkeypatch) -> None:
    create = memory.put_if_absent

    def lost(key: str, data: bytes) -> str:
        create(key, data)
        raise StoreError("timeout")

    monkeypatch.setattr(memory, "put_if_absent", lost)
    assert create_once(memory, "run/x", b"x")
    monkeypatch.setattr(memory, "put_if_absent", lambda key, data: lost("other/key", data))
    with pytest.raises(StoreError):
        create_once(memory, "run/y", b"y")


def test_a_denied_create_stays_denied(memory, monkeypatch) -> None:
    def denied(key: str, data: bytes) -> str:
        raise StoreDenied("no")

    monkeypatch.setattr(memory, "put_if_absent", denied)
    with pytest.raises(StoreDenied):
        create_once(memory, "run/x", b"x")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("runs", "file:///"),
        ("/data/runs", "file:///data/runs"),
        ("s4://bucket", "did you mean s3"),
        ("gs://bucket", "Known are file://, s3://"),
        ("ftp://host", "scheme ftp://: known are file://, s3://"),
        ("file://runs/x", "three slashes"),
        ("file:///runs?x=1", "no options"),
        ("s3://", "no bucket"),
        ("s3://bucket?endpont=http://x", "endpont"),
        ("s3://bucket?endpoint=localhost:9000", "not a web address"),
        ("s3://bucket?endpoint=https://storage.googleapis.com", "no conditional writes"),
        ("s3://bucket?addressing=dns", "path or virtual"),
        ("s3://bucket/../x", "not allowed"),
    ],
)
def test_bad_urls(url: str, says: str) -> None:
    with pytest.raises(BadInput, match=says.replace("?", r"\?")):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    ["s3://AKIA123:hunter2@bucket", "s3://bucket?endpoint=https://AKIA123:hunter2@host"],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_store_opens_again_by_its_url(store: Store) -> None:
    if store.url.startswith("memory"):
        pytest.skip("a memory store has no other process")
    store.put("run/x", b"x")
    again = open_store(store.url)
    assert again.url == store.url
    assert again.get("run/x") == b"x"


def test_no_more_is_read_than_is_expected(store: Store) -> None:
    body = b"x" * (DOCUMENT + 1)
    stored = store.put_content("run/part", body)
    for read in (
        lambda: store.read("run/part"),
        lambda: store.get("run/part"),
        lambda: store.get("run/part", size=DOCUMENT),
    ):
        with pytest.raises(Corrupt, match=rf"run/part has {len(body)} bytes where at most"):
            read()
    assert store.get("run/part", size=stored.size, sha256=stored.sha256) == body
    assert store.get("run/part", limit=len(body)) == body
    found = store.read("run/part", limit=len(body))
    assert found is not None
    assert found.data == body
