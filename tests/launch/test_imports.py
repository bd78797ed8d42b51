"""What is imported: next to nothing for help, never torch."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from launch.commands import TREE
from tests.launch.conftest import ROOT, World

HEAVY = {
    "torch", "numpy", "boto3", "botocore", "httpx", "paramiko", "yaml", "fire", "tqdm",
    "safetensors",
}  # fmt: skip


def loaded(path: Path) -> set[str]:
    names = {name.partition(".")[0] for name in path.read_text().split("\n")}
    assert "launch" in names
    return names


@pytest.mark.parametrize("words", [("--help",), *((name, "--help") for name in TREE)])
def test_help_imports_nothing_heavy(world: World, words: tuple[str, ...]) -> None:
    del world.env["STAND_IN"]
    out, _ = world.launch(*words, LOADED=str(world.folder / "loaded"))
    assert "Usage: python -m launch" in out
    assert not HEAVY & loaded(world.folder / "loaded")


def test_help_answers_at_once() -> None:
    """0.08 s when written. Of the processor, and the best of five, for the machine may be busy:
    bench/start.py has the time that passes."""
    times = []
    for _ in range(5):
        before = used()
        subprocess.run(
            [sys.executable, "-m", "launch", "--help"], cwd=ROOT, check=True, capture_output=True
        )
        times.append(used() - before)
    assert min(times) < 0.3


def used() -> float:
    """Seconds of the processor that ended children have taken."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def test_no_command_imports_torch(world: World) -> None:
    path = world.folder / "loaded"

    def imported(*words: str) -> set[str]:
        world.launch(*words, LOADED=str(path))
        return loaded(path)

    world.env["STEPS"] = "400"
    assert not {"torch", "boto3"} & imported(*world.submission("run"))
    for words in (
        ("status", "run"),
        ("stop", "run"),
        ("resume", "run"),
        ("runs",),
        ("logs", "run"),
        ("pull", "run", "--out", str(world.folder / "out")),
    ):
        assert not {"torch", "boto3", "numpy"} & imported(*words), words
