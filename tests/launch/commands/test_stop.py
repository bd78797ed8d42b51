"""stop, where nobody obeys."""

import importlib
import json
import time

import pytest

from mimir.errors import INTERRUPTED
from mimir.runs import notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.runs.damaged import wreck

stopping = importlib.import_module("launch.commands.stop")  # the package's name is the command


def test_an_attempt_that_does_not_stop_in_time_is_told_as_json_too(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(tmp_path.as_uri())
    create_run(store, RunRecord("run", "toy", {}, 0, 0.0))
    Attempt.claim(store, "run", raise_attempt(store, "run"))
    monkeypatch.setattr(stopping, "STOP_WAITS", 0.0)
    assert stopping.stop("run", store=store.url, json=True) == INTERRUPTED
    out, err = capsys.readouterr()
    assert json.loads(out)["stop_requested"] is True
    assert "the request stands" in err
    assert notes.stop_requested(store, "run", 1) is not None
    assert stopping.stop("run", store=store.url) == INTERRUPTED
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("body", [b"{", b""])
def test_a_run_without_a_head_is_stopped_and_shown_all_the_same(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    """Its outcome is nonsense too, and its machine is gone."""
    from launch.commands.runs import runs
    from launch.commands.status import status

    store = open_store(tmp_path.as_uri())
    create_run(store, RunRecord("run", "toy", {}, 0, 0.0))
    Attempt.claim(store, "run", raise_attempt(store, "run")).commit(7, b"state", None)
    raise_attempt(store, "run")
    wreck(store, "run", body)
    store.put("run/a0002/outcome.json", b'{"format": 99}')
    monkeypatch.setattr("launch.provision.liveness.alive", lambda machine: False)
    assert stopping.stop("run", store=store.url) == 0
    told = capsys.readouterr()
    assert "asked attempt 2 of run run to stop" in told.err
    assert "watch run --once" in told.err
    status("run", store=store.url)
    runs(store=store.url)
    shown = capsys.readouterr().out
    assert "run/HEAD" in shown
    assert "outcome.json has format 99" in shown
    assert "step 7" in shown
    assert shown.count("disputed") == 2
    assert raise_attempt(store, "run", clock=lambda: time.time() + orders.RESERVED) == 3
    assert read_head(store, "run").step == 7
