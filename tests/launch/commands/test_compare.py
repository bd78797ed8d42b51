"""compare: what differs, and what was reached."""

import json
from pathlib import Path

import pytest

from launch.commands.compare import compare
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.parts import PartWriter
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import open_store


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = open_store((tmp_path / "store").as_uri())
    for name, lr, figures in (("one", 0.001, (3.0, 2.5, 2.6)), ("two", 0.002, ()), ("bare", 1, ())):
        config = {"preset": "smoke", "training": {"lr": lr, "batch": 8}}
        create_run(store, RunRecord(name, "smoke", config, 0, 1.0))
        if name == "bare":
            continue
        attempt = Attempt.claim(store, name, raise_attempt(store, name))
        parts = PartWriter(store, layout.attempt_prefix(name, 1), "metrics")
        rows = [{"step": 10 * n, "val": value} for n, value in enumerate(figures, start=1)]
        parts.flush("".join(json.dumps(row) + "\n" for row in rows))
        attempt.commit(30, b"state", None)
        if name == "one":
            attempt.finish("stopped", "the test says so")
    return store.url


def test_runs_stand_beside_each_other(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    compare("one", "two", "bare", store=url)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    table = {cells[0]: [each.strip() for each in cells[1:] if each.strip()] for cells in lines}
    assert table["lr"] == ["0.001", "0.002", "1"]
    assert table["step"] == ["30", "30", "0"]
    assert table["state"][0] == "stopped"
    assert "batch" not in table
    compare("one", "two", store=url, json=True)
    body = json.loads(capsys.readouterr().out)
    assert body["settings"] == {"lr": [0.001, 0.002]}
    assert body["runs"][0]["last"] == {"val": [30, 2.6]}
    assert body["runs"][0]["best"] == {"val": [20, 2.5]}
    assert body["runs"][1]["last"] == {}


def test_one_run_cannot_be_compared(url: str) -> None:
    with pytest.raises(BadInput, match="two runs or more"):
        compare("one", "one", store=url)
