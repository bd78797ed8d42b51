"""`mimir cluster setup` through a real sshd, with the packages of this Python."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mimir
from launch.cluster import install, remote
from launch.commands.cluster import setup
from launch.payload import wheel
from mimir.errors import BadInput
from tests.clouds.vm_programs import program
from tests.login_node import LoginNode
from tests.waiting import LIMIT, wait_for

pytest.importorskip("paramiko", reason="pip install paramiko")

HERE = ("--python", sys.executable, "--site-packages", "--no-probe")


def installing(node: LoginNode) -> str:
    """Command lines of the node's installer that still runs."""
    lines = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, timeout=LIMIT
    ).stdout
    return "\n".join(line for line in lines.splitlines() if f"{node.home}/mimir" in line)


def test_killed_in_the_middle_then_whole_then_nothing_to_do(node: LoginNode) -> None:
    """By a Python below the home, for an account whose pip installs elsewhere by itself.

    And whose packages have a Mimir of this version already, which is not this one.
    """
    old = node.home / "old" / "site-packages"
    metadata = old / f"{wheel.WHEEL_NAME}-{mimir.__version__}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: mimir-peptides\nVersion: {mimir.__version__}\n"
    )
    for name, text in (
        (".config/pip/pip.conf", "[install]\nuser = true\n"),
        (".bash_profile", "export PIP_TARGET=~/elsewhere\n"),
        ("own/bin/python", f'#!/bin/sh\nPYTHONPATH={old} exec {sys.executable} "$@"\n'),
    ):
        (node.home / name).parent.mkdir(parents=True, exist_ok=True)
        program(node.home / name, text)
    store = f"{node.home.as_uri()}/kept"
    words = ("cluster", "setup", node.login, "--python", "~/own/bin/python", *HERE[2:],
             "--store", store)  # fmt: skip
    process = node.start(*words)
    assert process.stderr is not None
    assert any(line.startswith(b"2/4 installs") for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    wait_for(lambda: not installing(node), lambda: installing(node))
    code, out, err = node.run(*words)
    assert (code, "no node was asked" in out) == (0, True), err
    assert "packages: those of" in err
    kept = [
        path for path in (node.home / "mimir").iterdir() if re.match("needs-|mimir-", path.name)
    ]
    assert all((path / "whole").exists() for path in kept), kept
    again = node.run(*words)
    assert (again[0], again[1]) == (0, out)
    assert "this Mimir is there already" in again[2]
    assert "installs" not in again[2]
    code, _, err = node.on("runs")
    kept_in = f"there is no folder {node.home}/kept"
    assert (code, kept_in in err) == (0, True), err
    environment = (node.home / remote.INSTALLED).resolve()
    assert str(environment) in out
    done = subprocess.run(
        [environment / "bin" / "python", "-c", "import launch; print(launch.__file__)"],
        cwd="/", env={}, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert done.stdout.startswith(str(environment)), done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"python": "/bin/false"}, "needs Python 3.11 to 3.13 at .*, and /bin/false there is not"),
        ({"path": "/proc/mimir"}, "/proc/mimir cannot be made at"),
        ({"path": "mimir"}, "--path is 'mimir', but must be a folder there"),
        ({"path": "~/my mimir"}, "but must be a folder there"),
        ({"python": "python; id"}, "but must be a program there"),
        ({"python": "~ada/bin/python"}, "but must be a program there"),
        ({"wheelhouse": "/none"}, "--wheelhouse /none has no wheels"),
        ({"wait_minutes": 0.0}, "must be more than 0"),
    ],
)
def test_bad_input(node: LoginNode, more: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        setup(node.login, probe=False, **more)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (node.home / remote.INSTALLED).exists()


def test_wheels_of_this_computer_go_along(node: LoginNode, tmp_path: Path) -> None:
    """And no index is asked: what is missing among them is an error."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "torch-2.6-py3-none-any.whl").write_bytes(b"no wheel")
    with pytest.raises(BadInput, match="pip did not install it"):
        setup(node.login, python=sys.executable, wheelhouse=str(wheels), probe=False)
    copied = node.home / "mimir" / "wheelhouse" / "torch-2.6-py3-none-any.whl"
    assert copied.read_bytes() == b"no wheel"
    assert not (node.home / remote.INSTALLED).exists()


def test_only_half_installations_are_removed(tmp_path: Path) -> None:
    half, removed, whole, other = (tmp_path / name for name in (
        "needs-0123456789ab-aaaaaa", "removed-aaaaaa", "needs-0123456789ab-bbbbbb",
        "needs-of-mine"))  # fmt: skip
    for path in (half, removed, whole, other):
        path.mkdir()
    for path in (removed, whole):
        (path / "whole").write_text("0123456789ab")
    install._clear(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([whole, other])
    assert install._whole(tmp_path, "needs", "0123456789ab") == whole
    (whole / "whole").write_text("another")
    assert install._whole(tmp_path, "needs", "0123456789ab") is None


@pytest.mark.parametrize("slow", [False, True], ids=["removed", "being removed"])
def test_an_installation_that_was_removed_below_its_process_is_never_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """Its laptop went away, and the next setup came while pip went on."""
    if slow:
        monkeypatch.setattr(install.shutil, "rmtree", lambda *_, **__: None)

    def fill(path: Path) -> None:
        install._clear(tmp_path)
        (path / "lib").mkdir(parents=True)  # as pip does

    with pytest.raises(FileNotFoundError):
        install._make(tmp_path, "needs", "0123456789ab", fill)
    assert install._whole(tmp_path, "needs", "0123456789ab") is None


def test_a_damaged_copy_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"damaged")
    told = {"folder": str(tmp_path), "wheel": str(tmp_path / "x.whl"), "sha256": "0" * 64}
    with pytest.raises(SystemExit, match="damaged"):
        install.install(told, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.whl"]
