"""stop, where nobody obeys."""

import importlib
import json

import pytest

from mimir.errors import INTERRUPTED
from mimir.runs import notes
from mimir.runs.commit import Attempt, raise_attempt
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import open_store

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
