"""A login node of a cluster, which the laptop of a test may enter."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.clouds.vm_programs import SSHD
from tests.login_node import NO_SSHD, LoginNode


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoginNode]:
    if SSHD is None:
        if os.environ.get("MIMIR_CI", "") == "1":
            pytest.fail(NO_SSHD)
        pytest.skip(NO_SSHD)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "laptop"))
    made = LoginNode(tmp_path / "node", tmp_path / "laptop", {"PYTHONPATH": str(ROOT)})
    yield made
    (made.home / "go").touch()  # what a failed test has left waiting there
    made.down()
