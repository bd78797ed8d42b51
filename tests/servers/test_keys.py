"""What a server that enforces policies makes of an attempt's keys. Ceph, by run.sh here."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.payload import credentials, key_link
from launch.payload.credentials import AssumeRole, Federation
from mimir.errors import BadInput, Conflict, NotFound, StoreDenied
from mimir.runs import layout
from mimir.runs.begin import raise_attempt
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.e2e import jobs
from tests.gates import Gate
from tests.servers.conftest import HOUR, LAUNCHER, ROLE, Ceph
from tests.waiting import LIMIT, wait_for

ORDER = "launcher/a0002/order.json"


@pytest.fixture
def machine(laptop: Store, ceph: Ceph, tmp_path: Path) -> Iterator[Store]:
    """The store as attempt 2 of run `ours` sees it."""
    for run in ("ours", "theirs"):
        for file in ("run.json", "HEAD", "a0001/old", "a0002/mine", "data/x", ORDER):
            laptop.put(f"{run}/{file}", b"before")
    for run, attempt in (("ours", 1), ("ours", 2), ("theirs", 2)):
        laptop.put(layout.handover_key(run, attempt, "f00"), b"before")
    path = tmp_path / "keys.json"
    credentials.mint(ceph.url, "ours", 2, HOUR, AssumeRole(ROLE)).to_file(path)
    yield open_store(ceph.url, credentials_file=path)
    for key in laptop.list(""):
        laptop.delete(key)


def test_its_own_is_allowed(machine: Store, laptop: Store) -> None:
    for file in ("run.json", "HEAD", "a0001/old", "a0002/mine", "data/x", ORDER):
        assert machine.get(f"ours/{file}") == b"before"
    assert list(machine.list("ours/a0001/")) == ["ours/a0001/old"]
    head = machine.read("ours/HEAD")
    assert head is not None
    machine.compare_and_swap("ours/HEAD", b"after", head.version)
    with pytest.raises(Conflict):
        machine.compare_and_swap("ours/HEAD", b"again", head.version)
    machine.put_if_absent("ours/a0002/outcome.json", b"{}")
    with pytest.raises(Conflict):
        machine.put_if_absent("ours/a0002/outcome.json", b"{}")
    machine.put_content("ours/a0002/model-x", b"weights")
    machine.put_content("ours/a0002/large", bytes(20 << 20))  # in parts
    machine.delete("ours/a0002/large")
    assert laptop.read("ours/a0002/large") is None
    machine.delete("_keys/ours/a0002-f00.json")
    assert laptop.read("_keys/ours/a0002-f00.json") is None


def test_what_is_missing_is_missing_and_not_denied(machine: Store) -> None:
    assert machine.read("ours/launcher/a0002/stop.json") is None
    assert machine.read("ours/a0001/outcome.json") is None
    with pytest.raises(NotFound):
        machine.get("ours/a0001/gone")
    with pytest.raises(NotFound):
        machine.get("ours/a0001/gone", size=20 << 20)


@pytest.mark.parametrize(
    "action",
    [
        lambda s: s.get("theirs/run.json"),
        lambda s: s.read("theirs/HEAD"),
        lambda s: s.put("theirs/HEAD", b"x"),
        lambda s: s.put("theirs/a0002/mine", b"x"),
        lambda s: s.put_if_absent("theirs/a0002/new", b"x"),
        lambda s: s.delete("theirs/a0002/mine"),
        lambda s: s.list("theirs/"),
        lambda s: s.list(""),
        lambda s: s.folders(),
        lambda s: s.put("ours/a0001/old", b"x"),
        lambda s: s.put_if_absent("ours/a0001/new", b"x"),
        lambda s: s.put_if_absent("ours/a0003/new", b"x"),
        lambda s: s.put_content("ours/a0001/large", bytes(20 << 20)),
        lambda s: s.delete("ours/a0001/old"),
        lambda s: s.delete("ours/HEAD"),
        lambda s: s.delete("ours/run.json"),
        lambda s: s.put("ours/run.json", b"x"),
        lambda s: s.put("ours/data/x", b"x"),
        lambda s: s.put("ours/report.html", b"x"),
        lambda s: s.put_content("ours/model/a0002-x", b"x"),
        lambda s: s.put("ours/launcher/a0002/order.json", b"x"),
        lambda s: s.put_if_absent("ours/launcher/a0002/gone.json", b"x"),
        lambda s: s.delete("ours/launcher/a0002/order.json"),
        lambda s: s.put_if_absent("ours/launcher/final.json", b"x"),
        lambda s: s.put("oursx/a0002/mine", b"x"),
        lambda s: s.get("_keys/ours/a0002-f00.json"),
        lambda s: s.get("_keys/theirs/a0002-f00.json"),
        lambda s: s.put("_keys/ours/a0002-f00.json", b"x"),
        lambda s: s.delete("_keys/ours/a0001-f00.json"),
        lambda s: s.delete("_keys/theirs/a0002-f00.json"),
        lambda s: s.list("_keys/"),
    ],
)  # fmt: skip
def test_all_else_is_refused(
    machine: Store, laptop: Store, action: Callable[[Store], object]
) -> None:
    before = {key: laptop.get(key, limit=1 << 24) for key in laptop.list("")}
    with pytest.raises(StoreDenied, match="do not allow it"):
        action(machine)
    assert {key: laptop.get(key, limit=1 << 24) for key in laptop.list("")} == before


def test_a_link_to_keys_needs_none(laptop: Store, ceph: Ceph) -> None:
    made = credentials.mint(ceph.url, "ours", 2, HOUR, AssumeRole(ROLE))
    url = key_link.hand_over(laptop, "ours", 2, made, 60)
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == made.text().encode()
    key_link.revoke(laptop, "ours", 2)
    with pytest.raises(urllib.error.HTTPError) as gone:
        urllib.request.urlopen(url, timeout=10)
    gone.value.close()
    assert gone.value.code == 404


def test_keys_without_their_token_are_worth_nothing(
    ceph: Ceph, laptop: Store, tmp_path: Path
) -> None:
    made = credentials.mint(ceph.url, "ours", 1, HOUR, AssumeRole(ROLE))
    credentials.Credentials(made.access_key, made.secret_key, "", None).to_file(
        tmp_path / "bare.json"
    )
    bare = open_store(ceph.url, credentials_file=tmp_path / "bare.json")
    with pytest.raises(StoreDenied):
        bare.put("ours/a0001/x", b"x")


def test_wrong_keys_make_none(ceph: Ceph, laptop: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises((StoreDenied, BadInput)) as caught:
        credentials.mint(ceph.url, "ours", 1, HOUR, AssumeRole(ROLE))
    assert "wrong" not in str(caught.value)


def test_a_role_that_is_not_there(ceph: Ceph, laptop: Store) -> None:
    with pytest.raises((StoreDenied, BadInput), match="static-keys"):
        credentials.mint(ceph.url, "ours", 1, HOUR, AssumeRole("arn:aws:iam:::role/nobody"))


def test_a_server_without_federation_says_so(ceph: Ceph, laptop: Store) -> None:
    with pytest.raises((StoreDenied, BadInput), match="--role"):
        credentials.mint(ceph.url, "ours", 1, HOUR, Federation())


@pytest.mark.slow
def test_a_whole_run_with_such_keys(
    ceph: Ceph, laptop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts, each with keys of its own: the policy lacks nothing that a worker needs."""
    data = jobs.write_data(tmp_path / "data.csv", 200)
    settings = {**jobs.ENDLESS, "max_steps": 200}
    jobs.submit(laptop, "run", data, **settings)
    path = tmp_path / "worker.json"
    gate = Gate(tmp_path / "gate")
    gate.open(100)
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", str(path))
    out = tmp_path / "out"

    def begin() -> Any:
        attempt = raise_attempt(laptop, "run")
        credentials.mint(ceph.url, "run", attempt, HOUR, AssumeRole(ROLE)).to_file(path)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
        return jobs.worker(laptop, "run", attempt, out=out, gate=gate)

    first = begin()
    wait_for(lambda: read_head(laptop, "run").step >= 10, lambda: f"step 10\n{out.read_text()}")
    first.terminate()
    assert first.wait(timeout=LIMIT) == 75, out.read_text()
    gate.open()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", LAUNCHER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", LAUNCHER[1])
    second = begin()
    assert second.wait(timeout=LIMIT) == 0, out.read_text()
    head = read_head(laptop, "run")
    assert (head.state, head.step, head.attempt) == ("done", 200, 2)
    assert head.lineage[1][1] >= 10
    assert jobs.model_sha256(laptop, "run")
    # Its last deletions went through: nothing of the second attempt is left but what HEAD names.
    left = [k for k in laptop.list("run/a0002/") if layout.parse_checkpoint("run", k)]
    assert sorted(left) == sorted(k.key for k in head.kept if k.attempt == 2)
    assert "could not delete" not in out.read_text().replace("a0001", "")
