"""A run's code in its store."""

import hashlib
from pathlib import Path

import pytest

from launch.payload import code_in_store, wheel
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, open_store


def test_what_was_submitted_is_what_machines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path.as_uri())
    with code_in_store.file() as path:
        made = create_run(store, RunRecord("run", "smoke", {}, 0, 1.0), code=path)
        assert path.name == wheel.file_name()
    assert not path.exists()
    assert made.code is not None
    assert code_in_store.of_run(store, "run") == made.code
    assert code_in_store.differs(store, "run") == ""
    monkeypatch.setattr(wheel, "content", lambda: b"newer")
    assert code_in_store.of_run(store, "run") == made.code
    newer = hashlib.sha256(b"newer").hexdigest()[:12]
    assert f"other code ({made.code.sha256[:12]})" in code_in_store.differs(store, "run")
    assert newer in code_in_store.differs(store, "run")


def test_a_run_without_code_gets_ours_once(store: Store) -> None:
    assert code_in_store.differs(store, "run") == ""
    stored = code_in_store.of_run(store, "run")
    assert store.get(stored.key, size=stored.size, sha256=stored.sha256) == wheel.content()
    assert stored.key.endswith(wheel.file_name())
    before = sorted(store.list("run/"))
    assert code_in_store.of_run(store, "run") == stored
    assert sorted(store.list("run/")) == before
