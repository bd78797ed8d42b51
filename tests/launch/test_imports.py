"""What is imported: next to nothing for help, never torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from launch.commands import TREE
from tests import ROOT
from tests.launch.conftest import ENDLESS, World
from tests.waiting import LIMIT

HEAVY = {
    "torch", "numpy", "boto3", "botocore", "httpx", "paramiko", "yaml", "fire", "tqdm",
    "safetensors",
}  # fmt: skip
MOST = 150
"""Modules for help: half of them any Python has, and each command is one; a heavy library brings
100."""


def loaded(path: Path) -> set[str]:
    names = {name.partition(".")[0] for name in path.read_text().split("\n")}
    assert "launch" in names
    return names


@pytest.mark.parametrize("words", [("--help",), *((name, "--help") for name in TREE)])
def test_help_imports_nothing_heavy(world: World, words: tuple[str, ...]) -> None:
    del world.env["STAND_IN"]
    out, _ = world.launch(*words, LOADED=str(world.folder / "loaded"))
    assert "Usage: python -m launch" in out
    heavy = HEAVY - {"yaml"} if "\nSettings (" in out else HEAVY  # which reads the presets' values
    assert not heavy & loaded(world.folder / "loaded")


def test_help_imports_few_modules(world: World) -> None:
    """It answers at once because it imports little; bench/start.py has the time that passes."""
    world.launch("--help", LOADED=str(world.folder / "loaded"))
    assert len((world.folder / "loaded").read_text().split("\n")) < MOST


def test_no_command_imports_torch(world: World) -> None:
    path = world.folder / "loaded"

    def imported(*words: str) -> set[str]:
        world.launch(*words, LOADED=str(path))
        return loaded(path)

    world.env["STEPS"] = ENDLESS
    assert not {"torch", "boto3"} & imported(*world.submission("run"))
    for words in (
        ("status", "run"),
        ("stop", "run"),
        ("resume", "run"),
        ("runs",),
        ("logs", "run"),
    ):
        assert not {"torch", "boto3", "numpy"} & imported(*words), words
    page = imported("report", "run", "--out", str(world.folder / "run.html"))
    assert not {"torch", "boto3"} & page
    # The writer of TensorBoard's files imports boto3 by itself, where it is installed.
    assert "torch" not in imported("pull", "run", "--out", str(world.folder / "out"))


WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys
import httpx, jinja2, numpy, safetensors, yaml  # which ask for the system that this is
for name in ("fcntl", "termios", "tty", "pty", "pwd", "grp", "resource", "syslog"):
    sys.modules[name] = None
for name in ("uname", "fork", "killpg", "getpgid", "setsid", "geteuid", "getuid", "O_NOFOLLOW",
             "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "getloadavg", "sched_getaffinity"):
    delattr(os, name)
for name in ("SIGKILL", "SIGWINCH", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGQUIT"):
    delattr(signal, name)
os.supports_dir_fd = frozenset()
import launch
for module in pkgutil.walk_packages(launch.__path__, "launch."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from mimir.errors import BadInput
from mimir.runs.store import open_store
try:
    open_store("file:///runs")
except BadInput as error:
    print(error)
"""


def test_a_laptop_without_posix_imports_all_and_is_told_of_folders() -> None:
    """As on Windows, whose Python lacks these names; on it itself nothing was tried."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a folder cannot be a store on this system")
