"""What cannot train here because of its settings is refused before a run of it exists."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.commands.sweep import sweep
from launch.providers.local.provider import LocalProvider
from mimir import commands
from mimir.checks import settings_fit
from mimir.checks.settings_fit import must_fit
from mimir.config import load_preset
from mimir.errors import BadInput
from mimir.runs import layout
from mimir.runs import sweep as lists
from mimir.runs.listing import list_names
from mimir.runs.order import Plan
from mimir.runs.store import Store, open_store
from mimir.submission import enter, prepare
from tests.e2e.jobs import TINY, write_data

SHARED = {name: value for name, value in TINY.items() if name != "dim"}
"""Of all runs of a sweep that differ in `dim`."""
KERNELS = {"device": "cpu", "kernels": "attention"}
"""What no computer trains with: kernels are for GPUs."""
WHY = "kernels is 'attention', but kernels need compiled training on a GPU"
KEEPS = "; run plum keeps that setting: submit it under another --name"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_data(tmp_path / "data.csv", 50))


Begin = Callable[..., int]


@pytest.mark.parametrize("begin", [commands.train, submit])
def test_no_run_is_made(begin: Begin, store: Store, data: str) -> None:
    with pytest.raises(BadInput, match=WHY) as raised:
        begin("plum", preset="smoke", store=store.url, data=data, **TINY, **KERNELS)
    assert KEEPS not in str(raised.value)
    assert list_names(store) == []


@pytest.mark.parametrize(("begin", "again"), [
    (commands.train, False), (commands.resume, False), (resume, False), (commands.train, True),
    (submit, True),
])  # fmt: skip
def test_one_that_exists_gets_no_attempt(
    begin: Begin, again: bool, store: Store, data: str
) -> None:
    """again: the command names preset and data, as for a new run, without the kernels."""
    enter(store, "plum", prepare("smoke", {**TINY, **KERNELS}, data))
    before = {key: store.read(key) for key in store.list("")}
    more = {"preset": "smoke", "data": data, **TINY} if again else {}
    with pytest.raises(BadInput, match=WHY) as raised:
        begin("plum", store=store.url, **more)
    assert KEEPS in str(raised.value)
    assert {key: store.read(key) for key in store.list("")} == before


def test_settings_that_ask_for_nothing_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *words, **how: pytest.fail("tried"))
    must_fit(load_preset("smoke"))


def test_a_trial_that_tells_nothing_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = subprocess.CompletedProcess([], 1, b"Traceback", b"")
    monkeypatch.setattr(subprocess, "run", lambda *words, **how: broken)
    must_fit(load_preset("smoke").with_settings(KERNELS))


def test_the_worker_of_one_card_is_tried_with_that_card(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def run(words: list[str], **how: Any) -> "subprocess.CompletedProcess[bytes]":
        seen.append(how["env"])
        return subprocess.CompletedProcess(words, 0, b"", b"")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    config = load_preset("smoke").with_settings({"device": "cuda"})
    assert LocalProvider().refusals([config], 1) == [""]
    assert seen[0]["CUDA_VISIBLE_DEVICES"] == "1"
    assert LocalProvider(("another", "worker")).refusals([config] * 2, 1) == ["", ""]
    assert len(seen) == 1


def count_trials(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many configurations each trial gets, as they begin."""
    counts: list[int] = []
    real = subprocess.run

    def run(words: list[str], **how: Any) -> "subprocess.CompletedProcess[bytes]":
        if settings_fit.TRIAL in words:
            counts.append(len(json.loads(how["input"])))
        return real(words, **how)

    monkeypatch.setattr(subprocess, "run", run)
    return counts


def runs_of(folder: Path, *rows: str) -> str:
    path = folder / "runs.yaml"
    path.write_text("".join(f"- {{{row}}}\n" for row in rows))
    return str(path)


def test_each_kind_of_run_of_a_sweep_is_tried_before_it_is_listed(
    store: Store, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_trials(monkeypatch)
    rows = ("dim: 32", "kernels: attention", "kernels: attention, seed: 3", "kernels: wgrad")
    with pytest.raises(BadInput) as raised:
        sweep("lr", file=runs_of(tmp_path, *rows), preset="smoke", data=data, store=store.url,
              dry_run=True, **SHARED, device="cpu")  # fmt: skip
    assert f"run lr-001 (kernels=attention): {WHY}" in str(raised.value)
    assert str(raised.value).endswith("; leave out what cannot run (and so 2 more)")
    assert counts == [2], "one process, the kinds that ask for something"
    assert list(store.list("")) == []


def test_a_sweep_without_such_settings_is_not_tried(
    store: Store, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = count_trials(monkeypatch)
    assert sweep("lr", grid="seed=0..2", preset="smoke", data=data, store=store.url, dry_run=True,
                 **SHARED, device="cpu") == 0  # fmt: skip
    assert counts == []


def test_other_runs_of_a_sweep_that_is_listed_may_go_on(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_preset("smoke").with_settings({**SHARED, "device": "cpu"})
    members = tuple(
        lists.Member(f"lr-00{n}", "smoke", settings, 25)
        for n, settings in enumerate(({"dim": 32}, {"kernels": "attention"}))
    )
    made = lists.Sweep("lr", store.now(), {"smoke": config.as_dict()}, members, Plan(("local",)))
    store.put(layout.sweep_key("lr"), made.to_bytes())
    assert sweep("lr", resume=True, store=store.url, dry_run=True) == 0
    told = capsys.readouterr().err
    assert f"run lr-001 (kernels=attention): {WHY}" in told
    assert "a sweep keeps its settings: begin another one for these" in told
