"""From a laptop: Mimir's commands on the login node of a real Slurm, through a real sshd."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clouds.vm_programs import SSHD
from tests.login_node import NO_SSHD, LoginNode
from tests.slurm.conftest import CI, GPU, Ground

pytest.importorskip("paramiko", reason="pip install paramiko")

CPU = "--partition=cpu"
GIVEN = ("PYTHONPATH", "MIMIR_SLURM_ENV", "MIMIR_TEST_GATE", "XDG_STATE_HOME", "OMP_NUM_THREADS",
         "SLURM_CONF")  # fmt: skip


@pytest.fixture
def login_node(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], LoginNode]]:
    """A login node of the cluster. before: as LoginNode has it."""
    if SSHD is None:
        if CI:
            pytest.fail(NO_SSHD)
        pytest.skip(NO_SSHD)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made: list[LoginNode] = []

    def make(before: str = "") -> LoginNode:
        environ = {name: os.environ[name] for name in GIVEN}
        node = LoginNode(ground.folder / "login", tmp_path / "laptop", environ, before)
        made.append(node)
        node.install()
        return node

    yield make
    for each in made:
        each.down()


def test_from_the_laptop_to_a_whole_run(
    ground: Ground, login_node: Callable[..., LoginNode]
) -> None:
    """The node is asked what it sees, and then trains; the store stays on the cluster."""
    node, store = login_node(), ground.store.url
    code, out, err = node.on("cluster", "probe", "--store", store, f"--slurm={CPU}")
    assert code == 0, err
    assert "sees the installation and the logs, and shares the store" in out
    ground.gate.open()
    code, out, err = node.on(
        "resume", ground.run, "--provider", "slurm", f"--slurm={GPU}", "--store", store
    )
    assert code == 0, err
    ground.over()
    code, out, _ = node.on("status", ground.run, "--store", store)
    assert (code, f"{ground.run}: done" in out) == (0, True)
    ground.assert_undisturbed()


def test_a_login_node_that_does_not_share_the_store(
    ground: Ground, login_node: Callable[..., LoginNode]
) -> None:
    """It is in a mount namespace of its own, with another folder in the store's place."""
    hidden = f'mount -t tmpfs none {ground.folder}/runs && exec "$@"'
    node = login_node(f"unshare --mount sh -c '{hidden}' sh")
    code, out, err = node.on("cluster", "probe", "--store", ground.store.url, f"--slurm={CPU}")
    assert (code, out) == (78, "")
    last = err.splitlines()[-1]
    assert f"does not reach the store {ground.store.url}" in last
    assert "what the login node wrote is not there" in last
    code, out, err = node.on("cluster", "probe", f"--slurm={CPU}")
    assert (code, "no store was asked for" in out) == (0, True), err
    assert "the probe covers the folders alone" in err
