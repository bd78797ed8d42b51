"""A worker does not outlive its notebook; tests/notebook sees it happen to a real one."""

import os
import signal

import pytest

from mimir.worker import tethered


def test_a_parent_that_goes_is_a_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    parents = iter([7, 7, 1])
    slept: list[float] = []
    tethered.watch(7, lambda: next(parents), slept.append)
    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert slept == [tethered.PARENT_EVERY] * 2


def test_a_parent_that_was_gone_before(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number))
    tethered.watch(7, lambda: 1, lambda seconds: None)
    assert sent == [signal.SIGTERM]
