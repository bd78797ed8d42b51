"""What cannot train here because of its settings is refused before a run of it exists."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.commands.resume import resume
from launch.commands.submit import submit
from launch.providers.local.provider import LocalProvider
from mimir import commands
from mimir.checks.settings_fit import must_fit
from mimir.config import load_preset
from mimir.errors import BadInput
from mimir.runs.listing import list_names
from mimir.runs.store import Store, open_store
from mimir.submission import enter, prepare
from tests.e2e.jobs import TINY, write_data

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
    LocalProvider().must_fit(config, 1, "")
    assert seen[0]["CUDA_VISIBLE_DEVICES"] == "1"
    LocalProvider(("another", "worker")).must_fit(config, 1, "")
    assert len(seen) == 1
